//! No denial, no failure and no input of a stranger is answered as a permit.

use std::{sync::Arc, time::Duration};

use palisade_model::{DecisionId, PolicyRevision, Reason, Scopes, Timestamp};
use palisade_pdp::{Decision, Denial, Findings, Remedy};
use palisade_proto::v1::{DecideResponse, Item, Outcome};
use proptest::prelude::*;

use super::fixture::*;
use crate::grpc::encode;

fn remedies() -> [Remedy; 3] {
    let scope = "files:delete".parse().unwrap();
    let authentication =
        Remedy::Authentication { acr_values: vec!["a".to_owned()], max_age: Some(Duration::from_secs(60)) };
    [Remedy::None, Remedy::Scopes(Scopes::from([scope])), authentication]
}

fn answered(reason: Reason, remedy: Remedy, explain: bool) -> DecideResponse {
    let denial = Denial {
        id: DecisionId::new(Timestamp::from_unix_seconds(NOW)),
        reason,
        resource: Some(Arc::new(resource("files"))),
        remedy,
        retry_after: None,
        policy_code: None,
        replies: Vec::new(),
        batch: false,
        told: None,
    };
    encode::decided(&Decision::Deny(denial), &Findings::default(), &PolicyRevision::from("r1"), explain)
}

#[test]
fn every_reason_of_a_denial_is_a_denial_and_only_a_step_up_offers_something() {
    for reason in Reason::ALL {
        for remedy in remedies() {
            let offers = remedy != Remedy::None;
            let answer = answered(*reason, remedy, true);
            let is_step_up =
                matches!(reason, Reason::InsufficientScope | Reason::InsufficientUserAuthentication);
            let expected = if is_step_up { Outcome::StepUp } else { Outcome::Deny };
            assert_eq!(answer.outcome(), expected, "{reason}");
            assert_eq!(answer.reason, reason.as_str());
            assert_eq!(answer.step_up.is_some(), is_step_up && offers, "{reason}");
            assert_eq!((answer.subject.as_ref(), answer.obligations.len()), (None, 0));
        }
    }
}

#[test]
fn a_failure_of_the_service_is_a_denial_and_nothing_said_is_none() {
    assert_eq!(encode::outage().outcome(), Outcome::Deny);
    assert_eq!(encode::batch_outage().outcome(), Outcome::Deny);
    assert_eq!(DecideResponse::default().outcome(), Outcome::Unspecified);
    assert_eq!(DecideResponse { outcome: 99, ..DecideResponse::default() }.outcome(), Outcome::Unspecified);
}

proptest! {
    #[test]
    fn no_denial_of_a_batch_lets_an_item_by(at in 0..Reason::ALL.len(), remedy in 0..3_usize, items in 0..60_usize) {
        let whole = answered(Reason::ALL[at], remedies()[remedy].clone(), false);
        let answer = encode::batch(whole, &Findings::default(), items, false);
        prop_assert_eq!(answer.items.len(), items);
        prop_assert!(answer.items.iter().all(|item| item.outcome() == Outcome::Deny));
        prop_assert!(matches!(answer.outcome(), Outcome::Deny | Outcome::StepUp));
    }
}

#[test]
fn no_words_of_a_stranger_are_permitted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(async { Fixture::new() });
    let words = || {
        prop_oneof![
            Just("tools/call".to_owned()),
            Just("GET".to_owned()),
            Just("list_files".to_owned()),
            Just("/v1/orders/8".to_owned()),
            Just("{}".to_owned()),
            ".{0,12}",
        ]
    };
    let resources = prop_oneof![
        Just("files".to_owned()),
        Just("watched".to_owned()),
        Just("orders".to_owned()),
        ".{0,5}"
    ];
    let input = (
        resources,
        proptest::option::of(words()),
        words(),
        proptest::option::of(words()),
        proptest::option::of(words()),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let result = runner.run(&input, |(resource, token, action, target, arguments)| {
        let initialize = action == "initialize" && token.is_none();
        let item = Item { action, target, arguments };
        let mut asked = ask(&resource, "", "");
        (asked.token, asked.item) = (token.clone(), Some(item.clone()));
        let one = runtime.block_on(fixture.decide("app", asked));
        prop_assert!(one.outcome() == Outcome::Deny || initialize, "{:?}", one);
        let mut asked = ask_all(&resource, vec![item.clone(), item], "");
        asked.token = token;
        let several = runtime.block_on(fixture.decide_batch("app", asked));
        let denied = several.items.iter().all(|item| item.outcome() == Outcome::Deny);
        prop_assert!((denied && several.outcome() == Outcome::Deny) || initialize, "{:?}", several);
        Ok(())
    });
    result.unwrap();
}
