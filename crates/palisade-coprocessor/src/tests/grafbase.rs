//! What Grafbase asks.

use serde_json::json;

use super::fixture::*;

#[tokio::test]
async fn each_name_is_answered_in_its_place() {
    let fixture = fixture();
    let token = with_mfa("storefront", "");
    for path in ["storefront", "storefront/policy"] {
        let asked = json!({ "policies": ["four_eyes", "own_card", "audit_cards", "own_card"] }).to_string();
        let headers = [("authorization", token.as_str())];
        let told = fixture.ask_as(Some("router"), path, asked.as_bytes(), &headers).await;
        assert_eq!(
            (told.status, &told.body),
            (200, &json!({ "granted": [false, true, false, true] })),
            "{path}"
        );
        assert!(told.headers.contains_key("x-palisade-decision-id"));
    }
    let records = fixture.recorded(2).await;
    assert_eq!((records.len(), records[0].principal.as_deref()), (2, Some("User::\"corp/alice\"")));
}

#[tokio::test]
async fn a_denial_is_no_answer() {
    let fixture = fixture();
    let token = with_mfa("storefront", "");
    let away = bearer("storefront", json!({ "iss": "https://away.example.com" }));
    for (caller, token, asked, status) in [
        (Some("router"), None, json!({ "policies": ["own_card"] }), 401),
        (Some("router"), Some("Bearer none"), json!({ "policies": ["own_card"] }), 401),
        (Some("router"), Some(away.as_str()), json!({ "policies": ["own_card"] }), 503),
        (Some("router"), Some(&token), json!({ "policies": ["own_card", "made_up"] }), 403),
        (Some("router"), Some(&token), json!({ "policies": [] }), 400),
        (Some("router"), Some(&token), json!({ "policies": ["own_card", 1] }), 400),
        (Some("router"), Some(&token), json!({ "policies": [["own_card"]] }), 400),
        (Some("router"), Some(&token), json!({ "policies": ["own_card"], "version": 1 }), 400),
        (Some("proxy"), Some(&token), json!({ "policies": ["own_card"] }), 403),
        (None, Some(&token), json!({ "policies": ["own_card"] }), 401),
    ] {
        let headers: Vec<(&str, &str)> = token.iter().map(|token| ("authorization", *token)).collect();
        let told = fixture.ask_as(caller, "storefront", asked.to_string().as_bytes(), &headers).await;
        assert_eq!(told.status, status, "{asked}: {told:?}");
        assert!(told.body.get("granted").is_none(), "{told:?}");
        assert_eq!(
            told.headers.contains_key("www-authenticate"),
            status == 401 && caller.is_some(),
            "{asked}"
        );
    }
    // No names at all: whatever is denied is no answer.
    for (caller, resource, token) in [
        (Some("router"), "storefront", None),
        (Some("router"), "storefront", Some("Bearer none")),
        (Some("router"), "storefront", Some(away.as_str())),
        (Some("router"), "storefront", Some(&token)),
        (Some("router"), "open", None),
        (Some("router"), "trial", Some(&token)),
        (Some("router"), "files", Some(&token)),
        (Some("router"), "nothing", Some(&token)),
        (Some("narrow"), "storefront", Some(&token)),
        (Some("proxy"), "storefront", Some(&token)),
        (None, "storefront", Some(&token)),
    ] {
        let headers: Vec<(&str, &str)> = token.iter().map(|token| ("authorization", *token)).collect();
        let told = fixture.ask_as(caller, resource, br#"{"policies":[]}"#, &headers).await;
        assert!(told.status >= 400 && told.body.get("granted").is_none(), "{caller:?} {resource}: {told:?}");
    }
    let many: Vec<&str> = vec!["own_card"; 51];
    let headers = [("authorization", token.as_str())];
    let asked = json!({ "policies": many }).to_string();
    assert_eq!(fixture.ask_as(Some("router"), "storefront", asked.as_bytes(), &headers).await.status, 400);
    let many: Vec<&str> = vec!["made_up"; 51];
    let asked = json!({ "policies": many }).to_string();
    // They are counted before any is looked up.
    assert_eq!(fixture.ask_as(Some("router"), "storefront", asked.as_bytes(), &headers).await.status, 400);
}
