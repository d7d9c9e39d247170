//! HTTP requests as questions: what gateways, and adapters inside a server, ask.
//!
//! Who stands in front of a resource hands the request over as it came. It gets what to change before the request goes on, or
//! the answer for the client, and needs to know nothing of tokens, policies and challenges.

use std::{fmt, net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, uri::PathAndQuery};
use palisade_model::{DecisionId, PolicyRevision, Timestamp};

use crate::{Answering, ReasonCode, question::Beside};

/// How long an answer may take where the question says nothing: a request may wait for a provider of an exchange.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Who decides on HTTP requests: a service, or a decision point in the same process.
///
/// Each method answers or gives [`NoAnswer`](crate::NoAnswer) before the deadline of the question has passed. Without an
/// answer nothing goes on.
pub trait GatewayPoint: fmt::Debug + Send + Sync {
    /// What a resource is. That is no decision.
    fn describe<'a>(&'a self, describe: &'a Describe) -> Answering<'a, Option<Description>>;

    /// Whether a request may go on.
    fn check<'a>(&'a self, check: &'a Check) -> Answering<'a, Checked>;

    /// Which entries of a list its reader may see.
    fn list<'a>(&'a self, list: &'a List) -> Answering<'a, Listed>;

    /// Binds a server's handle to a subject; none where it cannot be bound, and then the client must not get the handle.
    fn bind<'a>(&'a self, bind: &'a Bind) -> Answering<'a, Option<String>>;
}

/// Which resource is meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Describe {
    /// The resource's name in the configuration. Empty: the only resource that the caller may ask about.
    pub resource: String,
    pub(crate) beside: Beside,
}
crate::question::beside!(Describe);

impl Describe {
    /// A resource by its name.
    #[must_use]
    pub fn new(resource: impl Into<String>) -> Self {
        Self { resource: resource.into(), beside: Beside::default() }
    }
}

/// What a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name in the configuration.
    pub resource: String,
    /// Its identifier (RFC 8707).
    pub identifier: String,
    /// The path of its metadata document (RFC 9728 section 3.1).
    pub metadata_path: String,
    /// The document: the text of one JSON object.
    pub metadata: String,
    /// Origins of browsers that may read answers.
    pub origins: Vec<String>,
    /// The revision of the policies and the configuration in force.
    pub policy_revision: Option<PolicyRevision>,
}

/// An HTTP request as it came, without its body.
#[derive(Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The method.
    pub method: http::Method,
    /// `http` or `https`, as the client sees it.
    pub scheme: &'static str,
    /// The `Host`, or the authority.
    pub host: String,
    /// The path as it came, with its query.
    pub path: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// The address of the client, as far as it is known.
    pub client: Option<IpAddr>,
}

/// Header fields and queries may hold credentials.
impl fmt::Debug for Incoming {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, scheme, host, .. } = self;
        write!(formatter, "Incoming({method}, {scheme}://{host}, ..)")
    }
}

/// May this request go on?
#[derive(Clone, PartialEq, Eq)]
pub struct Check {
    /// The resource's name in the configuration. Empty: the only resource that the caller may ask about.
    pub resource: String,
    /// The request.
    pub request: Incoming,
    /// The whole body; empty where none came.
    pub body: Bytes,
    /// Whether there was more of a body than was taken in.
    pub truncated: bool,
    /// Whether the request is sent on to the path that its passage says.
    pub(crate) rewrites_path: bool,
    /// What becomes of a GraphQL operation.
    pub(crate) operations: Operations,
    pub(crate) beside: Beside,
}
crate::question::beside!(Check);

/// What a caller can do with a GraphQL operation but send it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Operations {
    /// It goes on as what is left of it, and the client is told what is not.
    pub(crate) cuts: bool,
    /// The client is told what a permit is answered with.
    pub(crate) answers: bool,
}

/// A body is nobody's business.
impl fmt::Debug for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, request, body, truncated, .. } = self;
        write!(formatter, "Check({resource:?}, {request:?}, {} bytes, {truncated})", body.len())
    }
}

impl Check {
    /// A request with its whole body.
    #[must_use]
    pub fn new(resource: impl Into<String>, request: Incoming, body: Bytes) -> Self {
        let beside = Beside { deadline: Some(DEADLINE), ..Beside::default() };
        Self {
            resource: resource.into(),
            request,
            body,
            truncated: false,
            rewrites_path: false,
            operations: Operations::default(),
            beside,
        }
    }

    /// A request whose body was too large to be taken in.
    #[must_use]
    pub fn truncated(resource: impl Into<String>, request: Incoming) -> Self {
        Self { truncated: true, ..Self::new(resource, request, Bytes::new()) }
    }

    /// The same by a caller that sends the request on to [`Passage::path`] where there is one. Without that a request whose path
    /// holds a token is refused.
    #[must_use]
    pub fn rewriting_path(self) -> Self {
        Self { rewrites_path: true, ..self }
    }

    /// The same by a caller that sends on [`Passage::body`] and tells its client the [`Passage::graphql_errors`]. Without that a
    /// GraphQL operation of which anything is denied is denied whole.
    #[must_use]
    pub fn cutting_operations(self) -> Self {
        Self { operations: Operations { cuts: true, ..self.operations }, ..self }
    }

    /// The same by a caller that tells its client what comes with a permit in place of the server's answer ([`Told::permitted`]): GraphQL
    /// introspection with what its caller may see. For others such introspection is denied.
    #[must_use]
    pub fn answering_operations(self) -> Self {
        Self { operations: Operations { answers: true, ..self.operations }, ..self }
    }

    /// The same by a caller that sends nothing on, and answers nothing: a GraphQL operation of which anything is denied is denied whole.
    #[must_use]
    pub fn whole(self) -> Self {
        Self { operations: Operations::default(), ..self }
    }
}

/// Whether a request may go on.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "what may not go on is answered here"]
pub enum Checked {
    /// It may, changed so. That is on the record.
    Pass(Box<Passage>),
    /// It does not, and this is what the client is told.
    Answer(Told),
}

/// What to change of a request that goes on. There is none but from an answer of a decision point.
#[derive(Clone, PartialEq)]
pub struct Passage {
    pub(crate) id: DecisionId,
    pub(crate) subject: String,
    pub(crate) ticket: String,
    pub(crate) reason: ReasonCode,
    pub(crate) observed: bool,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) policy_revision: Option<PolicyRevision>,
    pub(crate) remove: Vec<HeaderName>,
    pub(crate) set: HeaderMap,
    pub(crate) response: HeaderMap,
    pub(crate) body: Option<Bytes>,
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) graphql_errors: Option<String>,
}

/// What is set may be a credential.
impl fmt::Debug for Passage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, subject, reason, .. } = self;
        write!(formatter, "Passage({id}, {subject:?}, {reason:?}, ..)")
    }
}

impl Passage {
    /// The id of the decision and of its record.
    #[must_use]
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// Whose authority is used, as records name it: `User::"corp/alice"`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whether the policies deny it and it goes on because the resource is under observation.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.observed
    }

    /// When the token ends, and with it every stream that was opened by it; none where no token came.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The revision of the policies and the configuration that decided.
    #[must_use]
    pub fn policy_revision(&self) -> Option<&PolicyRevision> {
        self.policy_revision.as_ref()
    }

    /// Changes the header fields of the request to those that the server may get.
    pub fn change(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        // Each has one value, in place of all that the client sent under its name.
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }

    /// Header fields for the client, beside the server's answer: `vary` is added to what the server says, all others replace
    /// it.
    pub fn change_response(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.response {
            if name == http::header::VARY {
                headers.append(name, value.clone());
            } else {
                headers.insert(name, value.clone());
            }
        }
    }

    /// The body to send on in place of the client's, where they differ.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// The path to send on to in place of the client's, with its query, where they differ.
    #[must_use]
    pub fn path(&self) -> Option<&PathAndQuery> {
        self.path.as_ref()
    }

    /// What was taken out of a GraphQL operation of which the rest goes on: the text of a JSON array of errors, which the client is
    /// told beside those of the server's answer (GraphQL, section 7.1.2).
    #[must_use]
    pub fn graphql_errors(&self) -> Option<&str> {
        self.graphql_errors.as_deref()
    }
}

/// What a client is told in place of the server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The status; never a success of the request that was asked about, but for a CORS preflight, a denial in JSON-RPC or of all that
    /// an operation asks for, and what is permitted and answered in place of the server.
    pub status: StatusCode,
    /// Whether the request is permitted, and this is its answer in place of the server's: that of GraphQL introspection, with what its
    /// caller may see.
    pub permitted: bool,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Why; none where nothing had to be decided.
    pub reason: Option<ReasonCode>,
    /// The id of the decision and of its record; none where nothing had to be decided, or the service failed.
    pub id: Option<DecisionId>,
}

/// Which entries of a list may its reader see?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The resource's name in the configuration. Empty: the only resource that the caller may ask about.
    pub resource: String,
    /// The request that the list answers.
    pub request: Incoming,
    /// Which list: `tools/list`, `prompts/list`, `resources/list` or `resources/templates/list`. With `resources/read` it is none:
    /// which of these resources may be read now, with no stronger token, is asked.
    pub list: String,
    /// The name, URI or URI template of each entry, in the list's order: at most 10,000.
    pub entries: Vec<String>,
    pub(crate) beside: Beside,
}
crate::question::beside!(List);

impl List {
    /// A list that answers a request.
    #[must_use]
    pub fn new(
        resource: impl Into<String>,
        request: Incoming,
        list: impl Into<String>,
        entries: Vec<String>,
    ) -> Self {
        let beside = Beside { deadline: Some(DEADLINE), ..Beside::default() };
        Self { resource: resource.into(), request, list: list.into(), entries, beside }
    }

    /// No list: which of these resources may whoever sent a request read now?
    #[must_use]
    pub fn reads(resource: impl Into<String>, request: Incoming, uris: Vec<String>) -> Self {
        Self::new(resource, request, "resources/read", uris)
    }
}

/// What of a list may be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what is not shown may not be told"]
pub enum Listed {
    /// For each entry whether it may be. That is on the record.
    Shown(Vec<bool>),
    /// Nothing, and this is what the client is told.
    Refused(Told),
}

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handle {
    /// A session: `Mcp-Session-Id`.
    Session,
    /// A task.
    Task,
}

/// A handle of a server, to be bound to a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The resource's name in the configuration. Empty: the only resource that the caller may ask about.
    pub resource: String,
    /// What the handle stands for.
    pub handle: Handle,
    /// The handle, as the server has issued it.
    pub id: String,
    /// The tool that made the task; empty for none.
    pub tool: String,
    /// What proves whom it may be bound to.
    pub(crate) ticket: String,
    pub(crate) beside: Beside,
}
crate::question::beside!(Bind);

impl Bind {
    /// The id of a session, for the subject of a request that went on.
    #[must_use]
    pub fn session(resource: impl Into<String>, passage: &Passage, id: impl Into<String>) -> Self {
        let (resource, ticket, id) = (resource.into(), passage.ticket.clone(), id.into());
        let (handle, tool, beside) = (Handle::Session, String::new(), Beside::default());
        Self { resource, ticket, handle, id, tool, beside }
    }

    /// The id of a task that a tool has made, for the same.
    #[must_use]
    pub fn task(
        resource: impl Into<String>,
        passage: &Passage,
        tool: impl Into<String>,
        id: impl Into<String>,
    ) -> Self {
        Self { handle: Handle::Task, tool: tool.into(), ..Self::session(resource, passage, id) }
    }
}
