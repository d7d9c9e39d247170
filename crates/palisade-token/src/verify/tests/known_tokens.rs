//! A token that was accepted before is checked again for everything that a request or the time changes.

use super::*;

#[tokio::test]
async fn one_token_for_two_resources_is_accepted_by_its_own_only() {
    let signer = Signer::es256("k");
    let verifier = verifier_with(&[signer.jwk()], |_| {});
    let token = signer.token(json!({}));
    for _ in 0..2 {
        assert!(check(&verifier, &token).await.is_ok());
        let elsewhere = check_at(&verifier, &token, "https://other.example.com", NOW).await;
        assert_eq!(elsewhere.unwrap_err().reason, Reason::TokenAudienceMismatch);
    }
    assert_eq!(verifier.shared.cache.len(), 1);
}

#[tokio::test]
async fn a_known_token_ends_at_its_exp() {
    let signer = Signer::es256("k");
    let verifier = verifier_with(&[signer.jwk()], |settings| settings.leeway = Duration::ZERO);
    let token = signer.token(json!({}));
    assert!(check_at(&verifier, &token, AUDIENCE, NOW + 599).await.is_ok());
    for now in [NOW + 600, NOW + 601] {
        let refused = check_at(&verifier, &token, AUDIENCE, now).await.unwrap_err();
        assert_eq!(refused.reason, Reason::TokenExpired);
    }
    assert!(check_at(&verifier, &token, AUDIENCE, NOW + 599).await.is_ok());
}

#[tokio::test]
async fn a_known_token_is_refused_where_its_issuer_is_not_accepted() {
    let signer = Signer::es256("k");
    let verifier = verifier_with(&[signer.jwk()], |_| {});
    let token = RawToken::new(signer.token(json!({})));
    assert!(check(&verifier, token.expose()).await.is_ok());
    let audiences = BTreeSet::from([Audience::from(AUDIENCE)]);
    let others = ["partner".parse().unwrap()];
    for issuers in [&others[..], &[]] {
        let expected = Expectation { audiences: &audiences, any_audience: true, issuers };
        let refused =
            verifier.verify(&token, &expected, Timestamp::from_unix_seconds(NOW)).await.unwrap_err();
        assert_eq!(refused.reason, Reason::TokenIssuerNotAllowed);
    }
}

#[tokio::test]
async fn any_audience_accepts_a_token_for_somebody_else() {
    let signer = Signer::es256("k");
    let verifier = verifier_with(&[signer.jwk()], |_| {});
    let (token, none) = (RawToken::new(signer.token(json!({"aud": ["x", "y"]}))), BTreeSet::new());
    let issuers = ["corp".parse().unwrap()];
    let mut expected = Expectation { audiences: &none, any_audience: true, issuers: &issuers };
    assert!(verifier.verify(&token, &expected, Timestamp::from_unix_seconds(NOW)).await.is_ok());
    expected.any_audience = false;
    assert!(verifier.verify(&token, &expected, Timestamp::from_unix_seconds(NOW)).await.is_err());
}

#[tokio::test]
async fn refusals_are_not_kept() {
    let signer = Signer::es256("k");
    let verifier = verifier_with(&[signer.jwk()], |_| {});
    for token in [
        signer.token(json!({"exp": NOW - 600, "iat": NOW - 900})),
        signer.token(json!({"aud": "x"})),
        signer.token(json!({"cnf": {"jkt": "x"}})),
        Signer::es256("k").token(json!({})),
        "a.b.c".to_owned(),
    ] {
        assert!(check(&verifier, &token).await.is_err());
        assert_eq!(verifier.shared.cache.len(), 0);
    }
}

#[tokio::test]
async fn a_bound_token_that_a_token_service_has_seen_proves_nothing_elsewhere() {
    let signer = Signer::es256("k");
    let verifier = verifier_with(&[signer.jwk()], |_| {});
    let token = signer.token(json!({"cnf": {"jkt": "x"}}));
    let (audiences, issuers) = (BTreeSet::from([Audience::from(AUDIENCE)]), ["corp".parse().unwrap()]);
    let expected = Expectation { audiences: &audiences, any_audience: false, issuers: &issuers };
    let raw = RawToken::new(token.clone());
    let seen = verifier.verify_to_reissue(&raw, &expected, Timestamp::from_unix_seconds(NOW)).await.unwrap();
    assert_eq!(seen.provenance().confirmation, Some(json!({"jkt": "x"})));
    assert_eq!(check(&verifier, &token).await.unwrap_err().reason, Reason::TokenBinding);
}

#[tokio::test]
async fn a_reload_forgets_known_tokens_and_keeps_the_keys() {
    let signer = Signer::es256("k");
    let source = KeySource::Inline(key_set(&[signer.jwk()]));
    let before = verifier(vec![settings(source.clone())]);
    let token = signer.token(json!({"roles": ["admin"]}));
    assert_eq!(check(&before, &token).await.unwrap().subject().roles.len(), 1);
    let mut changed = settings(source);
    changed.claims.roles = vec!["groups".parse().unwrap()];
    let after = before.reconfigured(vec![changed], 1024).unwrap();
    assert!(check(&after, &token).await.unwrap().subject().roles.is_empty());
    assert_eq!(check(&before, &token).await.unwrap().subject().roles.len(), 1);
    assert!(Arc::ptr_eq(&before.issuers[0].keys, &after.issuers[0].keys));
    let mut moved = settings(KeySource::Inline(key_set(&[Signer::es256("k").jwk()])));
    moved.leeway = Duration::ZERO;
    let moved = before.reconfigured(vec![moved], 1024).unwrap();
    assert_eq!(refusal(&moved, &token).await, Reason::TokenSignatureInvalid);
}

#[tokio::test]
async fn a_known_token_is_admitted_while_no_other_signature_can_be_checked() {
    let signer = Signer::es256("k");
    let verifier = verifier_with(&[signer.jwk()], |_| {});
    let token = signer.token(json!({}));
    assert!(check(&verifier, &token).await.is_ok());
    let flood = verifier.shared.cold.hold_everything().await;
    assert_eq!(refusal(&verifier, &signer.token(json!({"jti": "fresh"}))).await, Reason::Overloaded);
    assert!(check(&verifier, &token).await.is_ok());
    drop(flood);
    assert!(check(&verifier, &signer.token(json!({"jti": "fresh"}))).await.is_ok());
}
