//! Conditions on arguments that a caller can get around: by leaving the argument out, or with `..` in a path.

use cedar_policy::pst::{BinaryOp, Expr, PatternElem};

use super::{
    Lint,
    reach::Reach,
    statement::{Statement, bag, of_context, text_of, visit},
};
use crate::{Diagnostic, Effect};

pub(super) fn lint(statements: &[Statement<'_>], reach: &Reach) -> Vec<Diagnostic> {
    let guards: Vec<(&Statement<'_>, Vec<Expr>)> = statements
        .iter()
        .filter(|statement| statement.effect == Effect::Forbid)
        .map(|statement| (statement, patterns(statement, climbs)))
        .filter(|(_, guarded)| !guarded.is_empty())
        .collect();
    let mut found = Vec::new();
    for statement in statements {
        found.extend(absent(statement));
        let own = patterns(statement, climbs);
        for argument in patterns(statement, begins_a_path) {
            let elsewhere = guards
                .iter()
                .any(|(guard, guarded)| guarded.contains(&argument) && reach.wider_head(guard, statement));
            if !own.contains(&argument) && !elsewhere {
                found.push(unguarded(statement, &argument));
            }
        }
    }
    found
}

/// A forbid that holds only where the argument is there, and in the bag it looks into.
fn absent(statement: &Statement<'_>) -> Option<Diagnostic> {
    if statement.effect == Effect::Permit {
        return None;
    }
    let pointer = statement.conjuncts.iter().find_map(needed)?;
    let message = format!(
        "forbids nothing when the argument `{pointer}` is left out, or is of another type than the one looked for"
    );
    let help = "write what must hold, with `unless { .. }`, so that what is missing or odd is forbidden";
    Some(statement.finding_at(&format!("{pointer:?}"), Lint::AbsentArgument, message).help(help))
}

/// The argument that has to be there for the expression to hold.
fn needed(expression: &Expr) -> Option<String> {
    let Expr::BinaryOp { op, left, right } = expression else { return None };
    if *op == BinaryOp::HasTag {
        bag(left).and(text_of(right)).map(str::to_owned)
    } else if *op == BinaryOp::And {
        needed(left).or_else(|| needed(right))
    } else if *op == BinaryOp::Or {
        // Either side may do: the argument has to be there if both need it.
        needed(left).filter(|pointer| needed(right).as_ref() == Some(pointer))
    } else {
        None
    }
}

fn unguarded(statement: &Statement<'_>, argument: &Expr) -> Diagnostic {
    let message = format!("`{argument}` is compared with the beginning of a path, which `..` leads out of");
    let help = format!("add `&& !({argument} like \"*..*\")`");
    let words = tag(argument).map(|pointer| format!("{pointer:?}")).unwrap_or_default();
    statement.finding_at(&words, Lint::UnguardedPrefix, message).help(help)
}

/// The arguments that are matched with a pattern of this kind.
fn patterns(statement: &Statement<'_>, kind: fn(&[PatternElem]) -> bool) -> Vec<Expr> {
    let mut found: Vec<Expr> = Vec::new();
    statement.visit(|expression| {
        if let Expr::Like { expr, pattern } = expression
            && kind(pattern)
            && is_argument(expr)
            && !found.contains(expr)
        {
            found.push((**expr).clone());
        }
    });
    found
}

/// `/x/*`, `https://h/*`: fixed up to a last `*`, and with a slash.
fn begins_a_path(pattern: &[PatternElem]) -> bool {
    let Some((PatternElem::Wildcard, beginning)) = pattern.split_last() else { return false };
    let fixed = beginning.iter().all(|element| matches!(element, PatternElem::Char(_)));
    fixed && beginning.contains(&PatternElem::Char('/'))
}

fn climbs(pattern: &[PatternElem]) -> bool {
    let dot = &PatternElem::Char('.');
    pattern.windows(2).any(|pair| pair.iter().all(|element| element == dot))
}

/// A text of `context.args`, or of the input of a typed tool.
fn is_argument(expression: &Expr) -> bool {
    let mut found = false;
    visit(expression, &mut |inner| {
        found = found || bag(inner) == Some("text") || of_context(inner) == Some("input");
    });
    found
}

/// The pointer in `getTag(pointer)`, or the name in `context.input.name`.
fn tag(expression: &Expr) -> Option<&str> {
    if let Expr::GetAttr { attr, .. } = expression {
        return Some(attr);
    }
    let Expr::BinaryOp { op: BinaryOp::GetTag, right, .. } = expression else { return None };
    text_of(right)
}
