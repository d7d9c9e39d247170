//! What is left of a request, as a request.
//!
//! [`Schema::rest`] writes what [`Schema::filter`] has left of an operation as the body of a request: the document, the
//! operation's name, and those variables that the document still uses. Nothing else of what came goes on: what
//! stood among the extensions was about another document. A request with a number that would be written otherwise than it came is
//! left alone. Then it is read as any request is, and judged as any is: it may
//! ask for nothing that was not granted, and for nothing that the operation did not ask for.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::analysis::Ask;
use crate::filter::{Denied, GraphqlError};
use crate::{Analysis, Decisions, Dialect, Incoming, Manifest, Mode, Reading, Request, Schema, read_request};

/// What is left of a request of which something is not granted.
#[derive(Clone)]
pub struct Rest {
    /// The body of the request that may go on, as JSON; nothing where nothing is left.
    pub body: Option<Vec<u8>>,
    /// Which of the questions of [`Analysis::asks`] it still asks, by their places.
    pub asks: Vec<usize>,
    /// Whether it still asks for `__schema` or `__type`.
    pub introspects: bool,
    /// What was taken, for the client.
    pub errors: Vec<GraphqlError>,
    /// What was taken, for the record.
    pub denied: Vec<Denied>,
}

impl std::fmt::Debug for Rest {
    // Without the body.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rest").field("denied", &self.denied).finish_non_exhaustive()
    }
}

impl Schema {
    /// Takes from a request what is not granted. Nothing where there is nothing to take, or where what would be left cannot be
    /// shown to be granted.
    #[must_use]
    pub fn rest(
        &self,
        request: &Request,
        analysis: &Analysis,
        decisions: &Decisions,
        dialect: Dialect,
    ) -> Option<Rest> {
        let filtered = self.filter(analysis, decisions, dialect, Mode::Filter);
        if filtered.denied.is_empty() {
            return None;
        }
        let (errors, denied) = (filtered.errors, filtered.denied);
        let Some(document) = &filtered.document else {
            return Some(Rest { body: None, asks: Vec::new(), introspects: false, errors, denied });
        };
        // A server would get another number than its client has sent.
        if !request.exact {
            return None;
        }
        let body = body(request, document, &filtered.variables);
        let again = self.again(&body)?;
        // INVARIANT: what goes on asks for nothing that was not granted, and for nothing that the operation did not ask for.
        let judged = self.filter(&again, decisions, dialect, Mode::Reject);
        let same = again.kind == analysis.kind && again.name == analysis.name;
        if !same || !judged.denied.is_empty() || judged.document.as_deref() != Some(document.as_str()) {
            return None;
        }
        let places: HashMap<&Ask, usize> =
            analysis.asks().iter().enumerate().map(|(place, ask)| (ask, place)).collect();
        let asks = again.asks().iter().map(|ask| places.get(ask).copied()).collect::<Option<_>>()?;
        Some(Rest { body: Some(body), asks, introspects: again.introspects, errors, denied })
    }

    /// What a body asks for, read as one that came.
    fn again(&self, body: &[u8]) -> Option<Analysis> {
        let incoming = Incoming {
            method: "POST",
            query: None,
            content_type: Some("application/json"),
            content_encoding: None,
            upgrade: false,
            body,
        };
        let manifest = Manifest::default();
        let mut read = read_request(&incoming, &Reading { max_batch: 0, manifest: &manifest }).ok()?.requests;
        self.analyze_request(&read.pop()?).ok()
    }
}

fn body(request: &Request, document: &str, used: &BTreeSet<String>) -> Vec<u8> {
    let mut members = Map::new();
    members.insert("query".to_owned(), document.into());
    members.extend(request.operation_name.as_deref().map(|name| ("operationName".to_owned(), name.into())));
    let variables = request.variables.iter().filter(|(name, _)| used.contains(name.as_str()));
    let variables: Map<String, Value> =
        variables.map(|(name, value)| (name.clone(), value.clone())).collect();
    if !variables.is_empty() {
        members.insert("variables".to_owned(), Value::Object(variables));
    }
    Value::Object(members).to_string().into_bytes()
}

#[cfg(test)]
mod tests;
