//! An operation as a question: what `async_graphql` is about to execute, and nothing else.

use async_graphql::{
    Request, ServerError, Value, Variables,
    parser::{
        parse_query,
        types::{ExecutableDocument, OperationDefinition, OperationType},
    },
};
use bytes::Bytes;
use http::StatusCode;
use palisade_client::{Check, Incoming};
use serde::Serialize;

use crate::{
    denial::Denial,
    incoming::{is_plain_get, of_operation},
};

/// Why an operation is not asked about.
#[derive(Debug)]
pub(crate) enum Unasked {
    /// It cannot be asked about, and is denied.
    Denied(Box<Denial>),
    /// It is no GraphQL.
    Syntax(ServerError),
}

impl From<Denial> for Unasked {
    fn from(denial: Denial) -> Self {
        Self::Denied(Box::new(denial))
    }
}

/// An operation in a POST (GraphQL over HTTP, section 5.4).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'r> {
    query: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_name: Option<&'r str>,
    variables: &'r Variables,
}

/// The question whether a request may be executed. The request is changed to what is asked about: its document is what its text says, and a variable
/// that was left out and will be null is null.
pub(crate) fn question(resource: &str, request: &mut Request, incoming: &Incoming) -> Result<Check, Unasked> {
    if !request.uploads.is_empty() {
        return Err(Denial::unaskable("uploads cannot be asked about").into());
    }
    if request.query.trim().is_empty() {
        return Err(Denial::unaskable("an operation without its text cannot be asked about").into());
    }
    let document = parse_query(&request.query).map_err(|error| Unasked::Syntax(error.into()))?;
    if is_plain_get(incoming) && changes_something(&document) {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Denial::refused(status, "a mutation comes by POST").into());
    }
    for operation in named(&document, request.operation_name.as_deref()) {
        say_what_is_null(operation, &mut request.variables);
    }
    request.set_parsed_query(document);
    let body = Body {
        query: &request.query,
        operation_name: request.operation_name.as_deref(),
        variables: &request.variables,
    };
    let body = serde_json::to_vec(&body).map_err(|_| Denial::unaskable("its variables are no JSON"))?;
    Ok(Check::new(resource, of_operation(incoming), Bytes::from(body)))
}

fn changes_something(document: &ExecutableDocument) -> bool {
    document.operations.iter().any(|(_, operation)| operation.node.ty == OperationType::Mutation)
}

/// The operation of this name; without a name, all.
fn named<'d>(
    document: &'d ExecutableDocument,
    wanted: Option<&'d str>,
) -> impl Iterator<Item = &'d OperationDefinition> {
    let is_wanted = move |name: Option<&str>| wanted.is_none() || name == wanted;
    let operations = document.operations.iter();
    operations
        .filter(move |(name, _)| is_wanted(name.map(|name| name.as_str())))
        .map(|(_, operation)| &operation.node)
}

/// A variable that is left out is null where `async_graphql` executes it, and so is the argument that it stands for; elsewhere the argument has its
/// default then (GraphQL, section 6.4.1). Said as null it is null for both.
fn say_what_is_null(operation: &OperationDefinition, variables: &mut Variables) {
    for definition in &operation.variable_definitions {
        let definition = &definition.node;
        if definition.default_value.is_none() && definition.var_type.node.nullable {
            variables.entry(definition.name.node.clone()).or_insert(Value::Null);
        }
    }
}

#[cfg(test)]
mod tests;
