//! The engine by itself, and questions by themselves, for benchmarks that hold them against Cedar's authorizer.

use cedar_policy_core::{ast::Request, entities::Entities};

use crate::{About, Asking, engine::Engine};

/// The engine without everything around it.
#[derive(Debug)]
pub struct Bare(Engine);

/// A request with its entities, ready to be evaluated.
#[derive(Debug)]
pub struct Ready {
    request: Request,
    entities: Entities,
}

impl Bare {
    /// Builds the engine of a policy set.
    #[must_use]
    pub fn new(policies: &cedar_policy::PolicySet) -> Self {
        Self(Engine::new(policies.policies()))
    }

    /// Whether the policies allow it, how many determine that, and how many were evaluated.
    #[must_use]
    pub fn answer(&self, ready: &Ready) -> (bool, usize, usize) {
        let answer = self.0.answer_alone(&ready.request, &ready.entities);
        (answer.allowed, answer.determining.len(), answer.candidates)
    }
}

impl Ready {
    /// What is evaluated for an item; none where it is no question.
    #[must_use]
    pub fn new(asking: &Asking<'_>, about: &About<'_>) -> Option<Self> {
        let put = asking.put_whole(about).ok()?;
        Some(Self { request: put.request, entities: put.entities.into_owned() })
    }

    /// The same in the form in which Cedar's authorizer takes it.
    #[must_use]
    pub fn for_cedar(&self) -> Option<(cedar_policy::Request, cedar_policy::Entities)> {
        let entities = self.entities.iter().cloned().map(cedar_policy::Entity::from);
        let entities = cedar_policy::Entities::from_entities(entities, None).ok()?;
        Some((self.request.clone().into(), entities))
    }
}
