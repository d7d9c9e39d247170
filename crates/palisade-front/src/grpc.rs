//! `palisade.v1`: decisions, searches, and the verification and exchange of tokens, over gRPC.
//!
//! A call becomes a question (`decode`), the decision point decides it, and the decision becomes an answer (`encode`).
//! Decoding is total: what cannot be read is in the question, as the reason for a recorded denial. A denial is an answer
//! and never a gRPC status; a status is left for what is no message of this API. Once begun, a decision runs to its
//! record, whether or not somebody still waits for it.
//!
//! `ext_mcp` is agentgateway's protocol, on the same decision point.
//!
//! Nothing here evaluates a policy or looks into a token. `OUTCOME_PERMIT` is written in two places of `encode`, from a
//! permit and from what the decision point says of an item; in `search`, where it says that a search was answered; and in `gateways`, where it says that a list was. A
//! token is written in one place, from a permit that has one.

use std::sync::Arc;

use palisade_model::{RawToken, Surface};
use palisade_pdp::{Pdp, Presented, run_to_end};
use palisade_proto::v1::{
    DecideBatchRequest, DecideBatchResponse, DecideRequest, DecideResponse, ExchangeRequest,
    ExchangeResponse, SearchRequest, SearchResponse, VerifyRequest, VerifyResponse,
    decisions_server::{Decisions, DecisionsServer},
    gateways_server::GatewaysServer,
    tokens_server::{Tokens, TokensServer},
};
use tonic::{Request, Response, Status};

mod call;
mod decode;
mod encode;
mod ext_mcp;
mod gateways;
mod search;

use call::Call;
pub use ext_mcp::ExtMcpGate;

/// The services of the API on a decision point.
#[derive(Debug, Clone)]
pub struct Api {
    pdp: Arc<Pdp>,
}

impl Api {
    pub(crate) fn new(pdp: Arc<Pdp>) -> Self {
        Self { pdp }
    }
}

/// `palisade.v1.Decisions`, for a gRPC server.
#[must_use]
pub fn decisions(pdp: Arc<Pdp>) -> DecisionsServer<Api> {
    DecisionsServer::new(Api::new(pdp))
}

/// `palisade.v1.Gateways`, for a gRPC server.
#[must_use]
pub fn gateways(pdp: Arc<Pdp>) -> GatewaysServer<Api> {
    GatewaysServer::new(Api::new(pdp))
}

/// agentgateway's `ExtMcp`, for a gRPC server.
#[must_use]
pub fn ext_mcp(pdp: Arc<Pdp>) -> ExtMcpGate {
    ExtMcpGate::new(Api::new(pdp))
}

/// `palisade.v1.Tokens`, for a gRPC server.
#[must_use]
pub fn tokens(pdp: Arc<Pdp>) -> TokensServer<Api> {
    TokensServer::new(Api::new(pdp))
}

#[tonic::async_trait]
impl Decisions for Api {
    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideResponse>, Status> {
        let (pdp, call) = (Arc::clone(&self.pdp), Call::of(&request));
        let asked = request.into_inner();
        let answer = async move { decide(&pdp, &call, &asked).await };
        Ok(Response::new(run_to_end(answer, encode::outage).await))
    }

    async fn decide_batch(
        &self,
        request: Request<DecideBatchRequest>,
    ) -> Result<Response<DecideBatchResponse>, Status> {
        let (pdp, call) = (Arc::clone(&self.pdp), Call::of(&request));
        let asked = request.into_inner();
        let answer = async move { decide_batch(&pdp, &call, &asked).await };
        Ok(Response::new(run_to_end(answer, encode::batch_outage).await))
    }

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let (pdp, call) = (Arc::clone(&self.pdp), Call::of(&request));
        let asked = request.into_inner();
        let answer = async move { search::answer(&pdp, &call, &asked).await };
        Ok(Response::new(run_to_end(answer, search::outage).await))
    }
}

async fn decide(pdp: &Pdp, call: &Call, asked: &DecideRequest) -> DecideResponse {
    let snapshot = pdp.snapshot();
    let resource = decode::resource(&snapshot, call, &asked.resource);
    let question = decode::one(&snapshot, resource.as_deref(), asked.item.as_ref());
    let request = call.access_request(Surface::Decide, resource.as_deref(), asked.token.as_deref(), question);
    let (decision, findings) = pdp.decide_and_explain(&snapshot, &request, call.patience).await;
    encode::decided(&decision, &findings, &snapshot.revision, asked.explain)
}

async fn decide_batch(pdp: &Pdp, call: &Call, asked: &DecideBatchRequest) -> DecideBatchResponse {
    let snapshot = pdp.snapshot();
    let resource = decode::resource(&snapshot, call, &asked.resource);
    let question = decode::several(&snapshot, resource.as_deref(), &asked.items);
    let request = call.access_request(Surface::Decide, resource.as_deref(), asked.token.as_deref(), question);
    let (decision, findings) = pdp.decide_and_explain(&snapshot, &request, call.patience).await;
    let whole = encode::decided(&decision, &findings, &snapshot.revision, asked.explain);
    encode::batch(whole, &findings, asked.items.len(), asked.explain)
}

#[tonic::async_trait]
impl Tokens for Api {
    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let call = Call::of(&request);
        let VerifyRequest { resource, token } = request.into_inner();
        let snapshot = self.pdp.snapshot();
        let resource = decode::resource(&snapshot, &call, &resource);
        let presented = Presented {
            pep: call.caller.0.as_ref(),
            resource: resource.as_deref().map(|resource| &resource.name),
            token: &RawToken::new(token),
        };
        let verified = self.pdp.verify(&snapshot, &presented, call.patience).await;
        Ok(Response::new(encode::verified(&verified)))
    }

    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let (pdp, call) = (Arc::clone(&self.pdp), Call::of(&request));
        let asked = request.into_inner();
        let answer = async move { exchange(&pdp, &call, asked).await };
        Ok(Response::new(run_to_end(answer, encode::exchange_outage).await))
    }
}

async fn exchange(pdp: &Pdp, call: &Call, asked: ExchangeRequest) -> ExchangeResponse {
    let snapshot = pdp.snapshot();
    let ExchangeRequest { resource, token, exchange, scopes } = asked;
    let resource = decode::resource(&snapshot, call, &resource);
    let (wanted, question) = decode::exchange(&exchange, &scopes);
    let request = call.access_request(Surface::Exchange, resource.as_deref(), Some(&token), question);
    let decision = pdp.exchange(&snapshot, &request, wanted.as_ref(), call.patience).await;
    encode::exchanged(&decision, &snapshot.revision)
}

#[cfg(test)]
pub(crate) mod tests;
