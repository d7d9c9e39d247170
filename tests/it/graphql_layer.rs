//! A GraphQL server in Rust behind the tower layer, which asks a service or a decision point in the same process: an operation goes on
//! whole, without what is not granted, or not at all. The set of `policies/graphql-fields` and its schema decide.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, body::Bytes, extract::State, routing::any};
use palisade_audit::{DecisionRecord, Outcome};
use palisade_client::{Check, Checked, Client as Remote, GatewayPoint, Incoming};
use palisade_server::Service;
use palisade_tests::components::{OidcProvider, client_schema, introspection_query, repository};
use palisade_tests::service::Palisade;
use palisade_tower::{PalisadeLayer, Settings};
use reqwest::Client;
use serde_json::{Value, json};

use crate::client::in_this_process;

const IDENTIFIER: &str = "https://api.example.com/graphql";
/// Two levels deeper than what is not listed may be, listed for the client that the tokens are issued to.
const DEEP: &str = "query Deep { orders { customer { orders { id } } } }";
/// Listed for the same client, and with something that not all of its users may read.
const MINE: &str = "query Listed { me { id email } }";
/// The same, listed for another client.
const OTHERS: &str = "query Others { orders { customer { orders { total } } } }";

/// The bodies that have reached the server.
type Reached = Arc<Mutex<Vec<String>>>;

/// A server that answers with what is asked for, as far as the tests ask for it.
struct Server {
    port: u16,
    point: Arc<dyn GatewayPoint>,
    reached: Reached,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(point: Arc<dyn GatewayPoint>) -> Self {
        let reached = Reached::default();
        let answer = async |State(reached): State<Reached>, body: Bytes| {
            let body = String::from_utf8_lossy(&body).into_owned();
            let mut data = json!({ "me": { "id": "1" } });
            if body.contains("email") {
                data["me"]["email"] = "bob@example.com".into();
            }
            reached.lock().unwrap().push(body);
            Json(json!({ "data": data, "errors": [{ "message": "of the server" }] }))
        };
        let layer = PalisadeLayer::with(Arc::clone(&point), "storefront", Settings::default());
        let router = Router::new().fallback(any(answer)).with_state(Arc::clone(&reached)).layer(layer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, point, reached, task }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.reached.lock().unwrap())
    }

    /// The status, the challenge and the body of the answer to a POST.
    async fn post(&self, token: Option<&str>, body: &Value) -> (u16, String, Value) {
        let url = format!("http://127.0.0.1:{}/graphql", self.port);
        let sent = Client::new().post(url).json(body).header("apollographql-client-name", "agent");
        answered(sent, token).await
    }

    async fn get(&self, token: &str, query: &str) -> (u16, String, Value) {
        let sent = Client::new().get(format!("http://127.0.0.1:{}/graphql?{query}", self.port));
        answered(sent, Some(token)).await
    }
}

async fn answered(sent: reqwest::RequestBuilder, token: Option<&str>) -> (u16, String, Value) {
    let sent = sent.header("host", "api.example.com");
    let sent = match token {
        Some(token) => sent.bearer_auth(token),
        None => sent,
    };
    let answer = sent.send().await.unwrap();
    let challenge = answer.headers().get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), challenge, answer.json().await.unwrap_or_default())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Api {
    provider: OidcProvider,
    palisade: Palisade,
    local: Service,
    /// Before a service, and before a decision point in the same process.
    servers: [Server; 2],
    _folder: tempfile::TempDir,
}

impl Api {
    async fn start(operations: &str) -> Self {
        let scopes = ["profile:pii:read", "customers:read", "orders:write"];
        let provider = OidcProvider::start_with(&json!({
            "users": {"bob": {}, "alice": {"groups": ["staff"]}},
            "resources": {"*": scopes},
        }))
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let set = repository().join("policies/graphql-fields");
        let schema = std::fs::read_to_string(set.join("schema.graphql")).unwrap();
        let schema = format!("{schema}\nextend type Customer {{ orders: [Order!] }}\n");
        std::fs::write(folder.path().join("schema.graphql"), schema).unwrap();
        let manifest = json!({
            sha256(DEEP): { "body": DEEP, "clients": ["app"] },
            sha256(MINE): { "body": MINE, "clients": ["app"] },
            sha256(OTHERS): { "body": OTHERS, "clients": ["agent"] },
        });
        std::fs::write(folder.path().join("documents.json"), manifest.to_string()).unwrap();
        let configuration = format!(
            "policies: {{path: {set}}}\nissuers:\n  corp: {{issuer: \"{issuer}\", network: {{private: true}}, claims: {{roles: [groups]}}}}\n\
             resources:\n  storefront:\n    identifier: {IDENTIFIER}\n    kind: graphql\n    issuers: [corp]\n    \
             schema: {{sdl: {folder}/schema.graphql, manifest: {folder}/documents.json}}\n    \
             scopes: {{step_up: [\"profile:pii:read\"]}}\n{operations}",
            set = set.display(),
            issuer = provider.issuer(),
            folder = folder.path().display(),
        );
        let palisade = Palisade::start(&configuration, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let remote = Remote::to(format!("http://127.0.0.1:{}", palisade.decision)).unwrap();
        let local = in_this_process(&palisade, folder.path()).await;
        let point = local.decision_point("local".parse().unwrap());
        let servers = [Server::start(Arc::new(remote)).await, Server::start(Arc::new(point)).await];
        Self { provider, palisade, local, servers, _folder: folder }
    }

    async fn token(&self, user: &str, scopes: &str) -> String {
        self.provider.token(user, IDENTIFIER, scopes).await.unwrap()
    }

    /// What the service has recorded of an operation.
    fn recorded(&self, operation: &str) -> Vec<DecisionRecord> {
        let about = |record: &DecisionRecord| {
            let target = format!("Graphql::Operation::\"storefront/{operation}\"");
            record.target.as_ref() == Some(&target) || record.items.iter().any(|item| item.target == target)
        };
        self.palisade.decisions().unwrap().into_iter().filter(about).collect()
    }
}

/// SHA-256 of a text in lower-case hex.
fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn query(document: &str) -> Value {
    json!({ "query": document })
}

/// The document that has reached the server, in one line, and what came beside it.
fn document(reached: &str) -> (String, Value) {
    let mut body: Value = serde_json::from_str(reached).unwrap();
    let query = body["query"].take();
    (query.as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" "), body["variables"].take())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_goes_on_without_what_is_not_granted() {
    let api = Api::start("    operations: part\n").await;
    let (bob, pii) = (api.token("bob", "").await, api.token("bob", "profile:pii:read").await);
    let document_of_all = "query Mine($n: Int!, $id: ID!) { me { id mine: email } orders(first: $n) { id } customer(id: $id) { id } }";
    let mine = json!({
        "query": document_of_all,
        "operationName": "Mine",
        "variables": { "n": 7, "id": "1" },
        "extensions": { "persistedQuery": { "version": 1, "sha256Hash": sha256(document_of_all) } },
    });
    for server in &api.servers {
        // What is granted whole goes on as it came.
        let (status, _, answer) = server.post(Some(&pii), &query("{ me { id email } }")).await;
        assert_eq!((status, &answer["data"]["me"]["email"]), (200, &json!("bob@example.com")));
        assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
        assert_eq!(server.take(), [query("{ me { id email } }").to_string()]);

        let (status, _, answer) = server.post(Some(&bob), &mine).await;
        assert_eq!((status, &answer["data"]), (200, &json!({ "me": { "id": "1" } })));
        let paths: Vec<&Value> =
            answer["errors"].as_array().unwrap().iter().map(|error| &error["path"]).collect();
        assert_eq!(paths, [&Value::Null, &json!(["me", "email"]), &json!(["customer"])]);
        assert_eq!(answer["errors"][1]["extensions"]["code"], "UNAUTHORIZED_FIELD_OR_TYPE");
        let reached = server.take();
        let left = "query Mine($n: Int!) { me { id } orders(first: $n) { id } }";
        assert_eq!(document(&reached[0]), (left.to_owned(), json!({ "n": 7 })));
        assert!(!reached[0].contains("extensions"), "{reached:?}");

        // Where nothing is left the server is not asked, and the client is told what would help.
        let (status, challenge, answer) =
            server.post(Some(&bob), &query("query None { me { email } }")).await;
        assert_eq!((status, &answer["data"]), (200, &Value::Null));
        assert_eq!(answer["errors"][0]["path"], json!(["me", "email"]));
        assert!(challenge.contains("scope=\"profile:pii:read\""), "{challenge}");
        assert!(server.take().is_empty());
    }
    let records = api.recorded("Mine");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.decision, Outcome::Permit);
    let denied: Vec<&str> = record
        .items
        .iter()
        .filter(|item| item.decision == Outcome::Deny)
        .map(|item| item.target.as_str())
        .collect();
    assert_eq!(
        denied,
        [r#"Graphql::Field::"storefront/Customer.email""#, r#"Graphql::Field::"storefront/Query.customer""#]
    );
    assert!(record.detail.as_ref().unwrap().contains("2 denied and taken out"), "{:?}", record.detail);
    let records = api.recorded("None");
    assert_eq!(records.iter().map(|record| record.decision).collect::<Vec<_>>(), [Outcome::StepUp]);
    api.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_cut_is_permitted_whole_or_denied_whole() {
    let api = Api::start("    operations: part\n").await;
    let (bob, alice) = (api.token("bob", "").await, api.token("alice", "").await);
    let orders = api.token("bob", "orders:write").await;
    let part = "{ me { id email } }";
    let by_hash = |document: &str| json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": sha256(document) } } });
    let unlisted = "query Unlisted { orders { customer { orders { id customer { id } } } } }";
    let introspection = "{ me { id } __schema { queryType { name } } }";
    for server in &api.servers {
        for (body, token, expected) in [
            (query(part), None, 401),
            (json!([query(part), query("{ me { id } }")]), Some(&bob), 403),
            (query(unlisted), Some(&bob), 403),
            (query(introspection), Some(&bob), 403),
            (query(introspection), Some(&alice), 200),
            // Who changes something means all of it.
            (query("mutation { cancelOrder(id: 1) { id } }"), Some(&bob), 403),
            (query("mutation { cancelOrder(id: 1) { id customer { email } } }"), Some(&orders), 403),
            (query("mutation { cancelOrder(id: 1) { id } }"), Some(&orders), 200),
            (json!([query("{ me { id } }"), query("{ products { name } }")]), Some(&bob), 200),
            // What is listed for the client of the token, and what is listed for another, whatever the header says.
            (query(DEEP), Some(&bob), 200),
            (by_hash(DEEP), Some(&bob), 200),
            (query(MINE), Some(&bob), 403),
            (by_hash(MINE), Some(&bob), 403),
            (query(OTHERS), Some(&bob), 403),
            (by_hash(OTHERS), Some(&bob), 403),
        ] {
            let (status, _, answer) = server.post(token.map(String::as_str), &body).await;
            assert_eq!(status, expected, "{body}: {answer}");
            let reached = server.take();
            let goes_on = expected == 200;
            assert_eq!(reached, if goes_on { vec![body.to_string()] } else { Vec::new() }, "{body}");
        }
        let (status, _, _) = server.get(&bob, "query=%7Bme%7Bid%20email%7D%7D").await;
        assert_eq!((status, server.take().len()), (403, 0));
        let (status, _, _) = server.get(&bob, "query=%7Bme%7Bid%7D%7D").await;
        assert_eq!((status, server.take().len()), (200, 1));
    }
    let denied = api.recorded("Others");
    assert!(denied.iter().all(|record| record.policy_code.as_deref() == Some("operation_too_deep")));
    assert_eq!(denied.len(), 2);
    api.local.stop().await;
}

/// An adapter of before says nothing of cutting: it would send on what came, and tell nobody.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cut_for_who_does_not_send_on_what_is_left() {
    let api = Api::start("    operations: part\n").await;
    let bearer = format!("Bearer {}", api.token("bob", "").await);
    let check = |document: &str| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let request = Incoming {
            method: http::Method::POST,
            scheme: "https",
            host: "api.example.com".to_owned(),
            path: "/graphql".to_owned(),
            headers: headers.into_iter().collect(),
            client: None,
        };
        Check::new("storefront", request, query(document).to_string().into()).rewriting_path()
    };
    for server in &api.servers {
        let (part, whole) = (check("{ me { id email } }"), check("{ me { id } }"));
        let Checked::Answer(told) = server.point.check(&part).await.unwrap() else { panic!("it goes on") };
        assert_eq!(told.status, 403);
        let Checked::Pass(passage) = server.point.check(&part.cutting_operations()).await.unwrap() else {
            panic!("it does not go on")
        };
        assert!(passage.body().is_some() && passage.graphql_errors().is_some());
        let Checked::Pass(passage) = server.point.check(&whole).await.unwrap() else {
            panic!("it does not go on")
        };
        assert!(passage.body().is_none() && passage.graphql_errors().is_none());
    }
    api.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cut_where_the_resource_does_not_say_so() {
    let api = Api::start("").await;
    let bob = api.token("bob", "").await;
    for server in &api.servers {
        let (status, challenge, _) = server.post(Some(&bob), &query("{ me { id email } }")).await;
        assert_eq!((status, server.take().len()), (403, 0));
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
    }
    api.local.stop().await;
}

/// What staff is shown who may read neither personal data nor customers, and change nothing.
const SHOWN: &str = r#"
type Query {
  me: Customer
  orders(first: Int! = 20): [Order!]!
  products: [Product!]!
}
type Customer { id: ID! name: String orders: [Order!] }
type Order { id: ID! total: Int! customer: Customer }
type Product { name: String! price: Int! supplier: String }
"#;
/// And who may.
const SHOWN_MORE: &str = r#"
type Query {
  me: Customer
  customer(id: ID!): Customer
  orders(first: Int! = 20): [Order!]!
  products: [Product!]!
}
type Mutation { cancelOrder(id: ID!): Order }
type Customer { id: ID! name: String email: String birthday: String orders: [Order!] }
type Order { id: ID! total: Int! customer: Customer }
type Product { name: String! price: Int! supplier: String }
"#;

fn words(sdl: &str) -> String {
    sdl.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_shows_what_its_caller_may_select() {
    let api = Api::start("    introspection: permitted\n").await;
    let (bob, alice) = (api.token("bob", "").await, api.token("alice", "").await);
    let more = api.token("alice", "profile:pii:read customers:read orders:write").await;
    let asked = query(&introspection_query().unwrap());
    for server in &api.servers {
        for (token, sdl) in [(&alice, SHOWN), (&more, SHOWN_MORE)] {
            let (status, _, answer) = server.post(Some(token), &asked).await;
            assert_eq!(status, 200, "{answer}");
            // In the order of the schema, as the reference implementation prints what it was told.
            assert_eq!(words(&client_schema(&answer).unwrap()), words(sdl));
        }
        // The same field by field: what is shown at the root may be asked for, and nothing else.
        for (field, granted) in [
            ("me { id }", true),
            ("orders { id }", true),
            ("products { supplier }", true),
            ("customer(id: 1) { id }", false),
            ("me { email }", false),
            ("me { card }", false),
        ] {
            let (status, _, _) = server.post(Some(&alice), &query(&format!("{{ {field} }}"))).await;
            assert_eq!(status == 200, granted, "{field}");
            assert_eq!(server.take().len(), usize::from(granted));
        }
        // A GET asks as well, and a hidden type is one that is not there.
        let of = |name: &str| format!("query=%7B__type(name:%22{name}%22)%7Bname%7D%7D");
        let (status, _, answer) = server.get(&alice, &of("Mutation")).await;
        assert_eq!((status, answer), (200, json!({ "data": { "__type": null } })));
        let (status, _, answer) = server.get(&more, &of("Mutation")).await;
        assert_eq!((status, answer), (200, json!({ "data": { "__type": { "name": "Mutation" } } })));
        // It is an action of its own still, and asked for alone.
        for (token, body, expected) in [
            (Some(&bob), asked.clone(), 403),
            (None, asked.clone(), 401),
            (Some(&alice), query("{ me { id } __schema { queryType { name } } }"), 400),
            (Some(&alice), json!([asked]), 400),
            (Some(&alice), query("{ __schema { types { fields { type { fields { name } } } } } }"), 400),
        ] {
            let (status, _, answer) = server.post(token.map(String::as_str), &body).await;
            assert_eq!(status, expected, "{body}: {answer}");
        }
        // Nothing of all this has reached the server.
        assert!(server.take().is_empty());
    }
    let records = api.recorded("IntrospectionQuery");
    let lists: Vec<_> = records
        .iter()
        .filter_map(|record| record.detail.as_deref())
        .filter(|it| it.starts_with("a schema"))
        .collect();
    assert_eq!(lists.len(), 2, "{records:?}");
    let shown = |record: &DecisionRecord| {
        let fields = record.items.iter().filter(|item| item.target.contains("Customer.email"));
        (record.decision, record.found.unwrap_or_default(), fields.count())
    };
    let of_lists = records.iter().filter(|record| record.found.is_some()).map(shown).collect::<Vec<_>>();
    // Of fields, and of the kinds of operations.
    assert_eq!(of_lists, [(Outcome::Permit, 12 + 2, 0), (Outcome::Permit, 16 + 2, 1)]);
    api.local.stop().await;
}
