//! What all entries share: methods, content types, sizes, request ids, and the way from a request to its answer.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
    routing::any,
};
use palisade_model::{PepName, TraceId};
use palisade_pdp::{Caller, Pdp, answer::DECISION_ID, run_to_end};
use tokio::time::Instant;

use crate::{
    encode::Answer,
    evaluate::Desk,
    message::{Evaluation, Evaluations, Kind, Malformed, Search},
    metadata,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The most bytes of a request id on the record.
const MAX_REQUEST_ID: usize = 256;
/// What a caller that nobody knows is told to come with (RFC 6750 section 3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"palisade\"");
/// How long a client may keep the discovery document.
const MAX_AGE: HeaderValue = HeaderValue::from_static("max-age=300");

/// A call without its message.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who calls. The unnamed caller on loopback is nobody here: it may ask nothing at these entries.
    pub(crate) pep: Option<PepName>,
    pub(crate) trace: Option<TraceId>,
    request_id: Option<HeaderValue>,
}

/// What a router answers with.
#[derive(Debug, Clone)]
struct Service {
    pdp: Arc<Pdp>,
    /// The discovery document; none without a base URL in the configuration.
    document: Option<String>,
}

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Evaluation,
    Evaluations,
    Search(Kind),
}

/// The routes of the API. `base_url` is where callers reach them.
pub fn router(pdp: Arc<Pdp>, base_url: Option<&str>) -> Router {
    let entry = |entry: Entry| {
        any(move |State(service): State<Service>, request: Request| answer(service, entry, request))
    };
    Router::new()
        .route("/access/v1/evaluation", entry(Entry::Evaluation))
        .route("/access/v1/evaluations", entry(Entry::Evaluations))
        .route("/access/v1/search/subject", entry(Entry::Search(Kind::Subject)))
        .route("/access/v1/search/resource", entry(Entry::Search(Kind::Resource)))
        .route("/access/v1/search/action", entry(Entry::Search(Kind::Action)))
        .route(metadata::PATH, any(discovery))
        .with_state(Service { pdp, document: base_url.map(metadata::document) })
}

async fn discovery(State(service): State<Service>, request: Request) -> Response {
    let call = Call::of(request.headers(), None);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return call.not_allowed("GET, HEAD");
    }
    let Some(document) = service.document else {
        return call.response(Answer::error(404, "no base URL is configured", None));
    };
    let mut response = call.response(Answer::of(document, None));
    response.headers_mut().insert(header::CACHE_CONTROL, MAX_AGE);
    response
}

async fn answer(service: Service, entry: Entry, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
    let call = Arc::new(Call::of(&parts.headers, caller.0));
    if parts.method != Method::POST {
        return call.not_allowed("POST");
    }
    let own = Arc::clone(&call);
    let work = async move { decide(&service.pdp, entry, &own, &parts, body).await };
    call.response(run_to_end(work, Answer::outage).await)
}

async fn decide(pdp: &Pdp, entry: Entry, call: &Call, parts: &Parts, body: Body) -> Answer {
    let snapshot = pdp.snapshot();
    let limits = &snapshot.limits;
    let desk = Desk { pdp, snapshot: &snapshot, call, deadline: Instant::now() + limits.deadline };
    let body = match read(parts, body, limits.body).await {
        Ok(body) => body,
        Err(malformed) => return desk.refuse(&malformed).await,
    };
    match entry {
        Entry::Evaluation => desk.evaluate(Evaluation::read(&body)).await,
        Entry::Evaluations => desk.evaluate_several(Evaluations::read(&body, limits.batch)).await,
        Entry::Search(kind) => desk.search(Search::read(&body, kind)).await,
    }
}

/// The whole of a plain JSON body that keeps the limit.
async fn read(parts: &Parts, body: Body, most: usize) -> Result<Vec<u8>, Malformed> {
    let malformed = |why: &str| Malformed(why.to_owned());
    if !is_json(&parts.headers) {
        return Err(malformed("the content type is not `application/json`"));
    }
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(malformed("the body is encoded"));
    }
    let body = to_bytes(body, most).await.map_err(|_| malformed("the body is larger than it may be"))?;
    Ok(body.into())
}

/// Whether the one content type is `application/json`, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let one = types.next().and_then(|value| value.to_str().ok()).filter(|_| types.next().is_none());
    one.is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/json")
    })
}

impl Call {
    fn of(headers: &HeaderMap, pep: Option<PepName>) -> Self {
        // A page in a browser on this machine is no caller, whatever name it reached us by.
        let is_browser = headers.contains_key(header::ORIGIN);
        let traces = || headers.get_all("traceparent").iter();
        let trace = traces().next().filter(|_| traces().count() == 1);
        Self {
            pep: pep.filter(|pep| !is_browser && pep.as_str() != "local"),
            trace: trace.and_then(|value| value.to_str().ok()).and_then(TraceId::parse),
            request_id: headers.get(REQUEST_ID).cloned(),
        }
    }

    /// The request id, if it is one that a record can hold.
    pub(crate) fn recorded_id(&self) -> Option<String> {
        let text = self.request_id.as_ref()?.to_str().ok()?;
        let fits = !text.is_empty()
            && text.len() <= MAX_REQUEST_ID
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| text.to_owned())
    }

    fn not_allowed(&self, methods: &'static str) -> Response {
        let mut response = self.response(Answer::error(405, "the method is not allowed", None));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        response
    }

    /// An answer as a response. The request's id is in every one.
    fn response(&self, answer: Answer) -> Response {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(id) = &self.request_id {
            headers.insert(REQUEST_ID, id.clone());
        }
        let decision = answer.decision.and_then(|id| HeaderValue::from_str(&id.to_string()).ok());
        if let Some(id) = decision {
            headers.insert(HeaderName::from_static(DECISION_ID), id);
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(answer.retry_after));
            }
            _other => {}
        }
        response
    }
}
