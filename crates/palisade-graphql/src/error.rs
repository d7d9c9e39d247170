//! Why an operation cannot be decided on.
//!
//! No error holds a value of an argument or a variable, a literal or a string of the document: they name what the
//! schema names, and a place.

use std::fmt;

use apollo_compiler::parser::{SourceMap, SourceSpan};
use palisade_model::{Reason, Refusal};
use thiserror::Error;

use crate::Coordinate;

/// A place in a document, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}", self.line, self.column)
    }
}

/// The start of a document, for what has no place of its own.
pub(crate) const START: Place = Place { line: 1, column: 1 };

pub(crate) fn place(location: Option<SourceSpan>, sources: &SourceMap) -> Place {
    let at = location.and_then(|location| location.line_column(sources));
    at.map_or(START, |at| Place { line: at.line, column: at.column })
}

/// A bound of [`crate::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Tokens of the document.
    Tokens,
    /// Levels of syntax.
    Nesting,
    /// Levels of fields.
    Depth,
    /// Aliases.
    Aliases,
    /// Selections.
    Fields,
    /// Definitions of fragments.
    Fragments,
    /// Applications of directives.
    Directives,
    /// Bytes of arguments.
    Arguments,
    /// Different questions about fields.
    Questions,
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tokens => "tokens",
            Self::Nesting => "levels of syntax",
            Self::Depth => "levels of fields",
            Self::Aliases => "aliases",
            Self::Fields => "selections",
            Self::Fragments => "fragments",
            Self::Directives => "directives",
            Self::Arguments => "bytes of arguments",
            Self::Questions => "different fields and arguments",
        })
    }
}

/// Why an operation cannot be decided on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperationError {
    /// The text is no GraphQL document.
    #[error("the text is not a GraphQL document ({0})")]
    Syntax(Place),
    /// More than is allowed.
    #[error("the document has more than {most} {limit}")]
    TooMuch {
        /// What there is too much of.
        limit: Limit,
        /// How much is allowed.
        most: usize,
    },
    /// A fragment that spreads itself.
    #[error("a fragment spreads itself ({0})")]
    FragmentCycle(Place),
    /// The document does not fit the schema.
    #[error("the document does not fit the schema ({0})")]
    Invalid(Place),
    /// The field exists, but is in no schema that a client may see.
    #[error("`{coordinate}` is not part of the schema for clients ({place})")]
    Inaccessible {
        /// The field or type.
        coordinate: Coordinate,
        /// Where it is selected.
        place: Place,
    },
    /// The document has no operation, or none of the name.
    #[error("the document has no such operation")]
    NoOperation,
    /// The document has several operations, and none is named.
    #[error("the document has several operations and the request names none")]
    SeveralOperations,
    /// The operation's name is what the hash of another document could be, by which operations without a name are known.
    #[error("the name of the operation has the form of a hash ({0})")]
    Name(Place),
    /// A variable's value does not fit its type, or is missing.
    #[error("the value of variable `${0}` is missing or does not fit its type")]
    Variable(String),
    /// An argument's value does not fit its type, or is missing.
    #[error("an argument of `{coordinate}` is missing or does not fit its type ({place})")]
    Argument {
        /// The field.
        coordinate: Coordinate,
        /// Where it is selected.
        place: Place,
    },
}

impl OperationError {
    /// The error as a refusal of the request.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let reason = match self {
            Self::Variable(_) | Self::Argument { .. } => Reason::ArgumentsInvalid,
            Self::Syntax(_)
            | Self::TooMuch { .. }
            | Self::FragmentCycle(_)
            | Self::Name(_)
            | Self::NoOperation
            | Self::SeveralOperations => Reason::RequestMalformed,
            Self::Invalid(_) | Self::Inaccessible { .. } => Reason::TargetUnknown,
        };
        Refusal::new(reason, self.to_string())
    }
}
