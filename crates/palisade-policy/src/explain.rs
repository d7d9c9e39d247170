//! Why a question is denied: the permits that came nearest, and what of each did not hold.
//!
//! A permit is near if its scope fits the action and the target; what is then missing is the principal, or conditions.
//! Each condition joined by `&&` is evaluated by itself, so that a permit with one open condition is told from one
//! with three. An explanation is for the record and for authors: it holds the text of policies and no value of a
//! request, and no decision is made from it.

use cedar_policy_core::{
    ast::{Expr, ExprKind, Literal, Policy, ValueKind},
    evaluator::Evaluator,
    extensions::Extensions,
};

use crate::{About, Asking, PolicyRef, engine::Width, verdict::by_id};

/// How many permits are looked at. One policy set can hold any number for the same action and target.
const MOST_EXAMINED: usize = 64;
/// How many are told.
const MOST_TOLD: usize = 3;
/// How many conditions of a permit are told.
const MOST_CONDITIONS: usize = 4;

/// A permit that did not permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearPermit {
    /// The policy.
    pub policy: PolicyRef,
    /// What of it did not hold, as it is written there; nothing where all of it held and a forbid won.
    pub failed: Vec<String>,
}

impl Asking<'_> {
    /// The permits that come nearest to permitting this, the nearest first; none where no permit is about this action
    /// and this target.
    #[must_use]
    pub fn nearest(&self, about: &About<'_>) -> Vec<NearPermit> {
        let (policies, engine) = (self.policies(), self.policies().engine());
        let Ok((put, near)) = self.put_near(about, MOST_EXAMINED) else { return Vec::new() };
        let evaluator = Evaluator::new(put.request, &put.entities, Extensions::all_available());
        let mut nearest: Vec<Near<'_>> = Vec::with_capacity(MOST_TOLD + 1);
        for (number, is_theirs) in near {
            let (Some(width), Some(policy)) = (engine.width(number), engine.policy(number)) else { continue };
            let mut this = Near { open: usize::from(!is_theirs), width, number, policy, is_theirs };
            // A permit that is not nearer than all that are told is looked at no further.
            let last = nearest.last().filter(|_| nearest.len() >= MOST_TOLD);
            if last.is_some_and(|last| last.rank() <= this.rank()) {
                continue;
            }
            let most = last.map_or(MOST_CONDITIONS, |last| last.open + 1).min(MOST_CONDITIONS);
            this.open += open(policy, &evaluator).take(most - this.open.min(most)).count();
            let place = nearest.partition_point(|nearer| nearer.rank() <= this.rank());
            nearest.insert(place, this);
            nearest.truncate(MOST_TOLD);
        }
        let mut told: Vec<_> = nearest
            .iter()
            .filter_map(|near| {
                let policy = policies.policy(near.number)?.clone();
                Some((near.rank(), NearPermit { policy, failed: near.failed(&evaluator) }))
            })
            .collect();
        told.sort_by(|(rank, near), (other_rank, other)| {
            rank.cmp(other_rank).then_with(|| by_id(&near.policy, &other.policy))
        });
        told.into_iter().map(|(_, near)| near).collect()
    }
}

/// A permit, and how near it comes.
struct Near<'a> {
    /// How much of it does not hold, the principal counted as one.
    open: usize,
    width: Width,
    number: u32,
    policy: &'a Policy,
    /// Whether its principal is who asks.
    is_theirs: bool,
}

impl Near<'_> {
    /// The nearest first: of two that are equally near, the one that names the target is meant.
    fn rank(&self) -> (usize, Width) {
        (self.open, self.width)
    }

    /// What of it does not hold.
    fn failed(&self, evaluator: &Evaluator<'_>) -> Vec<String> {
        let principal = (!self.is_theirs).then(|| self.policy.principal_constraint().to_string());
        let conditions = open(self.policy, evaluator).map(text);
        principal.into_iter().chain(conditions).take(MOST_CONDITIONS).collect()
    }
}

/// The conditions of a policy that do not hold.
fn open<'e>(policy: &'e Policy, evaluator: &Evaluator<'_>) -> impl Iterator<Item = &'e Expr> {
    let holds = |expression: &&Expr| {
        evaluator
            .interpret(expression, policy.env())
            .is_ok_and(|value| matches!(value.value_kind(), ValueKind::Lit(Literal::Bool(true))))
    };
    let mut conditions = Vec::new();
    if let Some(condition) = policy.non_scope_constraints() {
        conjuncts(condition, &mut conditions);
    }
    conditions.into_iter().filter(move |condition| !holds(condition))
}

/// The parts of a condition that all have to hold.
pub(crate) fn conjuncts<'e>(condition: &'e Expr, found: &mut Vec<&'e Expr>) {
    let mut next = vec![condition];
    while let Some(part) = next.pop() {
        if let ExprKind::And { left, right } = part.expr_kind() {
            next.extend([right.as_ref(), left.as_ref()]);
        } else if !matches!(part.expr_kind(), ExprKind::Lit(Literal::Bool(true))) {
            // A bare `true` is what the parser makes of a policy without conditions; nobody wrote it.
            found.push(part);
        }
    }
}

/// A condition as its author wrote it, on one line.
fn text(condition: &Expr) -> String {
    let written = condition.source_loc().and_then(|place| place.snippet()).map(str::to_owned);
    let text = written.unwrap_or_else(|| condition.to_string());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::policies::tests::{Asking, load};

    /// What Alice, a viewer, is told of a call of `echo`.
    fn told(policies: &str, scopes: &[&str]) -> Vec<(String, Vec<String>)> {
        let policies = load(policies);
        let asking = Asking::call("echo").scopes(scopes).with(|asking| {
            asking.subject.roles.insert("corp/viewer".to_owned());
        });
        let query = asking.query();
        let subject = policies.prepare(query.subject, query.authority, query.strength);
        let near = policies.ask(&subject, query.circumstances).nearest(&query.about());
        near.into_iter().map(|near| (near.policy.id, near.failed)).collect()
    }

    #[test]
    fn the_nearest_permit_comes_first_with_what_did_not_hold() {
        let set = r#"
@id("b-role") permit (principal in Role::"corp/admin", action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/echo");
@id("a-scope") permit (principal is User, action in Mcp::Action::"tools/call", resource in Mcp::Server::"demo")
when { context.scopes.contains("files:read") && context.amr.contains("mfa") }
unless { context.delegation_depth > 0 };
@id("elsewhere") permit (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/delete");
@id("wins") forbid (principal, action, resource) when { context.delegation_depth < 0 };
"#;
        assert_eq!(
            told(set, &["files:write"]),
            [
                ("b-role".to_owned(), vec!["principal in Role::\"corp/admin\"".to_owned()]),
                (
                    "a-scope".to_owned(),
                    vec![
                        "context.scopes.contains(\"files:read\")".to_owned(),
                        "context.amr.contains(\"mfa\")".to_owned()
                    ]
                ),
            ]
        );
    }

    #[test]
    fn a_permit_that_a_forbid_beats_has_nothing_open() {
        let set = r#"
@id("open") permit (principal, action in Mcp::Action::"tools/call", resource == Mcp::Tool::"demo/echo");
@id("wins") forbid (principal, action, resource);
"#;
        assert_eq!(told(set, &[]), [("open".to_owned(), Vec::new())]);
    }

    #[test]
    fn where_no_permit_is_about_it_there_is_nothing_to_tell() {
        let set = r#"@id("other") permit (principal, action in Mcp::Action::"tools/list", resource);"#;
        assert_eq!(told(set, &[]), []);
    }

    #[test]
    fn forbids_do_not_hide_a_permit() {
        let mut set: String = (0..200)
            .map(|number| format!("@id(\"f{number:03}\") forbid (principal in Role::\"corp/x{number}\", action, resource);\n"))
            .collect();
        set.push_str("@id(\"only\") permit (principal in Role::\"corp/admin\", action in Mcp::Action::\"tools/call\", resource);");
        assert_eq!(
            told(&set, &[]),
            [("only".to_owned(), vec!["principal in Role::\"corp/admin\"".to_owned()])]
        );
    }

    #[test]
    fn few_are_told_however_many_there_are() {
        let set: String = (0..500)
            .map(|number| {
                format!("@id(\"p{number:03}\") permit (principal in Role::\"corp/r{number}\", action in Mcp::Action::\"tools/call\", resource);\n")
            })
            .collect();
        assert_eq!(told(&set, &[]).len(), 3);
    }

    #[test]
    fn of_many_those_are_told_that_come_nearest_each_by_itself() {
        let principals = [
            "principal",
            "principal is User",
            "principal in Role::\"corp/viewer\"",
            "principal in Role::\"corp/admin\"",
        ];
        let resources =
            ["resource", "resource in Mcp::Server::\"demo\"", "resource == Mcp::Tool::\"demo/echo\""];
        let conditions = [
            "context.scopes.contains(\"a\")",
            "context.scopes.contains(\"b\")",
            "context.amr.contains(\"mfa\")",
            "context.issuer == \"x\"",
        ];
        for seed in 0..8_usize {
            let policy = |number: usize| {
                let mixed = (number + 1) * 2_654_435_761 / 7 + seed * 40_503;
                let (principal, resource) = (principals[mixed % 7 % 4], resources[mixed / 7 % 3]);
                let held = (0..4).filter(|at| (mixed / 21) >> at & 1 == 1).map(|at| conditions[at]);
                let condition = held.chain(["true"]).collect::<Vec<_>>().join(" && ");
                let effect = if mixed.is_multiple_of(11) { "forbid" } else { "permit" };
                let id = format!("p{:03}", mixed % 1_000);
                let policy = format!(
                    "@id(\"{id}\") {effect} ({principal}, action in Mcp::Action::\"tools/call\", {resource}) when {{ {condition} }};\n"
                );
                (id, policy)
            };
            let set: BTreeMap<String, String> = (0..30).map(policy).collect();
            let width = |policy: &str| {
                resources.iter().rev().position(|resource| policy.contains(&format!(", {resource})")))
            };
            let each = set.values().flat_map(|policy| {
                told(policy, &["a"]).into_iter().map(|near| (near.1.len(), width(policy), near))
            });
            let mut each: Vec<_> = each.collect();
            each.sort_by_key(|(open, width, (id, _))| (*open, *width, id.clone()));
            let nearest: Vec<_> = each.into_iter().map(|(_, _, near)| near).take(super::MOST_TOLD).collect();
            assert_eq!(told(&set.values().cloned().collect::<String>(), &["a"]), nearest, "{set:?}");
        }
    }
}
