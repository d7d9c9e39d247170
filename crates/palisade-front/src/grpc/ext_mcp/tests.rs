//! The gateway's messages in, answers out: what is permitted goes on, lists are cut, and every failure is an error.

use std::collections::BTreeMap;

use http_body_util::{BodyExt as _, Full};
use palisade_model::{Reason, Surface};
use palisade_pdp::Caller;
use palisade_proto::ext_mcp::{
    AuthorizationError, HeaderMutation, McpHeader, McpRequest, McpRequestResult, McpResponse,
    McpResponseResult, authorization_error::Code, ext_mcp_server::ExtMcp as _,
    mcp_request_result::Result as On, mcp_response_result::Result as Back,
};
use proptest::prelude::*;
use prost_types::{Struct, Value as ProtoValue, value::Kind as ProtoKind};
use serde_json::{Value, json};
use tonic::codegen::{Service as _, http};

use super::{ExtMcpGate, merged};
use crate::grpc::tests::fixture::{Fixture, NOW, call, signed, token};

fn header(name: &str, value: &str) -> McpHeader {
    McpHeader { key: name.to_owned(), value: value.as_bytes().to_vec() }
}

/// A tool call to the server of `files`, with a good token in the forwarded header.
fn tool(name: &str, arguments: &Value) -> McpRequest {
    McpRequest {
        service_names: vec!["files-srv".to_owned()],
        method: "tools/call".to_owned(),
        metadata_context: None,
        mcp_request: Some(json!({ "name": name, "arguments": arguments }).to_string().into_bytes()),
        headers: vec![header("authorization", &format!("Bearer {}", token("files", "files:read")))],
    }
}

fn to(services: &[&str], method: &str) -> McpRequest {
    let service_names = services.iter().map(|name| (*name).to_owned()).collect();
    McpRequest { service_names, method: method.to_owned(), mcp_request: None, ..tool("", &json!({})) }
}

fn metadata(token: ProtoKind) -> Option<Struct> {
    let token = ("token".to_owned(), ProtoValue { kind: Some(token) });
    Some(Struct { fields: BTreeMap::from([token]) })
}

fn with_token(token: &str) -> Option<Struct> {
    metadata(ProtoKind::StringValue(token.to_owned()))
}

/// A token that is for several resources.
fn wide_token() -> String {
    signed(&json!({
        "iss": "https://login.example.com", "sub": "alice", "client_id": "app", "jti": "t1",
        "aud": ["https://files.example.com/mcp", "https://watched.example.com/mcp", "https://keyed.example.com/mcp"],
        "iat": NOW - 60, "exp": NOW + 600, "scope": "files:read"
    }))
}

fn list(services: &[&str], names: &[&str], token: Option<Struct>) -> McpResponse {
    let tools: Vec<Value> = names.iter().map(|name| json!({ "name": name, "inputSchema": {} })).collect();
    McpResponse {
        service_names: services.iter().map(|name| (*name).to_owned()).collect(),
        method: "tools/list".to_owned(),
        metadata_context: token,
        mcp_response: json!({ "tools": tools, "nextCursor": "n", "ttlMs": 9 }).to_string().into_bytes(),
    }
}

impl Fixture {
    async fn asked(&self, by: &str, request: McpRequest) -> McpRequestResult {
        self.api().check_request(call(by, request)).await.unwrap().into_inner()
    }

    async fn back(&self, by: &str, response: McpResponse) -> Back {
        self.api().check_response(call(by, response)).await.unwrap().into_inner().result.unwrap()
    }
}

fn passed(result: McpRequestResult) -> (BTreeMap<String, String>, Vec<String>) {
    assert!(matches!(result.result, Some(On::Pass(_))), "{result:?}");
    let HeaderMutation { set, remove } = result.header_mutation.unwrap();
    let pair = |header: McpHeader| (header.key, String::from_utf8(header.value).unwrap());
    (set.into_iter().map(pair).collect(), remove)
}

/// The code, and the error object of JSON-RPC.
fn told(error: AuthorizationError) -> (Code, Value) {
    let object: Value = serde_json::from_slice(&error.mcp_error.clone().unwrap()).unwrap();
    assert_eq!(object["message"], error.reason);
    (error.code(), object)
}

fn denied(result: McpRequestResult) -> (Code, Value) {
    let McpRequestResult { result: Some(On::Error(error)), header_mutation: None, metadata: None } = result
    else {
        panic!("{result:?}")
    };
    told(error)
}

fn refused(back: Back) -> (Code, Value) {
    let Back::Error(error) = back else { panic!("{back:?}") };
    told(error)
}

fn names(back: Back) -> Vec<String> {
    let Back::Mutated(result) = back else { panic!("{back:?}") };
    let result: Value = serde_json::from_slice(&result).unwrap();
    assert_eq!((&result["nextCursor"], &result["cacheScope"]), (&json!("n"), &json!("private")));
    let tools = result["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_permitted_request_goes_on_with_who_it_is_for_and_without_the_token() {
    let fixture = Fixture::new();
    let mut request = tool("list_files", &json!({ "path": "/a" }));
    request.headers.extend([header("X-Palisade_Subject", "mallory"), header(":path", "/mcp")]);
    let (set, remove) = passed(fixture.asked("local", request).await);
    assert_eq!(set["x-palisade-subject"], "User::\"corp/alice\"");
    assert_eq!(set["x-palisade-scopes"], "files:read");
    for name in ["authorization", "x-palisade_subject", "x-http-method-override"] {
        assert!(remove.iter().any(|removed| removed == name), "{name}");
    }
    assert!(set.keys().all(|name| !remove.contains(name)));
    let record = fixture.recorded().await.remove(0);
    assert_eq!(record.surface, Some(Surface::ExtMcp));
    assert_eq!(record.target.as_deref(), Some("Mcp::Tool::\"files/list_files\""));
    assert_eq!(set["x-palisade-decision"], record.id.to_string());
    assert_eq!(record.path, None);
}

#[tokio::test]
async fn arguments_are_decided_on_as_they_were_written() {
    let fixture = Fixture::new();
    passed(fixture.asked("local", tool("pay", &json!({ "n": 9_007_199_254_740_993_u64 }))).await);
    let (code, error) =
        denied(fixture.asked("local", tool("pay", &json!({ "n": 9_007_199_254_740_992_u64 }))).await);
    assert_eq!(
        (code, &error["code"], &error["message"]),
        (Code::PermissionDenied, &json!(-32602), &json!("Unknown tool"))
    );
    // What nobody may reach and what there is not look alike.
    for name in ["old_tool", "no_such_tool"] {
        let (_, mut other) = denied(fixture.asked("local", tool(name, &json!({}))).await);
        other["data"]["decision_id"] = error["data"]["decision_id"].clone();
        assert_eq!(other, error, "{name}");
    }
}

#[tokio::test]
async fn what_only_http_can_challenge_is_in_the_data() {
    let fixture = Fixture::new();
    let anonymous = McpRequest { headers: Vec::new(), ..tool("list_files", &json!({})) };
    let (code, error) = denied(fixture.asked("local", anonymous).await);
    assert_eq!(
        (code, &error["code"], &error["data"]["status"]),
        (Code::PermissionDenied, &json!(401), &json!(401))
    );
    let challenge = "Bearer scope=\"api://x/files:read\", resource_metadata=\"https://files.example.com/m\"";
    assert_eq!(error["data"]["www_authenticate"], challenge);
    let (_, error) = denied(fixture.asked("local", tool("delete_file", &json!({}))).await);
    assert_eq!((&error["code"], &error["data"]["error"]), (&json!(403), &json!("insufficient_scope")));
    let challenge = error["data"]["www_authenticate"].as_str().unwrap();
    assert!(challenge.contains("api://x/files:delete"), "{challenge}");
    let (_, error) = denied(fixture.asked("local", tool("wipe", &json!({}))).await);
    assert_eq!(error["data"]["error"], "insufficient_user_authentication");
}

#[tokio::test]
async fn parameters_are_read_as_strictly_as_a_body() {
    let fixture = Fixture::new();
    let twice = br#"{"name":"old_tool","name":"list_files"}"#;
    let behind = br#"{"name":"list_files"},"id":1"#;
    for params in [
        &twice[..],
        behind,
        b"",
        b"[]",
        b"{\"name\":\"list_files\"} x",
        b"\xff",
        b"{\"name\":\"list_files\",\"Name\":\"x\"}",
    ] {
        let request = McpRequest { mcp_request: Some(params.to_vec()), ..tool("", &json!({})) };
        let (code, error) = denied(fixture.asked("local", request).await);
        assert_eq!((code, &error["code"]), (Code::Invalid, &json!(-32600)), "{params:?}");
    }
    let large = json!({ "name": "list_files", "arguments": { "x": "y".repeat(70_000) } }).to_string();
    let large = McpRequest { mcp_request: Some(large.into_bytes()), ..tool("", &json!({})) };
    assert_eq!(denied(fixture.asked("local", large).await).0, Code::Invalid);
    let (_, error) = denied(fixture.asked("local", to(&["files-srv"], "tools/calls")).await);
    assert_eq!(error["code"], -32601);
    // A notification has no id, and a request without parameters has none.
    let nothing = to(&["files-srv"], "notifications/initialized");
    passed(fixture.asked("local", nothing).await);
    passed(fixture.asked("local", to(&["files-srv"], "tools/list")).await);
}

#[tokio::test]
async fn each_server_is_a_resource_that_the_caller_may_ask_about() {
    let fixture = Fixture::new();
    for services in [&["nobodys"][..], &[""], &[], &["files"], &["orders"], &["files-srv", "nobodys"]] {
        let (code, error) = denied(fixture.asked("local", to(services, "tools/list")).await);
        assert_eq!((code, &error["data"]["status"]), (Code::PermissionDenied, &json!(404)), "{services:?}");
    }
    let many: Vec<String> = (0..51).map(|number| format!("s{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(denied(fixture.asked("local", to(&many, "tools/list")).await).1["code"], 404);
    for by in ["app", "proxy", "nobody", ""] {
        let (code, error) = denied(fixture.asked(by, tool("list_files", &json!({}))).await);
        assert_eq!((code, &error["message"]), (Code::PermissionDenied, &json!("Unknown tool")), "{by}");
    }
}

#[tokio::test]
async fn the_token_comes_from_the_forwarded_header_or_else_from_the_metadata() {
    let fixture = Fixture::new();
    let good = token("files", "files:read");
    let from = |headers: Vec<McpHeader>, metadata: Option<Struct>| McpRequest {
        headers,
        metadata_context: metadata,
        ..tool("list_files", &json!({}))
    };
    passed(fixture.asked("local", from(Vec::new(), with_token(&good))).await);
    let bad = vec![header("Authorization", "Bearer x")];
    let null = metadata(ProtoKind::NullValue(0));
    for request in [
        from(bad.clone(), with_token(&good)),
        from(Vec::new(), metadata(ProtoKind::BoolValue(true))),
        from(Vec::new(), with_token("")),
        from(Vec::new(), with_token(&format!("Bearer {good}"))),
        from([bad, vec![header("authorization", &format!("Bearer {good}"))]].concat(), None),
        from(Vec::new(), null),
    ] {
        let (_, error) = denied(fixture.asked("local", request).await);
        assert!([json!(401), json!(-32600)].contains(&error["code"]), "{error}");
    }
}

#[tokio::test]
async fn no_server_gets_the_credential_of_another() {
    let fixture = Fixture::new();
    let headers = vec![header("authorization", &format!("Bearer {}", wide_token()))];
    let to = |services: &[&str]| McpRequest { headers: headers.clone(), ..to(services, "tools/list") };
    let (set, remove) = passed(fixture.asked("gateway", to(&["keyed-srv"])).await);
    assert_eq!(set["x-api-key"], "s3cret");
    assert!(remove.contains(&"authorization".to_owned()) && !remove.contains(&"x-api-key".to_owned()));
    for services in [["keyed-srv", "files-srv"], ["files-srv", "keyed-srv"]] {
        let (set, remove) = passed(fixture.asked("gateway", to(&services)).await);
        assert!(!set.contains_key("x-api-key") && remove.contains(&"x-api-key".to_owned()), "{set:?}");
        assert_eq!(set["x-palisade-subject"], "User::\"corp/alice\"");
        assert!(remove.contains(&"authorization".to_owned()) && set.contains_key("x-palisade-decision"));
    }
    let decisions = fixture.recorded().await;
    assert_eq!(decisions.len(), 5);
}

#[tokio::test]
async fn a_list_is_cut_to_what_its_reader_can_reach() {
    let fixture = Fixture::new();
    let good = with_token(&token("files", "files:read"));
    let all = ["old_tool", "list_files", "no_such", "delete_file", "pay"];
    let shown = names(fixture.back("gateway", list(&["files-srv"], &all, good.clone())).await);
    // `delete_file` would be permitted after a step-up, and `pay` is with some arguments.
    assert_eq!(shown, ["list_files", "delete_file", "pay"]);
    // Of one server, a name with `_` is a name.
    let shown = fixture.back("gateway", list(&["files-srv"], &["files-srv_list_files"], good.clone())).await;
    assert_eq!(names(shown), [""; 0]);
    let wide = with_token(&wide_token());
    let merged =
        ["files-srv_list_files", "keyed-srv_old_tool", "keyed-srv_list_files", "list_files", "x_list_files"];
    let shown = names(fixture.back("gateway", list(&["keyed-srv", "files-srv"], &merged, wide)).await);
    assert_eq!(shown, ["files-srv_list_files", "keyed-srv_list_files"]);
    let records = fixture.recorded().await;
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record.surface == Some(Surface::ExtMcp)));
}

#[tokio::test]
async fn a_list_that_cannot_be_decided_or_read_does_not_go_back() {
    let fixture = Fixture::new();
    let good = || with_token(&token("files", "files:read"));
    let one = |services: &[&str], token| list(services, &["list_files"], token);
    for (by, response, code) in [
        ("local", one(&["files-srv"], None), 401),
        ("local", one(&["files-srv"], with_token("x")), 401),
        ("local", one(&["nobodys"], good()), 404),
        ("local", one(&[], good()), 404),
        ("local", one(&["files-srv", "nobodys"], good()), 404),
        ("gateway", one(&["files-srv", "keyed-srv"], good()), 401),
        // Who asks about it would be handed the server's own credential.
        ("local", one(&["keyed-srv"], with_token(&wide_token())), 403),
        ("app", one(&["files-srv"], good()), 403),
        (
            "local",
            McpResponse { mcp_response: b"{\"tools\":[".to_vec(), ..one(&["files-srv"], good()) },
            -32603,
        ),
        (
            "local",
            McpResponse { mcp_response: b"{\"tools\":{}}".to_vec(), ..one(&["files-srv"], good()) },
            -32603,
        ),
        ("local", McpResponse::default(), 503),
    ] {
        let shown = format!("{response:?}");
        assert_eq!(refused(fixture.back(by, response).await).1["code"], code, "{by} {shown}");
    }
    // What is no list is not looked at.
    let other = McpResponse { method: "tools/call".to_owned(), ..one(&["nobodys"], None) };
    assert!(matches!(fixture.back("gateway", other).await, Back::Pass(_)));
    fixture.close_log().await;
    assert_eq!(refused(fixture.back("gateway", one(&["files-srv"], good())).await).1["code"], 503);
    assert_eq!(
        denied(fixture.asked("gateway", tool("list_files", &json!({}))).await).1["data"]["status"],
        503
    );
}

/// What the gateway gets for these bytes, off the wire.
async fn off_the_wire<M: prost::Message + Default>(fixture: &Fixture, method: &str, message: &[u8]) -> M {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, message].concat();
    let request = http::Request::builder()
        .method("POST")
        .uri(format!("/agentgateway.dev.ext_mcp.ExtMcp/{method}"))
        .header("content-type", "application/grpc")
        .extension(Caller("local".parse().ok()))
        .body(tonic::body::Body::new(Full::new(framed.into())))
        .unwrap();
    let response = ExtMcpGate::new(fixture.api().clone()).call(request).await.unwrap();
    let failed = response.headers().get("grpc-status").filter(|status| *status != "0");
    assert_eq!(failed, None, "with failOpen an error is an allow");
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    M::decode(&answer[5..]).unwrap()
}

#[tokio::test]
async fn no_bytes_get_an_error_of_grpc_or_an_answer_that_says_nothing() {
    let fixture = Fixture::new();
    let large = vec![0; 18 * 1024 * 1024];
    for message in [&b""[..], b"\xff\xff\xff", b"\x12\x05ab", &large] {
        let on: McpRequestResult = off_the_wire(&fixture, "CheckRequest", message).await;
        denied(on);
        let back: McpResponseResult = off_the_wire(&fixture, "CheckResponse", message).await;
        refused(back.result.unwrap());
    }
}

#[test]
fn no_reason_is_told_as_anything_but_an_error() {
    assert!(matches!(super::answer::request_outage().result, Some(On::Error(_))));
    assert!(matches!(super::answer::response_outage().result, Some(Back::Error(_))));
    assert!(matches!(super::answer::passed(&[], &Default::default()).result, Some(On::Error(_))));
    for reason in Reason::ALL {
        let denial = palisade_pdp::Denial {
            id: palisade_model::DecisionId::new(palisade_model::Timestamp::from_unix_seconds(NOW)),
            reason: *reason,
            resource: None,
            remedy: palisade_pdp::Remedy::None,
            retry_after: None,
            policy_code: None,
            replies: Vec::new(),
            batch: false,
            told: None,
        };
        let (code, error) = denied(super::answer::denied(&denial, "tools/call"));
        assert_ne!(code, Code::Unknown);
        let limited = *reason == Reason::RateLimited;
        assert_eq!(code == Code::ResourceExhausted, limited, "{reason}");
        assert_eq!(limited, error["data"]["status"] == 429, "{reason}");
        assert!(error["code"].is_i64() && error["message"].is_string());
    }
}

#[test]
fn nothing_of_a_stranger_goes_on_and_no_list_goes_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(async { Fixture::new() });
    let words = || prop_oneof![Just("tools/call".to_owned()), Just("tools/list".to_owned()), ".{0,12}"];
    let services = proptest::collection::vec(
        prop_oneof![Just("files-srv".to_owned()), Just("keyed-srv".to_owned()), ".{0,6}"],
        0..3,
    );
    let bytes = proptest::option::of(prop_oneof![
        Just(b"{\"name\":\"list_files\"}".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40)
    ]);
    let input = (services, words(), bytes, proptest::option::of(".{0,12}"));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let result = runner.run(&input, |(services, method, bytes, token)| {
        let metadata_context = token.and_then(|token| with_token(&token));
        let request = McpRequest {
            service_names: services.clone(),
            method: method.clone(),
            metadata_context: metadata_context.clone(),
            mcp_request: bytes.clone(),
            headers: Vec::new(),
        };
        let on = runtime.block_on(fixture.asked("local", request)).result;
        prop_assert!(matches!(on, Some(On::Error(_))), "{on:?}");
        let mcp_response = bytes.unwrap_or_default();
        let response =
            McpResponse { service_names: services, method: method.clone(), metadata_context, mcp_response };
        let back = runtime.block_on(fixture.back("local", response));
        prop_assert!(
            matches!(back, Back::Error(_)) || palisade_mcp::Listing::of(&method).is_none(),
            "{back:?}"
        );
        Ok(())
    });
    result.unwrap();
}

proptest! {
    #[test]
    fn an_entry_is_of_one_service_at_most(
        services in proptest::collection::hash_set("[a-c_]{0,3}", 1..4),
        names in proptest::collection::vec("[a-c_]{0,6}", 0..8),
    ) {
        let services: Vec<String> = services.into_iter().collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let entries = merged::entries(palisade_mcp::Listing::Tools, &services, &names);
        prop_assert_eq!(entries.len(), services.len());
        let mut places: Vec<usize> = entries.iter().flatten().map(|entry| entry.place).collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        prop_assert_eq!(places.len(), count);
        for (service, entry) in services.iter().zip(&entries).flat_map(|(service, of)| of.iter().map(move |entry| (service, entry))) {
            let whole = if services.len() == 1 { entry.name.to_owned() } else { format!("{service}_{}", entry.name) };
            prop_assert_eq!(&whole, names[entry.place]);
        }
        if services.len() > 1 {
            prop_assert!(merged::entries(palisade_mcp::Listing::Resources, &services, &names).iter().all(Vec::is_empty));
        }
    }
}
