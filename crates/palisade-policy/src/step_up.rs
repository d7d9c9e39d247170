//! What a stronger token would have to have for a denied question to be permitted.
//!
//! The answer is never guessed: the same policies are asked again, with more scopes or a stronger authentication, and
//! what turns the denial into a permit is the answer. So a forbid that stands whatever the token has is never
//! stepped over, and nothing is offered that would not help. The search is bounded; past a bound nothing is offered.

mod ladder;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use palisade_model::{Scope, Scopes};

pub(crate) use self::ladder::Ladder;
use crate::{About, Asking, Policies, Query, Strength};

/// The most scopes a step-up asks for.
const MAX_SCOPES: usize = 3;
/// The most questions a search asks.
pub(crate) const MAX_EVALUATIONS: usize = 64;
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
    let subject = policies.prepare(query.subject, query.authority, query.strength);
    policies.ask(&subject, query.circumstances).step_up(&query.about(), offer, budget)
}

impl Asking<'_> {
    /// The same search for an item of this request: see [`step_up`].
    pub fn step_up(&self, about: &About<'_>, offer: &Offer<'_>, budget: impl FnMut() -> bool) -> StepUp {
        if !self.subject().proven || !self.policies().knows_target(about.target) {
            return StepUp::None;
        }
        let ladder = Ladder::new(self.subject().strength(), offer, self.circumstances().now);
        let mut search = Search { asking: self, about, ladder, budget, evaluations: 0, exhausted: false };
        let found = search.scopes().or_else(|| search.authentication());
        match found {
            Some(found) => found,
            None if search.exhausted => StepUp::Exhausted,
            None => StepUp::None,
        }
    }
}

struct Search<'a, B> {
    asking: &'a Asking<'a>,
    about: &'a About<'a>,
    ladder: Ladder<'a>,
    budget: B,
    evaluations: usize,
    exhausted: bool,
}

impl<B: FnMut() -> bool> Search<'_, B> {
    fn scopes(&mut self) -> Option<StepUp> {
        let held = self.asking.subject().strength();
        if self.ladder.choices() == 0 {
            return None;
        }
        let all_help = self.helps(Strength { scopes: &self.ladder.all(), ..held }, MAX_EVALUATIONS)?;
        let bound = self.ladder.bound(all_help);
        for choice in 0..self.ladder.choices() {
            if self.helps(Strength { scopes: &self.ladder.scopes(choice), ..held }, bound)? {
                return Some(self.ladder.challenge(choice));
            }
        }
        None
    }

    fn authentication(&mut self) -> Option<StepUp> {
        for login in 0..self.ladder.logins() {
            // Who logs in because of this challenge comes back with a login that is at most that old.
            let strength = self.ladder.after(login, self.asking.circumstances().now);
            if self.helps(strength, MAX_EVALUATIONS)? {
                return Some(self.ladder.login_challenge(login));
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
        Some(self.asking.what_if(strength, self.about).would_permit())
    }
}

#[cfg(test)]
mod tests;
