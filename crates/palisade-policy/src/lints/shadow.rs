//! Policies that change nothing, because another one holds wherever they hold.
//!
//! The test is syntactic: the other one's head is wider, and every conjunct of its condition is one of theirs too. To
//! compare a large set, candidates are looked up by head and by one conjunct.

use std::collections::{BTreeSet, HashMap};

use super::{
    Lint,
    failing::may_fail,
    reach::Reach,
    statement::{Bound, Statement},
};
use crate::{Diagnostic, Effect};

/// Effect, principal, resource and the first of the conjuncts in the order of their texts.
type Key<'a> = (bool, &'a Bound, &'a Bound, Option<&'a str>);

pub(super) fn lint(statements: &[Statement<'_>], reach: &Reach) -> Vec<Diagnostic> {
    let conjuncts: Vec<BTreeSet<String>> = statements
        .iter()
        .map(|statement| statement.conjuncts.iter().map(ToString::to_string).collect())
        .collect();
    let with_conjuncts = || statements.iter().zip(&conjuncts).enumerate();
    let mut by_key: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
    for (at, (statement, conjuncts)) in with_conjuncts() {
        // What may fail covers nothing for sure.
        if !may_fail(statement) {
            let first = conjuncts.first().map(String::as_str);
            let forbids = statement.effect == Effect::Forbid;
            by_key.entry((forbids, &statement.principal, &statement.resource, first)).or_default().push(at);
        }
    }
    let mut found = Vec::new();
    for (at, (statement, own)) in with_conjuncts() {
        let covers = |other: &usize| {
            let (Some(wide), Some(of_wide)) = (statements.get(*other), conjuncts.get(*other)) else {
                return false;
            };
            let covers = *other != at && of_wide.is_subset(own) && reach.wider_actions(wide, statement);
            // Of two that are alike the second is the one too many.
            let alike = || {
                (&wide.actions, &wide.principal, &wide.resource, of_wide)
                    == (&statement.actions, &statement.principal, &statement.resource, own)
            };
            covers && (wide.effect != statement.effect || *other < at || !alike())
        };
        let cover = candidates(statement, own, reach, &by_key).into_iter().find(covers);
        found.extend(cover.and_then(|cover| statements.get(cover)).and_then(|wide| finding(statement, wide)));
    }
    found
}

/// The policies whose principal and resource are wider and that begin with one of its conjuncts, or have none. Forbids
/// come first: they say the most.
fn candidates(
    statement: &Statement<'_>,
    conjuncts: &BTreeSet<String>,
    reach: &Reach,
    by_key: &HashMap<Key<'_>, Vec<usize>>,
) -> Vec<usize> {
    let (principals, resources) = (reach.wider(&statement.principal), reach.wider(&statement.resource));
    let effects: &[bool] = match statement.effect {
        Effect::Permit => &[true, false],
        Effect::Forbid => &[true],
    };
    let mut found = Vec::new();
    for forbids in effects {
        for principal in &principals {
            for resource in &resources {
                for first in std::iter::once(None).chain(conjuncts.iter().map(|text| Some(text.as_str()))) {
                    found.extend(by_key.get(&(*forbids, principal, resource, first)).into_iter().flatten());
                }
            }
        }
    }
    found
}

fn finding(statement: &Statement<'_>, wide: &Statement<'_>) -> Option<Diagnostic> {
    match (statement.effect, wide.effect) {
        (Effect::Permit, Effect::Forbid) => Some(
            statement
                .finding(Lint::Shadowed, format!("permits nothing: {} forbids all of it", wide.named()))
                .help("remove one of the two, or narrow the forbid"),
        ),
        // An annotation that a decision carries is a reason to stand beside a wider one.
        (Effect::Permit, Effect::Permit) | (Effect::Forbid, Effect::Forbid) if !statement.speaks => Some(
            statement
                .finding(Lint::Shadowed, format!("changes nothing: {} covers all of it", wide.named()))
                .help("remove it, or narrow the other one"),
        ),
        (Effect::Permit | Effect::Forbid, Effect::Permit | Effect::Forbid) => None,
    }
}
