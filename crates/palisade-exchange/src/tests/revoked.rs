//! What is in store when a list is changed: the subject's own token is refused before anybody looks there, and what was
//! issued for it is looked at here.

use std::{sync::Arc, time::Duration};

use palisade_audit::ExchangeSource;
use palisade_pdp::{Exchanged, Exchanger, FailureKind};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::fixture::{Asked, CORP, StandIn, issued, signed};
use crate::{Actor, Provider, ProviderExchanger, ResultCheck, TokenType};

/// A provider whose tokens have a number.
async fn numbered() -> StandIn {
    let count = std::sync::atomic::AtomicUsize::new(0);
    StandIn::start(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (200, issued(&signed(CORP, &json!({"jti": format!("j{number}"), "sid": "s"}))))
    })
    .await
}

async fn ask(exchanger: &ProviderExchanger, revoked: Value) -> Exchanged {
    let asked = Asked { revoked: Some(revoked), ..Asked::default() };
    exchanger.exchange(asked.order()).done().await
}

#[tokio::test]
async fn what_was_issued_is_not_handed_out_once_it_is_revoked_itself() {
    let provider = numbered().await;
    let exchanger = ProviderExchanger::new(provider.settings(Provider::Rfc8693)).unwrap();
    assert_eq!(ask(&exchanger, json!([])).await.result.unwrap().token_id, "jti:j0");
    let stored = ask(&exchanger, json!([])).await;
    assert_eq!((stored.source, provider.came().len()), (ExchangeSource::Cache, 1));
    // Another is had in its place, where another would not be revoked as well.
    let other = ask(&exchanger, json!([{"token": "j0"}])).await;
    assert_eq!((other.source, &*other.result.unwrap().token_id), (ExchangeSource::Provider, "jti:j1"));
    for entry in [json!({"session": "s"}), json!({"client": "gw"}), json!({"subject": "alice"})] {
        let failure = ask(&exchanger, json!([entry])).await.result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{entry}");
        assert!(failure.detail.contains("token_revoked"), "{entry}: {failure:?}");
        // A refusal of what was issued is remembered, so the provider is not asked in a loop.
        let before = provider.came().len();
        assert!(ask(&exchanger, json!([entry])).await.result.is_err());
        assert_eq!(provider.came().len(), before, "{entry}");
        // Under another list of the same moment it would be asked again, and the refusal has an end.
        let later = Asked { now: super::fixture::NOW.plus(Duration::from_secs(31)), ..Asked::default() };
        assert!(exchanger.exchange(later.order()).done().await.result.is_ok(), "{entry}");
    }
}

#[tokio::test]
async fn what_was_issued_to_an_actor_ends_with_the_actors_own_token() {
    for result in [ResultCheck::Verified, ResultCheck::Opaque] {
        let provider =
            StandIn::start(move |_| (200, issued(&signed(CORP, &json!({"act": {"sub": "gw"}}))))).await;
        let mut settings = provider.settings(Provider::Rfc8693);
        let token = signed(CORP, &json!({"sub": "gw", "client_id": "gw", "aud": CORP, "jti": "gws"}));
        settings.actor = Some(Actor { token: Zeroizing::new(token), token_type: TokenType::AccessToken });
        settings.result = result;
        let exchanger = ProviderExchanger::new(settings).unwrap();
        assert!(ask(&exchanger, json!([])).await.result.is_ok());
        assert_eq!(ask(&exchanger, json!([])).await.source, ExchangeSource::Cache);
        let failure = ask(&exchanger, json!([{"token": "gws"}])).await.result.unwrap_err();
        assert!(failure.detail.contains("token_revoked"), "{failure:?}");
        assert_eq!(provider.came().len(), 1, "a revoked token of an actor is not sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_what_another_began_is_not_handed_what_their_list_revokes() {
    let provider = numbered().await;
    provider.delay(Duration::from_millis(200));
    let exchanger = Arc::new(ProviderExchanger::new(provider.settings(Provider::Rfc8693)).unwrap());
    let first = {
        let exchanger = Arc::clone(&exchanger);
        tokio::spawn(async move { ask(&exchanger, json!([])).await })
    };
    while provider.came().is_empty() {
        tokio::task::yield_now().await;
    }
    let failure = ask(&exchanger, json!([{"session": "s"}])).await.result.unwrap_err();
    assert!(failure.detail.contains("revoked"), "{failure:?}");
    assert!(first.await.unwrap().result.is_ok());
    assert_eq!(provider.came().len(), 1);
}
