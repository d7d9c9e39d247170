use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use palisade_audit::ExchangeSource;
use palisade_pdp::{Exchanged, Exchanger, FailureKind};
use serde_json::json;

use super::fixture::{Asked, CORP, NOW, StandIn, good, issued, once, signed};
use crate::{Provider, ProviderExchanger, flights::MOST_OF_ONE};

async fn exchanger(provider: &StandIn) -> Arc<ProviderExchanger> {
    Arc::new(ProviderExchanger::new(provider.settings(Provider::Rfc8693)).unwrap())
}

async fn ask(exchanger: &ProviderExchanger, asked: &Asked) -> Exchanged {
    exchanger.exchange(asked.order()).done().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_ask_the_same_cause_one_request() {
    let provider = StandIn::start(good).await;
    provider.delay(Duration::from_millis(100));
    let exchanger = exchanger(&provider).await;
    let asking = (0..1_000).map(|_| {
        let exchanger = Arc::clone(&exchanger);
        tokio::spawn(
            async move { ask(&exchanger, &Asked::default()).await.result.unwrap().token.to_string() },
        )
    });
    let tokens: std::collections::BTreeSet<String> =
        join_all(asking).await.into_iter().map(Result::unwrap).collect();
    assert_eq!((provider.came().len(), tokens.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_asks_for_ever_something_else_leaves_room_for_others() {
    let provider = StandIn::start(good).await;
    provider.delay(Duration::from_secs(2));
    let exchanger = exchanger(&provider).await;
    let asking = (0..600).map(|number| {
        let exchanger = Arc::clone(&exchanger);
        let asked = Asked { token: format!("token.{number}"), ..Asked::default() };
        tokio::spawn(async move { ask(&exchanger, &asked).await })
    });
    let asking: Vec<_> = asking.collect();
    while provider.came().len() < MOST_OF_ONE {
        tokio::task::yield_now().await;
    }
    let bob = Asked { subject: "bob", token: "bobs.token".to_owned(), ..Asked::default() };
    let refused = ask(&exchanger, &bob).await.result.unwrap_err();
    assert!(refused.detail.contains("another subject"), "he was asked for, and got alice's: {refused:?}");
    let done: Vec<Exchanged> = join_all(asking).await.into_iter().map(Result::unwrap).collect();
    let withheld = done.iter().filter(|done| done.source == ExchangeSource::Withheld);
    let pending =
        |done: &&Exchanged| matches!(&done.result, Err(failure) if failure.kind == FailureKind::Pending);
    assert_eq!(withheld.filter(pending).count(), 600 - MOST_OF_ONE);
    assert_eq!(done.iter().filter(|done| done.result.is_ok()).count(), MOST_OF_ONE);
    assert_eq!(provider.came().len(), MOST_OF_ONE + 1);
    // Those that have ended take no room any more.
    let next = Asked { token: "next".to_owned(), ..Asked::default() };
    assert!(ask(&exchanger, &next).await.result.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_something_else_at_the_same_time_gets_what_is_theirs() {
    let subjects = ["alice", "bob", "carol", "dave"];
    let provider = StandIn::start(move |came| {
        let subject = came.get("subject_token").unwrap().to_owned();
        (200, issued(&signed(CORP, &json!({"sub": subject, "jti": subject, "scope": came.get("scope")}))))
    })
    .await;
    let exchanger = exchanger(&provider).await;
    let asked = |subject: &'static str| Asked { subject, token: subject.to_owned(), ..Asked::default() };
    for _ in 0..3 {
        let asking = subjects.map(|subject| {
            let (exchanger, asked) = (Arc::clone(&exchanger), asked(subject));
            tokio::spawn(async move { (subject, ask(&exchanger, &asked).await.result.unwrap()) })
        });
        for done in join_all(asking).await {
            let (subject, token) = done.unwrap();
            assert_eq!(token.token_id, format!("jti:{subject}"));
        }
    }
    assert_eq!(provider.came().len(), subjects.len());
    // The same user with another token, or for other scopes, asks anew.
    let renewed = Asked { token: "alice".to_owned(), scopes: &["orders.read"], ..asked("alice") };
    assert_eq!(ask(&exchanger, &renewed).await.source, ExchangeSource::Provider);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_than_somebody_waits_is_there_for_the_next() {
    let provider = StandIn::start(good).await;
    provider.delay(Duration::from_millis(300));
    let exchanger = exchanger(&provider).await;
    let impatient = Asked { patience: Duration::from_millis(50), ..Asked::default() };
    let first = ask(&exchanger, &impatient).await;
    assert_eq!(first.result.unwrap_err().kind, FailureKind::Pending);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let second = ask(&exchanger, &impatient).await;
    assert_eq!((second.source, second.result.is_ok()), (ExchangeSource::Cache, true));
    assert_eq!(provider.came().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_remembered_for_a_while_and_by_its_key() {
    let provider = StandIn::start(|_| (400, json!({"error": "invalid_grant"}))).await;
    let exchanger = exchanger(&provider).await;
    for (after, source, asked_times) in
        [(0, ExchangeSource::Provider, 1), (20, ExchangeSource::Cache, 1), (40, ExchangeSource::Provider, 2)]
    {
        let asked = Asked { now: NOW.plus(Duration::from_secs(after)), ..Asked::default() };
        let done = ask(&exchanger, &asked).await;
        assert_eq!((done.source, provider.came().len()), (source, asked_times), "after {after} s");
        let failure = done.result.unwrap_err();
        assert_eq!(failure.said.unwrap().error.as_deref(), Some("invalid_grant"));
    }
    let other = Asked { token: "other".to_owned(), ..Asked::default() };
    assert_eq!(ask(&exchanger, &other).await.source, ExchangeSource::Provider);
}

#[tokio::test]
async fn a_target_that_the_provider_does_not_know_is_asked_about_every_five_minutes() {
    let provider = StandIn::start(|_| (400, json!({"error": "invalid_target"}))).await;
    let exchanger = exchanger(&provider).await;
    for (after, asked_times) in [(0, 1), (31, 1), (299, 1), (301, 2)] {
        // The subject's token outlives that.
        let lives = Duration::from_secs(3_600);
        let asked = Asked { now: NOW.plus(Duration::from_secs(after)), lives, ..Asked::default() };
        assert_eq!(ask(&exchanger, &asked).await.result.unwrap_err().kind, FailureKind::Refused);
        assert_eq!(provider.came().len(), asked_times, "after {after} s");
    }
}

#[tokio::test]
async fn a_provider_that_sends_everybody_away_for_no_time_is_left_alone_and_what_it_says_is_kept() {
    for (status, retry_after) in [(503, "0"), (500, "Sun, 06 Nov 1994 08:49:37 GMT")] {
        let provider =
            StandIn::start(move |_| (status, json!({"error": "server_error", "error_description": "full"})))
                .await;
        provider.retry_after(retry_after);
        let exchanger = exchanger(&provider).await;
        let first = ask(&exchanger, &Asked::default()).await.result.unwrap_err();
        let said = first.said.unwrap();
        assert_eq!((said.status, said.error.as_deref()), (Some(status), Some("server_error")));
        assert_eq!(said.description.as_deref(), Some("full"));
        let bob = Asked { subject: "bob", token: "bobs.token".to_owned(), ..Asked::default() };
        let next = ask(&exchanger, &bob).await;
        assert_eq!((next.source, provider.came().len()), (ExchangeSource::Withheld, 1));
        assert_eq!(next.result.unwrap_err().retry_after.unwrap().as_secs(), 1, "2 s, less what it took");
    }
}

#[tokio::test]
async fn a_provider_that_answers_nonsense_is_left_alone_after_a_while() {
    for answer in [
        (500, json!({"error": "server_error"})),
        (200, json!("garbage")),
        (502, json!("<html>")),
        (200, json!([1])),
    ] {
        let provider = StandIn::start(move |_| answer.clone()).await;
        let exchanger = exchanger(&provider).await;
        for time in 0..8 {
            let done = ask(&exchanger, &Asked { token: time.to_string(), ..Asked::default() }).await;
            let failure = done.result.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Unavailable);
            let withheld = done.source == ExchangeSource::Withheld;
            assert_eq!((withheld, failure.retry_after.is_some()), (time >= 5, time >= 5), "{time}");
        }
        assert_eq!(provider.came().len(), 5);
    }
}

#[tokio::test]
async fn nobody_there_is_an_outage() {
    let provider = StandIn::start(good).await;
    let mut settings = provider.settings(Provider::Rfc8693);
    // A port on which nobody listens.
    settings.token_endpoint = Some("http://127.0.0.1:9/token".parse().unwrap());
    let failure = once(settings.clone(), &Asked::default()).await.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    // What is not public is not asked, unless that is configured.
    settings.route.private = false;
    assert!(ProviderExchanger::new(settings).is_err());
}
