//! A decision as what a client gets over HTTP: an answer instead of the upstream's, or header fields beside it.

use palisade_mcp::Reply;
use palisade_model::{Reason, Surface};
use palisade_pdp::{
    Denial, DenialForm, Kind,
    answer::{self, Answer},
};

use crate::{call::HttpCall, decode::Decoded, identity::Passage};

/// What a client is told of a denial, over HTTP or in JSON-RPC.
#[must_use]
pub fn denial_answer(denial: &Denial, call: &HttpCall, decoded: &Decoded) -> Answer {
    let http = answer::http(denial, call.headers.only("origin"));
    // Who has not shown yet who they are is asked to, whatever is left for nobody.
    if let Some(errors) = denial.told.as_ref().filter(|_| denial.reason != Reason::NoCredentials) {
        return nothing_left(http, errors);
    }
    let Some(resource) = denial.resource.as_deref().filter(|resource| resource.kind == Kind::Mcp) else {
        return http;
    };
    let own = own_status(denial.reason, call);
    let jsonrpc = matches!(resource.denial_form, DenialForm::Jsonrpc)
        && may_deny_with_200(call.surface)
        && is_told_in_jsonrpc(denial.reason);
    if own.is_none() && !jsonrpc {
        return http;
    }
    let error = jsonrpc_error(denial, decoded);
    if error.is_null() {
        return http;
    }
    Answer { status: own.unwrap_or(200), body: error.to_string(), ..http }
}

/// What is told of an operation of which nothing is left (GraphQL, section 7.1): every part of it is among the errors. What would help
/// stands in the challenge.
fn nothing_left(http: Answer, errors: &str) -> Answer {
    let is_own = |name: &str| name.eq_ignore_ascii_case("content-type");
    let kept = http.headers.into_iter().filter(|(name, _)| !is_own(name));
    let headers = std::iter::once(("content-type", "application/json".to_owned())).chain(kept).collect();
    Answer { status: 200, headers, body: format!(r#"{{"data":null,"errors":{errors}}}"#) }
}

/// The HTTP status of an answer that is JSON-RPC whatever form denials have, because the protocol says so: clients of the
/// revisions without sessions tell by it what a server does not have.
fn own_status(reason: Reason, call: &HttpCall) -> Option<u16> {
    let stateless = may_deny_with_200(call.surface)
        && call.headers.only("mcp-protocol-version").is_some_and(palisade_mcp::is_stateless);
    // Without sessions only the handle of a task can be another's.
    let malformed =
        matches!(reason, Reason::HeaderMismatch) || stateless && matches!(reason, Reason::SessionMismatch);
    let unknown = stateless && matches!(reason, Reason::MethodUnknown);
    if malformed { Some(400) } else { unknown.then_some(404) }
}

/// What could not be read stays an HTTP 400, beside everything that the contract keeps in HTTP.
fn is_told_in_jsonrpc(reason: Reason) -> bool {
    let unreadable =
        matches!(reason, Reason::RequestMalformed | Reason::RequestTruncated | Reason::RequestBodyMissing);
    !unreadable && !answer::is_http_only(reason)
}

/// Whether an answer with HTTP status 200 can be a denial at this entry: over HTTP it would be an allow.
const fn may_deny_with_200(surface: Surface) -> bool {
    match surface {
        Surface::ExtAuthz | Surface::ExtProc | Surface::ExtMcp | Surface::Gateway => true,
        Surface::HttpAuthz
        | Surface::Decide
        | Surface::Verify
        | Surface::Exchange
        | Surface::Authzen
        | Surface::Search
        | Surface::Toolhive
        | Surface::Contextforge
        | Surface::Coprocessor
        | Surface::Sts => false,
    }
}

fn jsonrpc_error(denial: &Denial, decoded: &Decoded) -> serde_json::Value {
    if denial.replies.is_empty() {
        return palisade_mcp::denial(denial.reason, &decoded.replies, decoded.batch);
    }
    let reply = |reply: &palisade_pdp::Reply| Reply { action: reply.action.clone(), id: reply.id.clone() };
    let replies: Vec<Reply> = denial.replies.iter().map(reply).collect();
    palisade_mcp::denial(denial.reason, &replies, denial.batch)
}

/// The headers that a client gets beside the upstream's answer. Whether that may be cached is the upstream's business.
#[must_use]
pub fn response_headers(passage: &Passage<'_>, call: &HttpCall) -> Vec<(&'static str, String)> {
    let mut headers = vec![(answer::DECISION_ID, passage.id.to_string())];
    headers.extend(answer::cors(passage.resource, call.headers.only("origin")));
    headers
}

/// The answer when this service itself fails, so that no proxy takes the failure for an error of the connection.
#[must_use]
pub fn outage() -> Answer {
    let headers = [("content-type", "application/json"), ("cache-control", "no-store"), ("retry-after", "1")];
    Answer {
        status: 503,
        headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(),
        body: r#"{"error":"temporarily_unavailable","error_description":"no decision can be made now"}"#
            .to_owned(),
    }
}
