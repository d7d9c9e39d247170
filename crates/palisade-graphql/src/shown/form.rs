//! Which operations are answered from the schema: those whose answer is not far larger than it.
//!
//! Introspection is recursive: each list below another multiplies what is told. What tools ask for is a schema's types, the members of
//! each, and the arguments of those: that is as long as the schema. Two lists of any kind are answered as well, which look into one type
//! after another; and nothing beyond.

use apollo_compiler::executable::{Selection, SelectionSet};

use super::{IntrospectionError, MOST_ALIASES};
use crate::{Analysis, OperationKind};

/// The lists of introspection (GraphQL, section 4.2).
const LISTS: [&str; 8] =
    ["types", "directives", "fields", "inputFields", "enumValues", "interfaces", "possibleTypes", "args"];
/// The most lists below each other, whichever they are.
const MOST_LISTS: usize = 2;

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
    form.is_flat(&analysis.operation.selection_set, &[]).then_some(()).ok_or(IntrospectionError::Depth)
}

struct Form<'a> {
    analysis: &'a Analysis,
}

impl Form<'_> {
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
                let whole = matches!(below.as_slice(), ["types", "fields", "args"]);
                (below.len() <= MOST_LISTS || whole) && self.is_flat(&field.selection_set, &below)
            }
        })
    }
}
