//! The entities that a condition looks into by name, so that they are there when it is evaluated.
//!
//! An entity that is only compared, or only stands right of `in`, is not looked into: `principal in Role::"a"` asks
//! nothing of the role.

use cedar_policy_core::ast::{BinaryOp, EntityUID, Expr, ExprKind, Literal};
use rustc_hash::FxHashMap;

/// Counts where an entity is named, and takes off where it is not looked into there.
pub(super) fn looked_into(condition: &Expr) -> Vec<EntityUID> {
    let mut looks: FxHashMap<&EntityUID, isize> = FxHashMap::default();
    for expression in condition.subexpressions() {
        if let Some(uid) = named(expression) {
            *looks.entry(uid).or_default() += 1;
        }
        let ExprKind::BinaryApp { op, arg1, arg2 } = expression.expr_kind() else { continue };
        let compares = *op == BinaryOp::Eq;
        if compares || *op == BinaryOp::In {
            let left = Some(arg1).filter(|_| compares);
            for uid in left.into_iter().chain([arg2]).flat_map(|side| bare(side)) {
                *looks.entry(uid).or_default() -= 1;
            }
        }
    }
    looks.into_iter().filter(|(_, times)| *times > 0).map(|(uid, _)| uid.clone()).collect()
}

/// The entities that an operand is, or that stand in a set as they are.
fn bare(operand: &Expr) -> Vec<&EntityUID> {
    if let ExprKind::Set(elements) = operand.expr_kind() {
        return elements.iter().filter_map(named).collect();
    }
    named(operand).into_iter().collect()
}

fn named(expression: &Expr) -> Option<&EntityUID> {
    let ExprKind::Lit(Literal::EntityUID(uid)) = expression.expr_kind() else { return None };
    Some(uid)
}
