//! The fragments and variables that an operation uses.

use std::collections::BTreeSet;

use apollo_compiler::ast::{Argument, DirectiveList, Value};
use apollo_compiler::executable::{Operation, Selection, SelectionSet};
use apollo_compiler::{ExecutableDocument, Node};

/// What an operation uses, through all its fragments.
#[derive(Default)]
pub(super) struct Used {
    pub(super) variables: BTreeSet<String>,
    pub(super) fragments: BTreeSet<String>,
}

impl Used {
    pub(super) fn by(document: &ExecutableDocument, operation: &Operation) -> Self {
        let mut used = Self::default();
        used.directives(&operation.directives);
        used.set(document, &operation.selection_set);
        used
    }

    fn set(&mut self, document: &ExecutableDocument, set: &SelectionSet) {
        for selection in &set.selections {
            self.directives(selection.directives());
            match selection {
                Selection::Field(field) => {
                    self.arguments(&field.arguments);
                    self.set(document, &field.selection_set);
                }
                Selection::InlineFragment(inline) => self.set(document, &inline.selection_set),
                Selection::FragmentSpread(spread) => {
                    // Once each, however often it is spread.
                    if self.fragments.insert(spread.fragment_name.as_str().to_owned())
                        && let Some(fragment) = document.fragments.get(&spread.fragment_name)
                    {
                        self.directives(&fragment.directives);
                        self.set(document, &fragment.selection_set);
                    }
                }
            }
        }
    }

    fn directives(&mut self, directives: &DirectiveList) {
        for directive in directives.iter() {
            self.arguments(&directive.arguments);
        }
    }

    fn arguments(&mut self, arguments: &[Node<Argument>]) {
        for argument in arguments {
            self.value(&argument.value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Variable(name) => {
                self.variables.insert(name.as_str().to_owned());
            }
            Value::List(items) => items.iter().for_each(|item| self.value(item)),
            Value::Object(members) => members.iter().for_each(|(_, value)| self.value(value)),
            Value::Null
            | Value::Enum(_)
            | Value::String(_)
            | Value::Float(_)
            | Value::Int(_)
            | Value::Boolean(_) => {}
        }
    }
}
