//! What becomes of the keys of an issuer when its settings change.

use super::*;
use crate::Algorithm;

/// A verifier after a reload, whose refreshers have taken over.
fn reload(running: Running, settings: IssuerSettings) -> Running {
    let verifier = running.verifier.reconfigured(vec![settings], 16 * 1024).unwrap();
    Running { _refreshers: verifier.start(), verifier, clock: running.clock }
}

fn fresh(provider: &Provider, signer: &Signer) -> String {
    signer.token(json!({"iss": provider.0.url, "jti": "after the reload"}))
}

#[tokio::test]
async fn a_reload_does_not_fetch_keys_again() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let before = provider.asked_for_keys();
    let mut settings = provider.by_uri();
    settings.leeway = Duration::ZERO;
    let after = running.verifier.reconfigured(vec![settings], 1024).unwrap();
    let _refreshers = after.start();
    assert!(after.ready());
    assert!(check(&after, &provider.token(&signer)).await.is_ok());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(provider.asked_for_keys(), before);
}

#[tokio::test]
async fn a_change_in_how_keys_are_fetched_keeps_the_keys_of_a_provider_that_is_down() {
    let signer = Signer::es256("k");
    type Change = fn(&mut IssuerSettings);
    let changes: [Change; 4] = [
        |settings| settings.timeout = Duration::from_millis(50),
        |settings| settings.algorithms = vec![Algorithm::EdDSA, Algorithm::ES256],
        |settings| settings.network.proxy = Some("http://127.0.0.1:9".parse().unwrap()),
        |settings| (settings.leeway, settings.max_lifetime) = (Duration::ZERO, Duration::from_secs(3_600)),
    ];
    for change in changes {
        let provider = Provider::start(&[signer.jwk()]).await;
        let running = run_ready(provider.by_uri()).await;
        let before = running.verifier.status();
        running.clock.advance(Duration::from_secs(60));
        // It hangs, so that the reload comes while a refresh is under way.
        provider.change(|answer| answer.delay = Duration::from_secs(60));
        assert!(check(&running.verifier, &provider.token(&Signer::es256("x"))).await.is_err());
        let mut settings = provider.by_uri();
        change(&mut settings);
        let after = reload(running, settings);
        assert!(after.verifier.ready());
        assert_eq!(after.verifier.status(), before, "the keys are as old as they were");
        assert!(check(&after.verifier, &fresh(&provider, &signer)).await.is_ok());
        after.clock.advance(HARD_TTL);
        assert_eq!(
            refusal(&after.verifier, &fresh(&provider, &signer)).await,
            Reason::IssuerKeysUnavailable,
            "a reload makes no old keys young"
        );
    }
}

#[tokio::test]
async fn new_settings_are_tried_at_once_and_a_failure_takes_no_keys_away() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    provider.change(|answer| answer.keys_status = StatusCode::SERVICE_UNAVAILABLE);
    let settings = IssuerSettings { timeout: Duration::from_secs(1), ..provider.by_uri() };
    let after = reload(running, settings);
    eventually("the new settings are tried", || last_error(&after.verifier).contains("503")).await;
    assert!(check(&after.verifier, &fresh(&provider, &signer)).await.is_ok());
}

#[tokio::test]
async fn a_reload_keeps_the_etag_and_the_place_of_the_document() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    provider.change(|answer| answer.etag = Some("\"v1\""));
    let discovery = provider.settings(KeySource::Discovery);
    let running = run_ready(discovery.clone()).await;
    let metadata = provider.0.metadata.load(Ordering::SeqCst);
    let after = reload(running, IssuerSettings { timeout: Duration::from_secs(1), ..discovery });
    eventually("it is confirmed", || provider.0.unchanged.load(Ordering::SeqCst) == 1).await;
    assert_eq!(provider.0.metadata.load(Ordering::SeqCst), metadata);
    assert!(check(&after.verifier, &fresh(&provider, &signer)).await.is_ok());
}

#[tokio::test]
async fn the_kept_document_is_read_by_the_new_settings() {
    let (refused, accepted) = (Signer::es256("refused"), Signer::ed25519("accepted"));
    let provider = Provider::start(&[refused.jwk(), accepted.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    provider.change(|answer| answer.keys_status = StatusCode::SERVICE_UNAVAILABLE);
    let settings = IssuerSettings { algorithms: vec![Algorithm::EdDSA], ..provider.by_uri() };
    let after = reload(running, settings);
    assert!(check(&after.verifier, &fresh(&provider, &accepted)).await.is_ok());
    assert!(check(&after.verifier, &fresh(&provider, &refused)).await.is_err());
    let none = IssuerSettings { algorithms: vec![Algorithm::RS256], ..provider.by_uri() };
    let after = reload(after, none);
    assert!(!after.verifier.ready());
    assert_eq!(
        refusal(&after.verifier, &fresh(&provider, &accepted)).await,
        Reason::IssuerKeysUnavailable,
        "no key of the document is left"
    );
}

#[tokio::test]
async fn keys_of_another_place_issuer_or_name_are_not_kept() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let elsewhere = KeySource::Uri(format!("{}/elsewhere", provider.0.url).parse().unwrap());
    let by_discovery = provider.settings(KeySource::Discovery);
    let renamed = IssuerSettings { name: "other".parse().unwrap(), ..provider.by_uri() };
    let other_issuer = IssuerSettings { issuer: "https://other.example.com".into(), ..provider.by_uri() };
    for settings in [provider.settings(elsewhere), by_discovery, renamed, other_issuer] {
        let running = run_ready(provider.by_uri()).await;
        let after = running.verifier.reconfigured(vec![settings.clone()], 1024).unwrap();
        assert!(!after.ready(), "{settings:?}");
    }
    let google =
        IssuerSettings { profile: crate::Profile::Google, ..provider.settings(KeySource::Discovery) };
    let running = run_ready(google).await;
    let strict = running.verifier.reconfigured(vec![provider.settings(KeySource::Discovery)], 1024).unwrap();
    assert!(!strict.ready(), "the profile says where discovery may lead");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_after_a_reload_is_known_from_before() {
    let signer = Signer::es256("k");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, key_set(&[signer.jwk()])).unwrap();
    let settings = fixtures::settings(KeySource::File(path.clone()));
    let before = fixtures::verifier(vec![settings.clone()]);
    std::fs::remove_file(&path).unwrap();
    let settings = IssuerSettings { timeout: Duration::from_secs(1), ..settings };
    let after = before.reconfigured(vec![settings], 16 * 1024).unwrap();
    assert!(after.ready() && last_error(&after).contains("cannot read"));
    assert!(check(&after, &signer.token(json!({}))).await.is_ok());
}
