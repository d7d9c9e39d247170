//! `rate_limits` and `rate_limit_store`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Redis;
use crate::config::values::{OrOff, Period};

/// How much may be asked of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Of each subject in a minute, or `off`.
    pub subject: OrOff<Rates>,
    /// Of each client in a minute, whoever its subjects are, or `off`.
    pub client: OrOff<Rates>,
    /// When an address is blocked, or `off`.
    pub failed_authentication: OrOff<FailedAuthentication>,
}

/// How much in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Calls of tools; of kind http what is not GET, HEAD or OPTIONS. Each item of a batch is one.
    pub calls: u32,
    /// Everything else.
    pub reads: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { calls: 100, reads: 500 }
    }
}

/// When an address is blocked from which authentication failed: the client's, as the PEP's `client_ip` knows it. No token, and
/// one that has expired or is not valid yet, are no failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FailedAuthentication {
    /// The failures, the last of which blocks.
    pub attempts: u32,
    /// In what time.
    pub within: Period,
    /// For how long.
    pub block: Period,
}

impl Default for FailedAuthentication {
    fn default() -> Self {
        let minutes = |minutes: u64| Period(Duration::from_secs(60 * minutes));
        Self { attempts: 5, within: minutes(5), block: minutes(15) }
    }
}

/// Where replicas count together.
#[derive(Debug, Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitStore {
    /// In Redis or Valkey. While it does not answer, each replica counts for itself.
    pub redis: Option<Redis>,
}
