//! agentgateway's `ExtMcp` against the running service: its messages as it sends them, and `ext_authz` beside it for what its
//! protocol cannot carry.

use std::collections::HashMap;

use envoy_types::{
    ext_authz::v3::pb::{CheckRequest, HttpResponse},
    pb::envoy::service::auth::v3::{
        AttributeContext,
        attribute_context::{self, HttpRequest},
        authorization_client::AuthorizationClient,
    },
};
use palisade_audit::Outcome;
use palisade_model::Surface;
use palisade_proto::ext_mcp::{
    McpHeader, McpRequest, McpResponse, authorization_error::Code, ext_mcp_client::ExtMcpClient,
    mcp_request_result::Result as On, mcp_response_result::Result as Back,
};
use palisade_tests::service::Palisade;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::stories;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The service with the resource `demo` as the gateway's target `files`, and a PEP for the gateway.
async fn start(issuer: &str) -> (Palisade, TempDir) {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("gateway.key");
    std::fs::write(&file, KEY).unwrap();
    let pep = format!(
        "peps:\n  gateway: {{auth: {{key: {{file: {}}}}}, surfaces: [ext_mcp, ext_authz, http_authz], resources: '*'}}\n",
        file.display()
    );
    let stories = stories::configuration(issuer).replace(
        "    identifier: https://mcp.example.com/demo\n",
        "    identifier: https://mcp.example.com/demo\n    match: [{service: files}]\n",
    );
    let palisade = Palisade::start(&format!("{stories}{pep}"), "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    (palisade, keys)
}

async fn client(palisade: &Palisade) -> ExtMcpClient<Channel> {
    ExtMcpClient::connect(format!("http://127.0.0.1:{}", palisade.decision)).await.unwrap()
}

/// As a gateway with `backendAuth: {key: ..}` for its guardrail sends it.
fn with_key<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    request
}

fn call(tool: &str, token: Option<&str>) -> McpRequest {
    let header =
        |token| McpHeader { key: "authorization".to_owned(), value: format!("Bearer {token}").into_bytes() };
    McpRequest {
        service_names: vec!["files".to_owned()],
        method: "tools/call".to_owned(),
        metadata_context: None,
        mcp_request: Some(
            json!({"name": tool, "arguments": {"path": "/a", "message": "hi"}}).to_string().into(),
        ),
        headers: token.map(header).into_iter().collect(),
    }
}

fn list(token: &str) -> McpResponse {
    let kind = prost_types::value::Kind::StringValue(token.to_owned());
    let token = ("token".to_owned(), prost_types::Value { kind: Some(kind) });
    McpResponse {
        service_names: vec!["files".to_owned()],
        method: "tools/list".to_owned(),
        metadata_context: Some(prost_types::Struct { fields: [token].into() }),
        mcp_response: json!({ "tools": stories::tools("demo") }).to_string().into_bytes(),
    }
}

/// The error object of a denial, with its code.
fn denial(result: Option<On>) -> (Code, Value) {
    let Some(On::Error(error)) = result else { panic!("{result:?}") };
    (error.code(), serde_json::from_slice(&error.mcp_error.clone().unwrap()).unwrap())
}

/// What `ext_authz` answers to the same call: the status, and the challenge.
type Challenged = (u16, Option<String>);

/// The same call by `ext_authz` over gRPC, as a gateway that stands before the other asks.
async fn by_grpc(palisade: &Palisade, tool: &str, token: Option<&str>) -> Challenged {
    let mut headers: HashMap<String, String> = [
        (":method", "POST"),
        (":path", "/demo"),
        (":authority", "mcp.example.com"),
        ("content-type", "application/json"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    headers.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
    let body = stories::call(tool, &json!({"path": "/a", "message": "hi"}));
    let http = HttpRequest {
        method: "POST".to_owned(),
        path: "/demo".to_owned(),
        host: "mcp.example.com".to_owned(),
        scheme: "https".to_owned(),
        size: i64::try_from(body.len()).unwrap(),
        headers,
        body,
        ..HttpRequest::default()
    };
    let attributes = AttributeContext {
        request: Some(attribute_context::Request { time: None, http: Some(http) }),
        context_extensions: [("palisade.resource".to_owned(), "demo".to_owned())].into(),
        ..AttributeContext::default()
    };
    let mut request = tonic::Request::new(CheckRequest { attributes: Some(attributes) });
    request.metadata_mut().insert("x-palisade-key", KEY.parse().unwrap());
    let endpoint = format!("http://127.0.0.1:{}", palisade.decision);
    let mut decisions = AuthorizationClient::connect(endpoint).await.unwrap();
    let answer = decisions.check(request).await.unwrap().into_inner();
    let permits = answer.status.unwrap().code == 0;
    match answer.http_response.unwrap() {
        HttpResponse::DeniedResponse(denied) if !permits => {
            let status = u16::try_from(denied.status.unwrap().code).unwrap();
            let mut headers = denied.headers.into_iter().filter_map(|option| option.header);
            let challenge = headers.find(|header| header.key.eq_ignore_ascii_case("www-authenticate"));
            (status, challenge.map(|header| header.value))
        }
        HttpResponse::OkResponse(_) if permits => (200, None),
        other @ (HttpResponse::DeniedResponse(_)
        | HttpResponse::OkResponse(_)
        | HttpResponse::ErrorResponse(_)) => panic!("{other:?}"),
    }
}

/// The same call by `ext_authz` over HTTP.
async fn by_http(palisade: &Palisade, tool: &str, token: Option<&str>) -> Challenged {
    let request = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{}/authz/demo", palisade.decision))
        .header("x-palisade-key", KEY)
        .header("content-type", "application/json")
        .body(stories::call(tool, &json!({"path": "/a", "message": "hi"})));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), challenge)
}

/// Both forms of `ext_authz`, which answer alike.
async fn by_ext_authz(palisade: &Palisade, tool: &str, token: Option<&str>) -> Challenged {
    let answered = by_http(palisade, tool, token).await;
    assert_eq!(by_grpc(palisade, tool, token).await, answered, "{tool}");
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_list_shows_can_be_called_and_ext_authz_gives_the_challenges() {
    let provider = stories::provider().await;
    let (palisade, _keys) = start(provider.issuer()).await;
    let mut gateway = client(&palisade).await;
    for (user, scopes) in [("bob", "files:read"), ("bob", ""), ("alice", "files:read files:delete")] {
        let token = provider.token(user, &stories::identifier("demo"), scopes).await.unwrap();
        let back = gateway.check_response(with_key(list(&token))).await.unwrap().into_inner().result;
        let Some(Back::Mutated(result)) = back else { panic!("{back:?}") };
        let result: Value = serde_json::from_slice(&result).unwrap();
        let shown: Vec<&str> =
            result["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        for tool in stories::tools("demo").as_array().unwrap() {
            let name = tool["name"].as_str().unwrap();
            let on = gateway.check_request(with_key(call(name, Some(&token)))).await.unwrap().into_inner();
            let (status, challenge) = by_ext_authz(&palisade, name, Some(&token)).await;
            let reachable = match on.result {
                Some(On::Pass(_)) => {
                    assert_eq!(status, 200, "{user} {name}");
                    let mutation = on.header_mutation.unwrap();
                    assert!(mutation.set.iter().any(|header| header.key == "x-palisade-subject"));
                    assert!(mutation.remove.contains(&"authorization".to_owned()));
                    true
                }
                denied => {
                    let (code, error) = denial(denied);
                    assert_eq!(code, Code::PermissionDenied);
                    assert_eq!(status, 403, "{user} {name}");
                    assert_eq!(
                        error["data"]["www_authenticate"].as_str(),
                        challenge.as_deref(),
                        "{user} {name}"
                    );
                    challenge.is_some()
                }
            };
            assert_eq!(shown.contains(&name), reachable, "{user} {scopes} {name}");
        }
    }
    // Without a token the protocol carries an error, and ext_authz the challenge itself.
    let on = gateway.check_request(with_key(call("echo", None))).await.unwrap().into_inner();
    let (_, error) = denial(on.result);
    let (status, challenge) = by_ext_authz(&palisade, "echo", None).await;
    assert_eq!((error["code"].as_u64(), status), (Some(401), 401));
    assert_eq!(error["data"]["www_authenticate"].as_str(), challenge.as_deref());
    assert!(challenge.unwrap().contains("resource_metadata="));

    let records = palisade.decisions().unwrap();
    let own: Vec<_> = records.iter().filter(|record| record.surface == Some(Surface::ExtMcp)).collect();
    assert!(own.iter().all(|record| record.pep.as_ref().is_some_and(|pep| pep.as_str() == "gateway")));
    let lists = own.iter().filter(|record| record.action.as_deref() == Some("Mcp::Action::\"tools/list\""));
    assert_eq!(lists.filter(|record| record.decision == Outcome::Permit).count(), 3);
    // Each call was asked about at all three entries, and nowhere otherwise decided.
    let calls = |surface| {
        let of_it = records.iter().filter(move |record| record.surface == Some(surface));
        let calls = of_it.filter(|record| record.action.as_deref() == Some("Mcp::Action::\"tools/call\""));
        calls.map(|record| (record.target.clone(), record.decision)).collect::<Vec<_>>()
    };
    let asked = calls(Surface::ExtMcp);
    for outcome in [Outcome::Permit, Outcome::StepUp, Outcome::Deny] {
        assert!(asked.iter().any(|(target, decision)| target.is_some() && *decision == outcome), "{asked:?}");
    }
    assert_eq!(calls(Surface::ExtAuthz), asked);
    assert_eq!(calls(Surface::HttpAuthz), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_and_what_cannot_be_read_get_an_error_and_never_a_status() {
    let provider = stories::provider().await;
    let (palisade, _keys) = start(provider.issuer()).await;
    let mut gateway = client(&palisade).await;
    let token = provider.token("bob", &stories::identifier("demo"), "files:read").await.unwrap();
    // A key that is none.
    let mut wrong = tonic::Request::new(call("echo", Some(&token)));
    wrong.metadata_mut().insert("authorization", "Bearer wrong".parse().unwrap());
    let (code, _) = denial(gateway.check_request(wrong).await.unwrap().into_inner().result);
    assert_eq!(code, Code::PermissionDenied);
    // Larger than anything that is taken in.
    let large = McpResponse { mcp_response: vec![b' '; 18 * 1024 * 1024], ..list(&token) };
    let back = gateway.check_response(with_key(large)).await.unwrap().into_inner().result;
    assert!(matches!(back, Some(Back::Error(_))), "{back:?}");
    let large = McpRequest { mcp_request: Some(vec![b' '; 18 * 1024 * 1024]), ..call("echo", Some(&token)) };
    denial(gateway.check_request(with_key(large)).await.unwrap().into_inner().result);
    // The resource's own place still holds beside its service.
    let (status, _) = by_ext_authz(&palisade, "echo", Some(&token)).await;
    assert_eq!(status, 200);
}
