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

impl Reading {
    /// Whether the answer permits.
    pub(crate) fn permitted(self, status: StatusCode, trailers: &HeaderMap, body: &[u8]) -> Result<bool> {
        if self == Self::Status {
            // An Envoy that had no answer in time says 503: no permit, as every other one.
            return Ok(status.is_success());
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
