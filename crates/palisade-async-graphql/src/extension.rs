//! The extension: an operation in, a decision, the answer out.

use std::{
    any::TypeId,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_graphql::{
    Data, Request, Response, ServerError, ServerResult, ValidationResult, Variables,
    extensions::{
        Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextPrepareRequest, NextRequest,
        NextSubscribe, NextValidation,
    },
    parser::types::ExecutableDocument,
};
use futures::stream::BoxStream;
use palisade_client::{Check, Checked, DecisionPoint, GatewayPoint, Incoming, Passage};
use palisade_tower::{Caller, Lease};
use tokio::sync::oneshot;

use crate::{
    admitted::Admitted,
    denial::Denial,
    question::{Unasked, question},
    stream,
};

/// How often it is asked again whether a subscription may go on, where nothing else is said.
const AGAIN: Duration = Duration::from_secs(30);

/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(100);

/// What a request lacks that nobody knows the sender of.
const NOBODY: &str = "nobody is known to have sent this operation: put `palisade_async_graphql::incoming(&parts)`, \
                      with the head of the HTTP request, into the request's data";
/// What is said where another extension has put something else in the place of what was asked about.
const CHANGED: &str = "this operation is not the one that was asked about: the extension `Palisade` comes after those that change requests";

/// Asks about each operation before anything of it is executed.
#[derive(Debug, Clone)]
pub struct Palisade {
    asks: Arc<Asks>,
}

/// Who is asked, about which resource.
#[derive(Debug, Clone)]
struct Asks {
    gateway: Arc<dyn GatewayPoint>,
    decisions: Arc<dyn DecisionPoint>,
    resource: String,
    again: Duration,
}

impl Palisade {
    /// An extension that asks this decision point about this resource of its configuration.
    #[must_use]
    pub fn new<P: GatewayPoint + DecisionPoint + 'static>(point: P, resource: impl Into<String>) -> Self {
        let point = Arc::new(point);
        let gateway: Arc<dyn GatewayPoint> = Arc::<P>::clone(&point);
        Self::with(gateway, point, resource)
    }

    /// The same with decision points that others hold, too: one for operations and one for the fields of guards.
    #[must_use]
    pub fn with(
        gateway: Arc<dyn GatewayPoint>,
        decisions: Arc<dyn DecisionPoint>,
        resource: impl Into<String>,
    ) -> Self {
        Self { asks: Arc::new(Asks { gateway, decisions, resource: resource.into(), again: AGAIN }) }
    }

    /// The same, which asks this often whether a subscription may go on, and takes the answers about its fields for so long; else it is 30 s. It
    /// is never less than 100 ms. Each question is a decision with its record.
    #[must_use]
    pub fn asking_again_every(self, interval: Duration) -> Self {
        Self { asks: Arc::new(Asks { again: interval.max(SHORTEST), ..(*self.asks).clone() }) }
    }
}

impl ExtensionFactory for Palisade {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Gate { asks: Arc::clone(&self.asks), state: Mutex::default(), stream: Mutex::default() })
    }
}

/// One request.
struct Gate {
    asks: Arc<Asks>,
    state: Mutex<State>,
    /// Who waits to learn until when the stream may go on, where the request opens one.
    stream: Mutex<Option<oneshot::Sender<Lease>>>,
}

/// What has been decided about it.
#[derive(Debug, Default)]
enum State {
    #[default]
    Unasked,
    /// This text with these variables may be executed.
    Passed {
        passage: Box<Passage>,
        query: String,
        variables: Variables,
    },
    Denied(Box<Denial>),
}

#[async_graphql::async_trait::async_trait]
impl Extension for Gate {
    async fn prepare_request(
        &self,
        context: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        // What the others make of it is what is executed.
        let mut request = next.run(context, request).await?;
        let incoming = incoming(&request.data).or_else(|| incoming(context.session_data)).cloned();
        let Some(incoming) = incoming else { return Err(self.deny(Denial::of_the_server(NOBODY))) };
        let check = match question(&self.asks.resource, &mut request, &incoming) {
            Ok(check) => check,
            Err(Unasked::Denied(denial)) => return Err(self.deny(*denial)),
            Err(Unasked::Syntax(error)) => return Err(error),
        };
        match self.asks.gateway.check(&check).await {
            Ok(Checked::Pass(passage)) => self.admit(context, request, incoming, check, passage),
            Ok(Checked::Answer(told)) => Err(self.deny(Denial::told(&told))),
            Err(no_answer) => {
                tracing::warn!(%no_answer, "an operation is refused");
                Err(self.deny(Denial::outage()))
            }
        }
    }

    async fn parse_query(
        &self,
        context: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let is_asked = match &*self.state() {
            State::Passed { query: asked, variables: with, .. } => asked == query && with == variables,
            State::Unasked | State::Denied(_) => false,
        };
        if !is_asked {
            return Err(self.deny(Denial::of_the_server(CHANGED)));
        }
        next.run(context, query, variables).await
    }

    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        // INVARIANT: nothing is executed that was not asked about, whatever other extensions leave out.
        let is_passed = matches!(*self.state(), State::Passed { .. });
        if !is_passed {
            return Err(vec![self.deny(Denial::of_the_server(CHANGED))]);
        }
        next.run(context).await
    }

    async fn request(&self, context: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        let mut response = next.run(context).await;
        match &*self.state() {
            State::Passed { passage, .. } => passage.change_response(&mut response.http_headers),
            State::Denied(denial) => response.http_headers = denial.headers.clone(),
            State::Unasked => {}
        }
        response
    }

    fn subscribe<'s>(
        &self,
        context: &ExtensionContext<'_>,
        responses: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        let (told, lease) = oneshot::channel();
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        stream::ending(next.run(context, responses), lease)
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing of the request is executed.
    fn deny(&self, denial: Denial) -> ServerError {
        let error = denial.of_request();
        *self.state() = State::Denied(Box::new(denial));
        error
    }

    /// The request as its resolvers may have it.
    fn admit(
        &self,
        context: &ExtensionContext<'_>,
        mut request: Request,
        incoming: Incoming,
        check: Check,
        passage: Box<Passage>,
    ) -> ServerResult<Request> {
        if passage.body().is_some() {
            // It would be another operation than is executed.
            return Err(self.deny(Denial::outage()));
        }
        let Asks { gateway, decisions, resource, again } = &*self.asks;
        let schema = context.schema_env.clone();
        let admitted =
            Admitted::new(schema, Arc::clone(decisions), resource.clone(), &incoming.headers, *again);
        request.data.insert(Arc::new(admitted));
        request.data.insert(Caller { subject: passage.subject().to_owned(), decision: passage.id() });
        let mut incoming = incoming;
        passage.change(&mut incoming.headers);
        request.data.insert(incoming);
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stream) = stream {
            let lease = Lease::every(*again, Arc::clone(gateway), check, &passage);
            // Nobody waits where the stream was dropped.
            drop(stream.send(lease));
        }
        let (query, variables) = (request.query.clone(), request.variables.clone());
        *self.state() = State::Passed { passage, query, variables };
        Ok(request)
    }
}

/// The HTTP request that the server has put into the data.
fn incoming(data: &Data) -> Option<&Incoming> {
    data.get(&TypeId::of::<Incoming>())?.downcast_ref()
}
