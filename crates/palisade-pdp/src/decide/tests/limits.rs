//! Budgets and blocks, as decisions see them.

use std::net::IpAddr;

use palisade_model::{Authority, Properties, Subject};

use super::*;
use crate::{Block, Budget, Rates, limits::Limit};

const MINUTE: Duration = Duration::from_secs(60);
const BLOCK: Duration = Duration::from_secs(900);

fn limited() -> Setup {
    let rates = Some(Rates { calls: 3, reads: 5 });
    let failures = Budget { most: 5, within: Duration::from_secs(300) };
    let failed_authentication = Some(Block { failures, lasts: BLOCK });
    let rate_limits = RateLimits { subject: rates, client: rates, failed_authentication };
    let local = Pep { asserts: BTreeSet::from(["User".to_owned()]), ..Pep::local("local".parse().unwrap()) };
    Setup { rate_limits, local, ..Setup::new() }
}

fn of(user: &str, tools: &[&str]) -> AccessRequest {
    let credential = Credential::AssertedByPep(Subject::named("User", format!("corp/{user}")));
    AccessRequest { credential, ..request(tools) }
}

/// Somebody at an address, with a token that is none.
fn trying(address: &str) -> AccessRequest {
    let credential = Credential::Token(RawToken::new("not.a.token"));
    AccessRequest { credential, client_ip: address.parse().ok(), ..request(&["open"]) }
}

/// The reason, and for how long to stay away.
async fn asked(pdp: &Pdp, request: &AccessRequest) -> (Reason, Option<Duration>) {
    match pdp.decide(&pdp.snapshot(), request).await {
        Decision::Deny(denial) => (denial.reason, denial.retry_after),
        permitted @ (Decision::Permit(_) | Decision::Observed(_)) => (permitted.reason(), None),
    }
}

async fn reasons(pdp: &Pdp, request: &AccessRequest, times: usize) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for _ in 0..times {
        reasons.push(asked(pdp, request).await.0);
    }
    reasons
}

#[tokio::test]
async fn a_subject_has_a_budget_of_its_own_and_is_told_when_to_come_back() {
    let setup = limited();
    let pdp = setup.pdp();
    let (alice, bob) = (of("alice", &["open"]), of("bob", &["open"]));
    assert_eq!(reasons(&pdp, &alice, 4).await[2..], [Reason::Permitted, Reason::RateLimited]);
    let (reason, wait) = asked(&pdp, &alice).await;
    assert_eq!(reason, Reason::RateLimited);
    assert!(wait.unwrap() >= MINUTE && wait.unwrap() <= MINUTE + Duration::from_secs(3), "{wait:?}");
    assert_eq!(asked(&pdp, &bob).await.0, Reason::Permitted);
    // What the policies deny costs as much: nobody finds out what there is for nothing.
    assert_eq!(
        reasons(&pdp, &of("carol", &["shut"]), 4).await[2..],
        [Reason::Forbidden, Reason::RateLimited]
    );
    setup.clock.advance(wait.unwrap());
    assert_eq!(asked(&pdp, &alice).await.0, Reason::Permitted);
    pdp.audit().shutdown().await;
    let refused = setup.recorded().into_iter().filter(|(reason, _)| *reason == Reason::RateLimited);
    assert_eq!(refused.map(|(_, count)| count).sum::<u64>(), 3);
}

#[tokio::test]
async fn each_item_of_a_batch_counts_and_reads_are_counted_apart() {
    let setup = limited();
    let pdp = setup.pdp();
    assert_eq!(asked(&pdp, &of("alice", &["open", "open"])).await.0, Reason::Permitted);
    // Two are more than there is left: none of them is done, and none is counted.
    assert_eq!(asked(&pdp, &of("alice", &["open", "open"])).await.0, Reason::RateLimited);
    assert_eq!(asked(&pdp, &of("alice", &["open"])).await.0, Reason::Permitted);
    assert_eq!(asked(&pdp, &of("alice", &["open"])).await.0, Reason::RateLimited);
    let mut list = of("alice", &["open"]);
    let server = "files".parse().unwrap();
    list.asked.as_mut().unwrap().items[0].action = Action::mcp("tools/list");
    list.asked.as_mut().unwrap().items[0].target = Target::mcp_server(&server);
    assert_eq!(reasons(&pdp, &list, 6).await[4..], [Reason::NoPermit, Reason::RateLimited]);
    // What cannot be read counts as a read.
    let refusal = Refusal::new(Reason::RequestMalformed, "test");
    let unreadable = AccessRequest { asked: Err(refusal), ..of("bob", &[]) };
    assert_eq!(reasons(&pdp, &unreadable, 6).await[4..], [Reason::RequestMalformed, Reason::RateLimited]);
    // Another entry counts for itself.
    let elsewhere = AccessRequest { surface: Surface::ExtMcp, ..of("alice", &["open"]) };
    assert_eq!(asked(&pdp, &elsewhere).await.0, Reason::Permitted);
}

#[tokio::test]
async fn subjects_of_one_client_share_its_budget() {
    let setup = limited();
    let pdp = setup.pdp();
    let snapshot = pdp.snapshot();
    let resource = snapshot.resources.by_name("files").unwrap();
    let request = request(&["open"]);
    let authority = |client: &str| Authority {
        issuer: "corp".parse().unwrap(),
        audience: BTreeSet::new(),
        scopes: Scopes::new(),
        client: Some(format!("corp/{client}")),
        actors: Vec::new(),
        acr: None,
        amr: BTreeSet::new(),
        auth_time: None,
        groups_complete: true,
        token_id: "jti:1".to_owned(),
        expires_at: NOW,
    };
    let drawn = async |user: &str, client: &str| {
        let deadline = Instant::now() + MINUTE;
        let gauge = Gauge {
            limiter: &pdp.limiter,
            snapshot: &snapshot,
            resource,
            request: &request,
            now: NOW,
            deadline,
        };
        let subject = Subject::named("User", format!("corp/{user}"));
        let principal = Principal::for_tests(subject, authority(client));
        gauge.draw(&principal).await.map_err(|reached| reached.limit)
    };
    for user in ["alice", "bob", "carol"] {
        assert_eq!(drawn(user, "cli").await, Ok(()));
    }
    assert_eq!(drawn("alice", "cli").await, Err(Limit::Client));
    for turn in 0..3 {
        // The call that the client's budget did not hold took nothing of the subject's own.
        let expected = if turn < 2 { Ok(()) } else { Err(Limit::Subject) };
        assert_eq!(drawn("alice", "web").await, expected);
    }
}

#[tokio::test]
async fn an_address_is_blocked_after_five_failures_before_any_token_is_looked_at() {
    let setup = limited();
    let pdp = setup.pdp();
    let bad = trying("192.0.2.1");
    assert_eq!(reasons(&pdp, &bad, 5).await, [Reason::TokenMalformed; 5]);
    assert_eq!(asked(&pdp, &bad).await, (Reason::RateLimited, Some(BLOCK)));
    // The same for whoever comes from there, and for nobody from elsewhere.
    let anonymous = AccessRequest { credential: Credential::Absent, ..bad.clone() };
    assert_eq!(asked(&pdp, &anonymous).await.0, Reason::RateLimited);
    assert_eq!(asked(&pdp, &trying("192.0.2.2")).await.0, Reason::TokenMalformed);
    setup.clock.advance(BLOCK - Duration::from_secs(1));
    assert_eq!(asked(&pdp, &bad).await, (Reason::RateLimited, Some(Duration::from_secs(1))));
    setup.clock.advance(Duration::from_secs(1));
    assert_eq!(asked(&pdp, &anonymous).await.0, Reason::Permitted);
    pdp.audit().shutdown().await;
    let refused = setup.recorded().into_iter().filter(|(reason, _)| *reason == Reason::RateLimited);
    assert_eq!(refused.map(|(_, count)| count).sum::<u64>(), 3);
}

#[tokio::test]
async fn who_brings_nothing_or_something_unusable_has_not_failed_to_authenticate() {
    let setup = limited();
    let pdp = setup.pdp();
    let there = |credential| AccessRequest { credential, ..trying("192.0.2.1") };
    let expired = Refusal::new(Reason::TokenExpired, "test");
    let twice = Refusal::new(Reason::RequestMalformed, "test");
    let nothing =
        AccessRequest { asked: Ok(Asked { items: Vec::new(), batch: true }), ..there(Credential::Absent) };
    for request in [there(Credential::Unusable(expired)), there(Credential::Unusable(twice)), nothing] {
        assert!(!reasons(&pdp, &request, 10).await.contains(&Reason::RateLimited));
    }
}

#[tokio::test]
async fn nobody_is_blocked_by_an_address_that_nobody_vouches_for() {
    let unknown = AccessRequest { client_ip: None, ..trying("192.0.2.1") };
    assert!(!reasons(&limited().pdp(), &unknown, 10).await.contains(&Reason::RateLimited));
    let mut setup = limited();
    setup.local.vouches = false;
    assert!(!reasons(&setup.pdp(), &trying("192.0.2.1"), 10).await.contains(&Reason::RateLimited));
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_address() {
    let setup = limited();
    let pdp = setup.pdp();
    for host in 0..5 {
        assert_eq!(asked(&pdp, &trying(&format!("2001:db8::{host}"))).await.0, Reason::TokenMalformed);
    }
    assert_eq!(asked(&pdp, &trying("2001:db8::ffff")).await.0, Reason::RateLimited);
    assert_eq!(asked(&pdp, &trying("2001:db8:0:1::1")).await.0, Reason::TokenMalformed);
}

#[tokio::test]
async fn nobody_is_counted_by_address_and_all_of_unknown_address_together() {
    let setup = limited();
    let pdp = setup.pdp();
    let from = |address: Option<IpAddr>| AccessRequest { client_ip: address, ..request(&["open"]) };
    for address in [Some("192.0.2.1".parse().unwrap()), Some("192.0.2.2".parse().unwrap()), None] {
        assert_eq!(reasons(&pdp, &from(address), 4).await[2..], [Reason::Permitted, Reason::RateLimited]);
    }
}

#[tokio::test]
async fn what_was_drawn_is_drawn_after_a_reload_and_what_is_not_limited_is_not() {
    let setup = limited();
    let pdp = setup.pdp();
    assert_eq!(reasons(&pdp, &of("alice", &["open"]), 3).await, [Reason::Permitted; 3]);
    let again = limited();
    let Pdp { snapshot, .. } = again.pdp();
    pdp.replace(Arc::into_inner(snapshot.into_inner()).unwrap());
    assert_eq!(asked(&pdp, &of("alice", &["open"])).await.0, Reason::RateLimited);
    let Pdp { snapshot, .. } = Setup { rate_limits: RateLimits::default(), ..limited() }.pdp();
    pdp.replace(Arc::into_inner(snapshot.into_inner()).unwrap());
    assert_eq!(reasons(&pdp, &of("alice", &["open"]), 20).await, [Reason::Permitted; 20]);
}

/// A hundred aliases of a mutation are a hundred of them.
#[tokio::test]
async fn an_operation_counts_by_the_fields_of_its_root_that_are_executed() {
    let setup = limited();
    let pdp = setup.pdp();
    let operation = |action: &str, roots: u32| {
        let user = Credential::AssertedByPep(Subject::named("User", "corp/alice"));
        let mut request = AccessRequest { credential: user, ..operations::query(&["Query.a"], &[]) };
        let item = &mut request.asked.as_mut().unwrap().items[0];
        item.action = Action::graphql(action);
        let known = serde_json::json!({ crate::EXECUTED_ROOTS: roots, "allowlisted": false, "depth": 1, "fields": 1 });
        item.known = Properties::new(known.as_object().unwrap().clone());
        request
    };
    let decided = async |action: &str, roots: u32| {
        let request = operation(action, roots);
        pdp.decide_whole(&pdp.snapshot(), &request, Some(&operations::nothing), Duration::MAX)
            .await
            .0
            .reason()
    };
    // Of three calls and five reads.
    assert_eq!(decided("mutation", 4).await, Reason::RateLimited);
    assert_eq!(decided("mutation", 2).await, Reason::Permitted);
    assert_eq!(decided("mutation", 2).await, Reason::RateLimited);
    // One that executes nothing is asked for all the same.
    assert_eq!(decided("mutation", 0).await, Reason::Permitted);
    assert_eq!(decided("mutation", 0).await, Reason::RateLimited);
    assert_eq!(decided("query", 6).await, Reason::RateLimited);
    assert_eq!(decided("query", 5).await, Reason::Permitted);
    assert_eq!(decided("query", 1).await, Reason::RateLimited);
}

/// What nobody has counted is no single call: all of its fields may be.
#[tokio::test]
async fn an_operation_whose_executed_fields_are_not_known_counts_by_all_that_it_has() {
    for (fields, expected) in [(3, Reason::Permitted), (4, Reason::RateLimited)] {
        let setup = limited();
        let pdp = setup.pdp();
        let user = Credential::AssertedByPep(Subject::named("User", "corp/alice"));
        let mut request = AccessRequest { credential: user, ..operations::query(&["Query.a"], &[]) };
        let item = &mut request.asked.as_mut().unwrap().items[0];
        item.action = Action::graphql("mutation");
        let known = serde_json::json!({ "allowlisted": false, "depth": 1, "fields": fields });
        item.known = Properties::new(known.as_object().unwrap().clone());
        let snapshot = pdp.snapshot();
        let decided = pdp.decide_whole(&snapshot, &request, Some(&operations::nothing), Duration::MAX).await;
        assert_eq!(decided.0.reason(), expected, "{fields}");
    }
}
