//! What a router is told: to go on, with what it takes over into its context; to answer its client in our words; or nothing that it
//! could take for an answer.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use palisade_model::{DecisionId, Reason};
use palisade_pdp::{
    Denial,
    answer::{self, Answer, DECISION_ID},
};
use serde_json::{Map, Value, json};

use crate::message::{Exchange, Protocol, Stage};

/// An answer to a router.
#[derive(Debug)]
pub(crate) enum Told {
    /// A message of its protocol, with the decision that it tells, where there is one.
    Message(String, Option<DecisionId>),
    /// An error of HTTP, which no router takes for an answer: the request fails.
    Refused(Answer),
}

impl Told {
    /// A denial as an error of HTTP.
    pub(crate) fn refused(denial: &Denial) -> Self {
        let told = answer::http(denial, None);
        let status = if denial.reason == Reason::PepUnauthenticated { 401 } else { told.status };
        Self::Refused(Answer { status, ..told })
    }

    /// Whether a denial is about the router, and nothing that its client should hear of.
    pub(crate) const fn is_of_router(reason: Reason) -> bool {
        matches!(reason, Reason::PepUnauthenticated | Reason::PepNotAllowed | Reason::ResourceUnknown)
    }
}

/// Lets a request go on, with these entries of the context.
///
/// INVARIANT: the only place that says `continue`.
pub(crate) fn go_on(exchange: &Exchange, entries: Map<String, Value>) -> String {
    let mut message = begun(exchange);
    message.insert("control".to_owned(), "continue".into());
    if !entries.is_empty() {
        let context = match exchange.protocol {
            Protocol::Apollo => json!({ "entries": entries }),
            Protocol::Hive => Value::Object(entries),
        };
        message.insert("context".to_owned(), context);
    }
    Value::Object(message).to_string()
}

/// Lets by a stage at which nothing is asked for.
///
/// Apollo Router takes away what a response's context does not bring back, and a control of a response for its status: so all
/// of the one comes back, letter by letter, and nothing is said of the other.
pub(crate) fn pass(exchange: &Exchange) -> String {
    if (exchange.protocol, exchange.stage) != (Protocol::Apollo, Stage::Response) {
        return go_on(exchange, Map::new());
    }
    let message = Value::Object(begun(exchange)).to_string();
    match (&exchange.raw_context, message.strip_suffix('}')) {
        (Some(context), Some(open)) => format!(r#"{open},"context":{}}}"#, context.get()),
        (None, _) | (Some(_), None) => message,
    }
}

/// Has the router answer its client with a denial.
pub(crate) fn end(exchange: &Exchange, answer: &Answer, id: DecisionId) -> String {
    let mut message = begun(exchange);
    message.insert("control".to_owned(), json!({ "break": answer.status }));
    let headers: Map<String, Value> =
        answer.headers.iter().map(|(name, value)| ((*name).to_owned(), json!([value]))).collect();
    message.insert("headers".to_owned(), Value::Object(headers));
    let errors = errors(answer, id);
    let body = match exchange.stage {
        Stage::Router => Value::String(errors.to_string()),
        Stage::Operation | Stage::Execution | Stage::Subgraph | Stage::Response => errors,
    };
    message.insert("body".to_owned(), body);
    Value::Object(message).to_string()
}

/// What every message has.
fn begun(exchange: &Exchange) -> Map<String, Value> {
    let mut message = Map::new();
    message.insert("version".to_owned(), 1.into());
    if exchange.protocol == Protocol::Apollo {
        message.insert("stage".to_owned(), exchange.stage_name.into());
        message.insert("id".to_owned(), exchange.id.as_str().into());
    }
    message
}

/// A denial as GraphQL tells errors (GraphQL, section 7.1.2).
fn errors(answer: &Answer, id: DecisionId) -> Value {
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let message = said.get("error_description").and_then(Value::as_str).unwrap_or("this is not permitted");
    let code = match answer.status {
        400 => "BAD_REQUEST",
        401 => "UNAUTHENTICATED",
        429 => "TOO_MANY_REQUESTS",
        500.. => "POLICY_EVALUATION_FAILED",
        _ => "FORBIDDEN",
    };
    let extensions = json!({ "code": code, "decision_id": id.to_string() });
    json!({ "errors": [{ "message": message, "extensions": extensions }] })
}

/// An answer as a response. One that cannot be written as it is becomes an outage.
pub(crate) fn response(told: Told) -> Response {
    let answer = match told {
        Told::Refused(answer) => answer,
        Told::Message(message, id) => {
            let mut headers = vec![
                ("content-type", "application/json".to_owned()),
                ("cache-control", "no-store".to_owned()),
            ];
            headers.extend(id.map(|id| (DECISION_ID, id.to_string())));
            Answer { status: 200, headers, body: message }
        }
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = status;
    for (name, value) in answer.headers {
        match HeaderValue::from_str(&value) {
            Ok(value) => drop(response.headers_mut().append(HeaderName::from_static(name), value)),
            Err(_) => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
        }
    }
    response
}
