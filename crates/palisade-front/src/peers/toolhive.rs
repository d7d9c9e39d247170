//! ToolHive's `httpv1` authorizer: `POST /decision` with principal, operation, resource and context, answered with
//! `{"allow": true}` or `{"allow": false}`.
//!
//! The operation is `mcp:<feature>:<verb>`, the resource `mrn:mcp:<server>:<feature>:<name or URI>`, and with
//! `include_args` the arguments are at `/context/mcp/args`. The server is the resource's name in the configuration.

use palisade_model::{Reason, Refusal};
use serde_json::{Value, json};

use super::{Message, Outcome, Server, arguments, malformed, text};

/// What a message asks.
pub(super) fn read(message: &Value) -> Result<Message, Refusal> {
    let (server, feature, name) = resource(text(message, "/resource")?)?;
    let operation = text(message, "/operation")?;
    let action = match operation {
        "mcp:tool:call" => "tools/call",
        "mcp:tool:list" => "tools/list",
        "mcp:prompt:get" => "prompts/get",
        "mcp:prompt:list" => "prompts/list",
        "mcp:resource:read" => "resources/read",
        "mcp:resource:list" => "resources/list",
        _ => return Err(Refusal::new(Reason::MethodUnknown, "there is no such operation of an MCP server")),
    };
    let is_list = action.ends_with("/list");
    if operation.split(':').nth(1) != Some(feature) || is_list != name.is_empty() {
        return Err(malformed("the operation and the resource do not go together"));
    }
    agrees(message, "/context/mcp/feature", Some(feature))?;
    agrees(message, "/context/mcp/operation", operation.split(':').nth(2))?;
    agrees(message, "/context/mcp/resource_id", Some(name))?;
    // A principal that cannot be read is somebody: only where there is none, it is nobody.
    let subject = match message.pointer("/principal") {
        None | Some(Value::Null) => None,
        Some(_) => match text(message, "/principal/sub")? {
            "" => return Err(malformed("`/principal/sub` is empty")),
            sub => Some(sub.to_owned()),
        },
    };
    Ok(Message {
        server: Server::Named(server.to_owned()),
        subject,
        action,
        target: (!is_list).then(|| name.to_owned()),
        arguments: arguments(message, "/context/mcp/args")?,
    })
}

/// `mrn:mcp:<server>:<feature>:<name or URI>`; colons in the last part belong to it.
fn resource(mrn: &str) -> Result<(&str, &str, &str), Refusal> {
    let parts = mrn.strip_prefix("mrn:mcp:").and_then(|rest| {
        let (server, rest) = rest.split_once(':')?;
        let (feature, name) = rest.split_once(':')?;
        Some((server, feature, name))
    });
    parts.ok_or_else(|| malformed("the resource is not `mrn:mcp:<server>:<feature>:<name>`"))
}

/// What a message says twice, it says alike.
fn agrees(message: &Value, pointer: &str, expected: Option<&str>) -> Result<(), Refusal> {
    match message.pointer(pointer) {
        None => Ok(()),
        Some(said) if said.as_str() == expected => Ok(()),
        Some(_) => Err(malformed("the context contradicts the operation or the resource")),
    }
}

/// The answer.
pub(super) fn body(outcome: &Outcome) -> Value {
    json!({ "allow": outcome.yes })
}
