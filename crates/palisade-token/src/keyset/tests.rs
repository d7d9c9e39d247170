//! Key sets over a real HTTP connection: a provider on loopback that counts what it is asked.

use std::sync::atomic::AtomicUsize;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use palisade_model::{ManualClock, Reason};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    IssuerSettings, Verifier,
    fixtures::{self, NOW, Signer, changed, check, claims, clock, key_set, refusal},
    install_crypto_provider,
};

mod missing;
mod reloads;

/// An identity provider.
#[derive(Clone)]
struct Provider(Arc<Inner>);

struct Inner {
    url: String,
    answer: Mutex<Answer>,
    metadata: AtomicUsize,
    keys: AtomicUsize,
    unchanged: AtomicUsize,
}

/// What the provider answers with.
#[derive(Clone)]
struct Answer {
    keys: String,
    keys_status: StatusCode,
    content_type: &'static str,
    cache_control: &'static str,
    etag: Option<&'static str>,
    delay: Duration,
    /// The path of the metadata that is there; others answer `metadata_elsewhere`.
    metadata_at: &'static str,
    metadata_elsewhere: StatusCode,
    metadata: Value,
}

impl Provider {
    async fn start(keys: &[Value]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Answer {
            keys: key_set(keys),
            keys_status: StatusCode::OK,
            content_type: "application/json; charset=utf-8",
            cache_control: "public",
            etag: None,
            delay: Duration::ZERO,
            metadata_at: "/.well-known/openid-configuration",
            metadata_elsewhere: StatusCode::NOT_FOUND,
            metadata: json!({"issuer": url, "jwks_uri": format!("{url}/jwks")}),
        };
        let inner = Inner {
            url,
            answer: Mutex::new(answer),
            metadata: AtomicUsize::new(0),
            keys: AtomicUsize::new(0),
            unchanged: AtomicUsize::new(0),
        };
        let provider = Self(Arc::new(inner));
        let app = Router::new().fallback(serve).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        provider
    }

    fn change(&self, change: impl FnOnce(&mut Answer)) {
        change(&mut locked(&self.0.answer));
    }

    fn publish(&self, keys: &[Value]) {
        self.change(|answer| answer.keys = key_set(keys));
    }

    fn asked_for_keys(&self) -> usize {
        self.0.keys.load(Ordering::SeqCst)
    }

    fn settings(&self, source: KeySource) -> IssuerSettings {
        let mut settings = fixtures::settings(source);
        settings.issuer = self.0.url.as_str().into();
        settings.network.private = true;
        settings
    }

    fn by_uri(&self) -> IssuerSettings {
        self.settings(KeySource::Uri(format!("{}/jwks", self.0.url).parse().unwrap()))
    }

    fn token(&self, signer: &Signer) -> String {
        signer.token(json!({"iss": self.0.url}))
    }
}

async fn serve(State(provider): State<Provider>, uri: Uri, headers: HeaderMap) -> Response {
    let answer = locked(&provider.0.answer).clone();
    match uri.path() {
        "/jwks" => {
            provider.0.keys.fetch_add(1, Ordering::SeqCst);
            sleep(answer.delay).await;
            let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
            if answer.etag.is_some() && known == answer.etag {
                provider.0.unchanged.fetch_add(1, Ordering::SeqCst);
                return StatusCode::NOT_MODIFIED.into_response();
            }
            let mut response = (answer.keys_status, answer.keys).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, answer.content_type.parse().unwrap());
            headers.insert(header::CACHE_CONTROL, answer.cache_control.parse().unwrap());
            if let Some(etag) = answer.etag {
                headers.insert(header::ETAG, etag.parse().unwrap());
            }
            response
        }
        path if path == answer.metadata_at => {
            provider.0.metadata.fetch_add(1, Ordering::SeqCst);
            ([(header::CONTENT_TYPE, "application/json")], answer.metadata.to_string()).into_response()
        }
        "/moved" => (StatusCode::FOUND, [(header::LOCATION, "/jwks")]).into_response(),
        _ => answer.metadata_elsewhere.into_response(),
    }
}

struct Running {
    verifier: Verifier,
    clock: Arc<ManualClock>,
    _refreshers: Refreshers,
}

fn run(settings: IssuerSettings) -> Running {
    install_crypto_provider();
    let clock = clock();
    let shown: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
    let verifier = Verifier::new(vec![settings], 16 * 1024, shown).unwrap();
    Running { _refreshers: verifier.start(), verifier, clock }
}

async fn run_ready(settings: IssuerSettings) -> Running {
    let running = run(settings);
    assert!(running.verifier.wait_ready(Duration::from_secs(10)).await);
    running
}

async fn eventually(what: &str, mut test: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !test() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn last_error(verifier: &Verifier) -> String {
    verifier.status().remove(0).last_error.unwrap_or_default()
}

/// Waits for the first refresh to fail, and says why it did.
async fn first_error(settings: IssuerSettings) -> String {
    let running = run(settings);
    eventually("a refresh fails", || !last_error(&running.verifier).is_empty()).await;
    assert!(!running.verifier.ready());
    last_error(&running.verifier)
}

#[tokio::test]
async fn keys_are_discovered() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let running = run_ready(provider.settings(KeySource::Discovery)).await;
    assert!(check(&running.verifier, &provider.token(&signer)).await.is_ok());
    let status = running.verifier.status().remove(0);
    assert!(status.ready && status.keys.len() == 1 && status.last_error.is_none());
    assert_eq!(status.last_success, Some(Timestamp::from_unix_seconds(NOW)));
}

#[tokio::test]
async fn discovery_passes_by_a_place_only_when_it_answers_4xx() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    provider.change(|answer| answer.metadata_elsewhere = StatusCode::SERVICE_UNAVAILABLE);
    assert!(first_error(provider.settings(KeySource::Discovery)).await.contains("503"));
    provider.change(|answer| answer.metadata_at = "/.well-known/oauth-authorization-server");
    run_ready(provider.settings(KeySource::Discovery)).await;
}

#[tokio::test]
async fn metadata_of_another_issuer_or_with_keys_elsewhere_is_refused() {
    let provider = Provider::start(&[Signer::es256("k").jwk()]).await;
    let url = provider.0.url.clone();
    for (metadata, error) in [
        (json!({"issuer": format!("{url}/"), "jwks_uri": format!("{url}/jwks")}), "another issuer"),
        (json!({"issuer": [url], "jwks_uri": format!("{url}/jwks")}), "another issuer"),
        (json!({"jwks_uri": format!("{url}/jwks")}), "another issuer"),
        (json!({"issuer": url, "jwks_uri": "https://evil.example/jwks"}), "not on the issuer's site"),
        (json!({"issuer": url, "jwks_uri": "http://169.254.169.254/jwks"}), "not on the issuer's site"),
        (json!({"issuer": url, "jwks_uri": 5}), "names no key set"),
        (json!({"issuer": url}), "names no key set"),
        (json!([]), "not a JSON object"),
    ] {
        provider.change(|answer| answer.metadata = metadata.clone());
        let found = first_error(provider.settings(KeySource::Discovery)).await;
        assert!(found.contains(error), "{metadata}: {found}");
    }
    assert_eq!(provider.asked_for_keys(), 0);
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_is_refused() {
    let provider = Provider::start(&[Signer::es256("k").jwk()]).await;
    let good = locked(&provider.0.answer).clone();
    type Change = fn(&mut Answer);
    let changes: [(Change, &str); 5] = [
        (|answer| answer.keys_status = StatusCode::INTERNAL_SERVER_ERROR, "500"),
        (|answer| answer.content_type = "text/html", "content type"),
        (|answer| answer.keys = format!("{{\"keys\":[]}}{}", " ".repeat(256 * 1024)), "more than"),
        (|answer| answer.keys = "{\"keys\":[".to_owned(), "unusable"),
        (|answer| answer.keys = "[]".to_owned(), "unusable"),
    ];
    for (change, error) in changes {
        provider.change(|answer| {
            *answer = good.clone();
            change(answer);
        });
        let found = first_error(provider.by_uri()).await;
        assert!(found.contains(error), "{found}");
    }
    let before = provider.asked_for_keys();
    let moved = provider.settings(KeySource::Uri(format!("{}/moved", provider.0.url).parse().unwrap()));
    assert!(first_error(moved).await.contains("302"));
    assert_eq!(provider.asked_for_keys(), before, "a redirect was followed");
}

#[tokio::test]
async fn a_provider_that_is_slow_runs_into_the_time_limit() {
    let provider = Provider::start(&[Signer::es256("k").jwk()]).await;
    provider.change(|answer| answer.delay = Duration::from_secs(60));
    let settings = IssuerSettings { timeout: Duration::from_millis(100), ..provider.by_uri() };
    assert!(first_error(settings).await.contains("cannot reach"));
}

#[tokio::test]
async fn the_start_waits_for_keys_and_blames_no_token() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    provider.change(|answer| answer.keys_status = StatusCode::BAD_GATEWAY);
    let running = run(provider.by_uri());
    eventually("a refresh fails", || !last_error(&running.verifier).is_empty()).await;
    assert_eq!(refusal(&running.verifier, &provider.token(&signer)).await, Reason::IssuerKeysUnavailable);
    provider.change(|answer| answer.keys_status = StatusCode::OK);
    assert!(running.verifier.wait_ready(Duration::from_secs(10)).await);
    assert!(check(&running.verifier, &provider.token(&signer)).await.is_ok());
    assert_eq!(last_error(&running.verifier), "");
}

#[tokio::test]
async fn a_removed_key_ends_its_known_tokens_at_once() {
    let (leaked, other) = (Signer::es256("leaked"), Signer::es256("other"));
    let provider = Provider::start(&[leaked.jwk(), other.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let mut changes = running.verifier.subscribe_key_changes();
    let (doomed, safe) = (provider.token(&leaked), provider.token(&other));
    assert!(check(&running.verifier, &doomed).await.is_ok());
    assert!(check(&running.verifier, &safe).await.is_ok());
    provider.publish(&[other.jwk()]);
    // Any unknown key id makes the verifier look again.
    assert!(check(&running.verifier, &provider.token(&Signer::es256("x"))).await.is_err());
    assert_eq!(refusal(&running.verifier, &doomed).await, Reason::TokenKeyUnknown);
    assert!(check(&running.verifier, &safe).await.is_ok());
    let change = changes.recv().await.unwrap();
    assert_eq!((change.issuer.as_str(), change.added.len(), change.removed.len()), ("corp", 0, 1));
    provider.publish(&[changed(leaked.jwk(), json!({"kid": "other"}))]);
    running.clock.advance(Duration::from_secs(60));
    assert!(check(&running.verifier, &provider.token(&Signer::es256("y"))).await.is_err());
    assert_eq!(
        refusal(&running.verifier, &safe).await,
        Reason::TokenSignatureInvalid,
        "another key took its name"
    );
}

#[tokio::test]
async fn keys_outlive_an_outage_for_a_day_and_no_longer() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    let running = run_ready(provider.by_uri()).await;
    let token = provider.token(&signer);
    assert!(check(&running.verifier, &token).await.is_ok());
    provider.change(|answer| answer.keys_status = StatusCode::SERVICE_UNAVAILABLE);
    running.clock.advance(HARD_TTL - Duration::from_secs(1));
    assert!(check(&running.verifier, &provider.token(&Signer::es256("x"))).await.is_err());
    assert!(last_error(&running.verifier).contains("503"));
    assert!(check(&running.verifier, &token).await.is_ok());
    running.clock.advance(Duration::from_secs(1));
    let fresh = signer.token(json!({"iss": provider.0.url, "jti": "fresh"}));
    for token in [&token, &fresh] {
        assert_eq!(refusal(&running.verifier, token).await, Reason::IssuerKeysUnavailable);
    }
    assert!(!running.verifier.status()[0].ready);
    assert!(running.verifier.ready(), "it has had keys");
}

#[tokio::test]
async fn a_provider_without_any_usable_key_is_an_outage_and_is_asked_again_soon() {
    let signer = Signer::es256("k");
    for useless in [vec![], vec![changed(signer.jwk(), json!({"use": "enc"}))]] {
        let provider = Provider::start(&[signer.jwk()]).await;
        let running = run_ready(provider.by_uri()).await;
        let store = running.verifier.stores().next().unwrap();
        let token = provider.token(&signer);
        assert!(check(&running.verifier, &token).await.is_ok());
        running.clock.advance(Duration::from_secs(10));
        provider.publish(&useless);
        provider.change(|answer| answer.cache_control = "max-age=3600");
        assert!(check(&running.verifier, &provider.token(&Signer::es256("x"))).await.is_err());
        assert_eq!(refusal(&running.verifier, &token).await, Reason::IssuerKeysUnavailable);
        let status = running.verifier.status().remove(0);
        assert!(!status.ready && status.keys.is_empty());
        assert!(status.last_error.unwrap().contains("no usable key"));
        assert_eq!(status.last_success, Some(Timestamp::from_unix_seconds(NOW)), "it is no success");
        let pause = store.pause();
        assert!(!pause.is_zero() && pause <= Duration::from_millis(5_500), "{pause:?}");
        provider.publish(&[signer.jwk()]);
        eventually("the keys are back", || running.verifier.status()[0].ready).await;
        assert!(check(&running.verifier, &token).await.is_ok());
        assert!(store.pause() > Duration::from_secs(60), "and the pauses are long again");
    }
}

#[tokio::test]
async fn the_start_goes_on_asking_a_provider_without_keys_also_when_nothing_changes() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[]).await;
    provider.change(|answer| answer.etag = Some("\"empty\""));
    let running = run(provider.by_uri());
    eventually("it is asked again", || provider.0.unchanged.load(Ordering::SeqCst) >= 2).await;
    let status = running.verifier.status().remove(0);
    assert!(!running.verifier.ready() && !status.ready && status.last_success.is_none());
    assert!(status.last_error.unwrap().contains("no usable key"));
    provider.publish(&[signer.jwk()]);
    provider.change(|answer| answer.etag = Some("\"full\""));
    assert!(running.verifier.wait_ready(Duration::from_secs(10)).await);
    assert!(check(&running.verifier, &provider.token(&signer)).await.is_ok());
}

#[tokio::test]
async fn an_unchanged_document_is_not_sent_again() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    provider.change(|answer| answer.etag = Some("\"v1\""));
    let running = run_ready(provider.by_uri()).await;
    assert!(check(&running.verifier, &provider.token(&Signer::es256("x"))).await.is_err());
    assert_eq!(provider.0.unchanged.load(Ordering::SeqCst), 1);
    assert!(check(&running.verifier, &provider.token(&signer)).await.is_ok());
}

#[tokio::test]
async fn the_keys_are_fetched_again_before_they_are_old() {
    let signer = Signer::es256("k");
    let provider = Provider::start(&[signer.jwk()]).await;
    provider.change(|answer| answer.cache_control = "max-age=1");
    let running = run_ready(provider.by_uri()).await;
    let store = running.verifier.stores().next().unwrap();
    let due = |seconds: u64| {
        let left = store.pause().as_secs_f64();
        assert!((left - 0.8 * 60.0 + seconds as f64).abs() <= 0.08 * 60.0, "{left}");
    };
    due(0);
    running.clock.advance(Duration::from_secs(10));
    due(10);
    running.clock.advance(Duration::from_secs(50));
    assert_eq!(store.pause(), Duration::ZERO);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let running = run(fixtures::settings(KeySource::File(path.clone())));
    assert!(!running.verifier.ready() && last_error(&running.verifier).contains("cannot read"));
    std::fs::write(&path, key_set(&[old.jwk()])).unwrap();
    assert!(running.verifier.wait_ready(Duration::from_secs(10)).await);
    let token = old.token(json!({}));
    assert!(check(&running.verifier, &token).await.is_ok());
    std::fs::write(&path, key_set(&[new.jwk()])).unwrap();
    let before = running.verifier.status()[0].keys.clone();
    eventually("the file is read", || running.verifier.status()[0].keys != before).await;
    assert_eq!(refusal(&running.verifier, &token).await, Reason::TokenKeyUnknown);
    assert!(check(&running.verifier, &new.token(json!({}))).await.is_ok());
    std::fs::write(&path, "not a key set").unwrap();
    eventually("the file is read", || !last_error(&running.verifier).is_empty()).await;
    assert!(check(&running.verifier, &new.token(json!({}))).await.is_ok(), "the old keys stay");
}

#[tokio::test]
async fn a_file_that_is_there_needs_no_refresh() {
    let signer = Signer::es256("k");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, key_set(&[signer.jwk()])).unwrap();
    let verifier = fixtures::verifier(vec![fixtures::settings(KeySource::File(path))]);
    assert!(verifier.ready());
    assert!(check(&verifier, &signer.token(json!({}))).await.is_ok());
}
