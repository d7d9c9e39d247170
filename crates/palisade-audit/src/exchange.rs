//! The exchange of a token, as a part of the decision that needed it.
//!
//! What was asked for, where the answer came from and how it came out. There is no field for a token: the one that was
//! issued is told by its id, as the one that came is. What the provider said of an error is its own word, cut like every
//! other string.

use palisade_model::{ExchangeName, Reason, Scopes, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::{PolicyFailure, PolicyRef};

/// A token exchange (RFC 8693) within a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExchangeRecord {
    /// Its name in the configuration.
    pub name: ExchangeName,
    /// What the token is for.
    pub audience: String,
    /// Who asked for the token, `Client::"<issuer>/<client_id>"`, where it was issued by our own token service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// Why there is no token; `permitted` where there is one.
    pub reason: Reason,
    /// The scopes that were asked for, after the policies.
    #[serde(default, skip_serializing_if = "Scopes::is_empty")]
    pub requested_scopes: Scopes,
    /// For how many seconds the token may be handed out, after the policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_s: Option<u64>,
    /// Where the answer came from; absent where nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ExchangeSource>,
    /// How long the exchange took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// The scopes of the issued token.
    #[serde(default, skip_serializing_if = "Scopes::is_empty")]
    pub scopes: Scopes,
    /// The actors of the issued token, the current one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
    /// `jti:<value>`, or `sha256:<hex>` of the issued token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// When the issued token ends.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::rfc3339::maybe")]
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// What the provider said where it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_error: Option<ProviderErrorRecord>,
    /// The policies that decided about the exchange.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub determining_policies: Vec<PolicyRef>,
    /// The policies that failed to evaluate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_errors: Vec<PolicyFailure>,
}

/// Where the answer to an exchange came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeSource {
    /// The provider.
    Provider,
    /// An answer that was there already, a refusal included.
    Cache,
    /// Nobody was asked: the provider has failed too often, or has said when to come back.
    Withheld,
}

/// What a provider said of an exchange that it refused (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProviderErrorRecord {
    /// The HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `error_description`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `error_codes`, and `suberror`, of Entra.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
}
