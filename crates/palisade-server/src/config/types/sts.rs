//! The section `sts`: our own token service.

use std::{collections::BTreeMap, time::Duration};

use palisade_model::{ExchangeName, IssuerName, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use super::FileRef;
use crate::config::values::{Period, Secret};

/// Our own token service (RFC 8693), on the public listener. Needs `listen.public.base_url`, which is its issuer identifier.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sts {
    /// Its name as an issuer: resources that take its tokens list it under `issuers`, and policies know its clients as
    /// `Client::"<name>/<client_id>"`.
    pub name: IssuerName,
    /// Private keys of P-256, PEM. The first one signs, all are published: to rotate, add the new one at the end, and put it
    /// first once everybody has seen it.
    pub keys: Vec<Secret>,
    /// The issuers whose tokens it takes, beside its own.
    pub issuers: Vec<IssuerName>,
    /// The clients, by `client_id`. All are confidential.
    pub clients: BTreeMap<String, StsClient>,
    /// What tokens can be asked for: `OAuth::Audience::"<name>"` of the policies.
    pub audiences: BTreeMap<ExchangeName, StsAudience>,
    /// A file with what of its tokens is revoked before its end, as for `issuers`: by the decision's id as `token`, or by
    /// `client`. What an issuer of subjects revokes is revoked here, too.
    #[serde(default)]
    pub revocations: Option<FileRef>,
}

/// A client of the token service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StsClient {
    /// Its secret, for `client_secret_basic` and `client_secret_post`; at least 32 characters.
    pub secret: Secret,
    /// The audiences that it is itself: it exchanges tokens for these, and no others. Default: its id.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The audiences of the token service that it may ask for, by name.
    pub exchange: Vec<ExchangeName>,
}

/// What tokens can be asked for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StsAudience {
    /// The `aud` of its tokens: the identifier of the resource.
    pub audience: String,
    /// The scopes that its tokens may have, of those that the subject's token has. Policies can narrow them.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// Scopes that a scope of the subject's token implies, as under `scopes` of resources.
    #[serde(default)]
    pub implies: BTreeMap<Scope, Vec<Scope>>,
    /// How long its tokens live at most; policies can narrow it, and the subject's token bounds it.
    #[serde(default = "default_lifetime")]
    pub lifetime: Period,
}

const fn default_lifetime() -> Period {
    Period(Duration::from_secs(5 * 60))
}
