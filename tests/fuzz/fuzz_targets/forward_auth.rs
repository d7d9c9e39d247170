//! Header fields and bodies through the HTTP check, as proxies ask it about requests of their clients.
//!
//! The first byte of an input picks the caller, and with it the form that is read; the second the method and the resource.
//! Then follow header fields, `name: value`, each with a line break behind it, and behind an empty line the body. Names may
//! be numbers: of the fields that say something of a request. It is asked without a credential, and with a good token of a
//! subject that no policy permits anything. So no answer is an allow: none is 2xx but a preflight's 204, and that only to
//! callers whose own call is the client's.
#![no_main]

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Request, StatusCode},
};
use libfuzzer_sys::fuzz_target;
use palisade_ext_authz::http;
use palisade_fuzz::{
    RUNTIME,
    site::{SETUP, picked},
};
use palisade_pdp::Caller;
use tower::ServiceExt as _;

const NAMES: [&str; 16] = [
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
    "content-type",
    "content-length",
    "origin",
    "access-control-request-method",
    "mcp-name",
    "x-envoy-auth-partial-body",
];
const METHODS: [&str; 4] = ["GET", "POST", "OPTIONS", "DELETE"];
const PATHS: [&str; 4] = ["files/mcp", "chat", "orders/v1/orders/1", "watched"];

fuzz_target!(|data: &[u8]| {
    let [pick, place, rest @ ..] = data else { return };
    let (caller, token) = picked(*pick);
    let (fields, body) = parts(rest);
    for token in [None, Some(token)] {
        let Some(request) = request(&caller, *place, &fields, body, token) else { return };
        let router = http::router(Arc::clone(&SETUP.pdp));
        let status = RUNTIME.block_on(router.oneshot(request)).expect("an answer").status();
        let tells_in_fields =
            caller.0.as_ref().is_some_and(|name| matches!(name.as_str(), "nginx" | "caddy"));
        let is_preflight = status == StatusCode::NO_CONTENT && !tells_in_fields;
        assert!(status.as_u16() >= 400 || is_preflight, "{status}");
    }
});

/// The fields of an input, and its body.
fn parts(input: &[u8]) -> (Vec<(HeaderName, HeaderValue)>, &[u8]) {
    let (mut fields, mut rest) = (Vec::new(), input);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = match line[..colon] {
            [number] if usize::from(number) < NAMES.len() => NAMES[usize::from(number)].as_bytes(),
            _ => &line[..colon],
        };
        let value = line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            fields.push((name, value));
        }
    }
    (fields, rest)
}

fn request(
    caller: &Caller,
    place: u8,
    fields: &[(HeaderName, HeaderValue)],
    body: &[u8],
    token: Option<&str>,
) -> Option<Request<Body>> {
    let (method, path) = (METHODS[usize::from(place) % 4], PATHS[usize::from(place) / 4 % 4]);
    let mut request =
        Request::builder().method(method).uri(format!("/authz/{path}")).header("host", "orders.test");
    for (name, value) in fields.iter().filter(|(name, _)| token.is_none() || name != "authorization") {
        request = request.header(name, value);
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.extension(caller.clone()).body(Body::from(body.to_vec())).ok()
}
