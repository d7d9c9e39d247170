//! Handles in a request: the session it belongs to, and the task it is about.
//!
//! Behind a gateway a client has only handles that were bound to it. What is none is refused as one of another subject would
//! be. A task's handle says which tool made the task, so that policies decide about it as about the tool; whether that is
//! true, the decision point proves before it asks them.

use palisade_mcp::{Reply, Unread};
use palisade_model::{Asked, Handle, HandleKind, Item, Reason, Refusal, ResourceName, Target};
use serde_json::Value;

use crate::call::{Body, HttpCall};

/// The header of a session (MCP 2025-11-25, Streamable HTTP).
const SESSION: &str = "mcp-session-id";
/// The member of `_meta` that says which task a message belongs to (MCP 2025-11-25, tasks).
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// What is asked for with the handles of the request. What is to be one and is none is the reason for a denial.
pub(crate) fn read(
    call: &HttpCall,
    mut asked: Asked,
    resource: &ResourceName,
) -> Result<(Asked, Vec<Handle>), Unread> {
    match handles(call, &mut asked, resource) {
        Ok(handles) => Ok((asked, handles)),
        Err(refusal) => {
            let reply = |item: Item| Reply { action: item.action.name, id: item.reply_to };
            Err(Unread { refusal, replies: asked.items.into_iter().map(reply).collect(), batch: asked.batch })
        }
    }
}

fn handles(call: &HttpCall, asked: &mut Asked, resource: &ResourceName) -> Result<Vec<Handle>, Refusal> {
    let mut handles = match call.headers.all(SESSION) {
        [] => Vec::new(),
        [text] => vec![bound(HandleKind::Session, text)?],
        _ => return Err(foreign()),
    };
    let Body::Whole(body) = &call.body else { return Ok(handles) };
    // The body was read already, in its only reading.
    let text = std::str::from_utf8(body).unwrap_or_default();
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let messages = body.as_array().map_or(std::slice::from_ref(&body), Vec::as_slice);
    for (message, item) in messages.iter().zip(&mut asked.items) {
        let inside = |name: &str| message.get(name).unwrap_or(&Value::Null);
        for part in [inside("params"), inside("result")] {
            if let Some(task) = part.get("_meta").and_then(|meta| meta.get(RELATED_TASK)) {
                handles.push(of_task(task)?);
            }
        }
        // Nobody decides on each of them, nor proves whose they are.
        let named = inside("params").get("notifications").unwrap_or(&Value::Null);
        let names =
            |member: &str| named.get(member).and_then(Value::as_array).is_some_and(|all| !all.is_empty());
        if item.action.name == "subscriptions/listen" && (names("taskIds") || names("resourceSubscriptions"))
        {
            return Err(Refusal::new(
                Reason::Forbidden,
                "tasks and resources cannot be subscribed to by name",
            ));
        }
        if item.action.name.starts_with("tasks/") && item.action.name != "tasks/list" {
            let handle = of_task(inside("params"))?;
            if !handle.tool.is_empty() {
                item.target = Target::mcp_tool(resource, &handle.tool);
            }
            handles.push(handle);
        }
    }
    // What is written with escapes could not be replaced by what the server knows.
    let is_plain =
        |handle: &Handle| handle.kind == HandleKind::Session || text.contains(&quoted(&handle.text()));
    if handles.iter().all(is_plain) { Ok(handles) } else { Err(foreign()) }
}

fn of_task(value: &Value) -> Result<Handle, Refusal> {
    bound(HandleKind::Task, value.get("taskId").and_then(Value::as_str).ok_or_else(foreign)?)
}

fn bound(kind: HandleKind, text: &str) -> Result<Handle, Refusal> {
    Handle::parse(kind, text).ok_or_else(foreign)
}

fn foreign() -> Refusal {
    Refusal::new(Reason::SessionMismatch, "the session or task is none that this gateway has bound")
}

/// The body with the server's own handles in place of the bound ones; nothing where it is the same.
#[must_use]
pub fn unbound_body(call: &HttpCall, handles: &[Handle]) -> Option<Vec<u8>> {
    let Body::Whole(body) = &call.body else { return None };
    let mut tasks = handles.iter().filter(|handle| handle.kind == HandleKind::Task).peekable();
    tasks.peek()?;
    let text = std::str::from_utf8(body).ok()?.to_owned();
    let unbound = tasks.fold(text, |text, handle| text.replace(&quoted(&handle.text()), &quoted(&handle.id)));
    Some(unbound.into_bytes())
}

/// As it stands in JSON: a handle holds nothing that would need an escape.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
