//! Why a question is denied: the permits that came nearest, and what of each did not hold.
//!
//! A permit is near if its scope fits the action and the target; what is then missing is the principal, or conditions.
//! Each condition joined by `&&` is evaluated by itself, so that a permit with one open condition is told from one
//! with three. An explanation is for the record and for authors: it holds the text of policies and no value of a
//! request, and no decision is made from it.

use cedar_policy_core::{
    ast::{Expr, ExprKind, Literal, Policy, PrincipalOrResourceConstraint, ValueKind},
    evaluator::Evaluator,
    extensions::Extensions,
};

use crate::{About, Asking, PolicyRef, asking::Put, verdict::by_id};

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
        let engine = self.policies().engine();
        let Ok(put) = self.put_near(about, MOST_EXAMINED) else { return Vec::new() };
        let Put { request, entities, candidates } = put;
        let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
        let mut near: Vec<(Width, NearPermit)> = engine
            .policies(&candidates)
            .filter_map(|(number, policy)| {
                let found = self.policies().policy(number)?.clone();
                Some((Width::of(policy), NearPermit { policy: found, failed: failed(policy, &evaluator) }))
            })
            .collect();
        near.sort_by(|(width, near), (other_width, other)| {
            (near.failed.len(), width)
                .cmp(&(other.failed.len(), other_width))
                .then_with(|| by_id(&near.policy, &other.policy))
        });
        near.truncate(MOST_TOLD);
        near.into_iter().map(|(_, near)| near).collect()
    }
}

/// What a policy is about: of two that are equally near, the one that names the target is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    OneTarget,
    SomeTargets,
    AnyTarget,
}

impl Width {
    fn of(policy: &Policy) -> Self {
        match policy.resource_constraint().as_inner() {
            PrincipalOrResourceConstraint::Eq(_) => Self::OneTarget,
            PrincipalOrResourceConstraint::In(_) | PrincipalOrResourceConstraint::IsIn(..) => {
                Self::SomeTargets
            }
            PrincipalOrResourceConstraint::Is(_) | PrincipalOrResourceConstraint::Any => Self::AnyTarget,
        }
    }
}

/// What of a policy does not hold.
fn failed(policy: &Policy, evaluator: &Evaluator<'_>) -> Vec<String> {
    let holds = |expression: &Expr| {
        evaluator
            .interpret(expression, policy.env())
            .is_ok_and(|value| matches!(value.value_kind(), ValueKind::Lit(Literal::Bool(true))))
    };
    let principal = policy.principal_constraint();
    let scope = (!holds(&principal.as_expr())).then(|| principal.to_string());
    let mut conditions = Vec::new();
    if let Some(condition) = policy.non_scope_constraints() {
        conjuncts(condition, &mut conditions);
    }
    let open = conditions.into_iter().filter(|condition| !holds(condition)).map(text);
    scope.into_iter().chain(open).take(MOST_CONDITIONS).collect()
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
}
