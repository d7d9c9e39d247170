//! The HTTP request that brought operations, as it is asked about.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use palisade_client::Incoming;

/// What is of the body that came, or of the connection, and not of the operation that is asked about.
const OF_THE_TRANSPORT: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The HTTP request that brought one operation or several: [`incoming`] makes it. Its copies are the same request, and count its operations.
#[derive(Debug, Clone)]
pub struct Sender {
    incoming: Arc<Incoming>,
    operations: Arc<AtomicUsize>,
}

impl Sender {
    pub(crate) fn request(&self) -> &Incoming {
        &self.incoming
    }

    /// Whether it brings one operation more, of so many at the most.
    pub(crate) fn brings_one_more(&self, most: usize) -> bool {
        let one_more = |before: usize| (before < most).then_some(before + 1);
        self.operations.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

impl From<Incoming> for Sender {
    fn from(incoming: Incoming) -> Self {
        Self { incoming: Arc::new(incoming), operations: Arc::default() }
    }
}

/// The request that brought one operation or several, to be put into the data of each: `request.data(incoming(&parts))`, or
/// `batch.data(incoming(&parts))`. For operations that come over a WebSocket it is the request that opened it, in the data of the session.
///
/// The address of the client is told where [`ClientAddress`](palisade_tower::ClientAddress) is among the request's extensions.
#[must_use]
pub fn incoming(parts: &Parts) -> Sender {
    palisade_tower::incoming(parts).into()
}

/// The parameters of an operation that comes by GET (GraphQL over HTTP, section 5.3).
const OF_THE_OPERATION: [&str; 4] = ["query", "operationName", "variables", "extensions"];

/// Whether operations come by the address alone: whoever follows a link sends such a request, and no change may come by it.
pub(crate) fn is_plain_get(request: &Incoming) -> bool {
    request.method.is_safe() && !request.headers.contains_key(header::UPGRADE)
}

/// Whether what came is JSON by its own word. A page of anybody can have a browser send other types with the browser's credentials, and without asking.
/// What has no body is none: a request that is safe, and a WebSocket over HTTP/2 (RFC 8441).
pub(crate) fn has_json(request: &Incoming) -> bool {
    if request.method.is_safe() || request.method == Method::CONNECT {
        return true;
    }
    let mut values = request.headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.to_str().ok().and_then(|value| value.split(';').next());
    let essence = essence.map(|essence| essence.trim().to_ascii_lowercase());
    essence.is_some_and(|essence| {
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

/// The request of one operation: a POST of its JSON, without what it was wrapped in.
pub(crate) fn of_operation(request: &Incoming) -> Incoming {
    let mut headers: HeaderMap = request.headers.clone();
    for name in &OF_THE_TRANSPORT {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let path = if request.method.is_safe() { without_operation(&request.path) } else { request.path.clone() };
    Incoming { method: Method::POST, headers, path, ..request.clone() }
}

/// The path without the operation. Whatever else is in its query stays, and is refused where it is not understood.
fn without_operation(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let is_else = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        !OF_THE_OPERATION.contains(&name)
    };
    let rest: Vec<&str> = query.split('&').filter(is_else).collect();
    if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) }
}

#[cfg(test)]
mod tests;
