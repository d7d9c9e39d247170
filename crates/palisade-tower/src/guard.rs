//! The layer: a request in, a decision, the server's answer out.

use std::{
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header, request::Parts};
use http_body::Body as HttpBody;
use palisade_client::{Bind, Check, Checked, Describe, GatewayPoint, Passage};
use palisade_model::DecisionId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tower::{Layer, Service};

use crate::{
    Body, BoxError, answer,
    body::NotWhole,
    change::{Change, Withheld},
    coming::{Coming, Whose},
    graphql,
    lease::{InForce, Lease},
    plan::Plan,
    request, stream,
    tools::Tools,
};

/// What paths of metadata documents begin with (RFC 9728 section 3).
const METADATA: &str = "/.well-known/oauth-protected-resource";
/// The header of a session (MCP 2025-11-25, Streamable HTTP).
const SESSION: &str = "mcp-session-id";

/// Puts the decision point in front of a service.
#[derive(Debug, Clone)]
pub struct PalisadeLayer {
    gate: Arc<Gate>,
}

/// How much is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The largest body of a request that is taken in, in bytes. `limits.body` of the service bounds what is decided on.
    pub body: usize,
    /// How much of bodies that are still coming, or not yet decided on, is kept at once, in bytes; a request for which there is
    /// no room is answered with 503. Whoever sends them has not shown any credential yet. As much again is kept of answers to GraphQL
    /// operations of which something was taken out.
    pub bodies: usize,
    /// How many bodies may be coming at once that are not there with the head of their request; for one more, one is given up and
    /// answered with 503: of the address that has most of them ([`ClientAddress`]), the one that has made no progress for longest.
    pub coming: usize,
    /// How long a body may take to come.
    pub body_time: Duration,
    /// The largest answer, or event of a stream, that is taken in where it may have to be changed. What has not to be changed
    /// goes by as it comes.
    pub answer: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body: 1024 * 1024,
            bodies: 256 * 1024 * 1024,
            coming: 1_024,
            body_time: Duration::from_secs(30),
            answer: 16 * 1024 * 1024,
        }
    }
}

/// The address of the client, as whoever took in the connection has found it: to be put among a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Whom a permitted request is for: among its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose authority is used, as records name it: `User::"corp/alice"`.
    pub subject: String,
    /// The id of the decision and of its record.
    pub decision: DecisionId,
}

#[derive(Debug)]
struct Gate {
    point: Arc<dyn GatewayPoint>,
    resource: String,
    settings: Settings,
    in_force: Arc<InForce>,
    tools: Arc<Tools>,
    room: Arc<Semaphore>,
    /// The room of answers that are taken in to tell what was taken out.
    answers: Arc<Semaphore>,
    coming: Arc<Coming>,
}

impl PalisadeLayer {
    /// A layer that asks this decision point about this resource of its configuration.
    #[must_use]
    pub fn new(point: impl GatewayPoint + 'static, resource: impl Into<String>) -> Self {
        Self::with(Arc::new(point), resource, Settings::default())
    }

    /// The same with other bounds.
    #[must_use]
    pub fn with(point: Arc<dyn GatewayPoint>, resource: impl Into<String>, settings: Settings) -> Self {
        let room = || Arc::new(Semaphore::new(settings.bodies.min(Semaphore::MAX_PERMITS)));
        let (room, answers, coming) = (room(), room(), Arc::new(Coming::new(settings.coming)));
        let (resource, in_force, tools) = (resource.into(), Arc::default(), Arc::default());
        Self { gate: Arc::new(Gate { point, resource, settings, in_force, tools, room, answers, coming }) }
    }

    /// The same for another resource. What bounds the bodies of strangers bounds those of both together.
    #[must_use]
    pub fn beside(&self, resource: impl Into<String>) -> Self {
        let (resource, in_force, tools) = (resource.into(), Arc::default(), Arc::default());
        let Gate { point, settings, room, answers, coming, .. } = &*self.gate;
        let (point, settings, coming) = (Arc::clone(point), *settings, Arc::clone(coming));
        let (room, answers) = (Arc::clone(room), Arc::clone(answers));
        Self { gate: Arc::new(Gate { point, resource, settings, in_force, tools, room, answers, coming }) }
    }
}

impl<S> Layer<S> for PalisadeLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, gate: Arc::clone(&self.gate) }
    }
}

/// A service that gets only what is permitted.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let gate = Arc::clone(&self.gate);
        // The clone that was asked whether it is ready is the one to call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let request = request.map(Body::new);
        Box::pin(async move {
            let (request, pass) = match gate.admit(request).await {
                Admission::Answer(response) => return Ok(*response),
                Admission::Pass(request, pass) => (*request, *pass),
            };
            let response = inner.call(request).await?;
            Ok(gate.release(response.map(Body::new), pass).await)
        })
    }
}

/// Whether a request goes on to the server.
enum Admission {
    Answer(Box<Response<Body>>),
    Pass(Box<Request<Body>>, Box<Pass>),
}

/// What is needed of a request that went on when its answer comes.
struct Pass {
    passage: Passage,
    check: Check,
    plan: Plan,
}

impl Gate {
    async fn admit(&self, request: Request<Body>) -> Admission {
        let (parts, body) = request.into_parts();
        if parts.uri.path().starts_with(METADATA) {
            return Admission::Answer(Box::new(self.metadata(&parts).await));
        }
        let incoming = request::incoming(&parts);
        // The room is held until it is decided.
        let from = parts.extensions.get::<ClientAddress>().map(|address| address.0);
        let (check, _room) = match self.take_in(body, from).await {
            Ok((body, room)) => (Check::new(self.resource.clone(), incoming, body), room),
            Err(NotWhole::NoRoom) => return Admission::Answer(Box::new(answer::outage())),
            Err(NotWhole::TooLarge(_) | NotWhole::TooSlow | NotWhole::Failed(_)) => {
                (Check::truncated(self.resource.clone(), incoming), None)
            }
        };
        let check = check.rewriting_path().cutting_operations().answering_operations();
        match self.point.check(&check).await {
            Ok(Checked::Answer(told)) => Admission::Answer(Box::new(answer::told(told))),
            Ok(Checked::Pass(passage)) => {
                let pass = Pass { passage: *passage, plan: plan(&check), check };
                let forwarded = request::forwarded(parts, &pass.check, &pass.passage, !pass.plan.is_empty());
                Admission::Pass(Box::new(forwarded), Box::new(pass))
            }
            Err(no_answer) => {
                tracing::warn!(%no_answer, "a request is refused");
                Admission::Answer(Box::new(answer::outage()))
            }
        }
    }

    /// The whole body, if it keeps the bounds, and its room among all of them.
    async fn take_in(
        &self,
        body: Body,
        from: Option<IpAddr>,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), NotWhole> {
        let place = self.coming.place(Whose::of(from));
        let whole = body.whole_within(self.settings.body, &self.room, || place.progressed());
        let in_time = timeout(self.settings.body_time, place.wait_for(whole));
        in_time.await.unwrap_or(Err(NotWhole::TooSlow))
    }

    async fn metadata(&self, parts: &Parts) -> Response<Body> {
        match self.point.describe(&Describe::new(self.resource.clone())).await {
            Ok(resource) => answer::metadata(&parts.method, parts.uri.path(), resource.as_ref()),
            Err(no_answer) => {
                tracing::warn!(%no_answer, "the metadata document is not told");
                answer::outage()
            }
        }
    }

    /// The server's answer, as its client may have it.
    async fn release(&self, mut response: Response<Body>, pass: Pass) -> Response<Body> {
        let Pass { passage, check, plan } = pass;
        passage.change_response(response.headers_mut());
        if self.bind_session(response.headers_mut(), &passage, &check).await.is_none() {
            return answer::outage();
        }
        if let Some(errors) = passage.graphql_errors() {
            return graphql::told_of(response, errors, (self.settings.answer, &self.answers)).await;
        }
        let (is_stream, is_json) = (is(&response, "text/event-stream"), is(&response, "application/json"));
        let lists = plan.lists;
        if lists && response.status().is_success() && !is_stream && !is_json {
            tracing::warn!("the server answers a list in neither of the protocol's forms");
            return answer::unreadable();
        }
        let change = (!plan.is_empty()).then(|| Change {
            point: Arc::clone(&self.point),
            resource: self.resource.clone(),
            request: check.request.clone(),
            passage: passage.clone(),
            plan,
            tools: Arc::clone(&self.tools),
            readable: Arc::default(),
        });
        if change.is_some()
            && (is_stream || is_json)
            && response.headers().contains_key(header::CONTENT_ENCODING)
        {
            tracing::warn!("the server encodes an answer although it was asked not to");
            return answer::unreadable();
        }
        if lists {
            make_private(response.headers_mut());
        }
        match change {
            Some(change) if is_json => self.change_whole(response, &change).await,
            change if is_stream => {
                response.headers_mut().remove(header::CONTENT_LENGTH);
                let (in_force, point) = (Arc::clone(&self.in_force), Arc::clone(&self.point));
                let lease = Lease::with_policies(in_force, point, check, &passage);
                let change = change.map(|change| (change, self.settings.answer));
                response.map(|body| stream::body(body, lease, change))
            }
            // Nothing that a client would read as a message of the protocol, or nothing to change.
            Some(_) | None => response,
        }
    }

    async fn change_whole(&self, response: Response<Body>, change: &Change) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        let body = match body.whole(self.settings.answer).await {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(%error, "an answer of the server cannot be taken in");
                return answer::unreadable();
            }
        };
        match change.change(&body).await {
            Ok(None) => Response::from_parts(parts, Body::full(body)),
            Ok(Some(changed)) => {
                parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(changed.len()));
                Response::from_parts(parts, Body::full(changed))
            }
            Err(Withheld::Told(told)) => answer::told(*told),
            Err(Withheld::Unreadable) => {
                tracing::warn!("where a list may come, the server answers something that cannot be read");
                answer::unreadable()
            }
            Err(
                withheld
                @ (Withheld::NoAnswer(_) | Withheld::TooMuch | Withheld::Unbound | Withheld::Unheard),
            ) => {
                tracing::warn!(%withheld, "an answer is withheld");
                answer::outage()
            }
        }
    }

    /// Puts in place of a session's id the one that is bound to its subject. Nothing where that cannot be.
    async fn bind_session(&self, headers: &mut HeaderMap, passage: &Passage, check: &Check) -> Option<()> {
        let values: Vec<HeaderValue> = headers.get_all(SESSION).iter().cloned().collect();
        let value = match values.as_slice() {
            [] => return Some(()),
            [value] => value.to_str().ok()?,
            _ => return None,
        };
        let bind = Bind::session(self.resource.clone(), passage, value);
        let bound = match self.point.bind(&bind).await {
            Ok(bound) => bound?,
            Err(no_answer) => {
                tracing::warn!(%no_answer, resource = check.resource, "a session is not begun");
                return None;
            }
        };
        headers.insert(SESSION, HeaderValue::from_str(&bound).ok()?);
        Some(())
    }
}

/// What may have to be changed of the answer.
fn plan(check: &Check) -> Plan {
    match check.request.method {
        Method::POST => Plan::of_post(&check.body),
        Method::GET => Plan::of_stream(),
        _ => Plan::default(),
    }
}

/// Whether an answer is of this media type, whatever its parameters.
pub(crate) fn is(response: &Response<Body>, kind: &str) -> bool {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(kind))
}

/// A list is its reader's own.
pub(crate) fn make_private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.append(header::VARY, HeaderValue::from_static("Authorization"));
}

#[cfg(test)]
mod tests;
