//! Decisions on one item, and tokens.

use palisade_proto::v1::{DecideRequest, Explanation, Item, NearPermit, Outcome, Policy};
use serde_json::json;

use super::fixture::*;

/// What a question comes out as: outcome and reason.
async fn outcome(fixture: &Fixture, by: &str, asked: DecideRequest) -> (Outcome, String) {
    let answer = fixture.decide(by, asked).await;
    (answer.outcome(), answer.reason)
}

fn is(outcome: Outcome, reason: &str) -> (Outcome, String) {
    (outcome, reason.to_owned())
}

#[tokio::test]
async fn a_permit_names_the_subject_and_what_the_policies_oblige_to() {
    let fixture = Fixture::new();
    let answer = fixture.decide("app", ask("files", "list_files", &token("files", "files:read"))).await;
    assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Permit, "permitted"));
    assert_eq!(answer.subject.as_deref(), Some("User::\"corp/alice\""));
    assert_eq!(
        (answer.obligations, answer.advice),
        (vec!["log the call".to_owned()], vec!["cache it".to_owned()])
    );
    assert_eq!((answer.policy_revision.as_str(), answer.explanation), ("r1", None));
    let [record] = fixture.recorded().await.try_into().unwrap();
    assert_eq!(record.id.to_string(), answer.decision_id);
    let said = (record.surface.unwrap().as_str(), record.pep.unwrap());
    assert_eq!((said.0, said.1.as_str()), ("decide", "app"));
}

#[tokio::test]
async fn a_denial_says_why_and_no_more_unless_asked() {
    let fixture = Fixture::new();
    let forbidden = ask("files", "old_tool", &token("files", "files:read"));
    let answer = fixture.decide("app", forbidden.clone()).await;
    assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Deny, "forbidden"));
    assert_eq!(answer.policy_code.as_deref(), Some("gone"));
    assert_eq!((answer.subject, answer.explanation), (None, None));
    let policy = |id: &str, line| Policy { id: id.to_owned(), file: "p.cedar".to_owned(), line };
    let explained = fixture.decide("app", DecideRequest { explain: true, ..forbidden }).await;
    assert_eq!(explained.explanation.unwrap().determining_policies, [policy("never", 9)]);

    let unpermitted = DecideRequest { explain: true, ..ask("files", "pay", &token("files", "")) };
    let explanation = fixture.decide("app", unpermitted).await.explanation.unwrap();
    let nearest = NearPermit {
        policy: Some(policy("small", 11)),
        failed: vec![
            "context.args.number.hasTag(\"/n\")".to_owned(),
            "context.args.number.getTag(\"/n\") == 9007199254740993".to_owned(),
        ],
    };
    assert!(explanation.nearest_permits.contains(&nearest), "{explanation:?}");
}

#[tokio::test]
async fn a_step_up_says_what_is_missing_and_what_to_ask_for() {
    let fixture = Fixture::new();
    let answer = fixture.decide("app", ask("files", "delete_file", &token("files", "files:read"))).await;
    assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::StepUp, "insufficient_scope"));
    let step_up = answer.step_up.unwrap();
    assert_eq!(step_up.missing_scopes, ["files:delete"]);
    assert_eq!(step_up.scopes, ["api://x/files:delete", "api://x/files:read"]);
    let answer = fixture.decide("app", ask("files", "wipe", &token("files", ""))).await;
    assert_eq!(
        (answer.outcome(), answer.reason.as_str()),
        (Outcome::StepUp, "insufficient_user_authentication")
    );
    assert_eq!(answer.step_up.unwrap().acr_values, ["urn:example:mfa"]);
}

#[tokio::test]
async fn under_observation_nothing_is_called_a_permit() {
    let fixture = Fixture::new();
    let answer = fixture.decide("app", ask("watched", "old_tool", &token("watched", ""))).await;
    assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Observed, "observed"));
    assert_eq!(answer.would_be.as_deref(), Some("forbidden"));
    assert_eq!((answer.policy_code.as_deref(), answer.obligations.len()), (Some("gone"), 0));
}

#[tokio::test]
async fn integers_keep_every_digit() {
    let fixture = Fixture::new();
    let pay = |arguments: &str| {
        let item = Item { arguments: Some(arguments.to_owned()), ..item("tools/call", Some("pay")) };
        DecideRequest { item: Some(item), ..ask("files", "pay", &token("files", "")) }
    };
    assert_eq!(outcome(&fixture, "app", pay(r#"{"n": 9007199254740993}"#)).await.0, Outcome::Permit);
    assert_eq!(outcome(&fixture, "app", pay(r#"{"n": 9007199254740992}"#)).await.0, Outcome::Deny);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_recorded_denial() {
    let fixture = Fixture::new();
    let good = token("files", "files:read");
    let with = |item: Item| DecideRequest { item: Some(item), ..ask("files", "", &good) };
    let arguments =
        |text: &str| Item { arguments: Some(text.to_owned()), ..item("tools/call", Some("list_files")) };
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(64 * 1024));
    for (asked, reason) in [
        (DecideRequest { item: None, ..with(item("", None)) }, "request_malformed"),
        (with(item("", None)), "method_unknown"),
        (with(item("tools/nothing", None)), "method_unknown"),
        (with(item("tools/call", None)), "request_malformed"),
        (with(item("ping", Some("x"))), "request_malformed"),
        (with(arguments("")), "request_malformed"),
        (with(arguments("{\"a\": 1, \"a\": 2}")), "request_malformed"),
        (with(arguments("{} {}")), "request_malformed"),
        (with(arguments("[1]")), "arguments_invalid"),
        (with(arguments("null")), "arguments_invalid"),
        (with(arguments(&long)), "request_malformed"),
        (DecideRequest { token: Some(String::new()), ..with(arguments("{}")) }, "token_malformed"),
        (DecideRequest { token: None, ..with(arguments("{}")) }, "no_credentials"),
        (DecideRequest { resource: "nowhere".to_owned(), ..with(arguments("{}")) }, "resource_unknown"),
        (DecideRequest { resource: "A/B".to_owned(), ..with(arguments("{}")) }, "resource_unknown"),
        (DecideRequest { resource: String::new(), ..with(arguments("{}")) }, "resource_unknown"),
    ] {
        let named = format!("{asked:?}");
        assert_eq!(outcome(&fixture, "app", asked).await, is(Outcome::Deny, reason), "{named}");
    }
    let counted: u64 = fixture.recorded().await.iter().map(|record| record.count).sum();
    assert_eq!(counted, 16);
}

#[tokio::test]
async fn callers_may_ask_what_they_are_configured_for() {
    let fixture = Fixture::new();
    let good = || ask("files", "list_files", &token("files", "files:read"));
    let unnamed = || DecideRequest { resource: String::new(), ..good() };
    let other = || ask("watched", "list_files", &token("watched", "files:read"));
    for (by, asked, reason) in [
        ("app", good(), "permitted"),
        ("local", good(), "permitted"),
        ("narrow", good(), "permitted"),
        ("narrow", unnamed(), "permitted"),
        ("narrow", other(), "pep_not_allowed"),
        ("proxy", good(), "pep_not_allowed"),
        ("", good(), "pep_unauthenticated"),
        ("gone", good(), "pep_unauthenticated"),
    ] {
        assert_eq!(outcome(&fixture, by, asked).await.1, reason, "{by}");
    }
}

#[tokio::test]
async fn without_a_token_policy_is_reached_only_where_the_resource_lets_it() {
    let fixture = Fixture::new();
    let hello = DecideRequest { token: None, item: Some(item("initialize", None)), ..ask("files", "", "") };
    let answer = fixture.decide("app", hello.clone()).await;
    assert_eq!(answer.subject.as_deref(), Some("Anonymous::\"anonymous\""));
    let bad = DecideRequest { token: Some("x".to_owned()), ..hello };
    assert_eq!(outcome(&fixture, "app", bad).await, is(Outcome::Deny, "token_malformed"));
}

#[tokio::test]
async fn a_caller_that_does_not_wait_gets_no_permit_that_comes_too_late() {
    let fixture = Fixture::new();
    let asked = ask("files", "list_files", &token("files", "files:read"));
    let answer = fixture.decide_within("0n", asked.clone()).await;
    assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Deny, "deadline_exceeded"));
    assert_eq!(fixture.decide_within("10S", asked).await.outcome(), Outcome::Permit);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_permitted() {
    let fixture = Fixture::new();
    fixture.close_log().await;
    let asked = ask("files", "list_files", &token("files", "files:read"));
    assert_eq!(outcome(&fixture, "app", asked).await, is(Outcome::Deny, "audit_unavailable"));
    // A denial that would have been observed, or mended by a stronger token, is told as the outage that it is.
    let watched = ask("watched", "old_tool", &token("watched", ""));
    assert_eq!(outcome(&fixture, "app", watched).await, is(Outcome::Deny, "audit_unavailable"));
}

#[tokio::test]
async fn policies_see_the_path_of_an_http_request() {
    let fixture = Fixture::new();
    let get = |path: &str| DecideRequest {
        item: Some(item("GET", Some(path))),
        ..ask("orders", "", &token("orders", ""))
    };
    assert_eq!(outcome(&fixture, "app", get("/v1/orders/8?x=1")).await, is(Outcome::Permit, "permitted"));
    assert_eq!(outcome(&fixture, "app", get("/v1/orders/77")).await, is(Outcome::Deny, "no_permit"));
    assert_eq!(outcome(&fixture, "app", get("/v1/orders/%2e")).await, is(Outcome::Deny, "request_malformed"));
}

#[tokio::test]
async fn a_token_is_verified_for_a_resource_and_nothing_is_recorded() {
    let fixture = Fixture::new();
    let good = token("files", "files:read files:delete");
    let answer = fixture.verify("app", "files", &good).await;
    assert!(answer.accepted && answer.reason.is_none());
    assert_eq!(answer.subject.as_deref(), Some("User::\"corp/alice\""));
    assert_eq!(answer.scopes, ["files:delete", "files:read"]);
    assert_eq!(answer.expires_at.map(|time| time.seconds), Some(NOW + 600));
    let expired = signed(&json!({
        "iss": "https://login.example.com", "sub": "alice", "aud": identifier("files"), "client_id": "app",
        "jti": "t1", "iat": NOW - 600, "exp": NOW - 60
    }));
    for (by, resource, token, reason) in [
        ("app", "files", expired.as_str(), "token_expired"),
        ("app", "watched", &good, "token_audience_mismatch"),
        ("app", "files", "", "token_malformed"),
        ("app", "", &good, "resource_unknown"),
        ("narrow", "watched", &good, "pep_not_allowed"),
        ("local", "files", &good, "pep_not_allowed"),
        ("proxy", "files", &good, "pep_not_allowed"),
        ("", "files", &good, "pep_unauthenticated"),
    ] {
        let answer = fixture.verify(by, resource, token).await;
        assert_eq!((answer.accepted, answer.reason.as_deref()), (false, Some(reason)), "{by}, {resource}");
        assert_eq!((answer.subject, answer.scopes.len(), answer.expires_at), (None, 0, None));
    }
    assert!(fixture.verify("narrow", "", &good).await.accepted);
    assert_eq!(fixture.recorded().await.len(), 0);
}

#[tokio::test]
async fn an_explanation_says_why_the_policies_were_not_asked() {
    let fixture = Fixture::new();
    let asked = DecideRequest { explain: true, ..ask("files", "list_files", "x") };
    let explanation = fixture.decide("app", asked).await.explanation.unwrap();
    let [record] = fixture.recorded().await.try_into().unwrap();
    assert_eq!(explanation, Explanation { detail: record.detail, ..Explanation::default() });
    assert!(explanation.detail.is_some());
}
