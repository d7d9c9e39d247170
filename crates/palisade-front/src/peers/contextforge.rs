//! The Cedar engine of ContextForge's unified decision point: `POST /v1/authorize` with principal, action, resource and
//! context, answered with `{"decision": "Allow", "reasons": []}` or `"Deny"`.
//!
//! The action is `tools.invoke.<tool>` or `resources.fetch`; a tool's arguments are at `/context/tool_args`. The server
//! at `/resource/attrs/server` is an id of the gateway's own, so what is asked about is the resource that it names, or
//! the only one that the PEP may ask about: the gateway as a whole. What the message says of entities is left out.

use palisade_model::{Reason, Refusal};
use serde_json::{Value, json};

use super::{Message, Outcome, Server, arguments, malformed, text};

/// Whom the gateway means where nobody is signed in.
const NOBODY: &str = "anonymous@internal";

/// What a message asks.
pub(super) fn read(message: &Value) -> Result<Message, Refusal> {
    if text(message, "/principal/type")? != "User" || text(message, "/action/type")? != "Action" {
        return Err(malformed("the principal is no `User`, or the action no `Action`"));
    }
    let (kind, name) = (text(message, "/resource/type")?, text(message, "/resource/id")?);
    let subject = match text(message, "/principal/id")? {
        "" => return Err(malformed("the principal has no id")),
        NOBODY => None,
        id => Some(id.to_owned()),
    };
    let server = match message.pointer("/resource/attrs/server") {
        None | Some(Value::Null) => "",
        Some(_) => text(message, "/resource/attrs/server")?,
    };
    let (action, arguments) = match (text(message, "/action/id")?, kind) {
        ("resources.fetch", "Resource") => ("resources/read", None),
        (action, "Tool") if is_call(action, name)? => {
            ("tools/call", arguments(message, "/context/tool_args")?)
        }
        _ => return Err(Refusal::new(Reason::MethodUnknown, "there is no such action on such a resource")),
    };
    Ok(Message {
        server: Server::NamedOrOnly(server.to_owned()),
        subject,
        action,
        target: Some(name.to_owned()),
        arguments,
    })
}

/// Whether an action is the call of a tool: of this one, where the action names one.
fn is_call(action: &str, tool: &str) -> Result<bool, Refusal> {
    match action.strip_prefix("tools.invoke") {
        Some("") => Ok(true),
        Some(named) if named.strip_prefix('.') == Some(tool) => Ok(true),
        Some(named) if named.starts_with('.') => {
            Err(malformed("the action names another tool than the resource"))
        }
        Some(_) | None => Ok(false),
    }
}

/// The answer.
pub(super) fn body(outcome: &Outcome) -> Value {
    let decision = if outcome.yes { "Allow" } else { "Deny" };
    json!({ "decision": decision, "reasons": outcome.reason.iter().collect::<Vec<_>>() })
}
