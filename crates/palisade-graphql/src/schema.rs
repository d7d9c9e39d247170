//! A schema, read once: what each type and field asks for, and who implements what.
//!
//! [`Schema::load`] takes a supergraph or a plain SDL. The directives are found under the names that the schema gives
//! them (`links`), those that a plain SDL uses and does not define are defined (`definitions`), and what they say is
//! kept by coordinate (`facts`). A directive that cannot be read is an error, and never no requirement.

mod definitions;
mod facts;
mod labels;
mod links;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use apollo_compiler::{ast, parser::Parser, validation::Valid};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::error::{Place, START};
use crate::{Coordinate, Limits, Rule};

pub(crate) use facts::{FieldFacts, TypeFacts};
pub use labels::Unlabelled;

/// A schema with what it asks for.
#[derive(Clone)]
pub struct Schema {
    pub(crate) valid: Valid<apollo_compiler::Schema>,
    pub(crate) types: HashMap<String, TypeFacts>,
    pub(crate) limits: Limits,
    /// The names under which `@inaccessible` stands.
    inaccessible: BTreeSet<String>,
    hash: String,
}

/// Why a text is no schema that can be enforced.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// The text is no schema, or one that is not valid.
    #[error("the schema is not valid (line {}, column {}): {message}", place.line, place.column)]
    Invalid {
        /// Where.
        place: Place,
        /// What.
        message: String,
    },
    /// A link to a version that is not understood.
    #[error("`{specification}` is linked in version `{version}`, which is not known")]
    Version {
        /// The specification.
        specification: String,
        /// Its version.
        version: String,
    },
    /// A directive whose arguments cannot be read.
    #[error("`@{directive}` on `{coordinate}` cannot be read")]
    Directive {
        /// The directive, under its name in the schema.
        directive: String,
        /// Where it stands.
        coordinate: Coordinate,
    },
    /// A directive that stands twice in one place, which would leave open what holds.
    #[error("`@{directive}` stands twice on `{coordinate}`")]
    Repeated {
        /// The directive, under its own name.
        directive: String,
        /// Where it stands.
        coordinate: Coordinate,
    },
}

/// A type or field, for those who build entities of them or look for what is not covered.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// What it asks for.
    pub rule: &'a Rule,
    /// `@tag` on it, and on nothing else.
    pub labels: &'a BTreeSet<String>,
    /// `@inaccessible`.
    pub inaccessible: bool,
}

impl Schema {
    /// Reads a supergraph or a plain SDL.
    ///
    /// # Errors
    /// When the text is no valid schema, or one of the directives cannot be read.
    pub fn load(sdl: &str) -> Result<Self, SchemaError> {
        let document = ast::Document::parse(sdl, "schema").map_err(|with| invalid(&with.errors))?;
        let names = links::Names::read(&document)?;
        let mut builder = apollo_compiler::Schema::builder().adopt_orphan_extensions();
        builder = builder.add_ast(&document);
        Parser::new().parse_into_schema_builder(
            definitions::missing(&document, &names),
            "definitions",
            &mut builder,
        );
        let schema = builder.build().map_err(|with| invalid(&with.errors))?;
        let valid = schema.validate().map_err(|with| invalid(&with.errors))?;
        let types = facts::read(&valid, &names)?;
        let hash = hex::encode(Sha256::digest(sdl.as_bytes()));
        let inaccessible = names.inaccessible();
        Ok(Self { valid, types, limits: Limits::default(), inaccessible, hash })
    }

    /// The same schema with other bounds for operations.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// SHA-256 of the SDL, in lower-case hex.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Every type and field of the schema, but those of introspection.
    pub fn elements(&self) -> impl Iterator<Item = (Coordinate, Element<'_>)> {
        self.types.iter().flat_map(|(name, facts)| {
            let fields = facts
                .fields
                .iter()
                .map(|(field, facts)| (Coordinate::of_field(name, field), facts.element()));
            std::iter::once((Coordinate::of_type(name), facts.element())).chain(fields)
        })
    }

    /// Every name of `@policy` with the places that use it.
    #[must_use]
    pub fn policies(&self) -> BTreeMap<String, BTreeSet<Coordinate>> {
        self.uses(|rule| &rule.policies)
    }

    /// Every scope of `@requiresScopes` with the places that use it.
    #[must_use]
    pub fn scopes(&self) -> BTreeMap<String, BTreeSet<Coordinate>> {
        self.uses(|rule| &rule.scopes)
    }

    /// The object types that implement an interface; none for another type.
    pub fn implementers(&self, interface: &str) -> impl Iterator<Item = &str> {
        self.types.get(interface).into_iter().flat_map(|facts| &facts.implementers).map(String::as_str)
    }

    fn uses(&self, of: fn(&Rule) -> &crate::Alternatives) -> BTreeMap<String, BTreeSet<Coordinate>> {
        let mut uses: BTreeMap<String, BTreeSet<Coordinate>> = BTreeMap::new();
        for (coordinate, element) in self.elements() {
            for name in of(element.rule).names() {
                uses.entry(name.to_owned()).or_default().insert(coordinate.clone());
            }
        }
        uses
    }

    /// Whether a directive of this name is `@inaccessible`.
    pub(crate) fn hides(&self, directive: &str) -> bool {
        self.inaccessible.contains(directive)
    }

    pub(crate) fn field(&self, type_name: &str, field: &str) -> Option<&FieldFacts> {
        self.types.get(type_name)?.fields.get(field)
    }

    /// The rule of a type; nothing for one of introspection.
    pub(crate) fn type_rule(&self, name: &str) -> Option<&Rule> {
        self.types.get(name).map(|facts| &facts.rule)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Schema").field("hash", &self.hash).finish_non_exhaustive()
    }
}

pub(crate) fn invalid(errors: &apollo_compiler::validation::DiagnosticList) -> SchemaError {
    errors.iter().next().map_or_else(
        || SchemaError::Invalid { place: START, message: "unknown".to_owned() },
        |first| {
            let range = first.line_column_range();
            let place =
                range.map_or(START, |range| Place { line: range.start.line, column: range.start.column });
            SchemaError::Invalid { place, message: first.error.to_string() }
        },
    )
}

#[cfg(test)]
mod tests;
