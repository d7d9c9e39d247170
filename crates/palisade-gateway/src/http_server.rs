//! A server that is asked over HTTP: the request as it was let by, the answer as it comes.

use std::time::Duration;

use futures::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use http_body_util::StreamBody;
use palisade_tower::{Body, BoxError, ClientAddress};
use url::Url;

use crate::{UpstreamError, answer};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How often the system asks a silent connection whether its other end is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What belongs to one connection and goes no further (RFC 9110 section 7.6.1), and what the client says of itself or of
/// the way it came, which we say anew or which the server would take for its own.
const NOT_FORWARDED: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::FORWARDED,
    // It was compared with what the resource allows; to the server every page is foreign.
    header::ORIGIN,
];

/// A server at a URL.
#[derive(Debug, Clone)]
pub(crate) struct HttpServer {
    client: reqwest::Client,
    base: Url,
    /// What stands before its own paths in those of the gateway.
    prefix: String,
}

impl HttpServer {
    pub(crate) fn new(url: &str) -> Result<Self, UpstreamError> {
        let wrong = || UpstreamError::Url(url.to_owned());
        let base = Url::parse(url).map_err(|_| wrong())?;
        let plain = base.query().is_none() && base.fragment().is_none() && base.username().is_empty();
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() || !plain {
            return Err(wrong());
        }
        // No redirect is followed and no cookie kept: what the server says is the client's business.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .tcp_keepalive(KEEP_ALIVE)
            .no_proxy()
            .build()
            .map_err(UpstreamError::Client)?;
        Ok(Self { client, base, prefix: String::new() })
    }

    pub(crate) fn below(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    /// Asks the server. A client that goes away takes the request with it.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let url = self.url(&parts.uri);
        let mut headers = forwarded(&parts.headers);
        say_the_way(&mut headers, &parts);
        // The adapter has taken in the whole of it.
        let Ok(body) = body.whole(usize::MAX).await else { return answer::bad_gateway() };
        let mut ask = self.client.request(parts.method, url).headers(headers);
        if !body.is_empty() {
            ask = ask.body(body);
        }
        match ask.send().await {
            Ok(answer) => told(answer),
            Err(error) => {
                tracing::warn!(server = %self.base.origin().ascii_serialization(), error = %without_url(error), "a server does not answer");
                answer::bad_gateway()
            }
        }
    }

    /// The server's own path, for a path of the gateway.
    fn url(&self, uri: &Uri) -> Url {
        let asked = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let rest = asked.strip_prefix(self.prefix.as_str()).unwrap_or(asked);
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let mut url = self.base.clone();
        if !path.is_empty() {
            url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        }
        url.set_query(query);
        url
    }
}

/// An error without the URL, whose query is nobody's business.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The header fields that go further.
fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let named = connection_options(headers);
    let goes_on = |name: &HeaderName| {
        let text = name.as_str();
        !NOT_FORWARDED.contains(name)
            && *name != header::HOST
            && !text.starts_with("x-forwarded-")
            // Some servers take `_` for `-`: `mcp_session_id` would be a second session.
            && !text.contains('_')
            && !matches!(text, "keep-alive" | "proxy-connection")
            && !named.iter().any(|option| option.eq_ignore_ascii_case(text))
    };
    headers
        .iter()
        .filter(|(name, _)| goes_on(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The header fields that `Connection` names as its own.
fn connection_options(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|option| option.trim().to_owned()).collect()
}

/// Says by which host and from which address the client came.
fn say_the_way(headers: &mut HeaderMap, parts: &http::request::Parts) {
    let authority = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = authority.or_else(|| parts.headers.get(header::HOST).cloned()) {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
    let client = parts.extensions.get::<ClientAddress>().map(|address| address.0.to_string());
    if let Some(client) = client.and_then(|client| HeaderValue::from_str(&client).ok()) {
        headers.insert(HeaderName::from_static("x-forwarded-for"), client);
    }
}

/// The server's answer.
fn told(answer: reqwest::Response) -> Response<Body> {
    let status = answer.status();
    let headers = forwarded_back(answer.headers());
    let frames = answer.bytes_stream().map_ok(http_body::Frame::data).map_err(BoxError::from);
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The same of an answer: what belongs to the connection stays.
fn forwarded_back(headers: &HeaderMap) -> HeaderMap {
    let named = connection_options(headers);
    let goes_on = |name: &HeaderName| {
        let text = name.as_str();
        let of_connection = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TRAILER];
        !of_connection.contains(name)
            && text != "keep-alive"
            && !named.iter().any(|option| option.eq_ignore_ascii_case(text))
    };
    headers
        .iter()
        .filter(|(name, _)| goes_on(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_gateway_become_those_of_the_server() {
        for (base, prefix, asked, expected) in [
            ("http://s:1/mcp", "/files", "/files", "http://s:1/mcp"),
            ("http://s:1/mcp", "/files", "/files/", "http://s:1/mcp/"),
            ("http://s:1/mcp/", "/files", "/files/a?b=c", "http://s:1/mcp/a?b=c"),
            ("http://s:1", "", "/x", "http://s:1/x"),
            ("http://s:1/mcp", "", "/", "http://s:1/mcp/"),
            ("http://s:1/mcp", "/files", "/files?x=1", "http://s:1/mcp?x=1"),
        ] {
            let server = HttpServer::new(base).unwrap().below(prefix);
            assert_eq!(server.url(&asked.parse().unwrap()).as_str(), expected, "{asked}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for url in ["", "x", "ftp://s", "http://", "http://s/?q", "http://u@s/", "unix:/x"] {
            assert!(HttpServer::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_belongs_to_a_connection_goes_no_further() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "5"),
            ("host", "gateway"),
            ("origin", "https://page"),
            ("x-forwarded-for", "1.2.3.4"),
            ("mcp_session_id", "x"),
            ("transfer-encoding", "chunked"),
            ("accept", "text/event-stream"),
            ("mcp-method", "tools/list"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let left = forwarded(&headers);
        let mut names: Vec<&str> = left.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "mcp-method"]);
    }
}
