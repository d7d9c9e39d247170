//! A GraphQL API behind a real Envoy, by gRPC and over HTTP: an operation goes on whole, as it came, or not at all. The set of
//! `policies/graphql-fields` and its schema decide.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, body::Bytes, extract::State, http::HeaderMap, http::Uri, routing::any};
use palisade_tests::components::{Envoy, EnvoyPorts, EnvoySample, OidcProvider, eventually, repository};
use palisade_tests::service::{Palisade, run};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

const IDENTIFIER: &str = "https://api.example.com/graphql";
const KEY: &str = "envoy-0123456789abcdef0123456789abcdef";
const ORDERS: &str = "query Orders { orders(first: 5) { id total } }";
const EMAIL: &str = "query Mine { me { name: email } }";

/// What has reached the upstream: the path with its query, the headers, the body.
type Reached = Arc<Mutex<Vec<(Uri, HeaderMap, String)>>>;

/// A GraphQL server that answers everything alike.
struct Upstream {
    port: u16,
    reached: Reached,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    async fn start() -> Self {
        let reached = Reached::default();
        let answer = async |State(reached): State<Reached>, uri: Uri, headers: HeaderMap, body: Bytes| {
            let body = String::from_utf8_lossy(&body).into_owned();
            reached.lock().unwrap().push((uri, headers, body));
            Json(json!({ "data": { "orders": [] } }))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(any(answer)).with_state(Arc::clone(&reached));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, reached, task }
    }

    fn take(&self) -> Vec<(Uri, HeaderMap, String)> {
        std::mem::take(&mut *self.reached.lock().unwrap())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Api {
    provider: OidcProvider,
    upstream: Upstream,
    palisade: Palisade,
    fronts: Vec<(&'static str, Envoy)>,
    folder: tempfile::TempDir,
}

impl Api {
    async fn start(observe: &str) -> Self {
        let scopes = ["profile:pii:read", "customers:read", "orders:write"];
        let provider = OidcProvider::start_with(&json!({
            "users": {"bob": {}, "alice": {"groups": ["staff"]}},
            "resources": {"*": scopes},
        }))
        .await
        .unwrap();
        let upstream = Upstream::start().await;
        let folder = tempfile::tempdir().unwrap();
        let set = repository().join("policies/graphql-fields");
        std::fs::copy(set.join("schema.graphql"), folder.path().join("schema.graphql")).unwrap();
        let manifest = json!({ sha256(ORDERS): ORDERS });
        std::fs::write(folder.path().join("documents.json"), manifest.to_string()).unwrap();
        // Over HTTP Envoy proves itself with the key that its sample sends.
        std::fs::write(folder.path().join("envoy.key"), KEY).unwrap();
        let configuration = format!(
            "policies: {{path: {set}}}\npeps:\n  envoy: {{auth: {{key: {{file: {folder}/envoy.key}}}}, surfaces: [http_authz], \
             resources: [storefront]}}\nissuers:\n  corp: {{issuer: \"{issuer}\", network: {{private: true}}, claims: {{roles: [groups]}}}}\n\
             resources:\n  storefront:\n    identifier: {IDENTIFIER}\n    kind: graphql\n    issuers: [corp]\n    \
             schema: {{sdl: {folder}/schema.graphql, manifest: {folder}/documents.json}}\n    \
             scopes: {{step_up: [\"profile:pii:read\"]}}\n{observe}",
            set = set.display(),
            issuer = provider.issuer(),
            folder = folder.path().display(),
        );
        let palisade = Palisade::start(&configuration, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let ports =
            EnvoyPorts { decision: palisade.decision, public: palisade.public, upstream: upstream.port };
        let mut fronts = Vec::new();
        for (name, sample) in [("gRPC", EnvoySample::ExtAuthz), ("HTTP", EnvoySample::OverHttp)] {
            let text = sample.fill("storefront", ports).unwrap().replace("THE KEY OF peps.envoy", KEY);
            fronts.push((name, Envoy::start(&text).await.unwrap()));
        }
        Self { provider, upstream, palisade, fronts, folder }
    }

    async fn token(&self, user: &str, scopes: &str) -> String {
        self.provider.token(user, IDENTIFIER, scopes).await.unwrap()
    }

    async fn send(envoy: &Envoy, request: &Asked, token: Option<&str>) -> Response {
        let (method, query) = match &request.query {
            Some(query) => (Method::GET, format!("?{query}")),
            None => (Method::POST, String::new()),
        };
        let mut sent = Client::new().request(method, envoy.url(&format!("/storefront{query}")));
        if let Some(body) = &request.body {
            sent = sent.header("content-type", request.content_type).body(body.clone());
        }
        if let Some(token) = token {
            sent = sent.bearer_auth(token);
        }
        sent.send().await.unwrap()
    }
}

/// A request, as a client sends it.
struct Asked {
    query: Option<String>,
    body: Option<String>,
    content_type: &'static str,
}

fn post(body: &Value) -> Asked {
    Asked { query: None, body: Some(body.to_string()), content_type: "application/json" }
}

fn get(query: &str) -> Asked {
    Asked { query: Some(query.to_owned()), body: None, content_type: "" }
}

fn persisted(hash: &str) -> Value {
    json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } })
}

/// SHA-256 of a text in lower-case hex.
fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_goes_on_whole_or_not_at_all() {
    let api = Api::start("").await;
    let plain = api.token("bob", "").await;
    let pii = api.token("bob", "profile:pii:read").await;
    let multipart = Asked {
        query: None,
        body: Some("--x--".to_owned()),
        content_type: "multipart/form-data; boundary=x",
    };
    let batch = |count: usize| json!(vec![json!({ "query": ORDERS }); count]);
    let cases: Vec<(Asked, Option<&str>, u16)> = vec![
        (post(&json!({ "query": ORDERS })), Some(&plain), 200),
        (post(&json!({ "query": ORDERS })), None, 401),
        (post(&batch(2)), Some(&plain), 200),
        (get("query=query%7Borders%7Bid%7D%7D"), Some(&plain), 200),
        (post(&json!({ "extensions": persisted(&sha256(ORDERS)) })), Some(&plain), 200),
        (post(&json!({ "query": EMAIL })), Some(&pii), 200),
        (post(&json!({ "query": EMAIL })), Some(&plain), 403),
        (
            post(
                &json!({ "query": "query($n: Int!) { orders(first: $n) { id } }", "variables": { "n": 101 } }),
            ),
            Some(&plain),
            403,
        ),
        (post(&json!({ "extensions": persisted(&sha256(EMAIL)) })), Some(&pii), 403),
        (post(&json!({ "query": ORDERS, "extensions": persisted(&sha256(EMAIL)) })), Some(&pii), 400),
        (post(&json!({ "query": "query A { orders { id } } query B { orders { id } }" })), Some(&plain), 400),
        (post(&batch(51)), Some(&plain), 400),
        (multipart, Some(&plain), 400),
        (get("query=mutation%7BcancelOrder(id:1)%7Bid%7D%7D"), Some(&plain), 403),
        (post(&json!({ "query": "{ __schema { types { name } } }" })), Some(&plain), 403),
        (post(&json!({ "query": "mutation { cancelOrder(id: 1) { id } }" })), Some(&plain), 403),
    ];
    for (name, envoy) in &api.fronts {
        for (asked, token, status) in &cases {
            let shown = format!("{name}: {:?} {:?}", asked.query, asked.body);
            let answer = Api::send(envoy, asked, *token).await;
            assert_eq!(answer.status().as_u16(), *status, "{shown}");
            let reached = api.upstream.take();
            assert_eq!(reached.len(), usize::from(*status == 200), "{shown}");
            for (uri, headers, body) in reached {
                assert_eq!(uri.query(), asked.query.as_deref(), "{shown}");
                assert_eq!(body, asked.body.clone().unwrap_or_default(), "{shown}");
                assert!(headers.get("authorization").is_none(), "{shown}");
                assert_eq!(headers["x-palisade-subject"], "User::\"corp/bob\"", "{shown}");
            }
        }
        // Another protocol, in which operations would follow: Envoy itself or Palisade ends it.
        let upgrade = Client::new()
            .get(envoy.url("/storefront?query=query%7Borders%7Bid%7D%7D"))
            .bearer_auth(&plain)
            .header("connection", "upgrade")
            .header("upgrade", "websocket");
        assert_eq!(upgrade.send().await.unwrap().status(), 403, "{name}");
        assert!(api.upstream.take().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_says_which_scope_helps_and_its_record_which_field_it_was() {
    let api = Api::start("").await;
    let plain = api.token("bob", "").await;
    let (_, envoy) = &api.fronts[0];
    let denied = Api::send(envoy, &post(&json!({ "query": EMAIL })), Some(&plain)).await;
    let challenge = denied.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\"")
            && challenge.contains("scope=\"profile:pii:read\""),
        "{challenge}"
    );
    let customer = json!({ "query": "{ customer(id: 1) { name } }" });
    let denied = Api::send(envoy, &post(&customer), Some(&plain)).await;
    let challenge = denied.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.contains("scope=\"customers:read\""), "{challenge}");

    let records = api.palisade.decisions().unwrap();
    let of = |target: &str| {
        records
            .iter()
            .find(|record| record.target.as_deref() == Some(target))
            .unwrap_or_else(|| panic!("{target}: {records:?}"))
    };
    let field = of("Graphql::Field::\"storefront/Customer.email\"");
    assert_eq!(field.action.as_deref(), Some("Graphql::Action::\"field\""));
    assert_eq!(field.determining_policies[0].id, "storefront-pii");
    assert_eq!(field.items[0].target, "Graphql::Field::\"storefront/Customer.email\"");
    assert!(field.items.iter().any(|item| item.target == "Graphql::Operation::\"storefront/Mine\""));
    let directive = of("Graphql::Field::\"storefront/Query.customer\"");
    assert!(directive.missing_scopes.iter().any(|scope| scope.as_str() == "customers:read"));
    // A decision is explained from its record.
    let why =
        run(&["why", &field.id.to_string(), "--config", api.palisade.configuration().to_str().unwrap()]);
    let why = String::from_utf8(why.unwrap().stdout).unwrap();
    assert!(why.contains("Customer.email") && why.contains("profile:pii:read"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schema_is_in_force_with_the_policies_that_see_it() {
    let api = Api::start("").await;
    let plain = api.token("bob", "").await;
    let (_, envoy) = &api.fronts[0];
    let names = post(&json!({ "query": "{ orders { customer { name } } }" }));
    assert_eq!(Api::send(envoy, &names, Some(&plain)).await.status(), 200);
    let path = api.folder.path().join("schema.graphql");
    let schema = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, schema.replace("name: String\n", "name: String @tag(name: \"pii\")\n")).unwrap();
    eventually("the tag counts", async || {
        Ok((Api::send(envoy, &names, Some(&plain)).await.status() == 403).then_some(()))
    })
    .await
    .unwrap();
    // One that is none is refused, and the one before serves on.
    std::fs::write(&path, "type Query { broken").unwrap();
    eventually("it is refused", async || {
        let ready = api.palisade.admin("/readyz").await?;
        Ok(ready.contains("schema.sdl").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(Api::send(envoy, &names, Some(&plain)).await.status(), 403);
    assert_eq!(Api::send(envoy, &post(&json!({ "query": ORDERS })), Some(&plain)).await.status(), 200);
}

#[test]
fn a_name_that_nothing_decides_is_found_before_it_is_served() {
    let set = repository().join("policies/graphql-fields");
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("schema.graphql");
    let schema = std::fs::read_to_string(set.join("schema.graphql")).unwrap();
    let check = |schema: &std::path::Path| {
        let (set, schema) = (set.to_str().unwrap().to_owned(), schema.to_str().unwrap().to_owned());
        run(&["policy", "check", &set, "--schema-sdl", &schema]).unwrap()
    };
    assert_eq!(check(&set.join("schema.graphql")).status.code(), Some(0));
    std::fs::write(&wrong, schema.replace("\"own_card\"", "\"own_crad\"")).unwrap();
    let checked = check(&wrong);
    let told = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(1), "{told}");
    assert!(told.contains("error[undecided-name]") && told.contains("storefront/own_crad"), "{told}");
}

#[test]
fn what_a_forbid_on_a_label_leaves_open_is_told() {
    let set = repository().join("policies/graphql-fields");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("schema.graphql");
    let schema = std::fs::read_to_string(set.join("schema.graphql")).unwrap();
    let schema = schema.replace("email: String @tag(name: \"pii\")", "email: Mail");
    std::fs::write(&path, format!("{schema}\nscalar Mail @tag(name: \"pii\")\n")).unwrap();
    let check = |more: &[&str]| {
        let common = ["policy", "check", set.to_str().unwrap(), "--schema-sdl", path.to_str().unwrap()];
        run(&[&common[..], more].concat()).unwrap()
    };
    let checked = check(&[]);
    let told = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{told}");
    assert!(told.contains("warning[partly-labelled]") && told.contains("`Customer.email`"), "{told}");
    assert_eq!(check(&["--deny-warnings"]).status.code(), Some(1));
}
