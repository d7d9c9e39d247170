//! What a client gets to see (RFC 6749 sections 5.1 and 5.2, RFC 8693 section 2.2).
//!
//! An error description says what is wrong with what the client itself sent. It says nothing of the policies, and holds no
//! value from a token or from the request.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use palisade_model::{DecisionId, Scope};
use palisade_pdp::{Fault, IssuedToken, Refused};
use serde_json::{Value, json};

use crate::request::ACCESS_TOKEN;

const DECISION_ID: &str = "x-palisade-decision-id";

/// A token.
pub(crate) fn issued(token: &IssuedToken) -> Response {
    let mut body = json!({
        "access_token": token.token.as_str(),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": if token.needs_proof { "DPoP" } else { "Bearer" },
        "expires_in": token.expires_in,
    });
    if let (Some(members), false) = (body.as_object_mut(), token.scopes.is_empty()) {
        let scopes: Vec<&str> = token.scopes.iter().map(Scope::as_str).collect();
        members.insert("scope".to_owned(), scopes.join(" ").into());
    }
    answer(StatusCode::OK, &body, Some(token.id))
}

/// No token.
pub(crate) fn refused(id: DecisionId, refused: &Refused) -> Response {
    let (status, error) = error(refused.fault);
    let description = match refused.fault {
        Fault::Policy => "the exchange is not permitted",
        Fault::Service => "no token can be issued now",
        Fault::Client => "the client has not proven itself",
        Fault::Request
        | Fault::ClientMayNot
        | Fault::Grant
        | Fault::Subject
        | Fault::Actor
        | Fault::Target
        | Fault::Scope => &refused.refusal.detail,
    };
    let body = json!({ "error": error, "error_description": printable(description) });
    let mut response = answer(status, &body, Some(id));
    let headers = response.headers_mut();
    if refused.fault == Fault::Client {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"palisade\""));
    }
    if refused.fault == Fault::Service {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// RFC 8693 section 2.2.2: what is wrong with the tokens is `invalid_request`, what is not issued for a target `invalid_target`.
const fn error(fault: Fault) -> (StatusCode, &'static str) {
    match fault {
        Fault::Request | Fault::Subject | Fault::Actor => (StatusCode::BAD_REQUEST, "invalid_request"),
        Fault::Client => (StatusCode::UNAUTHORIZED, "invalid_client"),
        Fault::ClientMayNot => (StatusCode::BAD_REQUEST, "unauthorized_client"),
        Fault::Grant => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        Fault::Target | Fault::Policy => (StatusCode::BAD_REQUEST, "invalid_target"),
        Fault::Scope => (StatusCode::BAD_REQUEST, "invalid_scope"),
        Fault::Service => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
    }
}

/// What a description may hold (RFC 6749 section 5.2).
fn printable(text: &str) -> String {
    text.chars().filter(|char| matches!(char, ' '..='!' | '#'..='[' | ']'..='~')).collect()
}

/// The service did not come to an answer.
pub(crate) fn outage() -> Response {
    let body =
        json!({ "error": "temporarily_unavailable", "error_description": "no token can be issued now" });
    answer(StatusCode::SERVICE_UNAVAILABLE, &body, None)
}

/// There is no token service.
pub(crate) fn nothing_here() -> Response {
    let body = json!({ "error": "not_found", "error_description": "there is no token service here" });
    answer(StatusCode::NOT_FOUND, &body, None)
}

/// Another method than this.
pub(crate) fn only(method: &'static str) -> Response {
    let body = json!({ "error": "invalid_request", "error_description": format!("the method is {method}") });
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &body, None);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(method));
    response
}

fn answer(status: StatusCode, body: &Value, id: Option<DecisionId>) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        headers.insert(DECISION_ID, id);
    }
    response
}
