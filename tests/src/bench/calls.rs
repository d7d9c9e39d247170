//! Questions as requests: to an ext_authz server, to Cerbos, and to Envoy itself.

use std::collections::{HashMap, hash_map::Entry};

use anyhow::Result;
use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::{
    ext_authz::v3::pb::CheckRequest,
    pb::envoy::{
        config::core::v3::{Address, SocketAddress, address::Address as Kind, socket_address::PortSpecifier},
        service::auth::v3::{
            AttributeContext,
            attribute_context::{HttpRequest, Peer, Request as Requested},
        },
    },
};
use http::Request;
use prost::Message;
use serde_json::json;

use super::{
    load::{Call, Over},
    matrix::{Matrix, Question, tool_name},
    tokens::{Algorithm, TokenIssuer},
};

/// The form in which a side is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `envoy.service.auth.v3.Authorization/Check`, as Envoy sends it.
    ExtAuthz,
    /// `cerbos.svc.v1.CerbosService/CheckResources`, as a service would that has read the client's request itself.
    Cerbos,
    /// The client's own request, to a proxy.
    Proxy,
    /// The same as most clients send it: over HTTP/1.1.
    Client,
}

/// What a client posts that wants to know all tools.
const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

impl Form {
    /// A question with a token as a request of this form.
    pub(crate) fn call(self, token: &str, question: &Question) -> Result<Call> {
        let (request, body) = match self {
            Self::ExtAuthz => (
                grpc("/envoy.service.auth.v3.Authorization/Check")?,
                framed(&check_request(token, question.tool)),
            ),
            Self::Cerbos => (
                grpc("/cerbos.svc.v1.CerbosService/CheckResources")?,
                framed(&check_resources(token, question)),
            ),
            Self::Proxy | Self::Client => (clients(token, question.tool)?, message(question.tool).into()),
        };
        Ok(Call { request, body, permitted: Some(question.permitted) })
    }

    /// Over what is asked in this form.
    pub(crate) const fn over(self) -> Over {
        match self {
            Self::ExtAuthz | Self::Cerbos | Self::Proxy => Over::Http2,
            Self::Client => Over::Http1,
        }
    }

    /// The questions with tokens that a subject uses again and again: those of even numbers have one by an elliptic
    /// curve, the others by RSA.
    pub(crate) fn warm(
        self,
        issuer: &TokenIssuer,
        matrix: &Matrix,
        questions: &[Question],
    ) -> Result<Vec<Call>> {
        let mut tokens = HashMap::new();
        for question in questions {
            if let Entry::Vacant(place) = tokens.entry(question.subject) {
                let algorithm = if question.subject % 2 == 0 { Algorithm::Es256 } else { Algorithm::Rs256 };
                place.insert(issuer.token(algorithm, &matrix.holder(question.subject), question.subject)?);
            }
        }
        let with_token =
            questions.iter().filter_map(|question| Some((tokens.get(&question.subject)?, question)));
        with_token.map(|(token, question)| self.call(token, question)).collect()
    }
}

fn grpc(path: &str) -> Result<Request<()>> {
    let request = Request::post(format!("http://bench{path}"));
    Ok(request.header("content-type", "application/grpc").header("te", "trailers").body(())?)
}

/// A message as gRPC sends it: not compressed, its length, itself.
fn framed(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.encoded_len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message.encode_to_vec());
    framed.freeze()
}

/// What an MCP client posts.
fn message(tool: usize) -> String {
    let arguments = json!({ "path": "reports/2026/q3.txt" });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": tool_name(tool), "arguments": arguments } })
        .to_string()
}

fn clients(token: &str, tool: usize) -> Result<Request<()>> {
    Ok(posted(token, "tools/call").header("mcp-name", tool_name(tool)).body(())?)
}

fn posted(token: &str, method: &str) -> http::request::Builder {
    Request::post("http://mcp.example.com/demo")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("user-agent", "bench")
        .header("mcp-method", method)
}

/// A client's request for the list of all tools.
pub(crate) fn list(token: &str) -> Result<Call> {
    let request = posted(token, "tools/list").body(())?;
    Ok(Call { request, body: Bytes::from_static(LIST.as_bytes()), permitted: Some(true) })
}

fn check_request(token: &str, tool: usize) -> CheckRequest {
    let mirrors = [("mcp-method", "tools/call"), ("mcp-name", &*tool_name(tool))];
    checked("demo", ("mcp.example.com", "/demo"), token, &mirrors, message(tool))
}

/// A GraphQL operation at this resource as Envoy asks about it.
pub(crate) fn asked_operation(resource: &str, token: &str, document: &str) -> Result<Call> {
    let body = json!({ "query": document }).to_string();
    let request = checked(resource, ("api.example.com", "/graphql"), token, &[], body);
    let (asked, body) = (grpc("/envoy.service.auth.v3.Authorization/Check")?, framed(&request));
    Ok(Call { request: asked, body, permitted: Some(true) })
}

/// The same as a client posts it to a router.
pub(crate) fn operation(token: &str, document: &str) -> Result<Call> {
    let request = Request::post("http://api.example.com/graphql")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("user-agent", "bench")
        .body(())?;
    Ok(Call { request, body: json!({ "query": document }).to_string().into(), permitted: Some(true) })
}

/// What Envoy asks about a posted request for this resource.
fn checked(
    resource: &str,
    (host, path): (&str, &str),
    token: &str,
    more: &[(&str, &str)],
    body: String,
) -> CheckRequest {
    let headers = [
        (":authority", host),
        (":method", "POST"),
        (":path", path),
        (":scheme", "http"),
        ("authorization", &format!("Bearer {token}")),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("user-agent", "bench"),
        ("content-length", &body.len().to_string()),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "5d9b9f3c-9f0a-4c55-8b70-0f6e64bb7c11"),
    ];
    let headers = headers.iter().chain(more);
    let http = HttpRequest {
        id: "1234567890".to_owned(),
        method: "POST".to_owned(),
        headers: headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        path: path.to_owned(),
        host: host.to_owned(),
        scheme: "http".to_owned(),
        size: i64::try_from(body.len()).unwrap_or(-1),
        protocol: "HTTP/2".to_owned(),
        body,
        ..HttpRequest::default()
    };
    let extensions = HashMap::from([("palisade.resource".to_owned(), resource.to_owned())]);
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer(40_000)),
            destination: Some(peer(10_000)),
            request: Some(Requested { time: None, http: Some(http) }),
            context_extensions: extensions,
            ..AttributeContext::default()
        }),
    }
}

fn peer(port: u32) -> Peer {
    let address = SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..SocketAddress::default()
    };
    Peer { address: Some(Address { address: Some(Kind::SocketAddress(address)) }), ..Peer::default() }
}

/// `cerbos.request.v1.CheckResourcesRequest`, as far as it is used.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckResources {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(message, optional, tag = "3")]
    principal: Option<CerbosPrincipal>,
    #[prost(message, repeated, tag = "4")]
    resources: Vec<CerbosEntry>,
    #[prost(message, optional, tag = "5")]
    aux_data: Option<CerbosAuxData>,
}

/// `cerbos.engine.v1.Principal`.
#[derive(Clone, PartialEq, prost::Message)]
struct CerbosPrincipal {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, repeated, tag = "3")]
    roles: Vec<String>,
}

/// `cerbos.request.v1.CheckResourcesRequest.ResourceEntry`.
#[derive(Clone, PartialEq, prost::Message)]
struct CerbosEntry {
    #[prost(string, repeated, tag = "1")]
    actions: Vec<String>,
    #[prost(message, optional, tag = "2")]
    resource: Option<CerbosResource>,
}

/// `cerbos.engine.v1.Resource`.
#[derive(Clone, PartialEq, prost::Message)]
struct CerbosResource {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "3")]
    id: String,
}

/// `cerbos.request.v1.AuxData`.
#[derive(Clone, PartialEq, prost::Message)]
struct CerbosAuxData {
    #[prost(message, optional, tag = "1")]
    jwt: Option<CerbosJwt>,
}

/// `cerbos.request.v1.AuxData.JWT`.
#[derive(Clone, PartialEq, prost::Message)]
struct CerbosJwt {
    #[prost(string, tag = "1")]
    token: String,
    #[prost(string, tag = "2")]
    key_set_id: String,
}

fn check_resources(token: &str, question: &Question) -> CheckResources {
    let kind = tool_name(question.tool);
    CheckResources {
        request_id: "7".to_owned(),
        principal: Some(CerbosPrincipal {
            id: format!("u{}", question.subject),
            roles: vec!["user".to_owned()],
        }),
        resources: vec![CerbosEntry {
            actions: vec!["call".to_owned()],
            resource: Some(CerbosResource { kind, id: "1".to_owned() }),
        }],
        aux_data: Some(CerbosAuxData {
            jwt: Some(CerbosJwt { token: token.to_owned(), key_set_id: "corp".to_owned() }),
        }),
    }
}
