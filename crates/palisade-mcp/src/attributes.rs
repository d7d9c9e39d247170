//! What a proxy has read from a body itself and passes on beside it or in its place: Envoy's MCP filter.
//!
//! The filter copies the method and the members of `params` that it is told to, never surely all of them. So what it
//! says names an action and a target; arguments that came this way are unread, and say so to the policies.
//!
//! Where the body came too, the body is what is decided, and everything the proxy says must be in it.

use std::sync::Arc;

use palisade_model::{Arguments, Asked, Item, Reason, Refusal, ResourceName};
use serde_json::{Map, Number, Value};

use crate::{
    Mirrors, lookalikes, malformed, message::raw_id, method, mirrors, on_server, subscription::LISTEN,
};

/// The filter's word for an answer of the client to a request of the server.
const RESPONSE: &str = "__jsonrpc_response";

/// The attributes of one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Attributes {
    /// The method.
    pub method: String,
    /// The id, where the proxy tells it.
    pub id: Option<Value>,
    /// The members of `params` that the proxy copied; `null` for none.
    pub params: Value,
}

impl Attributes {
    /// The message as a question, where no body came.
    ///
    /// # Errors
    /// `request_malformed` where the target is not among the attributes, `method_unknown` for a method that is not the
    /// protocol's, `header_mismatch` for a header unlike the attributes or one that only a body could confirm.
    pub fn read(&self, mirrors: &Mirrors<'_>, resource: &ResourceName) -> Result<Asked, Refusal> {
        let params = match &self.params {
            Value::Null => Map::new(),
            Value::Object(params) => params.clone(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(malformed("the proxy's `params` are not an object"));
            }
        };
        let method = (self.method != RESPONSE).then_some(self.method.as_str());
        mirrors::check_attributes(mirrors, method, &params)?;
        let Some(method) = method else { return Ok(Asked::one(on_server("response", resource))) };
        if method::is_notification(method) {
            return Ok(Asked::one(on_server("notification", resource)));
        }
        Ok(Asked::one(self.request(method, params, resource)?))
    }

    fn request(
        &self,
        method: &str,
        mut params: Map<String, Value>,
        resource: &ResourceName,
    ) -> Result<Item, Refusal> {
        lookalikes::none_of_protocol_names(&params)?;
        // The proxy may have left out what it names.
        if method == LISTEN {
            return Err(Refusal::new(
                Reason::RequestBodyMissing,
                "no body came that says what is subscribed to",
            ));
        }
        params.remove("arguments");
        let item = method::item(method, Some(&params), resource)?;
        let arguments = item.arguments.is_some().then(unread).map(Arc::new);
        Ok(Item { arguments, reply_to: self.id.as_ref().and_then(raw_id), ..item })
    }

    /// Whether these attributes are those of a body that was read.
    ///
    /// # Errors
    /// `request_malformed` where they differ.
    pub fn agree(&self, asked: &Asked, resource: &ResourceName) -> Result<(), Refusal> {
        let differ = || malformed("the proxy's attributes and the body differ");
        // What a subscription names comes after it, and is not the proxy's to tell.
        let Some((item, beside)) = asked.items.split_first() else { return Err(differ()) };
        let action = match self.method.as_str() {
            RESPONSE => "response",
            method if method::is_notification(method) => "notification",
            method => method,
        };
        let target = item.target.id.strip_prefix(resource.as_str()).and_then(|id| id.strip_prefix('/'));
        let named = ["name", "uri"].iter().filter_map(|member| self.params.get(member));
        let same_name = named.map(Value::as_str).all(|name| target.is_none() || name == target);
        let same = item.action.name == action
            && !asked.batch
            && (beside.is_empty() || action == LISTEN)
            && same_name
            && self.has_id_of(item)
            && self.has_arguments_of(item);
        if same { Ok(()) } else { Err(differ()) }
    }

    /// Whether the id is the message's. That of an answer is not kept, since nothing is ever addressed to it.
    fn has_id_of(&self, item: &Item) -> bool {
        match &self.id {
            None | Some(Value::Null) => true,
            Some(_) if self.method == RESPONSE => true,
            Some(told) => {
                let sent = item.reply_to.as_deref().and_then(|id| serde_json::from_str(id).ok());
                sent.is_some_and(|sent: Value| is_within(told, &sent))
            }
        }
    }

    /// Whether the arguments, where the proxy tells any, are among the message's. Those of a completion have another
    /// form, and what a method ignores is not kept.
    fn has_arguments_of(&self, item: &Item) -> bool {
        let told = self.params.get("arguments");
        let called = matches!(self.method.as_str(), "tools/call" | "prompts/get");
        let sent = item.arguments.as_ref().and_then(|arguments| arguments.json.as_ref());
        match (told, sent) {
            (Some(told), Some(sent)) if called => is_within(told, sent),
            (Some(_), None) if called => false,
            (Some(_) | None, _) => true,
        }
    }
}

/// Whether all that a proxy tells of a value is in the value that was sent. Envoy's filter leaves members out (arrays,
/// and members without a name), and carries numbers as doubles.
fn is_within(told: &Value, sent: &Value) -> bool {
    match (told, sent) {
        (Value::Object(told), Value::Object(sent)) => {
            told.iter().all(|(name, told)| sent.get(name).is_some_and(|sent| is_within(told, sent)))
        }
        (Value::Array(told), Value::Array(sent)) => {
            told.len() == sent.len() && told.iter().zip(sent).all(|(told, sent)| is_within(told, sent))
        }
        (Value::Number(told), Value::Number(sent)) => is_same_double(told, sent),
        (told, sent) => told == sent,
    }
}

/// Whether two numbers are one double; in the last digit two readers of one decimal may round differently.
fn is_same_double(told: &Number, sent: &Number) -> bool {
    let doubles = told.as_f64().zip(sent.as_f64());
    doubles.is_some_and(|(told, sent)| (told - sent).abs() <= f64::EPSILON * sent.abs())
}

/// Arguments that nobody has read. The pointer of the whole document stands in `unmapped`, which every rule that says
/// what must hold of arguments looks at first.
#[must_use]
pub fn unread() -> Arguments {
    let whole = String::new();
    Arguments { paths: [whole.clone()].into(), unmapped: [whole].into(), ..Arguments::default() }
}
