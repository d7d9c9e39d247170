//! What the directives of a schema ask of an operation, before anything is decided.
//!
//! The rules that count are found by [`of_field`] and [`of_type`], for this as for the filter: what was not asked
//! for could not be judged.

use std::collections::BTreeSet;

use apollo_compiler::executable::{Field, Selection, SelectionSet};

use crate::analysis::Part;
use crate::{Analysis, Coordinate, Dialect, Rule, Schema};

/// What the directives ask for: enough to decide each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements {
    /// Whether anything needs somebody to be authenticated.
    pub authenticated: bool,
    /// Every scope that is named.
    pub scopes: BTreeSet<String>,
    /// Every policy that is named.
    pub policies: BTreeSet<String>,
}

impl Schema {
    /// What the directives ask of an operation.
    #[must_use]
    pub fn requirements(&self, analysis: &Analysis, dialect: Dialect) -> Requirements {
        let mut requirements = Requirements::default();
        let mut rules =
            self.type_rule(analysis.operation.object_type().as_str()).into_iter().collect::<Vec<_>>();
        for step in &analysis.steps {
            if dialect.evaluates_conditions() && !step.executed {
                continue;
            }
            let found = match &step.part {
                Part::Field { parent, field } => of_field(self, dialect, parent.as_str(), field),
                fragment @ (Part::Inline { .. } | Part::Named(_)) => fragment
                    .condition()
                    .map(|(condition, set)| of_type(self, dialect, condition, set))
                    .unwrap_or_default(),
            };
            rules.extend(found.into_iter().map(|(_, rule)| rule));
        }
        for rule in rules {
            let for_scopes = dialect.scopes_authenticate() && !rule.scopes.is_empty();
            requirements.authenticated |= rule.authenticated || for_scopes;
            requirements.scopes.extend(rule.scopes.names().map(str::to_owned));
            requirements.policies.extend(rule.policies.names().map(str::to_owned));
        }
        requirements
    }
}

/// The rules that a field has to meet, in the order in which they are told: its own, that of what it returns, and with
/// [`Dialect::Apollo`], on an interface, those of every implementer.
pub(crate) fn of_field<'s>(
    schema: &'s Schema,
    dialect: Dialect,
    parent: &str,
    field: &Field,
) -> Vec<(Coordinate, &'s Rule)> {
    let name = field.name.as_str();
    let mut rules = Vec::new();
    let own = |of: &str| Some((Coordinate::of_field(of, name), &schema.field(of, name)?.rule));
    rules.extend(own(parent));
    if dialect.judges_implementers() {
        rules.extend(schema.implementers(parent).filter_map(own));
    }
    rules.extend(of_type(schema, dialect, field.ty().inner_named_type().as_str(), &field.selection_set));
    rules.retain(|(_, rule)| !rule.is_empty());
    rules
}

/// The rules of a type of which something is selected: its own, and with [`Dialect::Apollo`] those of every implementer
/// where a field of the interface itself is selected.
pub(crate) fn of_type<'s>(
    schema: &'s Schema,
    dialect: Dialect,
    name: &str,
    set: &SelectionSet,
) -> Vec<(Coordinate, &'s Rule)> {
    let mut rules = Vec::new();
    let own = |of: &str| Some((Coordinate::of_type(of), schema.type_rule(of)?));
    rules.extend(own(name));
    if dialect.judges_implementers() && selects_plainly(set) {
        rules.extend(schema.implementers(name).filter_map(own));
    }
    rules.retain(|(_, rule)| !rule.is_empty());
    rules
}

/// Whether a field is selected on the type itself, and not in a fragment on another.
fn selects_plainly(set: &SelectionSet) -> bool {
    set.selections.iter().any(|selection| match selection {
        Selection::Field(field) => field.name != "__typename",
        Selection::InlineFragment(inline) => {
            inline.type_condition.is_none() && selects_plainly(&inline.selection_set)
        }
        Selection::FragmentSpread(_) => false,
    })
}

impl Dialect {
    /// Whether `@skip` and `@include` count for what an operation asks.
    pub(crate) fn evaluates_conditions(self) -> bool {
        match self {
            Self::Hive => true,
            Self::Apollo | Self::Cosmo => false,
        }
    }

    /// Whether a scope is worth nothing to who is not authenticated.
    pub(crate) fn scopes_authenticate(self) -> bool {
        match self {
            Self::Hive => true,
            Self::Apollo | Self::Cosmo => false,
        }
    }

    /// Whether the implementers' rules count for a field of their interface. The others rely on the composition,
    /// which has put them on the interface.
    pub(crate) fn judges_implementers(self) -> bool {
        match self {
            Self::Apollo => true,
            Self::Hive | Self::Cosmo => false,
        }
    }
}
