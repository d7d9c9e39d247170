//! What can go wrong: with a token ([`TokenError`]) and with a configuration ([`SetupError`]).
//!
//! A [`TokenError`] goes into records and to operators, so its text is made of our own words only. It must never hold a
//! part of the token: the token is the attacker's to choose.

use std::path::PathBuf;

use palisade_model::{IssuerName, Reason};
use thiserror::Error;
use url::Url;

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}: {detail}")]
pub struct TokenError {
    /// The code.
    pub reason: Reason,
    /// What exactly is wrong, in our own words; never a part of the token.
    pub detail: String,
}

impl TokenError {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Reason::TokenMalformed, detail)
    }

    pub(crate) fn claims(detail: impl Into<String>) -> Self {
        Self::new(Reason::TokenClaimsInvalid, detail)
    }
}

/// Why a verifier cannot be built from its settings.
#[derive(Debug, Error)]
pub enum SetupError {
    /// Two issuers would answer for one `iss`.
    #[error(
        "issuers `{first}` and `{second}` both have the identifier `{identifier}`: a token must belong to one"
    )]
    DuplicateIssuer {
        /// The `iss` value.
        identifier: String,
        /// The issuer that has it first.
        first: IssuerName,
        /// The issuer that has it again.
        second: IssuerName,
    },
    /// Two issuers have one name.
    #[error("two issuers have the name `{0}`")]
    DuplicateName(IssuerName),
    /// The size limit is zero or beyond the hard limit.
    #[error("the token limit of {0} bytes is not within 1 to 65536")]
    TokenLimit(usize),
    /// The issuer accepts the tokens of every tenant of Entra.
    #[error(
        "issuer `{0}`: tokens of every Entra tenant would be accepted; use `{{tenantid}}` and list `tenants`"
    )]
    AnyTenant(IssuerName),
    /// `tenants` and `{tenantid}` must come together.
    #[error(
        "issuer `{0}`: a `{{tenantid}}` issuer needs `tenants`, and `tenants` needs a `{{tenantid}}` issuer of an Entra profile"
    )]
    Tenants(IssuerName),
    /// A tenant is not a GUID in lower case.
    #[error("issuer `{issuer}`: tenant `{tenant}` is not a GUID in lower case")]
    TenantId {
        /// The issuer.
        issuer: IssuerName,
        /// The text.
        tenant: String,
    },
    /// The issuer identifier is no URL, so that discovery has nowhere to go.
    #[error("issuer `{issuer}`: `{identifier}` is not a URL, which discovery needs: {source}")]
    IssuerUrl {
        /// The issuer.
        issuer: IssuerName,
        /// The text.
        identifier: String,
        /// Why.
        source: url::ParseError,
    },
    /// A URL may not be fetched.
    #[error("issuer `{issuer}`: `{url}` may not be fetched: {why}")]
    Url {
        /// The issuer.
        issuer: IssuerName,
        /// The URL.
        url: Box<Url>,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The certificates of a private authority cannot be used.
    #[error("issuer `{issuer}`: cannot use the certificates in `{path}`: {why}")]
    Authority {
        /// The issuer.
        issuer: IssuerName,
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The HTTP client cannot be built.
    #[error("issuer `{issuer}`: cannot build the HTTP client: {why}")]
    Client {
        /// The issuer.
        issuer: IssuerName,
        /// Why.
        why: String,
    },
    /// An inline key set is unusable.
    #[error("issuer `{issuer}`: the key set is unusable: {why}")]
    Keys {
        /// The issuer.
        issuer: IssuerName,
        /// Why.
        why: String,
    },
}
