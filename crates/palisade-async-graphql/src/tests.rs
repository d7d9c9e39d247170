//! The extension and the guard in a schema, before a decision point that says what it is told to.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_graphql::{
    Context, EmptySubscription, Object, Request, Response, Schema, Subscription, Value as Graph, Variables,
};
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, Method};
use palisade_client::{
    Answering, Batch, BatchDecision, Bind, Check, Checked, Decision, DecisionPoint, Describe, Description,
    Exchange, Exchanged, GatewayPoint, Incoming, List, Listed, NoAnswer, Presentation, Question, Search,
    Searched, Verification,
    wire::{Asked, Unreadable},
};
use palisade_model::{Clock, DecisionId, SystemClock, Timestamp};
use palisade_proto::v1;
use palisade_tower::Caller;
use serde_json::{Value, json};

use crate::{Palisade, PalisadeGuard, Sender, into_http};

mod extensions;
mod fields;
mod operations;
mod streams;

/// What the decision point answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Says {
    #[default]
    Yes,
    No,
    /// A permit that obliges to something.
    Obliges,
    StepUp,
    Observed,
    Stranger,
    /// A permit for another operation than came.
    Rewritten,
    /// A permit that is answered, with this data.
    Answers(&'static str),
    /// A permit for another subject.
    Another,
    Nothing,
}

#[derive(Debug, Default)]
struct Point {
    operations: Mutex<Says>,
    fields: Mutex<Says>,
    /// How long the token of a permit is good for, in seconds.
    expires_in: Option<i64>,
    checks: Mutex<Vec<Check>>,
    questions: Mutex<Vec<Question>>,
    /// How many questions about fields are under way, and how many there ever were.
    under_way: AtomicUsize,
    at_most: AtomicUsize,
}

fn id() -> String {
    DecisionId::new(Timestamp::from_unix_seconds(1_000)).to_string()
}

fn header(name: &str, value: &str) -> v1::Header {
    v1::Header { name: name.to_owned(), value: value.as_bytes().to_vec() }
}

fn denied(reason: &str, status: u32, challenge: Option<&str>) -> v1::CheckResponse {
    let headers = challenge.map(|value| header("www-authenticate", value)).into_iter().collect();
    v1::CheckResponse {
        decision_id: id(),
        outcome: v1::Outcome::Deny.into(),
        reason: reason.to_owned(),
        answer: Some(v1::Answer { status, headers, body: b"{}".to_vec() }),
        ..v1::CheckResponse::default()
    }
}

fn answered(body: &str) -> v1::CheckResponse {
    let headers = vec![header("content-type", "application/json"), header("x-palisade-decision-id", "d")];
    v1::CheckResponse {
        decision_id: id(),
        outcome: v1::Outcome::Permit.into(),
        reason: "permitted".to_owned(),
        answer: Some(v1::Answer { status: 200, headers, body: body.as_bytes().to_vec() }),
        ..v1::CheckResponse::default()
    }
}

fn permitted(expires_in: Option<i64>) -> v1::CheckResponse {
    let seconds = expires_in.map(|left| SystemClock.now().unix_seconds() + left);
    v1::CheckResponse {
        decision_id: id(),
        outcome: v1::Outcome::Permit.into(),
        subject: Some("User::\"corp/alice\"".to_owned()),
        passage: Some(v1::Passage {
            remove: vec!["authorization".to_owned()],
            set: vec![header("x-palisade-subject", "alice")],
            response: vec![header("x-palisade-decision-id", "d")],
            ..v1::Passage::default()
        }),
        expires_at: seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        ..v1::CheckResponse::default()
    }
}

fn silent<T>() -> Result<T, NoAnswer> {
    Err(NoAnswer::Unreadable { endpoint: "test".to_owned(), what: "it is silent" })
}

impl GatewayPoint for Point {
    fn describe<'a>(&'a self, _describe: &'a Describe) -> Answering<'a, Option<Description>> {
        Box::pin(async { Ok(None) })
    }

    fn check<'a>(&'a self, check: &'a Check) -> Answering<'a, Checked> {
        self.checks.lock().unwrap().push(check.clone());
        let reply = match *self.operations.lock().unwrap() {
            Says::Yes | Says::Obliges | Says::Observed | Says::Another => Some(permitted(self.expires_in)),
            Says::Rewritten => {
                let mut permit = permitted(self.expires_in);
                permit.passage.as_mut().unwrap().body = Some(b"{}".to_vec());
                Some(permit)
            }
            Says::Answers(body) => Some(answered(body)),
            Says::No => Some(denied("no_permit", 403, None)),
            Says::StepUp => {
                Some(denied("insufficient_scope", 403, Some("Bearer error=\"insufficient_scope\"")))
            }
            Says::Stranger => Some(denied("no_credentials", 401, Some("Bearer"))),
            Says::Nothing => None,
        };
        let read = |reply| check.read(reply).map_err(|unreadable: Unreadable| unreadable.of("test"));
        let answer = reply.map_or_else(silent, read);
        Box::pin(async move { answer })
    }

    fn list<'a>(&'a self, _list: &'a List) -> Answering<'a, Listed> {
        Box::pin(async { silent() })
    }

    fn bind<'a>(&'a self, _bind: &'a Bind) -> Answering<'a, Option<String>> {
        Box::pin(async { silent() })
    }
}

impl DecisionPoint for Point {
    fn decide<'a>(&'a self, question: &'a Question) -> Answering<'a, Decision> {
        self.questions.lock().unwrap().push(question.clone());
        let says = *self.fields.lock().unwrap();
        let reply = v1::DecideResponse {
            decision_id: id(),
            reason: "no_permit".to_owned(),
            subject: Some("User::\"corp/alice\"".to_owned()),
            ..v1::DecideResponse::default()
        };
        let (permit, step_up) = (v1::Outcome::Permit.into(), v1::Outcome::StepUp.into());
        let reply = match says {
            Says::Yes => Some(v1::DecideResponse { outcome: permit, ..reply }),
            Says::Another => Some(v1::DecideResponse {
                outcome: permit,
                subject: Some("User::\"corp/bob\"".to_owned()),
                ..reply
            }),
            Says::Obliges => {
                Some(v1::DecideResponse { outcome: permit, obligations: vec!["log".to_owned()], ..reply })
            }
            Says::No | Says::Stranger | Says::Rewritten | Says::Answers(_) => {
                Some(v1::DecideResponse { outcome: v1::Outcome::Deny.into(), ..reply })
            }
            Says::Observed => Some(v1::DecideResponse { outcome: v1::Outcome::Observed.into(), ..reply }),
            Says::StepUp => Some(v1::DecideResponse {
                outcome: step_up,
                reason: "insufficient_scope".to_owned(),
                step_up: Some(v1::StepUp {
                    scopes: vec!["a".to_owned(), "b".to_owned()],
                    ..v1::StepUp::default()
                }),
                ..reply
            }),
            Says::Nothing => None,
        };
        let read = |reply| question.read(reply).map_err(|unreadable: Unreadable| unreadable.of("test"));
        let answer = reply.map_or_else(silent, read);
        Box::pin(async move {
            let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.at_most.fetch_max(under_way, Ordering::SeqCst);
            // Others come meanwhile.
            tokio::task::yield_now().await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    }

    fn decide_batch<'a>(&'a self, _batch: &'a Batch) -> Answering<'a, BatchDecision> {
        Box::pin(async { silent() })
    }

    fn verify<'a>(&'a self, _presentation: &'a Presentation) -> Answering<'a, Verification> {
        Box::pin(async { silent() })
    }

    fn search<'a>(&'a self, _search: &'a Search) -> Answering<'a, Searched> {
        Box::pin(async { silent() })
    }

    fn exchange<'a>(&'a self, _exchange: &'a Exchange) -> Answering<'a, Exchanged> {
        Box::pin(async { silent() })
    }
}

/// How often a resolver was called.
#[derive(Debug, Clone, Default)]
struct Reached(Arc<AtomicUsize>);

impl Reached {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

fn reach(context: &Context<'_>) {
    context.data_unchecked::<Reached>().0.fetch_add(1, Ordering::SeqCst);
}

#[derive(Clone)]
struct Order {
    owner: &'static str,
}

#[Object]
impl Order {
    async fn id(&self) -> &str {
        self.owner
    }

    #[graphql(guard = "PalisadeGuard::field(\"Order.total\").object(\"owner\", self.owner)")]
    async fn total(&self, context: &Context<'_>, #[graphql(default = 2)] digits: i32) -> i32 {
        reach(context);
        digits
    }

    #[graphql(guard = "PalisadeGuard::field(\"Order.total\")")]
    async fn mistaken(&self, context: &Context<'_>) -> i32 {
        reach(context);
        0
    }
}

/// Another type with a field of the same name.
struct Customer;

#[Object]
impl Customer {
    #[graphql(guard = "PalisadeGuard::field(\"Order.total\").object(\"owner\", \"alice\")")]
    async fn total(&self, context: &Context<'_>) -> i32 {
        reach(context);
        0
    }
}

struct Query;

#[Object]
impl Query {
    async fn customer(&self) -> Customer {
        Customer
    }

    async fn orders(&self, context: &Context<'_>, most: Option<i32>) -> Vec<Order> {
        reach(context);
        let orders = ["alice", "bob", "alice"].map(|owner| Order { owner });
        orders.into_iter().take(most.map_or(3, |most| usize::try_from(most).unwrap())).collect()
    }

    /// Whom the request is for, and which header fields have come this far.
    async fn caller(&self, context: &Context<'_>) -> String {
        let caller = context.data_unchecked::<Caller>();
        let headers = &context.data_unchecked::<Incoming>().headers;
        let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        format!("{} {}", caller.subject, names.join(" "))
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn cancel(&self, context: &Context<'_>) -> bool {
        reach(context);
        true
    }
}

struct Ticks;

#[Subscription]
impl Ticks {
    /// Goes on for ever, some hundred times a second.
    async fn ticks(&self, context: &Context<'_>) -> impl Stream<Item = Order> {
        reach(context);
        let pause = std::time::Duration::from_millis(10);
        stream::unfold((), move |()| async move {
            tokio::time::sleep(pause).await;
            Some((Order { owner: "alice" }, ()))
        })
    }

    #[graphql(guard = "PalisadeGuard::field(\"Ticks.guarded\")")]
    async fn guarded(&self) -> impl Stream<Item = i32> {
        stream::iter([1])
    }

    #[graphql(guard = "PalisadeGuard::field(\"Query.guarded\")")]
    async fn mistaken(&self) -> impl Stream<Item = i32> {
        stream::iter([1])
    }
}

/// A server before a decision point.
struct Server {
    schema: Schema<Query, Mutation, Ticks>,
    point: Arc<Point>,
    reached: Reached,
}

impl Server {
    fn new(point: Point) -> Self {
        Self::asking_again_every(point, std::time::Duration::from_secs(30))
    }

    fn asking_again_every(point: Point, interval: std::time::Duration) -> Self {
        let (point, reached) = (Arc::new(point), Reached::default());
        let (gateway, decisions): (Arc<dyn GatewayPoint>, Arc<dyn DecisionPoint>) =
            (Arc::<Point>::clone(&point), Arc::<Point>::clone(&point));
        let palisade = Palisade::with(gateway, decisions, "storefront").asking_again_every(interval);
        let schema = Schema::build(Query, Mutation, Ticks).extension(palisade).data(reached.clone()).finish();
        Self { schema, point, reached }
    }

    fn saying(operations: Says, fields: Says) -> Self {
        let (operations, fields) = (Mutex::new(operations), Mutex::new(fields));
        Self::new(Point { operations, fields, ..Point::default() })
    }

    async fn execute(&self, query: &str) -> Value {
        serde_json::to_value(self.schema.execute(from(query, &[("authorization", "Bearer t")])).await)
            .unwrap()
    }

    fn asked(&self) -> Vec<Value> {
        let checks = std::mem::take(&mut *self.point.checks.lock().unwrap());
        checks.iter().map(|check| serde_json::from_slice(&check.body).unwrap()).collect()
    }

    /// The coordinates and the arguments of the questions about fields.
    fn questions(&self) -> Vec<(String, Value)> {
        let questions = std::mem::take(&mut *self.point.questions.lock().unwrap());
        let said = |question: Question| {
            let item = question.item;
            assert_eq!((question.resource.as_str(), item.action.as_str()), ("storefront", "field"));
            (item.target.unwrap(), serde_json::from_str(&item.arguments.unwrap()).unwrap())
        };
        questions.into_iter().map(said).collect()
    }
}

/// Whoever sends operations by this method, as JSON where they are in a body.
fn sender(method: Method, headers: &[(&str, &str)]) -> Sender {
    let named = |(name, value): &(&str, &str)| {
        (http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
    };
    let mut fields = HeaderMap::new();
    for (name, value) in headers.iter().map(named) {
        fields.append(name, value);
    }
    if method == Method::POST {
        fields.insert("content-type", "application/json".parse().unwrap());
    }
    let incoming = Incoming {
        method,
        scheme: "https",
        host: "api.example.com".to_owned(),
        path: "/graphql".to_owned(),
        headers: fields,
        client: None,
    };
    incoming.into()
}

fn from(query: &str, headers: &[(&str, &str)]) -> Request {
    Request::new(query).data(sender(Method::POST, headers))
}
