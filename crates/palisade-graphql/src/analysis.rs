//! What an operation asks for.
//!
//! [`Schema::analyze`] parses within the limits, measures what the operation comes to before anything is expanded
//! ([`crate::measure`]), validates, coerces the variables, and goes through what the operation selects, spread by spread
//! (`walk`), which the measure has bounded. What the directives ask for is told by [`Schema::requirements`], and what a
//! policy is asked about each field by [`Analysis::asks`]: each coordinate once for each set of arguments.

mod walk;

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use apollo_compiler::ast::{Document, OperationType};
use apollo_compiler::executable::{Field, Fragment, InlineFragment, Operation, SelectionSet};
use apollo_compiler::parser::Parser;
use apollo_compiler::validation::{DiagnosticList, Valid};
use apollo_compiler::{ExecutableDocument, Name, Node};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub(crate) use walk::executes;

use crate::error::{Limit, Place, START, place};
use crate::limits::NESTING;
use crate::{Coordinate, Limits, Measure, OperationError, Schema};

/// What kind of operation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// `query`.
    Query,
    /// `mutation`.
    Mutation,
    /// `subscription`.
    Subscription,
}

/// One operation of a document, as far as decisions depend on it.
#[derive(Clone)]
pub struct Analysis {
    /// What kind it is.
    pub kind: OperationKind,
    /// Its name.
    pub name: Option<String>,
    /// SHA-256 of the whole document, in lower-case hex.
    pub hash: String,
    /// What it comes to.
    pub measure: Measure,
    /// About how many bytes the values of its variables and arguments take, those of all its questions together.
    pub argument_bytes: usize,
    /// Whether it asks for `__schema` or `__type`.
    pub introspects: bool,
    fields: Vec<FieldUse>,
    asks: Vec<Ask>,
    pub(crate) source: Arc<str>,
    pub(crate) document: Valid<ExecutableDocument>,
    pub(crate) operation: Node<Operation>,
    pub(crate) variables: Map<String, Value>,
    pub(crate) steps: Vec<Step>,
    /// The questions about each field of the text, by where it stands there.
    nodes: HashMap<usize, Vec<usize>>,
}

/// A question to the policies: this field, with these arguments.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The field.
    pub coordinate: Coordinate,
    /// Its arguments, with defaults and variables.
    pub arguments: Arc<Map<String, Value>>,
    /// The arguments in canonical form, by which questions are told apart.
    canonical: Arc<str>,
}

/// A field that is selected, or that an interface's implementers bring.
#[derive(Debug, Clone)]
pub struct FieldUse {
    /// The field.
    pub coordinate: Coordinate,
    /// Where it is selected.
    pub occurrences: Vec<Occurrence>,
}

/// One place where a field is selected.
#[derive(Debug, Clone)]
pub struct Occurrence {
    /// Its arguments, with defaults and variables.
    pub arguments: Arc<Map<String, Value>>,
    /// In how many lists its values stand, its own among them.
    pub list_depth: usize,
    /// Whether `@skip` and `@include` let it be executed.
    pub executed: bool,
    step: usize,
}

/// One step down an operation: a field, or a fragment with a type condition.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) above: Option<usize>,
    pub(crate) part: Part,
    pub(crate) executed: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Field { parent: Name, field: Node<Field> },
    Inline { condition: Name, fragment: Node<InlineFragment> },
    Named(Node<Fragment>),
}

impl Part {
    /// The type condition and what is selected under it, of a fragment.
    pub(crate) fn condition(&self) -> Option<(&str, &SelectionSet)> {
        match self {
            Self::Field { .. } => None,
            Self::Inline { condition, fragment } => Some((condition.as_str(), &fragment.selection_set)),
            Self::Named(fragment) => Some((fragment.type_condition().as_str(), &fragment.selection_set)),
        }
    }

    pub(crate) fn field(&self) -> Option<&Node<Field>> {
        match self {
            Self::Field { field, .. } => Some(field),
            Self::Inline { .. } | Self::Named(_) => None,
        }
    }
}

impl PartialEq for Ask {
    fn eq(&self, other: &Self) -> bool {
        self.coordinate == other.coordinate && self.canonical == other.canonical
    }
}

impl Eq for Ask {}

impl Hash for Ask {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.coordinate.hash(state);
        self.canonical.hash(state);
    }
}

impl Schema {
    /// Reads what an operation of a document asks for.
    ///
    /// # Errors
    /// When the document cannot be read in one way, does not fit the schema, or comes to more than the limits allow.
    pub fn analyze(
        &self,
        document: &str,
        operation_name: Option<&str>,
        variables: &Map<String, Value>,
    ) -> Result<Analysis, OperationError> {
        let parsed = parse(document, &self.limits)?;
        let measure = crate::measure::measure(&parsed, operation_name, &self.limits)?;
        crate::unique::check(&parsed)?;
        let valid = validate(&parsed, self)?;
        let operation = choose(&valid, operation_name)?;
        let most = self.limits.arguments;
        let mut left = most;
        let variables = crate::arguments::variables(&self.valid, &operation, variables, &mut left, most)?;
        let found = walk::Walk::through(self, &valid, &operation, &variables, left)?;
        Ok(Analysis {
            kind: operation.operation_type.into(),
            name: operation.name.as_ref().map(|name| name.as_str().to_owned()),
            hash: hex::encode(Sha256::digest(document.as_bytes())),
            measure,
            argument_bytes: most.saturating_sub(found.left),
            introspects: found.introspects,
            fields: found.fields,
            asks: found.asks,
            source: document.into(),
            document: valid,
            operation,
            variables,
            steps: found.steps,
            nodes: found.nodes,
        })
    }
}

impl Analysis {
    /// Each field that is selected, with where.
    #[must_use]
    pub fn fields(&self) -> &[FieldUse] {
        &self.fields
    }

    /// Each question that policies answer about fields, once: also those about the fields of an interface's
    /// implementers, for a field that is selected on the interface. Those of introspection are not among them.
    #[must_use]
    pub fn asks(&self) -> &[Ask] {
        &self.asks
    }

    /// How many fields of the root type are executed: each alias is one, and what `@skip` and `@include` leave out is none.
    /// Introspection is nothing that a server's resolvers do.
    #[must_use]
    pub fn executed_roots(&self) -> usize {
        let is_root = |step: &Step| {
            let mut above = step.above;
            while let Some(part) = above.and_then(|index| self.steps.get(index)) {
                if part.part.field().is_some() {
                    return false;
                }
                above = part.above;
            }
            step.executed
        };
        let keys = self.steps.iter().filter_map(|step| Some((step, step.part.field()?)));
        let roots = keys.filter(|(step, _)| is_root(step)).map(|(_, field)| field.response_key());
        roots.collect::<HashSet<_>>().len()
    }

    /// The values of the variables, with defaults.
    #[must_use]
    pub fn variables(&self) -> &Map<String, Value> {
        &self.variables
    }

    /// Where the values of an occurrence stand in the response: with aliases, without the items of lists.
    #[must_use]
    pub fn response_path(&self, occurrence: &Occurrence) -> Vec<String> {
        self.path(occurrence, |field| field.response_key().as_str())
    }

    /// The same by the names of the fields.
    #[must_use]
    pub fn field_path(&self, occurrence: &Occurrence) -> Vec<String> {
        self.path(occurrence, |field| field.name.as_str())
    }

    fn path(&self, occurrence: &Occurrence, name: impl Fn(&Field) -> &str) -> Vec<String> {
        let mut path = Vec::new();
        let mut at = Some(occurrence.step);
        while let Some(step) = at.and_then(|index| self.steps.get(index)) {
            path.extend(step.part.field().map(|field| name(field).to_owned()));
            at = step.above;
        }
        path.reverse();
        path
    }

    /// The questions about a field of the text; nothing where none were noted, which nobody may take for a permit.
    pub(crate) fn asks_about(&self, field: &Node<Field>) -> Option<impl Iterator<Item = &Ask>> {
        let noted = self.nodes.get(&field.location()?.offset())?;
        Some(noted.iter().filter_map(|index| self.asks.get(*index)))
    }
}

impl From<OperationType> for OperationKind {
    fn from(kind: OperationType) -> Self {
        match kind {
            OperationType::Query => Self::Query,
            OperationType::Mutation => Self::Mutation,
            OperationType::Subscription => Self::Subscription,
        }
    }
}

impl OperationKind {
    /// The keyword, which is the name of the action too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }
}

impl std::fmt::Debug for Analysis {
    // Without variables and arguments.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Analysis")
            .field("kind", &self.kind)
            .field("hash", &self.hash)
            .field("measure", &self.measure)
            .finish_non_exhaustive()
    }
}

/// Parses, no deeper and no longer than allowed.
pub(crate) fn parse(document: &str, limits: &Limits) -> Result<Document, OperationError> {
    let mut parser = Parser::new().recursion_limit(NESTING).token_limit(limits.tokens);
    parser.parse_ast(document, "document").map_err(|with| {
        if parser.tokens_reached() > limits.tokens {
            OperationError::TooMuch { limit: Limit::Tokens, most: limits.tokens }
        } else if parser.recursion_reached() > NESTING {
            OperationError::TooMuch { limit: Limit::Nesting, most: NESTING }
        } else {
            OperationError::Syntax(first_place(&with.errors))
        }
    })
}

/// Fits a document to a schema.
pub(crate) fn validate(
    document: &Document,
    schema: &Schema,
) -> Result<Valid<ExecutableDocument>, OperationError> {
    document
        .to_executable_validate(&schema.valid)
        .map_err(|with| OperationError::Invalid(first_place(&with.errors)))
}

fn first_place(errors: &DiagnosticList) -> Place {
    let range = errors.iter().next().and_then(|first| first.line_column_range());
    range.map_or(START, |range| Place { line: range.start.line, column: range.start.column })
}

/// The operation that a request means (GraphQL, section 6.1).
fn choose(document: &ExecutableDocument, name: Option<&str>) -> Result<Node<Operation>, OperationError> {
    let several = name.is_none() && document.operations.len() > 1;
    let operation =
        document.operations.get(name).cloned().map_err(|_| {
            if several { OperationError::SeveralOperations } else { OperationError::NoOperation }
        })?;
    // Policies know an operation by its name, or by its document's hash where it has none.
    match operation.name.as_ref().filter(|name| crate::request::is_hash(name.as_str())) {
        Some(name) => Err(OperationError::Name(place(name.location(), &document.sources))),
        None => Ok(operation),
    }
}

#[cfg(test)]
mod tests;
