//! Tokens whose `kid` no key has.

use super::*;

/// A token with a key id that nobody has.
fn random(provider: &Provider, number: usize) -> String {
    static SIGNER: std::sync::LazyLock<Signer> = std::sync::LazyLock::new(|| Signer::es256("k"));
    let header = changed(SIGNER.header(), json!({"kid": format!("random-{number}")}));
    SIGNER.sign(&header, &changed(claims(), json!({"iss": provider.0.url})))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_random_key_ids_cause_at_most_two_fetches_and_hold_up_no_good_token() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let known = provider.token(&signer);
    assert!(check(&running.verifier, &known).await.is_ok());
    let before = provider.asked_for_keys();
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..10_000 {
        let token = random(&provider, number);
        let verifier = running.verifier.clone();
        waiting.spawn(async move { refusal(&verifier, &token).await });
        if number % 500 == 0 {
            let fresh = signer.token(json!({"iss": provider.0.url, "jti": format!("{number}")}));
            assert!(check(&running.verifier, &known).await.is_ok());
            assert!(check(&running.verifier, &fresh).await.is_ok());
        }
    }
    while let Some(reason) = waiting.join_next().await {
        assert!(matches!(reason.unwrap(), Reason::TokenKeyUnknown | Reason::IssuerKeysUnavailable));
    }
    assert!(provider.asked_for_keys() - before <= 2);
    assert!(check(&running.verifier, &known).await.is_ok());
}

#[tokio::test]
async fn unknown_key_ids_have_a_budget_of_two_fetches_in_thirty_seconds() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let before = provider.asked_for_keys();
    let try_key = async |id: &str| {
        let token = Signer::es256(id).token(json!({"iss": provider.0.url}));
        let reason = refusal(&running.verifier, &token).await;
        (reason, provider.asked_for_keys() - before)
    };
    let (unknown, unavailable) = (Reason::TokenKeyUnknown, Reason::IssuerKeysUnavailable);
    assert_eq!(try_key("a").await, (unknown, 1));
    assert_eq!(try_key("a").await, (unknown, 1), "a key id that was not found causes no other fetch");
    assert_eq!(try_key("b").await, (unknown, 2));
    assert_eq!(try_key("c").await, (unavailable, 2), "the budget is spent, which is not the token's fault");
    assert_eq!(try_key("b").await, (unknown, 2), "what was found out is still known");
    running.clock.advance(Duration::from_secs(29));
    assert_eq!(try_key("c").await, (unavailable, 2));
    running.clock.advance(Duration::from_secs(1));
    assert_eq!(try_key("c").await, (unknown, 3));
}

#[tokio::test]
async fn a_wrong_signature_never_causes_a_fetch() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let before = provider.asked_for_keys();
    for _ in 0..10 {
        let forged = provider.token(&Signer::es256("k"));
        assert_eq!(refusal(&running.verifier, &forged).await, Reason::TokenSignatureInvalid);
    }
    assert_eq!(provider.asked_for_keys(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_fails_no_good_token_and_many_requests_share_one_fetch() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let provider = Provider::start(&[old.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    provider.publish(&[old.jwk(), new.jwk()]);
    provider.change(|answer| answer.delay = Duration::from_millis(50));
    let before = provider.asked_for_keys();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (verifier, token) = (running.verifier.clone(), provider.token(&new));
        waiting.spawn(async move { check(&verifier, &token).await.is_ok() });
    }
    while let Some(accepted) = waiting.join_next().await {
        assert!(accepted.unwrap());
    }
    assert_eq!(provider.asked_for_keys() - before, 1);
    assert!(check(&running.verifier, &provider.token(&old)).await.is_ok());
}

#[tokio::test]
async fn a_request_does_not_wait_for_a_slow_fetch_which_goes_on_without_it() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let provider = Provider::start(&[old.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    provider.publish(&[new.jwk()]);
    provider.change(|answer| answer.delay = Duration::from_secs(3));
    let (begun, before) = (Instant::now(), running.verifier.status()[0].keys.clone());
    assert_eq!(refusal(&running.verifier, &provider.token(&new)).await, Reason::IssuerKeysUnavailable);
    assert!(begun.elapsed() < Duration::from_millis(2_500));
    let token = provider.token(&new);
    let gives_up = tokio::time::timeout(Duration::from_millis(20), check(&running.verifier, &token));
    assert!(gives_up.await.is_err(), "a request with a deadline waits no longer than that");
    eventually("the fetch ends", || running.verifier.status()[0].keys != before).await;
    assert!(check(&running.verifier, &provider.token(&new)).await.is_ok());
}

#[tokio::test]
async fn at_most_64_requests_wait_for_keys() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let store = Arc::clone(running.verifier.stores().next().unwrap());
    provider.change(|answer| answer.delay = Duration::from_secs(60));
    let tokens: Vec<String> = (0..64).map(|number| random(&provider, number)).collect();
    let mut waiting = tokio::task::JoinSet::new();
    for token in tokens {
        let verifier = running.verifier.clone();
        waiting.spawn(async move { refusal(&verifier, &token).await });
    }
    eventually("all wait", || store.waiting.available_permits() == 0).await;
    while let Some(reason) = waiting.join_next().await {
        assert_eq!(reason.unwrap(), Reason::IssuerKeysUnavailable, "a wait that ran out blames no token");
    }
    assert_eq!(store.waiting.available_permits(), 64);
}

#[tokio::test]
async fn one_request_more_than_may_wait_is_answered_at_once_and_holds_up_no_good_token() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let store = running.verifier.stores().next().unwrap();
    let (known, fresh) =
        (provider.token(&signer), signer.token(json!({"iss": provider.0.url, "jti": "new"})));
    assert!(check(&running.verifier, &known).await.is_ok());
    let before = provider.asked_for_keys();
    let _flood = store.waiting.acquire_many(64).await.unwrap();
    let one_more = tokio::time::timeout(Duration::ZERO, store.look_for("one-more")).await;
    assert_eq!(one_more, Ok(Err(crate::keyset::missing::Unsettled::Crowded)));
    assert_eq!(refusal(&running.verifier, &random(&provider, 64)).await, Reason::IssuerKeysUnavailable);
    assert_eq!(provider.asked_for_keys(), before);
    for good in [&known, &fresh] {
        assert!(check(&running.verifier, good).await.is_ok());
    }
}

#[tokio::test]
async fn a_failed_fetch_blames_no_token_and_is_not_remembered() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let provider = Provider::start(&[old.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let store = running.verifier.stores().next().unwrap();
    provider.change(|answer| answer.keys_status = StatusCode::BAD_GATEWAY);
    let token = provider.token(&new);
    assert_eq!(refusal(&running.verifier, &token).await, Reason::IssuerKeysUnavailable);
    assert!(!store.absent.contains_key("new"));
    provider.publish(&[old.jwk(), new.jwk()]);
    provider.change(|answer| answer.keys_status = StatusCode::OK);
    assert!(check(&running.verifier, &token).await.is_ok());
}

#[tokio::test]
async fn a_fetch_that_began_before_a_token_came_does_not_tell_about_its_key() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let provider = Provider::start(&[old.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let before = provider.asked_for_keys();
    provider.change(|answer| answer.delay = Duration::from_millis(50));
    let (verifier, unknown) = (running.verifier.clone(), random(&provider, 0));
    let first = tokio::spawn(async move { refusal(&verifier, &unknown).await });
    eventually("a fetch is under way", || provider.asked_for_keys() == before + 1).await;
    provider.publish(&[old.jwk(), new.jwk()]);
    assert!(check(&running.verifier, &provider.token(&new)).await.is_ok(), "the answer of before counted");
    assert_eq!(provider.asked_for_keys(), before + 2);
    assert_eq!(first.await.unwrap(), Reason::TokenKeyUnknown);
}

#[tokio::test]
async fn a_key_of_a_file_is_looked_for_in_the_file_as_it_is_now() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, key_set(&[old.jwk()])).unwrap();
    // Not started: nothing but the token itself makes it read the file again.
    let verifier = fixtures::verifier(vec![fixtures::settings(KeySource::File(path.clone()))]);
    std::fs::write(&path, key_set(&[new.jwk()])).unwrap();
    assert!(check(&verifier, &new.token(json!({}))).await.is_ok());
    assert_eq!(refusal(&verifier, &old.token(json!({}))).await, Reason::TokenKeyUnknown);
}
