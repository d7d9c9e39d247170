//! What is no message, and who may not send one.

use serde_json::{Value, json};

use super::fixture::*;

fn good() -> Value {
    json!({ "version": 1, "stage": "SupergraphRequest", "control": "continue", "id": "1",
        "headers": { "authorization": [scoped("storefront", "")] }, "body": { "query": "{ products { name } }" },
        "context": { "entries": {} } })
}

/// The message with a member changed, or taken away.
fn with(pointer: &str, value: Option<Value>) -> String {
    let mut message = good();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = message.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert(name.to_owned(), value)),
        None => drop(parent.remove(name)),
    }
    message.to_string()
}

#[tokio::test]
async fn what_cannot_be_read_in_one_way_is_an_error_and_on_the_record() {
    let fixture = fixture();
    let policies = "/context/entries/apollo::authorization::required_policies";
    let cases = [
        "".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
        format!("{} {{}}", good()),
        good().to_string().replacen("\"version\":1", "\"version\":1,\"version\":1", 1),
        with("/version", Some(json!(2))),
        with("/version", Some(json!("1"))),
        with("/version", None),
        with("/stage", Some(json!("supergraphrequest"))),
        with("/stage", Some(json!("graphql.subscription"))),
        with("/stage", None),
        with("/id", None),
        with("/id", Some(json!(""))),
        with("/id", Some(json!(7))),
        with("/control", Some(json!({ "break": 200 }))),
        with("/control", Some(json!("stop"))),
        with("/control", Some(Value::Null)),
        with("/headers", None),
        with("/headers", Some(json!([]))),
        with("/headers/authorization", Some(json!("Bearer x"))),
        with("/headers/authorization", Some(json!([1]))),
        with("/body", Some(json!("{\"query\":\"{ products { name } }\"}"))),
        with("/body", Some(Value::Null)),
        with("/body", Some(json!([]))),
        with("/context", Some(json!({}))),
        with("/context", Some(json!({ "entries": [] }))),
        with("/context", Some(json!({ "entries": {}, "apollo::authentication::jwt_claims": {} }))),
        with("/context", Some(Value::Null)),
        with(policies, Some(json!(["own_card"]))),
        with(policies, Some(json!({ "own_card": "true" }))),
        with(
            "/context/entries",
            Some(json!({ "apollo::authorization::required_policies": { "a": null },
            "apollo_authorization::policies::required": { "a": null } })),
        ),
        // Of another router.
        with("/stage", Some(json!("graphql.analysis"))),
    ];
    for case in &cases {
        let told = fixture.ask_as(Some("router"), "storefront", case.as_bytes(), &[]).await;
        assert_eq!(told.status, 400, "{case}: {told:?}");
        assert!(told.body.get("control").is_none(), "{case}: {told:?}");
        assert!(told.headers.contains_key("x-palisade-decision-id"), "{case}");
    }
    let json = good().to_string();
    for headers in [[("content-type", "text/plain")], [("content-encoding", "gzip")]] {
        assert_eq!(fixture.ask_as(Some("router"), "storefront", json.as_bytes(), &headers).await.status, 400);
    }
    let large = vec![b' '; 2 * 64 * 1024 + 256 * 1024 + 1];
    assert_eq!(fixture.ask_as(Some("router"), "storefront", &large, &[]).await.status, 400);
    let records = fixture.recorded(1).await;
    assert!(records.iter().all(|record| record.reason.as_str().starts_with("request_")), "{records:?}");
    // What it is all about.
    let told = fixture.ask("storefront", &good()).await;
    assert_eq!(told.body["control"], "continue", "{told:?}");
}

#[tokio::test]
async fn who_may_not_ask_is_no_client_of_anybody() {
    let fixture = fixture();
    for (caller, resource, headers, status, reason) in [
        (Some("narrow"), "storefront", &[][..], 403, "pep_not_allowed"),
        (Some("proxy"), "storefront", &[], 403, "pep_not_allowed"),
        (None, "storefront", &[], 401, "pep_unauthenticated"),
        // A page in a browser.
        (Some("router"), "storefront", &[("origin", "https://app.example.com")], 401, "pep_unauthenticated"),
        (Some("router"), "nothing", &[], 404, "resource_unknown"),
        (Some("router"), "files", &[], 403, "target_unknown"),
    ] {
        for message in
            [good().to_string(), with("/body", None), json!({ "policies": ["own_card"] }).to_string()]
        {
            let told = fixture.ask_as(caller, resource, message.as_bytes(), headers).await;
            assert_eq!(told.status, status, "{reason}: {told:?}");
            assert!(told.body.get("control").is_none() && told.body.get("granted").is_none(), "{told:?}");
        }
        fixture.recorded_until(|found| found.iter().any(|one| one.reason.as_str() == reason)).await;
    }
    // The unnamed caller on loopback may ask for decisions on tokens.
    let told = fixture.ask_as(Some("local"), "storefront", good().to_string().as_bytes(), &[]).await;
    assert_eq!(told.body["control"], "continue");
}

/// A router tells the client's headers; two credentials are never weighed against each other.
#[tokio::test]
async fn the_client_is_who_its_own_headers_say() {
    let fixture = fixture();
    let token = scoped("storefront", "");
    let mut twice = good();
    twice["headers"]["authorization"] = json!([token, token]);
    assert_eq!(ended(&fixture.ask("storefront", &twice).await), 400);
    let mut spelt = good();
    spelt["headers"]["Authorization"] = json!(["Bearer x"]);
    assert_eq!(ended(&fixture.ask("storefront", &spelt).await), 400);
    // What the router's own request has is none of the client's.
    let mut none = good();
    none["headers"] = json!({});
    let headers = [("authorization", token.as_str())];
    let told = fixture.ask_as(Some("router"), "storefront", none.to_string().as_bytes(), &headers).await;
    assert_eq!(ended(&told), 401);
    // The address stands where the caller is believed to have it.
    let mut behind = good();
    behind["headers"]["x-forwarded-for"] = json!(["192.0.2.7"]);
    assert_eq!(fixture.ask("storefront", &behind).await.body["control"], "continue");
    let records = fixture.recorded(3).await;
    assert!(records.iter().any(|record| record.client_ip.as_deref() == Some("192.0.2.7")), "{records:?}");
}
