//! An operation that the decision point answers in place of the schema: introspection, with what its caller may see.
//!
//! In its place `async_graphql` gets one that asks for nothing, and it is not executed either.

use async_graphql::{Request, Response, Value, Variables, parser::parse_query};
use http::{HeaderMap, StatusCode, header};
use palisade_client::Told;
use serde::Deserialize;

use crate::question::told;

/// What asks for nothing that anybody resolves.
const NOTHING: &str = "{ __typename }";

/// The answer.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    data: Value,
    headers: HeaderMap,
    /// The document of nothing.
    pub(crate) document: serde_json::Value,
}

/// The body of an answer (GraphQL, section 7.1).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    data: Value,
}

impl Answered {
    /// Nothing where it is no answer.
    pub(crate) fn of(answer: &Told) -> Option<Self> {
        let Body { data } = serde_json::from_slice(&answer.body).ok()?;
        let document = told(&parse_query(NOTHING).ok()?)?;
        let mut headers = answer.headers.clone();
        // They are of the body that this answer does not have.
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_LENGTH);
        (answer.permitted && answer.status == StatusCode::OK).then_some(Self { data, headers, document })
    }

    /// Whether a text asks for nothing.
    pub(crate) fn is_nothing(query: &str) -> bool {
        query == NOTHING
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
