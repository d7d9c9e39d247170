//! What a stronger token would have to have for a denied question to be permitted.
//!
//! The answer is never guessed: the same policies are asked again, with more scopes or a stronger authentication, and
//! what turns the denial into a permit is the answer. So a forbid that stands whatever the token has is never
//! stepped over, and nothing is offered that would not help. The search is bounded; past a bound nothing is offered.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use palisade_model::{Scope, Scopes};

use crate::{Policies, Query, Strength};

/// The most scopes a step-up asks for.
const MAX_SCOPES: usize = 3;
/// The most questions a search asks.
const MAX_EVALUATIONS: usize = 64;
/// How many of these a search leaves to the login where scopes are not likely to help.
const FOR_LOGIN: usize = 16;

/// What the configuration lets a step-up ask for.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Scopes, weakest first.
    pub step_up: &'a [Scope],
    /// What a scope brings with it.
    pub implies: &'a BTreeMap<Scope, Vec<Scope>>,
    /// Authentication context classes, weakest first.
    pub acr_values: &'a [String],
    /// Ages of an authentication, laxest first.
    pub max_age: &'a [Duration],
}

/// What would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepUp {
    /// Nothing that can be offered.
    None,
    /// These scopes, in configured order (RFC 6750 section 3.1, `insufficient_scope`).
    Scopes(Vec<Scope>),
    /// A stronger or fresher authentication (RFC 9470 section 3).
    Authentication {
        /// The class, if a stronger one is needed.
        acr_values: Vec<String>,
        /// The age, if a fresher one is needed.
        max_age: Option<Duration>,
    },
    /// A bound was met before the search was through.
    Exhausted,
}

/// Scopes with all they imply, however far.
#[must_use]
pub fn with_implied(scopes: &Scopes, implies: &BTreeMap<Scope, Vec<Scope>>) -> Scopes {
    let mut all = BTreeSet::new();
    let mut next: Vec<&Scope> = scopes.iter().collect();
    while let Some(scope) = next.pop() {
        if all.insert(scope.clone()) {
            next.extend(implies.get(scope).into_iter().flatten());
        }
    }
    all
}

/// Searches for the least that would turn the denial of `query` into a permit: sets of scopes by size and then in
/// configured order, then a stronger class, then a fresher login, then both. `budget` is asked before every question
/// and says whether there is time left. Nothing is offered without a token, or for a target that nothing lists.
pub fn step_up(
    policies: &Policies,
    query: &Query<'_>,
    offer: &Offer<'_>,
    budget: impl FnMut() -> bool,
) -> StepUp {
    if query.authority.is_none() || !policies.knows_target(query.target) {
        return StepUp::None;
    }
    let mut search = Search { policies, query, budget, evaluations: 0, exhausted: false };
    let found = search.scopes(offer).or_else(|| search.authentication(offer));
    match found {
        Some(found) => found,
        None if search.exhausted => StepUp::Exhausted,
        None => StepUp::None,
    }
}

struct Search<'a, B> {
    policies: &'a Policies,
    query: &'a Query<'a>,
    budget: B,
    evaluations: usize,
    exhausted: bool,
}

impl<B: FnMut() -> bool> Search<'_, B> {
    fn scopes(&mut self, offer: &Offer<'_>) -> Option<StepUp> {
        let held = self.query.strength.scopes;
        let candidates: Vec<&Scope> = offer.step_up.iter().filter(|scope| !held.contains(*scope)).collect();
        if candidates.is_empty() {
            return None;
        }
        // Where all of them together do not help, the login is the likelier remedy, and a part of the bound is its own.
        // The choices are tried all the same: a policy may hold one of the scopes against a token.
        let all = held.iter().chain(candidates.iter().copied()).cloned().collect();
        let all = with_implied(&all, offer.implies);
        let all_help = self.helps(Strength { scopes: &all, ..self.query.strength }, MAX_EVALUATIONS)?;
        let offers_login = !offer.acr_values.is_empty() || !offer.max_age.is_empty();
        let reserved = if offers_login && !all_help { FOR_LOGIN } else { 0 };
        for size in 1..=MAX_SCOPES.min(candidates.len()) {
            let mut chosen: Vec<usize> = (0..size).collect();
            loop {
                let set: Vec<&Scope> = chosen.iter().filter_map(|at| candidates.get(*at).copied()).collect();
                let wanted = held.iter().chain(set.iter().copied()).cloned().collect();
                let scopes = with_implied(&wanted, offer.implies);
                let strength = Strength { scopes: &scopes, ..self.query.strength };
                match self.helps(strength, MAX_EVALUATIONS - reserved) {
                    Some(true) => return Some(StepUp::Scopes(set.into_iter().cloned().collect())),
                    Some(false) => {}
                    None => return None,
                }
                if !advance(&mut chosen, candidates.len()) {
                    break;
                }
            }
        }
        None
    }

    fn authentication(&mut self, offer: &Offer<'_>) -> Option<StepUp> {
        let held = self.query.strength;
        let classes: Vec<&String> =
            offer.acr_values.iter().filter(|acr| held.acr != Some(acr.as_str())).collect();
        let class_only = classes.iter().map(|acr| (Some(*acr), None));
        let age_only = offer.max_age.iter().map(|age| (None, Some(*age)));
        let both = classes.iter().flat_map(|acr| offer.max_age.iter().map(|age| (Some(*acr), Some(*age))));
        for (acr, age) in class_only.chain(age_only).chain(both) {
            // Who logs in because of this challenge comes back with a login that is at most `age` old.
            let oldest = age.map(|age| self.query.circumstances.now.minus(age));
            if oldest.is_some_and(|oldest| acr.is_none() && held.auth_time.is_some_and(|time| time >= oldest))
            {
                continue;
            }
            let strength = Strength {
                scopes: held.scopes,
                acr: acr.map(String::as_str).or(held.acr),
                auth_time: oldest.or(held.auth_time),
            };
            if self.helps(strength, MAX_EVALUATIONS)? {
                let acr_values = acr.cloned().into_iter().collect();
                return Some(StepUp::Authentication { acr_values, max_age: age });
            }
        }
        None
    }

    /// Whether the stronger token would be let in; nothing past a bound.
    fn helps(&mut self, strength: Strength<'_>, bound: usize) -> Option<bool> {
        if self.evaluations >= bound || !(self.budget)() {
            self.exhausted = true;
            return None;
        }
        self.evaluations += 1;
        Some(self.policies.what_if(&Query { strength, ..*self.query }).would_permit())
    }
}

/// The next choice of the same size, in lexical order; false after the last.
fn advance(chosen: &mut [usize], of: usize) -> bool {
    let size = chosen.len();
    let movable = chosen.iter().enumerate().rev().find(|(at, index)| **index + size < of + *at);
    let Some((at, next)) = movable.map(|(at, index)| (at, *index + 1)) else { return false };
    for (step, index) in chosen.iter_mut().skip(at).enumerate() {
        *index = next + step;
    }
    true
}

#[cfg(test)]
mod tests;
