//! Protected resource metadata (RFC 9728): one document a resource, at its well-known path, byte for byte from the
//! configuration.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use palisade_pdp::{Pdp, Resource, location};

/// How long a client may keep a document, in seconds.
const MAX_AGE: &str = "public, max-age=300";

/// Serves `/.well-known/oauth-protected-resource` and everything below it.
pub fn router(pdp: Arc<Pdp>) -> Router {
    Router::new()
        .route("/.well-known/oauth-protected-resource", any(document))
        .route("/.well-known/oauth-protected-resource/{*path}", any(document))
        .with_state(pdp)
}

async fn document(State(pdp): State<Arc<Pdp>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method == Method::OPTIONS {
        return open_to_browsers(StatusCode::NO_CONTENT.into_response());
    }
    if method != Method::GET && method != Method::HEAD {
        return ([(header::ALLOW, "GET, HEAD, OPTIONS")], StatusCode::METHOD_NOT_ALLOWED).into_response();
    }
    let snapshot = pdp.snapshot();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.host());
    let named: Vec<&Arc<Resource>> = snapshot.resources.with_metadata_at(uri.path()).collect();
    let resource = match named.as_slice() {
        [] => None,
        [only] => Some(*only),
        several => several.iter().copied().find(|resource| is_at(resource, host)),
    };
    let Some(resource) = resource else {
        let body =
            r#"{"error":"not_found","error_description":"no protected resource has its metadata here"}"#;
        let fields = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
        return open_to_browsers((StatusCode::NOT_FOUND, fields, body).into_response());
    };
    let fields = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, MAX_AGE)];
    open_to_browsers((fields, resource.metadata.document.to_string()).into_response())
}

/// Whether a resource's identifier has this host. Decides between documents, never over what one says.
fn is_at(resource: &Resource, host: Option<&str>) -> bool {
    let Some((scheme, rest)) = resource.metadata.url.split_once("://") else { return false };
    let own = rest.split('/').next().unwrap_or_default();
    let normal = |host: &str| location::host(host, scheme).ok();
    host.and_then(normal).is_some_and(|host| normal(own) == Some(host))
}

/// Metadata is public: any page may read it.
fn open_to_browsers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("mcp-protocol-version"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
