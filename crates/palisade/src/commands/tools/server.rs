//! An MCP server asked for its tools, over Streamable HTTP.
//!
//! [`list`] asks in the stateless form of 2026-07-28 first. A server that does not know it is greeted with `initialize`,
//! as up to 2025-11-25, and asked in its session. Pages are followed to the end. The server is a stranger: what it sends
//! is bounded in size, pages and time, and read strictly; it is not followed elsewhere, and a token goes to it only where
//! nobody on the way can read it.

mod events;

use std::{collections::BTreeSet, time::Duration};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION, WWW_AUTHENTICATE},
    redirect,
};
use serde_json::{Value, json};
use thiserror::Error;

use events::Events;

/// The most bytes of all answers together.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The most pages.
const MAX_PAGES: usize = 1_000;
/// The most tools.
const MAX_TOOLS: usize = 10_000;
/// How many times as long as one request the whole list may take.
const REQUESTS_IN_TIME: u32 = 10;
/// How deep answers may nest.
pub(super) const MAX_DEPTH: usize = 64;

/// The revision without sessions.
const STATELESS: &str = "2026-07-28";
/// The revisions with sessions, newest first.
const WITH_SESSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

const SESSION: &str = "mcp-session-id";

/// Why the tools could not be had. What the server said is part of a message, so it has to be made printable.
#[derive(Debug, Error)]
pub(super) enum ListError {
    #[error("is no URL such as https://mcp.example.com/mcp")]
    Url,
    #[error("a token is not sent over plain http but on loopback: use https")]
    TokenInTheOpen,
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the server did not answer within {0:?}: --timeout gives it longer")]
    TimedOut(Duration),
    #[error("the server did not send the whole list within {0:?}: --timeout gives it longer")]
    TookTooLong(Duration),
    #[error("the server wants a token: give a file with one by --token-file{0}")]
    TokenMissing(String),
    #[error("the server refuses the token ({status}){said}")]
    TokenRefused { status: StatusCode, said: String },
    #[error("the server answers from elsewhere: give that URL, if you trust it{0}")]
    Redirect(String),
    #[error("the server answers {0}: is this the URL of its MCP endpoint?")]
    Status(StatusCode),
    #[error("the server refuses `{method}`: {code}: {message}")]
    Refused { method: &'static str, code: i64, message: String },
    #[error("the server's answer is not one of MCP: {0}")]
    Answer(String),
    #[error("the server speaks the protocol version `{0}`, which is unknown here")]
    Version(String),
    #[error("the answers are larger than 16 MiB")]
    TooLarge,
    #[error("the list does not end: it has more than 1000 pages or 10000 tools, or a page comes again")]
    Endless,
}

impl ListError {
    /// Whether a server of another age would answer so.
    fn may_be_of_age(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Answer(_) => true,
            Self::Status(status) => {
                !matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Url
            | Self::TokenInTheOpen
            | Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::TookTooLong(_)
            | Self::TokenMissing(_)
            | Self::TokenRefused { .. }
            | Self::Redirect(_)
            | Self::Version(_)
            | Self::TooLarge
            | Self::Endless => false,
        }
    }
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) tools: Vec<Value>,
    /// The cursor of the next, if there is one.
    pub(super) next: Option<String>,
}

impl Page {
    /// Reads the result of `tools/list`, or its bare array.
    pub(super) fn of(result: Value) -> Result<Self, ListError> {
        let wrong = |what: &str| ListError::Answer(what.to_owned());
        let (tools, next) = match result {
            Value::Array(tools) => return Ok(Self { tools, next: None }),
            Value::Object(mut members) => (members.remove("tools"), members.remove("nextCursor")),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (None, None),
        };
        let Some(Value::Array(tools)) = tools else { return Err(wrong("no array `tools`")) };
        let next = match next {
            None | Some(Value::Null) => None,
            Some(Value::String(cursor)) => Some(cursor),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(wrong("`nextCursor` is no string"));
            }
        };
        Ok(Self { tools, next })
    }
}

/// Asks for all tools. `progress` hears how many there are so far.
pub(super) async fn list(
    url: &str,
    token: Option<String>,
    patience: Duration,
    progress: impl Fn(usize),
) -> Result<Vec<Value>, ListError> {
    let mut server = Server::new(url, token, patience)?;
    let whole = patience.saturating_mul(REQUESTS_IN_TIME);
    let listed = tokio::time::timeout(whole, server.all(progress)).await;
    let tools = listed.unwrap_or(Err(ListError::TookTooLong(whole)));
    server.leave().await;
    tools
}

struct Server {
    client: Client,
    url: Url,
    token: Option<String>,
    patience: Duration,
    version: String,
    session: Option<String>,
    /// How many bytes may still come.
    left: usize,
    asked: u64,
}

impl Server {
    fn new(url: &str, token: Option<String>, patience: Duration) -> Result<Self, ListError> {
        let url = Url::parse(url).map_err(|_| ListError::Url)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(ListError::Url);
        }
        if token.is_some() && url.scheme() == "http" && !is_loopback(&url) {
            return Err(ListError::TokenInTheOpen);
        }
        let mut client = Client::builder().redirect(redirect::Policy::none()).connect_timeout(patience);
        // INVARIANT: a token in plain http goes to loopback only (above), and there past every proxy of the
        // environment, which would read it.
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| ListError::Unreachable(with_causes(&error)))?;
        let version = STATELESS.to_owned();
        Ok(Self { client, url, token, patience, version, session: None, left: MAX_BYTES, asked: 0 })
    }

    /// All tools, asked for in the way that the server knows.
    async fn all(&mut self, progress: impl Fn(usize)) -> Result<Vec<Value>, ListError> {
        let mut first = self.page(None).await;
        if first.as_ref().is_err_and(ListError::may_be_of_age) {
            self.greet().await?;
            first = self.page(None).await;
        }
        self.pages(first?, progress).await
    }

    /// The first page and all that follow.
    async fn pages(&mut self, first: Page, progress: impl Fn(usize)) -> Result<Vec<Value>, ListError> {
        let Page { mut tools, mut next } = first;
        let mut cursors = BTreeSet::new();
        loop {
            progress(tools.len());
            if tools.len() > MAX_TOOLS || cursors.len() >= MAX_PAGES {
                return Err(ListError::Endless);
            }
            let Some(cursor) = next else { return Ok(tools) };
            let page = self.page(Some(&cursor)).await?;
            if !cursors.insert(cursor) {
                return Err(ListError::Endless);
            }
            tools.extend(page.tools);
            next = page.next;
        }
    }

    async fn page(&mut self, cursor: Option<&str>) -> Result<Page, ListError> {
        let mut params = serde_json::Map::new();
        params.extend(cursor.map(|cursor| ("cursor".to_owned(), json!(cursor))));
        if self.version == STATELESS {
            params.insert(
                "_meta".to_owned(),
                json!({
                    "io.modelcontextprotocol/protocolVersion": STATELESS,
                    "io.modelcontextprotocol/clientCapabilities": {},
                    "io.modelcontextprotocol/clientInfo": client_info(),
                }),
            );
        }
        let (result, _) = self.ask("tools/list", Value::Object(params)).await?;
        Page::of(result)
    }

    /// The handshake of the revisions with sessions.
    async fn greet(&mut self) -> Result<(), ListError> {
        let [newest, ..] = WITH_SESSIONS;
        newest.clone_into(&mut self.version);
        let params = json!({ "protocolVersion": newest, "capabilities": {}, "clientInfo": client_info() });
        let (result, headers) = self.ask("initialize", params).await?;
        let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        if !WITH_SESSIONS.contains(&version) {
            return Err(ListError::Version(version.to_owned()));
        }
        version.clone_into(&mut self.version);
        self.session = headers.get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let method = "notifications/initialized";
        let message = json!({ "jsonrpc": "2.0", "method": method });
        self.in_time(self.post(method, &message)).await.map(drop)
    }

    /// Ends the session, if there is one. That is a courtesy: nothing hangs on the answer.
    async fn leave(&self) {
        if let Some(session) = &self.session {
            let end = self.with_token(self.client.delete(self.url.clone()));
            let end = end.header(SESSION, session).header("mcp-protocol-version", &self.version).send();
            drop(tokio::time::timeout(self.patience.min(Duration::from_secs(2)), end).await);
        }
    }

    /// A request and the result that answers it, with the headers it came with.
    async fn ask(&mut self, method: &'static str, params: Value) -> Result<(Value, HeaderMap), ListError> {
        self.asked += 1;
        let id = self.asked;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let mut left = self.left;
        let asked = async {
            let response = self.post(method, &message).await?;
            let headers = response.headers().clone();
            let answer = answer(response, id, &mut left).await?;
            Ok((answer, headers))
        };
        let asked = self.in_time(asked).await;
        self.left = left;
        let (mut answer, headers) = asked?;
        if let Some(error) = answer.get("error") {
            let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
            let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
            return Err(ListError::Refused { method, code, message: cut(message) });
        }
        Ok((answer.get_mut("result").map(Value::take).unwrap_or_default(), headers))
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, ListError>>) -> Result<T, ListError> {
        let timed = tokio::time::timeout(self.patience, work).await;
        timed.unwrap_or(Err(ListError::TimedOut(self.patience)))
    }

    async fn post(&self, method: &str, message: &Value) -> Result<Response, ListError> {
        let mut request = self
            .with_token(self.client.post(self.url.clone()))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header("mcp-method", method)
            .body(message.to_string());
        // `initialize` is what settles the version.
        if method != "initialize" {
            request = request.header("mcp-protocol-version", &self.version);
        }
        if let Some(session) = &self.session {
            request = request.header(SESSION, session);
        }
        let response = request.send().await.map_err(|error| ListError::Unreachable(with_causes(&error)))?;
        let header = |name| {
            let value = response
                .headers()
                .get(name)
                .and_then(|value: &reqwest::header::HeaderValue| value.to_str().ok());
            value.map(|value| format!(": {}", cut(value))).unwrap_or_default()
        };
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED if self.token.is_none() => {
                Err(ListError::TokenMissing(header(WWW_AUTHENTICATE)))
            }
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(ListError::TokenRefused { status, said: header(WWW_AUTHENTICATE) })
            }
            status if status.is_redirection() => Err(ListError::Redirect(header(LOCATION))),
            status => Err(ListError::Status(status)),
        }
    }

    fn with_token(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// The message that answers the request `id`: the body, or one of a stream's events.
async fn answer(mut response: Response, id: u64, left: &mut usize) -> Result<Value, ListError> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is = |name: &str| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(name);
    let (whole, stream) = (is("application/json"), is("text/event-stream"));
    if !whole && !stream {
        return Err(ListError::Answer(format!("its content type is `{}`", cut(kind))));
    }
    let (mut body, mut events) = (Vec::new(), Events::default());
    while let Some(chunk) =
        response.chunk().await.map_err(|error| ListError::Unreachable(with_causes(&error)))?
    {
        *left = left.checked_sub(chunk.len()).ok_or(ListError::TooLarge)?;
        if whole {
            body.extend_from_slice(&chunk);
            continue;
        }
        for event in events.push(&chunk) {
            // A stream may carry other messages before the answer.
            if let Some(answer) = answers(&event, id)? {
                return Ok(answer);
            }
        }
    }
    let answer = if whole { answers(&body, id)? } else { None };
    answer.ok_or_else(|| ListError::Answer("it ended without an answer to the request".to_owned()))
}

/// The message, if it answers the request `id`.
fn answers(bytes: &[u8], id: u64) -> Result<Option<Value>, ListError> {
    let message =
        palisade_json::read(bytes, MAX_DEPTH).map_err(|error| ListError::Answer(error.to_string()))?;
    let ours = message.get("id").is_some_and(|found| *found == id);
    // An error may come without an id, where the server could not read ours.
    let refused = message.get("error").is_some() && message.get("id").is_none_or(Value::is_null);
    Ok(((ours && (message.get("result").is_some() || message.get("error").is_some())) || refused)
        .then_some(message))
}

fn client_info() -> Value {
    json!({ "name": "palisade", "version": env!("CARGO_PKG_VERSION") })
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// The beginning of what a server said.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// The error with its causes and without the URL, which the user has given.
fn with_causes(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
