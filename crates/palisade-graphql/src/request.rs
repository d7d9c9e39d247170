//! A GraphQL request as HTTP brings it.
//!
//! [`read_request`] takes the parts of a request and reads the operations in it (GraphQL over HTTP, sections 5 and 6), in
//! one possible reading: JSON without a member twice, no member or parameter that is not the protocol's, one place for
//! each part. What cannot be decided on is refused: a hash without its document, a document that is not the hash's, a
//! body in another form. Nothing is repaired.

mod numbers;
mod parameters;

use std::collections::BTreeSet;

use palisade_model::{Reason, Refusal};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{Analysis, Clients, Manifest, OperationError, OperationKind, Schema};

/// The most levels of JSON in a body or a parameter.
const DEPTH: usize = 32;

/// A request, as far as its operations depend on it.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The query of the URL, undecoded.
    pub query: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// Whether another protocol is asked for: `Upgrade`.
    pub upgrade: bool,
    /// The whole body.
    pub body: &'a [u8],
}

/// How requests are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The most operations of a batch; 0 where there are no batches.
    pub max_batch: usize,
    /// The documents that are known by a hash.
    pub manifest: &'a Manifest,
}

/// The operations of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Requests {
    /// In the order of the request; at least one.
    pub requests: Vec<Request>,
    /// Whether it came as a batch, so that the answer is one too.
    pub batch: bool,
}

/// One operation that is asked for.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The document.
    pub document: String,
    /// The name of the operation in it.
    pub operation_name: Option<String>,
    /// The values of the variables.
    pub variables: Map<String, Value>,
    /// Whether it came by GET, where only queries may.
    pub by_get: bool,
    /// Whether it came as nothing but the hash of its document.
    pub by_hash: bool,
    /// For whom the manifest lists the document; nothing where it does not have it.
    pub listed: Option<Clients>,
    /// Whether it came in a body of which each number is written again as it came: whoever writes the variables anew sends the same.
    pub exact: bool,
}

/// Why a request has no operation that can be decided on. No variant holds anything of the request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The method is neither GET nor POST.
    #[error("the method is neither GET nor POST")]
    Method,
    /// Another protocol is asked for, in which operations would follow that nobody decides on.
    #[error("an upgrade is asked for")]
    Upgrade,
    /// A form with files.
    #[error("the body is a multipart form")]
    Multipart,
    /// No body.
    #[error("the request has no body")]
    NoBody,
    /// The body is something else than JSON.
    #[error("the body is not plain `application/json`")]
    ContentType,
    /// The body is not strict JSON.
    #[error("the body, or a part of it, is not strict JSON: {0}")]
    Json(#[from] palisade_json::JsonError),
    /// A member or parameter is not the protocol's, or has another type.
    #[error("the request is not of the form that GraphQL over HTTP has")]
    Shape,
    /// A parameter stands twice or beside a body, or cannot be decoded in one way.
    #[error("the parameters of the URL cannot be read in one way")]
    Parameters,
    /// An empty batch.
    #[error("the batch is empty")]
    EmptyBatch,
    /// More operations than allowed.
    #[error("the batch has more than {0} operations")]
    Batch(usize),
    /// Neither a document nor a hash.
    #[error("the request has no document")]
    NoDocument,
    /// The hash is that of another document.
    #[error("the hash is not that of the document")]
    Hash,
    /// A hash that the manifest does not have.
    #[error("the hash of a document is not known")]
    UnknownHash,
    /// A version of persisted queries other than 1, or a hash that is none.
    #[error("the persisted query is not one of version 1")]
    Persisted,
    /// A mutation or a subscription by GET.
    #[error("only queries may come by GET")]
    NotAQuery,
    /// The operation itself.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

impl RequestError {
    /// The error as a refusal of the request.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let reason = match self {
            Self::Operation(error) => return error.refusal(),
            Self::NoBody => Reason::RequestBodyMissing,
            Self::Method | Self::NotAQuery | Self::Upgrade => Reason::MethodUnknown,
            Self::UnknownHash => Reason::TargetUnknown,
            Self::Multipart
            | Self::ContentType
            | Self::Json(_)
            | Self::Shape
            | Self::Parameters
            | Self::EmptyBatch
            | Self::Batch(_)
            | Self::NoDocument
            | Self::Hash
            | Self::Persisted => Reason::RequestMalformed,
        };
        Refusal::new(reason, self.to_string())
    }
}

/// Reads the operations of a request.
///
/// # Errors
/// When the request can be read in no way, or in more than one.
pub fn read_request(incoming: &Incoming<'_>, reading: &Reading<'_>) -> Result<Requests, RequestError> {
    if incoming.upgrade {
        return Err(RequestError::Upgrade);
    }
    match incoming.method {
        "GET" => {
            // A server that reads the body of a GET would read another request.
            if !incoming.body.is_empty() {
                return Err(RequestError::Shape);
            }
            let members = parameters::read(incoming.query.unwrap_or_default())?;
            // What comes by GET goes on as its URL, and is written anew by nobody.
            Ok(Requests { requests: vec![one(members, reading, (true, false))?], batch: false })
        }
        "POST" => post(incoming, reading),
        _ => Err(RequestError::Method),
    }
}

fn post(incoming: &Incoming<'_>, reading: &Reading<'_>) -> Result<Requests, RequestError> {
    is_json(incoming)?;
    // Some servers let a parameter stand before the body's member, and each has its own spellings of the names:
    // `variables[id]`, names with blanks, names that only that server knows.
    if incoming.query.is_some_and(|query| !query.is_empty()) {
        return Err(RequestError::Parameters);
    }
    if incoming.body.is_empty() {
        return Err(RequestError::NoBody);
    }
    let body = palisade_json::read(incoming.body, DEPTH)?;
    let came = (false, numbers::are_exact(incoming.body));
    match body {
        Value::Object(members) => Ok(Requests { requests: vec![one(members, reading, came)?], batch: false }),
        Value::Array(entries) if entries.is_empty() => Err(RequestError::EmptyBatch),
        Value::Array(entries) if entries.len() > reading.max_batch => {
            Err(RequestError::Batch(reading.max_batch))
        }
        Value::Array(entries) => {
            let read = |entry| match entry {
                Value::Object(members) => one(members, reading, came),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    Err(RequestError::Shape)
                }
            };
            let requests = entries.into_iter().map(read).collect::<Result<_, _>>()?;
            Ok(Requests { requests, batch: true })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(RequestError::Shape),
    }
}

/// `application/json`, in UTF-8 and as it is.
fn is_json(incoming: &Incoming<'_>) -> Result<(), RequestError> {
    if incoming.content_encoding.is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity")) {
        return Err(RequestError::ContentType);
    }
    let content_type = incoming.content_type.unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    if media.starts_with("multipart/") {
        return Err(RequestError::Multipart);
    }
    let utf8 =
        |parameter: &str| matches!(&*parameter.to_ascii_lowercase(), "charset=utf-8" | "charset=\"utf-8\"");
    if media != "application/json" || !parts.all(utf8) {
        return Err(RequestError::ContentType);
    }
    Ok(())
}

/// Reads one operation from its members, which came by GET or not and with exact numbers or not.
fn one(
    mut members: Map<String, Value>,
    reading: &Reading<'_>,
    (by_get, exact): (bool, bool),
) -> Result<Request, RequestError> {
    let document = text(members.remove("query"))?;
    let operation_name = text(members.remove("operationName"))?;
    let variables = object(members.remove("variables"))?;
    let extensions = object(members.remove("extensions"))?;
    if !members.is_empty() {
        return Err(RequestError::Shape);
    }
    let by_hash = document.as_ref().is_none_or(String::is_empty);
    let (document, listed) = known(document, persisted(extensions)?, reading)?;
    Ok(Request { document, operation_name, variables, by_get, by_hash, listed, exact })
}

/// The document, and for whom the manifest has it.
fn known(
    document: Option<String>,
    hash: Option<String>,
    reading: &Reading<'_>,
) -> Result<(String, Option<Clients>), RequestError> {
    match (document.filter(|document| !document.is_empty()), hash) {
        (None, None) => Err(RequestError::NoDocument),
        (None, Some(hash)) => {
            let listed = reading.manifest.get(&hash).ok_or(RequestError::UnknownHash)?;
            Ok((listed.document.clone(), Some(listed.clients.clone())))
        }
        (Some(document), hash) => {
            let own = hex::encode(Sha256::digest(document.as_bytes()));
            if hash.is_some_and(|hash| hash != own) {
                return Err(RequestError::Hash);
            }
            let listed = reading.manifest.get(&own).filter(|listed| listed.document == document);
            let clients = listed.map(|listed| listed.clients.clone());
            Ok((document, clients))
        }
    }
}

/// The hash of `extensions.persistedQuery`.
fn persisted(mut extensions: Map<String, Value>) -> Result<Option<String>, RequestError> {
    let mut persisted = match extensions.remove("persistedQuery") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(members)) => members,
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err(RequestError::Persisted);
        }
    };
    let version = persisted.remove("version").and_then(|version| version.as_u64());
    let hash = persisted.remove("sha256Hash");
    let hash = hash.as_ref().and_then(Value::as_str).filter(|hash| is_hash(hash));
    match (version, hash) {
        (Some(1), Some(hash)) if persisted.is_empty() => Ok(Some(hash.to_owned())),
        (Some(_) | None, Some(_) | None) => Err(RequestError::Persisted),
    }
}

/// A SHA-256 in lower-case hex.
pub(crate) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn text(value: Option<Value>) -> Result<Option<String>, RequestError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(RequestError::Shape)
        }
    }
}

fn object(value: Option<Value>) -> Result<Map<String, Value>, RequestError> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::String(_)) => {
            Err(RequestError::Shape)
        }
    }
}

impl Schema {
    /// Reads what an operation that came by HTTP asks for.
    ///
    /// # Errors
    /// When [`Schema::analyze`] refuses it, or it came by GET and is no query.
    pub fn analyze_request(&self, request: &Request) -> Result<Analysis, RequestError> {
        let analysis =
            self.analyze(&request.document, request.operation_name.as_deref(), &request.variables)?;
        match analysis.kind {
            OperationKind::Mutation | OperationKind::Subscription if request.by_get => {
                Err(RequestError::NotAQuery)
            }
            OperationKind::Query | OperationKind::Mutation | OperationKind::Subscription => Ok(analysis),
        }
    }
}

impl std::fmt::Debug for Incoming<'_> {
    // Without the query and the body.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Incoming")
            .field("method", &self.method)
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Request {
    // Without the document and the variables.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let variables: BTreeSet<&String> = self.variables.keys().collect();
        formatter
            .debug_struct("Request")
            .field("operation_name", &self.operation_name)
            .field("variables", &variables)
            .field("by_get", &self.by_get)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
