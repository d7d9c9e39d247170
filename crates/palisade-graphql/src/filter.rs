//! An operation without what is not granted.
//!
//! [`Schema::filter`] takes from an operation each field and fragment that the decisions do not grant (`cut`), and what
//! that leaves empty or unused: selection sets, fragments, variables. What is left is a valid operation that asks only for
//! what was granted, or nothing. What is missing is told in the form of the router whose clients read it (`wording`),
//! and as the places in the response that have become null (`paths`).

mod cut;
mod paths;
mod used;
mod wording;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::rule::Why;
use crate::{Analysis, Coordinate, Decisions, Schema};

pub use paths::Segment;

/// Whose behaviour and whose errors it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Apollo Router: implementers are judged, `@skip` and `@include` are not.
    Apollo,
    /// Hive Router and Gateway: what `@skip` and `@include` leave out is not judged, an interface is by its own rule, and a scope
    /// needs somebody who is authenticated.
    Hive,
    /// Cosmo: an interface is judged by its own rule. Cosmo itself has no `@policy`; here it is judged like everywhere.
    Cosmo,
}

/// What becomes of an operation that is not granted whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It goes on without what is not granted.
    Filter,
    /// It does not go on.
    Reject,
    /// It goes on whole, and the errors say what would have been taken.
    DryRun,
}

/// What is left of an operation.
#[derive(Debug, Clone)]
pub struct Filtered {
    /// The document that may go on; nothing where none may. As it came where nothing was taken.
    pub document: Option<String>,
    /// Whether nothing of the operation is granted.
    pub emptied: bool,
    /// What is not granted, for the client.
    pub errors: Vec<GraphqlError>,
    /// What is not granted, for the record.
    pub denied: Vec<Denied>,
    /// The places in the response that are null because of it: where a field may not be null, what holds it. A field
    /// that is selected at the same place another time, with something that is granted, is still there.
    pub nulled: Vec<Vec<Segment>>,
    /// The variables that the document still uses.
    pub variables: BTreeSet<String>,
}

/// Something that was not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The field or type that was selected.
    pub coordinate: Coordinate,
    /// What was asked for that is not granted: itself, what it returns, or an implementer.
    pub because: Coordinate,
    /// Why it is not.
    pub why: Why,
    /// Where it stands in the response, with aliases.
    pub path: Vec<Segment>,
}

/// An error of a GraphQL response (GraphQL, section 7.1.2).
#[derive(Debug, Clone, PartialEq)]
pub struct GraphqlError {
    /// For people.
    pub message: String,
    /// Where, in a dialect that says it there.
    pub path: Option<Vec<String>>,
    /// What programs read.
    pub extensions: Map<String, Value>,
}

impl GraphqlError {
    /// As it stands among the `errors` of a response.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("message".to_owned(), Value::String(self.message.clone()));
        if let Some(path) = &self.path {
            error.insert("path".to_owned(), path.clone().into());
        }
        error.insert("extensions".to_owned(), Value::Object(self.extensions.clone()));
        Value::Object(error)
    }
}

impl Schema {
    /// Takes from an operation what is not granted.
    #[must_use]
    pub fn filter(
        &self,
        analysis: &Analysis,
        decisions: &Decisions,
        dialect: Dialect,
        mode: Mode,
    ) -> Filtered {
        let judge = cut::Judge { schema: self, analysis, decisions, dialect };
        let cut = cut::operation(judge);
        let errors =
            cut.denials.iter().map(|denial| wording::error(denial, analysis, decisions, dialect)).collect();
        let whole = || {
            (
                Some(analysis.source.to_string()),
                used::Used::by(&analysis.document, &analysis.operation).variables,
            )
        };
        let emptied = cut.document.is_none();
        let (document, variables) = match mode {
            Mode::DryRun => whole(),
            Mode::Reject if !cut.denials.is_empty() => (None, BTreeSet::new()),
            Mode::Filter | Mode::Reject => match cut.document {
                None => (None, BTreeSet::new()),
                Some(_) if !cut.changed => whole(),
                Some((document, operation)) => {
                    (Some(document.to_string()), used::Used::by(&document, &operation).variables)
                }
            },
        };
        let nulled = if emptied { vec![Vec::new()] } else { paths::nulled(&cut.removed) };
        let denied = cut.denials.into_iter().map(cut::Denial::told).collect();
        Filtered { document, emptied, errors, denied, nulled, variables }
    }
}

#[cfg(test)]
mod tests;
