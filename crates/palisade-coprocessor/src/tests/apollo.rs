//! Apollo Router's messages, at every stage and in both generations of its context's names.

use serde_json::{Value, json};

use super::fixture::*;

const CARD: &str = "query Card { me { id plastic: card } }";
pub(super) const V2: &str = "apollo::authorization::required_policies";
const V1: &str = "apollo_authorization::policies::required";
pub(super) const CLAIMS: &str = "apollo::authentication::jwt_claims";
pub(super) const CLAIMS_V1: &str = "apollo_authentication::JWT::claims";

pub(super) fn message(stage: &str, token: Option<&str>, rest: Value) -> Value {
    let mut headers = json!({ "content-type": ["application/json"], "host": ["evil.example.com"],
        "origin": ["https://app.example.com"] });
    if let Some(token) = token {
        headers["authorization"] = json!([token]);
    }
    let mut message =
        json!({ "version": 1, "stage": stage, "control": "continue", "id": "9b1a", "headers": headers });
    for (name, value) in rest.as_object().unwrap() {
        message[name] = value.clone();
    }
    message
}

pub(super) fn entries(entries: Value) -> Value {
    json!({ "entries": entries })
}

/// A supergraph request with its operation.
pub(super) fn whole(token: Option<&str>, document: &str) -> Value {
    message("SupergraphRequest", token, json!({ "body": { "query": document } }))
}

/// A supergraph request with names and no operation.
fn names(token: Option<&str>, key: &str, names: Value) -> Value {
    message("SupergraphRequest", token, json!({ "context": entries(json!({ key: names })) }))
}

#[tokio::test]
async fn an_operation_that_is_granted_whole_goes_on_with_claims_and_the_names_own_verdicts() {
    for (key, claims) in [(V2, CLAIMS), (V1, CLAIMS_V1)] {
        let fixture = fixture();
        let token = with_mfa("storefront", "profile:pii:read customers:admin");
        let mut asked = whole(Some(&token), CARD);
        asked["context"] =
            entries(json!({ key: { "own_card": null, "audit_cards": true, "four_eyes": null } }));
        let told = fixture.ask("storefront", &asked).await;
        assert_eq!(told.status, 200);
        assert_eq!(
            told.body,
            json!({
                "version": 1, "stage": "SupergraphRequest", "id": "9b1a", "control": "continue",
                "context": { "entries": {
                    // One of several is enough, and the others are not granted by that.
                    key: { "own_card": true, "audit_cards": false, "four_eyes": false },
                    claims: { "iss": "https://login.example.com", "sub": "alice", "client_id": "app", "exp": NOW + 600,
                        "scope": "customers:admin customers:read profile:pii:read" },
                } },
            })
        );
        let records = fixture.recorded(1).await;
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].reason.as_str(), "permitted");
        assert_eq!(records[0].surface.map(|surface| surface.as_str()), Some("coprocessor"));
        assert_eq!(records[0].request_id.as_deref(), Some("9b1a"));
        assert_eq!(told.headers["x-palisade-decision-id"], records[0].id.to_string());
    }
}

#[tokio::test]
async fn an_operation_of_which_anything_is_denied_ends_with_challenge_and_coordinates() {
    let fixture = fixture();
    let token = scoped("storefront", "");
    let told = fixture.ask("storefront", &whole(Some(&token), "{ me { x: email } }")).await;
    assert_eq!(ended(&told), 403);
    assert_eq!(
        (&told.body["version"], &told.body["stage"], &told.body["id"]),
        (&json!(1), &json!("SupergraphRequest"), &json!("9b1a"))
    );
    let challenge = told.body["headers"]["www-authenticate"][0].as_str().unwrap();
    assert!(
        challenge.contains("insufficient_scope") && challenge.contains("profile:pii:read"),
        "{challenge}"
    );
    assert_eq!(told.body["body"]["errors"][0]["extensions"]["code"], "FORBIDDEN");
    // The origin in the message is the client's.
    assert!(told.body["headers"].get("access-control-allow-origin").is_none());
    assert!(told.body.get("context").is_none(), "{told:?}");
    let records = fixture.recorded(1).await;
    assert_eq!(records[0].target.as_deref(), Some("Graphql::Field::\"storefront/Customer.email\""));
    assert_eq!(records.len(), 1);
}

/// Whatever the router could take out of an operation itself, an operation that came whole is denied whole.
#[tokio::test]
async fn nothing_of_an_operation_is_left_for_the_router_to_take_out() {
    let fixture = fixture();
    let plain = scoped("storefront", "");
    let pii = scoped("storefront", "profile:pii:read");
    for (token, document, status) in [
        (None, "{ products { name } }", 401),
        (Some("Bearer none"), "{ products { name } }", 401),
        (Some(plain.as_str()), "{ customer(id: 1) { name } }", 403),
        (Some(&plain), "{ orders(first: 101) { id } }", 403),
        (Some(&plain), "{ __schema { queryType { name } } }", 403),
        (Some(&plain), "{ me { email @skip(if: true) id } }", 403),
        (Some(&pii), CARD, 403),
        (Some(&plain), "query A { products { name } } query B { me { id } }", 400),
        (Some(&plain), "{ nothing }", 403),
        (Some(&plain), "{", 400),
    ] {
        let mut asked = whole(token, document);
        asked["context"] = entries(json!({ "apollo::supergraph::operation_kind": "query" }));
        if document == CARD {
            // The router knows of a name of it, and that it was granted before.
            asked["context"]["entries"][V2] = json!({ "own_card": true });
        }
        let told = fixture.ask("storefront", &asked).await;
        assert_eq!(ended(&told), status, "{document}: {told:?}");
        assert_eq!(
            told.body["headers"].get("www-authenticate").is_some(),
            status == 401 || ["customer", "email"].iter().any(|scoped| document.contains(scoped)),
            "{told:?}"
        );
    }
    let mut named = whole(Some(&plain), "{ products { name } }");
    named["body"]["operationName"] = json!("B");
    assert_eq!(ended(&fixture.ask("storefront", &named).await), 400);
}

#[tokio::test]
async fn a_name_that_the_schema_does_not_have_there_is_a_denial_of_the_whole() {
    let fixture = fixture();
    let token = with_mfa("storefront", "profile:pii:read");
    // Of the schema, and not of this operation; of no schema.
    for name in ["own_card", "made_up"] {
        let mut asked = whole(Some(&token), "{ products { name } }");
        asked["context"] = entries(json!({ V2: { name: null } }));
        let told = fixture.ask("storefront", &asked).await;
        assert_eq!(ended(&told), 403, "{name}");
    }
    let told = fixture
        .ask("storefront", &names(Some(&token), V2, json!({ "own_card": null, "made_up": null })))
        .await;
    assert_eq!(ended(&told), 403);
    assert!(fixture.recorded(3).await.iter().all(|record| record.reason.as_str() == "target_unknown"));
}

#[tokio::test]
async fn names_alone_are_decided_one_by_one_with_one_record() {
    for key in [V2, V1] {
        let fixture = fixture();
        let token = with_mfa("storefront", "");
        let asked = json!({ "own_card": null, "audit_cards": null, "four_eyes": true });
        let told = fixture.ask("storefront", &names(Some(&token), key, asked)).await;
        assert_eq!(told.body["control"], "continue", "{told:?}");
        let entries = &told.body["context"]["entries"];
        assert_eq!(entries[key], json!({ "own_card": true, "audit_cards": false, "four_eyes": false }));
        let claims = if key == V2 { CLAIMS } else { CLAIMS_V1 };
        assert_eq!(entries[claims]["sub"], "alice", "{entries}");
        let records = fixture.recorded(1).await;
        assert_eq!((records.len(), records[0].items.len()), (1, 3));
        // Without a token nobody has any.
        let told = fixture.ask("storefront", &names(None, key, json!({ "own_card": null }))).await;
        assert_eq!(ended(&told), 401);
    }
}

#[tokio::test]
async fn the_router_stage_decides_the_request_as_the_client_sent_it() {
    let fixture = fixture();
    let token = scoped("storefront", "");
    let post = |body: &str| json!({ "method": "POST", "path": "/graphql", "body": body });
    let get = |path: &str| json!({ "method": "GET", "path": path, "body": "" });
    let products = "query=%7Bproducts%7Bname%7D%7D";
    for (rest, status) in [
        (post(r#"{"query":"{ products { name } }"}"#), None),
        (post(r#"[{"query":"{ products { name } }"},{"query":"{ orders { id } }"}]"#), None),
        (post(r#"[{"query":"{ products { name } }"},{"query":"{ me { email } }"}]"#), Some(403)),
        (post(r#"{"query":"{ products { name } }","query":"{ me { email } }"}"#), Some(400)),
        (post(""), Some(400)),
        (post("query"), Some(400)),
        (get(&format!("/graphql?{products}")), None),
        (get(&format!("http://evil.example.com/x?{products}")), None),
        (get("/graphql?query=%7Bme%7Bemail%7D%7D"), Some(403)),
        (get("/graphql?query=mutation%7BcancelOrder(id%3A1)%7Bid%7D%7D"), Some(403)),
        (get("/graphql"), Some(400)),
        // What is in the body of a GET a router does not read.
        (
            json!({ "method": "GET", "path": "/?query=%7Bme%7Bemail%7D%7D", "body": r#"{"query":"{ products { name } }"}"# }),
            Some(400),
        ),
        (
            json!({ "method": "POST", "path": format!("/?{products}"), "body": r#"{"query":"{ orders { id } }"}"# }),
            Some(400),
        ),
        (json!({ "method": "PUT", "path": "/", "body": r#"{"query":"{ products { name } }"}"# }), Some(403)),
        (get(&format!("/graphql?{products}&access_token=x")), Some(400)),
    ] {
        let told = fixture.ask("storefront", &message("RouterRequest", Some(&token), rest.clone())).await;
        match status {
            None => assert_eq!(told.body["control"], "continue", "{rest}: {told:?}"),
            Some(status) => assert_eq!(ended(&told), status, "{rest}: {told:?}"),
        }
    }
    // A message that does not show where the operation is.
    for rest in
        [json!({ "body": r#"{"query":"{ products { name } }"}"# }), json!({ "method": "GET", "body": "" })]
    {
        let told = fixture.ask("storefront", &message("RouterRequest", Some(&token), rest)).await;
        assert_eq!(told.status, 400);
    }
    let mut upgrade = message("RouterRequest", Some(&token), get(&format!("/?{products}")));
    upgrade["headers"]["upgrade"] = json!(["websocket"]);
    assert_eq!(ended(&fixture.ask("storefront", &upgrade).await), 403);
    let mut encoded = message("RouterRequest", Some(&token), post(r#"{"query":"{ products { name } }"}"#));
    encoded["headers"]["content-encoding"] = json!(["gzip"]);
    assert_eq!(ended(&fixture.ask("storefront", &encoded).await), 400);
    let large = format!("{{\"query\":\"{{ products {{ name }} }} # {}\"}}", "x".repeat(64 * 1024));
    assert_eq!(
        ended(&fixture.ask("storefront", &message("RouterRequest", Some(&token), post(&large))).await),
        400
    );
}

#[tokio::test]
async fn claims_that_nobody_proves_never_go_on() {
    let fixture = fixture();
    let claims = json!({ "sub": "root", "scope": "profile:pii:read" });
    let mine = scoped("open", "");
    for name in [CLAIMS, CLAIMS_V1] {
        for value in [claims.clone(), Value::Null] {
            for (path, stage, rest) in [
                ("open/token", "RouterRequest", json!({ "method": "POST" })),
                (
                    "open",
                    "RouterRequest",
                    json!({ "method": "POST", "body": r#"{"query":"{ products { name } }"}"# }),
                ),
                ("open", "SupergraphRequest", json!({})),
                ("open", "SupergraphRequest", json!({ "body": { "query": "{ products { name } }" } })),
                ("open", "ExecutionRequest", json!({ "body": { "query": "{ products { name } }" } })),
            ] {
                let mut asked = message(stage, None, rest.clone());
                // Nobody may ask there, and nothing is wrong with that without the claims.
                assert_eq!(fixture.ask(path, &asked).await.body["control"], "continue", "{stage} {rest}");
                asked["context"] = entries(json!({ name: value }));
                assert_eq!(ended(&fixture.ask(path, &asked).await), 401, "{stage} {rest}");
                // With a token they are its own.
                asked["headers"]["authorization"] = json!([mine]);
                let told = fixture.ask(path, &asked).await;
                assert_eq!(told.body["control"], "continue");
                if stage != "ExecutionRequest" {
                    let written = &told.body["context"]["entries"][name];
                    assert_eq!(
                        (&written["sub"], &written["scope"]),
                        (&json!("alice"), &json!("")),
                        "{told:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn nobody_gets_no_claims_and_the_answers_that_nobody_gets() {
    let fixture = fixture();
    let told = fixture.ask("open", &whole(None, "{ products { name } }")).await;
    assert_eq!(
        told.body,
        json!({ "version": 1, "stage": "SupergraphRequest", "id": "9b1a", "control": "continue" })
    );
    // What the schema asks of somebody who is authenticated nobody gets.
    assert_eq!(ended(&fixture.ask("open", &whole(None, "{ me { id } }")).await), 401);
    assert_eq!(ended(&fixture.ask("open", &names(None, V2, json!({ "own_card": null }))).await), 401);
}

#[tokio::test]
async fn what_was_granted_and_is_not_any_more_ends_an_execution() {
    let fixture = fixture();
    let token = with_mfa("storefront", "");
    let asked = |granted: Value| {
        message("ExecutionRequest", Some(&token), json!({ "context": entries(json!({ V2: granted })) }))
    };
    let told = fixture.ask("storefront", &asked(json!({ "own_card": true, "audit_cards": false }))).await;
    assert_eq!(told.body["control"], "continue", "{told:?}");
    assert!(told.body["context"]["entries"].get(CLAIMS).is_none(), "{told:?}");
    let told = fixture.ask("storefront", &asked(json!({ "own_card": true, "audit_cards": true }))).await;
    assert_eq!(ended(&told), 403);
}

#[tokio::test]
async fn under_observation_what_is_denied_goes_on_and_is_recorded() {
    let fixture = fixture();
    let token = scoped("trial", "");
    let mut asked = whole(Some(&token), CARD);
    asked["context"] = entries(json!({ V2: { "own_card": null, "audit_cards": null, "four_eyes": null } }));
    let told = fixture.ask("trial", &asked).await;
    assert_eq!(told.body["control"], "continue", "{told:?}");
    // The router would take the field out otherwise.
    assert_eq!(
        told.body["context"]["entries"][V2],
        json!({ "own_card": true, "audit_cards": true, "four_eyes": true })
    );
    assert_eq!(fixture.recorded(1).await[0].reason.as_str(), "observed");
}

#[tokio::test]
async fn stages_at_which_nothing_is_asked_for_pass_and_leave_no_record() {
    let fixture = fixture();
    let context = entries(json!({ CLAIMS: { "sub": "alice" }, "mine": [1, { "a": null }] }));
    for stage in
        ["RouterResponse", "SupergraphResponse", "ExecutionResponse", "SubgraphResponse", "ConnectorResponse"]
    {
        let asked = json!({ "version": 1, "stage": stage, "id": "r", "statusCode": 401, "hasNext": false,
            "body": { "data": null }, "context": context });
        let told = fixture.ask("storefront", &asked).await;
        // A control would be taken for the status, and an entry that does not come back is taken away.
        assert_eq!(
            told.body,
            json!({ "version": 1, "stage": stage, "id": "r", "context": context }),
            "{stage}"
        );
        let without = json!({ "version": 1, "stage": stage, "id": "r" });
        assert_eq!(fixture.ask("storefront", &without).await.body, without);
    }
    // Letter by letter: read as numbers, the first two would be others.
    let exact = r#"{"entries":{"a":123456789012345678901234567890,"b":0.1000000000000000055511151231257827,"c":1E2,"a b":"\u00e9"}}"#;
    let asked = format!(r#"{{"version":1,"stage":"RouterResponse","context": {exact} ,"id":"r"}}"#);
    let told = fixture.ask_for_text("storefront", asked.as_bytes()).await;
    assert!(told.contains(&format!(r#""context":{exact}"#)), "{told}");
    for stage in ["SubgraphRequest", "ConnectorRequest"] {
        let asked = message(
            stage,
            None,
            json!({ "serviceName": "a", "context": context, "body": { "query": "{ x }" } }),
        );
        let told = fixture.ask("storefront", &asked).await;
        assert_eq!(told.body, json!({ "version": 1, "stage": stage, "id": "9b1a", "control": "continue" }));
    }
    // They are told to callers that may ask alone.
    let asked = json!({ "version": 1, "stage": "RouterResponse", "id": "r" }).to_string();
    for (caller, status) in [(Some("narrow"), 403), (Some("proxy"), 403), (None, 401)] {
        let told = fixture.ask_as(caller, "storefront", asked.as_bytes(), &[]).await;
        assert_eq!(told.status, status, "{caller:?}");
    }
    let records = fixture.recorded(2).await;
    assert!(records.iter().all(|record| record.reason.as_str().starts_with("pep_")), "{records:?}");
}
