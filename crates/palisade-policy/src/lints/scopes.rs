//! Scopes that nobody lists, and scopes that are probably another one spelt wrong.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::pst::{BinaryOp, Expr};

use super::{
    Lint,
    statement::{Statement, of_context, text_of},
};
use crate::{Deployment, Diagnostic};

pub(super) fn lint(statements: &[Statement<'_>], deployment: &Deployment) -> Vec<Diagnostic> {
    let mut uses: BTreeMap<String, Vec<&Statement<'_>>> = BTreeMap::new();
    for statement in statements {
        for scope in asked(statement) {
            uses.entry(scope).or_default().push(statement);
        }
    }
    let listed: BTreeSet<&str> = deployment
        .settings
        .values()
        .flat_map(|settings| &settings.scopes)
        .map(palisade_model::Scope::as_str)
        .collect();
    let mut found = Vec::new();
    for (scope, by) in uses.iter().filter(|(scope, _)| !listed.contains(scope.as_str())) {
        if let Some(meant) = meant(scope, by, &uses, &listed) {
            let message = format!("the scope `{scope}` is known to nobody else");
            found.extend(everywhere(
                by,
                scope,
                Lint::MisspeltScope,
                &message,
                &format!("did you mean `{meant}`?"),
            ));
        } else if deployment.complete && !listed.is_empty() {
            let message = format!("no resource lists the scope `{scope}`");
            let help = "add it to the resource's `scopes`, or nobody learns of it and no step-up asks for it";
            found.extend(everywhere(by, scope, Lint::UnlistedScope, &message, help));
        }
    }
    found
}

fn everywhere(
    statements: &[&Statement<'_>],
    scope: &str,
    lint: Lint,
    message: &str,
    help: &str,
) -> Vec<Diagnostic> {
    let words = format!("{scope:?}");
    statements.iter().map(|statement| statement.finding_at(&words, lint, message).help(help)).collect()
}

/// The scopes that a condition asks for: texts next to `context.scopes`.
fn asked(statement: &Statement<'_>) -> BTreeSet<String> {
    let mut scopes = BTreeSet::new();
    statement.visit(|expression| {
        let Expr::BinaryOp { op, left, right } = expression else { return };
        let asks = matches!(op, BinaryOp::Contains | BinaryOp::ContainsAny | BinaryOp::ContainsAll);
        let other = if of_context(left) == Some("scopes") {
            right
        } else if of_context(right) == Some("scopes") {
            left
        } else {
            return;
        };
        let elements = if let Expr::Set(elements) = &**other {
            elements.as_slice()
        } else {
            std::slice::from_ref(other)
        };
        if asks {
            scopes.extend(elements.iter().filter_map(|element| text_of(element)).map(str::to_owned));
        }
    });
    scopes
}

/// The scope that was meant: a listed one that is near, or one that other policies ask for more often.
fn meant<'a>(
    scope: &str,
    by: &[&Statement<'_>],
    uses: &'a BTreeMap<String, Vec<&Statement<'_>>>,
    listed: &BTreeSet<&'a str>,
) -> Option<&'a str> {
    let elsewhere = uses
        .iter()
        .filter(|(other, of_other)| listed.is_empty() && *other != scope && of_other.len() > by.len())
        .map(|(other, _)| other.as_str());
    listed
        .iter()
        .copied()
        .chain(elsewhere)
        .filter(|known| near(scope, known))
        .min_by_key(|known| strsim::damerau_levenshtein(scope, known))
}

/// Whether one is the other spelt wrong: one slip, or two in a long word, within one part of the scope. `v1:read` and
/// `v2:read` are two scopes, `order:read` and `order:write` as well.
fn near(scope: &str, known: &str) -> bool {
    let parts = |text: &str| text.split([':', '.', '/', '_', '-']).map(str::to_owned).collect::<Vec<_>>();
    let (left, right) = (parts(scope), parts(known));
    if left.len() != right.len() {
        return scope.len() > 5 && strsim::damerau_levenshtein(scope, known) == 1;
    }
    let mut differing = left.iter().zip(&right).filter(|(one, other)| one != other);
    let (Some((one, other)), None) = (differing.next(), differing.next()) else {
        return strsim::damerau_levenshtein(scope, known) == 1;
    };
    let numbered =
        |text: &str| text.trim_end_matches(|character: char| character.is_ascii_digit()).to_owned();
    let slips = strsim::damerau_levenshtein(one, other);
    let length = one.len().min(other.len());
    numbered(one) != numbered(other) && ((slips == 1 && length >= 4) || (slips == 2 && length >= 8))
}
