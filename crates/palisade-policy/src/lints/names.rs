//! Names of `@policy` that a GraphQL schema uses and nothing decides.
//!
//! Whatever hangs on such a name is denied to everybody, and nobody meant that: it is an error, not a warning.

use cedar_policy_core::{
    ast::{Context, EntityUID, EntityUIDEntry, Expr, ExprKind, Literal, Policy, Request, ValueKind, Var},
    entities::Entities,
    evaluator::Evaluator,
    extensions::Extensions,
};
use palisade_model::{Action, Target};

use super::Lint;
use crate::{Diagnostic, Policies, Severity, World, engine::Truths, explain::conjuncts};

/// The most permits about one name that are looked at.
const MOST_PERMITS: usize = 2_048;

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
    /// Whether any permit could be for this action on this known target, whoever asks in whatever context: one that is about them, and
    /// of which nothing that it says of the target alone is false.
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
        let numbers = self.engine().near(&truths, MOST_PERMITS);
        let Ok(somebody) = self.vocabulary().uid("Anonymous", "anonymous") else { return false };
        let request = Request::new_unchecked(
            EntityUIDEntry::from(EntityUID::from(somebody)),
            EntityUIDEntry::from(action.clone()),
            EntityUIDEntry::from(target.clone()),
            Some(Context::empty()),
        );
        let also = self.engine().looked_into(&numbers).chain([target]);
        let none = Entities::new();
        let Ok(entities) = self.store().around(&none, &[], also) else { return false };
        let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
        self.engine().policies(&numbers).any(|(_, policy)| !is_ruled_out(policy, &evaluator))
    }

    /// The names of `@policy` that the schemas use and that no permit is about.
    #[must_use]
    pub fn undecided_names(&self, world: &World) -> Vec<Target> {
        let action = Action::graphql("policy");
        let graphs =
            world.resources.iter().filter_map(|resource| Some((&resource.name, resource.graph.as_ref()?)));
        graphs
            .flat_map(|(name, graph)| {
                graph.policies.iter().map(|policy| Target::graphql_policy(name, policy))
            })
            .filter(|target| !self.could_permit(&action, target))
            .collect()
    }
}

/// Whether a part of the condition that speaks of action and target alone is false: it is so for everybody.
fn is_ruled_out(policy: &Policy, evaluator: &Evaluator<'_>) -> bool {
    let mut parts = Vec::new();
    if let Some(condition) = policy.non_scope_constraints() {
        conjuncts(condition, &mut parts);
    }
    let of_the_item = |part: &&Expr| {
        part.subexpressions()
            .all(|inner| !matches!(inner.expr_kind(), ExprKind::Var(Var::Principal | Var::Context)))
    };
    let is_false = |part: &Expr| {
        let value = evaluator.interpret(part, policy.env());
        value.is_ok_and(|value| matches!(value.value_kind(), ValueKind::Lit(Literal::Bool(false))))
    };
    parts.into_iter().filter(of_the_item).any(is_false)
}

#[cfg(test)]
mod tests {
    use crate::{Kind, OnError, Policies, SourceFile, Sources, World, WorldGraph, WorldResource};

    /// The names that nothing decides, of a graph that uses these.
    fn undecided(policies: &str, names: &[&str]) -> Vec<String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let graph = WorldResource {
            name: "shop".parse().unwrap(),
            kind: Kind::Graphql,
            identifier: "https://shop.example.com".to_owned(),
            tools: Vec::new(),
            routes: Vec::new(),
            graph: Some(WorldGraph { policies: names, ..WorldGraph::default() }),
        };
        let world = World { resources: vec![graph], exchanges: Vec::new() };
        let sources = Sources { policies: vec![SourceFile::new("p.cedar", policies)], ..Sources::default() };
        let policies = Policies::load(&sources, &world, OnError::Forbid).unwrap();
        policies.undecided_names(&world).into_iter().map(|target| target.id).collect()
    }

    #[test]
    fn a_name_is_decided_by_a_permit_that_could_be_for_it() {
        let permit = |resource: &str, condition: &str| {
            format!("permit (principal, action in Graphql::Action::\"policy\", {resource}) {condition};")
        };
        let one = "resource == Graphql::Policy::\"shop/a\"";
        let all = "resource in Graphql::Graph::\"shop\"";
        for (policy, left) in [
            (permit(one, ""), vec!["shop/b"]),
            (permit(one, "when { context.scopes.contains(\"x\") }"), vec!["shop/b"]),
            (permit(all, ""), vec![]),
            (permit("resource", "when { principal in Role::\"r\" }"), vec![]),
            (permit(all, "when { resource.name == \"b\" && context.asserted }"), vec!["shop/a"]),
            (permit(all, "unless { [\"a\", \"b\"].contains(resource.name) }"), vec!["shop/a", "shop/b"]),
            (permit(all, "when { resource.name == \"b\" || context.asserted }"), vec![]),
            (permit("resource in Graphql::Graph::\"other\"", ""), vec!["shop/a", "shop/b"]),
            (permit(one, "").replace("permit", "forbid"), vec!["shop/a", "shop/b"]),
            (permit(all, "").replace("policy", "introspect"), vec!["shop/a", "shop/b"]),
            (String::new(), vec!["shop/a", "shop/b"]),
        ] {
            assert_eq!(undecided(&policy, &["a", "b"]), left, "{policy}");
        }
    }
}
