//! A token without an operation: where it is asked about, and where it is not enough.

use serde_json::{Value, json};

use super::{
    apollo::{CLAIMS, CLAIMS_V1, V2, entries, message, whole},
    fixture::*,
};

#[tokio::test]
async fn a_token_alone_is_verified_at_its_own_path_and_on_the_record() {
    let fixture = fixture();
    let router = |token: Option<&str>| {
        message("RouterRequest", token, json!({ "method": "POST", "context": entries(json!({})) }))
    };
    let good = scoped("storefront", "customers:admin");
    let told = fixture.ask("storefront/token", &router(Some(&good))).await;
    assert_eq!(told.body["control"], "continue");
    let written = told.body["context"]["entries"].as_object().unwrap();
    // An empty context does not tell of which version it is.
    assert_eq!(written.len(), 2, "{written:?}");
    for name in [CLAIMS, CLAIMS_V1] {
        assert_eq!(written[name]["scope"], "customers:admin customers:read");
    }
    let id = told.headers["x-palisade-decision-id"].to_str().unwrap().to_owned();
    let expired = bearer("storefront", json!({ "exp": NOW - 600 }));
    let elsewhere = scoped("open", "");
    let away = bearer("storefront", json!({ "iss": "https://away.example.com" }));
    for (token, status, reason) in [
        (None, 401, "no_credentials"),
        (Some("Basic eA=="), 401, "token_malformed"),
        (Some(expired.as_str()), 401, "token_expired"),
        (Some(&elsewhere), 401, "token_audience_mismatch"),
        (Some(&away), 503, "issuer_keys_unavailable"),
    ] {
        let told = fixture.ask("storefront/token", &router(token)).await;
        assert_eq!(ended(&told), status, "{reason}");
        let text = told.body["body"].as_str().expect("text at a router's stage");
        let errors: Value = serde_json::from_str(text).unwrap();
        assert!(errors["errors"][0]["message"].is_string());
        assert_eq!(told.body["headers"].get("www-authenticate").is_some(), status == 401);
        assert_eq!(told.body["headers"].get("retry-after").is_some(), status == 503);
        let id = told.headers["x-palisade-decision-id"].to_str().unwrap().to_owned();
        assert_eq!(errors["errors"][0]["extensions"]["decision_id"], id);
    }
    let records = fixture.recorded(6).await;
    assert_eq!(records.len(), 6, "one each: {records:?}");
    let record = records.iter().find(|record| record.id.to_string() == id).unwrap();
    assert_eq!(
        (record.reason.as_str(), record.principal.as_deref(), &record.action, &record.target),
        ("permitted", Some("User::\"corp/alice\""), &None, &None)
    );
    assert_eq!(record.surface.map(|surface| surface.as_str()), Some("coprocessor"));
}

/// Where a router asks who somebody is it learns nothing else, and is told nothing of an operation.
#[tokio::test]
async fn nothing_but_a_token_is_asked_about_at_its_path() {
    let fixture = fixture();
    let token = scoped("storefront", "");
    let text = r#"{"query":"{ products { name } }"}"#;
    let names = json!({ V2: { "own_card": true } });
    for asked in [
        message("RouterRequest", Some(&token), json!({ "method": "POST", "path": "/", "body": text })),
        message("RouterRequest", Some(&token), json!({ "method": "GET", "path": "/", "body": "" })),
        whole(Some(&token), "{ products { name } }"),
        message("SupergraphRequest", Some(&token), json!({})),
        message("ExecutionRequest", Some(&token), json!({})),
        message("SubgraphRequest", Some(&token), json!({})),
        json!({ "version": 1, "stage": "RouterResponse", "id": "r" }),
        json!({ "policies": ["own_card"] }),
    ] {
        let told = fixture.ask("storefront/token", &asked).await;
        assert_eq!(told.status, 400, "{asked}: {told:?}");
        assert!(told.body.get("control").is_none() && told.body.get("granted").is_none(), "{told:?}");
    }
    // A name that is asked about is not answered.
    let asked = message("RouterRequest", Some(&token), json!({ "context": entries(names) }));
    let told = fixture.ask("storefront/token", &asked).await;
    let written = told.body["context"]["entries"].as_object().unwrap();
    assert_eq!(written.keys().collect::<Vec<_>>(), [CLAIMS], "{told:?}");
}

/// Apollo Router leaves the body out where it is no text, and executes what is in the query of the URL.
#[tokio::test]
async fn a_router_stage_without_a_body_is_never_nothing_to_decide() {
    let fixture = fixture();
    for (resource, token) in [("storefront", Some(scoped("storefront", ""))), ("open", None)] {
        for rest in [
            json!({ "method": "GET", "path": "/graphql?query=%7Bme%7Bemail%7D%7D" }),
            json!({ "method": "GET", "path": "/graphql?query=%7Bproducts%7Bname%7D%7D" }),
            json!({ "method": "POST", "path": "/graphql" }),
            json!({ "method": "POST", "context": entries(json!({ V2: { "own_card": null } })) }),
            json!({}),
        ] {
            let told = fixture.ask(resource, &message("RouterRequest", token.as_deref(), rest.clone())).await;
            assert_eq!(told.status, 400, "{rest}: {told:?}");
            assert!(told.body.get("control").is_none(), "{told:?}");
        }
    }
    let records = fixture.recorded(1).await;
    assert!(records.iter().all(|record| record.reason.as_str() == "request_body_missing"), "{records:?}");
}

/// From an address at which authentication failed too often nobody is let by, with a token or without one.
#[tokio::test]
async fn who_is_blocked_is_not_identified() {
    let fixture = fixture();
    let asked = |token: Option<&str>| {
        let mut asked = message("SupergraphRequest", token, json!({}));
        asked["headers"]["x-forwarded-for"] = json!(["192.0.2.9"]);
        asked
    };
    assert_eq!(fixture.ask("open", &asked(None)).await.body["control"], "continue");
    for _ in 0..FAILURES {
        assert_eq!(ended(&fixture.ask("open", &asked(Some("Bearer none"))).await), 401);
    }
    let good = scoped("open", "");
    for token in [None, Some(good.as_str())] {
        let told = fixture.ask("open", &asked(token)).await;
        assert_eq!(ended(&told), 429, "{told:?}");
        assert!(told.body["headers"]["retry-after"][0].is_string(), "{told:?}");
    }
}

/// Nobody asks anything there, and fills the log all the same.
#[tokio::test]
async fn who_says_who_it_is_too_often_is_told_to_wait() {
    let fixture = fixture();
    let good = scoped("open", "");
    for token in [None, Some(good.as_str())] {
        let asked = message("SupergraphRequest", token, json!({}));
        for _ in 0..READS {
            assert_eq!(fixture.ask("open", &asked).await.body["control"], "continue");
        }
        let told = fixture.ask("open", &asked).await;
        assert_eq!(ended(&told), 429, "{told:?}");
        assert!(told.body["headers"]["retry-after"][0].is_string(), "{told:?}");
    }
}
