//! A request as it is asked about, and as it goes on.

use http::{HeaderMap, HeaderValue, Request, Uri, header, request::Parts, uri::PathAndQuery};
use palisade_client::{Check, Incoming, Passage};

use crate::{Body, Caller, ClientAddress, graphql};

/// The request as it came, for who asks about it. The address of its client is that among its extensions ([`ClientAddress`]).
#[must_use]
pub fn incoming(parts: &Parts) -> Incoming {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    Incoming {
        method: parts.method.clone(),
        scheme: if parts.uri.scheme_str() == Some("http") { "http" } else { "https" },
        host: authority.or(host).unwrap_or_default().to_owned(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        headers: parts.headers.clone(),
        client: parts.extensions.get::<ClientAddress>().map(|address| address.0),
    }
}

/// The request as the server may have it: where its answer may have to be changed, asked for without a coding.
pub(crate) fn forwarded(parts: Parts, check: &Check, passage: &Passage, changes: bool) -> Request<Body> {
    let body = passage.body().unwrap_or(&check.body).clone();
    let mut request = Request::from_parts(parts, Body::full(body.clone()));
    if let Some(path) = passage.path() {
        *request.uri_mut() = on_path(request.uri(), path);
    }
    let caller = Caller { subject: passage.subject().to_owned(), decision: passage.id() };
    request.extensions_mut().insert(caller);
    let headers = request.headers_mut();
    end_connection(headers);
    passage.change(headers);
    headers.remove(header::TRANSFER_ENCODING);
    if headers.contains_key(header::CONTENT_LENGTH) || !body.is_empty() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let in_part = passage.graphql_errors().is_some();
    if changes || in_part {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if in_part {
        headers.insert(header::ACCEPT, HeaderValue::from_static(graphql::FORMS));
        graphql::is_another_body(headers);
    }
    request
}

/// The URI on another path: nothing of the one before is left in it.
fn on_path(uri: &Uri, path: &PathAndQuery) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.clone());
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(path.clone()))
}

/// Takes away what belongs to the client's connection (RFC 9110 section 7.6.1): before anything is set that the server must
/// get, so that no client can name that as its connection's own.
fn end_connection(headers: &mut HeaderMap) {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<String> =
        values.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned()).collect();
    for name in named {
        headers.remove(&name);
    }
    headers.remove(header::CONNECTION);
}
