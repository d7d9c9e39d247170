//! A GraphQL router that asks Palisade: Hive Gateway with its sample of `deploy/` in front of a real subgraph. The supergraph has
//! `@authenticated`, `@requiresScopes` and `@policy`; the set of `policies/graphql-fields` decides beside them.

use palisade_audit::DecisionRecord;
use palisade_tests::components::{HiveGateway, OidcProvider, Subgraph, eventually, repository};
use palisade_tests::service::Palisade;
use reqwest::{Client, Response};
use serde_json::{Value, json};

const IDENTIFIER: &str = "https://api.example.com/graphql";
const CARD: &str = "{ me { id plastic: card } }";

struct Router {
    provider: OidcProvider,
    subgraph: Subgraph,
    palisade: Palisade,
    gateway: HiveGateway,
    _folder: tempfile::TempDir,
}

impl Router {
    async fn start() -> Self {
        let scopes = ["profile:pii:read", "customers:read", "customers:search", "support", "orders:write"];
        let provider = OidcProvider::start_with(&json!({
            "users": {"bob": {}, "alice": {"groups": ["staff"]}, "carol": {"groups": ["auditor"]}},
            "resources": {"*": scopes},
        }))
        .await
        .unwrap();
        let subgraph = Subgraph::start().await.unwrap();
        let supergraph = subgraph.supergraph().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("supergraph.graphql");
        std::fs::write(&file, &supergraph).unwrap();
        let configuration = format!(
            "policies: {{path: {set}}}\nissuers:\n  corp: {{issuer: \"{issuer}\", network: {{private: true}}, claims: {{roles: [groups]}}}}\n\
             resources:\n  storefront:\n    identifier: {IDENTIFIER}\n    kind: graphql\n    issuers: [corp]\n    \
             schema: {{sdl: {sdl}}}\n    scopes: {{step_up: [\"profile:pii:read\"]}}\n",
            set = repository().join("policies/graphql-fields").display(),
            issuer = provider.issuer(),
            sdl = file.display(),
        );
        let palisade = Palisade::start(&configuration, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let url = format!("http://127.0.0.1:{}/authz/storefront", palisade.decision);
        let gateway = HiveGateway::start(&supergraph, &url).await.unwrap();
        Self { provider, subgraph, palisade, gateway, _folder: folder }
    }

    async fn token(&self, user: &str, scopes: &str) -> String {
        self.provider.token(user, IDENTIFIER, scopes).await.unwrap()
    }

    async fn post(&self, token: Option<&str>, document: &str) -> (u16, Option<String>, Value) {
        let sent = Client::new().post(self.gateway.url()).json(&json!({ "query": document }));
        let sent = match token {
            Some(token) => sent.bearer_auth(token),
            None => sent,
        };
        answer(sent.send().await.unwrap()).await
    }
}

/// The status, the challenge and the body.
async fn answer(response: Response) -> (u16, Option<String>, Value) {
    let challenge = response.headers().get("www-authenticate").map(|it| it.to_str().unwrap().to_owned());
    (response.status().as_u16(), challenge, response.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_executes_what_all_three_directives_and_the_policies_let_through() {
    let router = Router::start().await;
    let bob = router.token("bob", "").await;
    let support = router.token("bob", "support customers:search").await;
    let half = router.token("bob", "support").await;
    let auditor = router.token("carol", "profile:pii:read").await;
    let pii = router.token("bob", "profile:pii:read").await;
    let writer = router.token("bob", "orders:write").await;
    let customer = "{ customer(id: 2) { name } }";
    let cancel = "mutation { cancelOrder(id: 10) { id } }";
    let email = "{ me { email } }";
    let cases: [(&str, Option<&str>, u16, &str); 16] = [
        ("{ me { name } }", Some(&bob), 200, r#"{"me":{"name":"Ann"}}"#),
        ("{ me { name } }", None, 401, ""),
        ("{ me { name } }", Some("none"), 401, ""),
        (customer, Some(&bob), 403, ""),
        (customer, Some(&half), 403, ""),
        (customer, Some(&support), 200, r#"{"customer":{"name":"Bob"}}"#),
        // One of two sets of names: an auditor has both names of the second one.
        (CARD, Some(&pii), 403, ""),
        (CARD, Some(&auditor), 200, r#"{"me":{"id":"1","plastic":"4111"}}"#),
        (cancel, Some(&bob), 403, ""),
        (cancel, Some(&writer), 200, r#"{"cancelOrder":{"id":"10"}}"#),
        // What no directive says, but the policies: a tag, an argument, introspection.
        (email, Some(&bob), 403, ""),
        (email, Some(&pii), 200, r#"{"me":{"email":"ann@example.com"}}"#),
        ("{ orders(first: 101) { id } }", Some(&bob), 403, ""),
        ("{ orders(first: 1) { id } }", Some(&bob), 200, r#"{"orders":[{"id":"10"}]}"#),
        ("{ __schema { queryType { name } } }", Some(&bob), 403, ""),
        ("{ me { ...F } } fragment F on Customer { card }", Some(&pii), 403, ""),
    ];
    for (document, token, status, data) in cases {
        let (answered, _, body) = router.post(token, document).await;
        assert_eq!(answered, status, "{document}: {body}");
        let reached = router.subgraph.reached().await.unwrap();
        if status == 200 {
            assert_eq!(body["data"], serde_json::from_str::<Value>(data).unwrap(), "{document}: {body}");
            assert_eq!(reached.len(), 1, "{document}: {reached:?}");
        } else {
            assert!(body["data"].is_null() && body["errors"][0]["message"].is_string(), "{document}: {body}");
            assert!(reached.is_empty(), "{document}: {reached:?}");
        }
    }
    // The record names the field, and never what the client calls it.
    // Those of nobody are counted for a second, and written then.
    let counted = |records: &[DecisionRecord]| records.iter().map(|record| record.count).sum::<u64>();
    let all = async || {
        Ok(Some(router.palisade.decisions()?).filter(|records| counted(records) >= cases.len() as u64))
    };
    let records = eventually("a record an operation", all).await.unwrap();
    assert_eq!(counted(&records), cases.len() as u64, "one record an operation");
    assert!(records.iter().any(|record| {
        record.items.iter().any(|item| item.target == "Graphql::Field::\"storefront/Customer.card\"")
    }));
    assert!(!format!("{records:?}").contains("plastic"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_challenge_and_no_answer_is_a_denial() {
    let mut router = Router::start().await;
    let bob = router.token("bob", "").await;
    let (status, challenge, body) = router.post(Some(&bob), "{ customer(id: 1) { name } }").await;
    let challenge = challenge.unwrap();
    assert!(status == 403 && challenge.contains("insufficient_scope"), "{challenge}");
    assert!(challenge.contains("scope=\"customers:read\""), "{challenge}");
    assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN");
    let (status, challenge, body) = router.post(None, "{ products { name } }").await;
    assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (401, &json!("UNAUTHENTICATED")));
    assert!(challenge.unwrap().contains("resource_metadata="));
    // By GET, in other forms, and by another protocol nothing comes that is not asked about.
    let get = |query: &str| Client::new().get(format!("{}?{query}", router.gateway.url())).bearer_auth(&bob);
    let (status, _, body) = answer(get("query=%7Bproducts%7Bname%7D%7D").send().await.unwrap()).await;
    assert_eq!((status, &body["data"]), (200, &json!({ "products": [{ "name": "Tea" }] })), "{body}");
    let (status, _, _) = answer(get("query=%7Bme%7Bemail%7D%7D").send().await.unwrap()).await;
    assert_eq!(status, 403);
    let batch = json!([{ "query": "{ products { name } }" }]);
    let sent = Client::new().post(router.gateway.url()).bearer_auth(&bob).json(&batch);
    assert_eq!(answer(sent.send().await.unwrap()).await.0, 400);
    let upgrade = get("").header("connection", "upgrade").header("upgrade", "websocket");
    let upgrade =
        upgrade.header("sec-websocket-version", "13").header("sec-websocket-key", "bm9uY2Ugb2YgMTZiLiE=");
    assert_ne!(upgrade.send().await.unwrap().status(), 101);
    router.subgraph.reached().await.unwrap();
    router.palisade.kill().unwrap();
    let (status, _, body) = router.post(Some(&bob), "{ products { name } }").await;
    assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (503, &json!("POLICY_EVALUATION_FAILED")));
    assert!(body["data"].is_null());
    router.palisade.restart().await.unwrap();
    router.palisade.process().unwrap().signal("STOP").unwrap();
    assert_eq!(router.post(Some(&bob), "{ products { name } }").await.0, 503);
    router.palisade.process().unwrap().signal("CONT").unwrap();
    assert!(router.subgraph.reached().await.unwrap().is_empty());
}
