//! GraphQL operations: what they ask for, and what is left of them.
//!
//! A [`Schema`] is read once, with what `@authenticated`, `@requiresScopes`, `@policy` and `@tag` say of its types and
//! fields. A request goes through [`read_request`], which finds its operations in one possible reading; each operation through
//! [`Schema::analyze`], which says what it asks for: [`Requirements`] of the directives, and an [`Ask`] for each
//! field with its arguments. Who decides answers with [`Decisions`], and [`Schema::filter`] takes from the operation what
//! was not granted, in the [`Dialect`] of the router that asks. [`Schema::rest`] makes a request of what is left, and reads it again.
//! [`Schema::introspect`] answers introspection with what somebody is shown.
//!
//! There is no I/O here, and no decision. What is not granted by name is not granted; what is too large is refused before
//! it is expanded; and no error holds a value of an argument.

mod analysis;
mod arguments;
mod coordinate;
mod decisions;
mod error;
mod filter;
#[cfg(test)]
mod fixtures;
mod limits;
mod manifest;
mod measure;
mod needs;
mod request;
mod requirements;
mod rest;
mod rule;
mod schema;
mod shown;
mod unique;

pub use analysis::{Analysis, Ask, FieldUse, Occurrence, OperationKind};
pub use coordinate::{Coordinate, CoordinateError};
pub use decisions::Decisions;
pub use error::{Limit, OperationError, Place};
pub use filter::{Denied, Dialect, Filtered, GraphqlError, Mode, Segment};
pub use limits::Limits;
pub use manifest::{Clients, Listed, Manifest, ManifestError, read_manifest};
pub use measure::Measure;
pub use needs::Needs;
pub use request::{Incoming, Reading, Request, RequestError, Requests, read_request};
pub use requirements::Requirements;
pub use rest::Rest;
pub use rule::{Alternatives, Rule, Why};
pub use schema::{Element, Schema, SchemaError, Unlabelled};
pub use shown::{IntrospectionError, MOST_ALIASES, Shown};
