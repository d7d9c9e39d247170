use palisade_model::{Arguments, Mirrored, ToolForm, ToolForms};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn files() -> ResourceName {
    "files".parse().unwrap()
}

fn read_with(body: &[u8], mirrors: &Mirrors<'_>) -> Result<Asked, Unread> {
    let post =
        Post { body, content_type: Some("application/json"), content_encoding: None, mirrors, max_batch: 3 };
    read(&post, &files())
}

fn read_text(body: &str) -> Result<Asked, Unread> {
    read_with(body.as_bytes(), &Mirrors::default())
}

fn read_value(body: &Value) -> Result<Asked, Unread> {
    read_text(&body.to_string())
}

fn reason(result: Result<Asked, Unread>) -> Reason {
    result.unwrap_err().refusal.reason
}

fn request(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
}

#[test]
fn every_method_has_its_action_and_its_target() {
    let server = "Mcp::Server::\"files\"";
    for (method, params, target) in [
        ("tools/call", json!({ "name": "delete_file" }), "Mcp::Tool::\"files/delete_file\""),
        ("prompts/get", json!({ "name": "review" }), "Mcp::Prompt::\"files/review\""),
        ("resources/read", json!({ "uri": "file:///a" }), "Mcp::Resource::\"files/file:///a\""),
        ("resources/subscribe", json!({ "uri": "file:///a" }), "Mcp::Resource::\"files/file:///a\""),
        ("resources/unsubscribe", json!({ "uri": "file:///a" }), "Mcp::Resource::\"files/file:///a\""),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "p" }, "argument": { "name": "a", "value": "x" } }),
            "Mcp::Prompt::\"files/p\"",
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/resource", "uri": "u:x" }, "argument": { "name": "a", "value": "x" } }),
            "Mcp::Resource::\"files/u:x\"",
        ),
        ("initialize", json!({ "protocolVersion": "2025-11-25", "capabilities": {} }), server),
        ("server/discover", json!({}), server),
        ("ping", json!({}), server),
        ("tools/list", json!({ "cursor": "x" }), server),
        ("prompts/list", json!({}), server),
        ("resources/list", json!({}), server),
        ("resources/templates/list", json!({}), server),
        ("logging/setLevel", json!({ "level": "debug" }), server),
        ("subscriptions/listen", json!({}), server),
        ("tasks/get", json!({ "taskId": "t" }), server),
        ("tasks/update", json!({ "taskId": "t" }), server),
        ("tasks/cancel", json!({ "taskId": "t" }), server),
    ] {
        let asked = read_value(&request(method, &params)).unwrap();
        let [item] = asked.items.as_slice() else { panic!("{method}: one item") };
        assert_eq!((item.action.clone(), item.target.entity().as_str()), (Action::mcp(method), target));
        assert_eq!((item.reply_to.as_deref(), asked.batch), (Some("7"), false), "{method}");
    }
}

#[test]
fn a_subscription_asks_for_each_thing_that_it_names() {
    let listen =
        |filter: Value| read_value(&request("subscriptions/listen", &json!({ "notifications": filter })));
    let entities = |asked: &Asked| -> Vec<String> {
        asked.items.iter().map(|item| format!("{} {}", item.action.name, item.target.entity())).collect()
    };
    let asked = listen(
        json!({ "toolsListChanged": true, "taskIds": ["t1"], "resourceSubscriptions": ["file:///a"] }),
    )
    .unwrap();
    let server = "Mcp::Server::\"files\"";
    assert_eq!(
        entities(&asked),
        [
            format!("subscriptions/listen {server}"),
            "resources/subscribe Mcp::Resource::\"files/file:///a\"".to_owned(),
            format!("tasks/get {server}"),
        ]
    );
    let replies: Vec<_> = asked.items.iter().map(|item| item.reply_to.as_deref()).collect();
    assert_eq!((replies, asked.batch), (vec![Some("7"), None, None], false));
    assert_eq!(listen(json!({})).unwrap().items.len(), 1);
    for filter in [
        json!([]),
        json!({ "resourceSubscriptions": "file:///a" }),
        json!({ "resourceSubscriptions": [1] }),
        json!({ "resourceSubscriptions": [""] }),
        json!({ "taskIds": { "0": "t" } }),
        json!({ "taskIds": ["t", "t", "t"] }),
        json!({ "TaskIds": ["t"] }),
        json!({ "promptSubscriptions": ["p"] }),
        json!({ "toolsListChanged": ["t"] }),
    ] {
        assert_eq!(listen(filter.clone()).unwrap_err().refusal.reason, Reason::RequestMalformed, "{filter}");
    }
    // Nor does a proxy that tells the method alone tell what is named.
    let attributes =
        |params| Attributes { method: "subscriptions/listen".to_owned(), id: Some(json!(7)), params };
    let refused = attributes(Value::Null).read(&Mirrors::default(), &files()).unwrap_err();
    assert_eq!(refused.reason, Reason::RequestBodyMissing);
    assert_eq!(attributes(Value::Null).agree(&asked, &files()), Ok(()));
}

#[test]
fn messages_that_want_no_answer_are_actions_too() {
    for (body, action) in [
        (json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }), "notification"),
        (
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } }),
            "notification",
        ),
        (json!({ "jsonrpc": "2.0", "id": 1, "result": {} }), "response"),
        (json!({ "jsonrpc": "2.0", "id": "a", "error": { "code": 1, "message": "m" } }), "response"),
        (json!({ "jsonrpc": "2.0", "error": { "code": 1, "message": "m" } }), "response"),
    ] {
        let asked = read_value(&body).unwrap();
        assert_eq!(asked.items[0].action, Action::mcp(action));
        assert_eq!(asked.items[0].target, Target::mcp_server(&files()));
        assert_eq!(asked.items[0].reply_to, None);
    }
    assert_eq!(stream_open(&files()).items[0].action, Action::mcp("stream/open"));
    assert_eq!(session_delete(&files()).items[0].action, Action::mcp("session/delete"));
}

#[test]
fn arguments_come_with_the_calls_that_have_them() {
    let arguments = |body: Value| read_value(&body).unwrap().items.remove(0).arguments;
    let called = arguments(request("tools/call", &json!({ "name": "t", "arguments": { "path": "/a" } })));
    assert_eq!(called.unwrap().text["/path"], "/a");
    assert_eq!(
        arguments(request("tools/call", &json!({ "name": "t" }))),
        Arguments::from_json(&json!({})).ok().map(std::sync::Arc::new)
    );
    let reference = json!({ "type": "ref/prompt", "name": "p" });
    let completed = json!({ "ref": reference, "argument": { "name": "lang", "value": "r" } });
    assert_eq!(arguments(request("completion/complete", &completed)).unwrap().text["/lang"], "r");
    assert_eq!(arguments(request("tools/list", &json!({}))), None);
}

#[test]
fn arguments_that_break_a_limit_are_invalid() {
    for arguments in [json!([]), json!("x"), json!(null), json!({ "a": vec![0; 1_001] })] {
        let body = request("tools/call", &json!({ "name": "t", "arguments": arguments }));
        let unread = read_value(&body).unwrap_err();
        assert_eq!(unread.refusal.reason, Reason::ArgumentsInvalid);
        assert_eq!(unread.replies, [Reply { action: "tools/call".to_owned(), id: Some("7".to_owned()) }]);
    }
}

#[test]
fn what_is_not_one_message_in_one_reading_is_malformed() {
    for body in [
        "",
        "1",
        "null",
        "[]",
        "{}",
        "[1]",
        "{} {}",
        "\u{feff}{}",
        "[[]]",
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
        r#"{"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["a"]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a\u0000"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"x"}}}"#,
    ] {
        assert_eq!(reason(read_text(body)), Reason::RequestMalformed, "{body}");
    }
    let long = request("tools/call", &json!({ "name": "x".repeat(257) }));
    assert_eq!(reason(read_value(&long)), Reason::RequestMalformed);
    let mut deep = json!({});
    for _ in 0..31 {
        deep = json!({ "a": deep });
    }
    assert_eq!(reason(read_value(&request("ping", &deep))), Reason::RequestMalformed);
}

#[test]
fn members_that_a_lenient_reader_takes_for_others_are_malformed() {
    for member in [
        "Name",
        "NAME",
        "name\u{0}",
        "\u{1}name",
        "na\u{200b}me",
        "na\u{ad}me",
        "ｎａｍｅ",
        "nam\u{e9}",
        " name",
        "argumentſ",
        "taſkId",
        "_META",
        "_meta\t",
        "Uri",
        "ᵤri",
        "tas\u{212a}Id",
        "\u{feff}ref",
    ] {
        let body = request("tools/call", &json!({ "name": "echo", member: "delete_file" }));
        assert_eq!(reason(read_value(&body)), Reason::RequestMalformed, "{member:?}");
    }
    let nested = json!({ "ref": { "type": "ref/prompt", "name": "a", "Name": "b" }, "argument": { "name": "x", "value": "" } });
    assert_eq!(reason(read_value(&request("completion/complete", &nested))), Reason::RequestMalformed);
    // Members of the arguments are the tool's own, and members of other names are the protocol's to define.
    let own = json!({ "name": "echo", "future": 1, "_meta": { "Name": 1 }, "arguments": { "Name": 1 } });
    assert!(read_value(&request("tools/call", &own)).is_ok());
}

#[test]
fn arguments_that_a_lenient_reader_takes_for_one_are_invalid_at_any_depth() {
    let called = |method: &str, arguments: Value| {
        read_value(&request(method, &json!({ "name": "t", "arguments": arguments })))
    };
    for (one, other) in [
        ("path", "Path"),
        ("path", "PATH"),
        ("path", "path\u{0}"),
        ("path", "pa\u{200b}th"),
        ("path", "ｐａｔｈ"),
        ("kind", "\u{212a}ind"),
        ("sum", "\u{17f}um"),
        ("größe", "GRÖSSE"),
        ("größe", "gro\u{308}ße"),
    ] {
        let both = json!({ one: "/workspace/a", other: "/etc/passwd" });
        for arguments in [both.clone(), json!({ "a": both }), json!({ "a": [1, { "b": [both] }] })] {
            for method in ["tools/call", "prompts/get"] {
                let result = called(method, arguments.clone());
                assert_eq!(reason(result), Reason::ArgumentsInvalid, "{one:?} {other:?}");
            }
        }
    }
    for apart in [
        json!({ "path": 1, "paths": 2 }),
        json!({ "a": { "path": 1 }, "b": { "Path": 1 } }),
        json!([{ "path": 1 }, { "Path": 1 }]),
        json!({ "resume": 1, "résumé": 2 }),
        json!({ "first name": 1, "firstname": 2 }),
    ] {
        assert!(called("tools/call", json!({ "a": apart })).is_ok(), "{apart}");
    }
}

#[test]
fn a_body_of_many_members_is_refused_before_they_are_compared() {
    let members = |name: &str, count: usize| -> Value {
        (0..count)
            .map(|number| (format!("{name}{number}"), json!(1)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let with = |mut message: Value, more: Value| {
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    let call = |params: Value| request("tools/call", &with(json!({ "name": "t" }), params));
    assert!(read_value(&call(members("ä", 63))).is_ok());
    let started = std::time::Instant::now();
    for (body, expected) in [
        (call(members("ä", 64)), Reason::RequestMalformed),
        (call(members("ä", 7_000)), Reason::RequestMalformed),
        (with(request("ping", &json!({})), members("ä", 7_000)), Reason::RequestMalformed),
        (call(json!({ "arguments": members("ä", 7_000) })), Reason::ArgumentsInvalid),
        (
            request(
                "completion/complete",
                &json!({ "ref": with(json!({ "type": "ref/prompt" }), members("ä", 7_000)) }),
            ),
            Reason::RequestMalformed,
        ),
    ] {
        assert_eq!(reason(read_value(&body)), expected);
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn unknown_methods_are_refused_with_their_ids() {
    for method in
        ["tools/Call", "tools/call ", "sampling/createMessage", "", "roots/list", "notifications/", "x"]
    {
        let unread = read_value(&request(method, &json!({}))).unwrap_err();
        assert_eq!(unread.refusal.reason, Reason::MethodUnknown, "{method}");
        assert_eq!(unread.replies[0].id.as_deref(), Some("7"));
    }
    assert_eq!(reason(read_value(&json!({ "jsonrpc": "2.0", "method": "x" }))), Reason::MethodUnknown);
    assert_eq!(reason(read_value(&request("notifications/initialized", &json!({})))), Reason::MethodUnknown);
}

#[test]
fn a_request_without_an_id_is_not_decided_as_a_notification() {
    let body = json!({ "jsonrpc": "2.0", "method": "tools/call", "params": { "name": "delete_file" } });
    assert_eq!(reason(read_value(&body)), Reason::RequestMalformed);
}

#[test]
fn a_batch_is_read_message_by_message_within_its_limit() {
    let ping = json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" });
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/x" });
    let asked = read_value(&json!([ping, note])).unwrap();
    let actions: Vec<&str> = asked.items.iter().map(|item| item.action.name.as_str()).collect();
    assert_eq!((actions.as_slice(), asked.batch), (&["ping", "notification"][..], true));
    assert!(read_value(&json!([ping])).unwrap().batch);
    assert_eq!(reason(read_value(&json!([ping, ping, ping, ping]))), Reason::RequestMalformed);
    let unread = read_value(&json!([ping, request("nope", &json!({}))])).unwrap_err();
    assert_eq!((unread.refusal.reason, unread.replies.len(), unread.batch), (Reason::MethodUnknown, 2, true));
}

#[test]
fn only_plain_json_is_read() {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    let check = |content_type: Option<&str>, content_encoding: Option<&str>| {
        let mirrors = Mirrors::default();
        let post =
            Post { body: body.as_bytes(), content_type, content_encoding, mirrors: &mirrors, max_batch: 1 };
        read(&post, &files()).is_ok()
    };
    for good in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
    {
        assert!(check(Some(good), None), "{good}");
    }
    for bad in [
        "",
        "text/plain",
        "application/json; charset=utf-16",
        "application/json;charset=utf-8;x=y",
        "application/json, text/plain",
        "application/json-patch+json",
        "application/json;",
    ] {
        assert!(!check(Some(bad), None), "{bad}");
    }
    assert!(!check(None, None));
    for bad in ["gzip", "br", "", "identity", "identity, gzip"] {
        assert!(!check(Some("application/json"), Some(bad)), "{bad}");
    }
}

#[test]
fn mirrors_agree_with_the_body_or_are_a_mismatch() {
    let tool = request(
        "tools/call",
        &json!({ "name": "größe", "arguments":
        { "Region": "eu", "n": 42, "big": 9_007_199_254_740_993_i64, "f": 1.5, "on": true, "nil": null } }),
    );
    let arguments = json!({ "region_code": "eu", "where": { "zone_id": "a" }, "tags": ["b"] });
    let nested = request("tools/call", &json!({ "name": "t", "arguments": arguments }));
    let list = request("tools/list", &json!({}));
    let read_resource = request("resources/read", &json!({ "uri": "file:///a" }));
    let task = request("tasks/get", &json!({ "taskId": "t1" }));
    let response = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
    let encoded = "=?base64?Z3LDtsOfZQ==?=";
    type Case<'a> = (&'a Value, &'a [&'a str], &'a [&'a str], &'a [(&'a str, &'a str)], bool);
    let cases: &[Case<'_>] = &[
        (&tool, &["tools/call"], &[encoded], &[("region", "eu")], true),
        (&tool, &[], &["größe"], &[], true),
        (&tool, &["tools/list"], &[], &[], false),
        (&tool, &["Tools/Call"], &[], &[], false),
        (&tool, &["tools/call", "tools/call"], &[], &[], false),
        (&tool, &["tools/call,tools/list"], &[], &[], false),
        (&tool, &[], &["echo"], &[], false),
        (&tool, &[], &[""], &[], false),
        (&tool, &[], &["=?base64?!?="], &[], false),
        (&tool, &[], &[], &[("REGION", "=?base64?ZXU=?=")], true),
        (&tool, &[], &[], &[("region", "us")], false),
        (&tool, &[], &[], &[("region", "eu"), ("Region", "eu")], false),
        (&tool, &[], &[], &[("n", "42"), ("f", "1.5"), ("on", "true")], true),
        (&tool, &[], &[], &[("n", "42.0")], true),
        (&tool, &[], &[], &[("n", "43")], false),
        (&tool, &[], &[], &[("n", "x")], false),
        (&tool, &[], &[], &[("big", "9007199254740993")], true),
        (&tool, &[], &[], &[("big", "9007199254740992")], false),
        (&tool, &[], &[], &[("on", "True")], false),
        (&tool, &[], &[], &[("nil", "null")], false),
        (&tool, &[], &[], &[("absent", "")], false),
        (&nested, &[], &[], &[("region", "eu")], true),
        (&nested, &[], &[], &[("region", "=?base64?ZXU=?=")], true),
        (&nested, &[], &[], &[("region", "us")], false),
        (&nested, &[], &[], &[("zone", "a")], true),
        (&nested, &[], &[], &[("zone", "b")], false),
        (&list, &["tools/list"], &[], &[], true),
        (&list, &[], &["x"], &[], false),
        (&read_resource, &[], &["file:///a"], &[], true),
        (&read_resource, &[], &["file:///b"], &[], false),
        (&task, &["tasks/get"], &["t1"], &[], true),
        (&task, &[], &["t2"], &[], false),
        (&response, &["ping"], &[], &[], false),
    ];
    for (body, method, name, params, agree) in cases {
        let mirrors = Mirrors {
            method: method.to_vec(),
            name: name.to_vec(),
            params: params.to_vec(),
            ..Mirrors::default()
        };
        let read = read_with(body.to_string().as_bytes(), &mirrors);
        assert_eq!(read.is_ok(), *agree, "{mirrors:?} {body}");
        if !agree {
            assert_eq!(reason(read), Reason::HeaderMismatch);
        }
    }
    let mirrors = Mirrors { method: vec!["tools/list"], ..Mirrors::default() };
    assert_eq!(reason(read_with(json!([list]).to_string().as_bytes(), &mirrors)), Reason::HeaderMismatch);
}

#[test]
fn where_every_header_is_known_those_that_the_revision_demands_must_be_there() {
    const NEW: &str = "2026-07-28";
    let meta = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": NEW } });
    let mut call = json!({ "name": "t" });
    call["_meta"] = meta["_meta"].clone();
    let (call, list) = (request("tools/call", &call), request("tools/list", &meta));
    let old = request("tools/list", &json!({}));
    let hello = request("initialize", &json!({ "protocolVersion": "2025-11-25" }));
    type Case<'a> = (&'a Value, &'a [&'a str], &'a [&'a str], &'a [&'a str], bool);
    let cases: &[Case<'_>] = &[
        (&call, &[NEW], &["tools/call"], &["t"], true),
        (&call, &[NEW], &["tools/call"], &[], false),
        (&call, &[NEW], &[], &["t"], false),
        (&call, &[], &["tools/call"], &["t"], false),
        (&call, &["2025-11-25"], &["tools/call"], &["t"], false),
        (&call, &[NEW, NEW], &["tools/call"], &["t"], false),
        (&list, &[NEW], &["tools/list"], &[], true),
        (&list, &[NEW], &[], &[], false),
        (&old, &[], &[], &[], true),
        (&old, &["2025-11-25"], &[], &[], true),
        (&old, &[NEW], &[], &[], false),
        (&old, &["latest"], &[], &[], true),
        (&hello, &[], &[], &[], true),
        (&hello, &[NEW], &[], &[], true),
    ];
    for (body, version, method, name, agree) in cases {
        let mirrors = Mirrors {
            version: version.to_vec(),
            method: method.to_vec(),
            name: name.to_vec(),
            required: true,
            ..Mirrors::default()
        };
        let text = body.to_string();
        assert_eq!(read_with(text.as_bytes(), &mirrors).is_ok(), *agree, "{mirrors:?} {body}");
        // Who does not know every header cannot miss one.
        let known = Mirrors { required: false, ..mirrors };
        if name.len() == 1 || !agree {
            assert!(read_with(text.as_bytes(), &known).is_ok(), "{known:?} {body}");
        }
    }
}

#[test]
fn what_a_revision_has_lost_is_unknown_whatever_else_is_wrong() {
    for (method, version, expected) in [
        ("ping", "2025-11-25", None),
        ("ping", "2026-07-28", Some(Reason::MethodUnknown)),
        ("resources/subscribe", "2025-11-25", Some(Reason::RequestMalformed)),
        ("resources/subscribe", "2026-07-28", Some(Reason::MethodUnknown)),
        ("tasks/result", "2026-07-28", Some(Reason::MethodUnknown)),
        ("tools/delete", "2025-11-25", Some(Reason::MethodUnknown)),
        ("tools/delete", "2026-07-28", Some(Reason::MethodUnknown)),
        ("tasks/get", "2026-07-28", Some(Reason::HeaderMismatch)),
        ("initialize", "2026-07-28", None),
    ] {
        let mirrors = Mirrors { version: vec![version], required: true, ..Mirrors::default() };
        let read = read_with(request(method, &json!({})).to_string().as_bytes(), &mirrors);
        assert_eq!(read.err().map(|unread| unread.refusal.reason), expected, "{method} {version}");
    }
}

#[test]
fn attributes_name_the_target_and_leave_arguments_unread() {
    let attributes =
        |method: &str, params: Value| Attributes { method: method.to_owned(), id: Some(json!(3)), params };
    let asked = attributes("tools/call", json!({ "name": "t", "arguments": { "path": "/a" } }))
        .read(&Mirrors::default(), &files())
        .unwrap();
    let arguments = asked.items[0].arguments.as_ref().unwrap();
    assert_eq!(asked.items[0].target, Target::mcp_tool(&files(), "t"));
    assert_eq!(asked.items[0].reply_to.as_deref(), Some("3"));
    assert!(arguments.text.is_empty());
    assert!(!arguments.unmapped.is_empty());
    assert_eq!(
        attributes("tools/list", Value::Null).read(&Mirrors::default(), &files()).unwrap().items[0].action,
        Action::mcp("tools/list")
    );
    let response = attributes("__jsonrpc_response", Value::Null).read(&Mirrors::default(), &files()).unwrap();
    assert_eq!(response.items[0].action, Action::mcp("response"));
    assert_eq!(
        attributes("tools/call", json!({})).read(&Mirrors::default(), &files()).unwrap_err().reason,
        Reason::RequestMalformed
    );
    assert_eq!(
        attributes("tools/call", json!([])).read(&Mirrors::default(), &files()).unwrap_err().reason,
        Reason::RequestMalformed
    );
    assert_eq!(
        attributes("nope", Value::Null).read(&Mirrors::default(), &files()).unwrap_err().reason,
        Reason::MethodUnknown
    );
}

#[test]
fn attributes_are_compared_with_the_headers_too() {
    let attributes =
        Attributes { method: "tools/call".to_owned(), id: None, params: json!({ "name": "list_files" }) };
    let read = |method: &str, name: &str| {
        let mirrors = Mirrors { method: vec![method], name: vec![name], ..Mirrors::default() };
        attributes.read(&mirrors, &files()).map_err(|refusal| refusal.reason)
    };
    assert!(read("tools/call", "list_files").is_ok());
    assert_eq!(read("tools/call", "delete_file"), Err(Reason::HeaderMismatch));
    assert_eq!(read("tools/list", "list_files"), Err(Reason::HeaderMismatch));
    // The arguments may not be among the attributes, so nobody could say whether this one agrees.
    let mirrors = Mirrors { params: vec![("region", "eu")], ..Mirrors::default() };
    assert_eq!(attributes.read(&mirrors, &files()).unwrap_err().reason, Reason::HeaderMismatch);
}

#[test]
fn attributes_and_a_body_agree_or_are_malformed() {
    let asked = read_value(&request("tools/call", &json!({ "name": "t" }))).unwrap();
    let agrees = |method: &str, params: Value, asked: &Asked| {
        Attributes { method: method.to_owned(), id: None, params }.agree(asked, &files()).is_ok()
    };
    assert!(agrees("tools/call", json!({ "name": "t" }), &asked));
    assert!(agrees("tools/call", Value::Null, &asked));
    assert!(!agrees("tools/call", json!({ "name": "u" }), &asked));
    assert!(!agrees("tools/call", json!({ "name": 1 }), &asked));
    assert!(!agrees("tools/list", Value::Null, &asked));
    let batch = Asked { batch: true, ..asked };
    assert!(!agrees("tools/call", json!({ "name": "t" }), &batch));
    let notification = read_value(&json!({ "jsonrpc": "2.0", "method": "notifications/x" })).unwrap();
    assert!(agrees("notifications/x", Value::Null, &notification));
    assert!(!agrees("ping", Value::Null, &notification));
}

#[test]
fn attributes_and_a_body_agree_in_their_arguments_as_far_as_a_proxy_carries_them() {
    let sent = json!({
        "path": "/a", "big": 9_007_199_254_740_993_i64, "huge": 18_446_744_073_709_551_615_u64, "f": 123_456_789.123_456_79,
        "nil": null, "on": true, "deep": { "n": 1, "list": [1] }, "list": ["a", { "b": 1 }], "": 1
    });
    let agrees = |method: &str, told: &Value| {
        let asked = read_value(&request(method, &json!({ "name": "t", "arguments": sent }))).unwrap();
        let params = json!({ "name": "t", "arguments": told });
        Attributes { method: method.to_owned(), id: None, params }.agree(&asked, &files()).is_ok()
    };
    for method in ["tools/call", "prompts/get"] {
        assert!(agrees(method, &sent));
        // What Envoy 1.40 makes of it.
        assert!(agrees(
            method,
            &json!({ "path": "/a", "big": 9_007_199_254_740_992_i64, "huge": 18_446_744_073_709_551_616.0,
                "f": 123_456_789.123_456_79, "nil": null, "on": true, "deep": { "n": 1.0 } })
        ));
        assert!(agrees(method, &json!({})));
        for other in [
            json!({ "path": "/b" }),
            json!({ "path": null }),
            json!({ "Path": "/a" }),
            json!({ "big": 9_007_199_254_750_993_i64 }),
            json!({ "f": 123_456_789.123 }),
            json!({ "nil": 0 }),
            json!({ "on": "true" }),
            json!({ "deep": { "n": 2 } }),
            json!({ "deep": { "list": [2] } }),
            json!({ "list": ["a"] }),
            json!({ "more": 1 }),
            json!([]),
            json!("x"),
        ] {
            assert!(!agrees(method, &other), "{other}");
        }
    }
    // A body without arguments has none.
    let asked = read_value(&request("tools/call", &json!({ "name": "t" }))).unwrap();
    let told = |arguments: Value| Attributes {
        method: "tools/call".to_owned(),
        id: None,
        params: json!({ "name": "t", "arguments": arguments }),
    };
    assert!(told(json!({})).agree(&asked, &files()).is_ok());
    assert!(told(json!({ "path": "/a" })).agree(&asked, &files()).is_err());
}

#[test]
fn attributes_and_a_body_agree_in_their_id() {
    let agrees = |told: Value, body: &Value| {
        let method = body["method"].as_str().unwrap_or("__jsonrpc_response").to_owned();
        let attributes = Attributes { method, id: Some(told), params: Value::Null };
        attributes.agree(&read_value(body).unwrap(), &files()).is_ok()
    };
    let ping = |id: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "ping" });
    assert!(agrees(json!(7), &ping(json!(7))));
    assert!(agrees(json!(7.0), &ping(json!(7))));
    assert!(agrees(json!("a\"b"), &ping(json!("a\"b"))));
    assert!(agrees(Value::Null, &ping(json!(7))));
    for other in [json!(8), json!("7"), json!({}), json!([7])] {
        assert!(!agrees(other.clone(), &ping(json!(7))), "{other}");
    }
    assert!(!agrees(json!(7), &json!({ "jsonrpc": "2.0", "method": "notifications/x" })));
    assert!(agrees(json!(7), &json!({ "jsonrpc": "2.0", "id": 7, "result": {} })));
}

#[test]
fn denials_hide_what_exists_and_echo_ids() {
    let reply = |action: &str, id: &str| Reply { action: action.to_owned(), id: Some(id.to_owned()) };
    for (reason, action, code, message) in [
        (Reason::NoPermit, "tools/call", -32602, "Unknown tool"),
        (Reason::TargetUnknown, "tools/call", -32602, "Unknown tool"),
        (Reason::Forbidden, "prompts/get", -32602, "Unknown prompt"),
        (Reason::NoPermit, "resources/read", -32002, "Resource not found"),
        (Reason::NoPermit, "tools/list", 403, "Not permitted"),
        (Reason::MethodUnknown, "nope", -32601, "Method not found"),
        (Reason::ArgumentsInvalid, "tools/call", -32602, "Unknown tool"),
        (Reason::ArgumentsInvalid, "prompts/get", -32602, "Unknown prompt"),
        (Reason::HeaderMismatch, "tools/call", -32020, "Header mismatch"),
    ] {
        let expected =
            json!({ "jsonrpc": "2.0", "id": "a\"b", "error": { "code": code, "message": message } });
        assert_eq!(denial(reason, &[reply(action, r#""a\"b""#)], false), expected);
    }
    let silent = Reply { action: "notification".to_owned(), id: None };
    let batch = denial(Reason::NoPermit, &[reply("ping", "1"), silent.clone(), reply("ping", "2")], true);
    assert_eq!(batch.as_array().map(Vec::len), Some(2));
    assert_eq!(batch[1]["id"], 2);
    assert!(denial(Reason::NoPermit, std::slice::from_ref(&silent), false).is_null());
    assert!(denial(Reason::NoPermit, &[silent], true).is_null());
    assert!(denial(Reason::NoPermit, &[], false).is_null());
}

fn messages() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        Just("jsonrpc"),
        Just("id"),
        Just("method"),
        Just("params"),
        Just("name"),
        Just("Name"),
        Just("uri"),
        Just("result")
    ];
    let value = prop_oneof![
        Just("\"2.0\"".to_owned()),
        Just("1".to_owned()),
        Just("\"tools/call\"".to_owned()),
        Just("\"ping\"".to_owned()),
        Just("{\"name\":\"a\"}".to_owned()),
        Just("{\"name\":\"a\",\"arguments\":{\"x\":1}}".to_owned()),
        Just("null".to_owned()),
        Just("[]".to_owned()),
        "\"[a-z/]{0,8}\"",
    ];
    let object = proptest::collection::vec((member, value), 0..6).prop_map(|members| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{\"jsonrpc\":\"2.0\",{}}}", members.join(","))
    });
    prop_oneof![
        object.clone(),
        proptest::collection::vec(object, 0..3).prop_map(|all| format!("[{}]", all.join(",")))
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_with(&body, &Mirrors::default());
    }

    #[test]
    fn an_accepted_body_says_the_same_to_another_reader(body in messages()) {
        if let Ok(asked) = read_text(&body) {
            let again: Value = serde_json::from_str(&body).unwrap();
            let messages = again.as_array().cloned().unwrap_or_else(|| vec![again.clone()]);
            prop_assert_eq!(asked.items.len(), messages.len());
            for (item, message) in asked.items.iter().zip(&messages) {
                match message["method"].as_str() {
                    None => prop_assert_eq!(&item.action.name, "response"),
                    Some(method) if method.starts_with("notifications/") => prop_assert_eq!(&item.action.name, "notification"),
                    Some(method) => prop_assert_eq!(&item.action.name, method),
                }
                if item.action.name == "tools/call" {
                    let name = message["params"]["name"].as_str().unwrap();
                    prop_assert_eq!(&item.target, &Target::mcp_tool(&files(), name));
                }
            }
        }
    }
}

#[test]
fn a_schema_says_which_argument_a_header_mirrors() {
    let mirrored = vec![
        Mirrored { header: "Region".to_owned(), pointer: "/where/region_code".to_owned() },
        Mirrored { header: "Count".to_owned(), pointer: "/count".to_owned() },
    ];
    let tools = ToolForms::from([("t".to_owned(), ToolForm { mirrored, calls: None })]);
    let arguments = json!({ "where": { "region_code": "eu" }, "count": 42, "region": "us", "other": "x" });
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    let body = request("tools/call", &json!({ "name": "t", "arguments": arguments, "_meta": meta }));
    let read = |tool: &'static str, params: &[(&'static str, &'static str)], required| {
        let mirrors = Mirrors {
            version: vec!["2026-07-28"],
            method: vec!["tools/call"],
            name: vec![tool],
            params: params.to_vec(),
            required,
            tools: Some(&tools),
        };
        let body = body.to_string().replace("\"name\":\"t\"", &format!("\"name\":\"{tool}\""));
        read_with(body.as_bytes(), &mirrors).is_ok()
    };
    type Case<'a> = (&'a [(&'a str, &'a str)], bool, bool);
    let cases: [Case<'_>; 8] = [
        (&[("region", "eu"), ("count", "42.0")], true, true),
        (&[("Region", "=?base64?ZXU=?="), ("COUNT", "42")], true, true),
        // The argument of that name is not the one that is mirrored.
        (&[("region", "us"), ("count", "42")], false, false),
        (&[("region", "eu"), ("region", "eu"), ("count", "42")], false, false),
        (&[("region", "eu")], true, false),
        (&[], true, false),
        (&[("region", "eu"), ("count", "42"), ("other", "x")], true, true),
        (&[("region", "eu"), ("count", "42"), ("other", "y")], false, false),
    ];
    for (params, unless_required, if_required) in cases {
        assert_eq!(read("t", params, false), unless_required, "{params:?}");
        assert_eq!(read("t", params, true), if_required, "{params:?}");
    }
    // Of a tool that nothing is known of, by the argument's own name.
    assert!(read("u", &[("region", "us")], true));
    assert!(!read("u", &[("region", "eu")], true));
}

#[test]
fn requests_of_a_batch_have_ids_of_their_own() {
    let ping = |id: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "ping" });
    assert!(read_value(&json!([ping(json!(1)), ping(json!("1"))])).is_ok());
    assert_eq!(reason(read_value(&json!([ping(json!(1)), ping(json!(1))]))), Reason::RequestMalformed);
}
