//! Which operations are answered from the schema: those whose answer is not far larger than it.
//!
//! Introspection is recursive: each list below another multiplies what is told, and each alias adds as much again. What tools ask for is
//! the schema once, or single types: the members of each, and the arguments of those. Nothing beyond is answered.

use apollo_compiler::executable::{Selection, SelectionSet};

use super::{IntrospectionError, MOST_ALIASES};
use crate::{Analysis, OperationKind};

/// The lists of introspection (GraphQL, section 4.2).
const LISTS: [&str; 8] =
    ["types", "directives", "fields", "inputFields", "enumValues", "interfaces", "possibleTypes", "args"];
pub(super) fn check(analysis: &Analysis) -> Result<(), IntrospectionError> {
    let is_query = match analysis.kind {
        OperationKind::Query => true,
        OperationKind::Mutation | OperationKind::Subscription => false,
    };
    if !is_query || !analysis.introspects || !analysis.fields().is_empty() {
        return Err(IntrospectionError::Mixed);
    }
    if analysis.measure.aliases > MOST_ALIASES {
        return Err(IntrospectionError::Aliases);
    }
    let form = Form { analysis };
    let set = &analysis.operation.selection_set;
    if !form.has_aliases_of_types_alone(set, true) {
        return Err(IntrospectionError::Aliases);
    }
    form.is_flat(set, &[]).then_some(()).ok_or(IntrospectionError::Depth)
}

struct Form<'a> {
    analysis: &'a Analysis,
}

impl Form<'_> {
    /// Whether nothing has another name in the answer but what is asked about single types.
    fn has_aliases_of_types_alone(&self, set: &SelectionSet, at_root: bool) -> bool {
        set.selections.iter().all(|selection| match selection {
            Selection::InlineFragment(inline) => {
                self.has_aliases_of_types_alone(&inline.selection_set, at_root)
            }
            Selection::FragmentSpread(spread) => {
                let fragment = self.analysis.document.fragments.get(&spread.fragment_name);
                fragment
                    .is_some_and(|fragment| self.has_aliases_of_types_alone(&fragment.selection_set, at_root))
            }
            Selection::Field(field) => {
                (field.alias.is_none() || at_root && field.name == "__type")
                    && self.has_aliases_of_types_alone(&field.selection_set, false)
            }
        })
    }

    /// Whether what is selected below these lists multiplies nothing. The measure has bounded how much that is, with fragments at every
    /// spread.
    fn is_flat(&self, set: &SelectionSet, above: &[&str]) -> bool {
        set.selections.iter().all(|selection| match selection {
            Selection::InlineFragment(inline) => self.is_flat(&inline.selection_set, above),
            Selection::FragmentSpread(spread) => {
                let fragment = self.analysis.document.fragments.get(&spread.fragment_name);
                fragment.is_some_and(|fragment| self.is_flat(&fragment.selection_set, above))
            }
            Selection::Field(field) if !LISTS.contains(&field.name.as_str()) => {
                self.is_flat(&field.selection_set, above)
            }
            Selection::Field(field) => {
                let below = [above, &[field.name.as_str()]].concat();
                let members = match below.as_slice() {
                    ["types", members @ ..] => members,
                    all => all,
                };
                let is_known = matches!(members, [] | [_] | ["fields" | "directives", "args"]);
                is_known && self.is_flat(&field.selection_set, &below)
            }
        })
    }
}
