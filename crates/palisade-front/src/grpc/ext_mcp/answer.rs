//! Decisions in the words of the protocol.
//!
//! There is no HTTP challenge in it. What a 401 or a step-up would tell a client is in the data of the JSON-RPC error; for
//! the challenge itself the gateway asks by `ext_authz` beside.

use std::collections::BTreeMap;

use palisade_call::{Headers, Passage};
use palisade_mcp::Reply;
use palisade_pdp::{
    Decision, Denial,
    answer::{self, DECISION_ID},
};
use palisade_proto::ext_mcp::{
    AuthorizationError, HeaderMutation, McpHeader, McpRequestResult, McpResponseResult, Pass,
    authorization_error::Code, mcp_request_result::Result as On, mcp_response_result::Result as Back,
};
use serde_json::{Map, Value, json};

/// The header with the decision's id, which every server is sent one of.
const DECISION: &str = "x-palisade-decision";
/// Invalid request, internal error (JSON-RPC 2.0 section 5.1).
const INVALID_REQUEST: i32 = -32_600;
const INTERNAL: i32 = -32_603;

/// A request goes on. One that goes to several servers leaves with what is the same for all of them: no server gets a
/// credential that is another's.
///
/// INVARIANT: the only place that lets a request by.
pub(super) fn passed(permitted: &[Decision], client: &Headers) -> McpRequestResult {
    let passages: Vec<Passage<'_>> = permitted.iter().filter_map(passage).collect();
    let Some((first, others)) = passages.split_first() else { return request_outage() };
    let others: Vec<BTreeMap<String, String>> = others.iter().map(set).collect();
    let mut kept = set(first);
    kept.retain(|name, value| name == DECISION || others.iter().all(|set| set.get(name) == Some(value)));
    let mut remove: Vec<String> = passages
        .iter()
        .flat_map(|passage| {
            let identity = passage.headers();
            let written = set(passage).into_keys();
            written.chain(passage.removals(&identity, client)).collect::<Vec<_>>()
        })
        .collect();
    remove.retain(|name| !kept.contains_key(name));
    remove.sort_unstable();
    remove.dedup();
    let set = kept.into_iter().map(|(key, value)| McpHeader { key, value: value.into_bytes() }).collect();
    McpRequestResult {
        result: Some(On::Pass(Pass {})),
        header_mutation: Some(HeaderMutation { set, remove }),
        metadata: None,
    }
}

fn passage(decision: &Decision) -> Option<Passage<'_>> {
    match decision {
        Decision::Permit(permit) => Some(Passage::from(permit)),
        Decision::Observed(observed) => Some(Passage::from(observed)),
        Decision::Deny(_) => None,
    }
}

/// The header fields that the server of a passage gets.
fn set(passage: &Passage<'_>) -> BTreeMap<String, String> {
    let identity = passage.headers().into_iter().map(|(name, value)| (name.to_owned(), value));
    let credential = passage.credential().map(|(name, value)| (name.to_owned(), value));
    identity.chain(credential).collect()
}

/// A request does not go on.
pub(super) fn denied(denial: &Denial, method: &str) -> McpRequestResult {
    not_on(error(denial, method))
}

/// A list does not go back.
pub(super) fn refused(denial: &Denial, method: &str) -> Back {
    Back::Error(error(denial, method))
}

/// A result goes back as it is: it is no list.
pub(super) fn unchanged() -> Back {
    Back::Pass(Pass {})
}

/// A list that cannot be read does not go back.
pub(super) fn unreadable() -> Back {
    Back::Error(told(
        Code::PermissionDenied,
        INTERNAL,
        "the server's list cannot be read, and is withheld",
        None,
    ))
}

/// The answers where there is no decision, because this service failed.
pub(super) fn request_outage() -> McpRequestResult {
    not_on(outage())
}

pub(super) fn response_outage() -> McpResponseResult {
    McpResponseResult { result: Some(outage_back()) }
}

pub(super) fn outage_back() -> Back {
    Back::Error(outage())
}

fn outage() -> AuthorizationError {
    let data = json!({ "error": "temporarily_unavailable", "status": 503, "retry_after": 1 });
    told(Code::PermissionDenied, 503, "no decision can be made now", Some(data))
}

fn not_on(error: AuthorizationError) -> McpRequestResult {
    McpRequestResult { result: Some(On::Error(error)), header_mutation: None, metadata: None }
}

/// A denial. What HTTP alone can tell is in the data: the status, the challenge, when to come again.
fn error(denial: &Denial, method: &str) -> AuthorizationError {
    let http = answer::http(denial, None);
    let header = |name: &str| {
        let mut values = http.headers.iter().filter(|(known, _)| *known == name);
        values.next().map(|(_, value)| value.as_str())
    };
    let body: Map<String, Value> = serde_json::from_str(&http.body).unwrap_or_default();
    let description = body.get("error_description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut data = Map::from_iter([("decision_id".to_owned(), Value::from(header(DECISION_ID)))]);
    let mut jsonrpc = if http.status == 400 { Some((INVALID_REQUEST, description.clone())) } else { None };
    if answer::is_http_only(denial.reason) {
        let seconds = header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        let told = [
            ("status", Some(Value::from(http.status))),
            ("error", body.get("error").cloned()),
            ("www_authenticate", header("www-authenticate").map(Value::from)),
            ("retry_after", seconds.map(Value::from)),
        ];
        data.extend(told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        jsonrpc = Some((i32::from(http.status), description));
    }
    let (number, message) = jsonrpc.unwrap_or_else(|| in_the_words_of_mcp(denial, method));
    let code = match http.status {
        400 => Code::Invalid,
        429 => Code::ResourceExhausted,
        _ => Code::PermissionDenied,
    };
    told(code, number, &message, Some(Value::Object(data)))
}

fn in_the_words_of_mcp(denial: &Denial, method: &str) -> (i32, String) {
    let reply = Reply { action: method.to_owned(), id: Some("0".to_owned()) };
    let answer = palisade_mcp::denial(denial.reason, &[reply], false);
    let member = |name: &str| answer.get("error").and_then(|error| error.get(name));
    let code = member("code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok());
    let message = member("message").and_then(Value::as_str).unwrap_or("Not permitted");
    (code.unwrap_or(INTERNAL), message.to_owned())
}

/// The reason is what some versions of the gateway make the message: no more is said there than in the error object.
fn told(code: Code, number: i32, message: &str, data: Option<Value>) -> AuthorizationError {
    let mut error = json!({ "code": number, "message": message });
    if let (Some(data), Some(members)) = (data, error.as_object_mut()) {
        members.insert("data".to_owned(), data);
    }
    AuthorizationError {
        code: code.into(),
        reason: message.to_owned(),
        mcp_error: Some(error.to_string().into_bytes()),
    }
}
