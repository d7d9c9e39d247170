//! What the directives of one type or field ask for.
//!
//! `@requiresScopes(scopes: [["a", "b"], ["c"]])` reads "(a and b) or c", and `@policy` alike. No set at all, or an
//! empty set among them, asks for nothing. All three directives of a place have to hold.

use std::collections::BTreeSet;

use crate::Decisions;

/// Sets of names, of which one has to be held whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alternatives(Vec<BTreeSet<String>>);

/// The rules of one type or field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// `@authenticated`.
    pub authenticated: bool,
    /// `@requiresScopes`.
    pub scopes: Alternatives,
    /// `@policy`.
    pub policies: Alternatives,
}

/// Why something is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nobody is authenticated.
    Unauthenticated,
    /// None of these sets of scopes is held.
    Scopes(Alternatives),
    /// None of these sets of policies is granted.
    Policies(Alternatives),
    /// The decision on the coordinate is not a permit, or there is none.
    Undecided,
    /// Introspection is not granted.
    Introspection,
}

impl Alternatives {
    /// From the sets as written.
    #[must_use]
    pub fn new(sets: Vec<BTreeSet<String>>) -> Self {
        // An empty set is held by everyone, so that the others say nothing.
        if sets.iter().any(BTreeSet::is_empty) { Self::default() } else { Self(sets) }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sets.
    #[must_use]
    pub fn sets(&self) -> &[BTreeSet<String>] {
        &self.0
    }

    /// Every name in them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(String::as_str)
    }

    /// Whether one of the sets is held whole.
    #[must_use]
    pub fn held(&self, held: &BTreeSet<String>) -> bool {
        self.0.is_empty() || self.0.iter().any(|set| set.is_subset(held))
    }
}

impl Rule {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.authenticated && self.scopes.is_empty() && self.policies.is_empty()
    }

    /// What of the rule does not hold, the first thing that would have to change. `scopes_authenticate` where a
    /// scope is worth nothing to who is not authenticated.
    pub(crate) fn unmet(&self, decisions: &Decisions, scopes_authenticate: bool) -> Option<Why> {
        let authenticated = self.authenticated || (scopes_authenticate && !self.scopes.is_empty());
        if authenticated && !decisions.is_authenticated() {
            return Some(Why::Unauthenticated);
        }
        if !self.scopes.held(decisions.held_scopes()) {
            return Some(Why::Scopes(self.scopes.clone()));
        }
        if !self.policies.held(decisions.granted_policies()) {
            return Some(Why::Policies(self.policies.clone()));
        }
        None
    }
}
