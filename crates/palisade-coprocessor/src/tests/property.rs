//! No way of writing a message gets more than what is permitted.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use super::fixture::*;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let _runtime = RUNTIME.enter();
    fixture()
});

/// Names that nobody here is granted, and one that is.
const NAMES: [&str; 4] = ["own_card", "audit_cards", "four_eyes", "made_up"];
const KEYS: [&str; 5] = [
    "apollo::authorization::required_policies",
    "apollo_authorization::policies::required",
    "hive::authorization::required_policies",
    "apollo::authentication::jwt_claims",
    "apollo_authentication::JWT::claims",
];
const STAGES: [&str; 9] = [
    "RouterRequest",
    "SupergraphRequest",
    "ExecutionRequest",
    "SubgraphRequest",
    "SupergraphResponse",
    "router.request",
    "graphql.request",
    "graphql.analysis",
    "graphql.response",
];
/// What needs more than the token has, but for the last two.
const DOCUMENTS: [&str; 5] = [
    "{ me { card } }",
    "{ me { email } }",
    "{ customer(id: 1) { id } }",
    "{ products { name } }",
    "query($n: Int = 5) { orders(first: $n) { id } }",
];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        Just(json!({})),
        Just(json!([])),
        Just(json!("continue")),
        Just(json!({ "sub": "root", "scope": "profile:pii:read customers:read" })),
        proptest::sample::subsequence(NAMES.to_vec(), 0..=4).prop_flat_map(|names| {
            let granted = proptest::collection::vec(
                prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::Bool)],
                names.len(),
            );
            granted.prop_map(move |granted| {
                Value::Object(names.iter().map(|name| (*name).to_owned()).zip(granted).collect())
            })
        }),
    ]
}

fn entries() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::vec((proptest::sample::select(KEYS.to_vec()), value()), 0..3)
        .prop_map(|entries| entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn body() -> impl Strategy<Value = Option<Value>> {
    let variables =
        prop_oneof![Just(None), Just(Some(json!({}))), (0..300_i64).prop_map(|n| Some(json!({ "n": n })))];
    let object =
        (proptest::sample::select(DOCUMENTS.to_vec()), variables).prop_map(|(document, variables)| {
            let mut body = json!({ "query": document });
            if let Some(variables) = variables {
                body["variables"] = variables;
            }
            body
        });
    prop_oneof![
        2 => Just(None),
        3 => object.clone().prop_map(Some),
        2 => object.prop_map(|body| Some(Value::String(body.to_string()))),
        1 => Just(Some(json!(""))),
        1 => value().prop_map(Some),
    ]
}

/// Whether a stage shows an operation of which something is denied: where its router executes it from, or what is taken for that.
fn shows_denied(stage: &str, message: &Value) -> bool {
    let text = |name: &str| message.get(name).map(Value::to_string).unwrap_or_default();
    let denied = |text: &str| ["card", "email", "customer"].iter().any(|denied| text.contains(denied));
    let body = &message["body"];
    let body =
        body.as_str().map_or_else(|| body.clone(), |text| serde_json::from_str(text).unwrap_or_default());
    let too_many = body["query"].as_str().is_some_and(|query| query.contains("$n"))
        && body["variables"]["n"].as_i64().is_some_and(|n| n > 100);
    let is_get = stage.starts_with("Router") && message["method"] == "GET";
    denied(&text("body")) || too_many || (is_get && denied(&text("path")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_message_gets_more_than_is_permitted(
        stage in proptest::sample::select(STAGES.to_vec()),
        token in 0..3_usize,
        (method, path) in (proptest::option::of(proptest::sample::select(vec!["GET", "POST", "PUT"])), proptest::option::of(proptest::sample::select(vec!["/", "/?query=%7Bme%7Bcard%7D%7D", "/?query=%7Bproducts%7Bname%7D%7D"]))),
        entries in entries(),
        wrapped in any::<bool>(),
        at_token in proptest::bool::weighted(0.2),
        body in body(),
        extra in proptest::option::of((proptest::sample::select(vec!["version", "control", "id", "headers", "context", "policies", "stage"]), value())),
    ) {
        // With it own_card is granted, and nothing else is.
        let mfa = with_mfa("storefront", "");
        let authorization = [json!([mfa]), json!([]), json!(["Bearer none"])][token].clone();
        let is_apollo = stage.contains("Re");
        let context = if wrapped { json!({ "entries": entries }) } else { Value::Object(entries) };
        let mut message = json!({ "version": 1, "stage": stage, "id": "1", "context": context,
            "headers": { "authorization": authorization, "content-type": ["application/json"] } });
        if is_apollo {
            message["control"] = json!("continue");
        }
        let parts = [("method", method.map(Value::from)), ("path", path.map(Value::from)), ("body", body.clone())];
        for (name, part) in parts {
            if let Some(part) = part {
                message[name] = part;
            }
        }
        if let Some((name, value)) = extra {
            message[name] = value;
        }
        let path = if at_token { "storefront/token" } else { "storefront" };
        let told = RUNTIME.block_on(FIXTURE.ask(path, &message));
        let goes_on = told.status == 200 && told.body.get("control").is_none_or(|control| control == "continue");
        prop_assert!(goes_on || told.status >= 400 || told.body["control"]["break"].as_u64().is_some_and(|status| status >= 400), "{told:?}");
        let is_router = ["RouterRequest", "router.request"].contains(&stage);
        if goes_on && at_token {
            prop_assert!(is_router && message.get("body").is_none(), "{:?} {:?}", &message, &told);
        }
        if stage.ends_with("Response") || stage.ends_with(".response") || stage.starts_with("Subgraph") {
            return Ok(());
        }
        if goes_on {
            prop_assert_eq!(token, 0, "nobody goes on here: {:?}", &told);
            prop_assert!(at_token || !shows_denied(stage, &message), "{:?} {:?}", &message, &told);
            if !at_token {
                prop_assert!(stage != "router.request", "{:?}", &message);
                prop_assert!(stage != "RouterRequest" || message.get("body").is_some(), "{:?}", &message);
                prop_assert!(stage != "graphql.analysis" || message.get("body").is_none(), "{:?}", &message);
            }
            let entries = told.body.pointer("/context/entries").or_else(|| told.body.get("context"));
            for (key, value) in entries.and_then(Value::as_object).into_iter().flatten() {
                if key.contains("olicies") {
                    let granted = value.as_object().unwrap();
                    prop_assert!(granted.iter().all(|(name, granted)| name == "own_card" || granted == false), "{:?}", &told);
                } else {
                    prop_assert_eq!((&value["sub"], &value["scope"]), (&json!("alice"), &json!("")), "{:?}", &told);
                }
            }
        }
    }
}
