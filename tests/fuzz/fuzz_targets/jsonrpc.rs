//! Bodies through the reader of MCP messages.
//!
//! The decision is made on our reading and the server acts on its own, so whatever is accepted is read again by plain
//! `serde_json`: each message must have the same method, the same name or URI, the same arguments and the same id, and
//! no member may occur twice. Headers that mirror such a message agree with it, and others do not.
#![no_main]

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use palisade_mcp::{Mirrors, Post, Unread, denial, read};
use palisade_model::{Action, Arguments, Asked, Item, Reason, ResourceName, Target};
use serde_json::{Value, json};

static FILES: LazyLock<ResourceName> = LazyLock::new(|| "files".parse().expect("a name"));
const MAX_BATCH: usize = 8;

fuzz_target!(|body: &[u8]| {
    match read_with(body, &Mirrors::default()) {
        Ok(asked) => {
            let plain: Value = serde_json::from_slice(body).expect("what is accepted is JSON");
            assert_eq!(colons(body), members(&plain), "no member occurs twice");
            reads_alike(&asked, &plain);
            mirrors_agree(body, &asked, &plain);
        }
        Err(unread) => can_be_answered(&unread),
    }
});

fn read_with(body: &[u8], mirrors: &Mirrors<'_>) -> Result<Asked, Unread> {
    let post = Post {
        body,
        content_type: Some("application/json"),
        content_encoding: None,
        mirrors,
        max_batch: MAX_BATCH,
    };
    read(&post, &FILES)
}

fn reads_alike(asked: &Asked, plain: &Value) {
    assert_eq!(asked.batch, plain.is_array());
    let messages = plain.as_array().map_or(std::slice::from_ref(plain), Vec::as_slice);
    assert!((1..=MAX_BATCH).contains(&messages.len()));
    let mut items = asked.items.iter();
    for message in messages {
        let item = items.next().expect("an item a message");
        match (message.get("method"), message.get("id")) {
            (None, _) => on_server(item, "response"),
            (Some(_), None) => on_server(item, "notification"),
            (Some(method), Some(id)) => {
                let method = method.as_str().expect("a string");
                assert_eq!(item.action, Action::mcp(method));
                assert_eq!(item.reply_to.as_deref(), Some(id.to_string().as_str()));
                assert_eq!(item.target, target(method, message));
                assert_eq!(item.arguments.as_deref(), arguments(method, message).as_ref());
                if method == "subscriptions/listen" {
                    named_alike(&mut items, message);
                }
            }
        }
    }
    assert_eq!(items.next(), None, "nothing is asked that no message says");
}

/// Behind a subscription comes each thing that it names.
fn named_alike<'a>(items: &mut impl Iterator<Item = &'a Item>, message: &Value) {
    let Some(filter) = message.get("params").and_then(|params| params.get("notifications")) else { return };
    let named = |member: &str| filter.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
    for uri in named("resourceSubscriptions") {
        let item = items.next().expect("an item a resource");
        let target = Target::mcp_resource(&FILES, uri.as_str().expect("a string"));
        assert_eq!((&item.action, &item.target), (&Action::mcp("resources/subscribe"), &target));
    }
    for _ in named("taskIds") {
        on_server(items.next().expect("an item a task"), "tasks/get");
    }
}

fn on_server(item: &Item, action: &str) {
    assert_eq!((&item.action, &item.target), (&Action::mcp(action), &Target::mcp_server(&FILES)));
    assert_eq!((&item.arguments, &item.reply_to), (&None, &None));
}

fn text<'a>(message: &'a Value, pointer: &str) -> Option<&'a str> {
    message.pointer(pointer)?.as_str()
}

/// What a server would act on.
fn target(method: &str, message: &Value) -> Target {
    let needed = |pointer| text(message, pointer).expect("a string");
    match method {
        "tools/call" => Target::mcp_tool(&FILES, needed("/params/name")),
        "prompts/get" => Target::mcp_prompt(&FILES, needed("/params/name")),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            Target::mcp_resource(&FILES, needed("/params/uri"))
        }
        "completion/complete" if needed("/params/ref/type") == "ref/prompt" => {
            Target::mcp_prompt(&FILES, needed("/params/ref/name"))
        }
        "completion/complete" => Target::mcp_resource(&FILES, needed("/params/ref/uri")),
        _ => Target::mcp_server(&FILES),
    }
}

fn arguments(method: &str, message: &Value) -> Option<Arguments> {
    let arguments = match method {
        "tools/call" | "prompts/get" => {
            message.pointer("/params/arguments").cloned().unwrap_or_else(|| json!({}))
        }
        "completion/complete" => {
            let name = text(message, "/params/argument/name").expect("a string");
            json!({ name: text(message, "/params/argument/value").expect("a string") })
        }
        _ => return None,
    };
    Some(Arguments::from_json(&arguments).expect("arguments within the limits"))
}

/// A single request is accepted with headers that say what it says, and refused with headers that say otherwise.
fn mirrors_agree(body: &[u8], asked: &Asked, plain: &Value) {
    let (Some(method), Some(_), false) = (text(plain, "/method"), plain.get("id"), asked.batch) else {
        return;
    };
    let names = ["/params/name", "/params/uri", "/params/ref/name", "/params/ref/uri"];
    let place = match method {
        "tools/call" | "prompts/get" => 0,
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => 1,
        // One that has both members is left out: which of them the headers mirror, no standard says.
        "completion/complete" if plain.pointer(names[2]).is_none() => 3,
        "completion/complete" if plain.pointer(names[3]).is_none() => 2,
        _ => return,
    };
    let name = text(plain, names[place]).expect("a string");
    let wrapped = format!("=?base64?{}?=", STANDARD.encode(name));
    let same = Mirrors { method: vec![method], name: vec![&wrapped], ..Mirrors::default() };
    assert_eq!(read_with(body, &same).as_ref(), Ok(asked));
    let longer = format!("=?base64?{}?=", STANDARD.encode(format!("{name}x")));
    for other in [
        Mirrors { name: vec![&longer], ..same.clone() },
        Mirrors { method: vec!["ping"], ..same.clone() },
        Mirrors { method: vec![method, method], ..same },
    ] {
        let unread = read_with(body, &other).expect_err("the headers say something else");
        assert_eq!(unread.refusal.reason, Reason::HeaderMismatch);
    }
}

/// The refusal of anything can be told, to those requests only that are in the body.
fn can_be_answered(unread: &Unread) {
    let answer = denial(unread.refusal.reason, &unread.replies, unread.batch);
    let errors = answer.as_array().map_or(usize::from(!answer.is_null()), Vec::len);
    assert_eq!(errors, unread.replies.len());
}

/// The colons outside strings: one a member, as it is written.
fn colons(body: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (0, false, false);
    for byte in body {
        match (quoted, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, false, b'"') => quoted = !quoted,
            (false, _, b':') => count += 1,
            _ => {}
        }
    }
    count
}

/// The members of a value at any depth, as they were kept.
fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(elements) => elements.iter().map(members).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
