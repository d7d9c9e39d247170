//! What of a schema its reader is shown: introspection answered here (GraphQL, section 4), in place of a server.
//!
//! [`Schema::shown`] says which fields can be selected by who has these [`Decisions`]; [`Schema::introspect`] answers an operation
//! from a schema that has nothing else. A field is shown by the rules that a query of it is judged by, those of an interface's
//! implementers among them, so that a schema and a query never disagree. What goes with it is left out, too (`reduce`): types that
//! nothing shown leads to, and everything that is `@inaccessible`. Directives that stand on definitions are not shown.
//!
//! Descriptions are told as they are written: who writes of one field in the description of another tells of it.

mod applied;
mod form;
mod reduce;

use std::collections::HashSet;

use apollo_compiler::{introspection, request::coerce_variable_values, response::JsonMap, validation::Valid};
use serde_json::Value;
use thiserror::Error;

use crate::{Analysis, Coordinate, Decisions, Dialect, OperationKind, Schema, SchemaError};
use reduce::Reduced;

/// The fields that somebody is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    fields: HashSet<Coordinate>,
}

/// Why an operation is not answered from the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IntrospectionError {
    /// It asks for something else, too.
    #[error("introspection is asked for together with something else: ask for `__schema` and `__type` alone")]
    Mixed,
    /// It has other aliases than [`MOST_ALIASES`] of `__type`.
    #[error("introspection has aliases: `__type` may have {MOST_ALIASES}, and nothing else")]
    Aliases,
    /// It asks for lists below lists, whose answer could be far larger than the schema.
    #[error(
        "introspection asks for more lists below each other than types, their members and the arguments of those"
    )]
    Depth,
    /// It cannot be executed.
    #[error("introspection cannot be executed")]
    Execution,
}

/// The most aliases of an operation that asks for introspection.
pub const MOST_ALIASES: usize = 16;

impl Shown {
    /// These fields.
    #[must_use]
    pub fn of(fields: impl IntoIterator<Item = Coordinate>) -> Self {
        Self { fields: fields.into_iter().collect() }
    }

    /// Whether a field is shown.
    #[must_use]
    pub fn shows(&self, field: &Coordinate) -> bool {
        self.fields.contains(field)
    }

    /// How many fields are shown.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether nothing is shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Schema {
    /// Which fields are shown to who has these decisions: of the fields that are `permitted`, for some arguments, and below roots of
    /// operations of these `kinds`, those that the directives grant, that lead to something, and that something leads to. What the
    /// decisions say of fields is not looked at.
    #[must_use]
    pub fn shown(
        &self,
        decisions: &Decisions,
        permitted: &Shown,
        kinds: &[OperationKind],
        dialect: Dialect,
    ) -> Shown {
        let judge = Judge { schema: self, decisions, permitted, dialect };
        let roots = self.roots();
        let closed: HashSet<&str> =
            roots.filter(|(kind, _)| !kinds.contains(kind)).map(|(_, name)| name).collect();
        let may = |field: &Coordinate| !closed.contains(field.type_name()) && judge.grants(field);
        let fields = self.elements().map(|(coordinate, _)| coordinate);
        let granted =
            Shown::of(fields.filter(|coordinate| coordinate.field_name().is_some() && may(coordinate)));
        Reduced::of(self, &granted).shown()
    }

    /// Whether an operation that asks for introspection can be answered from the schema.
    ///
    /// # Errors
    /// When it asks for something else as well, or for what could be far larger than the schema.
    pub fn answers(&self, analysis: &Analysis) -> Result<(), IntrospectionError> {
        form::check(analysis)
    }

    /// Answers an operation that asks for introspection and for nothing else: the text of the `data` of the
    /// answer, a JSON object. Of the schema it knows what is shown, so that what is not is as if it were not there.
    ///
    /// # Errors
    /// When the operation is none that can be answered ([`Self::answers`]).
    pub fn introspect(&self, analysis: &Analysis, shown: &Shown) -> Result<String, IntrospectionError> {
        self.answers(analysis)?;
        let failed = |_| IntrospectionError::Execution;
        let given: JsonMap = serde_json::from_value(Value::Object(analysis.variables().clone()))
            .map_err(|_| IntrospectionError::Execution)?;
        let variables = coerce_variable_values(&self.valid, &analysis.operation, &given).map_err(failed)?;
        let schema = Valid::assume_valid(Reduced::of(self, shown).into_schema());
        let implementers = schema.implementers_map();
        let (document, operation) = (&analysis.document, &analysis.operation);
        let response =
            introspection::partial_execute(&schema, &implementers, document, operation, &variables)
                .map_err(failed)?;
        let data = response.data.filter(|_| response.errors.is_empty());
        let data = data.and_then(|data| serde_json::to_string(&data).ok());
        data.ok_or(IntrospectionError::Execution)
    }

    /// Whether a schema of all that clients may see is valid: one that cannot be told of is found before anybody asks.
    ///
    /// # Errors
    /// When what is left without what is `@inaccessible` is no valid schema.
    pub fn can_be_shown(&self) -> Result<(), SchemaError> {
        let fields = self.elements().map(|(coordinate, _)| coordinate);
        let whole = Reduced::of(self, &Shown::of(fields));
        whole.into_schema().validate().map(drop).map_err(|with| super::schema::invalid(&with.errors))
    }

    /// Whether the schema has a field.
    #[must_use]
    pub fn has_field(&self, field: &Coordinate) -> bool {
        field.field_name().is_some_and(|name| self.field(field.type_name(), name).is_some())
    }

    /// Whether a field has arguments.
    #[must_use]
    pub fn has_arguments(&self, field: &Coordinate) -> bool {
        let name = field.field_name();
        let defined = name.and_then(|name| self.valid.type_field(field.type_name(), name).ok());
        defined.is_some_and(|defined| !defined.arguments.is_empty())
    }

    /// The kinds of operations that the schema has, with the types at their roots.
    pub fn roots(&self) -> impl Iterator<Item = (OperationKind, &str)> {
        let definition = &self.valid.schema_definition;
        let roots = [
            (OperationKind::Query, &definition.query),
            (OperationKind::Mutation, &definition.mutation),
            (OperationKind::Subscription, &definition.subscription),
        ];
        roots.into_iter().filter_map(|(kind, root)| Some((kind, root.as_ref()?.name.as_str())))
    }
}

/// Says of a field whether a query of it is granted, for some arguments.
struct Judge<'a> {
    schema: &'a Schema,
    decisions: &'a Decisions,
    permitted: &'a Shown,
    dialect: Dialect,
}

impl Judge<'_> {
    /// INVARIANT: what is shown would be granted if it were selected, by the same rules (`requirements`): the field's own, its
    /// type's, and that of what it returns; on an interface those of every implementer.
    fn grants(&self, field: &Coordinate) -> bool {
        let Some(name) = field.field_name() else { return false };
        let type_name = field.type_name();
        let Ok(defined) = self.schema.valid.type_field(type_name, name) else { return false };
        let returned = self.schema.type_rule(defined.ty.inner_named_type().as_str());
        let own = self.grants_alone(type_name, name);
        // The policies are asked about the implementers in every dialect.
        let every = |judges: bool| {
            self.schema.implementers(type_name).all(|object| {
                self.permitted.shows(&Coordinate::of_field(object, name))
                    && (!judges || self.grants_alone(object, name))
            })
        };
        own && every(self.dialect.judges_implementers()) && returned.is_none_or(|rule| self.holds(rule))
    }

    fn grants_alone(&self, type_name: &str, field: &str) -> bool {
        let (of_type, of_field) = (self.schema.type_rule(type_name), self.schema.field(type_name, field));
        self.permitted.shows(&Coordinate::of_field(type_name, field))
            && of_type.is_some_and(|rule| self.holds(rule))
            && of_field.is_some_and(|facts| self.holds(&facts.rule))
    }

    fn holds(&self, rule: &crate::Rule) -> bool {
        rule.unmet(self.decisions, self.dialect.scopes_authenticate()).is_none()
    }
}

#[cfg(test)]
mod tests;
