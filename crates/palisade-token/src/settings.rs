//! What an issuer is configured with.
//!
//! Plain data that the server fills from the configuration file. Nothing here is fetched, and nothing here decides.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use palisade_model::{Issuer, IssuerName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

use crate::{Profile, Revocations};

/// One issuer of access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Its name in the configuration; it prefixes the ids of its users, clients, roles, groups and tenants.
    pub name: IssuerName,
    /// Its identifier, compared with `iss` code point for code point. For several tenants of Entra it holds
    /// `{tenantid}`, once: `https://login.microsoftonline.com/{tenantid}/v2.0`.
    pub issuer: Issuer,
    /// How its tokens are read.
    pub profile: Profile,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The algorithms that are accepted; empty: every one that is supported.
    pub algorithms: Vec<Algorithm>,
    /// How far its clock and ours may be apart.
    pub leeway: Duration,
    /// How long one HTTP request to it may take.
    pub timeout: Duration,
    /// How long its tokens may live, `exp - iat`.
    pub max_lifetime: Duration,
    /// The claim that holds a user's id, where it is not `sub` (Entra: `oid` is the same in every application).
    pub subject_claim: Option<String>,
    /// The tenants that are accepted, as GUIDs in lower case, where `issuer` holds `{tenantid}`.
    pub tenants: Vec<String>,
    /// Which claims hold roles, groups, tenant and tags.
    pub claims: ClaimMap,
    /// What to do with a token that says its groups are elsewhere.
    pub groups_overage: GroupsOverage,
    /// How it is reached.
    pub network: Network,
    /// For profile `palisade`: the issuers whose subjects its tokens may speak for, by name. It speaks for nobody else's.
    pub origins: Vec<IssuerName>,
    /// What its tokens are revoked for before their end.
    pub revocations: Option<Arc<Revocations>>,
}

impl IssuerSettings {
    /// An issuer with the defaults of the configuration: profile `rfc9068`, keys by discovery, every supported
    /// algorithm, a leeway of 30 s, a timeout of 5 s, tokens of at most 24 h.
    #[must_use]
    pub fn new(name: IssuerName, issuer: Issuer) -> Self {
        Self {
            name,
            issuer,
            profile: Profile::default(),
            keys: KeySource::default(),
            algorithms: Vec::new(),
            leeway: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            max_lifetime: Duration::from_secs(24 * 60 * 60),
            subject_claim: None,
            tenants: Vec::new(),
            claims: ClaimMap::default(),
            groups_overage: GroupsOverage::default(),
            network: Network::default(),
            origins: Vec::new(),
            revocations: None,
        }
    }
}

/// Where the keys of an issuer come from. A key set is a JWK Set document (RFC 7517 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeySource {
    /// The issuer's metadata (RFC 8414, OpenID Connect Discovery) names the key set.
    #[default]
    Discovery,
    /// A key set at a fixed URL.
    Uri(Url),
    /// A key set in a file, read again when its content changes.
    File(PathBuf),
    /// A key set given as text; it never changes.
    Inline(String),
}

/// How an issuer is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Whether it may be on a private network: private addresses, addresses as hosts, and `http` on loopback.
    pub private: bool,
    /// A file with certificates (PEM) of authorities to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// The egress proxy to go through; it then decides which addresses are reached. Without one no proxy is used,
    /// whatever the environment says.
    pub proxy: Option<Url>,
}

/// Which claims hold what. A list that is empty stands for the profile's own claims, see [`Profile`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimMap {
    /// Claims that hold roles.
    pub roles: Vec<ClaimPath>,
    /// Claims that hold groups.
    pub groups: Vec<ClaimPath>,
    /// The claim that holds the tenant.
    pub tenant: Option<ClaimPath>,
    /// Claims that policies may read as tags of the principal.
    pub tags: Vec<ClaimPath>,
}

/// A claim: its name, or a JSON pointer (RFC 6901) if the text begins with `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimPath(String);

/// Why a text names no claim.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` names no claim: use a claim's name, or a JSON pointer that begins with / (RFC 6901)")]
pub struct ClaimPathError(String);

impl ClaimPath {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value at this path, if there is one.
    pub(crate) fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let Some(pointer) = self.0.strip_prefix('/') else { return claims.get(&self.0) };
        let mut steps = pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
        let first = claims.get(&steps.next()?)?;
        steps.try_fold(first, |value, step| match value {
            Value::Object(members) => members.get(&step),
            Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

impl FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<Self, ClaimPathError> {
        let escapes_hold = |pointer: &str| {
            pointer.split('~').skip(1).all(|rest| rest.starts_with('0') || rest.starts_with('1'))
        };
        let good = !text.is_empty() && (!text.starts_with('/') || escapes_hold(text));
        if good { Ok(Self(text.to_owned())) } else { Err(ClaimPathError(text.to_owned())) }
    }
}

impl TryFrom<String> for ClaimPath {
    type Error = ClaimPathError;

    fn try_from(text: String) -> Result<Self, ClaimPathError> {
        text.parse()
    }
}

impl From<ClaimPath> for String {
    fn from(path: ClaimPath) -> Self {
        path.0
    }
}

/// What to do with a token that says its groups are elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupsOverage {
    /// Refuse it: a policy that forbids by group would not see the group.
    #[default]
    Refuse,
    /// Take it, and tell policies that the groups are not complete.
    Ignore,
}

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037). All are asymmetric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// ECDSA with P-384 and SHA-384.
    ES384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// Ed25519. Its newer name, `Ed25519` (RFC 9864), is read as the same algorithm.
    #[serde(alias = "Ed25519")]
    EdDSA,
}

impl Algorithm {
    /// Every supported algorithm.
    pub const ALL: &[Self] = &[
        Self::ES256,
        Self::ES384,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::EdDSA,
    ];

    /// The name in JOSE headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of an `alg` member, compared case by case (RFC 7515 section 4.1.1).
    pub(crate) fn from_jose(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDSA);
        }
        Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == name)
    }

    pub(crate) const fn is_rsa(self) -> bool {
        match self {
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => true,
            Self::ES256 | Self::ES384 | Self::EdDSA => false,
        }
    }

    pub(crate) const fn for_signatures(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::ES384 => jsonwebtoken::Algorithm::ES384,
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::RS384 => jsonwebtoken::Algorithm::RS384,
            Self::RS512 => jsonwebtoken::Algorithm::RS512,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
            Self::PS384 => jsonwebtoken::Algorithm::PS384,
            Self::PS512 => jsonwebtoken::Algorithm::PS512,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn algorithms_have_their_jose_names() {
        for algorithm in Algorithm::ALL {
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.as_str());
            assert_eq!(Algorithm::from_jose(algorithm.as_str()), Some(*algorithm));
        }
        assert_eq!(Algorithm::from_jose("Ed25519"), Some(Algorithm::EdDSA));
        for unsupported in ["none", "None", "HS256", "rs256", "ES256K", "ES512", "Ed448", ""] {
            assert_eq!(Algorithm::from_jose(unsupported), None, "{unsupported}");
        }
    }

    #[test]
    fn a_path_is_a_name_or_a_pointer() {
        let Value::Object(claims) = json!({
            "roles": ["a"],
            "https://example.com/roles": "b",
            "realm_access": {"roles": ["c"]},
            "a/b": {"~": 1}
        }) else {
            panic!("an object")
        };
        let at = |path: &str| path.parse::<ClaimPath>().unwrap().find(&claims).cloned();
        assert_eq!(at("roles"), Some(json!(["a"])));
        assert_eq!(at("https://example.com/roles"), Some(json!("b")));
        assert_eq!(at("/realm_access/roles"), Some(json!(["c"])));
        assert_eq!(at("/roles/0"), Some(json!("a")));
        assert_eq!(at("/a~1b/~0"), Some(json!(1)));
        assert_eq!(at("realm_access.roles"), None);
        assert_eq!(at("/roles/1"), None);
        for bad in ["", "/a~2", "/a~"] {
            assert!(bad.parse::<ClaimPath>().is_err(), "{bad}");
        }
    }
}
