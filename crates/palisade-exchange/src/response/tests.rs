use proptest::prelude::*;
use serde_json::json;

use super::*;

fn check(status: u16, body: &serde_json::Value) -> Answer {
    read(status, body.to_string().as_bytes(), &[])
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
        assert!(matches!(read(200, body.as_bytes(), &[]), Answer::Unusable(_)), "{body}");
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

#[test]
fn what_a_provider_says_holds_no_secret_of_the_request() {
    let secrets = ["s3cret:%", "subject.token", ""];
    let body = json!({
        "error": "invalid_client s3cret:%", "suberror": "xs3cret:%x", "claims": "{\"a\":\"s3cret:%\"}",
        "error_description": format!("client_secret=s3cret%3A%25&x {} subject.token.", "e ".repeat(122) + "s3cret:%"),
    });
    let Answer::Refused(refused) = read(400, body.to_string().as_bytes(), &secrets) else {
        panic!("a refusal")
    };
    assert_eq!(refused.said.error.as_deref(), Some("invalid_client [..]"));
    assert_eq!((refused.said.codes, refused.claims), (vec!["x[..]x".to_owned()], None));
    let description = refused.said.description.unwrap();
    assert!(description.starts_with("client_secret=[..]&x e e"), "{description}");
    // Nor the beginning of one, where the text is cut.
    assert!(!description.contains("s3"), "{description}");
}

#[test]
fn a_life_of_ages_is_a_day() {
    for seconds in [json!(86_401), json!(u64::MAX), json!("99999999999")] {
        let answer = json!({"access_token": "a", "token_type": "Bearer", "expires_in": seconds});
        let Answer::Granted(granted) = check(200, &answer) else { panic!("a token") };
        assert_eq!(granted.expires_in, Some(86_400));
    }
}

proptest! {
    #[test]
    fn no_text_that_is_kept_holds_a_secret_wherever_it_stands(
        before in ".{0,300}", secret in "[A-Za-z0-9%:~/+-]{1,40}", after in ".{0,60}",
    ) {
        let text = without(&format!("{before}{secret}{after}"), &[&secret]);
        prop_assert!(text.len() <= LONGEST_TEXT && !text.contains(&secret), "{text}");
    }

    #[test]
    fn whatever_comes_is_read_or_not_and_never_a_token_with_another_status(
        status in 100_u16..600,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Answer::Granted(granted) = read(status, &body, &[]) {
            prop_assert!(status == 200 && is_token(&granted.token));
        }
    }
}
