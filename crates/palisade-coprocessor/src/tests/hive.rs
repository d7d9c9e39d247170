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
    for rest in [
        json!({ "context": context }),
        json!({ "context": context, "body": body("{ me { card } }") }),
        json!({ "context": context, "body": { "query": "{ me { card } }", "operationName": null, "variables": {}, "extensions": {} } }),
    ] {
        let told = fixture.ask("storefront", &message("graphql.analysis", Some(&token), rest)).await;
        assert_eq!(
            told.body,
            json!({ "version": 1, "control": "continue",
                "context": { NAMES: { "own_card": true, "audit_cards": false, "four_eyes": false } } })
        );
    }
    // Another stage takes no answer.
    let rest = json!({ "context": context, "body": body("{ me { card } }") });
    let told = fixture.ask("storefront", &message("graphql.request", Some(&token), rest)).await;
    assert_eq!(told.body, json!({ "version": 1, "control": "continue" }));
}

#[tokio::test]
async fn operations_are_decided_whole_at_every_request_stage() {
    let fixture = fixture();
    let token = scoped("storefront", "");
    for stage in ["graphql.request", "graphql.analysis"] {
        for (token, document, status) in [
            (Some(token.as_str()), "{ products { name } }", None),
            (Some(&token), "{ me { email } }", Some(403)),
            (None, "{ products { name } }", Some(401)),
        ] {
            let told =
                fixture.ask("storefront", &message(stage, token, json!({ "body": body(document) }))).await;
            match status {
                None => assert_eq!(told.body, json!({ "version": 1, "control": "continue" })),
                Some(status) => {
                    assert_eq!(ended(&told), status, "{stage} {document}");
                    assert!(
                        told.body["body"]["errors"][0]["message"].is_string()
                            && told.body.get("stage").is_none()
                    );
                    assert!(told.body["headers"]["www-authenticate"][0].is_string(), "{told:?}");
                }
            }
        }
    }
    let router = |rest: Value| message("router.request", Some(&token), rest);
    let text = r#"{"query":"{ products { name } }"}"#;
    let told = fixture.ask("storefront", &router(json!({ "method": "POST", "body": text }))).await;
    assert_eq!(told.body, json!({ "version": 1, "control": "continue" }));
    // Its path has no query: the operation of a GET cannot be seen there.
    let get = json!({ "method": "GET", "path": "/graphql", "body": "" });
    assert_eq!(ended(&fixture.ask("storefront", &router(get)).await), 400);
    let told = fixture
        .ask("storefront", &router(json!({ "method": "POST", "body": r#"{"query":"{ me { email } }"}"# })))
        .await;
    assert!(ended(&told) == 403 && told.body["body"].is_string(), "{told:?}");
    // A token alone is looked at, and its claims are nobody's business there.
    let told = fixture.ask("storefront", &router(json!({}))).await;
    assert_eq!(told.body, json!({ "version": 1, "control": "continue" }));
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
            .ask("storefront", &message("graphql.analysis", Some(&token), json!({ "body": body })))
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
