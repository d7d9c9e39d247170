//! Names of `@policy` that a GraphQL schema uses and nothing decides.
//!
//! Whatever hangs on such a name is denied to everybody, and nobody meant that: it is an error, not a warning.

use std::collections::BTreeSet;

use cedar_policy_core::{
    ast::{
        Context, Effect, EntityUID, EntityUIDEntry, Expr, ExprKind, Literal, Policy,
        PrincipalOrResourceConstraint, Request, ValueKind, Var,
    },
    entities::Entities,
    evaluator::Evaluator,
    extensions::Extensions,
};
use palisade_model::{Action, Target};

use super::Lint;
use crate::{Diagnostic, Policies, Severity, World, engine::Truths, explain::conjuncts};

pub(super) fn lint(policies: &Policies) -> Vec<Diagnostic> {
    let undecided = policies.undecided_names().map(|target| {
        let place = target.id.split('/').next().unwrap_or_default();
        let message = format!("no policy could ever permit `{}`", target.entity());
        let (severity, message, help) = match policies.standing(&Action::graphql("policy"), target) {
            // Somebody has permitted it, and somebody has stopped it: that may be meant, for a while.
            Standing::Stopped(forbid) => (
                Severity::Warning,
                format!("{message} as long as `{forbid}` forbids it to everybody"),
                "what hangs on it is denied to everybody: say in the forbid to whom it is not meant".to_owned(),
            ),
            Standing::Open | Standing::Nobodys => (
                Severity::Error,
                message,
                format!(
                    "permit `Graphql::Action::\"policy\"` on it for whom it is meant, or take it out of the schema of `{place}`"
                ),
            ),
        };
        let found = Diagnostic::of(Lint::UndecidedName, format!("the schema of {place}"), message).help(help);
        Diagnostic { severity, ..found }
    });
    undecided.collect()
}

/// What the policies make of a name.
enum Standing {
    /// Somebody could be permitted.
    Open,
    /// Somebody could, but for this forbid, which is about everybody.
    Stopped(String),
    Nobodys,
}

impl Policies {
    /// What they make of an action on a known target. It is open where any permit could be for it, whoever asks in whatever context: one that is about them, and
    /// of which nothing that it says of the target alone is false. Where a forbid is about them, whoever asks, and all that it
    /// says holds of the target alone, there is none.
    fn standing(&self, action: &Action, target: &Target) -> Standing {
        let Some(act) = self.vocabulary().action(action) else { return Standing::Nobodys };
        let Ok(uid) = self.vocabulary().uid(&target.type_name, &target.id) else { return Standing::Nobodys };
        let (index, action, target) = (self.engine().index(), act.uid.as_ref(), uid.as_ref());
        let truths = Truths {
            action: &index.actions().truths(action, self.store().ancestors(action)),
            resource: &index.resources().truths(target, self.store().ancestors(target)),
            principal: None,
            context: None,
        };
        let found = self.engine().whoever_asks(&truths);
        let numbers: Vec<u32> = found.into_iter().map(|(number, _)| number).collect();
        let Ok(somebody) = self.vocabulary().uid("Anonymous", "anonymous") else { return Standing::Nobodys };
        let request = Request::new_unchecked(
            EntityUIDEntry::from(EntityUID::from(somebody)),
            EntityUIDEntry::from(action.clone()),
            EntityUIDEntry::from(target.clone()),
            Some(Context::empty()),
        );
        let also = self.engine().looked_into(&numbers).chain([target]);
        let none = Entities::new();
        let Ok(entities) = self.store().around(&none, &[], also) else { return Standing::Nobodys };
        let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
        let (permits, forbids): (Vec<&Policy>, Vec<&Policy>) = self
            .engine()
            .policies(&numbers)
            .map(|(_, policy)| policy)
            .partition(|policy| policy.effect() == Effect::Permit);
        if permits.into_iter().all(|permit| is_ruled_out(permit, &evaluator)) {
            return Standing::Nobodys;
        }
        let stops = forbids.into_iter().find(|forbid| is_about_everybody(forbid, &evaluator));
        stops.map_or(Standing::Open, |forbid| Standing::Stopped(forbid.id().to_string()))
    }

    /// The names of `@policy` that the schemas use and that no policy could ever permit.
    pub(crate) fn find_undecided(&self, world: &World) -> BTreeSet<Target> {
        let action = Action::graphql("policy");
        let graphs =
            world.resources.iter().filter_map(|resource| Some((&resource.name, resource.graph.as_ref()?)));
        graphs
            .flat_map(|(name, graph)| {
                graph.policies.iter().map(|policy| Target::graphql_policy(name, policy))
            })
            .filter(|target| !matches!(self.standing(&action, target), Standing::Open))
            .collect()
    }
}

/// Whether a part of the condition that speaks of action and target alone is false: it is so for everybody.
fn is_ruled_out(policy: &Policy, evaluator: &Evaluator<'_>) -> bool {
    parts(policy).into_iter().any(|part| value_for_all(part, policy, evaluator) == Some(false))
}

/// Whether the head is about everybody, and the condition, which speaks of action and target alone, is true.
fn is_about_everybody(policy: &Policy, evaluator: &Evaluator<'_>) -> bool {
    let anybody = matches!(policy.principal_constraint().as_inner(), PrincipalOrResourceConstraint::Any);
    anybody && parts(policy).into_iter().all(|part| value_for_all(part, policy, evaluator) == Some(true))
}

fn parts(policy: &Policy) -> Vec<&Expr> {
    let mut parts = Vec::new();
    if let Some(condition) = policy.non_scope_constraints() {
        conjuncts(condition, &mut parts);
    }
    parts
}

/// What a part of a condition comes to whoever asks in whatever context; nothing where that makes a difference.
fn value_for_all(part: &Expr, policy: &Policy, evaluator: &Evaluator<'_>) -> Option<bool> {
    let is_of_the_asker =
        |inner: &Expr| matches!(inner.expr_kind(), ExprKind::Var(Var::Principal | Var::Context));
    if part.subexpressions().any(is_of_the_asker) {
        return None;
    }
    let value = evaluator.interpret(part, policy.env()).ok()?;
    let ValueKind::Lit(Literal::Bool(value)) = value.value_kind() else { return None };
    Some(*value)
}

#[cfg(test)]
mod tests {
    use crate::{Kind, OnError, Policies, Severity, SourceFile, Sources, World, WorldGraph, WorldResource};

    /// The names that nothing decides, of a graph that uses these.
    fn undecided(policies: &str, names: &[&str]) -> Vec<String> {
        loaded(policies, names).undecided_names().map(|target| target.id.clone()).collect()
    }

    fn loaded(policies: &str, names: &[&str]) -> Policies {
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
        Policies::load(&sources, &world, OnError::Forbid).unwrap()
    }

    /// A stop of what is permitted otherwise is no slip of the pen: it is a warning that names it.
    #[test]
    fn a_name_that_a_forbid_keeps_from_everybody_is_a_warning() {
        let on =
            "(principal, action in Graphql::Action::\"policy\", resource == Graphql::Policy::\"shop/a\");";
        for (policies, severity, told) in [
            (
                format!("@id(\"may\") permit {on} @id(\"stop\") forbid {on}"),
                Severity::Warning,
                "`stop` forbids it",
            ),
            (format!("@id(\"stop\") forbid {on}"), Severity::Error, "no policy could ever permit"),
        ] {
            let found = super::lint(&loaded(&policies, &["a"]));
            assert_eq!(found.len(), 1, "{policies}");
            assert_eq!(found[0].severity, severity, "{found:?}");
            assert!(found[0].message.contains(told), "{found:?}");
        }
    }

    #[test]
    fn a_name_is_decided_by_a_permit_that_could_be_for_it() {
        let permit = |resource: &str, condition: &str| {
            format!("permit (principal, action in Graphql::Action::\"policy\", {resource}) {condition};")
        };
        let forbid =
            |resource: &str, condition: &str| permit(resource, condition).replace("permit", "forbid");
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
            // A forbid that is about everybody, and asks nothing of who asks, leaves nothing to permit.
            (permit(all, "") + &forbid(one, ""), vec!["shop/a"]),
            (permit(all, "") + &forbid("resource", "when { resource.name == \"b\" }"), vec!["shop/b"]),
            (permit(all, "") + &forbid(one, "when { context.asserted }"), vec![]),
            (permit(all, "") + &forbid(one, "unless { context.scopes.contains(\"x\") }"), vec![]),
            (permit(all, "") + &forbid(one, "").replace("(principal,", "(principal is User,"), vec![]),
            (String::new(), vec!["shop/a", "shop/b"]),
        ] {
            assert_eq!(undecided(&policy, &["a", "b"]), left, "{policy}");
        }
    }
}
