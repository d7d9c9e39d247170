//! `static_tokens`.

use std::collections::BTreeMap;

use palisade_model::{Scope, StaticTokenName};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::Secret;

/// Secrets that a resource takes in place of tokens, for who cannot get one yet. Weakened: whoever has seen one can use it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StaticTokens {
    /// The header that they come in. `authorization`: as bearer tokens, beside those of issuers.
    pub header: Option<String>,
    /// Whether they come in paths, as a segment `t-{token}`: `/mcp/t-{token}`. Kind mcp.
    pub path: bool,
    /// Each with a name, which records say: `static:<name>`.
    pub tokens: BTreeMap<StaticTokenName, StaticToken>,
}

/// One of them, and whose it is: of a `client` or a `user`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StaticToken {
    /// The secret, of at least 32 characters; a second one is taken, too, while they are changed.
    pub secrets: Vec<Secret>,
    /// `<issuer>/<id>` of a client, or `static/<id>` of one that no issuer knows.
    pub client: Option<String>,
    /// `<issuer>/<id>` of a user, or `static/<id>`.
    pub user: Option<String>,
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// Its roles, without the issuer's name.
    pub roles: Vec<String>,
    /// Its groups, without the issuer's name.
    pub groups: Vec<String>,
}
