//! What the directives ask for each operation of a document, whatever its variables are: for those who write an operation
//! down before anybody sends it.
//!
//! The rules are those of [`crate::Dialect::Apollo`], which are all that any router asks for: the fields, what they return, the
//! implementers of an interface, the type of the operation, and what `@skip` may leave out. A fragment is gone through
//! once, however often it is spread.

use std::collections::{BTreeMap, HashSet};

use apollo_compiler::executable::{Field, Operation, Selection, SelectionSet};
use apollo_compiler::{ExecutableDocument, Name, Node};

use crate::analysis::{parse, validate};
use crate::error::place;
use crate::requirements::{of_field, of_type};
use crate::{Coordinate, Dialect, OperationError, OperationKind, Rule, Schema};

/// What one operation asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Its name.
    pub name: Option<String>,
    /// What kind it is.
    pub kind: OperationKind,
    /// Everything that has to hold, by what asks for it.
    pub rules: BTreeMap<Coordinate, Rule>,
}

impl Schema {
    /// What every operation of a document asks for, in the document's order.
    ///
    /// # Errors
    /// When the document cannot be read, does not fit the schema, comes to more than the limits allow, or has no operation.
    pub fn needs(&self, document: &str) -> Result<Vec<Needs>, OperationError> {
        let parsed = parse(document, &self.limits)?;
        // Also bounds how deep the way below goes.
        crate::measure::measure(&parsed, None, &self.limits)?;
        let valid = validate(&parsed, self)?;
        let needs: Vec<Needs> = valid
            .operations
            .iter()
            .map(|operation| self.needs_of(&valid, operation))
            .collect::<Result<_, _>>()?;
        if needs.is_empty() { Err(OperationError::NoOperation) } else { Ok(needs) }
    }

    fn needs_of(
        &self,
        document: &ExecutableDocument,
        operation: &Node<Operation>,
    ) -> Result<Needs, OperationError> {
        let root = operation.object_type().as_str();
        let rule = self.type_rule(root).filter(|rule| !rule.is_empty());
        let rules = rule.map(|rule| (Coordinate::of_type(root), rule.clone())).into_iter().collect();
        let mut walk = Walk { schema: self, document, seen: HashSet::new(), rules };
        walk.selections(&operation.selection_set)?;
        Ok(Needs {
            name: operation.name.as_ref().map(|name| name.as_str().to_owned()),
            kind: operation.operation_type.into(),
            rules: walk.rules,
        })
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    document: &'a ExecutableDocument,
    /// The fragments that were gone through.
    seen: HashSet<&'a Name>,
    rules: BTreeMap<Coordinate, Rule>,
}

impl<'a> Walk<'a> {
    fn selections(&mut self, set: &'a SelectionSet) -> Result<(), OperationError> {
        for selection in &set.selections {
            match selection {
                Selection::Field(field) => self.field(&set.ty, field)?,
                Selection::InlineFragment(inline) => match &inline.type_condition {
                    None => self.selections(&inline.selection_set)?,
                    Some(condition) => self.fragment(condition, &inline.selection_set)?,
                },
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.fragment_name);
                    if let Some(fragment) = fragment.filter(|_| self.seen.insert(&spread.fragment_name)) {
                        self.fragment(fragment.type_condition(), &fragment.selection_set)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn fragment(&mut self, condition: &Name, set: &'a SelectionSet) -> Result<(), OperationError> {
        if self.is_hidden(condition.as_str()) {
            let place = place(condition.location(), &self.document.sources);
            let coordinate = Coordinate::of_type(condition.as_str());
            return Err(OperationError::Inaccessible { coordinate, place });
        }
        self.add(of_type(self.schema, Dialect::Apollo, condition.as_str(), set));
        self.selections(set)
    }

    fn field(&mut self, parent: &Name, field: &'a Node<Field>) -> Result<(), OperationError> {
        if field.name.starts_with("__") {
            return Ok(());
        }
        let own = self.schema.field(parent.as_str(), field.name.as_str());
        if own.is_some_and(|facts| facts.inaccessible)
            || self.is_hidden(field.ty().inner_named_type().as_str())
        {
            let place = place(field.location(), &self.document.sources);
            let coordinate = Coordinate::of_field(parent.as_str(), field.name.as_str());
            return Err(OperationError::Inaccessible { coordinate, place });
        }
        self.add(of_field(self.schema, Dialect::Apollo, parent.as_str(), field));
        self.selections(&field.selection_set)
    }

    fn is_hidden(&self, type_name: &str) -> bool {
        self.schema.types.get(type_name).is_some_and(|facts| facts.inaccessible)
    }

    fn add(&mut self, rules: Vec<(Coordinate, &Rule)>) {
        self.rules.extend(rules.into_iter().map(|(coordinate, rule)| (coordinate, rule.clone())));
    }
}

#[cfg(test)]
mod tests;
