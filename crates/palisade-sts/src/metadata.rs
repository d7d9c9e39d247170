//! What the service says of itself: its metadata (RFC 8414) and its key set (RFC 7517).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Method, header},
    response::Response,
};
use palisade_model::Scope;
use palisade_pdp::{Pdp, Sts};
use serde_json::json;

use crate::{KEYS_PATH, TOKEN_PATH, answer, request::GRANT};

/// How long a document may be kept, in seconds: a key is published at least that long before it signs, and after.
const MAX_AGE: &str = "public, max-age=300";

pub(crate) async fn of_service(State(pdp): State<Arc<Pdp>>, method: Method) -> Response {
    document(&pdp, &method, of)
}

pub(crate) async fn key_set(State(pdp): State<Arc<Pdp>>, method: Method) -> Response {
    document(&pdp, &method, |sts| sts.key_set().to_owned())
}

fn of(sts: &Sts) -> String {
    let base = sts.base_url();
    let scopes: Vec<&str> = sts.scopes().into_iter().map(Scope::as_str).collect();
    let mut document = json!({
        "issuer": base,
        "token_endpoint": format!("{base}{TOKEN_PATH}"),
        "jwks_uri": format!("{base}{KEYS_PATH}"),
        "grant_types_supported": [GRANT],
        // There is no authorization endpoint, and RFC 8414 wants the member all the same.
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    });
    if let (Some(members), false) = (document.as_object_mut(), scopes.is_empty()) {
        members.insert("scopes_supported".to_owned(), json!(scopes));
    }
    document.to_string()
}

fn document(pdp: &Pdp, method: &Method, write: impl FnOnce(&Sts) -> String) -> Response {
    let snapshot = pdp.snapshot();
    let Some(sts) = snapshot.sts.as_deref() else { return answer::nothing_here() };
    if method != Method::GET && method != Method::HEAD {
        return answer::only("GET, HEAD");
    }
    let mut response = Response::new(Body::from(write(sts)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(MAX_AGE));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
