//! Decisions on several items.

use palisade_proto::v1::{DecideBatchRequest, DecideBatchResponse, Outcome};

use super::fixture::*;

fn outcomes(answer: &DecideBatchResponse) -> Vec<(Outcome, &str)> {
    answer.items.iter().map(|item| (item.outcome(), item.reason.as_str())).collect()
}

#[tokio::test]
async fn each_item_has_its_outcome_and_one_denial_denies_the_whole() {
    let fixture = Fixture::new();
    let good = token("files", "files:read");
    let asked = ask_all("files", tools(&["list_files", "delete_file", "old_tool"]), &good);
    let answer = fixture.decide_batch("app", DecideBatchRequest { explain: true, ..asked }).await;
    assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::StepUp, "insufficient_scope"));
    assert_eq!(answer.subject, None);
    assert_eq!(
        outcomes(&answer),
        [(Outcome::Permit, "permitted"), (Outcome::Deny, "no_permit"), (Outcome::Deny, "forbidden")]
    );
    assert_eq!(answer.step_up.as_ref().unwrap().missing_scopes, ["files:delete"]);
    assert_eq!(answer.items[0].obligations, ["log the call"]);
    assert_eq!(answer.items[2].policy_code.as_deref(), Some("gone"));
    assert_eq!(answer.items[2].determining_policies[0].id, "never");
    assert_eq!(answer.explanation.as_ref().unwrap().nearest_permits.len(), 3);

    let all =
        fixture.decide_batch("app", ask_all("files", tools(&["list_files", "list_files"]), &good)).await;
    assert_eq!(all.outcome(), Outcome::Permit);
    assert!(all.subject.is_some() && all.items.iter().all(|item| item.determining_policies.is_empty()));

    let records = fixture.recorded().await;
    assert_eq!(records.len(), 2, "a batch is one decision");
    assert_eq!(records[0].id.to_string(), answer.decision_id);
    let recorded: Vec<&str> = records[0].items.iter().map(|item| item.reason.as_str()).collect();
    assert_eq!(recorded, ["permitted", "no_permit", "forbidden"]);
}

#[tokio::test]
async fn what_cannot_be_read_denies_every_item() {
    let fixture = Fixture::new();
    let good = token("files", "files:read");
    let get = |path: &str| item("GET", Some(path));
    for (asked, reason) in [
        (ask_all("files", Vec::new(), &good), "request_malformed"),
        (ask_all("files", tools(&["list_files"; 51]), &good), "request_malformed"),
        (ask_all("files", vec![tools(&["list_files"]).remove(0), item("x", None)], &good), "method_unknown"),
        (ask_all("files", tools(&["list_files", "list_files"]), "x"), "token_malformed"),
        (ask_all("nowhere", tools(&["list_files"]), &good), "resource_unknown"),
        // Policies see one path of a request.
        (
            ask_all("orders", vec![get("/v1/orders/7"), get("/v1/orders/8")], &token("orders", "")),
            "request_malformed",
        ),
    ] {
        let answer = fixture.decide_batch("app", asked.clone()).await;
        assert_eq!((answer.outcome(), answer.reason.as_str()), (Outcome::Deny, reason));
        assert_eq!(outcomes(&answer), vec![(Outcome::Deny, reason); asked.items.len()], "{asked:?}");
    }
}

#[tokio::test]
async fn methods_of_one_path_are_asked_together() {
    let fixture = Fixture::new();
    let of = |path: &str| ["GET", "DELETE"].map(|method| item(method, Some(path))).to_vec();
    let answer =
        fixture.decide_batch("app", ask_all("orders", of("/v1/orders/8"), &token("orders", ""))).await;
    assert_eq!(outcomes(&answer), [(Outcome::Permit, "permitted"), (Outcome::Deny, "no_permit")]);
    let answer =
        fixture.decide_batch("app", ask_all("orders", of("/v1/orders/7"), &token("orders", ""))).await;
    assert_eq!(outcomes(&answer), [(Outcome::Deny, "no_permit"); 2]);
}

#[tokio::test]
async fn what_cannot_be_recorded_lets_no_item_by() {
    let fixture = Fixture::new();
    fixture.close_log().await;
    let asked = tools(&["list_files", "old_tool"]);
    let answer = fixture.decide_batch("app", ask_all("files", asked, &token("files", "files:read"))).await;
    assert_eq!(outcomes(&answer), [(Outcome::Deny, "forbidden"); 2]);
}

#[tokio::test]
async fn under_observation_permits_and_denials_stay_apart() {
    let fixture = Fixture::new();
    let asked = tools(&["list_files", "old_tool"]);
    let answer =
        fixture.decide_batch("app", ask_all("watched", asked, &token("watched", "files:read"))).await;
    assert_eq!((answer.outcome(), answer.would_be.as_deref()), (Outcome::Observed, Some("forbidden")));
    assert_eq!(outcomes(&answer), [(Outcome::Permit, "permitted"), (Outcome::Observed, "forbidden")]);
}
