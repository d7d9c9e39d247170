//! What is asked: the form every protocol decodes to.

use std::{net::IpAddr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Arguments, ExchangeName, Handle, PepName, Properties, RawToken, Reason, ResourceName, Subject, Timestamp,
};

/// One question to the decision point.
///
/// A decoder never fails: what it could not read is in the request, so that the refusal is a recorded decision like
/// every other.
#[derive(Debug, Clone)]
pub struct AccessRequest {
    /// The caller of the decision service; `None` where it is not authenticated.
    pub pep: Option<PepName>,
    /// The entry it came in by.
    pub surface: Surface,
    /// The protected resource; `None` where the request names none, or two.
    pub resource: Option<ResourceName>,
    /// What the caller's caller proved itself with, or whom the caller asserts.
    pub credential: Credential,
    /// What is to be done, or why it could not be read.
    pub asked: Result<Asked, Refusal>,
    /// What the caller says of the circumstances, for policies that ask for it.
    pub sent: Option<Arguments>,
    /// The handles that came and must be the subject's: of sessions and tasks.
    pub handles: Vec<Handle>,
    /// The client's address, where the PEP is believed in it.
    pub client_ip: Option<IpAddr>,
    /// The host the client asked for, normalised.
    pub host: Option<String>,
    /// The path the client asked for, without the query.
    pub path: Option<String>,
    /// The proxy's id of the request.
    pub request_id: Option<String>,
    /// The W3C trace the request belongs to.
    pub trace: Option<TraceId>,
}

/// The trace and parent span of a W3C `traceparent` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId {
    /// 16 bytes, not all zero.
    pub trace: [u8; 16],
    /// 8 bytes, not all zero.
    pub span: [u8; 8],
    /// Whether the caller samples the trace.
    pub sampled: bool,
}

impl TraceId {
    /// Reads a `traceparent` header (W3C Trace Context, section 3.2). Anything malformed is no trace.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let known = version.len() == 2 && lower_hex(version) && version != "ff";
        if !known || (version == "00" && parts.next().is_some()) || flags.len() != 2 {
            return None;
        }
        if !(lower_hex(trace) && lower_hex(span) && lower_hex(flags)) {
            return None;
        }
        let trace: [u8; 16] = hex::decode(trace).ok()?.try_into().ok()?;
        let span: [u8; 8] = hex::decode(span).ok()?.try_into().ok()?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// What a request proved itself with. Five states and no more: nothing came, a token came, a static token came, what came cannot be a
/// credential, or the caller itself says whose authority is used. There is no `Option<Token>`, so that "no token" can never be mistaken for "no check".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// No credential of any kind came.
    Absent,
    /// A bearer token came (RFC 6750 section 2.1).
    Token(RawToken),
    /// Something came in a place that the resource has for static tokens alone. Whether it is one is for the decision point
    /// to say.
    Static(RawToken),
    /// Something came that is not one bearer token: two credentials, another scheme, a token in the query.
    Unusable(Refusal),
    /// The caller asserts the subject. Whether it may is for the decision point to say.
    AssertedByPep(Subject),
}

/// Why a part of the request could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub reason: Reason,
    /// What exactly is wrong, for the record and the operator; holds no value from the request's body or token.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its detail.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// What is to be done: one item, or the items of a protocol's batch, each of which must be permitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The items, in the order of the request. None at all is a denial.
    pub items: Vec<Item>,
    /// Whether the protocol's request was a batch, so that its answer is one too.
    pub batch: bool,
}

impl Asked {
    /// One item.
    #[must_use]
    pub fn one(item: Item) -> Self {
        Self { items: vec![item], batch: false }
    }
}

/// One action on one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What is done.
    pub action: Action,
    /// What it is done to.
    pub target: Target,
    /// The arguments, for actions that have any. Items that have the same ones share them.
    pub arguments: Option<Arc<Arguments>>,
    /// What the caller supplies of the target's attributes.
    pub supplied: Properties,
    /// What the decoder itself knows of a target that is there for this request alone. It counts whoever calls, and before what
    /// is supplied.
    pub known: Properties,
    /// What a protocol's answer needs to be addressed to its request: the raw JSON of a JSON-RPC `id`.
    pub reply_to: Option<String>,
}

impl Item {
    /// An action on a target, of which nothing is known beside.
    #[must_use]
    pub fn plain(action: Action, target: Target) -> Self {
        let (supplied, known) = (Properties::default(), Properties::default());
        Self { action, target, arguments: None, supplied, known, reply_to: None }
    }
}

/// An action of the policy vocabulary: `Mcp::Action::"tools/call"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action {
    /// The namespace: `Mcp`, `Http`, `Graphql`, `OAuth`, a user's own, or empty.
    pub namespace: String,
    /// The name: `tools/call`.
    pub name: String,
}

impl Action {
    /// An action of the `Mcp` namespace.
    #[must_use]
    pub fn mcp(method: &str) -> Self {
        Self { namespace: "Mcp".to_owned(), name: method.to_owned() }
    }

    /// The exchange of a token (RFC 8693).
    #[must_use]
    pub fn exchange() -> Self {
        Self { namespace: "OAuth".to_owned(), name: "exchange".to_owned() }
    }

    /// An action of the `Http` namespace.
    #[must_use]
    pub fn http(method: &str) -> Self {
        Self { namespace: "Http".to_owned(), name: method.to_owned() }
    }

    /// An action of the `Graphql` namespace.
    #[must_use]
    pub fn graphql(name: &str) -> Self {
        Self { namespace: "Graphql".to_owned(), name: name.to_owned() }
    }

    /// Whether it is a whole GraphQL operation.
    #[must_use]
    pub fn is_operation(&self) -> bool {
        self.namespace == "Graphql" && matches!(self.name.as_str(), "query" | "mutation" | "subscription")
    }

    /// Whether it is a part of a GraphQL operation, which is never done by itself: a field, or a name of `@policy`.
    #[must_use]
    pub fn is_part_of_operation(&self) -> bool {
        self.namespace == "Graphql" && matches!(self.name.as_str(), "field" | "policy")
    }

    /// Reads `Ns::Action::"name"`, the form that [`Action::entity`] writes for names without quotes and backslashes.
    #[must_use]
    pub fn from_entity(text: &str) -> Option<Self> {
        let (type_name, quoted) = text.rsplit_once("::\"").filter(|(left, _)| !left.contains('"'))?;
        let name = quoted.strip_suffix('"').filter(|name| !name.contains(['"', '\\']))?;
        let namespace = match type_name.strip_suffix("Action")? {
            "" => "",
            namespace => namespace.strip_suffix("::")?,
        };
        Some(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The name with its namespace, as records carry it: `Mcp::Action::"tools/call"`.
    #[must_use]
    pub fn entity(&self) -> String {
        if self.namespace.is_empty() {
            format!("Action::\"{}\"", self.name)
        } else {
            format!("{}::Action::\"{}\"", self.namespace, self.name)
        }
    }
}

/// The entity an action is done to: `Mcp::Tool::"files/delete_file"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The entity type: `Mcp::Tool`.
    pub type_name: String,
    /// The entity id: `files/delete_file`.
    pub id: String,
}

impl Target {
    /// The MCP server of a resource.
    #[must_use]
    pub fn mcp_server(resource: &ResourceName) -> Self {
        Self { type_name: "Mcp::Server".to_owned(), id: resource.as_str().to_owned() }
    }

    /// A tool of an MCP server.
    #[must_use]
    pub fn mcp_tool(resource: &ResourceName, name: &str) -> Self {
        Self { type_name: "Mcp::Tool".to_owned(), id: format!("{resource}/{name}") }
    }

    /// A prompt of an MCP server.
    #[must_use]
    pub fn mcp_prompt(resource: &ResourceName, name: &str) -> Self {
        Self { type_name: "Mcp::Prompt".to_owned(), id: format!("{resource}/{name}") }
    }

    /// A resource (in the MCP sense) of an MCP server.
    #[must_use]
    pub fn mcp_resource(resource: &ResourceName, uri: &str) -> Self {
        Self { type_name: "Mcp::Resource".to_owned(), id: format!("{resource}/{uri}") }
    }

    /// A route of an HTTP service.
    #[must_use]
    pub fn http_route(resource: &ResourceName, template: &str) -> Self {
        Self { type_name: "Http::Route".to_owned(), id: format!("{resource}{template}") }
    }

    /// The graph of a resource.
    #[must_use]
    pub fn graphql_graph(resource: &ResourceName) -> Self {
        Self { type_name: "Graphql::Graph".to_owned(), id: resource.as_str().to_owned() }
    }

    /// An operation on a graph, by its name or, without one, the hash of its document.
    #[must_use]
    pub fn graphql_operation(resource: &ResourceName, name: &str) -> Self {
        Self { type_name: "Graphql::Operation".to_owned(), id: format!("{resource}/{name}") }
    }

    /// Whether it is an operation on a graph.
    #[must_use]
    pub fn is_operation(&self) -> bool {
        self.type_name == "Graphql::Operation"
    }

    /// A type or a field of a graph by its coordinate: `Type`, `Type.field`.
    #[must_use]
    pub fn graphql_element(resource: &ResourceName, coordinate: &str) -> Self {
        let type_name = if coordinate.contains('.') { "Graphql::Field" } else { "Graphql::Type" };
        Self { type_name: type_name.to_owned(), id: format!("{resource}/{coordinate}") }
    }

    /// A name of the `@policy` directive.
    #[must_use]
    pub fn graphql_policy(resource: &ResourceName, name: &str) -> Self {
        Self { type_name: "Graphql::Policy".to_owned(), id: format!("{resource}/{name}") }
    }

    /// What tokens are exchanged for.
    #[must_use]
    pub fn audience(exchange: &ExchangeName) -> Self {
        Self { type_name: "OAuth::Audience".to_owned(), id: exchange.as_str().to_owned() }
    }

    /// The template of an HTTP route.
    #[must_use]
    pub fn http_template(&self) -> Option<&str> {
        let at = self.id.find('/').filter(|_| self.type_name == "Http::Route")?;
        self.id.get(at..)
    }

    /// The entity as records, explanations and errors carry it. The URI of an MCP resource stands there without
    /// user information, query and fragment, which may hold what no record should; policies see all of it.
    #[must_use]
    pub fn entity(&self) -> String {
        if self.type_name != "Mcp::Resource" {
            return format!("{}::{:?}", self.type_name, self.id);
        }
        // A URI may hold secrets: in its query, and in the user information before the host (RFC 3986 section 3.2.1).
        let uri = self.id.split(['?', '#']).next().unwrap_or_default();
        let without_user = uri.split_once("://").and_then(|(scheme, rest)| {
            let (authority, path) =
                rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
            let (_user, host) = authority.rsplit_once('@')?;
            Some(format!("{scheme}://{host}{path}"))
        });
        format!("{}::{:?}", self.type_name, without_user.as_deref().unwrap_or(uri))
    }
}

/// What holds for the request as a whole, beside its subject and its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The time of the decision.
    pub now: Timestamp,
    /// The client's address, where the PEP is believed in it.
    pub ip: Option<IpAddr>,
    /// The host the client asked for.
    pub host: Option<String>,
    /// The path the client asked for, without the query.
    pub path: Option<String>,
    /// The entry the request came in by.
    pub surface: Surface,
    /// Whether the subject was asserted by the PEP instead of proven by a token.
    pub asserted: bool,
    /// What the PEP says beside; it sets none of the above.
    pub sent: Option<Arguments>,
}

/// An entry of the decision service. The names are those of a PEP's `surfaces`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// Envoy `ext_authz` over gRPC.
    ExtAuthz,
    /// Envoy `ext_proc`: the lists of MCP servers behind it.
    ExtProc,
    /// agentgateway's `ExtMcp`.
    ExtMcp,
    /// The HTTP check: `/authz/{resource}/...`.
    HttpAuthz,
    /// HTTP requests by our own API: adapters and the MCP gateway.
    Gateway,
    /// Our own API, and the command line: `palisade decide`, `palisade policy test`.
    Decide,
    /// The verification of tokens by our own API.
    Verify,
    /// The exchange of tokens by our own API, and on the command line: `palisade decide --exchange`.
    Exchange,
    /// The AuthZEN Authorization API.
    Authzen,
    /// Who can do what, by AuthZEN or our own API.
    Search,
    /// ToolHive's `POST /decision`.
    Toolhive,
    /// ContextForge's `POST /v1/authorize`.
    Contextforge,
    /// The coprocessor of GraphQL routers: `/graphql/coprocessor/{resource}`.
    Coprocessor,
    /// Our own token service, `POST /oauth2/token`. Its callers are clients; no PEP has it.
    Sts,
}

impl Surface {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExtAuthz => "ext_authz",
            Self::ExtProc => "ext_proc",
            Self::ExtMcp => "ext_mcp",
            Self::HttpAuthz => "http_authz",
            Self::Gateway => "gateway",
            Self::Decide => "decide",
            Self::Verify => "verify",
            Self::Exchange => "exchange",
            Self::Authzen => "authzen",
            Self::Search => "search",
            Self::Toolhive => "toolhive",
            Self::Contextforge => "contextforge",
            Self::Coprocessor => "coprocessor",
            Self::Sts => "sts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entity_of_a_record_holds_no_query_and_ends_where_its_id_ends() {
        let files = "files".parse().unwrap();
        for (target, entity) in [
            (Target::mcp_resource(&files, "db://a/b?key=s3cret"), r#"Mcp::Resource::"files/db://a/b""#),
            (Target::mcp_resource(&files, "db://a#s3cret?x"), r#"Mcp::Resource::"files/db://a""#),
            (Target::mcp_resource(&files, "db://u:s3cret@h/b@c"), r#"Mcp::Resource::"files/db://h/b@c""#),
            (Target::mcp_resource(&files, "db://u:s3@cret@h"), r#"Mcp::Resource::"files/db://h""#),
            (Target::mcp_tool(&files, "what?"), r#"Mcp::Tool::"files/what?""#),
            (Target::mcp_tool(&files, "a\"b\n"), r#"Mcp::Tool::"files/a\"b\n""#),
        ] {
            assert_eq!(target.entity(), entity);
        }
    }

    #[test]
    fn traceparent_is_read_strictly() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceId::parse(good).unwrap();
        assert_eq!(hex::encode(trace.trace), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(trace.sampled);
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceId::parse(bad), None, "{bad}");
        }
    }
}
