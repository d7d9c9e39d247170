//! No member of an object stands twice (GraphQL, section 5.6.3).
//!
//! The library does not look, and servers differ in which of the two they take: what is decided on could be another
//! value than the one that is executed. So the whole document is looked through, before anything is read from it. The parser
//! has bounded how deep it is.

use std::collections::BTreeSet;

use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, Definition, DirectiveList, Document, Selection, Value};
use apollo_compiler::parser::SourceMap;

use crate::OperationError;
use crate::error::place;

/// Refuses a document with a member or an argument that stands twice.
pub(crate) fn check(document: &Document) -> Result<(), OperationError> {
    let looking = Looking { sources: &document.sources };
    document.definitions.iter().try_for_each(|definition| looking.definition(definition))
}

struct Looking<'a> {
    sources: &'a SourceMap,
}

impl Looking<'_> {
    fn definition(&self, definition: &Definition) -> Result<(), OperationError> {
        if let Some(fragment) = definition.as_fragment_definition() {
            self.directives(&fragment.directives)?;
            return self.selections(&fragment.selection_set);
        }
        // Validation refuses whatever else a document defines.
        let Some(operation) = definition.as_operation_definition() else { return Ok(()) };
        for variable in &operation.variables {
            self.directives(&variable.directives)?;
            variable.default_value.iter().try_for_each(|value| self.value(value))?;
        }
        self.directives(&operation.directives)?;
        self.selections(&operation.selection_set)
    }

    fn selections(&self, selections: &[Selection]) -> Result<(), OperationError> {
        selections.iter().try_for_each(|selection| match selection {
            Selection::Field(field) => {
                self.arguments(&field.arguments)?;
                self.directives(&field.directives)?;
                self.selections(&field.selection_set)
            }
            Selection::InlineFragment(inline) => {
                self.directives(&inline.directives)?;
                self.selections(&inline.selection_set)
            }
            Selection::FragmentSpread(spread) => self.directives(&spread.directives),
        })
    }

    fn directives(&self, directives: &DirectiveList) -> Result<(), OperationError> {
        directives.iter().try_for_each(|directive| self.arguments(&directive.arguments))
    }

    fn arguments(&self, arguments: &[Node<Argument>]) -> Result<(), OperationError> {
        let mut names = BTreeSet::new();
        for argument in arguments {
            if !names.insert(argument.name.as_str()) {
                return Err(OperationError::Invalid(place(argument.location(), self.sources)));
            }
            self.value(&argument.value)?;
        }
        Ok(())
    }

    fn value(&self, value: &Node<Value>) -> Result<(), OperationError> {
        match &**value {
            Value::List(items) => items.iter().try_for_each(|item| self.value(item)),
            Value::Object(members) => {
                let mut names = BTreeSet::new();
                for (name, member) in members {
                    if !names.insert(name.as_str()) {
                        return Err(OperationError::Invalid(place(name.location(), self.sources)));
                    }
                    self.value(member)?;
                }
                Ok(())
            }
            Value::Null
            | Value::Enum(_)
            | Value::Variable(_)
            | Value::String(_)
            | Value::Float(_)
            | Value::Int(_)
            | Value::Boolean(_) => Ok(()),
        }
    }
}
