use std::collections::BTreeSet;

use palisade_model::ResourceName;
use palisade_pdp::{DenialForm, Metadata, Routes, ScopeSettings, UpstreamToken};

use super::*;

fn resource(kind: Kind) -> Resource {
    Resource {
        name: "files".parse().unwrap(),
        identifier: "https://files.example.com".to_owned(),
        kind,
        issuers: Vec::new(),
        audiences: BTreeSet::new(),
        any_audience: false,
        metadata: Metadata::default(),
        scopes: ScopeSettings::default(),
        acr_values: Vec::new(),
        max_age: Vec::new(),
        tools: Default::default(),
        routes: Routes::new(["/v1/orders/{id}"]).unwrap(),
        anonymous: BTreeSet::new(),
        step_up: true,
        list: Default::default(),
        denial_form: DenialForm::Http,
        cors_origins: BTreeSet::new(),
        upstream_token: UpstreamToken::Strip,
        observe_until: None,
        rate_limits: Default::default(),
        static_tokens: Default::default(),
        grammar: Default::default(),
    }
}

fn read(kind: Kind, action: &str, target: Option<&str>, arguments: Option<&Value>) -> Result<Worded, Reason> {
    Wording { action, target, arguments }.read(&resource(kind)).map_err(|refusal| refusal.reason)
}

/// What a body of the wire asks for.
fn wire(body: &Value) -> Item {
    let body = body.to_string();
    let post = Post {
        body: body.as_bytes(),
        content_type: Some("application/json"),
        content_encoding: None,
        mirrors: &Mirrors::default(),
        max_batch: 1,
    };
    let name: ResourceName = "files".parse().unwrap();
    Item { reply_to: None, ..palisade_mcp::read(&post, &name).unwrap().items.remove(0) }
}

#[test]
fn words_mean_what_the_same_message_means() {
    let large = json!({ "n": 18_446_744_073_709_551_615_u64, "path": "/a" });
    for (action, target, arguments, params) in [
        ("tools/call", Some("echo"), Some(&large), json!({ "name": "echo", "arguments": large })),
        ("tools/call", Some("echo"), None, json!({ "name": "echo" })),
        ("prompts/get", Some("greet"), Some(&large), json!({ "name": "greet", "arguments": large })),
        ("resources/read", Some("db://a?b#c"), None, json!({ "uri": "db://a?b#c" })),
        ("resources/subscribe", Some("db://a"), None, json!({ "uri": "db://a" })),
        ("tools/list", None, None, json!({})),
        ("initialize", None, None, json!({})),
        ("tasks/get", None, None, json!({ "taskId": "7" })),
    ] {
        let item = read(Kind::Mcp, action, target, arguments).unwrap().item;
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": action, "params": params });
        assert_eq!(item, wire(&message), "{action}");
    }
    let told = read(Kind::Mcp, "notifications/initialized", None, None).unwrap().item;
    assert_eq!(told, wire(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })));
    let name = "files".parse().unwrap();
    for (action, asked) in [
        ("stream/open", palisade_mcp::stream_open(&name)),
        ("session/delete", palisade_mcp::session_delete(&name)),
    ] {
        assert_eq!([read(Kind::Mcp, action, None, None).unwrap().item], asked.items.as_slice());
    }
}

#[test]
fn a_path_takes_its_route_and_leaves_its_query() {
    let worded = read(Kind::Http, "GET", Some("/v1/orders/8?secret=1"), None).unwrap();
    assert_eq!(worded.item.target.id, "files/v1/orders/{id}");
    assert_eq!(worded.item.arguments.unwrap().text["/id"], "8");
    assert_eq!(worded.path.as_deref(), Some("/v1/orders/8"));
}

/// An operation by itself would be decided without what hangs on it.
#[test]
fn of_an_operation_the_parts_can_be_asked_about_and_no_whole_one() {
    let arguments = json!({ "first": 5 });
    let field = read(Kind::Graphql, "field", Some("Query.orders"), Some(&arguments)).unwrap().item;
    assert_eq!(
        (field.target.type_name.as_str(), field.target.id.as_str()),
        ("Graphql::Field", "files/Query.orders")
    );
    assert_eq!(field.arguments.unwrap().number["/first"], 5);
    let ids = |action, target| read(Kind::Graphql, action, target, None).map(|worded| worded.item.target.id);
    assert_eq!(ids("policy", Some("own_card")).as_deref(), Ok("files/own_card"));
    assert_eq!(ids("introspect", None).as_deref(), Ok("files"));
    for (action, target, arguments, reason) in [
        ("query", Some("Orders"), None, Reason::MethodUnknown),
        ("mutation", None, None, Reason::MethodUnknown),
        ("GET", Some("/"), None, Reason::MethodUnknown),
        ("field", None, None, Reason::RequestMalformed),
        ("introspect", Some("files"), None, Reason::RequestMalformed),
        ("policy", Some("own_card"), Some(&arguments), Reason::RequestMalformed),
    ] {
        assert_eq!(read(Kind::Graphql, action, target, arguments).err(), Some(reason), "{action}");
    }
}

#[test]
fn what_the_protocol_would_not_look_at_or_does_not_know_is_refused() {
    let object = json!({});
    for (kind, action, target, arguments, reason) in [
        (Kind::Mcp, "tools/list", Some("echo"), None, Reason::RequestMalformed),
        (Kind::Mcp, "tools/list", None, Some(&object), Reason::RequestMalformed),
        (Kind::Mcp, "resources/read", Some("db://a"), Some(&object), Reason::RequestMalformed),
        (Kind::Mcp, "stream/open", Some("x"), None, Reason::MethodUnknown),
        (Kind::Mcp, "tools/call", None, None, Reason::RequestMalformed),
        (Kind::Mcp, "tools/call", Some(""), None, Reason::RequestMalformed),
        (Kind::Mcp, "tools/call", Some("a\nb"), None, Reason::RequestMalformed),
        (Kind::Mcp, "completion/complete", Some("greet"), None, Reason::RequestMalformed),
        (Kind::Mcp, "tools/nothing", None, None, Reason::MethodUnknown),
        (Kind::Mcp, "GET", Some("/"), None, Reason::MethodUnknown),
        (Kind::Http, "GET", None, None, Reason::RequestMalformed),
        (Kind::Http, "GET", Some("/v1/orders/8"), Some(&object), Reason::RequestMalformed),
        (Kind::Http, "GET", Some("/v1//orders"), None, Reason::RequestMalformed),
        (Kind::Http, "GET", Some("/v1/orders/8?access_token=x"), None, Reason::RequestMalformed),
        (Kind::Http, "GET", Some("/v2"), None, Reason::TargetUnknown),
        (Kind::Http, "read", Some("/v1/orders/8"), None, Reason::MethodUnknown),
        (Kind::Http, "get", Some("/v1/orders/8"), None, Reason::MethodUnknown),
    ] {
        assert_eq!(read(kind, action, target, arguments).map(|_| ()), Err(reason), "{action} {target:?}");
    }
}
