//! Conditions that are missing, that contradict themselves, or that no index can make use of.

use std::collections::HashSet;

use cedar_policy::pst::{BinaryOp, Expr, Literal, Var};

use super::{
    Lint,
    statement::{Actions, Bound, Statement, Uid, negated},
};
use crate::{Diagnostic, Effect};

const TYPE: &str = "Graphql::Type";

/// `unnarrowed` are the ids of the policies that no index holds.
pub(super) fn lint(statement: &Statement<'_>, unnarrowed: &HashSet<&str>) -> Vec<Diagnostic> {
    let found = [
        unconditional(statement),
        contradiction(statement),
        unindexed(statement, unnarrowed),
        never_asked(statement),
    ];
    found.into_iter().flatten().collect()
}

/// Also with actions in its head: whoever may do one thing to everything is asked nothing either.
fn unconditional(statement: &Statement<'_>) -> Option<Diagnostic> {
    let everything = statement.effect == Effect::Permit
        && statement.principal == Bound::Any
        && statement.resource == Bound::Any
        && statement.conjuncts.is_empty();
    everything.then(|| {
        let message = match &statement.actions {
            Actions::Any => "permits everybody everything, also without a token",
            Actions::Equals(_) | Actions::In(_) => {
                "permits this on everything to everybody, also without a token"
            }
        };
        let help = "say who (`principal in Role::\"..\"`), on what (`resource == ..`), or when";
        statement.finding(Lint::UnconditionalPermit, message).help(help)
    })
}

/// What Cedar's validator does not see: a conjunct and its opposite, and one thing that equals two.
fn contradiction(statement: &Statement<'_>) -> Option<Diagnostic> {
    for (at, first) in statement.conjuncts.iter().enumerate() {
        for second in statement.conjuncts.iter().skip(at + 1) {
            if *second == negated(first) || *first == negated(second) || two_values(first, second) {
                let message = format!("never holds: `{first}` contradicts `{second}`");
                let help = "remove the policy, or one of the two; `||` says that one of them is enough";
                return Some(statement.finding(Lint::NeverHolds, message).help(help));
            }
        }
    }
    None
}

fn two_values(first: &Expr, second: &Expr) -> bool {
    match (equation(first), equation(second)) {
        (Some((left, one)), Some((right, other))) => left == right && one != other,
        (Some(_) | None, Some(_) | None) => false,
    }
}

/// `expression == literal`, either way round.
fn equation(expression: &Expr) -> Option<(&Expr, &Literal)> {
    let Expr::BinaryOp { op: BinaryOp::Eq, left, right } = expression else { return None };
    match (&**left, &**right) {
        (Expr::Literal(_), Expr::Literal(_)) => None,
        (other, Expr::Literal(literal)) | (Expr::Literal(literal), other) => Some((other, literal)),
        (_, _) => None,
    }
}

/// What is asked of an operation is asked of its fields: a type is what they are in.
fn never_asked(statement: &Statement<'_>) -> Option<Diagnostic> {
    let by_head = match &statement.resource {
        Bound::Equals(uid) => (uid.type_name == TYPE).then(|| uid.clone()),
        Bound::Is(name) | Bound::IsIn(name, _) => (name == TYPE).then(|| Uid::new(TYPE, "..")),
        Bound::Any | Bound::In(_) => None,
    };
    let by_condition = || statement.conjuncts.iter().find_map(type_alone);
    let named = by_head.or_else(by_condition)?;
    let message =
        "never decides on an operation: those are asked about field by field, and never about a type itself";
    let help = format!("`resource in {}` is about all fields of the type", named.shown());
    Some(statement.finding(Lint::NeverAsked, message).help(help))
}

/// The type that the resource has to be, where a condition says so.
fn type_alone(condition: &Expr) -> Option<Uid> {
    if let Expr::BinaryOp { op: BinaryOp::Or, left, right } = condition {
        return type_alone(left).filter(|_| type_alone(right).is_some());
    }
    if let Expr::BinaryOp { op: BinaryOp::And, left, right } = condition {
        return type_alone(left).or_else(|| type_alone(right));
    }
    if let Expr::Is { expr, entity_type, in_expr: _ } = condition {
        let is_alone = matches!(**expr, Expr::Var(Var::Resource)) && entity_type.to_string() == TYPE;
        return is_alone.then(|| Uid::new(TYPE, ".."));
    }
    let (Expr::Var(Var::Resource), Literal::EntityUID(uid)) = equation(condition)? else { return None };
    Some(Uid::from(uid)).filter(|uid| uid.type_name == TYPE)
}

/// What the engine's index cannot narrow down.
fn unindexed(statement: &Statement<'_>, unnarrowed: &HashSet<&str>) -> Option<Diagnostic> {
    unnarrowed.contains(statement.id.as_str()).then(|| {
        let message = "is evaluated for every request: nothing in its head narrows down which";
        let help = "name an action, a role or a resource in the head, or begin the condition with a scope or with \
                    a member of the context that equals something";
        statement.finding(Lint::Unindexed, message).help(help)
    })
}
