//! Answers that do not come from the server.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use palisade_client::{Description, Told};

use crate::Body;

/// What the decision point tells a client.
pub(crate) fn told(told: Told) -> Response<Body> {
    let mut response = Response::new(Body::full(told.body));
    *response.status_mut() = told.status;
    *response.headers_mut() = told.headers;
    response
}

/// That no decision can be made.
pub(crate) fn outage() -> Response<Body> {
    let body = r#"{"error":"temporarily_unavailable","error_description":"no decision can be made now"}"#;
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, body);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// That the server's answer cannot be told.
pub(crate) fn unreadable() -> Response<Body> {
    let body = r#"{"error":"bad_gateway","error_description":"the server's answer cannot be read, and is withheld"}"#;
    json(StatusCode::BAD_GATEWAY, body)
}

fn json(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer at a path below the well-known one of metadata documents (RFC 9728): the resource's own, for any page.
pub(crate) fn metadata(method: &Method, path: &str, resource: Option<&Description>) -> Response<Body> {
    let found = resource.filter(|resource| resource.metadata_path == path);
    let mut response = match (method, found) {
        (&Method::OPTIONS, _) => {
            let mut response = Response::new(Body::full(Bytes::new()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        (&Method::GET | &Method::HEAD, Some(found)) => {
            let mut response = Response::new(Body::full(found.metadata.clone()));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
            response
        }
        (&Method::GET | &Method::HEAD, None) => json(
            StatusCode::NOT_FOUND,
            r#"{"error":"not_found","error_description":"no protected resource has its metadata here"}"#,
        ),
        (_, _) => {
            let mut response = Response::new(Body::full(Bytes::new()));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("mcp-protocol-version"));
    response
}
