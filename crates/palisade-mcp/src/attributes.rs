//! What a proxy has read from a body itself and passes on beside it or in its place: Envoy's MCP filter.
//!
//! The filter copies the method and the members of `params` that it is told to, never surely all of them. So what it
//! says names an action and a target; arguments that came this way are unread, and say so to the policies.

use palisade_model::{Arguments, Asked, Item, Refusal, ResourceName};
use serde_json::{Map, Value};

use crate::{
    Mirrors, malformed,
    message::{no_lookalikes, raw_id},
    method, mirrors, on_server,
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
    /// protocol's, `header_mismatch` for a header unlike the attributes.
    pub fn read(&self, mirrors: &Mirrors<'_>, resource: &ResourceName) -> Result<Asked, Refusal> {
        let params = match &self.params {
            Value::Null => Map::new(),
            Value::Object(params) => params.clone(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(malformed("the proxy's `params` are not an object"));
            }
        };
        let method = (self.method != RESPONSE).then_some(self.method.as_str());
        mirrors::check_names(mirrors, method, &params)?;
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
        no_lookalikes(&params)?;
        params.remove("arguments");
        let item = method::item(method, Some(&params), resource)?;
        let arguments = item.arguments.is_some().then(unread);
        Ok(Item { arguments, reply_to: self.id.as_ref().and_then(raw_id), ..item })
    }

    /// Whether these attributes are those of a body that was read.
    ///
    /// # Errors
    /// `request_malformed` where they differ.
    pub fn agree(&self, asked: &Asked, resource: &ResourceName) -> Result<(), Refusal> {
        let differ = || malformed("the proxy's attributes and the body differ");
        let [item] = asked.items.as_slice() else { return Err(differ()) };
        let action = match self.method.as_str() {
            RESPONSE => "response",
            method if method::is_notification(method) => "notification",
            method => method,
        };
        let target = item.target.id.strip_prefix(resource.as_str()).and_then(|id| id.strip_prefix('/'));
        let named = ["name", "uri"].iter().filter_map(|member| self.params.get(member));
        let same_name = named.map(Value::as_str).all(|name| target.is_none() || name == target);
        if item.action.name == action && same_name && !asked.batch { Ok(()) } else { Err(differ()) }
    }
}

/// Arguments that nobody has read. The pointer of the whole document stands in `unmapped`, which every rule that says
/// what must hold of arguments looks at first.
fn unread() -> Arguments {
    let whole = String::new();
    Arguments { paths: [whole.clone()].into(), unmapped: [whole].into(), ..Arguments::default() }
}
