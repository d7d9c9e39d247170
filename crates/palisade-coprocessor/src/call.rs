//! A stage of a router as the call that its client made.
//!
//! What decides is the client's: its header fields, and its operation as it came. Where the call goes to is the resource's, by the
//! configuration: no `Host` and no `Origin` in a message is believed. A GET is decoded as the GET it is.

use axum::http::{HeaderMap, HeaderValue};
use palisade_call::{Body, Headers, HttpCall, Named};
use palisade_model::{Refusal, Surface};
use palisade_pdp::Resource;

use crate::message::{Exchange, Stage, malformed};

/// What says nothing of an operation: where the client meant to go, and how its bytes came.
const NOT_READ: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "x-envoy-auth-partial-body",
    "x-palisade-key",
];
/// What says how the body came, which a router has read.
const OF_BODY: [&str; 3] = ["content-encoding", "content-type", "upgrade"];

/// The call of a stage.
///
/// # Errors
/// `request_malformed` where the message does not have what its own stage would need to show the client's request.
pub(crate) fn of_stage(
    exchange: &Exchange,
    resource: &Resource,
    entry: &HeaderMap,
) -> Result<HttpCall, Refusal> {
    let came = exchange.headers.as_ref();
    let came = came.ok_or_else(|| malformed("the router sends no headers, so that nobody is known"))?;
    let mut call = Call { headers: Headers::default(), method: "POST", query: None, body: Body::Absent };
    let left_out: &[&str] = match (exchange.stage, &exchange.body) {
        (Stage::Router, Some(body)) => {
            call.method =
                exchange.method.as_deref().ok_or_else(|| malformed("the router sends no method"))?;
            call.query = exchange.path.as_deref().and_then(query);
            if call.method == "GET" && exchange.path.is_none() {
                return Err(malformed("the router sends no path, where the operation of a GET is"));
            }
            call.body = Some(body.as_str()).filter(|text| !text.is_empty()).map_or(Body::Absent, whole);
            &[]
        }
        (Stage::Router | Stage::Operation | Stage::Execution | Stage::Subgraph | Stage::Response, body) => {
            call.body = body.as_deref().map_or(Body::Absent, whole);
            &OF_BODY
        }
    };
    for (name, values) in came.iter().filter(|(name, _)| !NOT_READ.contains(name) && !left_out.contains(name))
    {
        values.iter().for_each(|value| call.headers.push(name, value.clone()));
    }
    if !left_out.is_empty() {
        call.headers.push("content-type", "application/json".to_owned());
    }
    Ok(call.at(resource, Some(exchange.id.clone()), entry))
}

/// The call of a request that itself comes with the client's token.
pub(crate) fn of_entry(resource: &Resource, entry: &HeaderMap) -> HttpCall {
    let mut headers = Headers::default();
    for (name, value) in entry.iter().filter(|(name, _)| !NOT_READ.contains(&name.as_str())) {
        headers.push(name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    Call { headers, method: "POST", query: None, body: Body::Absent }.at(resource, None, entry)
}

/// What is the client's of a call.
struct Call<'a> {
    headers: Headers,
    method: &'a str,
    query: Option<&'a str>,
    body: Body,
}

impl Call<'_> {
    /// The call at the resource's own place, in the trace that the router goes on with.
    fn at(self, resource: &Resource, request_id: Option<String>, entry: &HeaderMap) -> HttpCall {
        let (scheme, host) = resource.origin().split_once("://").unwrap_or(("https", ""));
        let path = resource.path();
        let path = if path.is_empty() { "/" } else { path };
        let target = self.query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        HttpCall {
            surface: Surface::Coprocessor,
            named: Named::Segment(resource.name.as_str().to_owned()),
            method: self.method.to_owned(),
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            target,
            headers: traced(self.headers, entry),
            body: self.body,
            declared_size: None,
            // The connection is the router's.
            source: None,
            request_id,
            mcp: None,
            rewrites_path: false,
            // A router sends on what it has read itself.
            cuts: false,
            answers: false,
            unusable: None,
        }
    }
}

/// The fields, with the span of the router in place of the client's.
fn traced(headers: Headers, entry: &HeaderMap) -> Headers {
    const TRACE: &str = "traceparent";
    let mut spans = entry.get_all(TRACE).iter();
    let span = spans.next().filter(|_| spans.next().is_none()).map(HeaderValue::to_str);
    let Some(Ok(span)) = span else { return headers };
    let mut traced = Headers::default();
    for (name, values) in headers.iter().filter(|(name, _)| *name != TRACE) {
        values.iter().for_each(|value| traced.push(name, value.clone()));
    }
    traced.push(TRACE, span.to_owned());
    traced
}

fn query(path: &str) -> Option<&str> {
    path.split_once('?').map(|(_, query)| query)
}

fn whole(text: &str) -> Body {
    Body::Whole(text.as_bytes().to_vec())
}
