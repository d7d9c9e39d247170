//! The arguments of a field as its resolver gets them: coerced, with the defaults of the schema (GraphQL, section 6.4.1).

use async_graphql::{
    Name, Value,
    parser::{parse_query, types::Selection},
    registry::{MetaField, MetaInputValue, MetaType, MetaTypeName, Registry},
};
use serde_json::Map;

/// The field of a coordinate.
pub(crate) fn field<'r>(registry: &'r Registry, coordinate: &str) -> Option<&'r MetaField> {
    let (of, name) = coordinate.split_once('.')?;
    registry.types.get(of)?.field_by_name(name)
}

/// The arguments of a field as JSON, by what an operation gives; nothing where they are none that can be told.
pub(crate) fn coerced(
    registry: &Registry,
    field: &MetaField,
    given: Vec<(Name, Value)>,
) -> Option<Map<String, serde_json::Value>> {
    let given = given.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let filled = filled(registry, field.args.values(), given)?;
    filled.into_iter().map(|(name, value)| Some((name, value.into_json().ok()?))).collect()
}

/// Values by their definitions: those that are given, and the defaults of the others.
fn filled<'r>(
    registry: &Registry,
    definitions: impl Iterator<Item = &'r MetaInputValue>,
    mut given: Vec<(String, Value)>,
) -> Option<Vec<(String, Value)>> {
    let mut filled = Vec::new();
    for definition in definitions {
        let place = given.iter().position(|(name, _)| *name == definition.name);
        let value = match (place, &definition.default_value) {
            (Some(place), _) => given.swap_remove(place).1,
            (None, Some(default)) => literal(default)?,
            (None, None) => continue,
        };
        filled.push((definition.name.clone(), of_type(registry, &definition.ty, value)?));
    }
    // What the schema does not define has no reading.
    given.is_empty().then_some(filled)
}

/// A value of a type: one in place of a list is a list of it, and input objects have their defaults.
fn of_type(registry: &Registry, of: &str, value: Value) -> Option<Value> {
    match (MetaTypeName::create(of), value) {
        (MetaTypeName::NonNull(of), value) => of_type(registry, of, value),
        (_, Value::Null) => Some(Value::Null),
        (MetaTypeName::List(of), Value::List(values)) => {
            let values: Option<Vec<Value>> =
                values.into_iter().map(|value| of_type(registry, of, value)).collect();
            values.map(Value::List)
        }
        (MetaTypeName::List(of), value) => Some(Value::List(vec![of_type(registry, of, value)?])),
        (MetaTypeName::Named(name), Value::Object(members)) => match registry.types.get(name) {
            Some(MetaType::InputObject { input_fields, .. }) => {
                let given = members.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
                let filled = filled(registry, input_fields.values(), given)?;
                Some(Value::Object(
                    filled.into_iter().map(|(name, value)| (Name::new(name), value)).collect(),
                ))
            }
            _ => Some(Value::Object(members)),
        },
        // A resolver has an ID as text, however it was written (GraphQL, section 3.5.5).
        (MetaTypeName::Named("ID"), Value::Number(number)) => Some(Value::String(number.to_string())),
        (MetaTypeName::Named(_), value) => Some(value),
    }
}

/// A default, which the schema has as the text of a literal.
fn literal(text: &str) -> Option<Value> {
    let document = parse_query(format!("{{f(a:{text})}}")).ok()?;
    let (_, operation) = document.operations.iter().next()?;
    let first = operation.node.selection_set.node.items.first()?;
    let Selection::Field(field) = &first.node else { return None };
    field.node.arguments.first()?.1.node.clone().into_const()
}

#[cfg(test)]
mod tests;
