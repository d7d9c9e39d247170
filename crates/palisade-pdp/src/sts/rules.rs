//! The hard rules of the token service: what no policy can permit.
//!
//! Scopes never widen: a token has none that the one before does not have or, as the configuration says, imply. A token ends no later than those it was issued for. There are at most four actors, and none twice.
//! Where the subject's token says who may act, nobody else may. All functions here are pure.

use std::collections::BTreeSet;

use palisade_model::{Reason, Scope, Scopes, Timestamp};
use palisade_token::{MOST_PASSED, Party};
use serde_json::{Map, Value};

use super::{Fault, MOST_ACTORS, Refused};

/// Who acts from now on.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    /// `<issuer>/<client_id>`.
    pub(super) id: String,
    pub(super) party: Party,
    /// Whether an actor's token has proven it; else it is the client itself.
    pub(super) by_token: bool,
}

/// The actors of the token to be issued, the current one first: as policies know them, and as the token says them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) ids: Vec<String>,
    pub(super) parties: Vec<Party>,
}

fn refused(fault: Fault, detail: &str) -> Refused {
    Refused::new(fault, Reason::ExchangeRefused, detail)
}

/// Whether somebody takes no part yet: `what` is the actor, or the client that asks with the token of another actor.
pub(super) fn takes_no_part(
    what: &str,
    who: &Party,
    subject: &Party,
    before: &[Party],
) -> Result<(), Refused> {
    if before.contains(who) {
        let detail = format!("the {what} is among the actors of the subject token already");
        return Err(refused(Fault::Subject, &detail));
    }
    if who == subject {
        return Err(refused(Fault::Actor, &format!("the {what} is the subject itself")));
    }
    Ok(())
}

/// The chain with one more actor. `subject` is the subject itself, `before` the actors of its token.
pub(super) fn chain(
    actor: &Actor,
    subject: &Party,
    (ids, parties): (&[String], &[Party]),
) -> Result<Chain, Refused> {
    takes_no_part("actor", &actor.party, subject, parties)?;
    if ids.contains(&actor.id) {
        return Err(refused(Fault::Subject, "the actor is among the actors of the subject token already"));
    }
    if ids.len() != parties.len() || ids.len() >= MOST_ACTORS {
        return Err(refused(Fault::Subject, "the token would have more than four actors"));
    }
    Ok(Chain {
        ids: std::iter::once(&actor.id).chain(ids).cloned().collect(),
        parties: std::iter::once(&actor.party).chain(parties).cloned().collect(),
    })
}

/// Whether what is issued can name all tokens that it goes back to.
pub(super) fn few_enough(passed: usize) -> Result<(), Refused> {
    if passed > MOST_PASSED {
        return Err(refused(Fault::Subject, "the authority went through too many tokens"));
    }
    Ok(())
}

/// The scopes to ask the policies about: what is asked for, which the subject's token, with what its scopes imply, and the target
/// must both have.
pub(super) fn scopes(
    asked: Option<&Scopes>,
    held: &Scopes,
    offered: &BTreeSet<Scope>,
) -> Result<Scopes, Refused> {
    let both: Scopes = held.iter().filter(|scope| offered.contains(*scope)).cloned().collect();
    match asked {
        Some(asked) if asked.is_subset(&both) => Ok(asked.clone()),
        Some(_) => Err(refused(
            Fault::Scope,
            "scopes are asked for that the subject token or the target does not have",
        )),
        None if both.is_empty() && !offered.is_empty() => {
            Err(refused(Fault::Scope, "the subject token has no scope of the target"))
        }
        None => Ok(both),
    }
}

/// For how many whole seconds from `issued_at` the token may live: as long as the target says, and no longer than the tokens that
/// it is issued for.
pub(super) fn lifetime(
    target: std::time::Duration,
    issued_at: i64,
    ends: impl IntoIterator<Item = Timestamp>,
) -> Result<u64, Refused> {
    let target = i64::try_from(target.as_secs()).unwrap_or(i64::MAX);
    let left = ends.into_iter().map(|end| end.unix_seconds().saturating_sub(issued_at));
    let shortest = left.fold(target, i64::min);
    u64::try_from(shortest).ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
        Refused::new(Fault::Subject, Reason::TokenExpired, "the tokens end before another could be used")
    })
}

/// `may_act` (RFC 8693 section 4.4) against the actor that is proven: every member must be the actor's, and be one that we can
/// compare. `of` is the issuer of the subject's token, whose actor it is where `may_act` names no other.
pub(super) fn may_act(named: &Value, actor: &Actor, of: &str) -> Result<(), Refused> {
    if !actor.by_token {
        return Err(refused(
            Fault::Actor,
            "the subject token says who may act: that one has to be proven by an `actor_token`",
        ));
    }
    let issuer = actor.party.issuer.as_str();
    let text = |members: &Map<String, Value>, name: &str| {
        members.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    let is_actor = named.as_object().is_some_and(|members| {
        let known = members.keys().all(|name| matches!(name.as_str(), "sub" | "iss"));
        let subject = text(members, "sub").is_some_and(|subject| subject == actor.party.id);
        let given = if members.contains_key("iss") { text(members, "iss") } else { Some(of.to_owned()) };
        known && subject && given.as_deref() == Some(issuer)
    });
    if is_actor { Ok(()) } else { Err(refused(Fault::Actor, "the subject token lets another act")) }
}
