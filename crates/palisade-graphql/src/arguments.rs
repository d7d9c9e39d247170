//! The values of variables and arguments, as a server would see them.
//!
//! Literals, variables and defaults are read by the same rules: with the defaults of the schema and of the operation at
//! every level, a value where a list is due as a list of one, and ids as strings however they were written, so that a
//! policy that compares an argument cannot be passed by with another spelling. All values together are bounded: a
//! variable can be used in every field, and each use is a copy.

use std::collections::BTreeMap;

use apollo_compiler::ast::{Argument, InputValueDefinition, Type, Value as Literal};
use apollo_compiler::executable::{Operation, SelectionSet};
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::response::{JsonMap, serde_json_bytes};
use apollo_compiler::schema::{ExtendedType, InputObjectType};
use apollo_compiler::validation::Valid;
use apollo_compiler::{Name, Node};
use serde_json::{Map, Value};

use crate::error::{Limit, OperationError};
use crate::limits::NESTING;

type ValidSchema = Valid<apollo_compiler::Schema>;

/// The largest integer that every server reads as the same one: some keep all numbers as 64-bit floats.
const MOST_EXACT: i64 = (1 << 53) - 1;
const MOST_EXACT_FLOAT: f64 = 9_007_199_254_740_991.0;

/// The values of an operation's variables; those that have none are not in it. They are paid for from `left`.
pub(crate) fn variables(
    schema: &ValidSchema,
    operation: &Operation,
    given: &Map<String, Value>,
    left: &mut usize,
    most: usize,
) -> Result<Map<String, Value>, OperationError> {
    // The library says whether they fit. It leaves defaults as they are written, so the values are not its own.
    check(schema, operation, given)?;
    let none = Map::new();
    let mut reading = Arguments { schema, variables: &none, left: *left, level: 0 };
    let mut values = Map::new();
    for variable in &operation.variables {
        let name = variable.name.as_str();
        let supplied = given.get(name).map(Given::Json);
        let Some(value) = supplied.or(variable.default_value.as_deref().map(Given::Literal)) else {
            continue;
        };
        let value = reading.spend(name.len()).and_then(|()| reading.given(&variable.ty, value));
        let value = value.map_err(|unfit| unfit.at(most, || OperationError::Variable(name.to_owned())))?;
        values.insert(name.to_owned(), value);
    }
    *left = reading.left;
    Ok(values)
}

fn check(
    schema: &ValidSchema,
    operation: &Operation,
    given: &Map<String, Value>,
) -> Result<(), OperationError> {
    let wanted = |name: &str| operation.variables.iter().any(|variable| variable.name == name);
    let given: JsonMap = given
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| (name.as_str().into(), serde_json_bytes::Value::from(value.clone())))
        .collect();
    coerce_variable_values(schema, operation, &given)
        .map(drop)
        .map_err(|_| OperationError::Variable(offender(schema, operation, &given)))
}

/// Which variable cannot be coerced: the library's own message would say its value.
fn offender(schema: &ValidSchema, operation: &Operation, given: &JsonMap) -> String {
    let alone = |variable: &&Node<_>| {
        let operation = Operation {
            variables: vec![Node::clone(variable)],
            selection_set: SelectionSet::new(operation.selection_set.ty.clone()),
            name: None,
            directives: Default::default(),
            operation_type: operation.operation_type,
        };
        coerce_variable_values(schema, &operation, given).is_err()
    };
    operation
        .variables
        .iter()
        .find(alone)
        .map(|variable| variable.name.as_str().to_owned())
        .unwrap_or_default()
}

/// What is wrong with an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is missing, or does not fit its type.
    Value,
    /// All arguments together are too large.
    Size,
}

impl Unfit {
    /// The error, with what only the caller knows.
    pub(crate) fn at(self, most: usize, argument: impl FnOnce() -> OperationError) -> OperationError {
        match self {
            Self::Value => argument(),
            Self::Size => OperationError::TooMuch { limit: Limit::Arguments, most },
        }
    }
}

/// A value as it stands in a text, or in the variables of a request.
#[derive(Clone, Copy)]
enum Given<'v> {
    Literal(&'v Literal),
    Json(&'v Value),
}

/// Reads the arguments of one field after the other.
pub(crate) struct Arguments<'a> {
    pub(crate) schema: &'a ValidSchema,
    pub(crate) variables: &'a Map<String, Value>,
    /// The bytes that may still come.
    pub(crate) left: usize,
    /// How many input objects the reading is in: their defaults may go round in a circle.
    pub(crate) level: usize,
}

impl Arguments<'_> {
    /// The values of a field's arguments (GraphQL, section 6.4.1).
    pub(crate) fn read(
        &mut self,
        defined: &[Node<InputValueDefinition>],
        given: &[Node<Argument>],
    ) -> Result<Map<String, Value>, Unfit> {
        let given = |name: &str| {
            given.iter().find(|argument| argument.name == name).map(|given| Given::Literal(&given.value))
        };
        self.members(defined.iter().map(|definition| &**definition), given)
    }

    fn members<'v, 'd>(
        &mut self,
        defined: impl Iterator<Item = &'d InputValueDefinition>,
        given: impl Fn(&str) -> Option<Given<'v>>,
    ) -> Result<Map<String, Value>, Unfit> {
        let mut values = Map::new();
        for definition in defined {
            let name = definition.name.as_str();
            let given = given(name).filter(|value| !self.is_absent(*value));
            let default = || definition.default_value.as_deref().map(Given::Literal);
            let Some(value) = given.or_else(default) else {
                if definition.ty.is_non_null() {
                    return Err(Unfit::Value);
                }
                continue;
            };
            self.spend(name.len())?;
            values.insert(name.to_owned(), self.given(&definition.ty, value)?);
        }
        Ok(values)
    }

    /// An input object, with the defaults of what is not given.
    fn object<'v>(
        &mut self,
        input: &InputObjectType,
        given: impl Fn(&str) -> Option<Given<'v>>,
    ) -> Result<Value, Unfit> {
        self.level += 1;
        if self.level > NESTING {
            return Err(Unfit::Size);
        }
        let values = self.members(input.fields.values().map(|field| &***field), given)?;
        self.level -= 1;
        Ok(Value::Object(values))
    }

    fn given(&mut self, ty: &Type, given: Given<'_>) -> Result<Value, Unfit> {
        match given {
            Given::Literal(value) => self.value(ty, value),
            Given::Json(value) => self.json(ty, value),
        }
    }

    fn json(&mut self, ty: &Type, value: &Value) -> Result<Value, Unfit> {
        match (value, ty) {
            (Value::Null, ty) if ty.is_non_null() => Err(Unfit::Value),
            (Value::Null, _) => Ok(Value::Null),
            (Value::Array(items), Type::List(item) | Type::NonNullList(item)) => {
                items.iter().map(|value| self.json(item, value)).collect()
            }
            (_, Type::List(item) | Type::NonNullList(item)) => {
                Ok(Value::Array(vec![self.json(item, value)?]))
            }
            (_, Type::Named(name) | Type::NonNullNamed(name)) => self.json_named(name.as_str(), value),
        }
    }

    fn json_named(&mut self, name: &str, value: &Value) -> Result<Value, Unfit> {
        let schema = self.schema;
        if let Some(ExtendedType::InputObject(input)) = schema.types.get(name) {
            let Value::Object(members) = value else { return Err(Unfit::Value) };
            return self.object(input, |name| members.get(name).map(Given::Json));
        }
        if let ("ID", Value::Number(number)) = (name, value) {
            return self.id(&number.to_string());
        }
        self.spend(size(value))?;
        fits(name, value.clone())
    }

    /// An id that was written as a number: as text, if there is but one text for it.
    fn id(&mut self, number: &str) -> Result<Value, Unfit> {
        let read: i64 = number.parse().map_err(|_| Unfit::Value)?;
        if !is_exact_integer(read) || read.to_string() != number {
            return Err(Unfit::Value);
        }
        self.text(number)
    }

    fn is_absent(&self, value: Given<'_>) -> bool {
        match value {
            Given::Literal(Literal::Variable(variable)) => !self.variables.contains_key(variable.as_str()),
            Given::Literal(_) | Given::Json(_) => false,
        }
    }

    fn value(&mut self, ty: &Type, value: &Literal) -> Result<Value, Unfit> {
        if let Some(variable) = value.as_variable() {
            return self.variable(ty, variable.as_str());
        }
        match (value, ty) {
            (Literal::Null, ty) if ty.is_non_null() => Err(Unfit::Value),
            (Literal::Null, _) => Ok(Value::Null),
            (Literal::List(items), Type::List(item) | Type::NonNullList(item)) => {
                items.iter().map(|value| self.value(item, value)).collect()
            }
            (_, Type::List(item) | Type::NonNullList(item)) => {
                Ok(Value::Array(vec![self.value(item, value)?]))
            }
            (_, Type::Named(name) | Type::NonNullNamed(name)) => self.named(name.as_str(), value),
        }
    }

    fn named(&mut self, name: &str, value: &Literal) -> Result<Value, Unfit> {
        let schema = self.schema;
        if let Some(ExtendedType::InputObject(input)) = schema.types.get(name) {
            let Literal::Object(members) = value else { return Err(Unfit::Value) };
            let members = unique(members)?;
            return self.object(input, |name| members.get(name).copied().map(Given::Literal));
        }
        match (name, value) {
            ("ID", Literal::Int(number)) => self.id(number.as_str()),
            _ => fits(name, self.plain(value)?),
        }
    }

    fn variable(&mut self, ty: &Type, name: &str) -> Result<Value, Unfit> {
        let value = self.value_of(name)?;
        if value.is_null() && ty.is_non_null() {
            return Err(Unfit::Value);
        }
        let missing_list = ty.is_list() && !value.is_array() && !value.is_null();
        Ok(if missing_list { Value::Array(vec![value]) } else { value })
    }

    /// A copy of a variable's value, which is paid for before it is made.
    fn value_of(&mut self, variable: &str) -> Result<Value, Unfit> {
        let variables = self.variables;
        let Some(value) = variables.get(variable) else { return Ok(Value::Null) };
        self.spend(size(value))?;
        Ok(value.clone())
    }

    /// A literal for a scalar or an enum.
    fn plain(&mut self, value: &Literal) -> Result<Value, Unfit> {
        self.spend(1)?;
        match value {
            Literal::Null => Ok(Value::Null),
            Literal::Boolean(flag) => Ok(Value::Bool(*flag)),
            Literal::Enum(name) => self.text(name.as_str()),
            Literal::String(text) => self.text(text),
            Literal::Int(number) => number.as_str().parse().map(Value::Number).map_err(|_| Unfit::Value),
            Literal::Float(number) => number.as_str().parse().map(Value::Number).map_err(|_| Unfit::Value),
            Literal::Variable(name) => self.value_of(name.as_str()),
            Literal::List(items) => items.iter().map(|value| self.plain(value)).collect(),
            Literal::Object(members) => {
                let mut values = Map::new();
                for (name, value) in unique(members)? {
                    self.spend(name.len())?;
                    values.insert(name.to_owned(), self.plain(value)?);
                }
                Ok(Value::Object(values))
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<Value, Unfit> {
        self.spend(text.len())?;
        Ok(Value::String(text.to_owned()))
    }

    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.left = self.left.checked_sub(bytes).ok_or(Unfit::Size)?;
        Ok(())
    }
}

/// The members of an object. One that stands twice has no value on which all servers agree.
fn unique(members: &[(Name, Node<Literal>)]) -> Result<BTreeMap<&str, &Literal>, Unfit> {
    let read: BTreeMap<&str, &Literal> =
        members.iter().map(|(name, value)| (name.as_str(), &**value)).collect();
    if read.len() == members.len() { Ok(read) } else { Err(Unfit::Value) }
}

/// A scalar or enum, unless servers could read another number than this one. What `Int` and `Float` are is
/// specified, and checked by the library; a scalar of the schema's own may be anything.
fn fits(name: &str, value: Value) -> Result<Value, Unfit> {
    let specified = matches!(name, "Int" | "Float" | "String" | "Boolean");
    if specified || is_exact(&value) { Ok(value) } else { Err(Unfit::Value) }
}

/// Whether each number in a value is within what every server reads exactly.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => match number.as_i64() {
            Some(integer) => is_exact_integer(integer),
            None => number.as_f64().is_some_and(|float| float.abs() <= MOST_EXACT_FLOAT),
        },
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
    }
}

fn is_exact_integer(integer: i64) -> bool {
    (-MOST_EXACT..=MOST_EXACT).contains(&integer)
}

/// About how many bytes a value takes.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(values) => 8 + values.iter().map(size).sum::<usize>(),
        Value::Object(members) => {
            8 + members.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests;
