//! An operation that the decision point answers in place of the schema: introspection, with what its caller may see.
//!
//! In its place `async_graphql` gets one that asks for nothing, and it is not executed either.

use async_graphql::{Request, Response, Value, Variables, parser::parse_query};
use http::{HeaderMap, header};
use palisade_client::Told;
use serde::Deserialize;

/// What asks for nothing that anybody resolves.
const NOTHING: &str = "{ __typename }";

/// The answer.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    data: Value,
    headers: HeaderMap,
}

/// The body of an answer (GraphQL, section 7.1).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    data: Value,
}

impl Answered {
    /// Nothing where it is no answer.
    pub(crate) fn told(told: &Told) -> Option<Self> {
        let Body { data } = serde_json::from_slice(&told.body).ok()?;
        let mut headers = told.headers.clone();
        // They are of the body that this answer does not have.
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_LENGTH);
        told.permitted.then_some(Self { data, headers })
    }

    /// The request with nothing to execute.
    pub(crate) fn nothing_of(mut request: Request) -> Option<Request> {
        let document = parse_query(NOTHING).ok()?;
        NOTHING.clone_into(&mut request.query);
        request.operation_name = None;
        request.variables = Variables::default();
        request.set_parsed_query(document);
        Some(request)
    }

    /// The answer of the schema.
    pub(crate) fn response(&self) -> Response {
        Response::new(self.data.clone())
    }

    /// Its header fields.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }
}
