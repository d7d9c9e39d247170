//! The coprocessor of GraphQL routers on the real service: messages in the forms that Apollo Router, Hive Router and Grafbase send, by
//! every transport of the decision listener, each with its record. The set of `policies/graphql-fields` decides.

use std::path::Path;
use std::process::Command;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_audit::DecisionRecord;
use palisade_tests::components::{OidcProvider, Process, eventually, free_port, repository};
use palisade_tests::service::{Palisade, binary};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

const IDENTIFIER: &str = "https://api.example.com/graphql";
const KEY: &str = "router-0123456789abcdef0123456789abcdef";
const NAMES: &str = "apollo::authorization::required_policies";
const ENTRY: &str = "/graphql/coprocessor/storefront";
/// A resource that nobody may ask, too.
const OPEN: &str = r#"
@id("open")
permit (
  principal,
  action in [Graphql::Action::"execute", Graphql::Action::"field"],
  resource in Graphql::Graph::"open"
);
"#;

struct Api {
    provider: OidcProvider,
    palisade: Palisade,
    folder: TempDir,
}

/// What a router gets: the status, the id of the decision, the message.
type Told = (u16, Option<String>, Value);

impl Api {
    async fn start() -> Self {
        let provider = provider().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("router.key"), KEY).unwrap();
        let set = repository().join("policies/graphql-fields");
        for file in ["policy.cedar", "entities.json"] {
            std::fs::copy(set.join(file), folder.path().join(file)).unwrap();
        }
        std::fs::write(folder.path().join("open.cedar"), OPEN).unwrap();
        let peps = format!(
            "peps:\n  router: {{auth: {{key: {{file: {}/router.key}}}}, surfaces: [coprocessor], resources: [storefront, open]}}\n",
            folder.path().display()
        );
        let configuration = configuration(&provider, folder.path());
        let palisade = Palisade::start(&format!("{peps}{configuration}"), "").await.unwrap();
        let api = Self { provider, palisade, folder };
        let message = supergraph(Some(&api.token("bob", "").await), "{ products { name } }");
        let goes_on = async || Ok((api.ask(&message).await.2["control"] == "continue").then_some(()));
        eventually("keys of the provider", goes_on).await.unwrap();
        api
    }

    async fn token(&self, user: &str, scopes: &str) -> String {
        self.provider.token(user, IDENTIFIER, scopes).await.unwrap()
    }

    async fn ask(&self, message: &Value) -> Told {
        self.ask_by(&Client::new(), ENTRY, message, &[("x-palisade-key", KEY)]).await
    }

    async fn ask_by(&self, client: &Client, path: &str, message: &Value, headers: &[(&str, &str)]) -> Told {
        let mut sent =
            client.post(format!("http://127.0.0.1:{}{path}", self.palisade.decision)).json(message);
        for (name, value) in headers {
            sent = sent.header(*name, *value);
        }
        let told = sent.send().await.unwrap();
        let id = told.headers().get("x-palisade-decision-id").map(|id| id.to_str().unwrap().to_owned());
        (told.status().as_u16(), id, told.json().await.unwrap_or_default())
    }

    /// The record of a decision, once it is written: those of nobody are counted for a second.
    async fn record(&self, told: &Told) -> DecisionRecord {
        let id = told.1.clone().unwrap_or_else(|| panic!("no decision: {told:?}"));
        let found =
            async || Ok(self.palisade.decisions()?.into_iter().find(|record| record.id.to_string() == id));
        eventually("the record", found).await.unwrap()
    }
}

async fn provider() -> OidcProvider {
    let scopes = ["profile:pii:read", "customers:read", "orders:write"];
    OidcProvider::start_with(&json!({
        "users": {"bob": {}, "carol": {"groups": ["auditor"]}},
        "resources": {"*": scopes},
    }))
    .await
    .unwrap()
}

/// A resource with two issuers, of which one is out of reach, and one that nobody may ask, too. The policies are in the folder.
fn configuration(provider: &OidcProvider, folder: &Path) -> String {
    let sdl = repository().join("policies/graphql-fields/schema.graphql");
    let (set, sdl, issuer) = (folder.display(), sdl.display(), provider.issuer());
    let closed = away();
    format!(
        "policies: {{path: {set}}}\nissuers:\n  corp: {{issuer: \"{issuer}\", network: {{private: true}}, claims: {{roles: [groups]}}}}\n  \
         away: {{issuer: \"http://127.0.0.1:{closed}\", network: {{private: true}}}}\nresources:\n  storefront:\n    identifier: {IDENTIFIER}\n    \
         kind: graphql\n    issuers: [corp, away]\n    schema: {{sdl: {sdl}}}\n    scopes: {{step_up: [\"profile:pii:read\"]}}\n  \
         open:\n    identifier: https://open.example.com/graphql\n    kind: graphql\n    issuers: [corp]\n    schema: {{sdl: {sdl}}}\n    \
         anonymous: [query]\n",
    )
}

/// A port that nobody listens on.
fn away() -> u16 {
    1
}

/// A token of the issuer whose keys nobody can have: by whom it is signed cannot be told.
fn token_of_away() -> String {
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(json!({ "alg": "ES256", "typ": "at+jwt", "kid": "k" }));
    let claims = encode(
        json!({ "iss": format!("http://127.0.0.1:{}", away()), "sub": "eve", "aud": IDENTIFIER, "exp": 9_999_999_999_u64 }),
    );
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([1; 64]))
}

/// Apollo Router's request to the supergraph, in the form that version 2.17.0 sends.
fn supergraph(token: Option<&str>, document: &str) -> Value {
    let mut headers = json!({ "content-type": ["application/json"], "host": ["api.example.com"] });
    if let Some(token) = token {
        headers["authorization"] = json!([format!("Bearer {token}")]);
    }
    json!({ "version": 1, "stage": "SupergraphRequest", "control": "continue", "id": "9b1a", "headers": headers,
        "body": { "query": document }, "context": { "entries": { "apollo::supergraph::operation_kind": "query" } } })
}

/// Hive Router's, at the stage of policies.
fn analysis(token: &str, names: Value) -> Value {
    json!({ "version": 1, "stage": "graphql.analysis", "id": "h", "headers": { "authorization": [format!("Bearer {token}")] },
        "context": { "hive::authorization::required_policies": names } })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exchange_is_answered_as_its_router_reads_it_and_is_on_the_record() {
    let api = Api::start().await;
    let pii = api.token("carol", "profile:pii:read").await;
    let plain = api.token("bob", "").await;

    let mut card = supergraph(Some(&pii), "{ me { plastic: card } }");
    card["context"]["entries"][NAMES] = json!({ "own_card": null, "audit_cards": null, "four_eyes": null });
    let told = api.ask(&card).await;
    let entries = &told.2["context"]["entries"];
    assert_eq!(
        (told.0, &told.2["control"], &told.2["id"]),
        (200, &json!("continue"), &json!("9b1a")),
        "{told:?}"
    );
    assert_eq!(entries[NAMES], json!({ "own_card": false, "audit_cards": true, "four_eyes": true }));
    let claims = &entries["apollo::authentication::jwt_claims"];
    assert_eq!((&claims["sub"], &claims["scope"]), (&json!("carol"), &json!("profile:pii:read")));
    assert_eq!(claims["iss"], api.provider.issuer());
    let record = api.record(&told).await;
    assert_eq!(
        (record.reason.as_str(), record.pep.as_ref().map(|pep| pep.as_str())),
        ("permitted", Some("router"))
    );

    // Names alone: some are granted, and the record has each.
    let told = api.ask(&analysis(&pii, json!({ "own_card": null, "audit_cards": null }))).await;
    let names =
        json!({ "hive::authorization::required_policies": { "own_card": false, "audit_cards": true } });
    assert_eq!(told.2, json!({ "version": 1, "control": "continue", "context": names }));
    assert_eq!(api.record(&told).await.items.len(), 2);

    let ended = |told: &Told| (told.0, told.2["control"]["break"].as_u64().unwrap_or_default());
    let challenge =
        |told: &Told| told.2["headers"]["www-authenticate"][0].as_str().unwrap_or_default().to_owned();
    let told = api.ask(&supergraph(None, "{ products { name } }")).await;
    assert_eq!(ended(&told), (200, 401), "{told:?}");
    assert!(challenge(&told).contains("resource_metadata="), "{told:?}");
    assert_eq!(told.2["body"]["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(api.record(&told).await.reason.as_str(), "no_credentials");

    let told = api.ask(&supergraph(Some(&plain), "{ me { name mine: email } }")).await;
    assert_eq!(ended(&told), (200, 403), "{told:?}");
    assert!(challenge(&told).contains("scope=\"profile:pii:read\""), "{told:?}");
    let record = api.record(&told).await;
    assert_eq!(record.target.as_deref(), Some("Graphql::Field::\"storefront/Customer.email\""));
    assert!(!format!("{record:?}").contains("mine"), "{record:?}");

    let told = api.ask(&supergraph(Some(&token_of_away()), "{ products { name } }")).await;
    assert_eq!(ended(&told), (200, 503), "{told:?}");
    assert!(told.2["headers"]["retry-after"][0].is_string());
    assert_eq!(told.2["body"]["errors"][0]["extensions"]["code"], "POLICY_EVALUATION_FAILED");
    assert_eq!(api.record(&told).await.reason.as_str(), "issuer_keys_unavailable");

    // What is no message is an error of HTTP: routers take it for a failure of the request.
    let told = api.ask(&json!({ "version": 2, "stage": "SupergraphRequest", "id": "1" })).await;
    assert_eq!(told.0, 400);
    assert_eq!(api.record(&told).await.reason.as_str(), "request_malformed");
    let wrong = [("x-palisade-key", "wrong-0123456789abcdef0123456789abcdef")];
    let told = api.ask_by(&Client::new(), ENTRY, &card, &wrong).await;
    assert_eq!((told.0, told.2.get("control")), (401, None));
}

/// Apollo Router's own stage, before the router has read anything: a body is text, and a GET has its operation in the path.
fn router(token: Option<&str>, rest: Value) -> Value {
    let mut message = supergraph(token, "");
    message["stage"] = json!("RouterRequest");
    message["context"] = json!({ "entries": {} });
    message.as_object_mut().unwrap().remove("body");
    for (name, value) in rest.as_object().unwrap() {
        message[name] = value.clone();
    }
    message
}

/// Hive Router's request, with its variables.
fn request(token: &str, variables: Value) -> Value {
    json!({ "version": 1, "stage": "graphql.request", "id": "h", "headers": { "authorization": [format!("Bearer {token}")] },
        "body": { "query": "query($n: Int! = 5) { orders(first: $n) { id } }", "variables": variables } })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_of_an_operation_at_a_stage_is_decided_as_it_is_executed() {
    let api = Api::start().await;
    let plain = api.token("bob", "").await;
    let ended = |told: &Told| (told.0, told.2["control"]["break"].as_u64().unwrap_or_default());

    for (rest, status) in [
        (json!({ "method": "POST", "path": "/graphql", "body": r#"{"query":"{ products { name } }"}"# }), 0),
        (json!({ "method": "POST", "path": "/graphql", "body": r#"{"query":"{ me { email } }"}"# }), 403),
        (json!({ "method": "GET", "path": "/graphql?query=%7Bproducts%7Bname%7D%7D", "body": "" }), 0),
        (json!({ "method": "GET", "path": "/graphql?query=%7Bme%7Bemail%7D%7D", "body": "" }), 403),
    ] {
        let told = api.ask(&router(Some(&plain), rest.clone())).await;
        assert_eq!(ended(&told), (200, status), "{rest}: {told:?}");
        assert_eq!(told.2["control"] == "continue", status == 0, "{told:?}");
        assert_eq!(api.record(&told).await.reason.as_str() == "permitted", status == 0);
    }
    // Apollo Router leaves out a body that is no text. That is no request without an operation.
    let get = json!({ "method": "GET", "path": "/graphql?query=%7Bme%7Bemail%7D%7D" });
    let told = api.ask(&router(Some(&plain), get.clone())).await;
    assert_eq!((told.0, told.2.get("control")), (400, None), "{told:?}");
    assert_eq!(api.record(&told).await.reason.as_str(), "request_body_missing");
    // Who asks for the token alone asks where nothing else is.
    let key = [("x-palisade-key", KEY)];
    let at_token = format!("{ENTRY}/token");
    let told = api.ask_by(&Client::new(), &at_token, &router(Some(&plain), get), &key).await;
    assert_eq!(told.2["control"], "continue", "{told:?}");
    assert_eq!(told.2["context"]["entries"]["apollo::authentication::jwt_claims"]["sub"], "bob");
    let record = api.record(&told).await;
    assert_eq!((record.action, record.principal.as_deref()), (None, Some("User::\"corp/bob\"")));

    for (variables, status) in [(json!({}), 0), (json!({ "n": 100 }), 0), (json!({ "n": 101 }), 403)] {
        let told = api.ask(&request(&plain, variables.clone())).await;
        assert_eq!(ended(&told), (200, status), "{variables}: {told:?}");
    }
    let mut emptied = request(&plain, json!({}));
    emptied["stage"] = json!("graphql.analysis");
    let told = api.ask(&emptied).await;
    assert_eq!((told.0, told.2.get("control")), (400, None), "{told:?}");

    // Nobody, where nobody may ask.
    let open = "/graphql/coprocessor/open";
    for (document, status) in [("{ products { name } }", 0), ("{ me { id } }", 401)] {
        let told = api.ask_by(&Client::new(), open, &supergraph(None, document), &key).await;
        assert_eq!(ended(&told), (200, status), "{document}: {told:?}");
        assert!(told.2.pointer("/context/entries/apollo::authentication::jwt_claims").is_none());
    }
    let told = api.ask_by(&Client::new(), &format!("{open}/token"), &router(None, json!({})), &key).await;
    assert_eq!((&told.2["control"], told.2.get("context")), (&json!("continue"), None), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grafbase_asks_for_names_with_the_token_of_its_client() {
    let api = Api::start().await;
    let auditor = format!("Bearer {}", api.token("carol", "").await);
    let asked = json!({ "policies": ["own_card", "four_eyes"] });
    for path in [ENTRY.to_owned(), format!("{ENTRY}/policy")] {
        let headers = [("x-palisade-key", KEY), ("authorization", auditor.as_str())];
        let told = api.ask_by(&Client::new(), &path, &asked, &headers).await;
        assert_eq!((told.0, &told.2), (200, &json!({ "granted": [false, true] })));
        assert_eq!(api.record(&told).await.principal.as_deref(), Some("User::\"corp/carol\""));
    }
    let told = api.ask_by(&Client::new(), ENTRY, &asked, &[("x-palisade-key", KEY)]).await;
    assert_eq!((told.0, told.2.get("granted")), (401, None));
    assert_eq!(api.record(&told).await.reason.as_str(), "no_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transport_of_the_listener_brings_the_same_answer() {
    let api = Api::start().await;
    let token = api.token("bob", "customers:read").await;
    let asked = supergraph(Some(&token), "{ customer(id: 1) { name } }");
    let first = api.ask(&asked).await.2;
    assert_eq!(first["control"], "continue", "{first}");
    let h2c = Client::builder().http2_prior_knowledge().build().unwrap();
    let told = api.ask_by(&h2c, ENTRY, &asked, &[("x-palisade-key", KEY)]).await;
    assert_eq!((told.0, &told.2), (200, &first));

    // On a Unix socket a router needs no key: it is known by its user, or `local`.
    let folder = tempfile::tempdir().unwrap();
    let (socket, admin) = (folder.path().join("decision.sock"), free_port().unwrap());
    let configuration = format!(
        "version: 1\nlisten:\n  decision: {{address: \"unix:decision.sock\"}}\n  public: {{address: \"127.0.0.1:{}\"}}\n  admin: {{address: \
         \"127.0.0.1:{admin}\"}}\n{}",
        free_port().unwrap(),
        configuration(&api.provider, api.folder.path())
    );
    let file = folder.path().join("palisade.yaml");
    std::fs::write(&file, configuration).unwrap();
    std::fs::write(folder.path().join("message.json"), asked.to_string()).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.arg("serve").arg("--config").arg(&file);
    let mut service = Process::start("palisade-unix", command).unwrap();
    let health = format!("http://127.0.0.1:{admin}/healthz");
    service
        .wait_until("an answer", async |_| Ok(reqwest::get(&health).await.is_ok().then_some(())))
        .await
        .unwrap();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let ask = async || {
            let mut curl = Command::new("curl");
            curl.args(["-s", version, "-H", "content-type: application/json", "--unix-socket"]).arg(&socket);
            curl.arg("--data-binary").arg(format!("@{}", folder.path().join("message.json").display()));
            let told = curl.arg(format!("http://palisade{ENTRY}")).output().unwrap().stdout;
            let told: Value = serde_json::from_slice(&told).unwrap_or_default();
            Ok((told == first).then_some(()))
        };
        eventually(version, ask).await.unwrap();
    }
}
