//! The stronger tokens that a challenge may ask for, in the order in which they are tried, and how many are tried.
//!
//! The search after a call and the list before it both go by a [`Ladder`], so that a list shows what a call would be
//! challenged for, and nothing else.

use palisade_model::{Scope, Scopes, Timestamp};

use super::{FOR_LOGIN, MAX_EVALUATIONS, MAX_SCOPES, Offer, StepUp, with_implied};
use crate::Strength;

/// What a subject's token may be stepped up to.
#[derive(Debug)]
pub(crate) struct Ladder<'a> {
    held: Strength<'a>,
    offer: &'a Offer<'a>,
    /// The scopes on offer that the token does not have.
    missing: Vec<&'a Scope>,
    /// Sets of these, by size and then in configured order. No more than a search can try.
    choices: Vec<Vec<usize>>,
    logins: Vec<Login<'a>>,
}

/// A stronger or fresher authentication.
#[derive(Debug, Clone, Copy)]
struct Login<'a> {
    acr: Option<&'a String>,
    age: Option<std::time::Duration>,
}

impl<'a> Ladder<'a> {
    pub(crate) fn new(held: Strength<'a>, offer: &'a Offer<'a>, now: Timestamp) -> Self {
        let missing: Vec<&Scope> =
            offer.step_up.iter().filter(|scope| !held.scopes.contains(*scope)).collect();
        let classes: Vec<&String> =
            offer.acr_values.iter().filter(|acr| held.acr != Some(acr.as_str())).collect();
        let class_only = classes.iter().map(|acr| Login { acr: Some(acr), age: None });
        let age_only = offer.max_age.iter().map(|age| Login { acr: None, age: Some(*age) });
        let both = classes
            .iter()
            .flat_map(|acr| offer.max_age.iter().map(|age| Login { acr: Some(acr), age: Some(*age) }));
        // A login that is fresh enough is not asked for again.
        let adds = |login: &Login<'_>| {
            let fresh = |age| held.auth_time.is_some_and(|time| time >= now.minus(age));
            login.acr.is_some() || !login.age.is_some_and(fresh)
        };
        let logins = class_only.chain(age_only).chain(both).filter(adds).collect();
        Self { held, offer, choices: choices(missing.len()), missing, logins }
    }

    /// How many sets of scopes there are; more than a search can try count as one more than it can.
    pub(crate) fn choices(&self) -> usize {
        self.choices.len()
    }

    /// How many logins there are.
    pub(crate) fn logins(&self) -> usize {
        self.logins.len()
    }

    /// Up to how many questions a search asks before it leaves scopes to the login. Where all scopes together do not
    /// help, the login is the likelier remedy, and a part of the bound is its own. The choices are tried all the same:
    /// a policy may hold one of the scopes against a token.
    pub(crate) fn bound(&self, all_help: bool) -> usize {
        let offers_login = !self.offer.acr_values.is_empty() || !self.offer.max_age.is_empty();
        if offers_login && !all_help { MAX_EVALUATIONS - FOR_LOGIN } else { MAX_EVALUATIONS }
    }

    /// The token's scopes with all that are on offer.
    pub(crate) fn all(&self) -> Scopes {
        self.with(self.missing.iter().copied())
    }

    /// The token's scopes with those of a choice.
    pub(crate) fn scopes(&self, choice: usize) -> Scopes {
        self.with(self.chosen(choice))
    }

    /// What a challenge says that asks for a choice.
    pub(crate) fn challenge(&self, choice: usize) -> StepUp {
        StepUp::Scopes(self.chosen(choice).cloned().collect())
    }

    /// The token after a login that is as old as it may be.
    pub(crate) fn after(&self, login: usize, now: Timestamp) -> Strength<'a> {
        let Login { acr, age } = self.login(login);
        Strength {
            scopes: self.held.scopes,
            acr: acr.map(String::as_str).or(self.held.acr),
            auth_time: age.map(|age| now.minus(age)).or(self.held.auth_time),
        }
    }

    /// What a challenge says that asks for a login.
    pub(crate) fn login_challenge(&self, login: usize) -> StepUp {
        let Login { acr, age } = self.login(login);
        StepUp::Authentication { acr_values: acr.cloned().into_iter().collect(), max_age: age }
    }

    fn login(&self, login: usize) -> Login<'a> {
        self.logins.get(login).copied().unwrap_or(Login { acr: None, age: None })
    }

    fn chosen(&self, choice: usize) -> impl Iterator<Item = &'a Scope> {
        self.choices.get(choice).into_iter().flatten().filter_map(|at| self.missing.get(*at).copied())
    }

    fn with(&self, more: impl Iterator<Item = &'a Scope>) -> Scopes {
        let wanted = self.held.scopes.iter().chain(more).cloned().collect();
        with_implied(&wanted, self.offer.implies)
    }
}

/// Every choice of up to so many of `of`, by size and then in lexical order, as far as a search can try them.
fn choices(of: usize) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for size in 1..=MAX_SCOPES.min(of) {
        let mut chosen: Vec<usize> = (0..size).collect();
        loop {
            if all.len() == MAX_EVALUATIONS {
                return all;
            }
            all.push(chosen.clone());
            if !advance(&mut chosen, of) {
                break;
            }
        }
    }
    all
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
mod tests {
    use super::*;

    #[test]
    fn every_choice_comes_once_and_in_order_the_smallest_first() {
        let expected: [&[usize]; 14] = [
            &[0],
            &[1],
            &[2],
            &[3],
            &[0, 1],
            &[0, 2],
            &[0, 3],
            &[1, 2],
            &[1, 3],
            &[2, 3],
            &[0, 1, 2],
            &[0, 1, 3],
            &[0, 2, 3],
            &[1, 2, 3],
        ];
        assert_eq!(choices(4), expected);
        assert_eq!((choices(0).len(), choices(1).len()), (0, 1));
        assert_eq!(choices(1_000).len(), MAX_EVALUATIONS);
    }
}
