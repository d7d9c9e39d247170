//! The registered claims, typed strictly (RFC 7519 section 4.1, RFC 9068 section 2.2, RFC 8693 section 4.1).
//!
//! A claim that is there has its type, or the token is refused: a wrong type is never read as an absent claim. The times
//! are only read here; they are compared on every use, in `verify`.

use std::{collections::BTreeSet, time::Duration};

use palisade_model::{Audience, Reason, Timestamp};
use serde_json::{Map, Value};

use crate::{Profile, TokenError};

/// The latest time that is taken for one: 9999-12-31T23:59:59Z.
const LATEST: i64 = 253_402_300_799;

/// The longest subject, client id, role, group or tag.
const MAX_TEXT: usize = 256;

/// How many actors a chain may have.
pub(crate) const MAX_ACTORS: usize = 5;

/// The registered claims of a token whose signature holds.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) subject: String,
    pub(crate) audience: BTreeSet<Audience>,
    pub(crate) times: Times,
    pub(crate) client: Option<String>,
    /// The actors, the current one first.
    pub(crate) actors: Vec<Actor>,
    pub(crate) id: Option<String>,
    /// The session at the provider (`sid`).
    pub(crate) session: Option<String>,
    pub(crate) acr: Option<String>,
    pub(crate) amr: BTreeSet<String>,
    pub(crate) auth_time: Option<Timestamp>,
    /// What key the token is bound to (`cnf`, RFC 7800).
    pub(crate) confirmation: Option<Value>,
    /// Who may become its actor (`may_act`, RFC 8693 section 4.4).
    pub(crate) may_act: Option<Value>,
}

/// An actor of the `act` chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// Its `iss`, where it is there.
    pub(crate) issuer: Option<String>,
    pub(crate) subject: String,
}

/// When a token is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) expires: Timestamp,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) issued: Option<Timestamp>,
}

/// Reads the registered claims. `issuer` is the `iss` that the token was routed by.
pub(crate) fn claims(
    members: &Map<String, Value>,
    profile: Profile,
    issuer: &str,
) -> Result<Claims, TokenError> {
    if let Some(name) = profile.required().iter().find(|name| !members.contains_key(**name)) {
        return Err(TokenError::claims(format!("`{name}` is missing")));
    }
    let client = profile.client_claims().iter().find(|name| members.contains_key(**name));
    Ok(Claims {
        subject: name(members, "sub")?.ok_or_else(|| missing("sub"))?,
        audience: audience(members)?,
        times: Times {
            expires: time(members, "exp")?.ok_or_else(|| missing("exp"))?,
            not_before: time(members, "nbf")?,
            issued: time(members, "iat")?,
        },
        client: client.map_or(Ok(None), |claim| name(members, claim))?,
        actors: actors(members.get("act"), (profile != Profile::Palisade).then_some(issuer))?,
        id: name(members, "jti")?,
        session: name(members, "sid")?,
        acr: name(members, "acr")?,
        amr: members.get("amr").map_or(Ok(BTreeSet::new()), |value| list("amr", value))?,
        auth_time: time(members, "auth_time")?,
        confirmation: members.get("cnf").cloned(),
        may_act: members.get("may_act").cloned(),
    })
}

impl Times {
    /// Compares the times with `now`. At `leeway` 0 a token ends at the very second of its `exp`
    /// (RFC 7519 section 4.1.4: "on or after" it must not be accepted).
    pub(crate) fn check(
        &self,
        now: Timestamp,
        leeway: Duration,
        max_lifetime: Duration,
    ) -> Result<(), TokenError> {
        if now >= self.expires.plus(leeway) {
            return Err(TokenError::new(Reason::TokenExpired, "the token is past its `exp`"));
        }
        let latest = now.plus(leeway);
        if self.not_before.is_some_and(|not_before| not_before > latest) {
            return Err(TokenError::new(Reason::TokenNotYetValid, "the token is before its `nbf`"));
        }
        if self.issued.is_some_and(|issued| issued > latest) {
            return Err(TokenError::new(Reason::TokenNotYetValid, "the token's `iat` is in the future"));
        }
        if self.issued.is_some_and(|issued| issued > self.expires) {
            return Err(TokenError::claims("`iat` is after `exp`"));
        }
        if self.expires.since(self.issued.unwrap_or(now)) > max_lifetime {
            return Err(TokenError::new(Reason::TokenLifetime, "the token lives longer than `max_lifetime`"));
        }
        Ok(())
    }
}

/// `iss`, a string: an array of issuers would be compared by any match.
pub(crate) fn issuer(members: &Map<String, Value>) -> Result<&str, TokenError> {
    members
        .get("iss")
        .ok_or_else(|| missing("iss"))?
        .as_str()
        .ok_or_else(|| TokenError::claims("`iss` is not a string"))
}

/// A claim that names something: not empty, at most 256 characters, no control characters.
pub(crate) fn name(members: &Map<String, Value>, claim: &str) -> Result<Option<String>, TokenError> {
    let Some(value) = members.get(claim) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| TokenError::claims(format!("`{claim}` is not a string")))?;
    checked(claim, text).map(Some)
}

/// A claim that is a string or an array of strings, each of which names something.
pub(crate) fn list(claim: &str, value: &Value) -> Result<BTreeSet<String>, TokenError> {
    let of_wrong_type =
        || TokenError::claims(format!("`{claim}` is neither a string nor an array of strings"));
    match value {
        Value::String(text) => Ok(BTreeSet::from([checked(claim, text)?])),
        Value::Array(elements) => elements
            .iter()
            .map(|element| element.as_str().ok_or_else(of_wrong_type).and_then(|text| checked(claim, text)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(of_wrong_type()),
    }
}

fn checked(claim: &str, text: &str) -> Result<String, TokenError> {
    let good = !text.is_empty() && text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
    if good {
        Ok(text.to_owned())
    } else {
        Err(TokenError::claims(format!(
            "`{claim}` is empty, longer than {MAX_TEXT} characters or holds control characters"
        )))
    }
}

fn missing(claim: &str) -> TokenError {
    TokenError::claims(format!("`{claim}` is missing"))
}

fn audience(members: &Map<String, Value>) -> Result<BTreeSet<Audience>, TokenError> {
    let value = members.get("aud").ok_or_else(|| missing("aud"))?;
    let audience: BTreeSet<Audience> = match value {
        Value::String(one) => BTreeSet::from([Audience::from(one.as_str())]),
        Value::Array(many) => many
            .iter()
            .map(|one| one.as_str().map(Audience::from))
            .collect::<Option<_>>()
            .ok_or_else(|| TokenError::claims("an entry of `aud` is not a string"))?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return Err(TokenError::claims("`aud` is neither a string nor an array of strings"));
        }
    };
    if audience.is_empty() { Err(TokenError::claims("`aud` is empty")) } else { Ok(audience) }
}

/// A `NumericDate` (RFC 7519 section 2): seconds since the epoch, perhaps with a fraction, from 1970 to 9999.
pub(crate) fn time(members: &Map<String, Value>, claim: &str) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = members.get(claim) else { return Ok(None) };
    let Value::Number(number) = value else {
        return Err(TokenError::claims(format!("`{claim}` is not a number")));
    };
    let whole =
        number.as_i64().filter(|seconds| (0..=LATEST).contains(seconds)).map(Timestamp::from_unix_seconds);
    let time = whole.or_else(|| number.as_f64().filter(|_| number.is_f64()).and_then(fractional));
    time.map(Some).ok_or_else(|| TokenError::claims(format!("`{claim}` is not a time from 1970 to 9999")))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the value is checked to lie between 0 and the year 9999, whose microseconds fit 63 bits"
)]
fn fractional(seconds: f64) -> Option<Timestamp> {
    (0.0..=LATEST as f64).contains(&seconds).then(|| Timestamp::from_unix_micros((seconds * 1e6) as i64))
}

/// The `act` chain, the current actor first. Where all actors get ids of one issuer, that is `only`: an actor of another
/// would get an id of this one, so its `iss`, where it is there, must be it.
fn actors(outermost: Option<&Value>, only: Option<&str>) -> Result<Vec<Actor>, TokenError> {
    let mut actors = Vec::new();
    let mut next = outermost;
    while let Some(actor) = next {
        if actors.len() == MAX_ACTORS {
            return Err(TokenError::claims(format!("`act` nests deeper than {MAX_ACTORS} actors")));
        }
        let Value::Object(members) = actor else { return Err(TokenError::claims("`act` is not an object")) };
        let issuer = members.get("iss").map(|given| given.as_str().map(str::to_owned));
        let foreign = |given: &Option<String>| only.is_some_and(|only| given.as_deref() != Some(only));
        if issuer.as_ref().is_some_and(foreign) {
            return Err(TokenError::claims("an actor's `iss` is not the token's"));
        }
        let issuer = match issuer {
            Some(None) => return Err(TokenError::claims("an actor's `iss` is not a string")),
            Some(given) => given,
            None => None,
        };
        let subject = name(members, "sub")?.ok_or_else(|| TokenError::claims("an actor has no `sub`"))?;
        actors.push(Actor { issuer, subject });
        next = members.get("act");
    }
    Ok(actors)
}
