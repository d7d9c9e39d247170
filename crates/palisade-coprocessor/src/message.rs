//! What a router sends, in one form: Apollo Router's coprocessor protocol and Hive Router's.
//!
//! They are told apart by how the stage is spelt. Apollo Router writes camel case, wraps its context, and says `control`; Hive
//! Router writes snake case, has its context flat, and says no `control`. Both write version 1. A member that decides nothing is
//! not looked at.

use std::collections::BTreeMap;

use palisade_call::{Headers, contract};
use palisade_model::{Reason, Refusal};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    grafbase,
    names::{self, Names},
};

/// How deep a message may nest: deeper than a body that is decided on.
const MAX_DEPTH: usize = 64;
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

/// What is asked at an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// What a stage asks for: its operation, its names, or its token.
    Stages,
    /// A token alone, for the router's own stage without its body.
    Token,
}

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
    /// Of an object the text as it came, so that nothing is decided but what the router has.
    pub(crate) body: Option<String>,
    /// The entries of the request's context; nothing where the router does not send them.
    pub(crate) context: Option<Map<String, Value>>,
    /// The context as it came, where it has to go back: a number that was read is not always the one that was written.
    pub(crate) raw_context: Option<Box<RawValue>>,
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

/// Reads a message. Nothing is one that did not come whole.
///
/// # Errors
/// `request_malformed` for what has not one reading, a stage or a version that is none, a missing id, a member of another type, and
/// what only one of the two protocols has in a message of the other. See [`fits`] for the rest.
pub(crate) fn read(entry: Entry, came: Option<&[u8]>) -> Result<Message, Refusal> {
    let Value::Object(mut members) = contract::json(came, MAX_DEPTH)? else {
        return Err(malformed("the message is no object"));
    };
    if members.contains_key(grafbase::NAMES) {
        return match entry {
            Entry::Stages => grafbase::read(members).map(Message::Names),
            Entry::Token => Err(malformed("names are not asked about where a token is")),
        };
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
    let bare = Exchange::bare(protocol, stage, stage_name, id);
    let as_it_came = |name| as_it_came(came.unwrap_or_default(), name);
    let exchange = match stage {
        // Nothing else of these is looked at.
        Stage::Subgraph => bare,
        Stage::Response => Exchange { raw_context: as_it_came("context")?, ..bare },
        Stage::Router | Stage::Operation | Stage::Execution => Exchange {
            headers: members.remove("headers").map(headers).transpose()?,
            method: text(&mut members, "method")?,
            path: text(&mut members, "path")?,
            body: match members.remove("body") {
                None => None,
                Some(Value::String(text)) if stage == Stage::Router => Some(text),
                Some(Value::Object(body)) if stage != Stage::Router => {
                    is_whole(protocol, &body)?;
                    as_it_came("body")?.map(|body| body.get().to_owned())
                }
                Some(_) => return Err(malformed("the body is not of the form that it has at this stage")),
            },
            // Where a token is asked about nothing else is answered.
            names: match entry {
                Entry::Stages => names::read(protocol, stage_name, context.as_ref())?,
                Entry::Token => None,
            },
            context,
            ..bare
        },
    };
    fits(entry, &exchange)?;
    Ok(Message::Stage(Box::new(exchange)))
}

/// Whether a stage shows what is decided of it here. What does not come is never taken for nothing to decide.
///
/// # Errors
/// `request_body_missing` for a router's own stage without the body, which Apollo Router leaves out where it is no text;
/// `request_malformed` for a stage whose body is not what is executed, and for more than a token where a token is asked about.
fn fits(entry: Entry, exchange: &Exchange) -> Result<(), Refusal> {
    let Exchange { protocol, stage, stage_name, body, .. } = exchange;
    let has_body = body.is_some();
    let is_hive = *protocol == Protocol::Hive;
    match (entry, stage) {
        (Entry::Token, Stage::Router) if !has_body => Ok(()),
        (
            Entry::Token,
            Stage::Router | Stage::Operation | Stage::Execution | Stage::Subgraph | Stage::Response,
        ) => {
            Err(malformed("only a token is looked at here: ask at the router's own stage, without the body"))
        }
        // Its path has no query, in which a document may be, and it comes before what is no operation is told apart.
        (Entry::Stages, Stage::Router) if is_hive => {
            Err(malformed("operations of this router are decided at its stage `graphql.request`"))
        }
        (Entry::Stages, Stage::Router) if !has_body => Err(Refusal::new(
            Reason::RequestBodyMissing,
            "the router does not send the client's body as text",
        )),
        // The variables have been taken out of the body there.
        (Entry::Stages, Stage::Operation) if has_body && *stage_name == names::HIVE_STAGE => Err(malformed(
            "the body does not hold what is executed: decide the operation at `graphql.request`",
        )),
        (
            Entry::Stages,
            Stage::Router | Stage::Operation | Stage::Execution | Stage::Subgraph | Stage::Response,
        ) => Ok(()),
    }
}

/// A member of a message as its text, which was read before and has it once.
fn as_it_came(message: &[u8], name: &str) -> Result<Option<Box<RawValue>>, Refusal> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(message).map_err(|_| malformed("the message is no object"))?;
    Ok(members.get(name).map(|value| (*value).to_owned()))
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
            raw_context: None,
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

/// Hive Router can be told to send some members of a body only, and sends these two always when it sends them at all. Without its
/// variables another operation would be decided than is executed.
fn is_whole(protocol: Protocol, body: &Map<String, Value>) -> Result<(), Refusal> {
    let is_whole = body.contains_key("query") && body.contains_key("variables");
    match protocol {
        Protocol::Hive if !is_whole => {
            Err(malformed("the router does not send the whole body: let it include `true`"))
        }
        Protocol::Apollo | Protocol::Hive => Ok(()),
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
