//! The shared store when there is nobody, somebody who is silent, and somebody who answers anything. tests/it has the real
//! one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use palisade_audit::ExchangeSource;
use palisade_model::Timestamp;
use palisade_pdp::{Exchanged, Exchanger, Issued};
use palisade_token::Marks;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use zeroize::Zeroizing;

use super::fixture::{Asked, CORP, NOW, StandIn, good, issued, signed};
use crate::{
    Provider, ProviderExchanger, SharedStore,
    key::Beginning,
    shared::seal::{Seal, SharedKey},
};

type Values = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// What a server answers to a `SET`, and to a `GETRANGE` where it has the value or not; nothing is as it should be.
#[derive(Clone, Copy, Default)]
struct Manners {
    set: Option<&'static str>,
    get: Option<&'static str>,
}

/// A server that knows `SET` and `GETRANGE` and says OK to everything else.
async fn server() -> (String, Values) {
    server_with(Manners::default()).await
}

async fn server_with(manners: Manners) -> (String, Values) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let values = Values::default();
    let shared = Arc::clone(&values);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&shared), manners));
        }
    });
    (url, values)
}

async fn serve(stream: TcpStream, values: Values, manners: Manners) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut words = Vec::new();
        for _ in 0..length(&mut stream).await? {
            let mut word = vec![0; length(&mut stream).await? + 2];
            stream.read_exact(&mut word).await.ok()?;
            word.truncate(word.len() - 2);
            words.push(word);
        }
        let answer = match (&*words[0], words.get(1)) {
            (b"SET", Some(_)) if manners.set.is_some() => manners.set.unwrap().into(),
            (b"GETRANGE", Some(_)) if manners.get.is_some() => manners.get.unwrap().into(),
            (b"SET", Some(key)) => {
                assert_eq!(words[3], b"PX");
                values.lock().unwrap().insert(key.clone(), words[2].clone());
                b"+OK\r\n".to_vec()
            }
            (b"GETRANGE", Some(key)) => {
                let mut value = values.lock().unwrap().get(key).cloned().unwrap_or_default();
                value.truncate(String::from_utf8_lossy(&words[3]).parse::<usize>().unwrap() + 1);
                [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat()
            }
            _ => b"+OK\r\n".to_vec(),
        };
        stream.write_all(&answer).await.ok()?;
    }
}

async fn length(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.get(1..)?.trim().parse().ok()
}

fn replica(provider: &StandIn, url: &str, key: u8) -> ProviderExchanger {
    replica_with(provider, url, &[key])
}

fn replica_with(provider: &StandIn, url: &str, keys: &[u8]) -> ProviderExchanger {
    let keys: Vec<SharedKey> = keys.iter().map(|key| SharedKey::new([*key; 32])).collect();
    let shared = SharedStore::new(url, &keys, "palisade".to_owned(), Duration::from_millis(250));
    let mut settings = provider.settings(Provider::Rfc8693);
    settings.shared = Some(Arc::new(shared.unwrap()));
    ProviderExchanger::new(settings).unwrap()
}

async fn ask(replica: &ProviderExchanger, asked: &Asked) -> Exchanged {
    replica.exchange(asked.order()).done().await
}

/// Puts a value where the token of an order is looked for, sealed with the key of the replicas.
fn put_in(values: &Values, provider: &StandIn, asked: &Asked, token: &str) {
    put_for(values, provider, asked, token, (NOW, NOW.plus(Duration::from_secs(200))));
}

/// The same with when it was written and until when it is said to be handed out.
fn put_for(values: &Values, provider: &StandIn, asked: &Asked, token: &str, when: (Timestamp, Timestamp)) {
    let key = Beginning::of(&provider.settings(Provider::Rfc8693)).key(&asked.order());
    let expires_at = NOW.plus(Duration::from_secs(1_000));
    let scopes = asked.scopes.iter().map(|scope| scope.parse().unwrap()).collect();
    let token = Zeroizing::new(token.to_owned());
    let issued = Issued {
        token,
        scopes,
        actors: Vec::new(),
        token_id: "jti:put".to_owned(),
        expires_at,
        good_until: expires_at,
        marks: Marks::default(),
    };
    let seal = Seal::new(&[SharedKey::new([1; 32])]).unwrap();
    let sealed = seal.seal(key.bytes(), &issued, when).unwrap();
    let place = format!("palisade:{}", seal.names(key.bytes()).next().unwrap()).into_bytes();
    values.lock().unwrap().insert(place, sealed);
}

/// Waits until so many values are there.
async fn written(values: &Values, count: usize) {
    for _ in 0..500 {
        if values.lock().unwrap().len() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_got_the_others_have() {
    let (provider, (url, values)) = (StandIn::start(good).await, server().await);
    let asked = Asked::default();
    let first = ask(&replica(&provider, &url, 1), &asked).await;
    assert_eq!(first.source, ExchangeSource::Provider);
    written(&values, 1).await;
    let second = ask(&replica(&provider, &url, 1), &asked).await;
    assert_eq!(second.source, ExchangeSource::Cache);
    let (first, second) = (first.result.unwrap(), second.result.unwrap());
    assert_eq!((&first.token, &first.scopes, &first.actors), (&second.token, &second.scopes, &second.actors));
    assert_eq!((&first.token_id, first.expires_at), (&second.token_id, second.expires_at));
    assert_eq!(provider.came().len(), 1);
    let other = ask(&replica(&provider, &url, 2), &asked).await;
    assert_eq!(other.source, ExchangeSource::Provider, "another key opens nothing");
    for kept in values.lock().unwrap().values() {
        assert!(!String::from_utf8_lossy(kept).contains(first.token.split('.').nth(1).unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_ends_when_it_would_in_the_first_replica() {
    let (provider, (url, values)) = (StandIn::start(good).await, server().await);
    let asked = Asked::default();
    ask(&replica(&provider, &url, 1), &asked).await.result.unwrap();
    written(&values, 1).await;
    let before = values.lock().unwrap().clone();
    // 300 s, less the margin: the lifetime does not begin anew where it is read.
    let at = |seconds| Asked { now: NOW.plus(Duration::from_secs(seconds)), ..Asked::default() };
    assert_eq!(ask(&replica(&provider, &url, 1), &at(265)).await.source, ExchangeSource::Cache);
    assert_eq!(ask(&replica(&provider, &url, 1), &at(271)).await.source, ExchangeSource::Provider);
    // And where it is read it is kept no longer, either. That which was written last is from a later time.
    while *values.lock().unwrap() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    values.lock().unwrap().clone_from(&before);
    let second = replica(&provider, &url, 1);
    assert_eq!(ask(&second, &asked).await.source, ExchangeSource::Cache);
    values.lock().unwrap().clear();
    assert_eq!(ask(&second, &at(271)).await.source, ExchangeSource::Provider);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_moved_or_spoiled_is_not_served() {
    let provider = StandIn::start(|came| {
        let subject = came.get("subject_token").unwrap().to_owned();
        (200, issued(&signed(CORP, &json!({"sub": subject, "jti": subject}))))
    })
    .await;
    let (url, values) = server().await;
    let asked = |subject: &'static str| Asked { subject, token: subject.to_owned(), ..Asked::default() };
    ask(&replica(&provider, &url, 1), &asked("alice")).await.result.unwrap();
    written(&values, 1).await;
    let of_alice = values.lock().unwrap().values().next().unwrap().clone();
    ask(&replica(&provider, &url, 1), &asked("bob")).await.result.unwrap();
    written(&values, 2).await;
    let mut long = of_alice.clone();
    long.resize(1024 * 1024, 0);
    for spoiled in [of_alice, b"garbage".to_vec(), vec![0; 3], vec![1; 13], long] {
        values.lock().unwrap().values_mut().for_each(|value| value.clone_from(&spoiled));
        let got = ask(&replica(&provider, &url, 1), &asked("bob")).await;
        assert_eq!(got.source, ExchangeSource::Provider);
        assert_eq!(got.result.unwrap().token_id, "jti:bob");
        // What the provider answered takes the place of what was spoiled, and may not come after the next.
        while values.lock().unwrap().values().all(|value| *value == spoiled) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_key_of_the_store_cannot_put_in_what_no_provider_issued() {
    let (provider, asked) = (StandIn::start(good).await, Asked::default());
    let mut forged = signed(CORP, &json!({}));
    let end = forged.len() - 8;
    forged.replace_range(end.., "AAAAAAAA");
    for (token, source) in [
        (signed(CORP, &json!({})), ExchangeSource::Cache),
        (signed(CORP, &json!({"sub": "bob"})), ExchangeSource::Provider),
        (signed(CORP, &json!({"aud": "https://other.example.com"})), ExchangeSource::Provider),
        (signed(CORP, &json!({"scope": "orders.read admin"})), ExchangeSource::Provider),
        (signed(CORP, &json!({"iss": "https://evil.example.com"})), ExchangeSource::Provider),
        (signed(CORP, &json!({"exp": 1_700_000_000})), ExchangeSource::Provider),
        (forged, ExchangeSource::Provider),
        ("opaque".to_owned(), ExchangeSource::Provider),
        (asked.token.clone(), ExchangeSource::Provider),
    ] {
        let (url, values) = server().await;
        put_in(&values, &provider, &asked, &token);
        let got = ask(&replica(&provider, &url, 1), &asked).await;
        assert_eq!(got.source, source, "{token}");
        // What is told of a token is what the token says, not what was sealed beside it.
        assert_eq!(got.result.unwrap().token_id, "jti:j1", "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_or_nobody_answering_costs_a_timeout_at_most_and_then_nothing() {
    let provider = StandIn::start(good).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for address in [silent.local_addr().unwrap(), gone] {
        let replica = replica(&provider, &format!("redis://{address}"), 1);
        for number in 0..20 {
            let asked = Asked { token: format!("{address} {number}"), ..Asked::default() };
            let began = Instant::now();
            let got = ask(&replica, &asked).await;
            assert_eq!(got.source, ExchangeSource::Provider);
            got.result.unwrap();
            assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_left_alone_keeps_nobody_from_what_is_shared() {
    let (provider, (url, values)) = (StandIn::start(good).await, server().await);
    let asked = Asked::default();
    ask(&replica(&provider, &url, 1), &asked).await.result.unwrap();
    written(&values, 1).await;
    provider.answer(|_| (500, json!({"error": "server_error"})));
    let second = replica(&provider, &url, 1);
    let other = |number: u32| Asked { token: number.to_string(), ..Asked::default() };
    for number in 0..5 {
        ask(&second, &other(number)).await.result.unwrap_err();
    }
    assert_eq!(ask(&second, &other(9)).await.source, ExchangeSource::Withheld);
    let got = ask(&second, &asked).await;
    assert_eq!(got.source, ExchangeSource::Cache);
    got.result.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_hand_nothing_out_for_longer() {
    let (provider, asked) = (StandIn::start(good).await, Asked::default());
    let at = |seconds: i64| Timestamp::from_unix_seconds(NOW.unix_seconds() + seconds);
    let token = signed(CORP, &json!({}));
    // The order's lifetime is 300 s.
    for (written, until, source) in [
        (0, 200, ExchangeSource::Cache),
        (0, 300, ExchangeSource::Cache),
        (-250, 50, ExchangeSource::Cache),
        (4, 200, ExchangeSource::Cache),
        (6, 200, ExchangeSource::Provider),
        (100_000, 100_200, ExchangeSource::Provider),
        (0, 301, ExchangeSource::Provider),
        (-250, 60, ExchangeSource::Provider),
        (-300, 0, ExchangeSource::Provider),
        (i64::from(i32::MIN), 200, ExchangeSource::Provider),
    ] {
        let (url, values) = server().await;
        put_for(&values, &provider, &asked, &token, (at(written), at(until)));
        let got = ask(&replica(&provider, &url, 1), &asked).await;
        assert_eq!(got.source, source, "{written} {until}");
        got.result.unwrap();
    }
    // One that is ahead within what is allowed for is still not handed out for longer than the order says.
    let (url, values) = server().await;
    put_for(&values, &provider, &asked, &token, (at(4), at(304)));
    let replica = replica(&provider, &url, 1);
    assert_eq!(ask(&replica, &asked).await.source, ExchangeSource::Cache);
    values.lock().unwrap().clear();
    let later = |seconds| Asked { now: at(seconds), ..Asked::default() };
    assert_eq!(ask(&replica, &later(269)).await.source, ExchangeSource::Cache);
    assert_eq!(ask(&replica, &later(271)).await.source, ExchangeSource::Provider);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_found_while_the_keys_are_changed() {
    let provider = StandIn::start(good).await;
    for (writes, reads) in [(&[1][..], &[1, 2][..]), (&[1, 2], &[2, 1]), (&[2, 1], &[1, 2]), (&[2, 1], &[2])]
    {
        let (asked, (url, values)) = (Asked::default(), server().await);
        ask(&replica_with(&provider, &url, writes), &asked).await.result.unwrap();
        written(&values, 1).await;
        let got = ask(&replica_with(&provider, &url, reads), &asked).await;
        assert_eq!(got.source, ExchangeSource::Cache, "{writes:?} {reads:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_nothing_still_gives() {
    let provider = StandIn::start(good).await;
    let full = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    let (url, values) = server_with(Manners { set: Some(full), get: None }).await;
    let replica = replica(&provider, &url, 1);
    for number in 0..4 {
        let first = Asked { token: format!("{number}"), ..Asked::default() };
        assert_eq!(ask(&replica, &first).await.source, ExchangeSource::Provider);
        // The refusal has come by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let second = Asked { token: format!("{number} again"), ..Asked::default() };
        put_in(&values, &provider, &second, &signed(CORP, &json!({})));
        assert_eq!(ask(&replica, &second).await.source, ExchangeSource::Cache);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_with_an_error_or_without_end_keeps_nobody() {
    let provider = StandIn::start(good).await;
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    let endless = Box::leak(format!("$999999999\r\n{}", "a".repeat(8 * 1024 * 1024)).into_boxed_str());
    for get in [wrong_type, ":7\r\n", "$-1\r\n", "*999999999\r\n", "garbage\r\n", endless] {
        let (url, _) = server_with(Manners { get: Some(get), set: None }).await;
        let replica = replica(&provider, &url, 1);
        for number in 0..3 {
            let asked = Asked { token: number.to_string(), ..Asked::default() };
            let (began, got) = (Instant::now(), ask(&replica, &asked).await);
            assert_eq!(got.source, ExchangeSource::Provider);
            got.result.unwrap();
            assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
        }
    }
}

#[test]
fn a_url_is_one_of_redis_and_keeps_certificates_verified() {
    let key = [SharedKey::new([1; 32])];
    let new = |url: &str| SharedStore::new(url, &key, String::new(), Duration::from_millis(50));
    new("redis://127.0.0.1").unwrap();
    new("rediss://user:s3cret@cache.example.com:6380/1").unwrap();
    for wrong in ["http://a", "rediss://s3cret@a#insecure", "unix:///run/redis", "", "redis:/s3cret"] {
        let error = new(wrong).unwrap_err();
        assert!(error.starts_with("url: ") && !error.contains("s3cret"), "{wrong}: {error}");
    }
}
