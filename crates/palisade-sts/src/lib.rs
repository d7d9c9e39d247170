//! Our own token service on the wire: `POST /oauth2/token` (RFC 8693), the metadata of the service (RFC 8414) and its key set
//! (RFC 7517).
//!
//! The flow of a request: `form` reads the body strictly, `client` finds out what the client proves itself with, `request`
//! says what is asked for; [`Pdp::issue`](palisade_pdp::Pdp::issue) decides, records and signs; `answer` writes what came of
//! it. Nothing here evaluates a policy, looks into a token, or has a key. What an answer says comes from the configuration,
//! never from a `Host` header.

mod answer;
mod client;
pub mod form;
mod metadata;
mod request;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, header},
    response::Response,
    routing::any,
};
use palisade_model::{Reason, TraceId};
use palisade_pdp::{Fault, Issuance, Pdp, Refused, Snapshot, Sts, TokenRequest, run_to_end};
use tokio::{sync::Semaphore, time::timeout};
use zeroize::Zeroizing;

use crate::form::Form;

/// Where tokens are asked for.
pub(crate) const TOKEN_PATH: &str = "/oauth2/token";
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
pub(crate) const KEYS_PATH: &str = "/.well-known/jwks.json";

/// The routes. Where the configuration has no token service, there is nothing at any of them.
pub fn router(pdp: Arc<Pdp>) -> Router {
    Router::new()
        .route(TOKEN_PATH, any(token))
        .route(METADATA_PATH, any(metadata::of_service))
        .route(KEYS_PATH, any(metadata::key_set))
        .with_state(pdp)
}

/// How many requests are read and answered at once.
static PLACES: Semaphore = Semaphore::const_new(256);
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a body may be, beside its two tokens.
const BESIDE_TOKENS: usize = 8 * 1_024;

async fn token(State(pdp): State<Arc<Pdp>>, request: Request) -> Response {
    let snapshot = pdp.snapshot();
    if snapshot.sts.is_none() {
        return answer::nothing_here();
    }
    if request.method() != Method::POST {
        return answer::only("POST");
    }
    // Whoever sends slowly, or much at once, keeps a place from other strangers, and from nobody else.
    let Ok(_place) = PLACES.try_acquire() else { return answer::outage() };
    run_to_end(async move { answer_to(&pdp, &snapshot, request).await }, answer::outage).await
}

async fn answer_to(pdp: &Pdp, snapshot: &Arc<Snapshot>, request: Request) -> Response {
    let Some(sts) = snapshot.sts.as_deref() else { return answer::nothing_here() };
    let most = 2 * snapshot.limits.token + BESIDE_TOKENS;
    let Ok(request) = timeout(PATIENCE, read(sts, request, most)).await else { return answer::outage() };
    match pdp.issue(snapshot, &request).await {
        Issuance::Issued(token) => answer::issued(&token),
        Issuance::Refused(id, refused) => answer::refused(id, &refused),
    }
}

/// What was sent, as far as it can be read.
async fn read(sts: &Sts, request: Request, most: usize) -> TokenRequest {
    let (parts, body) = request.into_parts();
    let only = |name: header::HeaderName| {
        let mut values = parts.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    let trace = parts.headers.get_all("traceparent").iter().next().and_then(|value| value.to_str().ok());
    let trace = trace.and_then(TraceId::parse);
    let is_form = only(header::CONTENT_TYPE).is_some_and(is_form)
        && !parts.headers.contains_key(header::CONTENT_ENCODING)
        && parts.uri.query().is_none();
    let form = if is_form {
        body_of(body, most).await.and_then(|body| Form::read(&body).map_err(malformed))
    } else {
        Err(malformed("the parameters are not in a body of `application/x-www-form-urlencoded`"))
    };
    match form {
        Ok(form) => TokenRequest {
            client: client::identify(sts, &parts.headers, &form),
            asked: request::asked(&form),
            trace,
        },
        Err(refused) => TokenRequest { client: Err(refused.clone()), asked: Err(refused), trace },
    }
}

async fn body_of(body: Body, most: usize) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let bytes = to_bytes(body, most).await;
    bytes.map(|bytes| Zeroizing::new(bytes.to_vec())).map_err(|_| {
        Refused::new(Fault::Request, Reason::RequestTruncated, "the body is too long, or did not come whole")
    })
}

fn is_form(value: &HeaderValue) -> bool {
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

fn malformed(detail: &str) -> Refused {
    Refused::new(Fault::Request, Reason::RequestMalformed, detail)
}
