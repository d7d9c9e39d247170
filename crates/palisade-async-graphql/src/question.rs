//! An operation as a question: what `async_graphql` is about to execute, and nothing else.

use std::collections::HashSet;

use async_graphql::{
    Name, Request, ServerError, Variables,
    parser::{
        parse_query,
        types::{
            DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection,
            SelectionSet,
        },
    },
};
use bytes::Bytes;
use http::StatusCode;
use palisade_client::{Check, Incoming};
use serde::Serialize;

use crate::{
    denial::Denial,
    incoming::{has_json, is_plain_get, of_operation},
    text,
};

/// How `async_graphql` says in a string which upload stands in its place. Whoever reads it executes with what nobody was asked about.
const UPLOAD: &str = "#__graphql_file__:";

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

/// An operation that is asked about.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) check: Check,
    /// The document of the operation, as [`told`] tells it.
    pub(crate) document: serde_json::Value,
    /// What the one operation of the document is; nothing where it is not known which of them would be executed.
    pub(crate) kind: Option<OperationType>,
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

/// The question whether a request may be executed. The request is changed to what is asked about: its document is what its text says of the operation
/// that is named, and a variable that was left out has the value that it will have.
pub(crate) fn question(resource: &str, request: &mut Request, incoming: &Incoming) -> Result<Asked, Unasked> {
    if !has_json(incoming) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Denial::refused(status, "operations come as `application/json`").into());
    }
    if !request.uploads.is_empty() {
        return Err(Denial::unaskable("uploads cannot be asked about").into());
    }
    if request.query.trim().is_empty() {
        return Err(Denial::unaskable("an operation without its text cannot be asked about").into());
    }
    text::read(&request.query).map_err(|unreadable| Denial::unaskable(unreadable.message()))?;
    let mut document = parse_query(&request.query).map_err(|error| Unasked::Syntax(error.into()))?;
    if is_plain_get(incoming) && does_more_than_query(&document) {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Denial::refused(status, "only queries come by GET").into());
    }
    let wanted = request.operation_name.as_deref();
    cut(&mut document, wanted);
    for (_, operation) in document.operations.iter() {
        say_what_is_left_out(&operation.node, &mut request.variables);
    }
    let kind = kind(&document, wanted);
    let told = told(&document).ok_or_else(|| Denial::unaskable("its document is no JSON"))?;
    request.set_parsed_query(document);
    let variables = serde_json::to_value(&request.variables);
    let variables = variables.map_err(|_| Denial::unaskable("its variables are no JSON"))?;
    if names_upload(&told) || names_upload(&variables) {
        return Err(Denial::unaskable("uploads cannot be asked about").into());
    }
    let body = Body {
        query: &request.query,
        operation_name: request.operation_name.as_deref(),
        variables: &request.variables,
    };
    let body = serde_json::to_vec(&body).map_err(|_| Denial::unaskable("its variables are no JSON"))?;
    let check = Check::new(resource, of_operation(incoming), Bytes::from(body)).answering_operations();
    Ok(Asked { check, document: told, kind })
}

/// A document, to be compared with another: all of it, with the places in its text.
pub(crate) fn told(document: &ExecutableDocument) -> Option<serde_json::Value> {
    serde_json::to_value(document).ok()
}

fn does_more_than_query(document: &ExecutableDocument) -> bool {
    document.operations.iter().any(|(_, operation)| operation.node.ty != OperationType::Query)
}

/// Leaves of several operations the one of this name, with the fragments that are spread in it: no other can be executed. Without a name
/// all are left, and none is executed.
fn cut(document: &mut ExecutableDocument, wanted: Option<&str>) {
    let DocumentOperations::Multiple(operations) = &mut document.operations else { return };
    let Some(wanted) = wanted.filter(|wanted| operations.len() > 1 && operations.contains_key(*wanted))
    else {
        return;
    };
    operations.retain(|name, _| name.as_str() == wanted);
    let mut spread = Vec::new();
    for operation in operations.values() {
        spreads(&operation.node.selection_set.node, &mut spread);
    }
    let mut kept = HashSet::new();
    while let Some(name) = spread.pop() {
        if let Some(fragment) = document.fragments.get(&name).filter(|_| kept.insert(name.clone())) {
            spreads(&fragment.node.selection_set.node, &mut spread);
        }
    }
    document.fragments.retain(|name, _| kept.contains(name));
}

/// The names of the fragments that are spread in a selection. The parser has bounded how deep it is.
fn spreads(selections: &SelectionSet, names: &mut Vec<Name>) {
    for selection in &selections.items {
        match &selection.node {
            Selection::Field(field) => spreads(&field.node.selection_set.node, names),
            Selection::InlineFragment(inline) => spreads(&inline.node.selection_set.node, names),
            Selection::FragmentSpread(spread) => names.push(spread.node.fragment_name.node.clone()),
        }
    }
}

/// What the one operation is that `async_graphql` executes of a document.
fn kind(document: &ExecutableDocument, wanted: Option<&str>) -> Option<OperationType> {
    let mut operations = document.operations.iter();
    let (Some((name, operation)), None) = (operations.next(), operations.next()) else { return None };
    let is_wanted = wanted.is_none() || name.map(Name::as_str) == wanted;
    is_wanted.then_some(operation.node.ty)
}

/// A variable that is left out has its default, or is null. `async_graphql` knows that for arguments, and takes none for the conditions of `@skip` and
/// `@include`; and the argument that a null variable stands for is null there, and has its default elsewhere (GraphQL, section 6.4.1). Said with its
/// value it has one reading.
fn say_what_is_left_out(operation: &OperationDefinition, variables: &mut Variables) {
    for definition in &operation.variable_definitions {
        let definition = &definition.node;
        if let Some(value) = definition.default_value() {
            variables.entry(definition.name.node.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// Whether a string in it stands for an upload.
fn names_upload(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.starts_with(UPLOAD),
        serde_json::Value::Array(values) => values.iter().any(names_upload),
        serde_json::Value::Object(members) => members.values().any(names_upload),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests;
