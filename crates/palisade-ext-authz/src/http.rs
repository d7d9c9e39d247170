//! Envoy `ext_authz` over HTTP: `/authz/{resource}` and the client's own path behind it, with the client's method,
//! host and headers (`path_prefix` in Envoy's configuration).
//!
//! Status 200 is an allow here, whatever the body says, so no denial has it. Everything else is Envoy's denial, but for
//! 5xx, which it takes for an error of the service: outages are told so, as people expect it, and `failure_mode_allow`
//! must be false. A CORS preflight is answered with 204, which Envoy passes on to the client as a denial.
//!
//! This entry is for Envoy and for people with curl. It is not for proxies that ask with a GET about another request
//! (nginx, Traefik, Caddy): they take any 2xx for an allow, a preflight's too, and the method and path here would not
//! be the client's. Calls that show that they come from one are refused.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body as HttpBody, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::HOST, request::Parts},
    response::Response,
    routing::any,
};
use palisade_model::{Reason, Refusal, Surface};
use palisade_pdp::{
    Caller, Decision, Pdp,
    answer::{self, Answer},
    run_to_end,
};

use crate::{
    call::{Body, Headers, HttpCall, Named},
    decode::{Believed, decode},
    encode,
    identity::Passage,
};

/// Where Envoy looks for headers to take from the client's request.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";
/// What every path here begins with.
const PREFIX: &str = "/authz/";
/// What proxies say of the client's request when their own is another.
const OF_ANOTHER_REQUEST: [&str; 5] =
    ["x-forwarded-method", "x-forwarded-uri", "x-original-method", "x-original-uri", "x-original-url"];

/// The routes of the HTTP check.
pub fn router(pdp: Arc<Pdp>) -> Router {
    Router::new().route("/authz/{*call}", any(check)).with_state(pdp)
}

async fn check(State(pdp): State<Arc<Pdp>>, request: Request) -> Response {
    response(run_to_end(async move { decide(&pdp, request).await }, encode::outage).await)
}

async fn decide(pdp: &Pdp, request: Request) -> Answer {
    let snapshot = pdp.snapshot();
    let limits = &snapshot.limits;
    let (parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
    let call = call(&parts, read(body, limits.body).await);
    let believed = Believed::new(&caller, &snapshot.peps, &snapshot.resources, limits.body, limits.batch);
    let decoded = decode(&call, &believed);
    if let Some((resource, origin)) = decoded.preflight(&call, &believed) {
        return answer::preflight(resource, origin);
    }
    match pdp.decide(&snapshot, &decoded.request).await {
        Decision::Permit(permit) => passed(&Passage::from(&permit), &call),
        Decision::Observed(observed) => passed(&Passage::from(&observed), &call),
        Decision::Deny(denial) => encode::denial_answer(&denial, &call, &decoded),
    }
}

/// All of a body that keeps the limit. A body that does not, or that ends in an error, is told apart from none.
async fn read(body: HttpBody, most: usize) -> Option<Vec<u8>> {
    to_bytes(body, most).await.ok().map(Vec::from)
}

/// A request as a call; `None` for a body that did not come whole.
pub(crate) fn call(parts: &Parts, body: Option<Vec<u8>>) -> HttpCall {
    let headers = headers(&parts.headers);
    let declared_size = headers.only("content-length").and_then(|length| length.parse().ok());
    let raw = parts.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
    let behind_prefix = raw.strip_prefix(PREFIX).unwrap_or_default();
    let end = behind_prefix.find(['/', '?']).unwrap_or(behind_prefix.len());
    let (resource, rest) = behind_prefix.split_at_checked(end).unwrap_or((behind_prefix, ""));
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| headers.only(HOST.as_str())).unwrap_or_default().to_owned();
    HttpCall {
        surface: Surface::HttpAuthz,
        named: Named::Segment(resource.to_owned()),
        method: parts.method.as_str().to_owned(),
        scheme: parts.uri.scheme_str().unwrap_or("https").to_owned(),
        host,
        target: if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") },
        body: match body {
            Some(bytes) => Body::new(bytes, declared_size, headers.say_partial_body()),
            None => Body::Truncated,
        },
        declared_size,
        unusable: of_another_request(&headers),
        headers,
        // The connection is the proxy's, not the client's.
        source: None,
        request_id: None,
        mcp: None,
    }
}

fn of_another_request(headers: &Headers) -> Option<Refusal> {
    let why = "the call asks about another request than its own: only Envoy's form of the check is served";
    let came = OF_ANOTHER_REQUEST.iter().any(|name| headers.has(name));
    came.then(|| Refusal::new(Reason::RequestMalformed, why))
}

fn headers(map: &HeaderMap) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in map {
        headers.push(name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    headers
}

fn passed(passage: &Passage<'_>, call: &HttpCall) -> Answer {
    let mut headers = passage.headers();
    headers.push((TO_REMOVE, passage.removals(&headers, &call.headers).join(", ")));
    headers.extend(encode::response_headers(passage, call));
    Answer { status: 200, headers, body: String::new() }
}

/// An answer as a response. One that cannot be written as it is becomes an outage, never an allow.
fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = Response::new(HttpBody::from(answer.body));
    *response.status_mut() = status;
    for (name, value) in answer.headers {
        match HeaderValue::from_str(&value) {
            Ok(value) => {
                response.headers_mut().append(HeaderName::from_static(name), value);
            }
            Err(_) => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
        }
    }
    response
}
