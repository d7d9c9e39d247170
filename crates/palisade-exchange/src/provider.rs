//! The providers by name, and what is particular about each.
//!
//! A preset is what lets a user write the provider, the client and the target and nothing else. Everything here is said in
//! the provider's public documentation; README.md says which of it was run against the provider itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose dialect an exchange speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// RFC 8693 as it is written, for every provider that has no name here.
    #[serde(alias = "generic")]
    Rfc8693,
    /// Keycloak's standard token exchange: the audience is a client id.
    Keycloak,
    /// A custom authorization server of Okta.
    Okta,
    /// Auth0, on behalf of a user.
    Auth0,
    /// Entra's on-behalf-of flow.
    Entra,
    /// An identity assertion of the user's provider, redeemed at the authorization server of the upstream.
    IdJag,
}

/// The three wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// RFC 8693.
    TokenExchange,
    /// RFC 7523 with `requested_token_use=on_behalf_of`.
    OnBehalfOf,
    /// RFC 8693 for an ID-JAG, then RFC 7523 with it.
    IdJag,
}

/// Where a client secret is sent (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretIn {
    /// `client_secret_basic`.
    Header,
    /// `client_secret_post`.
    Body,
}

/// What a client assertion is addressed to (RFC 7523 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AssertionAudience {
    /// The issuer's identifier, as its newer revision has it.
    Issuer,
    /// The URL of the token endpoint.
    TokenEndpoint,
}

impl Provider {
    /// The name, as the configuration has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rfc8693 => "rfc8693",
            Self::Keycloak => "keycloak",
            Self::Okta => "okta",
            Self::Auth0 => "auth0",
            Self::Entra => "entra",
            Self::IdJag => "id_jag",
        }
    }

    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::Rfc8693 | Self::Keycloak | Self::Okta | Self::Auth0 => Dialect::TokenExchange,
            Self::Entra => Dialect::OnBehalfOf,
            Self::IdJag => Dialect::IdJag,
        }
    }

    /// Where a secret goes if the configuration does not say.
    #[must_use]
    pub const fn secret_in(self) -> SecretIn {
        match self {
            Self::Rfc8693 | Self::Keycloak | Self::Okta | Self::IdJag => SecretIn::Header,
            Self::Auth0 | Self::Entra => SecretIn::Body,
        }
    }

    pub(crate) const fn assertion_audience(self) -> AssertionAudience {
        match self {
            Self::Rfc8693 | Self::Keycloak | Self::Auth0 | Self::IdJag => AssertionAudience::Issuer,
            Self::Okta | Self::Entra => AssertionAudience::TokenEndpoint,
        }
    }

    /// Whether `resource` may be sent.
    #[must_use]
    pub const fn takes_resources(self) -> bool {
        match self {
            Self::Rfc8693 | Self::IdJag => true,
            Self::Keycloak | Self::Okta | Self::Auth0 | Self::Entra => false,
        }
    }

    /// Whether an actor's token may be sent.
    #[must_use]
    pub const fn takes_actors(self) -> bool {
        match self {
            Self::Rfc8693 | Self::Okta | Self::Auth0 | Self::IdJag => true,
            Self::Keycloak | Self::Entra => false,
        }
    }

    /// Whether the provider exchanges the tokens of users alone.
    pub(crate) const fn is_for_users(self) -> bool {
        match self {
            Self::Entra | Self::IdJag => true,
            Self::Rfc8693 | Self::Keycloak | Self::Okta | Self::Auth0 => false,
        }
    }
}
