use proptest::prelude::*;
use serde_json::json;

use super::*;

fn check(status: u16, body: &serde_json::Value) -> Answer {
    read(status, body.to_string().as_bytes())
}

#[test]
fn a_success_has_a_token_that_a_header_can_carry() {
    let good = json!({"access_token": "a.b-c_d~e+f/g==", "token_type": "Bearer", "expires_in": "3600", "scope": "a  b"});
    let Answer::Granted(granted) = check(200, &good) else { panic!("{:?}", check(200, &good)) };
    assert_eq!((granted.expires_in, granted.scopes.unwrap().len()), (Some(3_600), 2));
    for (member, value) in [
        ("access_token", json!("a b")),
        ("access_token", json!("a\r\nx-evil: 1")),
        ("access_token", json!("")),
        ("access_token", json!(5)),
        ("access_token", json!("é")),
        ("access_token", json!("a".repeat(LONGEST_TOKEN + 1))),
        ("token_type", json!(null)),
        ("expires_in", json!(-1)),
        ("expires_in", json!("soon")),
        ("scope", json!(["a"])),
        ("scope", json!("a\"b")),
        ("error", json!("invalid_grant")),
    ] {
        let mut answer = good.clone();
        answer[member] = value;
        assert!(matches!(check(200, &answer), Answer::Unusable(_)), "{answer}");
    }
    for body in
        ["", "[]", "null", "{", "{\"access_token\":\"a\",\"access_token\":\"b\",\"token_type\":\"Bearer\"}"]
    {
        assert!(matches!(read(200, body.as_bytes()), Answer::Unusable(_)), "{body}");
    }
    // What comes with another status is no token, whatever it says.
    assert!(matches!(check(201, &good), Answer::Unusable(_)));
}

#[test]
fn what_a_provider_says_of_an_error_is_kept_without_what_looks_like_a_token() {
    let token = format!("eyJ{}", "x".repeat(200));
    let body = json!({"error": "invalid_grant", "error_description": format!("cannot accept {token} here"),
        "error_codes": [1, "x", 2], "suberror": token});
    let Answer::Refused(refused) = check(400, &body) else { panic!("a refusal") };
    assert_eq!(refused.said.description.as_deref(), Some("cannot accept [..] here"));
    assert_eq!(refused.said.codes, ["1", "2", "[..]"]);
    let long =
        json!({"error": "e ".repeat(500), "claims": format!("{{\"a\":\"{}\"}}", "b".repeat(LONGEST_CLAIMS))});
    let Answer::Refused(refused) = check(400, &long) else { panic!("a refusal") };
    assert_eq!((refused.said.error.map(|error| error.len()), refused.claims), (Some(256), None));
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_not_and_never_a_token_with_another_status(
        status in 100_u16..600,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Answer::Granted(granted) = read(status, &body) {
            prop_assert!(status == 200 && is_token(&granted.token));
        }
    }
}
