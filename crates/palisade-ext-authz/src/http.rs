//! The HTTP check: `/authz/{resource}`, asked by Envoy's `ext_authz` over HTTP and by proxies that ask about each request
//! with one of their own (nginx `auth_request`, Traefik and Caddy forward auth, HAProxy by a script).
//!
//! Where the client's request is read from, the PEP's `request_from` says. Envoy (`call`) repeats it: its path stands
//! behind the resource (`path_prefix` in Envoy's configuration), beside its method, host and headers. The others tell it in
//! header fields, which `original` reads.
//!
//! Status 200 is an allow here, whatever the body says, and nothing else below 400 is an answer to the others, which take
//! any 2xx for an allow. A CORS preflight is answered with 204 for Envoy only, which passes it on to the client as a
//! denial; for the others it is a request like any other. 5xx is an error of the service to Envoy: outages are told so, as
//! people expect it, and `failure_mode_allow` must be false.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body as HttpBody, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::HOST, request::Parts},
    response::Response,
    routing::any,
};
use palisade_call::{
    Believed, Body, Headers, HttpCall, Named, Passage, decode, denial_answer, outage, response_headers,
};
use palisade_model::Surface;
use palisade_pdp::{
    Caller, Decision, Pdp, RequestFrom,
    answer::{self, Answer},
    run_to_end,
};

use zeroize::Zeroizing;

use crate::original::{self, Original};

/// Where Envoy looks for headers to take from the client's request.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";
/// What every path here begins with.
const PREFIX: &str = "/authz/";

/// The routes of the HTTP check.
pub fn router(pdp: Arc<Pdp>) -> Router {
    Router::new().route("/authz/{*call}", any(check)).with_state(pdp)
}

async fn check(State(pdp): State<Arc<Pdp>>, request: Request) -> Response {
    let told = run_to_end(async move { decide(&pdp, request).await }, || Told::from(outage())).await;
    response(told)
}

/// An answer, with the header that takes the place of the client's credential.
struct Told {
    answer: Answer,
    credential: Option<(String, Zeroizing<String>)>,
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        Self { answer, credential: None }
    }
}

async fn decide(pdp: &Pdp, request: Request) -> Told {
    let snapshot = pdp.snapshot();
    let limits = &snapshot.limits;
    let (parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
    let believed = Believed::new(&caller, &snapshot.peps, &snapshot.resources, limits.body, limits.batch);
    let form = believed.request_from();
    let call = call(&parts, read(body, limits.body).await, form);
    let decoded = decode(&call, &believed);
    if form == RequestFrom::Call
        && let Some((resource, origin)) = decoded.preflight(&call, &believed)
    {
        return answer::preflight(resource, origin).into();
    }
    let directives = decoded.directives();
    let decided = pdp.decide_whole(&snapshot, &decoded.request, directives.as_deref(), Duration::MAX).await;
    match decided.0 {
        Decision::Permit(permit) => passed(&Passage::from(&permit), &call, form),
        Decision::Observed(observed) => passed(&Passage::from(&observed), &call, form),
        Decision::Deny(denial) => denial_answer(&denial, &call, &decoded).into(),
    }
}

/// All of a body that keeps the limit. A body that does not, or that ends in an error, is told apart from none.
async fn read(body: HttpBody, most: usize) -> Option<Vec<u8>> {
    to_bytes(body, most).await.ok().map(Vec::from)
}

/// A request as a call; `None` for a body that did not come whole.
pub(crate) fn call(parts: &Parts, body: Option<Vec<u8>>, form: RequestFrom) -> HttpCall {
    let headers = headers(&parts.headers);
    let declared_size = headers.only("content-length").and_then(|length| length.parse().ok());
    let raw = parts.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
    let behind_prefix = raw.strip_prefix(PREFIX).unwrap_or_default();
    let end = behind_prefix.find(['/', '?']).unwrap_or(behind_prefix.len());
    let (resource, rest) = behind_prefix.split_at_checked(end).unwrap_or((behind_prefix, ""));
    let (original, unusable) = match original::read(&headers, form) {
        Ok(original) => (original.unwrap_or_else(|| of_call(parts, &headers, rest)), None),
        // Only the resource is known then.
        Err(refusal) => (of_call(parts, &headers, rest), Some(refusal)),
    };
    HttpCall {
        surface: Surface::HttpAuthz,
        named: Named::Segment(resource.to_owned()),
        method: original.method,
        scheme: original.scheme,
        host: original.host,
        target: original.target,
        body: match body {
            Some(bytes) => Body::new(bytes, declared_size, headers.say_partial_body()),
            None => Body::Truncated,
        },
        declared_size,
        // An answer has no place for another path.
        rewrites_path: false,
        cuts: false,
        answers: false,
        unusable,
        headers,
        // The connection is the proxy's, not the client's.
        source: None,
        request_id: None,
        mcp: None,
    }
}

/// The client's request in a call that repeats it.
fn of_call(parts: &Parts, headers: &Headers, behind_resource: &str) -> Original {
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let slash = if behind_resource.starts_with('/') { "" } else { "/" };
    Original {
        method: parts.method.as_str().to_owned(),
        scheme: parts.uri.scheme_str().unwrap_or("https").to_owned(),
        host: authority.or_else(|| headers.only(HOST.as_str())).unwrap_or_default().to_owned(),
        target: format!("{slash}{behind_resource}"),
    }
}

fn headers(map: &HeaderMap) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in map {
        headers.push(name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    headers
}

fn passed(passage: &Passage<'_>, call: &HttpCall, form: RequestFrom) -> Told {
    let mut headers = passage.headers();
    let credential = passage.credential().map(|(name, value)| (name.to_owned(), Zeroizing::new(value)));
    let mut removals = passage.removals(&headers, &call.headers);
    // Envoy removes last. The others take away first, so that what they fail to write does not leave the client's in place.
    if form != RequestFrom::Call {
        removals.extend(credential.as_ref().map(|(name, _)| name.clone()));
    }
    headers.push((TO_REMOVE, removals.join(", ")));
    headers.extend(response_headers(passage, call));
    Told { answer: Answer { status: 200, headers, body: String::new() }, credential }
}

/// An answer as a response. One that cannot be written as it is becomes an outage, never an allow.
fn response(told: Told) -> Response {
    let Told { answer, credential } = told;
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
    if let Some((name, value)) = credential {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                response.headers_mut().insert(name, value);
            }
            (Ok(_) | Err(_), _) => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
        }
    }
    response
}
