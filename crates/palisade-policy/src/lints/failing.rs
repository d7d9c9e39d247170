//! Policies that can fail to evaluate: arithmetic that overflows.
//!
//! Strict validation leaves nothing else that can fail in a condition over the built-in vocabulary. The values that an
//! expression can have are followed through it as ranges, together with what the conjuncts before it have made sure
//! of: `n <= 1000 && n * 2 < 500` cannot overflow upwards.

use cedar_policy::pst::{BinaryOp, Expr, Literal, UnaryOp};

use super::{
    Lint,
    statement::{Statement, of_context, split, text_of},
};
use crate::{
    Diagnostic, Effect,
    testing::time::{duration_millis, unix_millis},
};

pub(super) fn lint(statement: &Statement<'_>) -> Option<Diagnostic> {
    let mut facts = Facts::default();
    let mut failure = None;
    for conjunct in &statement.conjuncts {
        failure = failure.or_else(|| failing(conjunct, &facts));
        facts.learn(conjunct);
    }
    let expression = failure?;
    let bound = "bound the operands before it (`n <= 1000 && n >= 0 && ..`), or compare without arithmetic";
    Some(match statement.effect {
        Effect::Permit => statement
            .finding(
                Lint::PermitMayFail,
                format!("may fail, and then permits nothing: `{expression}` can overflow"),
            )
            .help(bound),
        Effect::Forbid => statement
            .finding(
                Lint::ForbidMayFail,
                format!("may fail, and in plain Cedar then forbids nothing: `{expression}` can overflow"),
            )
            .help(format!("{bound}; `policies.on_error: forbid` denies what it fails on")),
    })
}

/// Whether any policy that is like this one can fail.
pub(super) fn may_fail(statement: &Statement<'_>) -> bool {
    lint(statement).is_some()
}

/// The values that a number can have; milliseconds for times and durations. Ends are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    low: i128,
    high: i128,
}

const MIN: i128 = i64::MIN as i128;
const MAX: i128 = i64::MAX as i128;
const ANY: Range = Range { low: MIN, high: MAX };
/// The service counts time in microseconds, so that no time it gives is near the ends of Cedar's.
const OF_THE_SERVICE: Range = Range { low: MIN / 1_000, high: MAX / 1_000 };
/// A token has no room for more actors.
const ACTORS: Range = Range { low: 0, high: 65_536 };
const DAY: i128 = 86_400_000;

/// What earlier conjuncts have made sure of.
#[derive(Debug, Clone, Default)]
struct Facts(Vec<(Expr, Range)>);

impl Facts {
    fn learn(&mut self, condition: &Expr) {
        let mut conjuncts = Vec::new();
        split(condition, &mut conjuncts);
        for conjunct in &conjuncts {
            self.learn_one(conjunct);
        }
    }

    /// `a < b`, `a <= b`, `a == b`, and the opposites of the first two.
    fn learn_one(&mut self, conjunct: &Expr) {
        let opposite =
            if let Expr::UnaryOp { op: UnaryOp::Not, expr } = conjunct { Some(&**expr) } else { None };
        let (expression, holds) = (opposite.unwrap_or(conjunct), opposite.is_none());
        let Expr::BinaryOp { op, left, right } = expression else { return };
        let (small, great, apart) = match (op, holds) {
            (BinaryOp::Less, true) | (BinaryOp::GreaterEq, false) => (left, right, 1),
            (BinaryOp::LessEq, true) | (BinaryOp::Greater, false) => (left, right, 0),
            (BinaryOp::Greater, true) | (BinaryOp::LessEq, false) => (right, left, 1),
            (BinaryOp::GreaterEq, true) | (BinaryOp::Less, false) => (right, left, 0),
            (BinaryOp::Eq, true) => {
                self.at_most(left, range(right, self).high);
                self.at_least(left, range(right, self).low);
                (right, left, 0)
            }
            (_, _) => return,
        };
        self.at_most(small, range(great, self).high - apart);
        self.at_least(great, range(small, self).low + apart);
    }

    fn at_most(&mut self, expression: &Expr, high: i128) {
        self.0.push((expression.clone(), Range { low: MIN, high }));
    }

    fn at_least(&mut self, expression: &Expr, low: i128) {
        self.0.push((expression.clone(), Range { low, high: MAX }));
    }

    fn about(&self, expression: &Expr, mut range: Range) -> Range {
        for (_, known) in self.0.iter().filter(|(known, _)| known == expression) {
            range = Range { low: range.low.max(known.low), high: range.high.min(known.high) };
        }
        range
    }
}

/// The first expression within this one that can overflow.
fn failing(expression: &Expr, facts: &Facts) -> Option<String> {
    if let Expr::BinaryOp { op: BinaryOp::And, left, right } = expression {
        return failing(left, facts).or_else(|| {
            let mut facts = facts.clone();
            facts.learn(left);
            failing(right, &facts)
        });
    }
    if let Expr::IfThenElse { cond, then_expr, else_expr } = expression {
        let mut within = facts.clone();
        within.learn(cond);
        return failing(cond, facts)
            .or_else(|| failing(then_expr, &within))
            .or_else(|| failing(else_expr, facts));
    }
    let below = |inner: &Expr| (!std::ptr::eq(inner, expression)).then(|| failing(inner, facts));
    let inner = expression.reduce(&below, &|first, second| first.or(second), None);
    inner.or_else(|| overflows(expression, facts).then(|| expression.to_string()))
}

fn overflows(expression: &Expr, facts: &Facts) -> bool {
    computed(expression, facts).is_some_and(|range| range.low < MIN || range.high > MAX)
}

/// The values that an expression can have, if it does not fail.
fn range(expression: &Expr, facts: &Facts) -> Range {
    let range = computed(expression, facts).unwrap_or(ANY);
    let range = Range { low: range.low.max(MIN), high: range.high.min(MAX) };
    facts.about(expression, range)
}

/// The values that an expression would have without an end to numbers; nothing for what is not computed.
fn computed(expression: &Expr, facts: &Facts) -> Option<Range> {
    if let Some(name) = of_context(expression) {
        return match name {
            "now" | "auth_time" => Some(OF_THE_SERVICE),
            "delegation_depth" => Some(ACTORS),
            _ => None,
        };
    }
    if let Expr::Literal(Literal::Long(number)) = expression {
        Some(exactly(*number))
    } else if let Expr::UnaryOp { op, expr } = expression {
        unary(*op, expr, facts)
    } else if let Expr::BinaryOp { op, left, right } = expression {
        binary(*op, range(left, facts), range(right, facts))
    } else {
        None
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what is not computed here has the widest range")]
fn unary(op: UnaryOp, operand: &Expr, facts: &Facts) -> Option<Range> {
    let per = |unit: i128| {
        let Range { low, high } = range(operand, facts);
        Some(Range { low: low / unit, high: high / unit })
    };
    match op {
        UnaryOp::Neg => {
            let Range { low, high } = range(operand, facts);
            Some(Range { low: -high, high: -low })
        }
        UnaryOp::Datetime => text_of(operand).and_then(unix_millis).map(exactly),
        UnaryOp::Duration => text_of(operand).and_then(duration_millis).map(exactly),
        // The beginning of the day may lie before the beginning of time.
        UnaryOp::ToDate => {
            let Range { low, high } = range(operand, facts);
            Some(Range { low: low.div_euclid(DAY) * DAY, high })
        }
        UnaryOp::ToTime => Some(Range { low: 0, high: DAY - 1 }),
        UnaryOp::ToMilliseconds => per(1),
        UnaryOp::ToSeconds => per(1_000),
        UnaryOp::ToMinutes => per(60_000),
        UnaryOp::ToHours => per(3_600_000),
        UnaryOp::ToDays => per(DAY),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what is not computed here has the widest range")]
fn binary(op: BinaryOp, left: Range, right: Range) -> Option<Range> {
    match op {
        BinaryOp::Add | BinaryOp::Offset => {
            Some(Range { low: left.low + right.low, high: left.high + right.high })
        }
        BinaryOp::Sub | BinaryOp::DurationSince => {
            Some(Range { low: left.low - right.high, high: left.high - right.low })
        }
        BinaryOp::Mul => {
            let ends =
                [left.low * right.low, left.low * right.high, left.high * right.low, left.high * right.high];
            let [first, rest @ ..] = ends;
            Some(Range {
                low: rest.into_iter().fold(first, i128::min),
                high: rest.into_iter().fold(first, i128::max),
            })
        }
        _ => None,
    }
}

fn exactly(number: i64) -> Range {
    Range { low: number.into(), high: number.into() }
}
