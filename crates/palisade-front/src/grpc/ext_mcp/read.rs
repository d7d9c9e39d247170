//! What the gateway says, as calls. Total: what cannot be read is in the call, as the reason for a recorded denial.

use palisade_call::{Body, Headers, HttpCall, Named};
use palisade_model::{Reason, Refusal, Surface};
use palisade_pdp::Limits;
use palisade_proto::ext_mcp::{McpHeader, McpRequest, McpResponse};
use prost_types::{Struct, value::Kind};
use serde_json::{Map, Value};

use crate::grpc::{call::Call, decode::MAX_DEPTH};

/// The field of the gateway's metadata with the client's token.
const TOKEN: &str = "token";
/// What is read of the client's header fields. Those that mirror its message (`Mcp-Name`) are not: the gateway has checked
/// them, and has since given the message its server's own names.
const READ: [&str; 4] = ["authorization", "traceparent", "x-forwarded-for", "x-request-id"];

/// The servers by the gateway's names for them, each once. None and too many are one that nobody knows.
pub(super) fn services(names: &[String], limits: &Limits) -> Vec<String> {
    let mut services: Vec<String> = Vec::new();
    for name in names.iter().take(limits.batch + 1) {
        if !services.contains(name) {
            services.push(name.clone());
        }
    }
    if services.is_empty() || names.len() > limits.batch { vec![String::new()] } else { services }
}

/// The header fields as they came. Those that HTTP/2 makes of the request line are no fields.
pub(super) fn headers(came: &[McpHeader]) -> Headers {
    let mut headers = Headers::default();
    for McpHeader { key, value } in came.iter().filter(|header| !header.key.starts_with(':')) {
        headers.push(key, String::from_utf8_lossy(value).into_owned());
    }
    headers
}

/// A request as a call to no server yet.
pub(super) fn request(call: &Call, asked: McpRequest, client: &Headers, limits: &Limits) -> HttpCall {
    let mut headers = Headers::default();
    for name in READ {
        for value in client.all(name) {
            headers.push(name, value.clone());
        }
    }
    let McpRequest { method, metadata_context, mcp_request, .. } = asked;
    let (body, unusable) = match body(&method, mcp_request.as_deref(), limits) {
        Ok(body) => (body, None),
        Err(refusal) => (Body::Absent, Some(refusal)),
    };
    http(call, headers, metadata_context.as_ref(), body, unusable)
}

/// Who a result is for, as a call to no server yet: the gateway says it by its metadata alone.
pub(super) fn response(call: &Call, came: &McpResponse) -> HttpCall {
    http(call, Headers::default(), came.metadata_context.as_ref(), Body::Absent, None)
}

/// The call to a server.
pub(super) fn to_service(http: &HttpCall, service: String) -> HttpCall {
    HttpCall { named: Named::Service(service), ..http.clone() }
}

fn http(
    call: &Call,
    mut headers: Headers,
    metadata: Option<&Struct>,
    body: Body,
    unusable: Option<Refusal>,
) -> HttpCall {
    if let Some(token) = metadata.and_then(token).filter(|_| !headers.has("authorization")) {
        headers.push("authorization", format!("Bearer {token}"));
    }
    headers.push("content-type", "application/json".to_owned());
    HttpCall {
        surface: Surface::ExtMcp,
        named: Named::Service(String::new()),
        method: "POST".to_owned(),
        // What the protocol does not tell, in a form that can be read; nobody sees it.
        scheme: "https".to_owned(),
        host: "mcp.invalid".to_owned(),
        target: "/".to_owned(),
        headers,
        body,
        declared_size: None,
        source: None,
        request_id: call.request_id.clone(),
        mcp: None,
        // There is none.
        rewrites_path: false,
        cuts: false,
        answers: false,
        unusable,
    }
}

/// The token in the metadata. Something else there is one that cannot be verified.
fn token(metadata: &Struct) -> Option<String> {
    match metadata.fields.get(TOKEN)?.kind.as_ref()? {
        Kind::StringValue(token) => Some(token.clone()),
        Kind::NullValue(_) => None,
        Kind::NumberValue(_) | Kind::BoolValue(_) | Kind::StructValue(_) | Kind::ListValue(_) => {
            Some(String::new())
        }
    }
}

/// The message that the client sent: the parameters are read as strictly as a body, before they are put into one.
fn body(method: &str, params: Option<&[u8]>, limits: &Limits) -> Result<Body, Refusal> {
    if params.is_some_and(|params| params.len() > limits.body) {
        return Ok(Body::Truncated);
    }
    let mut message = Map::from_iter([
        ("jsonrpc".to_owned(), Value::from("2.0")),
        ("method".to_owned(), Value::from(method)),
    ]);
    if !method.starts_with("notifications/") {
        message.insert("id".to_owned(), Value::from(0));
    }
    if let Some(params) = params {
        let read = palisade_json::read(params, MAX_DEPTH)
            .map_err(|error| Refusal::new(Reason::RequestMalformed, format!("the parameters: {error}")))?;
        message.insert("params".to_owned(), read);
    }
    Ok(Body::Whole(Value::Object(message).to_string().into_bytes()))
}
