use std::time::Duration;

use palisade_pdp::FailureKind;
use serde_json::{Value, json};

use super::fixture::{AUDIENCE, Asked, CORP, NOW, StandIn, good, issued, once, signed};
use crate::{Provider, ResultCheck};

/// Why a result is refused; nothing where it is taken.
async fn refusal(answer: Value) -> Option<String> {
    let provider = StandIn::start(move |_| (200, answer.clone())).await;
    let done = once(provider.settings(Provider::Rfc8693), &Asked::default()).await;
    let failure = done.result.err()?;
    assert_eq!(failure.kind, FailureKind::Refused, "{failure:?}");
    Some(failure.detail)
}

#[tokio::test]
async fn a_result_is_what_was_asked_for_or_none() {
    for (changes, says) in [
        (json!({}), None),
        (json!({"scope": "orders.read"}), None),
        (json!({"scope": "openid orders.read"}), None),
        (json!({"scope": "orders.read orders.delete"}), Some("more scopes")),
        (json!({"aud": "https://other.example.com"}), Some("token_audience_mismatch")),
        (json!({"aud": [AUDIENCE, "https://other.example.com"]}), Some("other audiences")),
        (json!({"sub": "bob"}), Some("another subject")),
        // A token of the client for itself is no token for the user, whatever its name.
        (json!({"sub": "gw"}), Some("another subject")),
        (json!({"sub": "alice", "client_id": "alice"}), Some("another subject")),
        (json!({"iss": "https://evil.example.com"}), Some("token_issuer_unknown")),
        (json!({"exp": 1_700_000_000}), Some("not accepted")),
        // Within the leeway of the issuer it could be used this once, and nobody could keep it.
        (json!({"exp": NOW.unix_seconds() - 10, "iat": NOW.unix_seconds() - 60}), Some("no life left")),
        (json!({"exp": NOW.unix_seconds(), "iat": NOW.unix_seconds() - 60}), Some("no life left")),
        (json!({"cnf": {"jkt": "x"}}), Some("token_binding")),
    ] {
        let found = refusal(issued(&signed(CORP, &changes))).await;
        match (&found, says) {
            (None, None) => {}
            (Some(found), Some(says)) => assert!(found.contains(says), "{changes}: {found}"),
            (_, _) => panic!("{changes}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn what_the_response_says_beside_the_token_is_checked_too() {
    let token = signed(CORP, &json!({}));
    let with = |name: &str, value: Value| {
        let mut answer = issued(&token);
        answer[name] = value;
        answer
    };
    for (answer, says) in [
        (with("token_type", json!("DPoP")), "no bearer token"),
        (with("token_type", json!("N_A")), "no bearer token"),
        (with("issued_token_type", json!("urn:ietf:params:oauth:token-type:id_token")), "no access token"),
        (with("issued_token_type", Value::Null), "does not say what it issued"),
        (with("scope", json!("orders.read admin")), "more scopes"),
        (with("access_token", json!("alices.token")), "the subject's own token"),
        (with("access_token", json!("opaque")), "not accepted"),
        (with("expires_in", json!(0)), "no life left"),
    ] {
        let found = refusal(answer).await.unwrap();
        assert!(found.contains(says), "{says}: {found}");
    }
}

#[tokio::test]
async fn a_result_that_cannot_be_read_is_taken_only_where_that_is_configured() {
    let provider = StandIn::start(|_| {
        (
            200,
            json!({"access_token": "opaque", "token_type": "bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "scope": "orders.read"}),
        )
    })
    .await;
    let mut settings = provider.settings(Provider::Rfc8693);
    settings.result = ResultCheck::Opaque;
    let token = once(settings, &Asked::default()).await.result.unwrap();
    assert_eq!(token.token.as_str(), "opaque");
    assert_eq!(token.scopes.len(), 1);
    let lives = token.expires_at.since(super::fixture::NOW);
    assert!(
        (59..=61).contains(&lives.as_secs()),
        "a token of unknown life is taken to live a minute: {lives:?}"
    );
    assert!(token.token_id.starts_with("sha256:"));
}

#[tokio::test]
async fn a_token_that_is_said_to_live_for_ages_lives_a_day_and_is_good_for_as_long_as_policies_permit() {
    for seconds in [json!(300_000_000_000_u64), json!(u64::MAX), json!("99999999999999")] {
        let mut answer = issued("opaque");
        answer["expires_in"] = seconds;
        let provider = StandIn::start(move |_| (200, answer.clone())).await;
        let mut settings = provider.settings(Provider::Rfc8693);
        settings.result = ResultCheck::Opaque;
        let token = once(settings, &Asked::default()).await.result.unwrap();
        let lives = token.expires_at.since(NOW).as_secs();
        assert!((86_399..=86_401).contains(&lives), "{lives}");
        // What a record holds can be read again.
        assert_eq!(token.expires_at.to_string().len(), "2027-01-16T08:00:00.000Z".len());
        assert!((299..=301).contains(&token.good_until.since(NOW).as_secs()));
    }
    // What ends before the policies' lifetime is good until then.
    let exp = NOW.unix_seconds() + 60;
    let provider = StandIn::start(move |_| (200, issued(&signed(CORP, &json!({"exp": exp}))))).await;
    let token = once(provider.settings(Provider::Rfc8693), &Asked::default()).await.result.unwrap();
    assert_eq!(token.good_until, token.expires_at);
}

/// What is kept of a token and of a secret is overwritten when it is dropped: their types say so, and cannot be others unseen.
#[tokio::test]
async fn what_is_secret_is_overwritten_once_it_is_not_needed() {
    fn overwritten(_: &zeroize::Zeroizing<String>) {}
    let provider = StandIn::start(good).await;
    let settings = provider.settings(Provider::Rfc8693);
    if let crate::ClientAuth::Secret(secret, _) = &settings.client.auth {
        overwritten(secret);
    }
    overwritten(&once(settings, &Asked::default()).await.result.unwrap().token);
}

#[tokio::test]
async fn nothing_prints_a_token_or_a_secret() {
    let provider = StandIn::start(good).await;
    let settings = provider.settings(Provider::Rfc8693);
    let told = format!("{settings:?}");
    assert!(!told.contains("s3cret"), "{told}");
    let exchanger = crate::ProviderExchanger::new(settings).unwrap();
    let asked = Asked::default();
    let done = palisade_pdp::Exchanger::exchange(&exchanger, asked.order()).done().await;
    let token = done.result.as_ref().unwrap().token.to_string();
    for told in [format!("{exchanger:?}"), format!("{done:?}"), format!("{:?}", asked.order())] {
        assert!(
            !told.contains(&token) && !told.contains("alices.token") && !told.contains("s3cret"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_token_is_handed_out_until_whatever_ends_first() {
    let seconds = Duration::from_secs;
    // What the subject's token, the issued one and the policies leave, and for how long it is handed out: less a tenth,
    // and at most half a minute.
    for (subject, token, lifetime, good_for) in [
        (seconds(600), 3_600, seconds(300), seconds(270)),
        (seconds(100), 3_600, seconds(300), seconds(90)),
        (seconds(600), 50, seconds(300), seconds(45)),
        (seconds(6_000), 3_600, seconds(3_000), seconds(2_970)),
    ] {
        let exp = super::fixture::NOW.unix_seconds() + token;
        let provider = StandIn::start(move |_| (200, issued(&signed(CORP, &json!({"exp": exp}))))).await;
        let exchanger = crate::ProviderExchanger::new(provider.settings(Provider::Rfc8693)).unwrap();
        let asked = Asked { lives: subject, lifetime, ..Asked::default() };
        let exchange = async |after: Duration| {
            let order = Asked { now: super::fixture::NOW.plus(after), ..asked.clone() }.order();
            drop(palisade_pdp::Exchanger::exchange(&exchanger, order).done().await);
            provider.came().len()
        };
        assert_eq!(exchange(Duration::ZERO).await, 1);
        assert_eq!(exchange(good_for - seconds(2)).await, 1, "{good_for:?}");
        assert_eq!(exchange(good_for + seconds(2)).await, 2, "{good_for:?}");
    }
}
