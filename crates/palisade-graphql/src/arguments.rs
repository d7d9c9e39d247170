//! The values of variables and arguments, as a server would see them.
//!
//! Variables are coerced by the library, arguments here: with the defaults of the schema and of the operation, a value
//! where a list is due as a list of one, and ids as strings however they were written, so that a policy that compares
//! an argument cannot be passed by with another spelling. All values together are bounded: a variable can be used
//! in every field, and each use is a copy.

use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, InputValueDefinition, Type, Value as Literal};
use apollo_compiler::executable::{Operation, SelectionSet};
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::response::{JsonMap, serde_json_bytes};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::Valid;
use serde_json::{Map, Value};

use crate::error::{Limit, OperationError};

type ValidSchema = Valid<apollo_compiler::Schema>;

/// The values of an operation's variables; those that have none are not in it.
pub(crate) fn variables(
    schema: &ValidSchema,
    operation: &Operation,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, OperationError> {
    let wanted = |name: &str| operation.variables.iter().any(|variable| variable.name == name);
    let given: JsonMap = given
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| (name.as_str().into(), serde_json_bytes::Value::from(value.clone())))
        .collect();
    let coerced = coerce_variable_values(schema, operation, &given)
        .map_err(|_| OperationError::Variable(offender(schema, operation, &given)))?;
    let mut values = Map::new();
    for variable in &operation.variables {
        let Some(value) = coerced.get(variable.name.as_str()) else { continue };
        let name = variable.name.as_str().to_owned();
        let value = serde_json::to_value(value).map_err(|_| OperationError::Variable(name.clone()))?;
        values.insert(name, plain_ids(schema, &variable.ty, value));
    }
    Ok(values)
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

/// A value with the ids in it as strings.
fn plain_ids(schema: &ValidSchema, ty: &Type, value: Value) -> Value {
    match (ty, value) {
        (Type::List(item) | Type::NonNullList(item), Value::Array(values)) => {
            values.into_iter().map(|value| plain_ids(schema, item, value)).collect()
        }
        (Type::Named(name) | Type::NonNullNamed(name), Value::Number(number)) if name == "ID" => {
            Value::String(number.to_string())
        }
        (Type::Named(name) | Type::NonNullNamed(name), Value::Object(members)) => {
            let Some(ExtendedType::InputObject(input)) = schema.types.get(name) else {
                return Value::Object(members);
            };
            let member = |(name, value): (String, Value)| match input.fields.get(name.as_str()) {
                Some(field) => (name, plain_ids(schema, &field.ty, value)),
                None => (name, value),
            };
            Value::Object(members.into_iter().map(member).collect())
        }
        (_, value) => value,
    }
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

/// Reads the arguments of one field after the other.
pub(crate) struct Arguments<'a> {
    pub(crate) schema: &'a ValidSchema,
    pub(crate) variables: &'a Map<String, Value>,
    /// The bytes that may still come.
    pub(crate) left: usize,
}

impl Arguments<'_> {
    /// The values of a field's arguments (GraphQL, section 6.4.1).
    pub(crate) fn read(
        &mut self,
        defined: &[Node<InputValueDefinition>],
        given: &[Node<Argument>],
    ) -> Result<Map<String, Value>, Unfit> {
        let given =
            |name: &str| given.iter().find(|argument| argument.name == name).map(|given| &*given.value);
        self.members(defined.iter().map(|definition| &**definition), given)
    }

    fn members<'v, 'd>(
        &mut self,
        defined: impl Iterator<Item = &'d InputValueDefinition>,
        given: impl Fn(&str) -> Option<&'v Literal>,
    ) -> Result<Map<String, Value>, Unfit> {
        let mut values = Map::new();
        for definition in defined {
            let name = definition.name.as_str();
            let given = given(name).filter(|value| !self.is_absent(value));
            let Some(value) = given.or(definition.default_value.as_deref()) else {
                if definition.ty.is_non_null() {
                    return Err(Unfit::Value);
                }
                continue;
            };
            self.spend(name.len())?;
            values.insert(name.to_owned(), self.value(&definition.ty, value)?);
        }
        Ok(values)
    }

    fn is_absent(&self, value: &Literal) -> bool {
        value.as_variable().is_some_and(|variable| !self.variables.contains_key(variable.as_str()))
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
            let given =
                |name: &str| members.iter().find(|(member, _)| member == name).map(|(_, value)| &**value);
            return self.members(input.fields.values().map(|field| &***field), given).map(Value::Object);
        }
        match (name, value) {
            ("ID", Literal::Int(number)) => self.text(number.as_str()),
            _ => self.plain(value),
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
                let member = |(name, value): &(apollo_compiler::Name, Node<Literal>)| {
                    Ok((name.as_str().to_owned(), self.plain(value)?))
                };
                members.iter().map(member).collect::<Result<_, Unfit>>().map(Value::Object)
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<Value, Unfit> {
        self.spend(text.len())?;
        Ok(Value::String(text.to_owned()))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.left = self.left.checked_sub(bytes).ok_or(Unfit::Size)?;
        Ok(())
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(values) => 8 + values.iter().map(size).sum::<usize>(),
        Value::Object(members) => {
            8 + members.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>()
        }
    }
}
