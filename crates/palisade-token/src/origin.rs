//! Whose identities a token names: its own issuer's, or those of issuers that it speaks for.
//!
//! A token of our own token service (profile `palisade`) is about subjects and actors of others. It names each by the
//! identifier of the issuer that the identity comes from: the subject in `sub_id` (RFC 9493 section 3.2.3), an actor in
//! its `iss`. What is read here is who that is in this configuration, so that `corp/alice` is `corp/alice` however many
//! services her authority went through, and nobody becomes hers by being renamed.
//!
//! INVARIANT: an identity is of the token's issuer, or of an issuer that the configuration lets it speak for. Everything else
//! is refused.

use palisade_model::Timestamp;
use serde_json::{Map, Value, json};

use crate::{IssuerSettings, TokenError, claims, claims::Actor};

/// The identity of a subject or an actor where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    /// The identifier of its issuer.
    pub issuer: String,
    /// Its id there: what stands behind the issuer's name, and the tenant, in the policies' ids.
    pub id: String,
}

/// Where those a token names come from, and what its successor must keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The subject.
    pub subject: Party,
    /// The actors, the current one first.
    pub actors: Vec<Party>,
    /// `may_act`, as it came: who may become the actor (RFC 8693 section 4.4).
    pub may_act: Option<Value>,
    /// `cnf`, as it came: the key that the token is bound to (RFC 7800).
    pub confirmation: Option<Value>,
    /// The token by which its own issuer spoke for the subject.
    pub first: FirstToken,
}

/// The token that a subject's issuer issued, which every other goes back to: what a list of revocations may name it by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FirstToken {
    /// When it was issued.
    pub issued: Option<Timestamp>,
    /// `jti`, or `sha256:<hex>` where there is none.
    pub id: Option<String>,
    /// `sid`.
    pub session: Option<String>,
    /// The client that it was issued to, as its issuer calls it.
    pub client: Option<String>,
}

/// The claim of profile `palisade` that says of which token the authority is.
pub const FIRST_TOKEN: &str = "sub_token";

impl FirstToken {
    /// The value of [`FIRST_TOKEN`].
    #[must_use]
    pub fn to_claim(&self) -> Value {
        let Self { issued, id, session, client } = self;
        let mut members = Map::new();
        // Rounded down: that can only make it older.
        issued.map(|issued| members.insert("iat".to_owned(), json!(issued.unix_seconds())));
        for (name, text) in [("jti", id), ("sid", session), ("client_id", client)] {
            text.as_ref().map(|text| members.insert(name.to_owned(), json!(text)));
        }
        Value::Object(members)
    }

    /// Reads it, where it is there.
    pub(crate) fn of_claim(members: &Map<String, Value>) -> Result<Option<Self>, TokenError> {
        match members.get(FIRST_TOKEN) {
            None => Ok(None),
            Some(Value::Object(first)) => Ok(Some(Self {
                issued: claims::time(first, "iat")?,
                id: claims::name(first, "jti")?,
                session: claims::name(first, "sid")?,
                client: claims::name(first, "client_id")?,
            })),
            Some(_) => Err(TokenError::claims("`sub_token` is no object")),
        }
    }
}

/// A configured issuer, and the tenant of it that is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) issuer: &'a IssuerSettings,
    pub(crate) tenant: Option<&'a str>,
}

/// The issuers that identities of a token may come from.
pub(crate) struct Origins<'a> {
    /// The token's own, with its `iss`.
    pub(crate) own: (&'a str, Source<'a>),
    /// Every other that is configured, by its identifier.
    pub(crate) others: &'a dyn Fn(&str) -> Option<Source<'a>>,
}

impl Source<'_> {
    /// How lists and ids of policies call somebody of this issuer, behind its name.
    pub(crate) fn local(&self, id: &str) -> String {
        self.tenant.map_or_else(|| id.to_owned(), |tenant| format!("{tenant}/{id}"))
    }
}

impl<'a> Origins<'a> {
    /// An identity of the token's own issuer.
    pub(crate) fn of_own(&self, id: String) -> (Party, Source<'a>) {
        let (identifier, source) = self.own;
        (Party { issuer: identifier.to_owned(), id }, source)
    }

    /// The subject that `sub_id` names. It is never the token's own issuer's: that one has no subjects.
    pub(crate) fn subject(&self, members: &Map<String, Value>) -> Result<(Party, Source<'a>), TokenError> {
        let Some(Value::Object(subject)) = members.get("sub_id") else {
            return Err(TokenError::claims("`sub_id` is missing or no object"));
        };
        let text = |name: &str| {
            claims::name(subject, name)?
                .ok_or_else(|| TokenError::claims(format!("`sub_id` has no `{name}`")))
        };
        if text("format")? != "iss_sub" || subject.len() != 3 {
            return Err(TokenError::claims("`sub_id` is not of the format `iss_sub`"));
        }
        let party = Party { issuer: text("iss")?, id: text("sub")? };
        let source = self.other(&party.issuer)?;
        Ok((party, source))
    }

    /// An actor. One that names no issuer is the token's own.
    pub(crate) fn actor(&self, actor: &Actor) -> Result<(Party, Source<'a>), TokenError> {
        let (own, _) = self.own;
        match actor.issuer.as_deref().filter(|issuer| *issuer != own) {
            None => Ok(self.of_own(actor.subject.clone())),
            Some(issuer) => {
                let source = self.other(issuer)?;
                Ok((Party { issuer: issuer.to_owned(), id: actor.subject.clone() }, source))
            }
        }
    }

    /// Another issuer that the token's own may speak for.
    fn other(&self, identifier: &str) -> Result<Source<'a>, TokenError> {
        let (_, own) = self.own;
        let found = (self.others)(identifier);
        found.filter(|source| own.issuer.origins.contains(&source.issuer.name)).ok_or_else(|| {
            TokenError::claims("the token speaks for an issuer that its own may not speak for")
        })
    }
}
