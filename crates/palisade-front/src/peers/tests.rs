//! What is read of each contract's messages, and that only what is let by is a yes.

use palisade_model::Reason;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Contract, Message, Outcome, Server};

fn porc(operation: &str, resource: &str) -> Value {
    json!({ "principal": { "sub": "alice", "mroles": ["admin"] }, "operation": operation, "resource": resource, "context": {} })
}

fn authorize(action: &str, kind: &str, name: &str) -> Value {
    json!({ "principal": { "type": "User", "id": "alice@example.com" }, "action": { "type": "Action", "id": action },
        "resource": { "type": kind, "id": name, "attrs": { "server": "files" } }, "context": { "ip": "10.0.0.1" }, "entities": [] })
}

/// A message with what is at a pointer replaced; `null` takes it away.
fn with(mut message: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = message.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.remove(name);
    if !value.is_null() {
        parent.insert(name.to_owned(), value);
    }
    message
}

fn toolhive(message: &Value) -> Result<Message, Reason> {
    Contract::Toolhive.read(message).map_err(|refusal| refusal.reason)
}

fn contextforge(message: &Value) -> Result<Message, Reason> {
    Contract::Contextforge.read(message).map_err(|refusal| refusal.reason)
}

#[test]
fn toolhives_operations_are_actions_of_mcp() {
    for (operation, resource, action, target) in [
        ("mcp:tool:call", "mrn:mcp:files:tool:list_files", "tools/call", Some("list_files")),
        ("mcp:prompt:get", "mrn:mcp:files:prompt:greet", "prompts/get", Some("greet")),
        ("mcp:resource:read", "mrn:mcp:files:resource:file:///a:b", "resources/read", Some("file:///a:b")),
        ("mcp:tool:list", "mrn:mcp:files:tool:", "tools/list", None),
    ] {
        let message = toolhive(&porc(operation, resource)).unwrap();
        assert_eq!((message.action, message.target.as_deref()), (action, target), "{operation}");
        assert_eq!(message.server, Server::Named("files".to_owned()));
        assert_eq!((message.subject.as_deref(), message.arguments), (Some("alice"), None));
    }
    let call = || porc("mcp:tool:call", "mrn:mcp:files:tool:pay");
    let mcp = json!({ "mcp": { "feature": "tool", "operation": "call", "resource_id": "pay", "args": { "n": 1 } } });
    let told = toolhive(&with(call(), "/context", mcp)).unwrap();
    assert_eq!(told.arguments, Some(json!({ "n": 1 })));
    let untold = toolhive(&with(call(), "/context", json!({ "mcp": { "args": null } }))).unwrap();
    assert_eq!(untold.arguments, None);
    assert_eq!(toolhive(&with(call(), "/principal", Value::Null)).unwrap().subject, None);
    let mut nobody = call();
    nobody["principal"] = Value::Null;
    assert_eq!(toolhive(&nobody).unwrap().subject, None);
}

#[test]
fn what_toolhive_says_in_two_ways_is_refused() {
    let call = || porc("mcp:tool:call", "mrn:mcp:files:tool:pay");
    for message in [
        json!([]),
        porc("mcp:tool:call", "mrn:mcp:files:prompt:pay"),
        porc("mcp:tool:call", "mrn:mcp:files:tool:"),
        porc("mcp:tool:list", "mrn:mcp:files:tool:pay"),
        porc("mcp:tool:call", "mrn:mcp:files"),
        porc("mcp:tool:call", "files:tool:pay"),
        with(call(), "/operation", json!(["mcp:tool:call"])),
        with(call(), "/principal", json!("alice")),
        with(call(), "/principal", json!(["alice"])),
        with(call(), "/principal", json!(false)),
        with(call(), "/principal/sub", Value::Null),
        with(call(), "/principal/sub", json!("")),
        with(call(), "/principal/sub", json!(7)),
        with(call(), "/context", json!({ "mcp": { "resource_id": "list_files" } })),
        with(call(), "/context", json!({ "mcp": { "operation": "get" } })),
        with(call(), "/context", json!({ "mcp": { "feature": 1 } })),
        with(call(), "/context", json!({ "mcp": { "args": [] } })),
    ] {
        assert_eq!(toolhive(&message), Err(Reason::RequestMalformed), "{message}");
    }
    let unknown = porc("mcp:tool:delete", "mrn:mcp:files:tool:pay");
    assert_eq!(toolhive(&unknown), Err(Reason::MethodUnknown));
}

#[test]
fn contextforges_actions_are_actions_of_mcp() {
    for (action, kind, name, expected) in [
        ("tools.invoke.pay", "Tool", "pay", "tools/call"),
        ("tools.invoke", "Tool", "pay", "tools/call"),
        ("resources.fetch", "Resource", "file:///a", "resources/read"),
    ] {
        let message = contextforge(&authorize(action, kind, name)).unwrap();
        assert_eq!((message.action, message.target.as_deref()), (expected, Some(name)));
        assert_eq!(message.server, Server::NamedOrOnly("files".to_owned()));
        assert_eq!(message.subject.as_deref(), Some("alice@example.com"));
    }
    let call = || authorize("tools.invoke.pay", "Tool", "pay");
    let told = contextforge(&with(call(), "/context/tool_args", json!({ "n": 1 }))).unwrap();
    assert_eq!(told.arguments, Some(json!({ "n": 1 })));
    assert_eq!(
        contextforge(&with(call(), "/principal/id", json!("anonymous@internal"))).unwrap().subject,
        None
    );
    for message in [
        json!({}),
        authorize("tools.invoke.list_files", "Tool", "pay"),
        with(call(), "/principal", json!("alice@example.com")),
        with(call(), "/principal/type", json!("Role")),
        with(call(), "/principal/id", json!(7)),
        with(call(), "/principal/id", Value::Null),
        with(call(), "/resource/attrs/server", json!(["files"])),
        with(call(), "/resource/attrs/server", json!(7)),
        with(call(), "/principal/id", json!("")),
        with(call(), "/action/type", json!("User")),
        with(call(), "/resource/id", Value::Null),
        with(call(), "/context/tool_args", json!("n")),
    ] {
        assert_eq!(contextforge(&message), Err(Reason::RequestMalformed), "{message}");
    }
    for (action, kind) in [
        ("tools.invoke.pay", "Prompt"),
        ("tools.list", "Tool"),
        ("tools.invoked", "Tool"),
        ("resources.fetch", "Tool"),
    ] {
        assert_eq!(
            contextforge(&authorize(action, kind, "pay")),
            Err(Reason::MethodUnknown),
            "{action} {kind}"
        );
    }
}

#[test]
fn no_outage_is_a_yes() {
    for contract in Contract::all() {
        let body = contract.body(&Outcome::outage()).to_string();
        assert!(!body.contains("true") && !body.contains("Allow"), "{body}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z:./]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "mcp:tool:call",
            "mrn:mcp:files:tool:pay",
            "User",
            "Action",
            "Tool",
            "tools.invoke.pay",
            "pay"
        ])
        .prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "principal",
        "operation",
        "resource",
        "context",
        "action",
        "type",
        "id",
        "sub",
        "mcp",
        "args",
        "attrs",
        "server",
        "tool_args",
    ]);
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused_and_what_is_read_is_what_it_says(message in any_json()) {
        if let Ok(read) = Contract::Toolhive.read(&message) {
            let mrn = message["resource"].as_str().unwrap();
            prop_assert!(mrn.ends_with(read.target.as_deref().unwrap_or(":")));
            prop_assert_eq!(read.subject.as_deref(), message["principal"]["sub"].as_str());
            prop_assert_eq!(read.subject.is_none(), message["principal"].is_null());
        }
        if let Ok(read) = Contract::Contextforge.read(&message) {
            prop_assert_eq!(read.target.as_deref(), message["resource"]["id"].as_str());
            let server = &message["resource"]["attrs"]["server"];
            prop_assert!(server.is_null() || server.is_string());
        }
    }
}
