//! What leaves for the upstream in place of the client's token: nothing that was not exchanged, and never the token itself.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::StatusCode};
use palisade_audit::ExchangeSource;
use palisade_model::{Reason, Timestamp};
use palisade_pdp::{
    Exchange, ExchangeFailure, Exchanged, Exchanger, Exchanges, Exchanging, FailureKind, Fingerprint, Issued,
    Order, StaticHeader, UpstreamToken,
};
use palisade_policy::WorldExchange;
use palisade_token::Marks;
use serde_json::json;

use super::{fixture::*, http};

/// Issues `issued.<subject>` for whatever the policies permit, but nothing to dave.
#[derive(Debug)]
struct StandIn;

impl Exchanger for StandIn {
    fn exchange(&self, order: Order) -> Exchanging<'_> {
        let scopes: Vec<&str> = order.scopes().iter().map(|scope| scope.as_str()).collect();
        // What the policies leave of the three that are configured.
        assert_eq!(scopes, ["ledger:read", "ledger:write"]);
        let failure = ExchangeFailure {
            kind: FailureKind::InteractionRequired,
            detail: "the user has to interact with the provider".to_owned(),
            said: None,
            claims: Some("{\"a\":1}".to_owned()),
            retry_after: None,
        };
        let interacts = order.authority().acr.as_deref() == Some("weak");
        let issued = Issued {
            token: format!("issued.{}", order.subject().id.replace('/', ".")).into(),
            scopes: order.scopes().clone(),
            actors: vec!["corp/gw".to_owned()],
            token_id: "jti:i".to_owned(),
            expires_at: Timestamp::from_unix_seconds(NOW + 60),
            good_until: Timestamp::from_unix_seconds(NOW + 60),
            marks: Marks::default(),
        };
        let result = if interacts { Err(failure) } else { Ok(Arc::new(issued)) };
        Exchanging::Waiting(Box::pin(async { Exchanged { source: ExchangeSource::Provider, result } }))
    }
}

pub(super) fn exchanges() -> Exchanges {
    let exchange = Exchange {
        name: "ledger".parse().unwrap(),
        issuer: "corp".parse().unwrap(),
        audience: "https://ledger.example.com".to_owned(),
        scopes: Arc::new(
            ["ledger:read", "ledger:write", "ledger:admin"].map(|scope| scope.parse().unwrap()).into(),
        ),
        lifetime: Duration::from_secs(300),
        timeout: Duration::from_secs(3),
        requester: "corp/gw".to_owned(),
        fingerprint: Fingerprint([0; 32]),
        exchanger: Arc::new(StandIn),
    };
    [(exchange.name.clone(), Arc::new(exchange))].into()
}

pub(super) fn in_world() -> WorldExchange {
    WorldExchange {
        name: "ledger".parse().unwrap(),
        audience: "https://ledger.example.com".to_owned(),
        resources: ["books", "billed"].map(|name| name.parse().unwrap()).into(),
    }
}

pub(super) fn header() -> UpstreamToken {
    UpstreamToken::Static(Arc::new(StaticHeader {
        name: "x-api-key".to_owned(),
        value: "of-the-upstream".to_owned().into(),
    }))
}

fn lines<'a>(shown: &'a str, prefix: &'a str) -> Vec<&'a str> {
    shown.lines().filter_map(|line| line.strip_prefix(prefix)).collect()
}

#[tokio::test]
async fn the_exchanged_token_takes_the_place_of_the_clients() {
    let fixture = fixture();
    let shown = show(&Check::call("books", "list_files").answer(&fixture).await);
    assert_eq!(lines(&shown, "upstream authorization "), ["= Bearer issued.corp.alice"], "{shown}");
    let removed = lines(&shown, "remove ")[0].split(' ').collect::<Vec<_>>();
    assert!(!removed.contains(&"authorization"), "what replaces a header is not taken away again: {shown}");
    assert!(!shown.contains(&token("books", json!({}))), "{shown}");
    let record = fixture.recorded().await;
    let exchange = record.exchange.unwrap();
    assert_eq!((exchange.reason, exchange.requested_scopes.len()), (Reason::Permitted, 2));
    assert_eq!(exchange.determining_policies[0].id, "books");
    assert_eq!(exchange.token_id.as_deref(), Some("jti:i"));
}

#[tokio::test]
async fn without_a_permission_for_it_nothing_is_exchanged_and_nothing_leaves() {
    let fixture = fixture();
    let as_bob = format!("Bearer {}", token("books", json!({"sub": "bob"})));
    let response = Check::call("books", "list_files").header("authorization", &as_bob).answer(&fixture).await;
    assert_eq!((denied(&response), reason(&response).as_str()), ((7, 403), "exchange_refused"));
    let exchange = fixture.recorded().await.exchange.unwrap();
    assert_eq!((exchange.reason, exchange.source), (Reason::NoPermit, None));
    // A call that is denied by itself exchanges nothing either.
    let fixture = super::fixture::fixture();
    let response = Check::call("books", "delete_file").answer(&fixture).await;
    assert_eq!(reason(&response), "insufficient_scope");
    assert_eq!(fixture.recorded().await.exchange, None);
}

#[tokio::test]
async fn what_is_for_another_or_past_its_end_is_taken_perhaps_and_exchanged_never() {
    for (resource, changes, told, says) in [
        ("lax", json!({}), None, ""),
        (
            "lax",
            json!({"aud": "https://other.example.com"}),
            Some(((7, 403), "exchange_refused")),
            "audiences",
        ),
        // Within the leeway: a call that leaves with nothing goes on.
        ("books", json!({"exp": NOW - 10}), Some(((16, 401), "token_expired")), "exchanged no more"),
        ("books", json!({"exp": NOW}), Some(((16, 401), "token_expired")), "exchanged no more"),
        ("files", json!({"exp": NOW - 10}), None, ""),
    ] {
        let fixture = fixture();
        let bearer = format!("Bearer {}", token(resource, changes.clone()));
        let call = Check::call(resource, "list_files").header("authorization", &bearer);
        let response = call.answer(&fixture).await;
        let Some((status, code)) = told else {
            assert_eq!(reason(&response), "permitted", "{resource} {changes}");
            continue;
        };
        assert_eq!((denied(&response), reason(&response).as_str()), (status, code), "{resource} {changes}");
        let record = fixture.recorded().await;
        assert!(record.detail.unwrap().contains(says), "{resource} {changes}");
        // Nobody was asked, neither the policies nor the provider.
        let exchange = record.exchange.unwrap();
        assert_eq!((exchange.source, exchange.determining_policies.len()), (None, 0));
    }
}

#[tokio::test]
async fn a_challenge_of_the_provider_reaches_the_client() {
    let fixture = fixture();
    let weak = format!("Bearer {}", token("books", json!({"acr": "weak"})));
    let response = Check::call("books", "list_files").header("authorization", &weak).answer(&fixture).await;
    assert_eq!((denied(&response), reason(&response).as_str()), ((16, 401), "exchange_interaction_required"));
    let shown = show(&response);
    assert!(
        shown.contains("error=\"insufficient_claims\"") && shown.contains("claims=\"eyJhIjoxfQ==\""),
        "{shown}"
    );
}

#[tokio::test]
async fn who_brings_no_token_leaves_with_none() {
    let fixture = fixture();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} });
    for resource in ["books", "keyed"] {
        let shown = show(&Check::post(resource, &body).answer(&fixture).await);
        assert!(shown.starts_with("code 0\n") && !shown.contains("upstream "), "{shown}");
    }
}

#[tokio::test]
async fn a_header_of_the_configuration_takes_the_place_of_the_token() {
    let fixture = fixture();
    let shown =
        show(&Check::call("keyed", "list_files").header("x-api-key", "of-the-client").answer(&fixture).await);
    assert_eq!(lines(&shown, "upstream x-api-key "), ["= of-the-upstream"], "{shown}");
    let removed = lines(&shown, "remove ")[0].split(' ').collect::<Vec<_>>();
    assert!(removed.contains(&"authorization") && !removed.contains(&"x-api-key"), "{shown}");
}

#[tokio::test]
async fn over_http_it_is_the_same() {
    let fixture = fixture();
    let (status, headers, _) =
        http::answer(&fixture, http::tool_call_by("edge", "books", "list_files")).await;
    assert_eq!(
        (status, &headers["authorization"]),
        (StatusCode::OK, &"Bearer issued.corp.alice".parse().unwrap())
    );
    let removed = headers["x-envoy-auth-headers-to-remove"].to_str().unwrap();
    assert!(removed.split(", ").all(|name| name != "authorization"), "{removed}");
    let (_, headers, _) = http::answer(&fixture, http::tool_call_by("edge", "keyed", "list_files")).await;
    assert_eq!(headers["x-api-key"], "of-the-upstream");
    let removed = headers["x-envoy-auth-headers-to-remove"].to_str().unwrap();
    assert!(removed.contains("authorization") && removed.contains("x_api_key"), "{removed}");
    // Whoever asks is handed it.
    for resource in ["books", "keyed"] {
        let (status, headers, _) =
            http::answer(&fixture, http::tool_call_by("local", resource, "list_files")).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(!headers.contains_key("authorization") && !headers.contains_key("x-api-key"));
    }
    let anonymous = http::request("GET", "/authz/books/mcp").extension(caller("edge"));
    let anonymous = anonymous.body(Body::empty()).unwrap();
    assert_eq!(http::answer(&fixture, anonymous).await.0, StatusCode::UNAUTHORIZED);
}
