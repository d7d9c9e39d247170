//! What a server answered: the decision in it, and nothing else.
//!
//! Only the fields that say the decision are declared here, so that the load does not pay for decoding the others.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, StatusCode};
use prost::Message;

/// How an answer says its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// `envoy.service.auth.v3.CheckResponse`.
    ExtAuthz,
    /// `cerbos.response.v1.CheckResourcesResponse` about one action.
    Cerbos,
    /// The HTTP status.
    Status,
    /// The result of a JSON-RPC message: an error in place of one is no permit, whatever its status.
    Mcp,
    /// The data of a GraphQL response: an error beside it is no permit, whatever its status.
    Graphql,
}

/// Of `envoy.service.auth.v3.CheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Checked {
    #[prost(message, optional, tag = "1")]
    status: Option<RpcStatus>,
}

/// Of `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

/// Of `cerbos.response.v1.CheckResourcesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct CerbosChecked {
    #[prost(message, repeated, tag = "2")]
    results: Vec<CerbosResult>,
}

/// Of `cerbos.response.v1.CheckResourcesResponse.ResultEntry`.
#[derive(Clone, PartialEq, prost::Message)]
struct CerbosResult {
    #[prost(map = "string, int32", tag = "2")]
    actions: HashMap<String, i32>,
}

/// `EFFECT_ALLOW` of `cerbos.effect.v1.Effect`.
const CERBOS_ALLOW: i32 = 1;

/// The most bytes before a message's result.
const BEFORE_RESULT: usize = 64;

/// Whether a message is a result, by its beginning: a list is long, and the load must not pay for reading it all. Where it ends, it is
/// whole.
fn is_result(body: &[u8]) -> bool {
    let beginning = body.get(..BEFORE_RESULT).unwrap_or(body);
    let member = b"\"result\":{";
    beginning.windows(member.len()).any(|part| part == member) && body.ends_with(b"}}")
}

/// Whether a GraphQL response is data and nothing else.
fn is_data(body: &[u8]) -> bool {
    let errors = b"\"errors\":";
    let has_errors = body.windows(errors.len()).any(|part| part == errors);
    body.starts_with(b"{\"data\":{") && body.ends_with(b"}}") && !has_errors
}

impl Reading {
    /// Whether the answer permits.
    pub(crate) fn permitted(self, status: StatusCode, trailers: &HeaderMap, body: &[u8]) -> Result<bool> {
        if self == Self::Status {
            // An Envoy that had no answer in time says 503: no permit, as every other one.
            return Ok(status.is_success());
        }
        if self == Self::Mcp {
            return Ok(status == StatusCode::OK && is_result(body));
        }
        if self == Self::Graphql {
            return Ok(status == StatusCode::OK && is_data(body));
        }
        let grpc = trailers.get("grpc-status").and_then(|code| code.to_str().ok());
        ensure!(status == 200 && grpc == Some("0"), "status {status}, grpc-status {grpc:?}");
        // One message that is not compressed: five bytes before it.
        let message = body.get(5..).context("no message")?;
        if self == Self::Cerbos {
            let result = CerbosChecked::decode(message)?.results.pop().context("no result")?;
            let (_, effect) = result.actions.into_iter().next().context("no effect")?;
            return Ok(effect == CERBOS_ALLOW);
        }
        Ok(Checked::decode(message)?.status.unwrap_or_default().code == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_no_permit_whatever_its_status() {
        let permits = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            Reading::Mcp.permitted(status, &HeaderMap::new(), body.as_bytes()).unwrap()
        };
        assert!(permits(200, r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}"#));
        for (status, body) in [
            (200, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"no"}}"#),
            (200, r#"{"jsonrpc":"2.0","id":7,"result":{"tools":["#),
            (200, ""),
            (202, r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}"#),
            (503, r#"{"error":"temporarily_unavailable"}"#),
        ] {
            assert!(!permits(status, body), "{status} {body}");
        }
        let permits = |body: &str| {
            Reading::Graphql.permitted(StatusCode::OK, &HeaderMap::new(), body.as_bytes()).unwrap()
        };
        assert!(permits(r#"{"data":{"me":{"id":"1"}}}"#));
        for body in [
            r#"{"errors":[{"message":"no"}]}"#,
            r#"{"data":{"me":null},"errors":[{"message":"no"}]}"#,
            r#"{"errors":[{"message":"no"}],"data":{"me":{}}}"#,
            r#"{"data":null}"#,
            r#"{"data":{"me":{"#,
        ] {
            assert!(!permits(body), "{body}");
        }
    }
}
