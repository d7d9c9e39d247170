//! Handles of sessions and tasks, alone and in bodies.
//!
//! A text has one reading as a handle, and what can be bound comes back as it was. In a body every `@` stands for a handle: it is
//! replaced by the server's own where the protocol has handles, and nothing else of the body is changed, as plain `serde_json`
//! reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_call::{Body, Headers, HttpCall, Named, unbound_body};
use palisade_model::{Handle, HandleKind, Surface};
use serde_json::Value;

/// Where a message may say which task it belongs to.
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for kind in [HandleKind::Session, HandleKind::Task] {
        if let Some(handle) = Handle::parse(kind, text) {
            assert_eq!(handle.text(), text);
            assert!(handle.kind == kind && Handle::may_be_bound(&handle.id, &handle.tool));
        }
    }
    let Some((names, body)) = text.split_once('\n') else { return };
    let (tool, id) = names.split_once(' ').unwrap_or(("", names));
    if !Handle::may_be_bound(id, tool) {
        return;
    }
    let handle = Handle {
        kind: HandleKind::Task,
        seal: "0123456789abcdef".repeat(2),
        tool: tool.to_owned(),
        id: id.to_owned(),
    };
    assert_eq!(Handle::parse(HandleKind::Task, &handle.text()).as_ref(), Some(&handle));
    replaced_in_its_places(&handle, &body.replace('@', &handle.text()));
});

fn replaced_in_its_places(handle: &Handle, body: &str) {
    // Bodies that were not read are asked about by nobody.
    if palisade_json::read(body.as_bytes(), 32).is_err() {
        return;
    }
    let sent: Value = serde_json::from_str(body).expect("it was read");
    let unbound = unbound_body(&call(body), std::slice::from_ref(handle)).expect("there is a task");
    let got: Value = serde_json::from_slice(&unbound).expect("it stays JSON");
    let mut expected = sent;
    match &mut expected {
        Value::Array(messages) => messages.iter_mut().for_each(|message| replace(message, handle)),
        message => replace(message, handle),
    }
    assert_eq!(got, expected);
}

/// Replaces the handle where a message has handles.
fn replace(message: &mut Value, handle: &Handle) {
    let related = format!("/_meta/{}/taskId", RELATED_TASK.replace('/', "~1"));
    for place in ["/params/taskId".to_owned(), format!("/params{related}"), format!("/result{related}")] {
        // A pointer goes into arrays, too, and no array stands on the way.
        let mut on_the_way = place.match_indices('/').skip(1).map(|(end, _)| message.pointer(&place[..end]));
        if on_the_way.all(|value| value.is_some_and(Value::is_object)) {
            own(message.pointer_mut(&place), handle);
        }
    }
    let is_object = |path| message.pointer(path).is_some_and(Value::is_object);
    if is_object("/params") && is_object("/params/notifications") {
        let named = message.pointer_mut("/params/notifications/taskIds").and_then(Value::as_array_mut);
        for id in named.into_iter().flatten() {
            own(Some(id), handle);
        }
    }
}

fn own(value: Option<&mut Value>, handle: &Handle) {
    if let Some(Value::String(text)) = value
        && *text == handle.text()
    {
        text.clone_from(&handle.id);
    }
}

fn call(body: &str) -> HttpCall {
    HttpCall {
        surface: Surface::Gateway,
        named: Named::Segment("files".to_owned()),
        method: "POST".to_owned(),
        scheme: "https".to_owned(),
        host: "files.example.com".to_owned(),
        target: "/".to_owned(),
        headers: Headers::default(),
        body: Body::Whole(body.as_bytes().to_vec()),
        declared_size: None,
        source: None,
        request_id: None,
        mcp: None,
        rewrites_path: false,
        cuts: false,
        answers: false,
        unusable: None,
    }
}
