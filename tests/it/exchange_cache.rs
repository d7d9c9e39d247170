//! What replicas share of their exchanges: two of them, a provider and a real Redis that stands still, dies and is tampered
//! with. Each replica has its files in a folder of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_audit::ExchangeSource;
use palisade_proto::v1::{ExchangeRequest, Outcome, tokens_client::TokensClient};
use palisade_tests::components::{OidcProvider, Redis, eventually};
use palisade_tests::service::Palisade;
use serde_json::{Value, json};
use tempfile::TempDir;

const FILES: &str = "https://mcp.example.com/files";
const LEDGER: &str = "https://ledger.example.com";
const KEY: &str = "0123456789abcdef0123456789abcdef";
const POLICY: &str = r#"
@id("exchange")
permit (principal is User, action == OAuth::Action::"exchange", resource == OAuth::Audience::"ledger");
"#;

struct Replica {
    palisade: Palisade,
    files: TempDir,
}

impl Replica {
    /// One whose cache is encrypted with a key of these bytes.
    async fn start(provider: &OidcProvider, redis: &Redis, key: u8) -> Self {
        Self::start_at(provider, &redis.url(), key, None).await
    }

    /// The same with a URL, and with other authorities than the system's.
    async fn start_at(provider: &OidcProvider, url: &str, key: u8, authorities: Option<PathBuf>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(files.path().join(name), text).unwrap();
            json!({"file": files.path().join(name)})
        };
        file("exchange.cedar", POLICY);
        let cache = json!({"url": file("url", url), "keys": [file("cache.key", &cache_key(key))]});
        let configuration = json!({
            "policies": {"path": files.path()},
            "issuers": {"corp": {"issuer": provider.issuer(), "network": {"private": true}}},
            "exchange_cache": {"redis": cache},
            // The first call fetches the issuer's keys, which takes its time where many tests run.
            "limits": {"deadline": "2s"},
            "exchanges": {"ledger": {
                "provider": "rfc8693", "audience": LEDGER, "scopes": ["ledger:read"], "timeout": "2s",
                "client": {"id": "gateway", "secret": file("secret", "gateway-secret\n")},
            }},
            "peps": {"adapter": {
                "auth": {"key": file("key", KEY)},
                "surfaces": ["exchange"], "resources": "*", "exchange": ["ledger"],
            }},
            "resources": {"files": {"identifier": FILES, "kind": "mcp", "issuers": ["corp"]}},
        });
        let members = configuration.as_object().unwrap().iter();
        let text: String = members.map(|(name, value)| format!("{name}: {value}\n")).collect();
        let palisade = Palisade::start_trusting(&text, "", authorities).await.unwrap();
        palisade.wait_for_readiness(200).await.unwrap();
        Self { palisade, files }
    }

    /// The token that this one is exchanged for, and where it came from.
    async fn exchange(&self, token: &str) -> (String, ExchangeSource) {
        let address = format!("http://127.0.0.1:{}", self.palisade.decision);
        let mut tokens = TokensClient::connect(address).await.unwrap();
        let mut request = tonic::Request::new(ExchangeRequest {
            resource: "files".to_owned(),
            token: token.to_owned(),
            exchange: "ledger".to_owned(),
            scopes: Vec::new(),
        });
        request.metadata_mut().insert("x-palisade-key", KEY.parse().unwrap());
        let answer = tokens.exchange(request).await.unwrap().into_inner();
        assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Permit, "permitted"));
        let record = self.palisade.decisions().unwrap().pop().unwrap();
        (answer.access_token.unwrap(), record.exchange.unwrap().source.unwrap())
    }

    /// Waits until it has counted this.
    async fn counted(&self, result: &str) {
        let counted = async || {
            let metrics = self.palisade.admin("/metrics").await?;
            let mut lines = metrics.lines().filter(|line| line.starts_with("palisade_exchange_cache_total"));
            Ok(lines.any(|line| line.contains(&format!("result=\"{result}\""))).then_some(()))
        };
        eventually(result, counted).await.unwrap();
    }
}

fn cache_key(byte: u8) -> String {
    format!("{}\n", format!("{byte:02x}").repeat(32))
}

struct Replicas {
    provider: OidcProvider,
    redis: Redis,
    one: Replica,
    two: Replica,
}

impl Replicas {
    async fn start() -> Option<Self> {
        if let Some(why) = Redis::skipped().unwrap() {
            println!("skipped: {why}");
            return None;
        }
        let (provider, redis) = (OidcProvider::start().await.unwrap(), Redis::start().await.unwrap());
        let one = Replica::start(&provider, &redis, 1).await;
        let two = Replica::start(&provider, &redis, 1).await;
        Some(Self { provider, redis, one, two })
    }

    async fn token(&self, user: &str) -> String {
        self.provider.token(user, FILES, "files:read").await.unwrap()
    }

    async fn asked(&self) -> u64 {
        self.provider.request_count("/token").await.unwrap()
    }

    /// Waits until so many values are there: they are written when the answer is on its way.
    async fn places(&self, count: usize) -> Vec<Vec<u8>> {
        let places = async || {
            let places = self.redis.ask(&[b"KEYS", b"*"]).await?;
            Ok((places.len() == count).then_some(places))
        };
        eventually("the values in Redis", places).await.unwrap()
    }

    /// Waits until one has what the other got.
    async fn share(&self) {
        let shared = async || {
            let token = self.token("alice").await;
            self.one.exchange(&token).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok((self.two.exchange(&token).await.1 == ExchangeSource::Cache).then_some(()))
        };
        eventually("the replicas to share again", shared).await.unwrap();
    }

    /// Both exchange new tokens, by the provider and in time.
    async fn go_on_by_the_provider(&self) {
        for _ in 0..5 {
            for replica in [&self.one, &self.two] {
                let token = self.token("alice").await;
                let began = Instant::now();
                assert_eq!(replica.exchange(&token).await.1, ExchangeSource::Provider);
                assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            }
        }
    }
}

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn has(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_is_asked_once_for_two_replicas_and_redis_can_read_nothing() {
    let Some(replicas) = Replicas::start().await else { return };
    let alice = replicas.token("alice").await;
    let (first, source) = replicas.one.exchange(&alice).await;
    assert_eq!(source, ExchangeSource::Provider);
    let places = replicas.places(1).await;
    let before = replicas.asked().await;
    assert_eq!(replicas.two.exchange(&alice).await, (first.clone(), ExchangeSource::Cache));
    assert_eq!(replicas.asked().await, before);
    replicas.one.counted("miss").await;
    replicas.two.counted("hit").await;

    let name = String::from_utf8(places[0].clone()).unwrap();
    let digest = name.strip_prefix("palisade:").unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    let value = replicas.redis.ask(&[b"GET", &places[0]]).await.unwrap().remove(0);
    for token in [&first, &alice] {
        token.split('.').for_each(|part| assert!(!has(&value, part) && !name.contains(part)));
    }
    for text in ["alice", "ledger", "access_token", "jti"] {
        assert!(!has(&value, text), "{text}");
    }
    // For no longer than it is handed out: 5 min, less the margin.
    let lives =
        String::from_utf8(replicas.redis.ask(&[b"PTTL", &places[0]]).await.unwrap().remove(0)).unwrap();
    let lives: u64 = lives.strip_prefix(':').unwrap().parse().unwrap();
    assert!((200_000..=270_000).contains(&lives), "{lives}");

    // Whoever has another key has nothing of it.
    let stranger = Replica::start(&replicas.provider, &replicas.redis, 2).await;
    let (own, source) = stranger.exchange(&alice).await;
    assert_eq!(source, ExchangeSource::Provider);
    assert_ne!(own, first);
    // Nor does it know where that lies.
    stranger.counted("miss").await;
    assert_eq!(replicas.places(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_or_overwritten_in_redis_is_served_to_nobody() {
    let Some(replicas) = Replicas::start().await else { return };
    let (alice, bob) = (replicas.token("alice").await, replicas.token("bob").await);
    replicas.one.exchange(&alice).await;
    let of_alice = replicas.places(1).await.remove(0);
    replicas.one.exchange(&bob).await;
    let of_bob = replicas.places(2).await.into_iter().find(|place| *place != of_alice).unwrap();
    replicas.redis.ask(&[b"COPY", &of_alice, &of_bob, b"REPLACE"]).await.unwrap();
    let (token, source) = replicas.two.exchange(&bob).await;
    assert_eq!((&claims(&token)["sub"], source), (&json!("bob"), ExchangeSource::Provider));
    replicas.two.counted("unreadable").await;

    // A value of another type, and one that is no value of ours.
    let another = Replica::start(&replicas.provider, &replicas.redis, 1).await;
    replicas.redis.ask(&[b"SET", &of_bob, b"garbage"]).await.unwrap();
    replicas.redis.ask(&[b"DEL", &of_alice]).await.unwrap();
    replicas.redis.ask(&[b"LPUSH", &of_alice, b"a"]).await.unwrap();
    for (token, user) in [(&bob, "bob"), (&alice, "alice")] {
        let (token, source) = another.exchange(token).await;
        assert_eq!((&claims(&token)["sub"], source), (&json!(user), ExchangeSource::Provider));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stands_still_or_is_gone_keeps_nobody_waiting_and_is_used_again() {
    let Some(mut replicas) = Replicas::start().await else { return };
    replicas.share().await;
    replicas.redis.process().signal("STOP").unwrap();
    replicas.go_on_by_the_provider().await;
    replicas.one.counted("failed").await;
    replicas.redis.process().signal("CONT").unwrap();
    replicas.share().await;
    replicas.redis.kill().unwrap();
    replicas.go_on_by_the_provider().await;
    replicas.redis.restart().await.unwrap();
    replicas.share().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_takes_nothing_and_stops_nobody() {
    let Some(replicas) = Replicas::start().await else { return };
    replicas.share().await;
    replicas.redis.ask(&[b"CONFIG", b"SET", b"maxmemory", b"1"]).await.unwrap();
    replicas.go_on_by_the_provider().await;
    replicas.one.counted("failed").await;
    replicas.redis.ask(&[b"CONFIG", b"SET", b"maxmemory", b"0"]).await.unwrap();
    replicas.share().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_takes_effect_with_a_reload() {
    let Some(replicas) = Replicas::start().await else { return };
    let alice = replicas.token("alice").await;
    replicas.one.exchange(&alice).await;
    replicas.places(1).await;
    assert_eq!(replicas.two.exchange(&alice).await.1, ExchangeSource::Cache);
    write(replicas.two.files.path(), 2);
    let reloaded = async || {
        let bob = replicas.token("bob").await;
        replicas.one.exchange(&bob).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok((replicas.two.exchange(&bob).await.1 == ExchangeSource::Provider).then_some(()))
    };
    eventually("the other key", reloaded).await.unwrap();
    write(replicas.two.files.path(), 1);
    replicas.share().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_by_tls_with_a_server_whose_authority_they_trust() {
    if let Some(why) = Redis::skipped().unwrap() {
        return println!("skipped: {why}");
    }
    let (provider, redis) = (OidcProvider::start().await.unwrap(), Redis::start_encrypted().await.unwrap());
    let (url, authority) = redis.encrypted().unwrap();
    let one = Replica::start_at(&provider, &url, 1, Some(authority.clone())).await;
    let two = Replica::start_at(&provider, &url, 1, Some(authority.clone())).await;
    let shared = async || {
        let token = provider.token("alice", FILES, "files:read").await?;
        one.exchange(&token).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok((two.exchange(&token).await.1 == ExchangeSource::Cache).then_some(()))
    };
    eventually("the replicas to share", shared).await.unwrap();

    // A server whose authority is unknown, and one that is called something else, have nothing to say.
    let elsewhere = url.replace("localhost", "127.0.0.1");
    for (url, authorities) in [(&url, None), (&elsewhere, Some(authority))] {
        let stranger = Replica::start_at(&provider, url, 1, authorities).await;
        let token = provider.token("alice", FILES, "files:read").await.unwrap();
        one.exchange(&token).await;
        one.counted("written").await;
        assert_eq!(stranger.exchange(&token).await.1, ExchangeSource::Provider);
        stranger.counted("failed").await;
    }
}

fn write(files: &Path, key: u8) {
    std::fs::write(files.join("cache.key"), cache_key(key)).unwrap();
}
