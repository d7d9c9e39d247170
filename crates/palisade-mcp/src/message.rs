//! A body as JSON-RPC messages, in the one reading it has.
//!
//! Media type, then strict JSON, then the envelope (JSON-RPC 2.0 section 4), which is closed: a member that the
//! protocol does not define is refused, because a lenient server behind us might take it for one that it does. What a
//! message asks for is the business of `method`.

use std::collections::HashSet;

use palisade_json::JsonError;
use palisade_model::{Asked, Item, Refusal, ResourceName};
use serde_json::{Map, Value};

use crate::{
    Post, Reply, lookalikes, malformed, method, mirrors, on_server,
    subscription::{self, LISTEN},
};

/// The deepest nesting of a body.
const MAX_DEPTH: usize = 32;
/// The deepest nesting of a server's message, whose results hold what it likes.
const MAX_DEPTH_OF_SERVER: usize = 128;

/// A body that was not read, and the messages in it that an answer can still address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Why.
    pub refusal: Refusal,
    /// The messages, where the body is JSON-RPC at all.
    pub replies: Vec<Reply>,
    /// Whether the body is a batch.
    pub batch: bool,
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, replies: Vec::new(), batch: false }
    }
}

/// A body in the one reading that it has. Whoever looks into a body beside deciding about it reads it by this, and so the same.
///
/// # Errors
/// Where it has no reading, or more than one.
pub fn read_body(body: &[u8]) -> Result<Value, JsonError> {
    palisade_json::read(body, MAX_DEPTH)
}

/// A message of a server, or several in one, in the one reading that it has. What is told to a client as it came has been read by
/// this, so that its client finds nothing in it that was not looked at.
///
/// # Errors
/// Where it has no reading, or more than one.
pub fn read_message(message: &[u8]) -> Result<Value, JsonError> {
    palisade_json::read(message, MAX_DEPTH_OF_SERVER)
}

/// Reads the body of a POST.
///
/// # Errors
/// `request_malformed` for anything that has no or more than one reading, `method_unknown` for a method that is not
/// the protocol's, `arguments_invalid` for arguments beyond the limits, `header_mismatch` for a header unlike the body.
pub fn read(post: &Post<'_>, resource: &ResourceName) -> Result<Asked, Unread> {
    is_plain_json(post.content_type, post.content_encoding)?;
    let value = read_body(post.body).map_err(|error| malformed(error.to_string()))?;
    let (messages, batch) = match &value {
        Value::Array(messages) => (messages.as_slice(), true),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            (std::slice::from_ref(&value), false)
        }
    };
    if messages.is_empty() || messages.len() > post.max_batch {
        return Err(malformed("a batch is empty or holds too many messages").into());
    }
    let read = |message| mirrors::check_method(post.mirrors, message).and_then(|()| asked(message, resource));
    let items = messages.iter().map(read).collect::<Result<Vec<_>, _>>();
    let checked = items.and_then(|items| {
        let items: Vec<Item> = items.into_iter().flatten().collect();
        if items.len() > post.max_batch {
            return Err(malformed("the body asks for too much at once"));
        }
        distinct(&items)?;
        mirrors::check(post.mirrors, messages, batch)?;
        Ok(Asked { items, batch })
    });
    checked.map_err(|refusal| Unread { refusal, replies: replies(messages), batch })
}

/// Two requests with one id have one answer, and nobody could say whose it is.
fn distinct(items: &[Item]) -> Result<(), Refusal> {
    let mut ids = HashSet::new();
    let is_new = items.iter().filter_map(|item| item.reply_to.as_deref()).all(|id| ids.insert(id));
    if is_new { Ok(()) } else { Err(malformed("two requests of a batch have the same `id`")) }
}

/// One message as an item, and as one more for each that it names beside.
fn asked(message: &Value, resource: &ResourceName) -> Result<Vec<Item>, Refusal> {
    let mut items = vec![item(message, resource)?];
    if message.get("method").and_then(Value::as_str) == Some(LISTEN)
        && let Some(params) = message.get("params").and_then(Value::as_object)
    {
        items.extend(subscription::items(params, resource)?);
    }
    Ok(items)
}

/// One message as an item.
fn item(message: &Value, resource: &ResourceName) -> Result<Item, Refusal> {
    let Value::Object(members) = message else { return Err(malformed("a message is not an object")) };
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(malformed("`jsonrpc` is not \"2.0\""));
    }
    let Some(method) = members.get("method") else { return response(members, resource) };
    only(members, &["jsonrpc", "id", "method", "params"])?;
    let method = method.as_str().ok_or_else(|| malformed("`method` is not a string"))?;
    let params = match members.get("params") {
        None => None,
        Some(Value::Object(params)) => Some(params),
        Some(_) => return Err(malformed("`params` is not an object")),
    };
    if let Some(params) = params {
        lookalikes::none_of_protocol_names(params)?;
    }
    let Some(id) = members.get("id") else { return notification(method, resource) };
    let id = raw_id(id).ok_or_else(|| malformed("`id` is neither a string nor an integer"))?;
    let item = method::item(method, params, resource)?;
    Ok(Item { reply_to: Some(id), ..item })
}

/// A client's answer to a request of the server.
fn response(members: &Map<String, Value>, resource: &ResourceName) -> Result<Item, Refusal> {
    only(members, &["jsonrpc", "id", "result", "error"])?;
    if members.contains_key("result") == members.contains_key("error") {
        return Err(malformed("a message has neither or more than one of `method`, `result` and `error`"));
    }
    // An error may answer a request whose id could not be read (JSON-RPC 2.0 section 5).
    let addressed = match members.get("id") {
        None | Some(Value::Null) => members.contains_key("error"),
        Some(id) => raw_id(id).is_some(),
    };
    if !addressed {
        return Err(malformed("`id` is neither a string nor an integer"));
    }
    Ok(on_server("response", resource))
}

/// A message that wants no answer. A request of the protocol without an id is none: a server that carried it out all
/// the same would act on what was decided as a mere notification.
fn notification(method: &str, resource: &ResourceName) -> Result<Item, Refusal> {
    if method::is_notification(method) {
        Ok(on_server("notification", resource))
    } else if method::is_request(method) {
        Err(malformed("a request has no `id`"))
    } else {
        Err(method::unknown())
    }
}

/// The raw JSON of an id that may be echoed: a string or an integer.
pub(crate) fn raw_id(id: &Value) -> Option<String> {
    let echoed = id.is_string() || id.is_i64() || id.is_u64();
    echoed.then(|| id.to_string())
}

/// The requests among messages that may be malformed otherwise.
fn replies(messages: &[Value]) -> Vec<Reply> {
    let reply = |message: &Value| {
        let action = message.get("method")?.as_str()?.to_owned();
        Some(Reply { action, id: Some(raw_id(message.get("id")?)?) })
    };
    messages.iter().filter_map(reply).collect()
}

fn is_plain_json(content_type: Option<&str>, content_encoding: Option<&str>) -> Result<(), Refusal> {
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let is_utf8 = |parameter: &str| {
        ["charset=utf-8", "charset=\"utf-8\""].iter().any(|known| parameter.eq_ignore_ascii_case(known))
    };
    if !is_json || !parts.next().is_none_or(is_utf8) || parts.next().is_some() {
        return Err(malformed("the content type is not `application/json`"));
    }
    // Also `identity`: some readers refuse it, others take what follows it for the coding.
    if content_encoding.is_some() {
        return Err(malformed("the body has a content encoding"));
    }
    Ok(())
}

/// The envelope is closed, so no member beyond the known ones is looked at.
fn only(members: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    if members.len() <= known.len() && members.keys().all(|member| known.contains(&member.as_str())) {
        Ok(())
    } else {
        Err(malformed("the message holds a member that is not JSON-RPC's"))
    }
}
