//! The adapter in servers of async-graphql, before a service over the network and a decision point in the same process.

use std::{fs, time::Duration};

use async_graphql::{
    BatchRequest, Context, EmptyMutation, Object, Response, Schema, SimpleObject, Subscription,
};
use axum::{Json, Router, extract::State, routing::post};
use futures::{Stream, StreamExt, stream};
use http::request::Parts;
use palisade_async_graphql::{Palisade as Adapter, PalisadeGuard, incoming, into_http};
use palisade_audit::DecisionRecord;
use palisade_client::Client;
use palisade_model::Surface;
use palisade_tests::components::{OidcProvider, client_schema, introspection_query};
use palisade_tests::service::Palisade;
use palisade_tower::Caller;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::client::in_this_process;

const HOST: &str = "api.example.com";
const IDENTIFIER: &str = "https://api.example.com/graphql";
const EMAIL: &str = "Graphql::Field::\"storefront/Customer.email\"";

const POLICIES: &str = r#"
@id("operations") permit (principal is User, action in Graphql::Action::"execute", resource in Graphql::Graph::"storefront");
@id("fields") permit (principal, action in Graphql::Action::"field", resource in Graphql::Graph::"storefront");
@id("email") forbid (principal, action in Graphql::Action::"field", resource == Graphql::Field::"storefront/Customer.email")
unless { context.scopes.contains("profile:pii:read") };
@id("pages") forbid (principal, action in Graphql::Action::"field", resource == Graphql::Field::"storefront/Query.orders")
unless { context.args.number.hasTag("/first") && context.args.number.getTag("/first") <= 100 };
@id("digits") forbid (principal, action in Graphql::Action::"field", resource == Graphql::Field::"storefront/Order.total")
unless { context.args.number.hasTag("/digits") && context.args.number.getTag("/digits") <= 4 };
@id("owners") forbid (principal, action in Graphql::Action::"field", resource == Graphql::Field::"storefront/Order.total")
when { context.surface == "decide" }
unless { principal == User::"corp/bob" && context.args.text.hasTag("/@object/owner") && context.args.text.getTag("/@object/owner") == "bob" };
"#;
const SCHEMA: &str = r#"
@id("schema") permit (principal is User, action in Graphql::Action::"introspect", resource == Graphql::Graph::"storefront");
"#;

struct Query;

#[Object]
impl Query {
    async fn me(&self, context: &Context<'_>) -> Customer {
        let Caller { subject, .. } = context.data_unchecked::<Caller>();
        Customer { name: subject.clone(), email: "bob@example.com".to_owned() }
    }

    async fn orders(&self, #[graphql(default = 20)] first: usize) -> Vec<Order> {
        ["bob", "alice", "bob"]
            .into_iter()
            .take(first)
            .map(|owner| Order { owner: owner.to_owned() })
            .collect()
    }
}

#[derive(SimpleObject)]
struct Customer {
    name: String,
    email: String,
}

struct Order {
    owner: String,
}

#[Object]
impl Order {
    async fn owner(&self) -> &str {
        &self.owner
    }

    #[graphql(guard = "PalisadeGuard::field(\"Order.total\").object(\"owner\", &self.owner)")]
    async fn total(&self, #[graphql(default = 2)] digits: i32) -> Option<i32> {
        Some(digits)
    }
}

struct Ticks;

#[Subscription]
impl Ticks {
    async fn ticks(&self) -> impl Stream<Item = Order> {
        stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Order { owner: "bob".to_owned() }, ()))
        })
    }
}

type Api = Schema<Query, EmptyMutation, Ticks>;

fn api(adapter: Adapter) -> Api {
    Schema::build(Query, EmptyMutation, Ticks).extension(adapter).finish()
}

/// The few lines that a server has of its own.
async fn graphql(
    State(api): State<Api>,
    parts: Parts,
    Json(operations): Json<BatchRequest>,
) -> axum::response::Response {
    let sender = incoming(&parts);
    into_http(api.execute_batch(operations.data(sender)).await).map(Into::into)
}

async fn serve(api: Api) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/graphql", post(graphql)).with_state(api);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

struct Stand {
    provider: OidcProvider,
    palisade: Palisade,
    folder: tempfile::TempDir,
}

impl Stand {
    async fn start() -> Self {
        Self::start_with("").await
    }

    async fn start_with(more: &str) -> Self {
        let provider = OidcProvider::start_with(&json!({
            "users": {"bob": {}, "alice": {}},
            "resources": {"*": ["profile:pii:read"]},
        }))
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        fs::write(folder.path().join("policies/storefront.cedar"), POLICIES).unwrap();
        let of_schema = if more.is_empty() { "" } else { SCHEMA };
        fs::write(folder.path().join("policies/schema.cedar"), of_schema).unwrap();
        let sdl = Schema::build(Query, EmptyMutation, Ticks).finish().sdl();
        fs::write(folder.path().join("schema.graphql"), sdl).unwrap();
        let configuration = format!(
            "policies: {{path: {folder}/policies}}\nissuers:\n  corp: {{issuer: \"{issuer}\", network: {{private: true}}}}\n\
             resources:\n  storefront:\n    identifier: {IDENTIFIER}\n    kind: graphql\n    issuers: [corp]\n    \
             schema: {{sdl: {folder}/schema.graphql}}\n    scopes: {{step_up: [\"profile:pii:read\"]}}\n{more}",
            folder = folder.path().display(),
            issuer = provider.issuer(),
        );
        let palisade = Palisade::start(&configuration, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        Self { provider, palisade, folder }
    }

    fn client(&self) -> Client {
        Client::to(format!("http://127.0.0.1:{}", self.palisade.decision)).unwrap()
    }

    async fn token(&self, user: &str, scopes: &str) -> String {
        self.provider.token(user, IDENTIFIER, scopes).await.unwrap()
    }

    fn change_policies(&self, text: &str) {
        fs::write(self.folder.path().join("policies/storefront.cedar"), text).unwrap();
    }
}

/// What a server answers: the status, the challenge, and the body without the ids of decisions.
async fn send(port: u16, token: Option<&str>, body: &Value) -> (u16, String, Value) {
    let url = format!("http://127.0.0.1:{port}/graphql");
    let mut request = reqwest::Client::new().post(url).header("host", HOST).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let decision = answer.headers().get("x-palisade-decision-id");
    // A batch has as many as it has operations, and says none.
    assert_eq!(decision.is_some(), !body.is_array(), "{status}");
    let mut body: Value = answer.json().await.unwrap();
    for error in body.get_mut("errors").and_then(Value::as_array_mut).into_iter().flatten() {
        error["extensions"].as_object_mut().and_then(|said| said.remove("decision")).unwrap();
    }
    (status, challenge.unwrap_or_default(), body)
}

fn query(text: &str) -> Value {
    json!({ "query": text })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_and_a_decision_point_in_the_process_let_the_same_operations_by() {
    let stand = Stand::start().await;
    let folder = tempfile::tempdir().unwrap();
    let service = in_this_process(&stand.palisade, folder.path()).await;
    let local = service.decision_point("local".parse().unwrap());
    let ports = [
        serve(api(Adapter::new(stand.client(), "storefront"))).await,
        serve(api(Adapter::new(local, "storefront"))).await,
    ];
    let bob = stand.token("bob", "").await;
    let pii = stand.token("bob", "profile:pii:read").await;
    let first = |first: Value| json!({ "query": "query($n: Int) { orders(first: $n) { owner } }", "variables": first });
    let counted = |first: Value| json!({ "query": "query($n: Int! = 2) { orders(first: $n) { owner } }", "variables": first });
    let email = query("{ me { mail: email } }");
    let cases: Vec<(Value, Option<&str>, u16, &str)> = vec![
        (query("{ me { name } }"), Some(&bob), 200, ""),
        (query("{ me { name } }"), None, 401, "no_credentials"),
        (query("{ me { name } }"), Some("x"), 401, "token_malformed"),
        (email.clone(), Some(&bob), 403, "insufficient_scope"),
        (email.clone(), Some(&pii), 200, ""),
        (counted(json!({ "n": 3 })), Some(&bob), 200, ""),
        (counted(json!({})), Some(&bob), 200, ""),
        (counted(json!({ "n": 101 })), Some(&bob), 403, "forbidden"),
        (query("{ orders(first: 101) { owner } }"), Some(&bob), 403, "forbidden"),
        // Its default is what its resolver goes by, too; and what is skipped is judged as what is not.
        (
            query("query($x: Boolean = true) { orders(first: 2) @skip(if: $x) { owner } me { name } }"),
            Some(&bob),
            200,
            "",
        ),
        (
            query("query($x: Boolean = true) { orders(first: 101) @skip(if: $x) { owner } me { name } }"),
            Some(&bob),
            403,
            "forbidden",
        ),
        // Left out, it would be null for the resolver and 20 for the policies.
        (first(json!({})), Some(&bob), 403, "arguments_invalid"),
        (query("{ unknown }"), Some(&bob), 403, "target_unknown"),
        (query("query A { me { name } } query B { me { name } }"), Some(&bob), 400, "request_malformed"),
        (query("{ __schema { types { name } } }"), Some(&bob), 403, "no_permit"),
    ];
    for (body, token, status, reason) in &cases {
        let mut answers = Vec::new();
        for port in ports {
            let answer = send(port, *token, body).await;
            assert_eq!(answer.0, *status, "{body} {answer:?}");
            assert_eq!(answer.2["errors"][0]["extensions"]["reason"].as_str().unwrap_or_default(), *reason);
            assert_eq!(answer.2["data"].is_null(), *status != 200, "{body} {answer:?}");
            answers.push(answer);
        }
        assert_eq!(answers[0].2, answers[1].2, "{body}");
        let (remote, local) = (&answers[0].1, &answers[1].1);
        assert_eq!(remote.split(',').next(), local.split(',').next(), "{body}");
    }
    let (_, challenge, _) = send(ports[0], Some(&bob), &email).await;
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert!(challenge.contains("scope=\"profile:pii:read\""), "{challenge}");
    // The record has the coordinate, whatever the client calls it.
    let records: Vec<DecisionRecord> = stand.palisade.decisions().unwrap();
    let denied = records.iter().find(|record| record.target.as_deref() == Some(EMAIL)).expect("a record");
    assert_eq!((denied.reason.as_str(), denied.surface), ("insufficient_scope", Some(Surface::Gateway)));
    let (_, _, told) = send(ports[1], Some(&bob), &query("{ me { name } }")).await;
    assert_eq!(told["data"]["me"]["name"], "User::\"corp/bob\"");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_asks_with_the_object_once_for_equal_ones_and_a_batch_has_a_record_for_each() {
    let stand = Stand::start().await;
    let port = serve(api(Adapter::new(stand.client(), "storefront"))).await;
    let bob = stand.token("bob", "").await;
    let before = stand.palisade.decisions().unwrap().len();
    let (status, _, told) = send(port, Some(&bob), &query("{ orders { owner total } }")).await;
    assert_eq!(status, 200, "{told}");
    let own = json!({ "owner": "bob", "total": 2 });
    // What has an error is left out by async-graphql.
    let orders = json!([own, { "owner": "alice" }, own]);
    assert_eq!(told["data"]["orders"], orders, "{told}");
    let errors = told["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["path"]), (1, &json!(["orders", 1, "total"])), "{told}");
    assert_eq!(errors[0]["extensions"]["code"], "FORBIDDEN");
    let records = stand.palisade.decisions().unwrap();
    let surfaces = |records: &[DecisionRecord], before: usize| {
        let mut surfaces: Vec<String> =
            records[before..].iter().map(|record| record.surface.unwrap().as_str().to_owned()).collect();
        surfaces.sort();
        surfaces
    };
    // The operation, and a question for each owner.
    assert_eq!(surfaces(&records, before), ["decide", "decide", "gateway"]);
    // An argument that the operation is denied for does not come to its guards.
    let (status, ..) = send(port, Some(&bob), &query("{ orders { total(digits: 5) } }")).await;
    assert_eq!(status, 403);

    let before = stand.palisade.decisions().unwrap().len();
    let batch = json!([query("{ me { name } }"), query("{ me { email } }"), query("{ me { name } }")]);
    let (status, _, told) = send(port, Some(&bob), &batch).await;
    assert_eq!((status, told.as_array().unwrap().len()), (200, 3), "{told}");
    assert_eq!(told[1]["errors"][0]["extensions"]["reason"], "insufficient_scope");
    assert!(told[0]["data"]["me"]["name"].is_string() && told[1]["data"].is_null(), "{told}");
    let records = stand.palisade.decisions().unwrap();
    assert_eq!(surfaces(&records, before), ["gateway", "gateway", "gateway"]);
}

/// The head of a request with a token.
fn parts(token: &str) -> Parts {
    let request = http::Request::post(IDENTIFIER)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    request.body(()).unwrap().into_parts().0
}

/// A subscription, once it has begun.
async fn begun(api: &Api, token: &str) -> stream::BoxStream<'static, Response> {
    let request =
        async_graphql::Request::new("subscription { ticks { owner } }").data(incoming(&parts(token)));
    let mut responses = api.execute_stream(request);
    let response = responses.next().await.unwrap();
    assert_eq!(response.data, async_graphql::value!({ "ticks": { "owner": "bob" } }), "{response:?}");
    responses
}

/// The code of the message that a subscription ends with.
async fn last_code(responses: stream::BoxStream<'static, Response>) -> Value {
    let all: Vec<Response> = timeout(Duration::from_secs(40), responses.collect()).await.unwrap();
    let (last, others) = all.split_last().unwrap();
    assert!(others.iter().all(Response::is_ok));
    let errors = serde_json::to_value(&last.errors).unwrap();
    errors[0]["extensions"]["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_its_token_and_with_its_permission() {
    let stand = Stand::start().await;
    let folder = tempfile::tempdir().unwrap();
    let service = in_this_process(&stand.palisade, folder.path()).await;
    let again = Duration::from_millis(300);
    let local = service.decision_point("local".parse().unwrap());
    let apis = [
        api(Adapter::new(stand.client(), "storefront").asking_again_every(again)),
        api(Adapter::new(local, "storefront").asking_again_every(again)),
    ];
    stand.provider.set(&json!({ "token_ttl_s": 4 })).await.unwrap();
    let short = stand.token("bob", "").await;
    let began = Instant::now();
    let streams = futures::future::join_all(apis.iter().map(|api| begun(api, &short))).await;
    let codes = futures::future::join_all(streams.into_iter().map(last_code)).await;
    assert_eq!(codes, ["UNAUTHENTICATED", "UNAUTHENTICATED"]);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());

    stand.provider.set(&json!({ "token_ttl_s": 600 })).await.unwrap();
    let bob = stand.token("bob", "").await;
    let mut streams = futures::future::join_all(apis.iter().map(|api| begun(api, &bob))).await;
    for stream in &mut streams {
        // It is asked about again meanwhile, and goes on.
        let some: Vec<Response> = stream.take(15).collect().await;
        assert!(some.iter().all(Response::is_ok));
    }
    stand.change_policies(&POLICIES.replace("principal is User", "principal == User::\"corp/alice\""));
    let codes = futures::future::join_all(streams.into_iter().map(last_code)).await;
    assert_eq!(codes, ["FORBIDDEN", "FORBIDDEN"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_shows_what_its_caller_may_select() {
    let stand = Stand::start_with("    introspection: permitted\n").await;
    let local = in_this_process(&stand.palisade, stand.folder.path()).await;
    let here = Adapter::new(local.decision_point("local".parse().unwrap()), "storefront");
    let ports = [serve(api(Adapter::new(stand.client(), "storefront"))).await, serve(api(here)).await];
    let (bob, pii) = (stand.token("bob", "").await, stand.token("bob", "profile:pii:read").await);
    let asked = query(&introspection_query().unwrap());
    for port in ports {
        for (token, email) in [(&bob, false), (&pii, true)] {
            let (status, _, answer) = send(port, Some(token), &asked).await;
            assert_eq!(status, 200, "{answer}");
            let schema = client_schema(&answer).unwrap();
            assert!(schema.contains("type Order") && schema.contains("ticks"), "{schema}");
            assert_eq!(schema.contains("email"), email, "{schema}");
        }
        let (_, _, answer) = send(port, Some(&bob), &query("{ me { name } }")).await;
        assert!(answer["data"]["me"]["name"].is_string(), "{answer}");
        let (status, _, _) = send(port, None, &asked).await;
        assert_eq!(status, 401);
    }
    local.stop().await;
}
