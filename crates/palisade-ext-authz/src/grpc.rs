//! `envoy.service.auth.v3.Authorization` over gRPC.
//!
//! A failed call is an error to Envoy, and with `failure_mode_allow` an error is an allow. So a refusal, a panic and
//! even a message that is no `CheckRequest` are answered as denials, never as a gRPC status. What is left is silence:
//! a dead service, or an answer that comes too late. `failure_mode_allow` must be false for that.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use envoy_types::{
    ext_authz::v3::pb::{Address, Authorization, AuthorizationServer, CheckRequest, CheckResponse},
    pb::{
        envoy::service::auth::v3::{
            AttributeContext,
            attribute_context::{HttpRequest, Peer},
        },
        google::protobuf::{Struct, Value as ProtoValue, value::Kind as ProtoKind},
    },
};
use palisade_call::{Believed, Body, Headers, HttpCall, Named, decode};
use palisade_mcp::Attributes;
use palisade_model::{Reason, Refusal, Surface};
use palisade_pdp::{Caller, Pdp, answer, run_to_end};
use serde_json::Value;
use tonic::{
    body::Body as GrpcBody,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};

use crate::encode;

/// The context extension of a route that names its resource.
const RESOURCE_EXTENSION: &str = "palisade.resource";
/// Where Envoy's MCP filter puts what it has read: since 1.38, and before.
const MCP_NAMESPACES: [&str; 2] = ["envoy.filters.http.mcp", "mcp_proxy"];
/// What the filter says when it has not read a body, or not all of it.
const UNREAD_MARKS: [&str; 2] = ["passthrough_reason", "is_exceeding_limit"];
/// The path of the one method.
const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";
/// A gRPC message of no bytes: not compressed, length 0.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// The service, for a gRPC server.
#[must_use]
pub fn server(pdp: Arc<Pdp>) -> CheckServer {
    CheckServer { inner: AuthorizationServer::new(CheckService::new(pdp)) }
}

/// The decoded side of the service.
#[derive(Debug)]
pub struct CheckService {
    pdp: Arc<Pdp>,
}

/// The service as a server mounts it. Where the layer below refuses a `Check` before it is decoded (a message that is
/// too large or no message at all), the question is asked again as one that says nothing, and that is denied.
#[derive(Debug, Clone)]
pub struct CheckServer {
    inner: AuthorizationServer<CheckService>,
}

impl NamedService for CheckServer {
    const NAME: &'static str = <AuthorizationServer<CheckService> as NamedService>::NAME;
}

impl Service<http::Request<GrpcBody>> for CheckServer {
    type Response = http::Response<GrpcBody>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<GrpcBody>>::poll_ready(&mut self.inner, context)
    }

    fn call(&mut self, request: http::Request<GrpcBody>) -> Self::Future {
        let mut inner = self.inner.clone();
        let nothing = request.uri().path().eq(CHECK_PATH).then(|| says_nothing(&request));
        Box::pin(async move {
            let response = inner.call(request).await?;
            let failed = response.headers().get("grpc-status").is_some_and(|status| status != "0");
            match nothing {
                Some(nothing) if failed => inner.call(nothing).await,
                Some(_) | None => Ok(response),
            }
        })
    }
}

/// The same caller's request with a message of no bytes.
fn says_nothing(request: &http::Request<GrpcBody>) -> http::Request<GrpcBody> {
    let body = GrpcBody::new(http_body_util::Full::new(EMPTY_MESSAGE.into()));
    let mut nothing = http::Request::new(body);
    *nothing.method_mut() = request.method().clone();
    *nothing.uri_mut() = request.uri().clone();
    *nothing.version_mut() = request.version();
    *nothing.extensions_mut() = request.extensions().clone();
    nothing
}

#[tonic::async_trait]
impl Authorization for CheckService {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let pdp = Arc::clone(&self.pdp);
        let answer = async move { answer(&pdp, &caller, &call(request.into_inner())).await };
        Ok(tonic::Response::new(run_to_end(answer, encode::outage_response).await))
    }
}

async fn answer(pdp: &Pdp, caller: &Caller, call: &HttpCall) -> CheckResponse {
    let snapshot = pdp.snapshot();
    let limits = &snapshot.limits;
    let believed = Believed::new(caller, &snapshot.peps, &snapshot.resources, limits.body, limits.batch);
    let decoded = decode(call, &believed);
    if let Some((resource, origin)) = decoded.preflight(call, &believed) {
        return encode::preflight_response(answer::preflight(resource, origin));
    }
    let directives = decoded.directives();
    let (decision, _findings) =
        pdp.decide_whole(&snapshot, &decoded.request, directives.as_deref(), Duration::MAX).await;
    encode::check_response(&decision, call, &decoded)
}

impl CheckService {
    /// The service of a decision point.
    #[must_use]
    pub fn new(pdp: Arc<Pdp>) -> Self {
        Self { pdp }
    }
}

/// A check as a call. Total: what is missing is missing in the call.
pub(crate) fn call(check: CheckRequest) -> HttpCall {
    let AttributeContext { source, request, mut context_extensions, metadata_context, .. } =
        check.attributes.unwrap_or_default();
    let http = request.and_then(|request| request.http).unwrap_or_default();
    let headers = headers(&http);
    let content_length = headers.only("content-length").and_then(|length| length.parse().ok());
    let declared_size = u64::try_from(http.size).ok().max(content_length);
    HttpCall {
        surface: Surface::ExtAuthz,
        named: Named::Route(context_extensions.remove(RESOURCE_EXTENSION)),
        body: body(http.body, http.raw_body, declared_size, headers.say_partial_body()),
        declared_size,
        headers,
        method: http.method,
        scheme: http.scheme,
        host: http.host,
        target: http.path,
        source: source.and_then(address),
        request_id: Some(http.id),
        mcp: metadata_context.and_then(|metadata| mcp_attributes(metadata.filter_metadata)),
        rewrites_path: true,
        cuts: false,
        answers: false,
        unusable: None,
    }
}

/// The headers in either encoding: the map, or with `encode_raw_headers` the list. Bytes that are not UTF-8 become
/// characters that no credential holds.
fn headers(http: &HttpRequest) -> Headers {
    let mut headers = Headers::default();
    for header in http.header_map.iter().flat_map(|map| &map.headers) {
        let raw = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
        headers.push(&header.key, String::from_utf8_lossy(raw).into_owned());
    }
    for (name, value) in &http.headers {
        headers.push(name, value.clone());
    }
    headers
}

/// The body in either encoding. Where both came and differ, neither is believed.
fn body(text: String, raw: Vec<u8>, declared_size: Option<u64>, partial: bool) -> Body {
    let differ = !text.is_empty() && !raw.is_empty() && text.as_bytes() != raw;
    let bytes = if raw.is_empty() { text.into_bytes() } else { raw };
    Body::new(bytes, declared_size, partial || differ)
}

fn address(peer: Peer) -> Option<std::net::IpAddr> {
    match peer.address?.address? {
        Address::SocketAddress(address) => address.address.parse().ok(),
        Address::Pipe(_) | Address::EnvoyInternalAddress(_) => None,
    }
}

/// What Envoy's MCP filter says. Nothing where it did not run; a refusal where it did not read the body.
fn mcp_attributes(
    mut metadata: std::collections::HashMap<String, Struct>,
) -> Option<Result<Attributes, Refusal>> {
    let refuse = |why: &str| Some(Err(Refusal::new(Reason::RequestMalformed, why)));
    let [current, former] = MCP_NAMESPACES.map(|namespace| metadata.remove(namespace));
    let fields = match (current, former) {
        (None, None) => return None,
        (Some(current), Some(former)) if current != former => {
            return refuse("the proxy's MCP metadata contradicts itself");
        }
        (Some(fields), _) | (None, Some(fields)) => fields,
    };
    if UNREAD_MARKS.iter().any(|mark| fields.fields.contains_key(*mark)) {
        return refuse("the proxy could not read the body as MCP");
    }
    let Value::Object(mut members) = json_object(fields) else { return None };
    match members.remove("method") {
        Some(Value::String(method)) => Some(Ok(Attributes {
            method,
            id: members.remove("id"),
            params: members.remove("params").unwrap_or_default(),
        })),
        Some(_) | None => refuse("the proxy's MCP metadata holds no method"),
    }
}

fn json_object(fields: Struct) -> Value {
    Value::Object(fields.fields.into_iter().map(|(name, value)| (name, json(value))).collect())
}

/// A protobuf value as JSON. Its depth is bounded by the decoder of the message. Whole numbers are integers again,
/// within what a double holds exactly.
fn json(value: ProtoValue) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value.kind {
        None | Some(ProtoKind::NullValue(_)) => Value::Null,
        Some(ProtoKind::BoolValue(flag)) => Value::Bool(flag),
        Some(ProtoKind::StringValue(text)) => Value::String(text),
        Some(ProtoKind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < EXACT => {
            // Exact: the number is whole and within 53 bits.
            format!("{number:.0}").parse::<i64>().map(Value::from).unwrap_or_default()
        }
        Some(ProtoKind::NumberValue(number)) => Value::from(number),
        Some(ProtoKind::StructValue(fields)) => json_object(fields),
        Some(ProtoKind::ListValue(list)) => Value::Array(list.values.into_iter().map(json).collect()),
    }
}
