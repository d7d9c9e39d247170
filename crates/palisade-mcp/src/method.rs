//! Every method of MCP that a client may call, as action, target and arguments of the policy vocabulary.
//!
//! The list is closed. A method that is not in it is refused, whatever the server behind may know.

use std::sync::Arc;

use palisade_model::{Action, Arguments, Item, Properties, Reason, Refusal, ResourceName, Target};
use serde_json::{Map, Value};

use crate::{lookalikes, malformed, on_server};

/// The most bytes of a name.
const MAX_NAME: usize = 256;
/// The most bytes of a URI.
const MAX_URI: usize = 2_048;

/// What a method is done to.
enum Subject {
    Server,
    Tool,
    Prompt,
    Resource,
    Completion,
}

fn subject(method: &str) -> Option<Subject> {
    Some(match method {
        "tools/call" => Subject::Tool,
        "prompts/get" => Subject::Prompt,
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Subject::Resource,
        "completion/complete" => Subject::Completion,
        "initialize"
        | "server/discover"
        | "ping"
        | "tools/list"
        | "prompts/list"
        | "resources/list"
        | "resources/templates/list"
        | "logging/setLevel"
        | "subscriptions/listen"
        | "tasks/get"
        | "tasks/list"
        | "tasks/result"
        | "tasks/update"
        | "tasks/cancel" => Subject::Server,
        _ => return None,
    })
}

/// Whether the protocol has a request of this name.
#[must_use]
pub fn is_request(method: &str) -> bool {
    subject(method).is_some()
}

/// Whether the revisions without sessions (MCP 2026-07-28) have a request of this name.
pub(crate) fn is_stateless_request(method: &str) -> bool {
    let lost = [
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
    ];
    is_request(method) && !lost.contains(&method)
}

/// Whether this is a notification's name.
pub(crate) fn is_notification(method: &str) -> bool {
    method.strip_prefix("notifications/").is_some_and(|name| !name.is_empty())
}

/// A request as an item, not yet addressed.
pub(crate) fn item(
    method: &str,
    params: Option<&Map<String, Value>>,
    resource: &ResourceName,
) -> Result<Item, Refusal> {
    let subject = subject(method).ok_or_else(unknown)?;
    let empty = Map::new();
    let params = params.unwrap_or(&empty);
    let (target, arguments) = match subject {
        Subject::Server => return Ok(on_server(method, resource)),
        Subject::Tool => (Target::mcp_tool(resource, name(params)?), Some(arguments(params)?)),
        Subject::Prompt => (Target::mcp_prompt(resource, name(params)?), Some(arguments(params)?)),
        Subject::Resource => (Target::mcp_resource(resource, uri(params)?), None),
        Subject::Completion => (completed(params, resource)?, Some(completion_argument(params)?)),
    };
    Ok(Item {
        action: Action::mcp(method),
        target,
        arguments: arguments.map(Arc::new),
        supplied: Properties::default(),
        known: Properties::default(),
        reply_to: None,
    })
}

/// The refusal of a method that the protocol does not have.
pub(crate) fn unknown() -> Refusal {
    Refusal::new(Reason::MethodUnknown, "the protocol has no such method")
}

/// The value that `Mcp-Name` mirrors: the name, the URI or the task of a request.
pub(crate) fn mirrored_name<'a>(method: &str, params: &'a Map<String, Value>) -> Option<&'a str> {
    let text = |members: &'a Map<String, Value>, member: &str| members.get(member).and_then(Value::as_str);
    match subject(method)? {
        Subject::Tool | Subject::Prompt => text(params, "name"),
        Subject::Resource => text(params, "uri"),
        Subject::Completion => {
            let reference = params.get("ref").and_then(Value::as_object)?;
            match text(reference, "type")? {
                "ref/prompt" => text(reference, "name"),
                "ref/resource" => text(reference, "uri"),
                _other => None,
            }
        }
        Subject::Server => method.starts_with("tasks/").then(|| text(params, "taskId")).flatten(),
    }
}

fn name(members: &Map<String, Value>) -> Result<&str, Refusal> {
    text(members, "name", MAX_NAME)
}

fn uri(members: &Map<String, Value>) -> Result<&str, Refusal> {
    text(members, "uri", MAX_URI)
}

fn text<'a>(members: &'a Map<String, Value>, member: &str, most: usize) -> Result<&'a str, Refusal> {
    let text = members.get(member).and_then(Value::as_str);
    text.filter(|text| is_usable(text, most)).ok_or_else(|| unusable(member))
}

fn is_usable(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control)
}

fn unusable(member: &str) -> Refusal {
    malformed(format!("`{member}` is missing, no string, empty, too long or holds control characters"))
}

/// A URI that does not stand alone.
pub(crate) fn usable_uri(uri: &str) -> Result<&str, Refusal> {
    if is_usable(uri, MAX_URI) { Ok(uri) } else { Err(unusable("uri")) }
}

fn arguments(params: &Map<String, Value>) -> Result<Arguments, Refusal> {
    match params.get("arguments") {
        None => bags(&Value::Object(Map::new())),
        Some(arguments) => bags(arguments),
    }
}

fn bags(arguments: &Value) -> Result<Arguments, Refusal> {
    let bags = Arguments::from_json(arguments)
        .map_err(|error| Refusal::new(Reason::ArgumentsInvalid, error.to_string()))?;
    // After the limits, which bound what there is to compare.
    lookalikes::none_among_arguments(arguments)?;
    Ok(bags)
}

/// What `completion/complete` completes: a prompt or a resource, by `ref`.
fn completed(params: &Map<String, Value>, resource: &ResourceName) -> Result<Target, Refusal> {
    let reference =
        params.get("ref").and_then(Value::as_object).ok_or_else(|| malformed("`ref` is not an object"))?;
    lookalikes::none_of_protocol_names(reference)?;
    match reference.get("type").and_then(Value::as_str) {
        Some("ref/prompt") => Ok(Target::mcp_prompt(resource, name(reference)?)),
        Some("ref/resource") => Ok(Target::mcp_resource(resource, uri(reference)?)),
        Some(_) | None => Err(malformed("`ref.type` is neither `ref/prompt` nor `ref/resource`")),
    }
}

/// The argument that is being completed, as the only member of the arguments.
fn completion_argument(params: &Map<String, Value>) -> Result<Arguments, Refusal> {
    let argument = params
        .get("argument")
        .and_then(Value::as_object)
        .ok_or_else(|| malformed("`argument` is not an object"))?;
    lookalikes::none_of_protocol_names(argument)?;
    let value = argument
        .get("value")
        .filter(|value| value.is_string())
        .ok_or_else(|| malformed("`argument.value` is not a string"))?;
    bags(&Value::Object(Map::from_iter([(name(argument)?.to_owned(), value.clone())])))
}
