//! The way through an operation, spread by spread.
//!
//! It goes no deeper and no further than [`crate::measure`] has allowed. A field of the text has the same arguments
//! at every spread, so its questions are made once.

use std::collections::HashMap;
use std::sync::Arc;

use apollo_compiler::ast::{DirectiveList, InputValueDefinition, Type};
use apollo_compiler::executable::{Field, Operation, Selection, SelectionSet};
use apollo_compiler::{ExecutableDocument, Name, Node};
use palisade_model::canonical_json;
use serde_json::{Map, Value};

use super::{Ask, FieldUse, Occurrence, Part, Step};
use crate::arguments::{Arguments, Unfit, size};
use crate::error::{Limit, place};
use crate::{Coordinate, OperationError, Schema};

/// What was found on the way.
#[derive(Default)]
pub(super) struct Found {
    pub(super) introspects: bool,
    pub(super) fields: Vec<FieldUse>,
    pub(super) asks: Vec<Ask>,
    pub(super) steps: Vec<Step>,
    pub(super) nodes: HashMap<usize, Vec<usize>>,
    /// The bytes of arguments that could still have come.
    pub(super) left: usize,
}

/// Where the way is.
#[derive(Clone, Copy)]
struct At {
    step: Option<usize>,
    lists: usize,
    executed: bool,
}

pub(super) struct Walk<'a> {
    schema: &'a Schema,
    document: &'a ExecutableDocument,
    arguments: Arguments<'a>,
    found: Found,
    field_index: HashMap<Coordinate, usize>,
    ask_index: HashMap<Ask, usize>,
}

impl<'a> Walk<'a> {
    pub(super) fn through(
        schema: &'a Schema,
        document: &'a ExecutableDocument,
        operation: &Operation,
        variables: &'a Map<String, Value>,
        left: usize,
    ) -> Result<Found, OperationError> {
        let arguments = Arguments { schema: &schema.valid, variables, left, level: 0 };
        let mut walk = Self {
            schema,
            document,
            arguments,
            found: Found::default(),
            field_index: HashMap::new(),
            ask_index: HashMap::new(),
        };
        walk.selections(&operation.selection_set, At { step: None, lists: 0, executed: true })?;
        walk.found.left = walk.arguments.left;
        Ok(walk.found)
    }

    fn selections(&mut self, set: &SelectionSet, at: At) -> Result<(), OperationError> {
        let document = self.document;
        for selection in &set.selections {
            let executed = at.executed && executes(selection.directives(), self.arguments.variables);
            let at = At { executed, ..at };
            match selection {
                Selection::Field(field) => self.field(&set.ty, field, at)?,
                Selection::InlineFragment(inline) => match &inline.type_condition {
                    None => self.selections(&inline.selection_set, at)?,
                    Some(condition) => {
                        let part = Part::Inline { condition: condition.clone(), fragment: inline.clone() };
                        self.fragment(condition, part, &inline.selection_set, at)?;
                    }
                },
                Selection::FragmentSpread(spread) => {
                    // Validation has found them all.
                    let Some(fragment) = document.fragments.get(&spread.fragment_name) else { continue };
                    let part = Part::Named(fragment.clone());
                    self.fragment(fragment.type_condition(), part, &fragment.selection_set, at)?;
                }
            }
        }
        Ok(())
    }

    fn fragment(
        &mut self,
        condition: &Name,
        part: Part,
        set: &SelectionSet,
        at: At,
    ) -> Result<(), OperationError> {
        if self.schema.types.get(condition.as_str()).is_some_and(|facts| facts.inaccessible) {
            let place = place(condition.location(), &self.document.sources);
            return Err(OperationError::Inaccessible {
                coordinate: Coordinate::of_type(condition.as_str()),
                place,
            });
        }
        let step = self.step(part, at);
        self.selections(set, At { step: Some(step), ..at })
    }

    fn field(&mut self, parent: &Name, field: &Node<Field>, at: At) -> Result<(), OperationError> {
        if field.name.starts_with("__") {
            self.found.introspects |= field.name != "__typename";
            // What is below is the schema's, and has no coordinates of its own.
            return Ok(());
        }
        let coordinate = Coordinate::of_field(parent.as_str(), field.name.as_str());
        self.accessible(&coordinate, field)?;
        let arguments = self.questions(parent.as_str(), &coordinate, field)?;
        let step = self.step(Part::Field { parent: parent.clone(), field: field.clone() }, at);
        let lists = at.lists + lists(field.ty());
        let occurrence = Occurrence { arguments, list_depth: lists, executed: at.executed, step };
        let fields = &mut self.found.fields;
        let index = *self.field_index.entry(coordinate.clone()).or_insert_with(|| {
            fields.push(FieldUse { coordinate, occurrences: Vec::new() });
            fields.len() - 1
        });
        if let Some(used) = fields.get_mut(index) {
            used.occurrences.push(occurrence);
        }
        self.selections(&field.selection_set, At { step: Some(step), lists, ..at })
    }

    fn step(&mut self, part: Part, at: At) -> usize {
        self.found.steps.push(Step { above: at.step, part, executed: at.executed });
        self.found.steps.len() - 1
    }

    fn accessible(&self, coordinate: &Coordinate, field: &Node<Field>) -> Result<(), OperationError> {
        let facts = self.schema.types.get(coordinate.type_name());
        let hidden =
            facts.and_then(|facts| facts.fields.get(field.name.as_str())).is_some_and(|it| it.inaccessible);
        let output = self.schema.types.get(field.ty().inner_named_type().as_str());
        if hidden || output.is_some_and(|facts| facts.inaccessible) {
            let place = place(field.location(), &self.document.sources);
            return Err(OperationError::Inaccessible { coordinate: coordinate.clone(), place });
        }
        Ok(())
    }

    /// Notes the questions about a field of the text, and answers its arguments.
    fn questions(
        &mut self,
        parent: &str,
        coordinate: &Coordinate,
        field: &Node<Field>,
    ) -> Result<Arc<Map<String, Value>>, OperationError> {
        let at = field.location().map(|location| location.offset());
        let noted = at.and_then(|at| self.found.nodes.get(&at)?.first());
        if let Some(ask) = noted.and_then(|index| self.found.asks.get(*index)) {
            return Ok(Arc::clone(&ask.arguments));
        }
        let own = &field.definition.arguments;
        let first = self.read(coordinate.clone(), own, field)?;
        let arguments = Arc::clone(&first.arguments);
        let mut indices = vec![self.ask(first.clone())?];
        let schema = self.schema;
        for object in schema.implementers(parent) {
            let coordinate = Coordinate::of_field(object, field.name.as_str());
            let ask = match schema.valid.type_field(object, field.name.as_str()) {
                // What is executed is the object's field: its arguments may be more, and have other defaults.
                Ok(defined) if defined.arguments != *own => {
                    self.read(coordinate, &defined.arguments, field)?
                }
                Ok(_) | Err(_) => {
                    let bytes =
                        first.arguments.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
                    let paid = self.arguments.spend(bytes);
                    paid.map_err(|unfit| self.unfit(unfit, &coordinate, field))?;
                    Ask { coordinate, ..first.clone() }
                }
            };
            indices.push(self.ask(ask)?);
        }
        if let Some(at) = at {
            self.found.nodes.insert(at, indices);
        }
        Ok(arguments)
    }

    /// The question about a field, with the arguments that a definition of it makes of those in the text.
    fn read(
        &mut self,
        coordinate: Coordinate,
        defined: &[Node<InputValueDefinition>],
        field: &Node<Field>,
    ) -> Result<Ask, OperationError> {
        let read = self.arguments.read(defined, &field.arguments);
        let arguments = read.map_err(|unfit| self.unfit(unfit, &coordinate, field))?;
        let canonical =
            if arguments.is_empty() { "" } else { &*canonical_json(&Value::Object(arguments.clone())) };
        Ok(Ask { coordinate, arguments: Arc::new(arguments), canonical: canonical.into() })
    }

    fn unfit(&self, unfit: Unfit, coordinate: &Coordinate, field: &Node<Field>) -> OperationError {
        unfit.at(self.schema.limits.arguments, || OperationError::Argument {
            coordinate: coordinate.clone(),
            place: place(field.location(), &self.document.sources),
        })
    }

    /// The question's index, which it gets when it is asked first.
    fn ask(&mut self, ask: Ask) -> Result<usize, OperationError> {
        if let Some(index) = self.ask_index.get(&ask) {
            return Ok(*index);
        }
        let index = self.found.asks.len();
        let most = self.schema.limits.questions;
        if index >= most {
            return Err(OperationError::TooMuch { limit: Limit::Questions, most });
        }
        self.found.asks.push(ask.clone());
        self.ask_index.insert(ask, index);
        Ok(index)
    }
}

/// What `@skip` and `@include` come to (GraphQL, section 3.13).
pub(crate) fn executes(directives: &DirectiveList, variables: &Map<String, Value>) -> bool {
    let says = |name: &str| {
        let value = directives.get(name)?.specified_argument_by_name("if")?;
        match value.as_variable() {
            Some(variable) => variables.get(variable.as_str())?.as_bool(),
            None => value.to_bool(),
        }
    };
    says("skip") != Some(true) && says("include") != Some(false)
}

fn lists(ty: &Type) -> usize {
    match ty {
        Type::Named(_) | Type::NonNullNamed(_) => 0,
        Type::List(item) | Type::NonNullList(item) => 1 + lists(item),
    }
}
