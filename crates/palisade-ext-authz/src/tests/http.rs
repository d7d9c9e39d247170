//! The HTTP check: 200 is an allow, and nothing else is 200.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use futures::FutureExt as _;
use palisade_audit::Outcome;
use palisade_model::Reason;
use palisade_pdp::RequestFrom;
use tower::ServiceExt;

use super::fixture::*;
use crate::http;
use palisade_call::Named;

pub(super) fn request(method: &str, target: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", "files.example.com")
        .extension(caller("local"))
}

pub(super) fn tool_call(resource: &str, tool: &str) -> Request<Body> {
    tool_call_by("local", resource, tool)
}

/// A tool call about which this caller asks.
pub(super) fn tool_call_by(pep: &str, resource: &str, tool: &str) -> Request<Body> {
    request("POST", &format!("/authz/{resource}/mcp"))
        .extension(caller(pep))
        .header("content-type", "application/json")
        .header("authorization", bearer(resource))
        .body(call_body(tool).to_string().into())
        .unwrap()
}

pub(super) async fn answer(
    fixture: &Fixture,
    request: Request<Body>,
) -> (StatusCode, axum::http::HeaderMap, String) {
    let response = http::router(Arc::clone(&fixture.pdp)).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    (parts.status, parts.headers, body)
}

#[tokio::test]
async fn a_permit_is_200_with_the_headers_for_the_upstream() {
    let fixture = fixture();
    let (status, headers, body) = answer(&fixture, tool_call("files", "list_files")).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    assert_eq!(headers["x-palisade-subject"], "User::\"corp/alice\"");
    assert_eq!(headers["x-palisade-scopes"], "files:read");
    assert_eq!(headers["x-palisade-decision"], headers["x-palisade-decision-id"]);
    let removed = headers["x-envoy-auth-headers-to-remove"].to_str().unwrap();
    assert!(removed.split(", ").any(|name| name == "authorization"));
    assert!(removed.split(", ").any(|name| name == "x_palisade_subject"));
    assert!(removed.split(", ").any(|name| name == "x-http-method-override"));
}

#[tokio::test]
async fn a_denial_is_never_200_not_even_in_json_rpc() {
    let fixture = fixture();
    let (status, _, body) = answer(&fixture, tool_call("chat", "no_such_tool")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("access_denied"));
    let (status, headers, _) =
        answer(&fixture, request("GET", "/authz/files/mcp").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Bearer scope=\"files:read\""));
}

#[tokio::test]
async fn routes_keep_the_clients_path_and_method() {
    let fixture = fixture();
    let order = |target: &str| {
        request("GET", target).header("authorization", bearer("orders")).body(Body::empty()).unwrap()
    };
    assert_eq!(answer(&fixture, order("/authz/orders/v1/orders/1?x=1")).await.0, StatusCode::OK);
    assert_eq!(answer(&fixture, order("/authz/orders/v1/orders")).await.0, StatusCode::FORBIDDEN);
    for malformed in
        ["/authz/orders//v1/orders/1", "/authz/orders/v1/orders/1%2f2", "/authz/orders/v1/../v1/orders/1"]
    {
        assert_eq!(answer(&fixture, order(malformed)).await.0, StatusCode::BAD_REQUEST, "{malformed}");
    }
    for unknown in [
        "/authz/nope/v1/orders/1",
        "/authz/%6frders/v1/orders/1",
        "/authz//orders/v1/orders/1",
        "/authz/Orders/x",
    ] {
        assert_eq!(answer(&fixture, order(unknown)).await.0, StatusCode::NOT_FOUND, "{unknown}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_decides_nothing() {
    let fixture = fixture();
    let large = request("POST", "/authz/files/mcp")
        .header("content-type", "application/json")
        .header("authorization", bearer("files"))
        .body(" ".repeat(65 * 1024).into())
        .unwrap();
    assert_eq!(answer(&fixture, large).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_caller_without_a_name_gets_nothing() {
    let fixture = fixture();
    let mut request = tool_call("files", "list_files");
    request.extensions_mut().clear();
    assert_ne!(answer(&fixture, request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_preflight_is_204() {
    let fixture = fixture();
    let preflight = || {
        request("OPTIONS", "/authz/files/mcp")
            .header("origin", ORIGIN)
            .header("access-control-request-method", "POST")
    };
    let (status, headers, _) = answer(&fixture, preflight().body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(headers["access-control-allow-origin"], ORIGIN);
    let of_another = preflight().header("x-forwarded-method", "OPTIONS").body(Body::empty()).unwrap();
    assert_eq!(answer(&fixture, of_another).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_question_about_another_request_than_the_calls_own_is_refused_and_recorded() {
    for header in
        ["X-Forwarded-Method", "x-forwarded-uri", "x-original-method", "x-original-uri", "x-original-url"]
    {
        let fixture = fixture();
        let order = request("GET", "/authz/orders/v1/orders/1")
            .header("authorization", bearer("orders"))
            .header(header, "DELETE")
            .body(Body::empty())
            .unwrap();
        assert_eq!(answer(&fixture, order).await.0, StatusCode::BAD_REQUEST, "{header}");
        assert_eq!(fixture.recorded().await.reason, Reason::RequestMalformed, "{header}");
    }
    // Over gRPC the request is in the message, and its headers are the client's.
    let fixture = fixture();
    let check = Check::call("files", "list_files").header("x-forwarded-uri", "/x");
    assert_eq!(code(&check.answer(&fixture).await), 0);
}

#[tokio::test]
async fn a_call_that_is_cancelled_leaves_its_record() {
    let fixture = fixture();
    let call = http::router(Arc::clone(&fixture.pdp)).oneshot(tool_call("files", "list_files"));
    assert!(call.now_or_never().is_none(), "dropped on its way");
    assert_eq!(fixture.recorded().await.decision, Outcome::Permit);
}

#[test]
fn the_path_behind_the_resource_is_the_clients() {
    for (target, resource, path) in [
        ("/authz/files", "files", "/"),
        ("/authz/files/", "files", "/"),
        ("/authz/files?x=1", "files", "/?x=1"),
        ("/authz/files/mcp?x=1", "files", "/mcp?x=1"),
        ("/authz/files//mcp", "files", "//mcp"),
        ("/authz//files", "", "/files"),
        ("/elsewhere", "", "/"),
    ] {
        let (parts, ()) = Request::builder().uri(target).body(()).unwrap().into_parts();
        let call = http::call(&parts, Some(Vec::new()), RequestFrom::Call);
        assert_eq!(
            (call.named, call.target.as_str()),
            (Named::Segment(resource.to_owned()), path),
            "{target}"
        );
    }
}
