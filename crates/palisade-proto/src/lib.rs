//! The messages, servers and clients of `proto/palisade/v1`, and of agentgateway's `proto/agentgateway`, as generated code
//! that is checked in.
//!
//! `v1.rs`, `ext_mcp.rs` and their `.descriptors.bin` are written by a test of this crate and by nobody else: change the files below
//! `proto/`, then run `PALISADE_BLESS=1 cargo test -p palisade-proto`. A build needs no generator and no `protoc`.
//! What a message means is decided where it is read and written, and nothing of it here. The one thing that is written
//! by hand is [`Debug`] of what may hold a token or the values of arguments: it prints neither.

use std::fmt;

#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "the generator writes a service as one function")]
pub mod ext_mcp;
#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "the generator writes a service as one function")]
#[expect(clippy::struct_excessive_bools, reason = "each says on its own what a caller can do")]
pub mod v1;

/// The files of the API and those they import, as an encoded `google.protobuf.FileDescriptorSet`: what reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!("v1.descriptors.bin");

/// The same of agentgateway's protocol.
pub const EXT_MCP_DESCRIPTORS: &[u8] = include_bytes!("ext_mcp.descriptors.bin");

impl fmt::Debug for v1::Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, target, arguments: _ } = self;
        write!(formatter, "Item({action:?}, {target:?}, ..)")
    }
}

impl fmt::Debug for v1::DecideRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, token: _, item, explain: _ } = self;
        write!(formatter, "DecideRequest({resource:?}, {item:?}, ..)")
    }
}

impl fmt::Debug for v1::DecideBatchRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, token: _, items, explain: _ } = self;
        write!(formatter, "DecideBatchRequest({resource:?}, {items:?}, ..)")
    }
}

impl fmt::Debug for v1::Entity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { r#type, id, properties: _ } = self;
        write!(formatter, "Entity({type:?}, {id:?}, ..)")
    }
}

impl fmt::Debug for v1::SearchRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, sought, subject, action, target, .. } = self;
        write!(formatter, "SearchRequest({resource:?}, {sought:?}, {subject:?}, {action:?}, {target:?}, ..)")
    }
}

impl fmt::Debug for v1::VerifyRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, token: _ } = self;
        write!(formatter, "VerifyRequest({resource:?}, ..)")
    }
}

impl fmt::Debug for v1::ExchangeRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, token: _, exchange, scopes } = self;
        write!(formatter, "ExchangeRequest({resource:?}, {exchange:?}, {scopes:?}, ..)")
    }
}

impl fmt::Debug for v1::ExchangeResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decision_id, outcome, reason, access_token: _, scopes, .. } = self;
        write!(formatter, "ExchangeResponse({decision_id:?}, {outcome:?}, {reason:?}, {scopes:?}, ..)")
    }
}

impl fmt::Debug for v1::Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value: _ } = self;
        write!(formatter, "Header({name:?}, ..)")
    }
}

impl fmt::Debug for v1::HttpRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, scheme, host, path: _, headers, client_address: _ } = self;
        write!(formatter, "HttpRequest({method:?}, {scheme:?}, {host:?}, {headers:?}, ..)")
    }
}

impl fmt::Debug for v1::CheckRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            request,
            body: _,
            truncated,
            rewrites_path: _,
            cuts_operations: _,
            answers_operations: _,
        } = self;
        write!(formatter, "CheckRequest({resource:?}, {request:?}, {truncated}, ..)")
    }
}

impl fmt::Debug for v1::Passage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remove, set, response, body: _, path: _, graphql_errors: _ } = self;
        write!(formatter, "Passage({remove:?}, {set:?}, {response:?}, ..)")
    }
}

impl fmt::Debug for v1::Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body: _ } = self;
        write!(formatter, "Answer({status}, {headers:?}, ..)")
    }
}

impl fmt::Debug for ext_mcp::McpHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value: _ } = self;
        write!(formatter, "McpHeader({key:?}, ..)")
    }
}

impl fmt::Debug for ext_mcp::HeaderMutation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, remove } = self;
        write!(formatter, "HeaderMutation({set:?}, {remove:?})")
    }
}

impl fmt::Debug for ext_mcp::McpRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service_names, method, metadata_context: _, mcp_request: _, headers } = self;
        write!(formatter, "McpRequest({service_names:?}, {method:?}, {headers:?}, ..)")
    }
}

impl fmt::Debug for ext_mcp::McpResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service_names, method, metadata_context: _, mcp_response: _ } = self;
        write!(formatter, "McpResponse({service_names:?}, {method:?}, ..)")
    }
}

impl fmt::Debug for ext_mcp::McpRequestResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { result, header_mutation, metadata: _ } = self;
        write!(formatter, "McpRequestResult({result:?}, {header_mutation:?}, ..)")
    }
}

impl fmt::Debug for ext_mcp::McpResponseResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { result } = self;
        write!(formatter, "McpResponseResult({result:?})")
    }
}

impl fmt::Debug for ext_mcp::mcp_request_result::Result {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(_) => formatter.write_str("Pass"),
            Self::Mutated(bytes) => write!(formatter, "Mutated({} bytes)", bytes.len()),
            Self::Error(error) => write!(formatter, "{error:?}"),
        }
    }
}

impl fmt::Debug for ext_mcp::mcp_response_result::Result {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(_) => formatter.write_str("Pass"),
            Self::Mutated(bytes) => write!(formatter, "Mutated({} bytes)", bytes.len()),
            Self::Error(error) => write!(formatter, "{error:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
