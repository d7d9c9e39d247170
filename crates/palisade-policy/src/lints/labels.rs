//! Rules on a label of a GraphQL schema that do not reach all that they seem to.
//!
//! A label is on what it stands on alone, and operations are asked about field by field. What a forbid keeps off by the label of an
//! interface can be had by way of a type that is one, and by that of a scalar everywhere.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::pst::{Expr, Literal, UnaryOp};

use super::{
    Lint,
    statement::{Bound, Statement, Uid, visit},
};
use crate::{Diagnostic, Effect, World};

const LABEL: &str = "Graphql::Label";
/// The most that a finding names.
const MOST_NAMED: usize = 5;

pub(super) fn lint(statements: &[Statement<'_>], world: &World) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for statement in statements {
        for label in kept_off(statement) {
            for (place, lacking) in unlabelled(world, &label).into_iter().flatten() {
                let message =
                    format!("the label `{}` of `{place}` does not reach {}", label.id, named(lacking));
                let help = "tag these, too: a label is on what it stands on, and whoever asks for these is not asked for it";
                found.push(statement.finding_at(&label.shown(), Lint::PartlyLabelled, message).help(help));
            }
        }
    }
    found
}

/// The labels that a policy keeps off from: those that a forbid names, and a permit only to be out of them.
fn kept_off(statement: &Statement<'_>) -> BTreeSet<Uid> {
    let mut labels = BTreeSet::new();
    match statement.effect {
        Effect::Forbid => {
            if let Bound::In(uid) | Bound::IsIn(_, uid) = &statement.resource {
                labels.insert(uid.clone());
            }
            statement.visit(|expression| labels.extend(entity(expression)));
        }
        Effect::Permit => statement.visit(|expression| {
            if let Expr::UnaryOp { op: UnaryOp::Not, expr } = expression {
                visit(expr, &mut |inner: &Expr| labels.extend(entity(inner)));
            }
        }),
    }
    labels.retain(|uid| uid.type_name == LABEL);
    labels
}

fn entity(expression: &Expr) -> Option<Uid> {
    let Expr::Literal(Literal::EntityUID(uid)) = expression else { return None };
    Some(Uid::from(uid))
}

fn unlabelled<'w>(world: &'w World, label: &Uid) -> Option<&'w BTreeMap<String, BTreeSet<String>>> {
    let (graph, label) = label.id.split_once('/')?;
    let resource = world.resources.iter().find(|resource| resource.name.as_str() == graph)?;
    resource.graph.as_ref()?.unlabelled.get(label)
}

fn named(coordinates: &BTreeSet<String>) -> String {
    let first: Vec<String> =
        coordinates.iter().take(MOST_NAMED).map(|coordinate| format!("`{coordinate}`")).collect();
    match coordinates.len().saturating_sub(MOST_NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
