//! Answers that the gateway itself gives: where there is no server, or none that answers.

use http::{HeaderValue, Response, StatusCode, header};
use palisade_tower::Body;

/// Nothing is served at a path.
pub(crate) fn not_found() -> Response<Body> {
    error(StatusCode::NOT_FOUND, "not_found", "nothing is served at this path")
}

/// The server does not answer.
pub(crate) fn bad_gateway() -> Response<Body> {
    error(StatusCode::BAD_GATEWAY, "bad_gateway", "the server behind this gateway does not answer")
}

/// Too much is under way.
pub(crate) fn busy() -> Response<Body> {
    let mut response = error(
        StatusCode::SERVICE_UNAVAILABLE,
        "temporarily_unavailable",
        "too much is under way at this gateway",
    );
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// An error in the form that denials have.
pub(crate) fn error(status: StatusCode, code: &str, description: &str) -> Response<Body> {
    let body = serde_json::json!({ "error": code, "error_description": description });
    let mut response = Response::new(Body::full(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
