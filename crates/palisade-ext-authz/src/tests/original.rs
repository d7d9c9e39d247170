//! Proxies that ask with a call of their own: what is read of the client's request, and what no header can do.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use palisade_model::{AccessRequest, Reason};
use palisade_pdp::RequestFrom;
use proptest::prelude::*;
use tower::ServiceExt;

use super::fixture::*;
use crate::http;
use palisade_call::{Believed, decode};

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// What a proxy of the PEP's form says of this request.
fn told<'a>(pep: &str, method: &'a str, target: &'a str) -> Fields<'a> {
    let names = if pep == "nginx" {
        ["x-original-method", "x-original-proto", "x-original-host", "X-Original-URI"]
    } else {
        ["x-forwarded-method", "x-forwarded-proto", "x-forwarded-host", "X-Forwarded-Uri"]
    };
    let mut fields: Fields<'a> =
        names.into_iter().zip([method, "https", "orders.example.com", target]).collect();
    fields.push(("x-forwarded-for", "203.0.113.7"));
    fields
}

fn check(pep: &str, resource: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let request = Request::get(format!("/authz/{resource}")).header("host", "127.0.0.1:7254");
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.extension(caller(pep)).body(Body::empty()).unwrap()
}

async fn status(fixture: &Fixture, request: Request<Body>) -> StatusCode {
    http::router(Arc::clone(&fixture.pdp)).oneshot(request).await.unwrap().status()
}

/// What is asked, as it is decoded for this caller.
fn asked(pep: &str, resource: &str, fields: &[(&str, &str)]) -> AccessRequest {
    let (peps, resources, caller) = (peps(), resources(), caller(pep));
    let believed = Believed::new(&caller, &peps, &resources, 64 * 1024, 50);
    let (parts, _) = check(pep, resource, fields).into_parts();
    decode(&http::call(&parts, Some(Vec::new()), believed.request_from()), &believed).request
}

#[tokio::test]
async fn each_form_tells_the_clients_request() {
    for pep in ["nginx", "caddy"] {
        let fixture = fixture();
        let bearer = bearer("orders");
        let order = |method, target| {
            let mut fields = told(pep, method, target);
            fields.push(("authorization", &bearer));
            check(pep, "orders", &fields)
        };
        for (method, target, expected) in [
            ("GET", "/v1/orders/1?x=1", StatusCode::OK),
            ("DELETE", "/v1/orders/1", StatusCode::FORBIDDEN),
            ("GET", "/v1/orders", StatusCode::FORBIDDEN),
            ("get", "/v1/orders/1", StatusCode::FORBIDDEN),
            ("GET", "/v1/../v1/orders/1", StatusCode::BAD_REQUEST),
            ("GET", "/v1/orders/1, /v1/orders/2", StatusCode::BAD_REQUEST),
            ("GET", "https://orders.example.com/v1/orders/1", StatusCode::BAD_REQUEST),
        ] {
            assert_eq!(status(&fixture, order(method, target)).await, expected, "{pep} {method} {target}");
        }
        let asked = asked(pep, "orders", &told(pep, "GET", "/v1/orders/1?x=1"));
        assert_eq!(asked.host.as_deref(), Some("orders.example.com"));
        assert_eq!(asked.path.as_deref(), Some("/v1/orders/1"));
        assert_eq!(asked.client_ip, Some("203.0.113.7".parse().unwrap()));
    }
}

#[tokio::test]
async fn a_message_is_decided_where_the_body_comes_along_and_denied_where_it_does_not() {
    // HAProxy's script, and Traefik with `forwardBody`.
    for pep in ["nginx", "caddy"] {
        let (whole, without, bearer) = (fixture(), fixture(), bearer("files"));
        let call = |body: String| {
            let mut fields = told(pep, "POST", "/mcp");
            fields.extend([("authorization", bearer.as_str()), ("content-type", "application/json")]);
            let mut request = check(pep, "files", &fields);
            *request.body_mut() = body.into();
            request
        };
        assert_eq!(status(&whole, call(call_body("list_files").to_string())).await, StatusCode::OK, "{pep}");
        assert_eq!(status(&whole, call(call_body("delete_file").to_string())).await, StatusCode::FORBIDDEN);
        assert_eq!(status(&without, call(String::new())).await, StatusCode::BAD_REQUEST);
        assert_eq!(without.recorded().await.reason, Reason::RequestBodyMissing);
    }
}

#[test]
fn a_field_that_did_not_come_once_is_not_guessed() {
    for pep in ["nginx", "caddy"] {
        let whole = told(pep, "GET", "/v1/orders/1");
        assert!(asked(pep, "orders", &whole).asked.is_ok());
        for at in 0..4 {
            let mut missing = whole.clone();
            let (name, value) = missing.remove(at);
            let mut empty = missing.clone();
            empty.push((name, ""));
            let mut twice = whole.clone();
            twice.push((name, value));
            for fields in [missing, empty, twice] {
                let refusal = asked(pep, "orders", &fields).asked.unwrap_err();
                assert_eq!(refusal.reason, Reason::RequestMalformed, "{fields:?}");
            }
        }
    }
}

#[test]
fn the_form_of_another_proxy_is_refused_and_never_believed() {
    for (pep, other) in [("nginx", "caddy"), ("caddy", "nginx"), ("local", "nginx"), ("local", "caddy")] {
        let alone = told(other, "GET", "/v1/orders/1");
        let both = [told(pep, "GET", "/v1/orders/1"), alone.clone()].concat();
        for fields in [alone, both] {
            let refusal = asked(pep, "orders", &fields).asked.unwrap_err();
            assert_eq!(refusal.reason, Reason::RequestMalformed, "{pep} {fields:?}");
        }
        let mut url = told(pep, "GET", "/v1/orders/1");
        url.push(("x-original-url", "https://orders.example.com/v1/orders/1"));
        assert!(asked(pep, "orders", &url).asked.is_err(), "{pep}");
    }
}

#[tokio::test]
async fn a_preflight_is_no_2xx_where_any_2xx_is_an_allow() {
    for pep in ["nginx", "caddy"] {
        let mut fields = told(pep, "OPTIONS", "/v1/orders/1");
        fields.extend([("origin", ORIGIN), ("access-control-request-method", "POST")]);
        assert_eq!(status(&fixture(), check(pep, "orders", &fields)).await, StatusCode::UNAUTHORIZED);
    }
}

/// Names that a client would try, also as it would write them for a reader that takes `_` for `-`.
fn name() -> impl Strategy<Value = String> {
    let known = [
        "x-original-method",
        "x-original-proto",
        "x-original-host",
        "x-original-uri",
        "x-original-url",
        "x-forwarded-method",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-uri",
        "x-forwarded-for",
        "x-forwarded-prefix",
        "forwarded",
        "x-real-ip",
        "x-rewrite-url",
        "x-http-method-override",
        "x-palisade-subject",
        "x-envoy-original-path",
        "host",
        "x_original_uri",
        "x_forwarded_for",
    ];
    prop_oneof![8 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "[a-z][a-z0-9_-]{0,12}"]
}

fn value() -> impl Strategy<Value = String> {
    let known =
        ["GET", "DELETE", "http", "https", "/v1/orders/1", "files.example.com", "10.0.0.1", "orders", ""];
    prop_oneof![3 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "[ -~]{0,24}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_header_set_permits_by_itself(
        pep in prop::sample::select(vec!["nginx", "caddy", "local", "trusted"]),
        resource in prop::sample::select(vec!["files", "orders", "chat"]),
        spoofed in prop::collection::vec((name(), value()), 0..12),
    ) {
        let fields: Fields<'_> = spoofed.iter()
            .filter(|(name, _)| name != "host" && name != "authorization")
            .map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        thread_local! { static FIXTURE: Fixture = fixture(); }
        let status = FIXTURE.with(|fixture| runtime.block_on(status(fixture, check(pep, resource, &fields))));
        prop_assert!(!status.is_success(), "{status}");
    }

    #[test]
    fn what_a_proxy_did_not_write_changes_nothing_or_is_refused(
        pep in prop::sample::select(vec!["nginx", "caddy"]),
        spoofed in prop::collection::vec((name(), value()), 0..8),
    ) {
        let written = told(pep, "GET", "/v1/orders/1?x=1");
        // The proxy writes its own fields over the client's.
        let is_written = |name: &str| written.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let left = spoofed.iter().filter(|(name, _)| !is_written(name) && name != "host" && name != "authorization");
        let fields: Fields<'_> =
            left.map(|(name, value)| (name.as_str(), value.as_str())).chain(written.iter().copied()).collect();
        let (honest, spoofed) = (asked(pep, "orders", &written), asked(pep, "orders", &fields));
        prop_assert_eq!(&spoofed.resource, &honest.resource);
        prop_assert_eq!(spoofed.client_ip, honest.client_ip);
        if spoofed.asked.is_ok() {
            prop_assert_eq!(spoofed.asked, honest.asked);
            prop_assert_eq!((spoofed.host, spoofed.path), (honest.host, honest.path));
        } else {
            prop_assert_eq!(spoofed.asked.unwrap_err().reason, Reason::RequestMalformed);
        }
    }

    #[test]
    fn what_is_read_of_any_header_set_is_what_one_proxy_could_have_written(
        form in prop::sample::select(vec![RequestFrom::Call, RequestFrom::XOriginal, RequestFrom::XForwarded]),
        fields in prop::collection::vec((name(), value()), 0..12),
    ) {
        let mut headers = palisade_call::Headers::default();
        for (name, value) in &fields {
            headers.push(name, value.clone());
        }
        if let Ok(Some(original)) = crate::original::read(&headers, form) {
            let prefix = if form == RequestFrom::XOriginal { "x-original-" } else { "x-forwarded-" };
            for (name, read) in [
                ("method", original.method), ("proto", original.scheme), ("host", original.host), ("uri", original.target),
            ] {
                prop_assert_eq!(headers.all(&format!("{prefix}{name}")), [read]);
            }
        }
    }
}
