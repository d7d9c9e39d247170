//! The decision point that is a service elsewhere.

use std::{sync::Arc, time::Duration};

use palisade_proto::v1::{
    decisions_client::DecisionsClient, gateways_client::GatewaysClient, tokens_client::TokensClient,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    Answering, Batch, BatchDecision, Bind, Check, Checked, ClientSettings, Decision, DecisionPoint, Describe,
    Description, Exchange, Exchanged, GatewayPoint, List, Listed, NoAnswer, Presentation, Question, Search,
    Searched, SetupError, Verification,
    endpoint::{Endpoint, Endpoints},
    failure::Failure,
    health,
    wire::Asked,
};

/// The header in which a PEP sends its key.
const KEY_HEADER: &str = "x-palisade-key";
/// How many endpoints a question is sent to at most.
const MOST_ATTEMPTS: usize = 3;
/// The largest answer to a check, in bytes: one to introspection may have 16 MiB.
const MOST_CHECKED: usize = 17 * 1024 * 1024;

/// A client of the decision service. Clones share its connections.
///
/// It connects when it is first needed, keeps one HTTP/2 connection to each endpoint, and makes it anew when it breaks.
/// Its tasks end with the last clone.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoints: Endpoints,
    key: Option<MetadataValue<Ascii>>,
    deadline: Duration,
    /// One task for each endpoint; they end when this is dropped.
    _health: JoinSet<()>,
}

impl Client {
    /// A client of one endpoint, as the unnamed caller of this machine.
    ///
    /// # Errors
    /// When the endpoint is none, or there is no tokio runtime. A service that is down is no error here.
    pub fn to(endpoint: impl Into<String>) -> Result<Self, SetupError> {
        Self::new(&ClientSettings { endpoints: vec![endpoint.into()], ..ClientSettings::default() })
    }

    /// A client with these settings.
    ///
    /// # Errors
    /// When a setting is wrong, a file cannot be read, or there is no tokio runtime. A service that is down is no error
    /// here.
    pub fn new(settings: &ClientSettings) -> Result<Self, SetupError> {
        settings.check()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| SetupError::NoRuntime)?;
        let key = settings.key()?;
        let mut endpoints = Vec::new();
        for name in &settings.endpoints {
            let transport = settings.transport(name)?;
            endpoints.push(Arc::new(Endpoint::new(name.clone(), transport.connect_lazy())));
        }
        let mut tasks = JoinSet::new();
        for endpoint in &endpoints {
            tasks.spawn_on(health::watch(Arc::clone(endpoint)), &runtime);
        }
        let deadline = settings.deadline;
        Ok(Self(Arc::new(Inner { endpoints: Endpoints::new(endpoints), key, deadline, _health: tasks })))
    }

    /// The endpoints that are left out for now, because they failed.
    #[must_use]
    pub fn left_out(&self) -> Vec<&str> {
        let out = self.0.endpoints.iter().filter(|endpoint| endpoint.is_out());
        out.map(|endpoint| endpoint.name.as_str()).collect()
    }

    /// Asks until there is an answer, the time is over, or asking again is not safe.
    async fn ask<Q, Sent>(
        &self,
        question: &Q,
        send: impl Fn(Channel, Request<Q::Message>) -> Sent,
    ) -> Result<Q::Answer, NoAnswer>
    where
        Q: Asked,
        Sent: Future<Output = Result<Response<Q::Reply>, Status>>,
    {
        let allowed = question.deadline().unwrap_or(self.0.deadline);
        let deadline = Instant::now() + allowed;
        let message = question.message();
        let mut tried = Vec::new();
        let mut last = None;
        while let Some(endpoint) = self.0.endpoints.next(&tried).filter(|_| tried.len() < MOST_ATTEMPTS) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let mut request = question.call(message.clone(), left)?;
            if let Some(key) = &self.0.key {
                request.metadata_mut().insert(KEY_HEADER, key.clone());
            }
            let under_way = endpoint.begin();
            let failure = match timeout_at(deadline, send(endpoint.channel.clone(), request)).await {
                Ok(Ok(reply)) => {
                    endpoint.works();
                    let answer = question.read(reply.into_inner());
                    return answer.map_err(|unreadable| unreadable.of(&endpoint.name));
                }
                Ok(Err(status)) => Failure::of(status),
                Err(_elapsed) => Failure::Late,
            };
            drop(under_way);
            if failure.blames_endpoint() {
                endpoint.fails();
            }
            let again = failure.is_unread();
            last = Some(failure.no_answer(&endpoint.name, allowed));
            if !again {
                break;
            }
            tried.push(Arc::clone(endpoint));
        }
        Err(last
            .unwrap_or(NoAnswer::DeadlineExceeded { endpoint: "any endpoint".to_owned(), deadline: allowed }))
    }
}

impl DecisionPoint for Client {
    fn decide<'a>(&'a self, question: &'a Question) -> Answering<'a, Decision> {
        Box::pin(self.ask(question, |channel, request| async move {
            DecisionsClient::new(channel).decide(request).await
        }))
    }

    fn decide_batch<'a>(&'a self, batch: &'a Batch) -> Answering<'a, BatchDecision> {
        Box::pin(self.ask(batch, |channel, request| async move {
            DecisionsClient::new(channel).decide_batch(request).await
        }))
    }

    fn verify<'a>(&'a self, presentation: &'a Presentation) -> Answering<'a, Verification> {
        Box::pin(self.ask(presentation, |channel, request| async move {
            TokensClient::new(channel).verify(request).await
        }))
    }

    fn search<'a>(&'a self, search: &'a Search) -> Answering<'a, Searched> {
        Box::pin(self.ask(search, |channel, request| async move {
            DecisionsClient::new(channel).search(request).await
        }))
    }

    fn exchange<'a>(&'a self, exchange: &'a Exchange) -> Answering<'a, Exchanged> {
        Box::pin(self.ask(exchange, |channel, request| async move {
            TokensClient::new(channel).exchange(request).await
        }))
    }
}

impl GatewayPoint for Client {
    fn describe<'a>(&'a self, describe: &'a Describe) -> Answering<'a, Option<Description>> {
        Box::pin(self.ask(describe, |channel, request| async move {
            GatewaysClient::new(channel).describe(request).await
        }))
    }

    fn check<'a>(&'a self, check: &'a Check) -> Answering<'a, Checked> {
        Box::pin(self.ask(check, |channel, request| async move {
            let client = GatewaysClient::new(channel);
            client.max_decoding_message_size(MOST_CHECKED).check(request).await
        }))
    }

    fn list<'a>(&'a self, list: &'a List) -> Answering<'a, Listed> {
        Box::pin(
            self.ask(
                list,
                |channel, request| async move { GatewaysClient::new(channel).list(request).await },
            ),
        )
    }

    fn bind<'a>(&'a self, bind: &'a Bind) -> Answering<'a, Option<String>> {
        Box::pin(
            self.ask(
                bind,
                |channel, request| async move { GatewaysClient::new(channel).bind(request).await },
            ),
        )
    }
}

#[cfg(test)]
mod tests;
