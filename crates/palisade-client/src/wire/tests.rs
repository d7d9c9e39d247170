//! What an answer has to have to be one.

use std::time::Duration;

use palisade_proto::v1;
use proptest::prelude::*;

use super::Asked;
use crate::{
    Batch, Decision, Entity, Exchange, Exchanged, Found, Item, ItemOutcome, Outcome, Presentation, Question,
    Search, Searched, StepUp, Verification,
};

const ID: &str = "01a1fbe7-3682-7add-b91f-dde13657033e";

fn question() -> Question {
    Question::new("demo", Item::new("tools/call").on("echo").with("{}")).token("t")
}

fn said(outcome: v1::Outcome) -> v1::DecideResponse {
    v1::DecideResponse {
        decision_id: ID.to_owned(),
        outcome: outcome.into(),
        reason: "r".to_owned(),
        subject: Some("User::\"a\"".to_owned()),
        policy_revision: "r1".to_owned(),
        ..v1::DecideResponse::default()
    }
}

fn read(reply: v1::DecideResponse) -> Option<Decision> {
    question().read(reply).ok()
}

#[test]
fn a_question_becomes_the_message_that_asks_it() {
    let message = question().explained().message();
    let item = message.item.unwrap();
    assert_eq!(
        (item.action.as_str(), item.target.as_deref(), item.arguments.as_deref()),
        ("tools/call", Some("echo"), Some("{}"))
    );
    assert_eq!(
        (message.resource.as_str(), message.token.as_deref(), message.explain),
        ("demo", Some("t"), true)
    );
    assert_eq!(Question::new("demo", Item::new("ping")).message().token, None);
    let batch = Batch::new("demo", vec![Item::new("ping"), Item::new("tools/list")]).token("t").message();
    assert_eq!((batch.items.len(), batch.token.as_deref()), (2, Some("t")));
    assert_eq!(Presentation::new("demo", "t").message().token, "t");
}

#[test]
fn each_outcome_is_its_own() {
    let outcome = |reply| read(reply).map(|decision| decision.outcome);
    assert!(matches!(outcome(said(v1::Outcome::Permit)), Some(Outcome::Permit(_))));
    assert!(matches!(outcome(said(v1::Outcome::Deny)), Some(Outcome::Deny(_))));
    assert!(matches!(outcome(said(v1::Outcome::Observed)), Some(Outcome::Observed(_))));
    assert_eq!(outcome(said(v1::Outcome::Unspecified)), None);
    assert_eq!(outcome(v1::DecideResponse { outcome: 99, ..said(v1::Outcome::Permit) }), None);
    // A step-up that offers nothing is a plain denial.
    assert!(matches!(outcome(said(v1::Outcome::StepUp)), Some(Outcome::Deny(_))));
    let scopes = v1::StepUp { scopes: vec!["a".to_owned()], ..v1::StepUp::default() };
    let stepped =
        |step_up| outcome(v1::DecideResponse { step_up: Some(step_up), ..said(v1::Outcome::StepUp) });
    assert!(matches!(stepped(scopes), Some(Outcome::StepUp(StepUp::Scopes { .. }))));
    let age = |seconds| v1::StepUp {
        max_age: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..v1::StepUp::default()
    };
    let Some(Outcome::StepUp(StepUp::Authentication { max_age, .. })) = stepped(age(60)) else { panic!() };
    assert_eq!(max_age, Some(Duration::from_secs(60)));
    assert_eq!(stepped(age(-1)), None);
}

#[test]
fn a_permit_without_a_record_or_a_subject_is_no_answer() {
    assert!(read(v1::DecideResponse { decision_id: String::new(), ..said(v1::Outcome::Permit) }).is_none());
    assert!(read(v1::DecideResponse { decision_id: "1".to_owned(), ..said(v1::Outcome::Permit) }).is_none());
    assert!(read(v1::DecideResponse { subject: None, ..said(v1::Outcome::Permit) }).is_none());
    // The service failed and says so: that is a denial without a record.
    let outage = v1::DecideResponse { outcome: v1::Outcome::Deny.into(), ..v1::DecideResponse::default() };
    assert!(matches!(
        read(outage).map(|decision| (decision.id, decision.outcome)),
        Some((None, Outcome::Deny(_)))
    ));
}

fn batch_of(outcome: v1::Outcome, items: &[v1::Outcome]) -> v1::DecideBatchResponse {
    let whole = said(outcome);
    let item = |outcome: &v1::Outcome| v1::ItemOutcome {
        outcome: (*outcome).into(),
        obligations: vec!["log".to_owned()],
        ..v1::ItemOutcome::default()
    };
    v1::DecideBatchResponse {
        decision_id: whole.decision_id,
        outcome: whole.outcome,
        reason: whole.reason,
        subject: whole.subject,
        items: items.iter().map(item).collect(),
        ..v1::DecideBatchResponse::default()
    }
}

#[test]
fn a_batch_decides_what_was_asked_or_is_no_answer() {
    use v1::Outcome::{Deny, Observed, Permit, StepUp, Unspecified};
    let asked = Batch::new("demo", vec![Item::new("a"), Item::new("b")]);
    let read = |reply| asked.read(reply).ok();
    let permitted = read(batch_of(Permit, &[Permit, Permit])).unwrap();
    assert_eq!(permitted.whole.permit().unwrap().obligations(), ["log", "log"]);
    let mixed = read(batch_of(Deny, &[Permit, Deny])).unwrap();
    assert!(mixed.whole.permit().is_none() && matches!(mixed.items[0].outcome, ItemOutcome::Permit { .. }));
    assert!(matches!(mixed.items[1].outcome, ItemOutcome::Deny(_)));
    assert!(read(batch_of(Observed, &[Permit, Observed])).is_some());
    assert!(read(batch_of(StepUp, &[Permit, Deny])).is_some());
    for (whole, items) in [
        (Permit, vec![Permit]),
        (Permit, vec![]),
        (Permit, vec![Permit, Deny]),
        (Permit, vec![Permit, Observed]),
        (Deny, vec![Deny]),
        (Deny, vec![Deny, Unspecified]),
        (Unspecified, vec![Permit, Permit]),
    ] {
        assert!(read(batch_of(whole, &items)).is_none(), "{whole:?} {items:?}");
    }
    // The service failed: no item is anything but denied.
    let outage = v1::DecideBatchResponse {
        outcome: Deny.into(),
        reason: "internal_error".to_owned(),
        ..v1::DecideBatchResponse::default()
    };
    let denied = read(outage).unwrap();
    assert_eq!(denied.items.len(), 2);
    assert!(denied.items.iter().all(|item| matches!(item.outcome, ItemOutcome::Deny(_))));
}

#[test]
fn a_token_is_accepted_or_refused_and_never_both() {
    let reply = |accepted, reason: Option<&str>, subject: Option<&str>| {
        let (reason, subject) = (reason.map(str::to_owned), subject.map(str::to_owned));
        let reply = v1::VerifyResponse { accepted, reason, subject, ..v1::VerifyResponse::default() };
        Presentation::new("demo", "t").read(reply).ok()
    };
    assert!(matches!(reply(true, None, Some("a")), Some(Verification::Accepted { .. })));
    assert!(matches!(reply(false, Some("token_expired"), None), Some(Verification::Refused(_))));
    for (accepted, reason, subject) in
        [(true, None, None), (true, Some("r"), Some("a")), (false, None, Some("a"))]
    {
        assert_eq!(reply(accepted, reason, subject), None);
    }
}

#[test]
fn a_search_finds_what_was_sought_or_is_no_answer() {
    let tool = || Entity::new("Mcp::Tool", "files/read");
    let message = Search::subjects("files", "User", "tools/call", tool()).after("p").message();
    assert_eq!(
        (message.sought(), message.subject.unwrap().r#type.as_str(), message.page_token.as_str()),
        (v1::Sought::Subjects, "User", "p")
    );
    assert_eq!((message.token, message.page_size), (None, 0));
    let message = Search::targets("files", "tools/call").token("t").of_type("Mcp::Tool").with("{}").message();
    assert_eq!((message.token.as_deref(), message.subject), (Some("t"), None));
    assert_eq!(
        (message.target.unwrap().r#type.as_str(), message.arguments.as_deref()),
        ("Mcp::Tool", Some("{}"))
    );

    let found = |outcome: v1::Outcome| v1::SearchResponse {
        decision_id: ID.to_owned(),
        outcome: outcome.into(),
        reason: "permitted".to_owned(),
        actions: vec!["a".to_owned()],
        ..v1::SearchResponse::default()
    };
    let actions = Search::actions("files", tool()).token("t");
    let Ok(Searched::Found(page)) = actions.read(found(v1::Outcome::Permit)) else { panic!() };
    assert_eq!((page.found, page.next), (Found::Actions(vec!["a".to_owned()]), None));
    let more = v1::SearchResponse { next_page_token: "n".to_owned(), ..found(v1::Outcome::Permit) };
    let Ok(Searched::Found(page)) = actions.read(more) else { panic!() };
    assert_eq!(page.next.as_deref(), Some("n"));
    for outcome in [v1::Outcome::Deny, v1::Outcome::StepUp, v1::Outcome::Observed, v1::Outcome::Unspecified] {
        assert!(matches!(actions.read(found(outcome)), Ok(Searched::Refused { .. })), "{outcome:?}");
    }
    assert!(Search::targets("files", "x").read(found(v1::Outcome::Permit)).is_err());
    let unrecorded = v1::SearchResponse { decision_id: String::new(), ..found(v1::Outcome::Permit) };
    assert!(actions.read(unrecorded).is_err());
}

#[test]
fn a_token_comes_with_a_permit_on_record_or_there_is_none() {
    let asked = Exchange::new("files", "t", "orders").scopes(["orders.read"]);
    let message = asked.message();
    assert_eq!((message.exchange.as_str(), message.scopes.len()), ("orders", 1));
    let reply = |outcome: v1::Outcome, token: Option<&str>, id: &str| v1::ExchangeResponse {
        decision_id: id.to_owned(),
        outcome: outcome.into(),
        access_token: token.map(str::to_owned),
        retry_after: Some(3),
        ..v1::ExchangeResponse::default()
    };
    let Ok(Exchanged::Issued(issued)) = asked.read(reply(v1::Outcome::Permit, Some("u"), ID)) else {
        panic!()
    };
    assert_eq!(issued.token().expose(), "u");
    assert!(!format!("{issued:?}").contains("\"u\""));
    let Ok(Exchanged::Refused(refusal)) = asked.read(reply(v1::Outcome::Deny, None, "")) else { panic!() };
    assert_eq!((refusal.id, refusal.retry_after), (None, Some(Duration::from_secs(3))));
    for (outcome, token, id) in [
        (v1::Outcome::Permit, Some("u"), ""),
        (v1::Outcome::Permit, Some("u"), "1"),
        (v1::Outcome::Permit, Some(""), ID),
        (v1::Outcome::Permit, None, ID),
        (v1::Outcome::Deny, Some("u"), ID),
        (v1::Outcome::Observed, Some("u"), ID),
        (v1::Outcome::Unspecified, Some("u"), ID),
    ] {
        assert!(asked.read(reply(outcome, token, id)).is_err(), "{outcome:?} {token:?} {id:?}");
    }
}

/// The question about a POST of this body.
fn check(resource: &str, body: &'static [u8]) -> crate::Check {
    let incoming = crate::Incoming {
        method: http::Method::POST,
        scheme: "https",
        host: format!("{resource}.example.com"),
        path: "/".to_owned(),
        headers: http::HeaderMap::new(),
        client: None,
    };
    crate::Check::new(resource, incoming, bytes::Bytes::from_static(body))
}

#[test]
fn what_goes_on_has_each_header_once_or_there_is_no_answer() {
    let check = check("files", b"");
    let header = |name: &&str| v1::Header { name: (*name).to_owned(), value: b"x".to_vec() };
    let reply = |names: &[&str]| v1::CheckResponse {
        decision_id: ID.to_owned(),
        outcome: v1::Outcome::Permit.into(),
        subject: Some("User::\"a\"".to_owned()),
        passage: Some(v1::Passage { set: names.iter().map(header).collect(), ..v1::Passage::default() }),
        ..v1::CheckResponse::default()
    };
    let Ok(crate::Checked::Pass(passage)) = check.read(reply(&["mcp-name", "authorization"])) else {
        panic!()
    };
    let mut headers = http::HeaderMap::new();
    headers.append("mcp-name", "sent".parse().unwrap());
    headers.append("mcp-name", "twice".parse().unwrap());
    passage.change(&mut headers);
    assert_eq!(headers.get_all("mcp-name").iter().collect::<Vec<_>>(), ["x"]);
    assert!(check.read(reply(&["mcp-name", "Mcp-Name"])).is_err());
}

#[test]
fn what_is_left_of_an_operation_goes_on_for_who_has_asked_for_that_alone() {
    let plain = check("api", b"whole");
    let cutting = plain.clone().cutting_operations();
    assert!(!plain.message().cuts_operations && cutting.message().cuts_operations);
    assert_eq!(cutting.clone().whole(), plain);
    let reply = |body: Option<&[u8]>| v1::CheckResponse {
        decision_id: ID.to_owned(),
        outcome: v1::Outcome::Permit.into(),
        subject: Some("User::\"a\"".to_owned()),
        passage: Some(v1::Passage {
            body: body.map(<[u8]>::to_vec),
            graphql_errors: Some("[]".to_owned()),
            ..v1::Passage::default()
        }),
        ..v1::CheckResponse::default()
    };
    let Ok(crate::Checked::Pass(passage)) = cutting.read(reply(Some(b"left"))) else { panic!() };
    assert_eq!(
        (passage.body().map(|body| &body[..]), passage.graphql_errors()),
        (Some(&b"left"[..]), Some("[]"))
    );
    assert!(plain.read(reply(Some(b"left"))).is_err());
    // Else the request would go on as it came.
    assert!(cutting.read(reply(None)).is_err());
}

#[test]
fn a_permit_is_answered_for_who_has_asked_for_that_alone() {
    let plain = check("api", b"whole");
    let answering = plain.clone().answering_operations();
    assert!(!plain.message().answers_operations && answering.message().answers_operations);
    assert_eq!(answering.clone().whole(), plain);
    let answer = v1::Answer { status: 200, headers: Vec::new(), body: b"{}".to_vec() };
    let reply = |id: &str, outcome: v1::Outcome| v1::CheckResponse {
        decision_id: id.to_owned(),
        outcome: outcome.into(),
        reason: "permitted".to_owned(),
        answer: Some(answer.clone()),
        ..v1::CheckResponse::default()
    };
    let Ok(crate::Checked::Answer(told)) = answering.read(reply(ID, v1::Outcome::Permit)) else { panic!() };
    assert!(told.permitted && told.id.is_some());
    assert!(plain.read(reply(ID, v1::Outcome::Permit)).is_err());
    for (id, outcome) in [("", v1::Outcome::Permit), (ID, v1::Outcome::Observed)] {
        assert!(answering.read(reply(id, outcome)).is_err(), "{outcome:?}");
    }
    let Ok(crate::Checked::Answer(told)) = answering.read(reply(ID, v1::Outcome::Deny)) else { panic!() };
    assert!(!told.permitted);
    let passage = Some(v1::Passage::default());
    let both = v1::CheckResponse { passage, subject: Some("u".to_owned()), ..reply(ID, v1::Outcome::Permit) };
    assert!(answering.read(both).is_err());
}

proptest! {
    #[test]
    fn no_token_is_issued_but_by_the_one_outcome(outcome in any::<i32>(), id in prop_oneof![Just(ID.to_owned()), ".{0,40}"], token in proptest::option::of(".{0,4}")) {
        let reply = v1::ExchangeResponse { decision_id: id, outcome, access_token: token, ..v1::ExchangeResponse::default() };
        let issued = matches!(Exchange::new("r", "t", "e").read(reply), Ok(Exchanged::Issued(_)));
        prop_assert!(!issued || outcome == 1);
    }

    #[test]
    fn only_the_one_outcome_is_ever_a_permit(outcome in any::<i32>(), id in prop_oneof![Just(ID.to_owned()), ".{0,40}"], subject in proptest::option::of(".{0,4}")) {
        let reply = v1::DecideResponse { decision_id: id, outcome, subject, ..said(v1::Outcome::Permit) };
        let permitted = read(reply).is_some_and(|decision| decision.permit().is_some());
        prop_assert!(!permitted || outcome == 1);
    }

    #[test]
    fn no_batch_that_is_permitted_has_an_item_that_is_not(whole in 0..6_i32, items in proptest::collection::vec(0..6_i32, 0..4)) {
        let mut reply = batch_of(v1::Outcome::Permit, &[]);
        reply.outcome = whole;
        reply.items = items.iter().map(|outcome| v1::ItemOutcome { outcome: *outcome, ..v1::ItemOutcome::default() }).collect();
        let asked = Batch::new("demo", vec![Item::new("a"), Item::new("b")]);
        if let Ok(decision) = asked.read(reply) {
            prop_assert_eq!(decision.items.len(), 2);
            prop_assert!(decision.whole.permit().is_none() || items == [1, 1]);
        }
    }
}
