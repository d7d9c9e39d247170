//! What an exchange is configured with.

use std::{fmt, sync::Arc};

use palisade_model::{ExchangeName, IssuerName, Subject, SubjectKind};
use palisade_pdp::Fingerprint;
use palisade_token::{Profile, network::Route};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;
use zeroize::Zeroizing;

use crate::{ClientSettings, Provider, SharedStore};

/// One exchange.
#[derive(Debug, Clone)]
pub struct ExchangeSettings {
    /// Its name.
    pub name: ExchangeName,
    /// Whose dialect is spoken.
    pub provider: Provider,
    /// The issuer of the tokens that are exchanged, which is also asked.
    pub issuer: FromIssuer,
    /// The issuer of what is issued, where it is another.
    pub issued_by: IssuerName,
    /// What its tokens look like.
    pub issued_profile: Profile,
    /// Where the provider is asked; by default its metadata says.
    pub token_endpoint: Option<Url>,
    /// Who asks.
    pub client: ClientSettings,
    /// What the token is for, as the provider calls it.
    pub audience: String,
    /// The `aud` of the issued token.
    pub token_audience: String,
    /// The `resource` parameters (RFC 8707).
    pub resources: Vec<String>,
    /// What the subject's tokens are called in a request.
    pub subject_token_type: TokenType,
    /// Who acts for the subject, where the provider is told by a token.
    pub actor: Option<Actor>,
    /// How the result is checked.
    pub result: ResultCheck,
    /// The second step of an ID-JAG.
    pub authorization_server: Option<AuthorizationServer>,
    /// How the provider is reached.
    pub route: Route,
    /// A digest of everything above and of the secrets: exchanges that agree in it share what is in store. It depends on what
    /// is in files and not on where they are, so that it is the same on every replica.
    pub fingerprint: Fingerprint,
    /// Where replicas share tokens.
    pub shared: Option<Arc<SharedStore>>,
}

impl ExchangeSettings {
    /// Whether a result for this subject could be told to be for it.
    ///
    /// The result names us as its client. Where a profile knows a client that acts as itself by its name standing for both, the
    /// upstream would take such a result for a user's who has the client's name: an identity that nobody has proven.
    pub(crate) fn can_tell(&self, subject: &Subject) -> bool {
        let is_us = || subject.id == format!("{}/{}", self.issuer.name, self.client.id);
        subject.kind != SubjectKind::Client
            || self.result == ResultCheck::Opaque
            || self.issued_profile.tells_clients_of_others()
            || is_us()
    }
}

/// An issuer, as far as an exchange needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromIssuer {
    /// The name in the configuration.
    pub name: IssuerName,
    /// The identifier; `{tenantid}` stands for the subject's tenant.
    pub identifier: String,
    /// What its tokens look like.
    pub profile: Profile,
}

/// The authorization server of the upstream (`draft-ietf-oauth-identity-assertion-authz-grant`).
#[derive(Debug, Clone)]
pub struct AuthorizationServer {
    /// The issuer that it is.
    pub issuer: FromIssuer,
    /// Where it is asked; by default its metadata says.
    pub token_endpoint: Option<Url>,
    /// Who asks there.
    pub client: ClientSettings,
}

/// A token of who acts.
#[derive(Clone)]
pub struct Actor {
    /// The token.
    pub token: Zeroizing<String>,
    /// What it is.
    pub token_type: TokenType,
}

impl fmt::Debug for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Actor({:?}, ..)", self.token_type)
    }
}

/// The types of tokens (RFC 8693 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// An access token.
    #[default]
    AccessToken,
    /// An ID token.
    IdToken,
    /// A JWT that is neither.
    Jwt,
}

impl TokenType {
    /// The URN.
    #[must_use]
    pub const fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

/// How a result is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultCheck {
    /// The issued token is verified like any other: issuer, audience, subject, scopes, times.
    #[default]
    Verified,
    /// Weakened: the issued token cannot be read here. What the response says beside it is checked.
    Opaque,
}

/// Why an exchange cannot be built from its settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetupError {
    /// The client that asks the provider cannot be built.
    #[error("cannot build the HTTP client: {0}")]
    Client(String),
    /// The key signs by no algorithm that providers know.
    #[error(
        "the key is none that can sign: use PEM with an EC key of P-256 or P-384, an RSA key of at least 2048 bits, or an Ed25519 key"
    )]
    Key,
    /// The URL breaks a rule.
    #[error("`{url}` may not be asked: {why}")]
    Url {
        /// The URL.
        url: Box<Url>,
        /// The rule.
        why: &'static str,
    },
    /// Two settings that do not go together, or one that is missing.
    #[error("{0}")]
    Settings(&'static str),
}
