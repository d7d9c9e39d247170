//! Handles in a request: the session it belongs to, and the task it is about.
//!
//! Behind a gateway a client has only handles that were bound to it. What is none is refused as one of another subject would
//! be. A task's handle says which tool made the task, so that policies decide about it as about the tool; whether that is
//! true, the decision point proves before it asks them.

use std::collections::BTreeMap;

use palisade_mcp::{Reply, Subscribed, Unread};
use palisade_model::{Asked, Handle, HandleKind, Item, Reason, Refusal, ResourceName, Target};
use palisade_pdp::Kind;
use serde_json::{Value, value::RawValue};

use crate::call::{Body, HttpCall};

/// The header of a session (MCP 2025-11-25, Streamable HTTP).
const SESSION: &str = "mcp-session-id";
/// The header that mirrors what a request names (MCP 2026-07-28, Streamable HTTP).
const NAME: &str = "mcp-name";
/// The member of `_meta` that says which task a message belongs to (MCP 2025-11-25, tasks).
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// What is asked for with the handles of the request. What is to be one and is none is the reason for a denial.
pub(crate) fn read(
    call: &HttpCall,
    mut asked: Asked,
    resource: (Kind, &ResourceName),
) -> Result<(Asked, Vec<Handle>), Unread> {
    match handles(call, &mut asked, resource) {
        Ok(handles) => Ok((asked, handles)),
        Err(refusal) => {
            let reply = |item: Item| Reply { action: item.action.name, id: item.reply_to };
            Err(Unread { refusal, replies: asked.items.into_iter().map(reply).collect(), batch: asked.batch })
        }
    }
}

fn handles(
    call: &HttpCall,
    asked: &mut Asked,
    (kind, resource): (Kind, &ResourceName),
) -> Result<Vec<Handle>, Refusal> {
    let mut handles = match call.headers.all(SESSION) {
        [] => Vec::new(),
        [text] => vec![bound(HandleKind::Session, text)?],
        _ => return Err(foreign()),
    };
    // Only messages of MCP name tasks: another body is none, and would be refused as one. A session that it begins is bound as any.
    if kind != Kind::Mcp {
        return Ok(handles);
    }
    let Body::Whole(body) = &call.body else { return Ok(handles) };
    // As it was read when it was asked about. Where there is none, a proxy has read it, or there is nothing but a stream to open.
    let body =
        (!body.is_empty()).then(|| palisade_mcp::read_body(body).map_err(|_| foreign())).transpose()?;
    let messages = match &body {
        Some(Value::Array(messages)) => messages.as_slice(),
        Some(message) => std::slice::from_ref(message),
        None => &[],
    };
    let mut items = asked.items.iter_mut();
    for message in messages {
        // There is one for each message, and behind it one for each that a subscription names.
        let item = items.next().ok_or_else(foreign)?;
        let inside = |name: &str| message.get(name).unwrap_or(&Value::Null);
        for part in [inside("params"), inside("result")] {
            if let Some(task) = part.get("_meta").and_then(|meta| meta.get(RELATED_TASK)) {
                handles.push(of_task(task)?);
            }
        }
        match (item.action.name.as_str(), inside("params").as_object()) {
            ("subscriptions/listen", Some(params)) => {
                let Subscribed { resources, tasks } = Subscribed::read(params)?;
                for _ in &resources {
                    items.next().ok_or_else(foreign)?;
                }
                for text in tasks {
                    let item = items.next().ok_or_else(foreign)?;
                    handles.push(about(item, bound(HandleKind::Task, text)?, resource));
                }
            }
            (method, _) if method.starts_with("tasks/") && method != "tasks/list" => {
                handles.push(about(item, of_task(inside("params"))?, resource));
            }
            (_, _) => {}
        }
    }
    // INVARIANT: each item was looked at with its own message. One that is left belongs to none.
    if body.is_some() && items.next().is_some() {
        return Err(foreign());
    }
    Ok(handles)
}

/// What is asked about a task is asked about the tool that made it.
fn about(item: &mut Item, handle: Handle, resource: &ResourceName) -> Handle {
    if !handle.tool.is_empty() {
        item.target = Target::mcp_tool(resource, &handle.tool);
    }
    handle
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

/// The body with the server's own handles in the places of the bound ones; nothing where it is the same. What is no handle's
/// place stays as it is, whatever it says.
#[must_use]
pub fn unbound_body(call: &HttpCall, handles: &[Handle]) -> Option<Vec<u8>> {
    let Body::Whole(body) = &call.body else { return None };
    if handles.iter().all(|handle| handle.kind == HandleKind::Session) {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let mut places: Vec<(usize, &RawValue)> =
        places(text).into_iter().filter_map(|place| Some((begin(text, place)?, place))).collect();
    places.sort_by_key(|(begin, _)| *begin);
    let mut unbound = String::with_capacity(text.len());
    let mut taken = 0;
    for (begin, place) in places {
        let sent: String = serde_json::from_str(place.get()).unwrap_or_default();
        let Some(handle) = Handle::parse(HandleKind::Task, &sent).filter(|handle| handles.contains(handle))
        else {
            continue;
        };
        unbound.push_str(text.get(taken..begin)?);
        // It holds nothing that would need an escape.
        unbound.push_str(&format!("\"{}\"", handle.id));
        taken = begin + place.get().len();
    }
    unbound.push_str(text.get(taken..)?);
    Some(unbound.into_bytes())
}

/// The server's own handle of the task that the header names which mirrors the request's (`Mcp-Name`). Nothing where that header came
/// more than once, or names something else: a tool, which may be called whatever a handle is.
#[must_use]
pub fn unbound_name<'h>(call: &HttpCall, asked: &Asked, handles: &'h [Handle]) -> Option<&'h str> {
    let [item] = asked.items.as_slice() else { return None };
    let named = call.headers.only(NAME).and_then(palisade_mcp::mirrored)?;
    let named = Handle::parse(HandleKind::Task, &named).filter(|_| item.action.name.starts_with("tasks/"))?;
    handles.iter().find(|handle| **handle == named).map(|handle| handle.id.as_str())
}

/// Where handles of tasks stand in a body.
fn places(text: &str) -> Vec<&RawValue> {
    let Ok(body) = serde_json::from_str::<&RawValue>(text) else { return Vec::new() };
    let mut places = Vec::new();
    for message in elements(body).unwrap_or_else(|| vec![body]) {
        for path in [
            ["params", "taskId"].as_slice(),
            &["params", "_meta", RELATED_TASK, "taskId"],
            &["result", "_meta", RELATED_TASK, "taskId"],
        ] {
            places.extend(inside(message, path));
        }
        let named = inside(message, &["params", "notifications", "taskIds"]);
        places.extend(named.and_then(elements).unwrap_or_default());
    }
    places
}

/// What stands at this path.
fn inside<'a>(value: &'a RawValue, path: &[&str]) -> Option<&'a RawValue> {
    path.iter().try_fold(value, |value, name| {
        let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(value.get()).ok()?;
        members.remove(*name)
    })
}

fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// Where a part of a text begins in it.
fn begin(text: &str, part: &RawValue) -> Option<usize> {
    part.get().as_ptr().addr().checked_sub(text.as_ptr().addr())
}

#[cfg(test)]
mod tests;
