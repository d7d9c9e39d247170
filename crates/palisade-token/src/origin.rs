//! Whose identities a token names: its own issuer's, or those of issuers that it speaks for.
//!
//! A token of our own token service (profile `palisade`) is about subjects and actors of others. It names each by the
//! identifier of the issuer that the identity comes from: the subject in `sub_id` (RFC 9493 section 3.2.3), an actor in
//! its `iss`. What is read here is who that is in this configuration, so that `corp/alice` is `corp/alice` however many
//! services her authority went through, and nobody becomes hers by being renamed.
//!
//! INVARIANT: an identity is of the token's issuer, or of an issuer that the configuration lets it speak for. Everything else
//! is refused.

use serde_json::{Map, Value};

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
