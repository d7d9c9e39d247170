//! What was decided on an operation, as the filter needs it.
//!
//! Nothing that was not said is granted. The held scopes come closed: what a scope implies is among them already.

use std::collections::{BTreeSet, HashSet};

use crate::analysis::Ask;

/// The answers to everything that an operation asks for.
#[derive(Debug, Clone, Default)]
pub struct Decisions {
    authenticated: bool,
    scopes: BTreeSet<String>,
    policies: BTreeSet<String>,
    introspection: bool,
    fields: Fields,
}

/// What is known of the coordinates beside the directives' rules.
#[derive(Debug, Clone, Default)]
enum Fields {
    /// Every coordinate was asked about, and these are permitted.
    Permitted(HashSet<Ask>),
    /// Nothing was asked: the directives alone decide.
    #[default]
    DirectivesOnly,
}

impl Decisions {
    /// Nothing is granted; the directives alone decide on fields.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether somebody is authenticated.
    #[must_use]
    pub fn authenticated(self, authenticated: bool) -> Self {
        Self { authenticated, ..self }
    }

    /// The scopes that are held, with all that they imply.
    #[must_use]
    pub fn scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), ..self }
    }

    /// The names of `@policy` that are granted.
    #[must_use]
    pub fn policies<S: Into<String>>(self, policies: impl IntoIterator<Item = S>) -> Self {
        Self { policies: policies.into_iter().map(Into::into).collect(), ..self }
    }

    /// Whether `__schema` and `__type` may be asked.
    #[must_use]
    pub fn introspection(self, introspection: bool) -> Self {
        Self { introspection, ..self }
    }

    /// Every coordinate was asked about, and of them these are permitted.
    #[must_use]
    pub fn fields(self, permitted: impl IntoIterator<Item = Ask>) -> Self {
        Self { fields: Fields::Permitted(permitted.into_iter().collect()), ..self }
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    pub(crate) fn held_scopes(&self) -> &BTreeSet<String> {
        &self.scopes
    }

    pub(crate) fn granted_policies(&self) -> &BTreeSet<String> {
        &self.policies
    }

    pub(crate) fn may_introspect(&self) -> bool {
        self.introspection
    }

    pub(crate) fn permits(&self, ask: &Ask) -> bool {
        match &self.fields {
            Fields::Permitted(permitted) => permitted.contains(ask),
            Fields::DirectivesOnly => true,
        }
    }
}
