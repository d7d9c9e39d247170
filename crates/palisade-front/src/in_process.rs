//! The decision point in the same process, for programs that hold one instead of asking a service.
//!
//! A question goes the way of a call of `palisade.v1`: the message that the client would send, the methods of
//! [`crate::grpc`], the answer read as the client reads it. What is left out is the network, so the two cannot answer
//! differently. The caller is a PEP like every other: what it may ask about is in the configuration.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use palisade_client::{
    Answering, Batch, BatchDecision, Bind, Check, Checked, Decision, DecisionPoint, Describe, Description,
    Exchange, Exchanged, GatewayPoint, List, Listed, NoAnswer, Presentation, Question, Search, Searched,
    Verification, wire::Asked,
};
use palisade_model::PepName;
use palisade_pdp::{Caller, Pdp};
use palisade_proto::v1::{decisions_server::Decisions, gateways_server::Gateways, tokens_server::Tokens};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::grpc::Api;

/// How it is called in errors.
const ENDPOINT: &str = "the decision point of this process";

/// How long an answer may take where the question says nothing: as long as that of a service.
const DEADLINE: Duration = Duration::from_secs(1);

/// A decision point in this process.
#[derive(Debug, Clone)]
pub struct InProcess {
    api: Api,
    caller: Caller,
}

impl InProcess {
    /// The decision point, asked by this PEP; `local` is the unnamed one.
    #[must_use]
    pub fn new(pdp: Arc<Pdp>, pep: PepName) -> Self {
        Self { api: Api::new(pdp), caller: Caller(Some(pep)) }
    }

    async fn ask<'a, Q: Asked>(
        &'a self,
        question: &Q,
        answer: impl FnOnce(&'a Api, Request<Q::Message>) -> BoxFuture<'a, Result<Response<Q::Reply>, Status>>,
    ) -> Result<Q::Answer, NoAnswer> {
        let deadline = question.deadline().unwrap_or(DEADLINE);
        let mut request = question.call(question.message(), deadline)?;
        request.extensions_mut().insert(self.caller.clone());
        let no_answer = || NoAnswer::DeadlineExceeded { endpoint: ENDPOINT.to_owned(), deadline };
        let reply = timeout(deadline, answer(&self.api, request)).await.map_err(|_elapsed| no_answer())?;
        let reply = reply.map_err(|status| NoAnswer::Status {
            endpoint: ENDPOINT.to_owned(),
            code: format!("{:?}", status.code()),
            message: status.message().to_owned(),
        })?;
        question.read(reply.into_inner()).map_err(|unreadable| unreadable.of(ENDPOINT))
    }
}

impl DecisionPoint for InProcess {
    fn decide<'a>(&'a self, question: &'a Question) -> Answering<'a, Decision> {
        Box::pin(self.ask(question, Decisions::decide))
    }

    fn decide_batch<'a>(&'a self, batch: &'a Batch) -> Answering<'a, BatchDecision> {
        Box::pin(self.ask(batch, Decisions::decide_batch))
    }

    fn verify<'a>(&'a self, presentation: &'a Presentation) -> Answering<'a, Verification> {
        Box::pin(self.ask(presentation, Tokens::verify))
    }

    fn search<'a>(&'a self, search: &'a Search) -> Answering<'a, Searched> {
        Box::pin(self.ask(search, Decisions::search))
    }

    fn exchange<'a>(&'a self, exchange: &'a Exchange) -> Answering<'a, Exchanged> {
        Box::pin(self.ask(exchange, Tokens::exchange))
    }
}

impl GatewayPoint for InProcess {
    fn describe<'a>(&'a self, describe: &'a Describe) -> Answering<'a, Option<Description>> {
        Box::pin(self.ask(describe, Gateways::describe))
    }

    fn check<'a>(&'a self, check: &'a Check) -> Answering<'a, Checked> {
        Box::pin(self.ask(check, Gateways::check))
    }

    fn list<'a>(&'a self, list: &'a List) -> Answering<'a, Listed> {
        Box::pin(self.ask(list, Gateways::list))
    }

    fn bind<'a>(&'a self, bind: &'a Bind) -> Answering<'a, Option<String>> {
        Box::pin(self.ask(bind, Gateways::bind))
    }
}

#[cfg(test)]
mod tests;
