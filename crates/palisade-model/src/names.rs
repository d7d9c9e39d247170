//! Names and identifiers, each parsed once by the grammar it comes from.

use std::{borrow::Borrow, collections::BTreeSet, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use thiserror::Error;
use uuid::Uuid;

use crate::Timestamp;

/// Why a text is not the name it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not `[a-z][a-z0-9-]{0,62}`.
    #[error(
        "`{0}` is not a name: use a lower-case letter, then up to 62 lower-case letters, digits or hyphens"
    )]
    Name(String),
    /// Not a scope token (RFC 6749 section 3.3).
    #[error(
        "`{0}` is not a scope: use printable ASCII without space, quote or backslash (RFC 6749 section 3.3)"
    )]
    Scope(String),
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

macro_rules! config_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(#[schemars(regex(pattern = r"^[a-z][a-z0-9-]{0,62}$"))] String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_config_name(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Name(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

config_name!(
    /// The name of a static token in the configuration, which records say.
    StaticTokenName
);
config_name!(
    /// The name of an issuer in the configuration; it prefixes the ids of its users, clients, roles and groups.
    IssuerName
);
config_name!(
    /// The name of a protected resource (RFC 9728) in the configuration.
    ResourceName
);
config_name!(
    /// The name of a policy enforcement point in the configuration.
    PepName
);
config_name!(
    /// The name of a token exchange in the configuration.
    ExchangeName
);

text_newtype!(
    /// An issuer identifier as a token's `iss` carries it (RFC 8414 section 2). Compared code point for code point.
    Issuer
);
text_newtype!(
    /// An audience value as a token's `aud` carries it (RFC 7519 section 4.1.3). Compared code point for code point.
    Audience
);
text_newtype!(
    /// An OAuth client identifier (RFC 6749 section 2.2).
    ClientId
);
text_newtype!(
    /// The revision of the snapshot a decision was made with: a hash over everything that can change a decision.
    PolicyRevision
);

macro_rules! from_text {
    ($($name:ident),*) => {
        $(impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        })*
    };
}
from_text!(Issuer, Audience, ClientId, PolicyRevision);

/// One scope token (RFC 6749 section 3.3): `1*( %x21 / %x23-5B / %x5D-7E )`.
// Every decision copies those of its token: a short one takes no memory of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(#[schemars(with = "String")] SmolStr);

/// A set of scopes. Membership is equality of whole tokens, never a substring test.
pub type Scopes = BTreeSet<Scope>;

impl Scope {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed =
            |byte: u8| byte == 0x21 || (0x23..=0x5b).contains(&byte) || (0x5d..=0x7e).contains(&byte);
        if !text.is_empty() && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Scope(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0.into()
    }
}

/// The id of a decision and of its record: a UUID version 7 (RFC 9562), so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecisionId(Uuid);

impl DecisionId {
    /// A new id at `now`; the random part comes from the thread's generator, which the operating system
    /// has seeded.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, now.subsec_nanos());
        Self(Uuid::new_v7(stamp))
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for DecisionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

fn is_config_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && text.len() <= 63
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "files", "mcp-files-2", &"a".repeat(63)] {
            assert!(good.parse::<ResourceName>().is_ok(), "{good}");
        }
        for bad in ["", "2a", "-a", "A", "a_b", "a/b", "a.b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_follow_rfc_6749() {
        for good in ["files:read", "a", "https://h/x", "!"] {
            assert!(good.parse::<Scope>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\"", "a\\", "a\n", "é", "\u{7f}"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn decision_ids_sort_by_time() {
        let early = DecisionId::new(Timestamp::from_unix_seconds(1_700_000_000));
        let late = DecisionId::new(Timestamp::from_unix_seconds(1_700_000_001));
        assert!(early < late);
        assert_eq!(early.to_string().parse::<DecisionId>(), Ok(early));
    }
}
