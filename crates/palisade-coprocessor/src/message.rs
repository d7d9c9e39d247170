//! What a router sends, in one form: Apollo Router's coprocessor protocol and Hive Router's.
//!
//! They are told apart by how the stage is spelt. Apollo Router writes camel case, wraps its context, and says `control`; Hive
//! Router writes snake case, has its context flat, and says no `control`. Both write version 1. A member that decides nothing is
//! not looked at.

use palisade_call::Headers;
use palisade_model::{Reason, Refusal};
use serde_json::{Map, Value};

use crate::{
    grafbase,
    names::{self, Names},
};

/// The claims of a request in Apollo Router's context, under the names of its versions 2 and 1.
pub(crate) const CLAIMS: &str = "apollo::authentication::jwt_claims";
/// See [`CLAIMS`].
pub(crate) const CLAIMS_V1: &str = "apollo_authentication::JWT::claims";
/// What the names of version 2 begin with.
const OF_V2: &str = "apollo::";
/// The names of version 1 that those of version 2 have taken the place of, as far as they say of which version a context is.
const OF_V1: [&str; 8] = [
    CLAIMS_V1,
    "apollo_authorization::authenticated::required",
    "apollo_authorization::scopes::required",
    names::APOLLO_V1,
    "operation_name",
    "operation_kind",
    "apollo_operation_id",
    "apollo_router::supergraph::first_event",
];

/// What came.
#[derive(Debug)]
pub(crate) enum Message {
    /// A stage of a request.
    Stage(Box<Exchange>),
    /// Names of `@policy`, as Grafbase asks for them.
    Names(Vec<String>),
}

/// Whose protocol it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Apollo,
    Hive,
}

/// What is known at a stage, and what can be done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The client's HTTP request has come; its body is text.
    Router,
    /// The operation is known, and nothing is planned yet; its body is an object.
    Operation,
    /// The operation is planned, and what was answered before was acted on.
    Execution,
    /// A request to a subgraph: a part of an operation that was decided.
    Subgraph,
    /// A response, of whatever stage.
    Response,
}

/// A stage of a request.
pub(crate) struct Exchange {
    pub(crate) protocol: Protocol,
    pub(crate) stage: Stage,
    /// The stage as the router names it.
    pub(crate) stage_name: &'static str,
    /// The router's id of the request; Apollo Router's has to come back.
    pub(crate) id: String,
    /// The client's header fields; nothing where the router does not send them.
    pub(crate) headers: Option<Headers>,
    /// The client's method, path with query, and body, as far as the router sends them.
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) body: Option<Value>,
    /// The entries of the request's context; nothing where the router does not send them.
    pub(crate) context: Option<Map<String, Value>>,
    /// The names of `@policy` that the router asks about, as far as it does.
    pub(crate) names: Option<Names>,
}

/// Prints nothing that could hold a credential or a value.
impl std::fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { protocol, stage_name, .. } = self;
        write!(formatter, "Exchange({protocol:?}, {stage_name:?}, ..)")
    }
}

/// Every stage by its name.
const STAGES: [(&str, Protocol, Stage); 15] = [
    ("RouterRequest", Protocol::Apollo, Stage::Router),
    ("SupergraphRequest", Protocol::Apollo, Stage::Operation),
    ("ExecutionRequest", Protocol::Apollo, Stage::Execution),
    ("SubgraphRequest", Protocol::Apollo, Stage::Subgraph),
    ("ConnectorRequest", Protocol::Apollo, Stage::Subgraph),
    ("RouterResponse", Protocol::Apollo, Stage::Response),
    ("SupergraphResponse", Protocol::Apollo, Stage::Response),
    ("ExecutionResponse", Protocol::Apollo, Stage::Response),
    ("SubgraphResponse", Protocol::Apollo, Stage::Response),
    ("ConnectorResponse", Protocol::Apollo, Stage::Response),
    ("router.request", Protocol::Hive, Stage::Router),
    ("graphql.request", Protocol::Hive, Stage::Operation),
    (names::HIVE_STAGE, Protocol::Hive, Stage::Operation),
    ("graphql.response", Protocol::Hive, Stage::Response),
    ("router.response", Protocol::Hive, Stage::Response),
];

/// Reads a message.
///
/// # Errors
/// `request_malformed` for a stage or a version that is none, a missing id, a member of another type, and what only one of the two
/// protocols has in a message of the other.
pub(crate) fn read(message: Value) -> Result<Message, Refusal> {
    let Value::Object(mut members) = message else {
        return Err(malformed("the message is no object"));
    };
    if members.contains_key(grafbase::NAMES) {
        return grafbase::read(members).map(Message::Names);
    }
    if members.remove("version").and_then(|version| version.as_u64()) != Some(1) {
        return Err(malformed("the message is not of version 1 of a coprocessor's protocol"));
    }
    let named = text(&mut members, "stage")?.unwrap_or_default();
    let stage = STAGES.into_iter().find(|(name, _, _)| *name == named);
    let (stage_name, protocol, stage) =
        stage.ok_or_else(|| malformed("the message names no stage that there is"))?;
    let id = text(&mut members, "id")?.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| malformed("the message has no id"))?;
    controls(protocol, members.remove("control").as_ref())?;
    let context = context(protocol, members.remove("context"))?;
    let exchange = match stage {
        // Nothing else of these is looked at.
        Stage::Subgraph | Stage::Response => {
            Exchange { context, ..Exchange::bare(protocol, stage, stage_name, id) }
        }
        Stage::Router | Stage::Operation | Stage::Execution => Exchange {
            headers: members.remove("headers").map(headers).transpose()?,
            method: text(&mut members, "method")?,
            path: text(&mut members, "path")?,
            body: members.remove("body").map(|body| body_of(protocol, stage, body)).transpose()?,
            names: names::read(protocol, stage_name, context.as_ref())?,
            context,
            ..Exchange::bare(protocol, stage, stage_name, id)
        },
    };
    Ok(Message::Stage(Box::new(exchange)))
}

impl Exchange {
    fn bare(protocol: Protocol, stage: Stage, stage_name: &'static str, id: String) -> Self {
        Self {
            protocol,
            stage,
            stage_name,
            id,
            headers: None,
            method: None,
            path: None,
            body: None,
            context: None,
            names: None,
        }
    }

    /// Whether the context says already that somebody is authenticated. To Apollo Router the entry says so by being there, whatever
    /// its value is.
    pub(crate) fn has_claims(&self) -> bool {
        let has = |name| self.context.as_ref().is_some_and(|context| context.contains_key(name));
        self.protocol == Protocol::Apollo && (has(CLAIMS) || has(CLAIMS_V1))
    }

    /// The names under which claims are written for this router, as far as its context tells of which version it is. Nothing where no
    /// claims are taken: Hive Router reads its own token, and later stages of Apollo Router read the claims no more.
    pub(crate) fn claims_names(&self) -> Vec<&'static str> {
        if self.protocol == Protocol::Hive || !matches!(self.stage, Stage::Router | Stage::Operation) {
            return Vec::new();
        }
        let names = || self.context.iter().flat_map(Map::keys);
        let (v1, v2) =
            (names().any(|name| OF_V1.contains(&name.as_str())), names().any(|name| name.starts_with(OF_V2)));
        // A context with names of neither does not tell, and each version leaves alone what the other reads.
        let mut written = Vec::new();
        written.extend((v2 || !v1).then_some(CLAIMS));
        written.extend((v1 || !v2).then_some(CLAIMS_V1));
        written
    }
}

/// Apollo Router says `continue`, at responses nothing. Hive Router says nothing.
fn controls(protocol: Protocol, control: Option<&Value>) -> Result<(), Refusal> {
    match (protocol, control) {
        (Protocol::Apollo | Protocol::Hive, None) => Ok(()),
        (Protocol::Apollo, Some(Value::String(control))) if control == "continue" => Ok(()),
        (Protocol::Apollo | Protocol::Hive, Some(_)) => {
            Err(malformed("the message has a control that its router does not send"))
        }
    }
}

fn context(protocol: Protocol, context: Option<Value>) -> Result<Option<Map<String, Value>>, Refusal> {
    let unreadable = || malformed("the context is not of the form that the router has");
    match (protocol, context) {
        (Protocol::Apollo | Protocol::Hive, None) => Ok(None),
        (Protocol::Hive, Some(Value::Object(entries))) => Ok(Some(entries)),
        (Protocol::Apollo, Some(Value::Object(mut context))) => match context.remove("entries") {
            Some(Value::Object(entries)) if context.is_empty() => Ok(Some(entries)),
            Some(_) | None => Err(unreadable()),
        },
        (Protocol::Apollo | Protocol::Hive, Some(_)) => Err(unreadable()),
    }
}

/// Every name with a list of values.
fn headers(value: Value) -> Result<Headers, Refusal> {
    let unreadable = || malformed("the headers are not names with lists of texts");
    let Value::Object(fields) = value else { return Err(unreadable()) };
    let mut headers = Headers::default();
    for (name, values) in fields {
        let Value::Array(values) = values else { return Err(unreadable()) };
        for value in values {
            let Value::String(value) = value else { return Err(unreadable()) };
            headers.push(&name, value);
        }
    }
    Ok(headers)
}

/// Text at the router's own stages, an object where the router has read it.
fn body_of(protocol: Protocol, stage: Stage, body: Value) -> Result<Value, Refusal> {
    let is_read = match stage {
        Stage::Router => body.is_string(),
        Stage::Operation | Stage::Execution => body.is_object(),
        Stage::Subgraph | Stage::Response => false,
    };
    if !is_read {
        return Err(malformed("the body is not of the form that it has at this stage"));
    }
    // Hive Router can be told to send some members only, and sends these two always when it sends them at all. Without its variables
    // another operation would be decided than is executed.
    let whole = |body: &Map<String, Value>| body.contains_key("query") && body.contains_key("variables");
    match (protocol, body) {
        (Protocol::Hive, Value::Object(body)) if !whole(&body) => {
            Err(malformed("the router does not send the whole body: let it include `true`"))
        }
        (Protocol::Apollo | Protocol::Hive, body) => Ok(body),
    }
}

fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(malformed(&format!("`{name}` is no text")))
        }
    }
}

pub(crate) fn malformed(why: &str) -> Refusal {
    Refusal::new(Reason::RequestMalformed, why)
}
