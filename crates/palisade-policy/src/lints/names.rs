//! Names of `@policy` that a GraphQL schema uses and nothing decides.
//!
//! Whatever hangs on such a name is denied to everybody, and nobody meant that: it is an error, not a warning.

use palisade_model::{Action, Target};

use super::Lint;
use crate::{Diagnostic, Policies, Severity, World, engine::Truths};

pub(super) fn lint(policies: &Policies, world: &World) -> Vec<Diagnostic> {
    let names = policies.undecided_names(world);
    let undecided = names.into_iter().map(|target| {
        let place = target.id.split('/').next().unwrap_or_default();
        let message = format!("no policy could ever permit `{}`", target.entity());
        let help = format!(
            "permit `Graphql::Action::\"policy\"` on it for whom it is meant, or take it out of the schema of `{place}`"
        );
        let found = Diagnostic::of(Lint::UndecidedName, format!("the schema of {place}"), message).help(help);
        Diagnostic { severity: Severity::Error, ..found }
    });
    undecided.collect()
}

impl Policies {
    /// Whether any permit is about this action and this known target, whoever asks in whatever context.
    #[must_use]
    pub fn could_permit(&self, action: &Action, target: &Target) -> bool {
        let Some(act) = self.vocabulary().action(action) else { return false };
        let Ok(uid) = self.vocabulary().uid(&target.type_name, &target.id) else { return false };
        let (index, action, target) = (self.engine().index(), act.uid.as_ref(), uid.as_ref());
        let truths = Truths {
            action: &index.actions().truths(action, self.store().ancestors(action)),
            resource: &index.resources().truths(target, self.store().ancestors(target)),
            principal: None,
            context: None,
        };
        !self.engine().near(&truths, 1).is_empty()
    }

    /// The names of `@policy` that the schemas use and that no permit is about.
    #[must_use]
    pub fn undecided_names(&self, world: &World) -> Vec<Target> {
        let action = Action::graphql("policy");
        let graphs = world.resources.iter().filter_map(|resource| Some((&resource.name, resource.graph.as_ref()?)));
        graphs
            .flat_map(|(name, graph)| graph.policies.iter().map(|policy| Target::graphql_policy(name, policy)))
            .filter(|target| !self.could_permit(&action, target))
            .collect()
    }
}
