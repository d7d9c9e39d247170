//! Strict JSON reading for bodies that decide.
//!
//! `serde_json` keeps the last of two members with one name, and accepts any depth below its own limit. A service
//! that decides on one reading while the server behind it acts on another is a hole, so what cannot be read in only
//! one way is refused here: a byte order mark, invalid UTF-8, a second value, a duplicate member at any depth, a
//! member by whose name `serde_json` tells its own types from others, and nesting beyond the caller's limit. Nothing
//! is repaired.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// Why a text is not strict JSON. The text itself is never part of the message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// The bytes are not UTF-8, or begin with a byte order mark.
    #[error("the text is not UTF-8 without a byte order mark")]
    Encoding,
    /// A member name occurs twice in one object.
    #[error("an object holds the same member twice")]
    DuplicateMember,
    /// A member has a name by which a reader on `serde_json` takes its object for something else: for the text of another value,
    /// or for a number.
    #[error("an object holds a member whose name begins with `{PRIVATE}`")]
    PrivateMember,
    /// The nesting is deeper than allowed.
    #[error("the nesting is deeper than {0} levels")]
    TooDeep(usize),
    /// Not one JSON value.
    #[error("the text is not one JSON value (line {line}, column {column})")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 at the end of the text.
        column: usize,
    },
}

/// Reads one JSON value that nests at most `max_depth` levels; a scalar is level 0, `{}` and `[]` are level 1.
///
/// # Errors
/// When the bytes are not exactly one value, or hold anything that two readers could read in two ways.
pub fn read(bytes: &[u8], max_depth: usize) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::Encoding)?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::Encoding);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Node { depth: 0, max_depth }
        .deserialize(&mut deserializer)
        .map_err(|error| classify(&error, max_depth))?;
    deserializer.end().map_err(|error| classify(&error, max_depth))?;
    Ok(value)
}

/// What the names begin with that `serde_json` uses between its own types, where it is built with `raw_value` or
/// `arbitrary_precision`.
const PRIVATE: &str = "$serde_json::private::";

/// Whether a member has a name by which a reader on `serde_json` takes its object for something else.
#[must_use]
pub fn is_private(name: &str) -> bool {
    name.starts_with(PRIVATE)
}

const DUPLICATE: &str = "palisade: duplicate member";
const RESERVED: &str = "palisade: private member";
const TOO_DEEP: &str = "palisade: too deep";

fn classify(error: &serde_json::Error, max_depth: usize) -> JsonError {
    let message = error.to_string();
    if message.starts_with(DUPLICATE) {
        JsonError::DuplicateMember
    } else if message.starts_with(RESERVED) {
        JsonError::PrivateMember
    } else if message.starts_with(TOO_DEEP) {
        JsonError::TooDeep(max_depth)
    } else {
        JsonError::Syntax { line: error.line(), column: error.column() }
    }
}

/// Builds a value, `depth` levels below the root.
#[derive(Clone, Copy)]
struct Node {
    depth: usize,
    max_depth: usize,
}

impl Node {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= self.max_depth {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element_seed(inner)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if is_private(&key) {
                return Err(A::Error::custom(RESERVED));
            }
            let value = members.next_value_seed(inner)?;
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
