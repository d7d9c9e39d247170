//! Hive Router's messages, at every stage.

use serde_json::{Value, json};

use super::fixture::*;

const NAMES: &str = "hive::authorization::required_policies";

fn message(stage: &str, token: Option<&str>, rest: Value) -> Value {
    let mut headers = json!({ "content-type": ["application/json"] });
    if let Some(token) = token {
        headers["authorization"] = json!([token]);
    }
    let mut message = json!({ "version": 1, "stage": stage, "id": "h-1", "headers": headers });
    for (name, value) in rest.as_object().unwrap() {
        message[name] = value.clone();
    }
    message
}

fn body(document: &str) -> Value {
    json!({ "query": document, "variables": {} })
}

#[tokio::test]
async fn an_analysis_is_answered_with_the_names_alone() {
    let fixture = fixture();
    let token = with_mfa("storefront", "profile:pii:read");
    let context = json!({ NAMES: { "own_card": null, "audit_cards": null, "four_eyes": null },
        "hive::authentication::jwt_scopes": ["a"], "hive::authentication::jwt_status": true });
    let rest = json!({ "context": context });
    let told = fixture.ask("storefront", &message("graphql.analysis", Some(&token), rest)).await;
    assert_eq!(
        told.body,
        json!({ "version": 1, "control": "continue",
            "context": { NAMES: { "own_card": true, "audit_cards": false, "four_eyes": false } } })
    );
    // Another stage takes no answer.
    let rest = json!({ "context": context, "body": body("{ me { card } }") });
    let told = fixture.ask("storefront", &message("graphql.request", Some(&token), rest)).await;
    assert_eq!(told.body, json!({ "version": 1, "control": "continue" }));
}

/// When it analyses an operation the router has taken the variables out of the body: on their defaults another operation would be
/// decided than is executed.
#[tokio::test]
async fn an_analysis_does_not_bring_the_operation_that_is_executed() {
    let fixture = fixture();
    let token = scoped("storefront", "");
    let document = "query($n: Int = 5) { orders(first: $n) { id } }";
    for (stage, variables, status) in [
        ("graphql.request", json!({}), None),
        ("graphql.request", json!({ "n": 100 }), None),
        ("graphql.request", json!({ "n": 101 }), Some(403)),
    ] {
        let body = json!({ "query": document, "variables": variables });
        let told = fixture.ask("storefront", &message(stage, Some(&token), json!({ "body": body }))).await;
        match status {
            None => assert_eq!(told.body["control"], "continue", "{variables}"),
            Some(status) => assert_eq!(ended(&told), status, "{variables}"),
        }
    }
    let names = json!({ NAMES: { "own_card": null } });
    for rest in [
        json!({ "body": { "query": document, "variables": {} } }),
        json!({ "body": body("{ products { name } }") }),
        json!({ "body": body("{ products { name } }"), "context": names }),
    ] {
        let told = fixture.ask("storefront", &message("graphql.analysis", Some(&token), rest)).await;
        assert_eq!(told.status, 400, "{told:?}");
        assert!(told.body.get("control").is_none(), "{told:?}");
    }
}

#[tokio::test]
async fn operations_are_decided_whole_at_their_request() {
    let fixture = fixture();
    let token = scoped("storefront", "");
    for (token, document, status) in [
        (Some(token.as_str()), "{ products { name } }", None),
        (Some(&token), "{ me { email } }", Some(403)),
        (None, "{ products { name } }", Some(401)),
    ] {
        let asked = message("graphql.request", token, json!({ "body": body(document) }));
        let told = fixture.ask("storefront", &asked).await;
        match status {
            None => assert_eq!(told.body, json!({ "version": 1, "control": "continue" })),
            Some(status) => {
                assert_eq!(ended(&told), status, "{document}");
                let errors = &told.body["body"]["errors"];
                assert!(errors[0]["message"].is_string() && told.body.get("stage").is_none());
                assert!(told.body["headers"]["www-authenticate"][0].is_string(), "{told:?}");
            }
        }
    }
}

/// Its path has no query, and it comes for every request of every path.
#[tokio::test]
async fn nothing_is_decided_at_the_stage_of_the_router_itself() {
    let fixture = fixture();
    let token = scoped("storefront", "");
    let router = |token: Option<&str>, rest: Value| message("router.request", token, rest);
    for rest in [
        json!({ "method": "POST", "path": "/graphql", "body": r#"{"query":"{ products { name } }"}"# }),
        json!({ "method": "GET", "path": "/graphql?query=%7Bproducts%7Bname%7D%7D", "body": "" }),
        json!({ "method": "POST", "path": "/graphql", "body": "{}" }),
        json!({ "method": "OPTIONS", "path": "/graphql" }),
        json!({}),
    ] {
        let told = fixture.ask("storefront", &router(Some(&token), rest.clone())).await;
        assert_eq!(told.status, 400, "{rest}: {told:?}");
    }
    // A token alone is looked at where tokens are, and its claims are nobody's business there.
    let told = fixture.ask("storefront/token", &router(Some(&token), json!({}))).await;
    assert_eq!(told.body, json!({ "version": 1, "control": "continue" }));
    assert_eq!(ended(&fixture.ask("storefront/token", &router(None, json!({}))).await), 401);
}

/// Hive Router can be told to send parts of a body: a document without its variables is another operation.
#[tokio::test]
async fn a_body_that_is_not_whole_is_refused() {
    let fixture = fixture();
    let token = scoped("storefront", "");
    for body in [
        json!({ "query": "query($n: Int = 1) { orders(first: $n) { id } }" }),
        json!({ "variables": {}, "extensions": {} }),
        json!({}),
    ] {
        let told = fixture
            .ask("storefront", &message("graphql.request", Some(&token), json!({ "body": body })))
            .await;
        assert_eq!(told.status, 400, "{told:?}");
    }
}

#[tokio::test]
async fn responses_pass() {
    let fixture = fixture();
    for stage in ["graphql.response", "router.response"] {
        let asked = message(stage, None, json!({ "context": { "a": 1 }, "body": "{}", "status_code": 200 }));
        let told = fixture.ask("storefront", &asked).await;
        assert_eq!(told.body, json!({ "version": 1, "control": "continue" }));
    }
}
