//! The scopes that a condition begins by asking for.
//!
//! `context.scopes.contains("a") && ..` is false, and errs in nothing, for whoever has not the scope `a`. So such a
//! policy may be filed under `a`. That holds of the first conjunct alone: whatever stands before a conjunct could err.

use cedar_policy::Policy;
use cedar_policy_core::ast::{self, BinaryOp, Expr, ExprKind, Literal, Var};
use smol_str::SmolStr;

/// Scopes of which a request must have one for the policy to hold, and without which its condition is false.
pub(super) fn asked_first(policy: &Policy) -> Option<Vec<SmolStr>> {
    let policy: &ast::Policy = policy.as_ref();
    let ExprKind::BinaryApp { op, arg1, arg2 } = first_conjunct(policy.non_scope_constraints()?).expr_kind()
    else {
        return None;
    };
    if !is_scopes(arg1) {
        return None;
    }
    if *op == BinaryOp::Contains {
        return Some(vec![text(arg2)?]);
    }
    // Of an empty set nothing is asked for: the policy keeps no key of its own.
    let scopes = texts(arg2).filter(|scopes| !scopes.is_empty())?;
    if *op == BinaryOp::ContainsAny {
        Some(scopes)
    } else if *op == BinaryOp::ContainsAll {
        // Whoever lacks one of them lacks them all together.
        Some(scopes.into_iter().take(1).collect())
    } else {
        None
    }
}

fn first_conjunct(expression: &Expr) -> &Expr {
    let mut first = expression;
    while let ExprKind::And { left, .. } = first.expr_kind() {
        first = left;
    }
    first
}

/// Whether this is `context.scopes`.
pub(crate) fn is_scopes(expression: &Expr) -> bool {
    let ExprKind::GetAttr { expr, attr } = expression.expr_kind() else { return false };
    attr == "scopes" && matches!(expr.expr_kind(), ExprKind::Var(Var::Context))
}

fn texts(expression: &Expr) -> Option<Vec<SmolStr>> {
    let ExprKind::Set(elements) = expression.expr_kind() else { return None };
    elements.iter().map(text).collect()
}

fn text(expression: &Expr) -> Option<SmolStr> {
    let ExprKind::Lit(Literal::String(text)) = expression.expr_kind() else { return None };
    Some(text.clone())
}
