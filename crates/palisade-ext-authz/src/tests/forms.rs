//! What is read from a check: resource, body, metadata, client, trace.

use palisade_model::{Action, Reason, Target};
use palisade_pdp::Caller;
use serde_json::json;

use super::fixture::*;

#[test]
fn the_resource_is_named_as_the_caller_is_configured_and_in_no_other_way() {
    let at_files = || Check::new("files", "GET", "/mcp");
    for (check, expected) in [
        (at_files(), Some("files")),
        (at_files().extension(Some("chat")), Some("chat")),
        (at_files().extension(None), None),
        (at_files().extension(Some("nope")), None),
        (at_files().by("mesh"), Some("files")),
        (at_files().by("mesh").extension(Some("chat")), Some("files")),
        (at_files().by("mesh").host("nope.example.com"), None),
        (at_files().by("local"), Some("files")),
        (at_files().by("local").extension(Some("chat")), Some("chat")),
        (at_files().by("local").extension(Some("nope")), None),
        (at_files().by("local").extension(None), Some("files")),
        (at_files().by("stranger").extension(None), None),
    ] {
        let shown = format!("{check:?}");
        assert_eq!(check.asked().resource.as_ref().map(|name| name.as_str()), expected, "{shown}");
    }
}

#[test]
fn get_and_delete_are_actions_and_have_no_body() {
    let action =
        |method: &str| Check::new("files", method, "/mcp").asked().asked.unwrap().items.remove(0).action;
    assert_eq!(action("GET"), Action::mcp("stream/open"));
    assert_eq!(action("DELETE"), Action::mcp("session/delete"));
    for method in ["PUT", "PATCH", "HEAD", "OPTIONS", "get", "", "TRACE"] {
        assert_eq!(Check::new("files", method, "/mcp").refusal(), Some(Reason::MethodUnknown), "{method}");
    }
    for check in [
        Check::new("files", "GET", "/mcp").body("{}"),
        Check::new("files", "DELETE", "/mcp").header("content-length", "2"),
        Check::new("files", "GET", "/mcp").header("x-envoy-auth-partial-body", "true"),
        Check::new("files", "GET", "/mcp").header("transfer-encoding", "chunked"),
        Check::new("files", "DELETE", "/mcp").header("transfer-encoding", "chunked"),
    ] {
        assert_eq!(check.refusal(), Some(Reason::RequestMalformed));
    }
}

#[test]
fn a_body_that_did_not_come_whole_decides_nothing() {
    let call = || Check::call("files", "list_files");
    let length = call_body("list_files").to_string().len();
    let sized = |size: i64| {
        let mut check = call();
        check.http.size = size;
        check
    };
    for (check, expected) in [
        (call(), None),
        (call().header("x-envoy-auth-partial-body", "false"), None),
        (sized(i64::try_from(length).unwrap()), None),
        (sized(0), None),
        (call().header("x-envoy-auth-partial-body", "true"), Some(Reason::RequestTruncated)),
        (call().header("x-envoy-auth-partial-body", "false,true"), Some(Reason::RequestTruncated)),
        (sized(i64::try_from(length).unwrap() + 1), Some(Reason::RequestTruncated)),
        (call().header("content-length", "9999"), Some(Reason::RequestTruncated)),
        (call().body(&" ".repeat(64 * 1024 + 1)), Some(Reason::RequestTruncated)),
        (call().body(""), Some(Reason::RequestBodyMissing)),
        (call().body("").header("content-length", "20"), Some(Reason::RequestBodyMissing)),
        (call().body("").header("x-envoy-auth-partial-body", "true"), Some(Reason::RequestTruncated)),
    ] {
        let shown = format!("{check:?}");
        assert_eq!(check.refusal(), expected, "{shown}");
    }
}

#[test]
fn both_encodings_of_a_body_are_read_and_must_not_differ() {
    let with_raw = |raw: &str, text: &str| {
        let mut check = Check::call("files", "list_files").body(text);
        check.http.raw_body = raw.as_bytes().to_vec();
        check.refusal()
    };
    let (list, delete) = (call_body("list_files").to_string(), call_body("delete_file").to_string());
    assert_eq!(with_raw(&list, ""), None);
    assert_eq!(with_raw(&list, &list), None);
    assert_eq!(with_raw(&list, &delete), Some(Reason::RequestTruncated));
}

#[test]
fn both_encodings_of_headers_are_read() {
    let raw = Check::new("files", "POST", "/mcp")
        .raw_header("Content-Type", b"application/json")
        .raw_header("Authorization", bearer("files").as_bytes())
        .body(&call_body("list_files").to_string());
    let (map, raw) = (Check::call("files", "list_files").asked(), raw.asked());
    assert_eq!(raw.credential, map.credential);
    assert_eq!(raw.asked, map.asked);
}

#[test]
fn the_body_is_read_strictly_and_its_mirrors_agree() {
    let call = || Check::call("files", "list_files");
    for (check, expected) in [
        (call().header("content-encoding", "gzip"), Reason::RequestMalformed),
        (call().header("content-type", "text/plain"), Reason::RequestMalformed),
        (call().body("{"), Reason::RequestMalformed),
        (call().header("mcp-name", "delete_file"), Reason::HeaderMismatch),
        (call().header("mcp-method", "tools/list"), Reason::HeaderMismatch),
        (call().header("mcp-param-path", "/a"), Reason::HeaderMismatch),
    ] {
        assert_eq!(check.refusal(), Some(expected));
    }
    assert_eq!(call().header("mcp-name", "list_files").header("mcp-method", "tools/call").refusal(), None);
}

#[test]
fn envoys_metadata_is_believed_only_from_a_caller_that_is_trusted_with_it() {
    let mcp = json!({ "method": "tools/call", "id": 7, "params": { "name": "list_files" } });
    let without_body = |namespace: &str, mcp: &serde_json::Value| {
        Check::new("files", "POST", "/mcp").metadata(namespace, mcp)
    };
    let namespace = "envoy.filters.http.mcp";
    assert_eq!(without_body(namespace, &mcp).refusal(), Some(Reason::RequestBodyMissing));
    let mirrored = without_body(namespace, &mcp).by("trusted").header("mcp-name", "delete_file");
    assert_eq!(mirrored.refusal(), Some(Reason::HeaderMismatch));
    for namespace in [namespace, "mcp_proxy"] {
        let item = without_body(namespace, &mcp).by("trusted").asked().asked.unwrap().items.remove(0);
        assert_eq!(item.target, Target::mcp_tool(&"files".parse().unwrap(), "list_files"));
        assert_eq!(item.reply_to.as_deref(), Some("7"));
        assert!(!item.arguments.unwrap().unmapped.is_empty(), "its arguments are unread");
    }
    let trusted = || without_body(namespace, &mcp).by("trusted");
    assert_eq!(trusted().header("mcp-param-path", "/a").refusal(), Some(Reason::HeaderMismatch));
    assert_eq!(trusted().header("content-encoding", "identity").refusal(), Some(Reason::RequestMalformed));
    let other = json!({ "method": "tools/call", "params": { "name": "delete_file" } });
    let call = || Check::call("files", "list_files").by("trusted");
    for (check, expected) in [
        (call().metadata(namespace, &mcp), None),
        (call().metadata(namespace, &other), Some(Reason::RequestMalformed)),
        (call().metadata(namespace, &other).by("edge"), None),
        (
            call().metadata(namespace, &json!({ "method": "tools/call", "id": 8, "params": {} })),
            Some(Reason::RequestMalformed),
        ),
        (
            call().metadata(
                namespace,
                &json!({ "method": "tools/call", "params": { "arguments": { "a": 1 } } }),
            ),
            Some(Reason::RequestMalformed),
        ),
        (call().metadata(namespace, &json!({ "method": "ping" })), Some(Reason::RequestMalformed)),
        (call().metadata(namespace, &mcp).metadata("mcp_proxy", &other), Some(Reason::RequestMalformed)),
        (call().metadata(namespace, &json!({ "method": 1 })), Some(Reason::RequestMalformed)),
        (call().metadata(namespace, &json!({})), Some(Reason::RequestMalformed)),
        (call().metadata("other", &other), None),
        (
            call().metadata(namespace, &json!({ "method": "tools/call", "passthrough_reason": "x" })),
            Some(Reason::RequestMalformed),
        ),
        (
            call().metadata(namespace, &json!({ "method": "tools/call", "is_exceeding_limit": true })),
            Some(Reason::RequestMalformed),
        ),
        (
            without_body(namespace, &json!({ "method": "tools/call" })).by("trusted"),
            Some(Reason::RequestMalformed),
        ),
    ] {
        assert_eq!(check.refusal(), expected);
    }
}

#[test]
fn routes_of_a_service_come_with_their_parameters() {
    let asked = Check::new("orders", "DELETE", "/v1/orders/4%207?x=1").asked().asked.unwrap();
    assert_eq!(asked.items[0].action, Action::http("DELETE"));
    assert_eq!(asked.items[0].arguments.as_ref().unwrap().text["/id"], "4 7");
    for (method, path, expected) in [
        ("GET", "/v1/other", Reason::TargetUnknown),
        ("GET", "/v1/orders/1/", Reason::TargetUnknown),
        ("get", "/v1/orders/1", Reason::MethodUnknown),
        ("CONNECT", "/v1/orders/1", Reason::MethodUnknown),
        ("", "/v1/orders/1", Reason::MethodUnknown),
    ] {
        assert_eq!(Check::new("orders", method, path).refusal(), Some(expected), "{method} {path}");
    }
}

#[test]
fn the_client_is_where_the_caller_is_believed_to_know_it() {
    let check = || {
        Check::new("files", "GET", "/mcp")
            .source("10.0.0.9")
            .header("x-forwarded-for", "1.1.1.1, 2.2.2.2,3.3.3.3")
    };
    for (check, expected) in [
        (check(), Some("10.0.0.9")),
        (check().by("trusted"), Some("2.2.2.2")),
        (check().by("trusted").header("x-forwarded-for", "1.1.1.1"), None),
        (check().by("trusted").header("x-forwarded-for", "x, 3.3.3.3"), None),
        (check().by("stranger"), None),
        (check().source("not an address"), None),
    ] {
        assert_eq!(check.asked().client_ip, expected.map(|address| address.parse().unwrap()));
    }
}

#[test]
fn request_ids_and_traces_come_along_when_they_are_well_formed() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let check =
        Check::new("files", "GET", "/mcp").header("x-request-id", "abc").header("traceparent", parent);
    let asked = check.clone().asked();
    assert_eq!((asked.request_id.as_deref(), asked.trace.is_some()), (Some("abc"), true));
    let mut own = check.clone();
    own.http.id = "envoys".to_owned();
    assert_eq!(own.asked().request_id.as_deref(), Some("envoys"));
    let twice = check.clone().raw_header("traceparent", parent.as_bytes());
    assert!(twice.asked().trace.is_none());
    let long = "x".repeat(257);
    for bad in ["a b", "a\u{7f}", long.as_str()] {
        assert_eq!(check.clone().header("x-request-id", bad).asked().request_id, None);
    }
}

#[test]
fn a_caller_without_a_name_stays_without_one() {
    let check = Check { caller: Caller(None), ..Check::new("files", "GET", "/mcp") };
    assert_eq!(check.asked().pep, None);
}
