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

use crate::{
    IssuerSettings, TokenError, claims,
    claims::{Actor, MAX_ACTORS},
};

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
    pub first: Names,
    /// The tokens that the authority went through since: those of token services, and those that actors have shown. The
    /// oldest first.
    pub via: Vec<Passed>,
    /// The token itself.
    pub own: Passed,
}

impl Provenance {
    /// The tokens that the authority went through after the first, this one included.
    pub fn since_first(&self) -> impl Iterator<Item = &Passed> {
        let own = Some(&self.own).filter(|own| own.issuer != self.subject.issuer);
        self.via.iter().chain(own)
    }

    /// The same with the first.
    #[must_use]
    pub fn all(&self) -> Vec<Passed> {
        let first = Passed { issuer: self.subject.issuer.clone(), names: self.first.clone() };
        std::iter::once(first).chain(self.since_first().cloned()).collect()
    }
}

/// A token of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The issuer's identifier.
    pub issuer: String,
    /// What the issuer's list may name it by.
    pub names: Names,
}

/// What a list of revocations may name a token by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// When it was issued.
    pub issued: Option<Timestamp>,
    /// `jti`, or `sha256:<hex>` where there is none.
    pub id: Option<String>,
    /// `sid`.
    pub session: Option<String>,
    /// The client that it was issued to, as its issuer calls it.
    pub client: Option<String>,
}

/// The claim of profile `palisade` that says of which token the authority is: that which the subject's issuer issued, which
/// every other goes back to.
pub const FIRST_TOKEN: &str = "sub_token";
/// The claim of profile `palisade` with the tokens that the authority went through since.
pub const VIA: &str = "via";
/// How many these may be: for each actor one of a token service, and its own with what that goes back to.
pub const MOST_PASSED: usize = 3 * MAX_ACTORS;

impl Names {
    /// The value of [`FIRST_TOKEN`].
    #[must_use]
    pub fn to_claim(&self) -> Value {
        Value::Object(self.members())
    }

    fn members(&self) -> Map<String, Value> {
        let Self { issued, id, session, client } = self;
        let mut members = Map::new();
        // Rounded down: that can only make it older.
        issued.map(|issued| members.insert("iat".to_owned(), json!(issued.unix_seconds())));
        for (name, text) in [("jti", id), ("sid", session), ("client_id", client)] {
            text.as_ref().map(|text| members.insert(name.to_owned(), json!(text)));
        }
        members
    }

    fn of_members(members: &Map<String, Value>) -> Result<Self, TokenError> {
        Ok(Self {
            issued: claims::time(members, "iat")?,
            id: claims::name(members, "jti")?,
            session: claims::name(members, "sid")?,
            client: claims::name(members, "client_id")?,
        })
    }

    /// Reads it, where it is there.
    pub(crate) fn of_claim(members: &Map<String, Value>) -> Result<Option<Self>, TokenError> {
        match members.get(FIRST_TOKEN) {
            None => Ok(None),
            Some(Value::Object(first)) => Self::of_members(first).map(Some),
            Some(_) => Err(TokenError::claims("`sub_token` is no object")),
        }
    }
}

impl Passed {
    /// The value of [`VIA`].
    #[must_use]
    pub fn to_claim(via: &[Self]) -> Value {
        let members = |passed: &Self| {
            let mut members = passed.names.members();
            members.insert("iss".to_owned(), json!(passed.issuer));
            Value::Object(members)
        };
        via.iter().map(members).collect()
    }

    /// Reads it; nothing where it is not there.
    pub(crate) fn of_claim(members: &Map<String, Value>) -> Result<Vec<Self>, TokenError> {
        let wrong = || TokenError::claims("`via` is no list of a few tokens with their issuers");
        let list = match members.get(VIA) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) if list.len() <= MOST_PASSED => list,
            Some(_) => return Err(wrong()),
        };
        let read = |passed: &Value| {
            let members = passed.as_object().ok_or_else(wrong)?;
            let issuer = claims::name(members, "iss")?.ok_or_else(wrong)?;
            Ok(Self { issuer, names: Names::of_members(members)? })
        };
        list.iter().map(read).collect()
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
        if party.issuer == self.own.0 {
            return Err(TokenError::claims("the token is about a subject of its own issuer, which has none"));
        }
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

    /// Whoever has issued a token that the authority went through, where it is configured: where it is not, nobody here has a
    /// list that could name the token.
    pub(crate) fn passed(&self, passed: &Passed) -> Option<Source<'a>> {
        let (own, source) = self.own;
        if passed.issuer == own { Some(source) } else { (self.others)(&passed.issuer) }
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
