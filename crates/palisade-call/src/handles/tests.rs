//! Handles are replaced where they are handles, and nowhere else.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::call::{Headers, Named};
use palisade_model::Surface;

fn handle(tool: &str, id: &str) -> Handle {
    let (seal, tool, id) = ("0".repeat(palisade_model::SEAL), tool.to_owned(), id.to_owned());
    Handle { kind: HandleKind::Task, seal, tool, id }
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

fn unbound(body: &str, handles: &[Handle]) -> String {
    String::from_utf8(unbound_body(&call(body), handles).unwrap()).unwrap()
}

#[test]
fn behind_a_subscription_each_message_is_read_with_its_own_item() {
    let resource: ResourceName = "files".parse().unwrap();
    let item = |method: &str| Item {
        action: palisade_model::Action::mcp(method),
        target: Target::mcp_tool(&resource, "any"),
        arguments: None,
        supplied: Default::default(),
        known: Default::default(),
        reply_to: None,
    };
    let read_batch = |methods: &[&str], messages: &Value| {
        let asked = Asked { items: methods.iter().map(|method| item(method)).collect(), batch: true };
        read(&call(&messages.to_string()), asked, (Kind::Mcp, &resource))
    };
    let listen =
        |names: Value| json!({"id": 1, "method": "subscriptions/listen", "params": {"notifications": names}});
    let cancel = |task: &str| json!({"id": 2, "method": "tasks/cancel", "params": {"taskId": task}});
    let resources = json!({"resourceSubscriptions": ["file:///a"]});
    let methods = ["subscriptions/listen", "resources/subscribe", "tasks/cancel"];
    let raw = read_batch(&methods, &json!([listen(resources.clone()), cancel("7")]));
    assert_eq!(raw.unwrap_err().refusal.reason, Reason::SessionMismatch, "a task that nobody has bound");
    let own = handle("run", "7");
    let bound = read_batch(&methods, &json!([listen(resources), cancel(&own.text())])).unwrap();
    assert_eq!(
        (bound.0.items[1].target.id.as_str(), bound.0.items[2].target.id.as_str()),
        ("files/any", "files/run")
    );
    assert_eq!(bound.1, [own]);
    // Items and messages that do not go together are nothing to guess about.
    for methods in [&methods[..1], &["tasks/list", "tasks/list", "tasks/list"]] {
        let list = json!({"id": 3, "method": "tasks/list"});
        assert!(read_batch(methods, &json!([list, list])).is_err());
    }
}

#[test]
fn where_one_message_cannot_be_read_no_handle_of_any_is_proven() {
    let resource: ResourceName = "files".parse().unwrap();
    let item = |method: &str| Item {
        action: palisade_model::Action::mcp(method),
        target: Target::mcp_server(&resource),
        arguments: None,
        supplied: Default::default(),
        known: Default::default(),
        reply_to: None,
    };
    let get = r#"{"jsonrpc":"2.0","id":2,"method":"tasks/get","params":{"taskId":"7"}}"#;
    let member = r#""$serde_json::private::RawValue":"!""#;
    let list = |params: &str| {
        format!(r#"[{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{params}}},{get}]"#)
    };
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{MEMBER,"notifications":{"taskIds":["7"]}}}"#;
    let related = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{MEMBER},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"7"}}}}"#;
    for (methods, body) in [
        (["tools/list", "tasks/get"].as_slice(), list(&format!("{{{member}}}"))),
        (&["tools/list", "tasks/get"], list(&format!(r#"{{{member},"cursor":"x"}}"#))),
        (&["subscriptions/listen", "tasks/get"], listen.replace("MEMBER", member)),
        (&["tools/call"], related.replace("MEMBER", member)),
    ] {
        let items = methods.iter().map(|method| item(method)).collect();
        let unread = read(&call(&body), Asked { items, batch: true }, (Kind::Mcp, &resource)).unwrap_err();
        assert_eq!(unread.refusal.reason, Reason::SessionMismatch, "{body}");
    }
}

#[test]
fn a_handle_is_replaced_in_every_place_of_handles_and_in_no_other() {
    let (one, two) = (handle("run", "7"), handle("walk", "8"));
    let (first, second) = (one.text(), two.text());
    let spelt = first.replace('0', "\\u0030");
    let body = format!(
        r#" [ {{"method":"tasks/update","params":{{ "taskId" : "{first}","note":"{first}","taskIds":["{first}"],"inputResponses":{{"taskId":"{first}"}},
        "_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{second}"}},"taskId":"{first}"}} }} }},
        {{"id":1,"result":{{"taskId":"{first}","_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{spelt}"}}}}}}}},
        {{"method":"subscriptions/listen","params":{{"notifications":{{"taskIds":["{second}","{first}","other"]}}}}}}, 1.0e5 ]"#
    );
    let expected = format!(
        r#" [ {{"method":"tasks/update","params":{{ "taskId" : "7","note":"{first}","taskIds":["{first}"],"inputResponses":{{"taskId":"{first}"}},
        "_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"8"}},"taskId":"{first}"}} }} }},
        {{"id":1,"result":{{"taskId":"{first}","_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"7"}}}}}}}},
        {{"method":"subscriptions/listen","params":{{"notifications":{{"taskIds":["8","7","other"]}}}}}}, 1.0e5 ]"#
    );
    assert_eq!(unbound(&body, &[one.clone(), two]), expected);
    // What was not proven stays.
    let only_one = unbound(&body, &[one]);
    assert!(only_one.contains(&second) && only_one.contains(r#""taskId" : "7""#), "{only_one}");
    assert_eq!(unbound_body(&call(&body), &[]), None);
}

#[test]
fn the_header_of_a_task_is_replaced_and_that_of_a_tool_never() {
    let run = handle("run", "7");
    let handles = [run.clone(), handle("walk", "8")];
    let named = |method: &str, values: &[&str]| {
        let mut call = call("{}");
        values.iter().for_each(|value| call.headers.push(NAME, (*value).to_owned()));
        let item = Item {
            action: palisade_model::Action::mcp(method),
            target: Target::mcp_tool(&"files".parse().unwrap(), "any"),
            arguments: None,
            supplied: Default::default(),
            known: Default::default(),
            reply_to: None,
        };
        unbound_name(&call, &Asked::one(item), &handles).map(str::to_owned)
    };
    let first = run.text();
    assert_eq!(named("tasks/get", &[&first]).as_deref(), Some("7"));
    let wrapped = "=?base64?MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAuNzc2MTZjNmIuOA==?=";
    assert_eq!(named("tasks/get", &[wrapped]).as_deref(), Some("8"));
    assert_eq!(named("tasks/get", &[&first, &first]), None, "twice");
    assert_eq!(named("tasks/get", &["7"]), None, "what nobody has bound");
    assert_eq!(named("tasks/get", &[&handle("run", "9").text()]), None, "what the body does not hold");
    assert_eq!(named("tools/call", &["run"]), None);
    assert_eq!(named("tools/call", &[&first]), None, "a tool that is called as a handle is");
    assert_eq!(named("tasks/get", &[]), None);
}

proptest! {
    #[test]
    fn nothing_else_of_a_body_is_changed(text in "\\PC{0,20}", number in -1e300_f64..1e300, id in "[!#-\\[\\]-~]{1,20}") {
        let one = handle("run", &id);
        let body = |task: &str| json!({ "method": "tasks/get", "id": text, "params": { "taskId": task, "n": number, text.as_str(): [text, one.text()] } });
        prop_assume!(text != "taskId" && text != "n");
        let sent = body(&one.text());
        let got: Value = serde_json::from_str(&unbound(&sent.to_string(), std::slice::from_ref(&one))).unwrap();
        prop_assert_eq!(&got, &body(&id));
        let pretty = unbound(&format!("{sent:#}"), std::slice::from_ref(&one));
        prop_assert_eq!(pretty, format!("{:#}", body(&id)));
    }
}

/// What the layer binds on the way out comes in as it was bound, and a body that is no message of MCP holds nothing that could be
/// a handle.
#[test]
fn a_session_of_another_api_is_bound_as_any_and_its_body_is_no_message() {
    let resource: ResourceName = "api".parse().unwrap();
    let item = Item {
        action: palisade_model::Action::graphql("query"),
        target: Target::graphql_operation(&resource, "Q"),
        arguments: None,
        supplied: Default::default(),
        known: Default::default(),
        reply_to: None,
    };
    let read_with = |session: Option<&str>| {
        let mut call = call(r#"{"query": "{ a b }"}"#);
        if let Some(session) = session {
            call.headers.push(SESSION, session.to_owned());
        }
        let asked = Asked { items: vec![item.clone(), item.clone()], batch: false };
        read(&call, asked, (Kind::Graphql, &resource)).map(|(_, handles)| handles)
    };
    assert!(read_with(None).unwrap().is_empty());
    assert_eq!(read_with(Some("own")).unwrap_err().refusal.reason, Reason::SessionMismatch);
    let bound = Handle { kind: HandleKind::Session, ..handle("", "s") };
    assert_eq!(read_with(Some(&bound.text())).unwrap(), [bound]);
    let asked = || Asked { items: Vec::new(), batch: false };
    for body in ["a=1", ""] {
        assert!(read(&call(body), asked(), (Kind::Http, &resource)).unwrap().1.is_empty(), "{body}");
    }
    assert!(read(&call("a=1"), asked(), (Kind::Mcp, &resource)).is_err(), "as a message it would be refused");
}
