//! agentgateway's `ExtMcp`: its requests decided with their arguments, and the lists in its results cut to their readers.
//!
//! What the gateway says becomes calls (`read`), one a server, and these go the way of every other: `palisade-call` reads
//! them, the decision point decides. `answer` writes what comes of it. A list of several servers in one is taken apart by the
//! names of its entries (`merged`).
//!
//! agentgateway takes a gRPC status, and an answer that says nothing, for a failure of ours, and a failure for a permit where
//! it is told to. So whatever cannot be decided, cannot be read, or fails, is an answer with an error.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use palisade_call::{Believed, Decoded, HttpCall, decode, list_question};
use palisade_mcp::Listing;
use palisade_model::AccessRequest;
use palisade_pdp::{Decision, Listed, Pdp, Snapshot, run_to_end};
use palisade_proto::ext_mcp::{
    McpRequest, McpRequestResult, McpResponse, McpResponseResult,
    ext_mcp_server::{ExtMcp, ExtMcpServer},
    mcp_response_result::Result as Back,
};
use serde_json::Value;
use tonic::{
    Request, Response, Status,
    body::Body as GrpcBody,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};

use super::{Api, call::Call};

mod answer;
mod merged;
mod read;

#[cfg(test)]
mod tests;

/// The largest message that is taken in: a list of so many bytes, and what is said beside it.
const MOST_MESSAGE: usize = 17 * 1024 * 1024;
/// A gRPC message of no bytes: not compressed, length 0.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// The service as a server mounts it. Where the layer below refuses a message before it is decoded (one that is too large, or
/// no message at all), the question is asked again as one that says nothing, and that is answered with an error.
#[derive(Debug, Clone)]
pub struct ExtMcpGate {
    inner: ExtMcpServer<Api>,
}

impl ExtMcpGate {
    pub(super) fn new(api: Api) -> Self {
        Self { inner: ExtMcpServer::new(api).max_decoding_message_size(MOST_MESSAGE) }
    }
}

impl NamedService for ExtMcpGate {
    const NAME: &'static str = <ExtMcpServer<Api> as NamedService>::NAME;
}

impl Service<http::Request<GrpcBody>> for ExtMcpGate {
    type Response = http::Response<GrpcBody>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<GrpcBody>>::poll_ready(&mut self.inner, context)
    }

    fn call(&mut self, request: http::Request<GrpcBody>) -> Self::Future {
        let mut inner = self.inner.clone();
        let nothing = says_nothing(&request);
        Box::pin(async move {
            let response = inner.call(request).await?;
            let failed = response.headers().get("grpc-status").is_some_and(|status| status != "0");
            if failed { inner.call(nothing).await } else { Ok(response) }
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
impl ExtMcp for Api {
    async fn check_request(
        &self,
        request: Request<McpRequest>,
    ) -> Result<Response<McpRequestResult>, Status> {
        let (pdp, call) = (Arc::clone(&self.pdp), Call::of(&request));
        let asked = request.into_inner();
        let work = async move { check(&pdp, &call, asked).await };
        Ok(Response::new(run_to_end(work, answer::request_outage).await))
    }

    async fn check_response(
        &self,
        request: Request<McpResponse>,
    ) -> Result<Response<McpResponseResult>, Status> {
        let (pdp, call) = (Arc::clone(&self.pdp), Call::of(&request));
        let came = request.into_inner();
        let work = async move { McpResponseResult { result: Some(back(&pdp, &call, came).await) } };
        Ok(Response::new(run_to_end(work, answer::response_outage).await))
    }
}

/// Every server that a request goes to is asked about, and each has to permit it.
async fn check(pdp: &Pdp, call: &Call, asked: McpRequest) -> McpRequestResult {
    let snapshot = pdp.snapshot();
    let services = read::services(&asked.service_names, &snapshot.limits);
    let (client, method) = (read::headers(&asked.headers), asked.method.clone());
    let http = read::request(call, asked, &client, &snapshot.limits);
    let mut permitted = Vec::with_capacity(services.len());
    for service in services {
        let http = read::to_service(&http, service);
        let decoded = decoded(&snapshot, call, &http);
        let (decision, _findings) = pdp.decide_and_explain(&snapshot, &decoded.request, call.patience).await;
        match decision {
            Decision::Deny(denial) => return answer::denied(&denial, &method),
            Decision::Permit(_) | Decision::Observed(_) => permitted.push(decision),
        }
    }
    answer::passed(&permitted, &client)
}

/// A result on its way back: lists are cut, everything else is as it is.
async fn back(pdp: &Pdp, call: &Call, came: McpResponse) -> Back {
    let Some(listing) = Listing::of(&came.method) else {
        // A message that says nothing was none.
        return if came.method.is_empty() { answer::outage_back() } else { answer::unchanged() };
    };
    let snapshot = pdp.snapshot();
    let services = read::services(&came.service_names, &snapshot.limits);
    let http = read::response(call, &came);
    let Ok(mut result) = serde_json::from_slice::<Value>(&came.mcp_response) else {
        return answer::unreadable();
    };
    let Some(names) = listing.names(&result) else { return answer::unreadable() };
    let entries = merged::entries(listing, &services, &names);
    let mut shown = vec![false; names.len()];
    for (service, entries) in services.iter().zip(entries) {
        let http = read::to_service(&http, service.clone());
        let decoded = decoded(&snapshot, call, &http);
        let question = list_question(&decoded, listing, entries.iter().map(|entry| entry.name), None);
        match pdp.list(&snapshot, &question, call.patience).await {
            Listed::Refused(denial) => return answer::refused(&denial, &came.method),
            Listed::Shown { id: _, shown: of_service, observed: _ } => {
                for (entry, is_shown) in entries.iter().zip(of_service) {
                    if let Some(place) = shown.get_mut(entry.place) {
                        *place = is_shown;
                    }
                }
            }
        }
    }
    listing.keep(&mut result, shown);
    Back::Mutated(result.to_string().into_bytes())
}

/// A call as a question. The protocol tells neither host nor path: policies see none, in a call and in a list alike.
fn decoded(snapshot: &Snapshot, call: &Call, http: &HttpCall) -> Decoded {
    let limits = &snapshot.limits;
    let believed =
        Believed::new(&call.caller, &snapshot.peps, &snapshot.resources, limits.body, limits.batch);
    let decoded = decode(http, &believed);
    let trace = decoded.request.trace.or(call.trace);
    let request = AccessRequest { host: None, path: None, trace, ..decoded.request };
    Decoded { request, ..decoded }
}
