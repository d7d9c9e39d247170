//! What gateways of other projects ask a decision service, in their own words: ToolHive's `POST /decision`, ContextForge's
//! `POST /v1/authorize`. They get Palisade by their configuration alone.
//!
//! Each contract is read into one `Message` (`toolhive`, `contextforge`); that becomes an access request here, the
//! decision point decides, and the decision becomes the contract's word for yes or no. These gateways send no token but
//! say who asks: so the subject is asserted, and the decision point takes it only from a PEP that may assert its type.
//!
//! What the gateways say of roles, groups and scopes is left out: what a subject is in is for tokens and entity files to
//! say. `yes` is written in one place, from what is let by; what cannot be read is a recorded denial.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::Response,
    routing::post,
};
use palisade_call::contract;
use palisade_model::{AccessRequest, Asked, Credential, DecisionId, Reason, Refusal, Subject, Surface};
use palisade_pdp::{
    Decision, Kind, Pdp, Pep, Resource, Snapshot,
    answer::{self, DECISION_ID},
    run_to_end,
};
use serde_json::Value;

use crate::wording::{Worded, Wording};

mod contextforge;
mod toolhive;

#[cfg(test)]
mod tests;

/// How deep a message may nest.
const MAX_DEPTH: usize = 32;

/// The contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contract {
    Toolhive,
    Contextforge,
}

/// What a message asks.
#[derive(Debug, Clone, PartialEq)]
struct Message {
    /// Which resource.
    server: Server,
    /// Who asks: the id at the issuer whose tokens the resource takes. None where nobody is signed in.
    subject: Option<String>,
    /// The action in the words of MCP.
    action: &'static str,
    /// The name of the tool or prompt, or the URI.
    target: Option<String>,
    /// The arguments, where the message tells them.
    arguments: Option<Value>,
}

/// How a message names its resource.
#[derive(Debug, Clone, PartialEq)]
enum Server {
    /// By a name that must be a resource's.
    Named(String),
    /// By a name of the gateway's own, which may be a resource's; else it is the only one that the PEP may ask about.
    NamedOrOnly(String),
}

/// A decision in the words of no contract yet.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    status: u16,
    yes: bool,
    /// The error code that a client may be told.
    reason: Option<String>,
    decision: Option<DecisionId>,
    /// In how many seconds to come back, where the status says to.
    retry_after: u64,
}

/// Whether this path is an entry of one of the contracts.
#[must_use]
pub fn is_entry(path: &str) -> bool {
    Contract::all().into_iter().any(|contract| contract.path() == path)
}

/// The routes of the contracts.
pub fn router(pdp: Arc<Pdp>) -> Router {
    let entry =
        |contract| post(move |State(pdp): State<Arc<Pdp>>, request: Request| answer(pdp, contract, request));
    let routes = Contract::all().into_iter();
    routes
        .fold(Router::new(), |router, contract| router.route(contract.path(), entry(contract)))
        .with_state(pdp)
}

async fn answer(pdp: Arc<Pdp>, contract: Contract, request: Request) -> Response {
    let outcome = run_to_end(async move { decide(&pdp, contract, request).await }, Outcome::outage).await;
    let body = contract.body(&outcome).to_string();
    let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(outcome.status, 429 | 503) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(outcome.retry_after));
    }
    if let Some(id) = outcome.decision.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        headers.insert(DECISION_ID, id);
    }
    response
}

async fn decide(pdp: &Pdp, contract: Contract, request: Request) -> Outcome {
    let snapshot = pdp.snapshot();
    let (parts, body) = request.into_parts();
    let message = match read(&parts, body, snapshot.limits.body).await {
        Ok(message) => contract.read(&message),
        Err(refusal) => Err(refusal),
    };
    let unreadable = message.is_err();
    let request = access_request(&snapshot, contract.surface(), &parts, message);
    Outcome::of(&pdp.decide(&snapshot, &request).await, unreadable)
}

/// The one JSON value of a body.
async fn read(parts: &Parts, body: Body, most: usize) -> Result<Value, Refusal> {
    contract::plain_json(&parts.headers)?;
    contract::json(to_bytes(body, most).await.ok().as_deref(), MAX_DEPTH)
}

fn access_request(
    snapshot: &Snapshot,
    surface: Surface,
    parts: &Parts,
    message: Result<Message, Refusal>,
) -> AccessRequest {
    let caller = contract::caller(&parts.headers, parts.extensions.get());
    let pep = caller.0.as_ref().and_then(|name| snapshot.peps.by_name(name));
    let resource = resource(snapshot, pep, message.as_ref().ok().map(|message| &message.server));
    let credential = match (&message, &resource) {
        // Who asks is in the message.
        (Err(refusal), _) => Credential::Unusable(refusal.clone()),
        (Ok(Message { subject: Some(id), .. }), Some(resource)) => credential(resource, id),
        (Ok(_), _) => Credential::Absent,
    };
    let asked = message.and_then(|message| match &resource {
        Some(resource) => asked(&message, resource),
        None => Err(Refusal::new(Reason::ResourceUnknown, "the message names no configured resource")),
    });
    let name = resource.as_ref().map(|resource| resource.name.clone());
    let unread = Refusal::new(Reason::RequestMalformed, "nothing was read of the message");
    AccessRequest { credential, asked, ..contract::refused(surface, &parts.headers, &caller, name, unread) }
}

fn resource(snapshot: &Snapshot, pep: Option<&Pep>, server: Option<&Server>) -> Option<Arc<Resource>> {
    let by_name = |name: &String| snapshot.resources.by_name(name).cloned();
    let only = || pep.and_then(|pep| pep.only_resource(&snapshot.resources)).cloned();
    match server {
        Some(Server::Named(name)) => by_name(name),
        Some(Server::NamedOrOnly(name)) => by_name(name).or_else(only),
        // A message that cannot be read is the refusal of whatever the caller may ask about.
        None => only(),
    }
}

/// The subject that a token of this resource would have: its ids are those of the resource's issuer.
fn credential(resource: &Resource, id: &str) -> Credential {
    match resource.issuers.as_slice() {
        [issuer] => Credential::AssertedByPep(Subject::named("User", format!("{issuer}/{id}"))),
        _ => Credential::Unusable(Refusal::new(
            Reason::SubjectUnknown,
            "the resource has several issuers, and the message does not say whose subject it means",
        )),
    }
}

fn asked(message: &Message, resource: &Resource) -> Result<Asked, Refusal> {
    if resource.kind != Kind::Mcp {
        return Err(Refusal::new(Reason::TargetUnknown, "the resource is no MCP server"));
    }
    let wording = Wording {
        action: message.action,
        target: message.target.as_deref(),
        arguments: message.arguments.as_ref(),
    };
    let Worded { mut item, .. } = wording.read(resource)?;
    // Arguments that the gateway does not tell are not known to be none.
    if message.arguments.is_none() && item.arguments.is_some() {
        item.arguments = Some(Arc::new(palisade_mcp::unread()));
    }
    Ok(Asked::one(item))
}

impl Outcome {
    /// A decision. A refusal of the caller and of what cannot be read, and an outage, have their HTTP status; every other
    /// denial is an answer.
    fn of(decision: &Decision, unreadable: bool) -> Self {
        let denial = match decision {
            Decision::Permit(permit) => return Self::let_by(permit.id()),
            Decision::Observed(observed) => return Self::let_by(observed.id()),
            Decision::Deny(denial) => denial,
        };
        let told = answer::http(denial, None);
        let of_caller = [(Reason::PepUnauthenticated, 401), (Reason::PepNotAllowed, 403)];
        let of_caller = of_caller.into_iter().find(|(reason, _)| *reason == denial.reason);
        let status = match of_caller {
            Some((_, status)) => status,
            None if matches!(told.status, 429 | 503) => told.status,
            None if unreadable => 400,
            None => 200,
        };
        let body: Value = serde_json::from_str(&told.body).unwrap_or_default();
        let reason = body.get("error").and_then(Value::as_str).map(str::to_owned);
        let retry_after = denial.retry_after_seconds();
        Self { status, yes: false, reason, decision: Some(denial.id), retry_after }
    }

    /// INVARIANT: the only place that says yes.
    fn let_by(id: DecisionId) -> Self {
        Self { status: 200, yes: true, reason: None, decision: Some(id), retry_after: 1 }
    }

    /// No decision: the service itself failed.
    fn outage() -> Self {
        let reason = Some("temporarily_unavailable".to_owned());
        Self { status: 503, yes: false, reason, decision: None, retry_after: 1 }
    }
}

impl Contract {
    const fn all() -> [Self; 2] {
        [Self::Toolhive, Self::Contextforge]
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Toolhive => "/decision",
            Self::Contextforge => "/v1/authorize",
        }
    }

    const fn surface(self) -> Surface {
        match self {
            Self::Toolhive => Surface::Toolhive,
            Self::Contextforge => Surface::Contextforge,
        }
    }

    fn read(self, message: &Value) -> Result<Message, Refusal> {
        match self {
            Self::Toolhive => toolhive::read(message),
            Self::Contextforge => contextforge::read(message),
        }
    }

    fn body(self, outcome: &Outcome) -> Value {
        match self {
            Self::Toolhive => toolhive::body(outcome),
            Self::Contextforge => contextforge::body(outcome),
        }
    }
}

fn malformed(why: &str) -> Refusal {
    Refusal::new(Reason::RequestMalformed, why)
}

/// The text at a JSON pointer; an error where something else is there, or nothing.
fn text<'a>(message: &'a Value, pointer: &str) -> Result<&'a str, Refusal> {
    let found = message.pointer(pointer).and_then(Value::as_str);
    found.ok_or_else(|| malformed(&format!("there is no text at `{pointer}`")))
}

/// The arguments at a JSON pointer: an object, or not told, for which `null` is another word.
fn arguments(message: &Value, pointer: &str) -> Result<Option<Value>, Refusal> {
    match message.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(arguments @ Value::Object(_)) => Ok(Some(arguments.clone())),
        Some(_) => Err(malformed(&format!("what is at `{pointer}` is no object"))),
    }
}
