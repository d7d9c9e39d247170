//! Conditions that are missing, that contradict themselves, or that no index can make use of.

use std::collections::HashSet;

use cedar_policy::pst::{BinaryOp, Expr, Literal};

use super::{
    Lint,
    statement::{Actions, Bound, Statement, negated},
};
use crate::{Diagnostic, Effect};

/// `unnarrowed` are the ids of the policies that no index holds.
pub(super) fn lint(statement: &Statement<'_>, unnarrowed: &HashSet<&str>) -> Vec<Diagnostic> {
    let found = [unconditional(statement), contradiction(statement), unindexed(statement, unnarrowed)];
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

/// What the engine's index cannot narrow down.
fn unindexed(statement: &Statement<'_>, unnarrowed: &HashSet<&str>) -> Option<Diagnostic> {
    unnarrowed.contains(statement.id.as_str()).then(|| {
        let message = "is evaluated for every request: nothing in its head narrows down which";
        let help = "name an action, a role or a resource in the head, or begin the condition with a scope or with \
                    a member of the context that equals something";
        statement.finding(Lint::Unindexed, message).help(help)
    })
}
