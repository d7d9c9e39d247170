//! Schema coordinates: the names under which the schema, the policies and the records know a type and a field.
//!
//! A coordinate never holds an alias: what a client calls a field says nothing about what it is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// A type, or a field of a type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coordinate {
    /// `Type`.
    Type(Arc<str>),
    /// `Type.field`.
    Field(Arc<str>, Arc<str>),
}

/// Why a text is no coordinate of a type or a field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is neither `Type` nor `Type.field`")]
pub struct CoordinateError(String);

impl Coordinate {
    /// The coordinate of a type.
    #[must_use]
    pub fn of_type(name: &str) -> Self {
        Self::Type(name.into())
    }

    /// The coordinate of a field.
    #[must_use]
    pub fn of_field(type_name: &str, field: &str) -> Self {
        Self::Field(type_name.into(), field.into())
    }

    /// The type, also of a field.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Type(name) | Self::Field(name, _) => name,
        }
    }

    /// The field, if it is the coordinate of one.
    #[must_use]
    pub fn field_name(&self) -> Option<&str> {
        match self {
            Self::Type(_) => None,
            Self::Field(_, field) => Some(field),
        }
    }
}

impl fmt::Display for Coordinate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(name) => formatter.write_str(name),
            Self::Field(name, field) => write!(formatter, "{name}.{field}"),
        }
    }
}

impl FromStr for Coordinate {
    type Err = CoordinateError;

    fn from_str(text: &str) -> Result<Self, CoordinateError> {
        let refused = || CoordinateError(text.to_owned());
        match text.split_once('.') {
            None if is_name(text) => Ok(Self::of_type(text)),
            Some((name, field)) if is_name(name) && is_name(field) => Ok(Self::of_field(name, field)),
            None | Some(_) => Err(refused()),
        }
    }
}

/// Whether a text is a name (GraphQL, section 2.1.9).
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}
