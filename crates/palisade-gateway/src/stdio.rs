//! Servers that are child processes, behind Streamable HTTP.
//!
//! A client that begins with `initialize` (MCP up to 2025-11-25) has a process of its own, for as long as its session lives.
//! Requests without a session (MCP 2026-07-28) share a process of their subject, so that no two subjects ever meet in one.
//! A process that nobody uses for half an hour is ended, and so is one whose session is deleted.

mod process;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::StreamBody;
use palisade_tower::{Body, Caller};
use serde_json::Value;
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::process::{Messages, Process};
use crate::{UpstreamError, answer};

/// The header of a session (MCP 2025-11-25, Streamable HTTP).
const SESSION: &str = "mcp-session-id";
/// The largest body of a request; the adapter has bounded it already.
const LARGEST: usize = 16 * 1024 * 1024;
/// How long a process is not used that makes room for another.
const UNUSED: Duration = Duration::from_secs(60);

/// What a server process is started with.
#[derive(Debug, Clone)]
pub struct StdioSettings {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Variables of the environment that the process gets, beside the few that every program needs. It gets no others: some
    /// hold secrets of this one.
    pub environment: Vec<String>,
    /// The most processes at once.
    pub processes: usize,
    /// The most processes that one subject has. For one more, its longest unused ends.
    pub processes_each: usize,
    /// How long a process may be unused.
    pub idle: Duration,
}

impl StdioSettings {
    /// The program and its arguments as they would be written in a shell.
    ///
    /// # Errors
    /// When that is nothing, or a quote is not closed.
    pub fn command(command: &str) -> Result<Self, UpstreamError> {
        let words = shlex::split(command).filter(|words| !words.is_empty()).ok_or(UpstreamError::Command)?;
        Ok(Self {
            words,
            environment: Vec::new(),
            processes: 64,
            processes_each: 8,
            idle: Duration::from_secs(30 * 60),
        })
    }
}

/// A server whose sessions are processes.
#[derive(Debug, Clone)]
pub(crate) struct StdioServer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: StdioSettings,
    places: Arc<Semaphore>,
    processes: Mutex<HashMap<Key, Arc<Process>>>,
}

/// Whose a process is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Session(String),
    Subject(String),
}

impl StdioServer {
    pub(crate) fn new(settings: StdioSettings) -> Result<Self, UpstreamError> {
        if settings.words.is_empty() {
            return Err(UpstreamError::Command);
        }
        let places = Arc::new(Semaphore::new(settings.processes));
        Ok(Self(Arc::new(Inner { settings, places, processes: Mutex::default() })))
    }

    /// Answers a request.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let session = text(&parts.headers, SESSION);
        match (parts.method.clone(), session) {
            (Method::POST, session) => match body.whole(LARGEST).await {
                Ok(body) => {
                    let caller = parts.extensions.get::<Caller>().map(|caller| caller.subject.clone());
                    self.post(caller, session, &body).await
                }
                Err(_) => {
                    answer::error(StatusCode::BAD_REQUEST, "invalid_request", "the body did not come whole")
                }
            },
            (Method::GET, Some(session)) => self.listen(&session),
            (Method::DELETE, Some(session)) => self.delete(&session),
            (_, _) => {
                let mut response = answer::error(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "without a session only POST is answered",
                );
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
                response
            }
        }
    }

    async fn post(&self, caller: Option<String>, session: Option<String>, body: &[u8]) -> Response<Body> {
        let Ok(body) = palisade_mcp::read_body(body) else {
            return answer::error(StatusCode::BAD_REQUEST, "invalid_request", "the body is not JSON");
        };
        let batch = body.is_array();
        let messages = if let Value::Array(messages) = body { messages } else { vec![body] };
        let begins = messages
            .iter()
            .any(|message| message.get("method").and_then(Value::as_str) == Some("initialize"));
        let (key, new_session) = match session {
            Some(session) => (Key::Session(session), None),
            None if begins => {
                let session = Uuid::new_v4().to_string();
                (Key::Session(session.clone()), Some(session))
            }
            // Without the adapter before it nobody is known, and nobody shares.
            None => match &caller {
                Some(subject) => (Key::Subject(subject.clone()), None),
                None => return answer::bad_gateway(),
            },
        };
        let may_start = new_session.is_some() || matches!(key, Key::Subject(_));
        // Whose it is: without the adapter before it nobody is known.
        let owner = caller.unwrap_or_default();
        let process = match self.process(&key, may_start.then_some(owner.as_str())) {
            Ok(Some(process)) => process,
            Ok(None) => return no_session(),
            Err(response) => return *response,
        };
        let Some((answers, numbers)) = process.send(messages).await else {
            self.forget(&key);
            return answer::bad_gateway();
        };
        let waiting = Waiting { stateless: matches!(key, Key::Subject(_)), process, answers, numbers };
        let mut response = waiting.answer(batch).await;
        if let Some(session) = new_session.and_then(|session| HeaderValue::from_str(&session).ok()) {
            response.headers_mut().insert(SESSION, session);
        }
        response
    }

    /// What the server says of itself, as it comes.
    fn listen(&self, session: &str) -> Response<Body> {
        let Ok(Some(process)) = self.process(&Key::Session(session.to_owned()), None) else {
            return no_session();
        };
        match process.listen() {
            Some(messages) => {
                let events = stream::unfold((messages, process), |(mut messages, process)| async move {
                    let message = messages.recv().await?;
                    Some((message, (messages, process)))
                });
                event_stream(events)
            }
            None => answer::error(StatusCode::CONFLICT, "conflict", "the session has such a stream already"),
        }
    }

    fn delete(&self, session: &str) -> Response<Body> {
        match self.forget(&Key::Session(session.to_owned())) {
            Some(_) => {
                let mut response = Response::new(Body::full(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            None => no_session(),
        }
    }

    /// The process of a key; with an owner, a new one where there is none.
    fn process(&self, key: &Key, owner: Option<&str>) -> Result<Option<Arc<Process>>, Box<Response<Body>>> {
        let mut processes = self.processes();
        let idle = self.0.settings.idle;
        processes.retain(|_, process| !process.has_ended() && !process.is_idle(idle));
        if let Some(process) = processes.get(key) {
            return Ok(Some(Arc::clone(process)));
        }
        let Some(owner) = owner else { return Ok(None) };
        let place = Arc::clone(&self.0.places).try_acquire_owned();
        let place = place.map_err(|_| Box::new(answer::busy()))?;
        if !make_room(&mut processes, owner, self.0.settings.processes_each) {
            return Err(Box::new(answer::busy()));
        }
        let process = Process::start(&self.0.settings, owner, place).map_err(|error| {
            let program = self.0.settings.words.first().map(String::as_str).unwrap_or_default();
            tracing::error!(program, %error, "a server process cannot be started");
            Box::new(answer::bad_gateway())
        })?;
        let process = Arc::new(process);
        processes.insert(key.clone(), Arc::clone(&process));
        Ok(Some(process))
    }

    fn forget(&self, key: &Key) -> Option<Arc<Process>> {
        self.processes().remove(key)
    }

    fn processes(&self) -> MutexGuard<'_, HashMap<Key, Arc<Process>>> {
        // Nothing panics while it is held.
        self.0.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a subject may have one process more: where it has as many as it may, the one that it has not used for longest ends,
/// if that is a while.
fn make_room(processes: &mut HashMap<Key, Arc<Process>>, owner: &str, most: usize) -> bool {
    let own = || processes.iter().filter(|(_, process)| process.is_of(owner));
    if own().count() < most {
        return true;
    }
    let unused = own().filter_map(|(key, process)| Some((process.unused_since()?, key)));
    let unused = unused.filter(|(since, _)| since.elapsed() > UNUSED);
    let Some(oldest) = unused.min_by_key(|(since, _)| *since).map(|(_, key)| key.clone()) else {
        return false;
    };
    processes.remove(&oldest);
    true
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A client whose session is gone begins another (MCP 2025-11-25, session management).
fn no_session() -> Response<Body> {
    answer::error(StatusCode::NOT_FOUND, "not_found", "there is no such session")
}

/// Requests whose answers have not all come. Dropped before, those without a session are cancelled (MCP 2026-07-28,
/// Streamable HTTP).
struct Waiting {
    process: Arc<Process>,
    answers: Messages,
    numbers: Vec<u64>,
    stateless: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.stateless {
            self.process.cancel(&self.numbers);
        }
    }
}

impl Waiting {
    /// The answer to the requests: JSON where it comes first and is all, else a stream.
    async fn answer(mut self, batch: bool) -> Response<Body> {
        if self.numbers.is_empty() {
            let mut response = Response::new(Body::full(Bytes::new()));
            *response.status_mut() = StatusCode::ACCEPTED;
            return response;
        }
        let Some(first) = self.answers.recv().await else { return answer::bad_gateway() };
        if first.get("method").is_none() && self.numbers.len() == 1 {
            let body = if batch { Value::Array(vec![first]) } else { first };
            let mut response = Response::new(Body::full(body.to_string()));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            return response;
        }
        let left = self.numbers.len();
        let rest = stream::unfold((self, left, Some(first)), |(mut waiting, left, first)| async move {
            if left == 0 {
                return None;
            }
            let message = match first {
                Some(first) => first,
                None => waiting.answers.recv().await?,
            };
            let left = if message.get("method").is_none() { left - 1 } else { left };
            Some((message, (waiting, left, None)))
        });
        event_stream(rest)
    }
}

/// Messages as server-sent events.
fn event_stream(messages: impl Stream<Item = Value> + Send + 'static) -> Response<Body> {
    let frame = |message: Value| {
        let event = format!("event: message\ndata: {message}\n\n");
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(event)))
    };
    let mut response = Response::new(Body::new(StreamBody::new(messages.map(frame))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests;
