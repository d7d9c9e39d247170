//! A GraphQL router that knows scopes and nothing else: Hive Gateway with its own JWT check and `@requiresScopes`, without any plugin of
//! ours. It enforces what the policies have granted, since the token service puts nothing else into `scope`.

use palisade_audit::DecisionRecord;
use palisade_model::{Clock, SystemClock};
use palisade_tests::components::{HiveGateway, OidcProvider, Subgraph};
use palisade_tests::service::Palisade;
use palisade_token::{SigningKey, SigningKeys};
use serde_json::{Value, json};
use tempfile::TempDir;

const ROUTER: &str = "https://api.example.com/graphql";
/// What the users' tokens are for: an application that exchanges them.
const SHOP: &str = "https://shop.example.com";
/// An issuer whose tokens may be bound to a key.
const BOUND: &str = "https://bound.example.com";
const SECRET: &str = "secret-of-the-shop-0123456789abcdef";
/// Everybody may look up customers; staff may change orders, too. Nobody gets what the token does not hold.
const POLICY: &str = r#"
@id("lookups") permit (principal is User, action == OAuth::Action::"exchange", resource == OAuth::Audience::"router")
when { ["customers:read", "support", "customers:search"].containsAll(context.requested_scopes) && context.requester == Client::"sts/shop" };
@id("orders") permit (principal in Role::"corp/staff", action == OAuth::Action::"exchange", resource == OAuth::Audience::"router")
when { ["customers:read", "orders:write"].containsAll(context.requested_scopes) };
@id("others") permit (principal is User, action == OAuth::Action::"exchange", resource == OAuth::Audience::"other");
"#;
/// Another API, whose tokens come from the same service.
const OTHER: &str = "https://other.example.com";
const CUSTOMER: &str = "{ customer(id: 2) { name } }";
const CANCEL: &str = "mutation { cancelOrder(id: 10) { id } }";

struct Shop {
    provider: OidcProvider,
    subgraph: Subgraph,
    palisade: Palisade,
    gateway: HiveGateway,
    /// An issuer whose tokens are made here, with whatever claims.
    bound: SigningKeys,
    _files: TempDir,
}

impl Shop {
    async fn start() -> Self {
        Self::start_with(str::to_owned).await
    }

    /// The same with another supergraph.
    async fn start_with(change: impl Fn(&str) -> String) -> Self {
        let scopes = ["customers:read", "customers:admin", "customers:search", "support", "orders:write"];
        let provider = OidcProvider::start_with(&json!({
            "users": {"bob": {}, "alice": {"groups": ["staff"]}},
            "resources": {"*": scopes},
        }))
        .await
        .unwrap();
        let subgraph = Subgraph::start().await.unwrap();
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(files.path().join(name), text).unwrap();
            files.path().join(name).display().to_string()
        };
        file("policy.cedar", POLICY);
        let key = file("sts.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
        let router = json!({
            "audience": ROUTER,
            "scopes": ["customers:read", "customers:search", "support", "orders:write"],
            "implies": {"customers:admin": ["customers:read"]},
        });
        let shop = json!({
            "secret": {"file": file("secret", SECRET)}, "audiences": [SHOP], "exchange": ["router", "other"],
        });
        let bound = SigningKeys::new(vec![SigningKey::generate().unwrap()]).unwrap();
        let keys = json!({"file": file("bound.json", bound.document())});
        let issuer = json!({
            "issuer": provider.issuer(), "network": {"private": true}, "claims": {"roles": ["groups"]},
        });
        let members = json!({
            "policies": {"path": files.path()},
            "issuers": {"corp": issuer, "bound": {"issuer": BOUND, "jwks": keys}},
            "sts": {
                "name": "sts", "keys": [{"file": key}], "issuers": ["corp", "bound"],
                "clients": {"shop": shop},
                "audiences": {"router": router, "other": {"audience": OTHER, "scopes": ["customers:read", "orders:write"]}},
            },
            "resources": {"shop": {"identifier": SHOP, "kind": "http", "issuers": ["corp"], "routes": ["/"]}},
        });
        let members = members.as_object().unwrap().iter();
        let text: String = members.map(|(name, value)| format!("{name}: {value}\n")).collect();
        let palisade = Palisade::start(&text, "").await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        let base = format!("http://127.0.0.1:{}", palisade.public);
        let supergraph = change(&subgraph.supergraph().unwrap());
        let gateway = HiveGateway::start_with_scopes(&supergraph, &base, ROUTER).await.unwrap();
        Self { provider, subgraph, palisade, gateway, bound, _files: files }
    }

    /// What the token service makes of a user's token with these scopes, and its answer where it is none.
    async fn exchanged(&self, user: &str, scopes: &str, asked: Option<&str>) -> Result<Value, Value> {
        let token = self.provider.token(user, SHOP, scopes).await.unwrap();
        self.exchanged_for(ROUTER, &token, asked).await
    }

    /// The same of this token, for this API.
    async fn exchanged_for(&self, api: &str, token: &str, asked: Option<&str>) -> Result<Value, Value> {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let mut body = format!(
            "grant_type={}&subject_token={token}&subject_token_type={}&resource={}",
            encode("urn:ietf:params:oauth:grant-type:token-exchange"),
            encode("urn:ietf:params:oauth:token-type:access_token"),
            encode(api),
        );
        if let Some(asked) = asked {
            body.push_str(&format!("&scope={}", encode(asked)));
        }
        let url = format!("http://127.0.0.1:{}/oauth2/token", self.palisade.public);
        let request = reqwest::Client::new().post(url).basic_auth("shop", Some(SECRET));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        if status == 200 { Ok(body) } else { Err(body) }
    }

    /// What the router answers, and whether that reached the subgraph.
    async fn post(&self, token: Option<&str>, document: &str) -> (Value, bool) {
        let request = reqwest::Client::new().post(self.gateway.url()).json(&json!({ "query": document }));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer: Value = request.send().await.unwrap().json().await.unwrap_or_default();
        (answer, !self.subgraph.reached().await.unwrap().is_empty())
    }

    async fn executes(&self, token: Option<&str>, document: &str) -> bool {
        let (answer, reached) = self.post(token, document).await;
        let granted = answer["errors"].is_null() && answer["data"].is_object();
        assert_eq!(granted, reached, "{document}: {answer}");
        granted
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_a_plugin_enforces_what_the_policies_have_granted() {
    let shop = Shop::start().await;
    let all = "customers:read orders:write";
    for (user, scopes, granted, customer, cancel) in [
        // The policies narrow what the token holds.
        ("bob", all, "customers:read", true, false),
        ("alice", all, "customers:read orders:write", true, true),
        // They widen nothing: a role is no scope.
        ("alice", "customers:read", "customers:read", true, false),
        // What a scope implies is held, too, and what is not the router's stays behind.
        ("bob", "customers:admin", "customers:read", true, false),
        ("bob", "customers:search orders:write", "customers:search", false, false),
        ("bob", "customers:search support orders:write", "customers:search support", true, false),
    ] {
        let answer = shop.exchanged(user, scopes, None).await.unwrap();
        assert_eq!(answer["scope"], granted, "{user} with {scopes}");
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(shop.executes(Some(token), CUSTOMER).await, customer, "{user} with {scopes}");
        assert_eq!(shop.executes(Some(token), CANCEL).await, cancel, "{user} with {scopes}");
        assert!(shop.executes(Some(token), "{ me { name } }").await, "{user} is authenticated");
        // A router that knows no policies lets nobody by what `@policy` stands on.
        assert!(!shop.executes(Some(token), "{ me { card } }").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_token_of_the_token_service_opens_the_router() {
    let shop = Shop::start().await;
    // A user's own token holds the scope, and is for this API: nobody has narrowed it.
    let own = shop.provider.token("bob", ROUTER, "customers:read orders:write").await.unwrap();
    // One of the service's own, with the scopes, for another API.
    let theirs = shop.provider.token("bob", SHOP, "customers:read orders:write").await.unwrap();
    let other = shop.exchanged_for(OTHER, &theirs, None).await.unwrap();
    assert_eq!(other["scope"], "customers:read orders:write");
    for token in [None, Some("none"), Some(own.as_str()), other["access_token"].as_str()] {
        for document in [CUSTOMER, CANCEL, "{ products { name } }"] {
            assert!(!shop.executes(token, document).await, "{document}");
        }
    }
    let good = shop.exchanged_for(ROUTER, &theirs, None).await.unwrap();
    let good = good["access_token"].as_str();
    assert!(shop.executes(good, CUSTOMER).await);
    // What is granted in part is refused whole.
    let partly = "{ products { name } me { card } }";
    assert!(!shop.executes(good, partly).await);
    // Who holds nothing of it gets no token, and nobody gets more by asking for it.
    for (user, scopes, asked, error) in [
        ("bob", "", None, "invalid_scope"),
        ("bob", "orders:write", None, "invalid_target"),
        ("bob", "customers:read", Some("customers:read orders:write"), "invalid_scope"),
        ("alice", "customers:read", Some("orders:write"), "invalid_scope"),
        ("bob", "customers:read orders:write", Some("customers:admin"), "invalid_scope"),
    ] {
        let answer = shop.exchanged(user, scopes, asked).await.unwrap_err();
        assert_eq!(answer["error"], error, "{user} with {scopes}: {answer}");
    }
    let answer =
        shop.exchanged("alice", "customers:admin orders:write", Some("customers:read")).await.unwrap();
    assert_eq!(answer["scope"].as_str().unwrap_or("customers:read"), "customers:read");
    assert!(!shop.executes(answer["access_token"].as_str(), CANCEL).await);
    // What was granted, and by which policy, is on the record.
    let record: DecisionRecord = shop.palisade.decisions().unwrap().pop().unwrap();
    // With what it was granted from: the scope of the token implies it.
    let held: Vec<String> = record.scopes.iter().map(ToString::to_string).collect();
    assert_eq!(held, ["customers:admin", "customers:read", "orders:write"]);
    let exchange = record.exchange.unwrap();
    assert_eq!(exchange.requester.as_deref(), Some("Client::\"sts/shop\""));
    assert_eq!(exchange.scopes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["customers:read"]);
    assert!(exchange.determining_policies.iter().any(|policy| policy.id == "lookups"));
}

/// The token service keeps the binding of a token, and nothing behind the router would ask for the proof.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    let shop = Shop::start().await;
    let now = SystemClock.now().unix_seconds();
    for (confirmation, executed) in [
        (Value::Null, true),
        (json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}), false),
        (json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}), false),
    ] {
        let mut claims = json!({
            "iss": BOUND, "aud": SHOP, "sub": "bob", "client_id": "app", "jti": "1", "iat": now, "exp": now + 600,
            "scope": "customers:read",
        });
        if !confirmation.is_null() {
            claims["cnf"] = confirmation.clone();
        }
        let subject = shop.bound.sign(&claims).unwrap().to_string();
        let issued = shop.exchanged_for(ROUTER, &subject, None).await.unwrap();
        let token = issued["access_token"].as_str();
        for document in [CUSTOMER, "{ me { name } }", "{ products { name } }"] {
            assert_eq!(shop.executes(token, document).await, executed, "{confirmation}: {document}");
        }
    }
}

/// What the sample says that its router does not judge: so that the text stays true.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_on_a_scalar_or_on_an_implementing_type_is_not_judged_by_the_router() {
    let rule = "@requiresScopes(scopes: [[\"of:nobody\"]])";
    let shop = Shop::start_with(|supergraph| {
        let more = format!(
            "scalar Price @join__type(graph: SHOP) {rule}\ninterface Supplied @join__type(graph: SHOP) {{ supplier: String }}\n"
        );
        let product = "type Product implements Supplied @join__implements(graph: SHOP, interface: \"Supplied\") @join__type";
        let changed = supergraph
            .replace("type Product @join__type", product)
            .replace("products: [Product!]!", "products: [Supplied!]!")
            .replace("  price: Int!", "  price: Price!")
            .replace("  supplier: String @tag(name: \"internal\")", &format!("  supplier: String {rule}"));
        format!("{changed}\n{more}")
    })
    .await;
    let issued = shop.exchanged("bob", "customers:read", None).await.unwrap();
    let token = issued["access_token"].as_str();
    assert!(shop.executes(token, "{ products { ... on Product { price } } }").await, "a scalar");
    assert!(shop.executes(token, "{ products { supplier } }").await, "a field of an interface");
    assert!(!shop.executes(token, "{ products { ... on Product { supplier } } }").await, "the field itself");
}
