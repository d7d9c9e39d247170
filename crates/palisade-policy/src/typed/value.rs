//! The arguments of a call as the input of a typed tool.

use cedar_policy::{Entity, RestrictedExpression};
use palisade_model::{Arguments, as_decimal};
use serde_json::{Map, Number, Value};
use thiserror::Error;

use super::{Record, Type, TypedTool};

/// Why arguments are not of a tool's type. The pointer names members that the schema names, and no values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Unfit {
    #[error("the arguments of a typed tool could not be read")]
    Unread,
    #[error("the argument `{pointer}` is not {expected}")]
    Value { pointer: String, expected: &'static str },
    #[error("the argument `{pointer}` is missing")]
    Missing { pointer: String },
}

/// The digits before the point that a decimal always has room for.
const WHOLE_DIGITS: usize = 14;
/// Up to here every integer is a floating-point number of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl TypedTool {
    /// The input of a call; that of no arguments is that of empty ones.
    pub(crate) fn entity(&self, arguments: Option<&Arguments>) -> Result<Entity, Unfit> {
        let none = Value::Object(Map::new());
        let json = match arguments {
            Some(arguments) => arguments.json.as_ref().ok_or(Unfit::Unread)?,
            None => &none,
        };
        let attributes = attributes(&self.input_type.0, json, "")?;
        Entity::new_with_tags(self.input.clone(), attributes, [], []).map_err(|_| unfit("", "an object"))
    }
}

fn attributes(
    record: &Record,
    value: &Value,
    pointer: &str,
) -> Result<Vec<(String, RestrictedExpression)>, Unfit> {
    let members = value.as_object().ok_or_else(|| unfit(pointer, "an object"))?;
    let mut attributes = Vec::with_capacity(record.len());
    for (name, member) in record {
        let below = || format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        match members.get(name) {
            Some(Value::Null) if member.nullable => {}
            Some(value) => attributes.push((name.clone(), expression(&member.kind, value, &below())?)),
            None if member.required => return Err(Unfit::Missing { pointer: below() }),
            None => {}
        }
    }
    Ok(attributes)
}

fn expression(kind: &Type, value: &Value, pointer: &str) -> Result<RestrictedExpression, Unfit> {
    match (kind, value) {
        (Type::Text, Value::String(text)) => Ok(RestrictedExpression::new_string(text.clone())),
        (Type::Flag, Value::Bool(flag)) => Ok(RestrictedExpression::new_bool(*flag)),
        (Type::Long, Value::Number(number)) => long(number)
            .map(RestrictedExpression::new_long)
            .ok_or_else(|| unfit(pointer, "an integer of 64 bits")),
        (Type::Decimal, Value::Number(number)) => {
            decimal(number).map(RestrictedExpression::new_decimal).ok_or_else(|| {
                unfit(pointer, "a number of at most four decimals and 14 digits before the point")
            })
        }
        (Type::Set(kind), Value::Array(elements)) => {
            let elements: Vec<RestrictedExpression> = (elements.iter().enumerate())
                .map(|(at, element)| expression(kind, element, &format!("{pointer}/{at}")))
                .collect::<Result<_, Unfit>>()?;
            Ok(RestrictedExpression::new_set(elements))
        }
        (Type::Record(record), value) => {
            let attributes = attributes(record, value, pointer)?;
            // The members of a JSON object have names of their own, so this does not fail.
            RestrictedExpression::new_record(attributes).map_err(|_| unfit(pointer, "an object"))
        }
        (Type::Text, _) => Err(unfit(pointer, "a string")),
        (Type::Flag, _) => Err(unfit(pointer, "a boolean")),
        (Type::Long, _) => Err(unfit(pointer, "an integer")),
        (Type::Decimal, _) => Err(unfit(pointer, "a number")),
        (Type::Set(_), _) => Err(unfit(pointer, "an array")),
    }
}

/// JSON Schema counts `5.0` among the integers.
fn long(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
        format!("{float:.0}").parse().ok()
    })
}

fn decimal(number: &Number) -> Option<String> {
    if number.is_f64() {
        return as_decimal(number);
    }
    let text = number.to_string();
    (text.trim_start_matches('-').len() <= WHOLE_DIGITS).then(|| format!("{text}.0"))
}

fn unfit(pointer: &str, expected: &'static str) -> Unfit {
    Unfit::Value { pointer: pointer.to_owned(), expected }
}
