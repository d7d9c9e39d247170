//! What may come of a condition while a part of what it mentions is open.
//!
//! The parts of a condition that mention nothing open are evaluated as ever, and what is open may come out in every way.
//! `&&`, `||`, `!` and `if` join the outcomes of their parts, each in its own: so an open part hides nothing where a
//! known one decides. That two open parts contradict each other is not seen.
//!
//! INVARIANT: whatever the open things turn out to be, what evaluation then gives is among the outcomes. And where a
//! condition mentions nothing open, there is one outcome: what evaluation gives.

use cedar_policy_core::{
    ast::{BinaryOp, Expr, ExprKind, Literal, SlotEnv, UnaryOp, ValueKind},
    evaluator::Evaluator,
};

use crate::engine::{Mentions, is_scopes};

/// Of deeper nesting everything is taken to be open. Evaluation itself has no such bound, but counts the stack.
const DEEPEST: usize = 100;

/// Some of: true, false, an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Outcomes {
    pub(super) holds: bool,
    pub(super) fails: bool,
    pub(super) errs: bool,
}

/// With what conditions are evaluated, and what of it is open.
#[derive(Debug)]
pub(super) struct Pass<'e> {
    pub(super) open: Mentions,
    pub(super) evaluator: &'e Evaluator<'e>,
    /// Where the scopes are open: the same with all that they can be. What asks whether there is a scope then holds
    /// with the most if it holds with any, and fails with the least if it fails with any.
    pub(super) most: Option<&'e Evaluator<'e>>,
}

impl Outcomes {
    const NONE: Self = Self { holds: false, fails: false, errs: false };
    const ALL: Self = Self { holds: true, fails: true, errs: true };
    const HOLDS: Self = Self { holds: true, fails: false, errs: false };
    const FAILS: Self = Self { holds: false, fails: true, errs: false };
    const ERRS: Self = Self { holds: false, fails: false, errs: true };

    /// Whether it is known what comes out.
    pub(super) const fn is_known(self) -> bool {
        matches!(self, Self::HOLDS | Self::FAILS | Self::ERRS)
    }

    const fn or(self, other: Self) -> Self {
        Self {
            holds: self.holds || other.holds,
            fails: self.fails || other.fails,
            errs: self.errs || other.errs,
        }
    }

    const fn not(self) -> Self {
        Self { holds: self.fails, fails: self.holds, errs: self.errs }
    }
}

impl Pass<'_> {
    /// What may come of a policy's condition; of none, nothing but that it holds.
    pub(super) fn outcomes(&self, condition: Option<&Expr>, mentions: Mentions) -> Outcomes {
        match condition {
            None => Outcomes::HOLDS,
            Some(condition) if !mentions.any_of(self.open) => known(condition, self.evaluator),
            Some(condition) => self.of(condition, DEEPEST),
        }
    }

    fn of(&self, expression: &Expr, deeper: usize) -> Outcomes {
        let Some(deeper) = deeper.checked_sub(1) else { return Outcomes::ALL };
        match Shape::of(expression) {
            Shape::All(parts) => self.all_of(&parts, deeper),
            Shape::Any(parts) => self.any_of(&parts, deeper),
            Shape::Not(part) => self.of(part, deeper).not(),
            Shape::If { test, then, otherwise } => {
                let test = self.of(test, deeper);
                let branch = |taken: bool, branch| {
                    if taken { self.of(branch, deeper) } else { Outcomes::NONE }
                };
                let errs = if test.errs { Outcomes::ERRS } else { Outcomes::NONE };
                branch(test.holds, then).or(branch(test.fails, otherwise)).or(errs)
            }
            Shape::Leaf => self.leaf(expression),
        }
    }

    fn all_of(&self, parts: &[&Expr], deeper: usize) -> Outcomes {
        let mut so_far = Outcomes::HOLDS;
        for part in parts {
            if !so_far.holds {
                break;
            }
            so_far.holds = false;
            so_far = so_far.or(self.of(part, deeper));
        }
        so_far
    }

    fn any_of(&self, parts: &[&Expr], deeper: usize) -> Outcomes {
        let mut so_far = Outcomes::FAILS;
        for part in parts {
            if !so_far.fails {
                break;
            }
            so_far.fails = false;
            so_far = so_far.or(self.of(part, deeper));
        }
        so_far
    }

    fn leaf(&self, expression: &Expr) -> Outcomes {
        let mentions = Mentions::of(expression);
        if !mentions.any_of(self.open) {
            return known(expression, self.evaluator);
        }
        match (expression.expr_kind(), self.most) {
            (ExprKind::BinaryApp { op, arg1, arg2 }, Some(most))
                if asks_for_scopes(*op) && is_scopes(arg1) && !Mentions::of(arg2).any_of(self.open) =>
            {
                known(expression, self.evaluator).or(known(expression, most))
            }
            (_, Some(_) | None) => Outcomes::ALL,
        }
    }
}

/// Whether more scopes can only turn this from false to true.
fn asks_for_scopes(op: BinaryOp) -> bool {
    [BinaryOp::Contains, BinaryOp::ContainsAll, BinaryOp::ContainsAny].contains(&op)
}

/// How the outcomes of an expression come from those of its parts.
enum Shape<'e> {
    All(Vec<&'e Expr>),
    Any(Vec<&'e Expr>),
    Not(&'e Expr),
    If { test: &'e Expr, then: &'e Expr, otherwise: &'e Expr },
    Leaf,
}

impl<'e> Shape<'e> {
    fn of(expression: &'e Expr) -> Self {
        if let ExprKind::And { .. } = expression.expr_kind() {
            let sides = |part: &'e Expr| {
                let ExprKind::And { left, right } = part.expr_kind() else { return None };
                Some((left.as_ref(), right.as_ref()))
            };
            Self::All(chain(expression, sides))
        } else if let ExprKind::Or { .. } = expression.expr_kind() {
            let sides = |part: &'e Expr| {
                let ExprKind::Or { left, right } = part.expr_kind() else { return None };
                Some((left.as_ref(), right.as_ref()))
            };
            Self::Any(chain(expression, sides))
        } else if let ExprKind::UnaryApp { op: UnaryOp::Not, arg } = expression.expr_kind() {
            Self::Not(arg)
        } else if let ExprKind::If { test_expr, then_expr, else_expr } = expression.expr_kind() {
            Self::If { test: test_expr, then: then_expr, otherwise: else_expr }
        } else {
            Self::Leaf
        }
    }
}

/// The operands of a chain of one operator, in order. The parser nests them to the left, as deep as the chain is long.
fn chain<'e>(
    expression: &'e Expr,
    sides: impl Fn(&'e Expr) -> Option<(&'e Expr, &'e Expr)>,
) -> Vec<&'e Expr> {
    let mut parts = Vec::new();
    let mut first = expression;
    while let Some((left, right)) = sides(first) {
        parts.push(right);
        first = left;
    }
    parts.push(first);
    parts.reverse();
    parts
}

/// What evaluation gives. A slot stands in a scope only, so that conditions need none.
fn known(expression: &Expr, evaluator: &Evaluator<'_>) -> Outcomes {
    match evaluator.interpret(expression, &SlotEnv::new()).map(|value| value.value) {
        Ok(ValueKind::Lit(Literal::Bool(true))) => Outcomes::HOLDS,
        Ok(ValueKind::Lit(Literal::Bool(false))) => Outcomes::FAILS,
        // A condition that is no truth value is an error, too.
        Ok(_) | Err(_) => Outcomes::ERRS,
    }
}
