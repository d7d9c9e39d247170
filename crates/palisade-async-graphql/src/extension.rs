//! The extension: an operation in, a decision, the answer out.

use std::{
    any::TypeId,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_graphql::{
    Data, Request, Response, ServerError, ServerResult, ValidationResult, Value, Variables,
    extensions::{
        Extension, ExtensionContext, ExtensionFactory, NextExecute, NextParseQuery, NextPrepareRequest,
        NextRequest, NextResolve, NextSubscribe, NextValidation, ResolveInfo,
    },
    parser::types::{ExecutableDocument, OperationType},
};
use futures::stream::BoxStream;
use http::StatusCode;
use palisade_client::{Checked, DecisionPoint, GatewayPoint, Incoming, Passage, Told};
use palisade_tower::{Caller, Lease};
use tokio::sync::oneshot;

use crate::{
    Sender,
    admitted::Admitted,
    answered::Answered,
    denial::Denial,
    parent,
    question::{Asked, Unasked, question, told},
    stream::{self, Running},
};

/// How often it is asked again whether a subscription may go on, where nothing else is said.
const AGAIN: Duration = Duration::from_secs(30);

/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(100);

/// How many operations one HTTP request brings at the most, where nothing else is said.
const MOST: usize = 10;

/// What a request lacks that nobody knows the sender of.
const NOBODY: &str = "nobody is known to have sent this operation: put `palisade_async_graphql::incoming(&parts)`, \
                      with the head of the HTTP request, into the request's data";
/// What is said where another extension has put something else in the place of what was asked about.
const CHANGED: &str = "this operation is not the one that was asked about: the extension `Palisade` is the first of the schema, \
                       `.extension(palisade)` before all others";
/// What is said of a batch that is too long, and of operations that each have the request of a session in their own data.
const TOO_MANY: &str = "there are too many operations in one request; the request of a WebSocket belongs into the data of its session";
/// What is said of a name that the document does not have, or that is lacking.
const NOT_NAMED: &str = "the document has no operation of this name, or several and none is named";
/// What is said of a subscription that nobody listens to.
const NO_STREAM: &str = "a subscription is not answered here";

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
    most: usize,
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
        Self {
            asks: Arc::new(Asks { gateway, decisions, resource: resource.into(), again: AGAIN, most: MOST }),
        }
    }

    /// The same, which asks this often whether a subscription may go on, up to a quarter sooner, and takes the answers about its fields for so long;
    /// else it is 30 s. It is never less than 100 ms. Each question is a decision with its record.
    #[must_use]
    pub fn asking_again_every(self, interval: Duration) -> Self {
        Self { asks: Arc::new(Asks { again: interval.max(SHORTEST), ..(*self.asks).clone() }) }
    }

    /// The same for batches of so many operations; else they have 10. Of a longer one the others are denied, and not asked about.
    #[must_use]
    pub fn taking_batches_of(self, most: usize) -> Self {
        Self { asks: Arc::new(Asks { most, ..(*self.asks).clone() }) }
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
    stream: Mutex<Option<oneshot::Sender<Running>>>,
}

/// What has been decided about it.
#[derive(Default)]
enum State {
    #[default]
    Unasked,
    Passed(Box<Passed>),
    /// It is answered, and nothing of it is executed.
    Answered(Box<Answered>),
    Denied(Box<Denial>),
}

/// What may be executed: this document of this text, with these variables and this data.
struct Passed {
    passage: Box<Passage>,
    query: String,
    variables: Variables,
    document: serde_json::Value,
    caller: Caller,
    incoming: Incoming,
    admitted: Weak<Admitted>,
}

impl Passed {
    /// Whether these are the data that resolvers are to have.
    fn is_with(&self, data: &Data) -> bool {
        let admitted = found::<Arc<Admitted>>(data);
        admitted.is_some_and(|admitted| self.admitted.ptr_eq(&Arc::downgrade(admitted)))
            && found(data) == Some(&self.caller)
            && found(data) == Some(&self.incoming)
    }
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
        let sender = match (found::<Sender>(&request.data), found::<Sender>(context.session_data)) {
            (Some(sender), _) if !sender.brings_one_more(self.asks.most) => {
                return Err(self.deny(Denial::refused(StatusCode::TOO_MANY_REQUESTS, TOO_MANY)));
            }
            (Some(sender), _) | (None, Some(sender)) => sender.clone(),
            (None, None) => return Err(self.deny(Denial::of_the_server(NOBODY))),
        };
        let asked = match question(&self.asks.resource, &mut request, sender.request()) {
            Ok(asked) => asked,
            Err(Unasked::Denied(denial)) => return Err(self.deny(*denial)),
            Err(Unasked::Syntax(error)) => return Err(error),
        };
        if asked.kind == Some(OperationType::Subscription) && !self.is_listened_to() {
            // Nothing would end it.
            return Err(self.deny(Denial::unaskable(NO_STREAM)));
        }
        match self.asks.gateway.check(&asked.check).await {
            Ok(Checked::Pass(passage)) => {
                self.admit(context, request, sender.request().clone(), asked, passage)
            }
            Ok(Checked::Answer(told)) if told.permitted && asked.kind == Some(OperationType::Query) => {
                self.answer(request, &told)
            }
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
            State::Passed(passed) => passed.query == query && passed.variables == *variables,
            State::Answered(_) => Answered::is_nothing(query),
            State::Unasked | State::Denied(_) => false,
        };
        if !is_asked {
            return Err(self.deny(Denial::of_the_server(CHANGED)));
        }
        // Whatever others have put into its place, or make of the text themselves.
        let document = next.run(context, query, variables).await?;
        let read = told(&document);
        let is_asked = match &*self.state() {
            State::Passed(passed) => read.as_ref() == Some(&passed.document),
            State::Answered(answered) => read.as_ref() == Some(&answered.document),
            State::Unasked | State::Denied(_) => false,
        };
        if is_asked { Ok(document) } else { Err(self.deny(Denial::of_the_server(CHANGED))) }
    }

    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        // INVARIANT: nothing is executed that was not asked about, whatever other extensions leave out.
        let is_passed = match (&*self.state(), context.query_data) {
            (State::Passed(passed), Some(data)) => passed.is_with(data),
            // Nothing is executed of it.
            (State::Answered(_), _) => true,
            (State::Passed(_) | State::Unasked | State::Denied(_), _) => false,
        };
        if !is_passed {
            return Err(vec![self.deny(Denial::of_the_server(CHANGED))]);
        }
        next.run(context).await
    }

    async fn execute(
        &self,
        context: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        // The same once more: what comes before this extension may have left out its other hooks.
        let (is_passed, answer) = match &*self.state() {
            State::Passed(_) => (true, None),
            State::Answered(answered) => (false, Some(answered.response())),
            State::Unasked | State::Denied(_) => (false, None),
        };
        if let Some(answer) = answer {
            return answer;
        }
        if !is_passed {
            return Response::from_errors(vec![self.deny(Denial::of_the_server(CHANGED))]);
        }
        next.run(context, operation_name).await
    }

    async fn resolve(
        &self,
        context: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        parent::resolve(context, info, next).await
    }

    async fn request(&self, context: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        let mut response = next.run(context).await;
        match &*self.state() {
            State::Passed(passed) => passed.passage.change_response(&mut response.http_headers),
            State::Answered(answered) => response.http_headers = answered.headers(),
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

    /// The request with nothing to execute, as it is answered already.
    fn answer(&self, request: Request, told: &Told) -> ServerResult<Request> {
        let (Some(answered), Some(request)) = (Answered::of(told), Answered::nothing_of(request)) else {
            return Err(self.deny(Denial::outage()));
        };
        *self.state() = State::Answered(Box::new(answered));
        Ok(request)
    }

    /// Whether somebody waits for the messages of a stream.
    fn is_listened_to(&self) -> bool {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.as_ref().is_some_and(|stream| !stream.is_closed())
    }

    /// The request as its resolvers may have it.
    fn admit(
        &self,
        context: &ExtensionContext<'_>,
        mut request: Request,
        mut incoming: Incoming,
        asked: Asked,
        passage: Box<Passage>,
    ) -> ServerResult<Request> {
        let Asked { check, document, kind } = asked;
        let Some(kind) = kind else { return Err(self.deny(Denial::unaskable(NOT_NAMED))) };
        if passage.body().is_some() {
            // It would be another operation than is executed.
            return Err(self.deny(Denial::outage()));
        }
        let Asks { gateway, decisions, resource, again, most: _ } = &*self.asks;
        let admitted = Arc::new(Admitted::new(
            context.schema_env.clone(),
            Arc::clone(decisions),
            resource.clone(),
            &incoming.headers,
            passage.subject().to_owned(),
            *again,
        ));
        let caller = Caller { subject: passage.subject().to_owned(), decision: passage.id() };
        passage.change(&mut incoming.headers);
        if kind == OperationType::Subscription {
            self.let_on(Lease::every(*again, Arc::clone(gateway), check, &passage))?;
        }
        let passed = Passed {
            passage,
            query: request.query.clone(),
            variables: request.variables.clone(),
            document,
            caller: caller.clone(),
            incoming: incoming.clone(),
            admitted: Arc::downgrade(&admitted),
        };
        request.data.insert(admitted);
        request.data.insert(caller);
        request.data.insert(incoming);
        *self.state() = State::Passed(Box::new(passed));
        Ok(request)
    }

    /// The stream goes on as long as its lease, and not without one.
    fn let_on(&self, lease: Lease) -> ServerResult<()> {
        let mut running = Running::new();
        running.spawn(lease.ended());
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let told = stream.and_then(|stream| stream.send(running).ok());
        told.ok_or_else(|| self.deny(Denial::unaskable(NO_STREAM)))
    }
}

/// What is among the data.
fn found<T: 'static>(data: &Data) -> Option<&T> {
    data.get(&TypeId::of::<T>())?.downcast_ref()
}
