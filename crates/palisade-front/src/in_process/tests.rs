//! The same questions over the network and in the process have the same answers.

use std::{sync::Arc, time::Duration};

use palisade_client::{
    Batch, Client, ClientSettings, Decision, DecisionPoint, Entity, Exchange, Exchanged, Item, NoAnswer,
    Outcome, Presentation, Question, Search, Searched,
};
use palisade_pdp::Caller;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Status, service::interceptor::InterceptedService, transport::Server};

use super::InProcess;
use crate::grpc::{
    decisions,
    tests::fixture::{Fixture, token},
    tokens,
};

/// One decision point, asked over the network and in the process, by the same caller.
struct Both {
    fixture: Fixture,
    remote: Client,
    local: InProcess,
}

impl Both {
    async fn asked_by(pep: &str) -> Self {
        let fixture = Fixture::new();
        let caller = Caller(pep.parse().ok());
        let identified = move |mut request: Request<()>| -> Result<Request<()>, Status> {
            request.extensions_mut().insert(caller.clone());
            Ok(request)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoints = vec![format!("http://{}", listener.local_addr().unwrap())];
        let served = Server::builder()
            .add_service(InterceptedService::new(decisions(fixture.pdp()), identified.clone()))
            .add_service(InterceptedService::new(tokens(fixture.pdp()), identified));
        tokio::spawn(served.serve_with_incoming(TcpListenerStream::new(listener)));
        let settings =
            ClientSettings { endpoints, deadline: Duration::from_secs(10), ..ClientSettings::default() };
        let local = InProcess::new(fixture.pdp(), pep.parse().unwrap());
        Self { fixture, remote: Client::new(&settings).unwrap(), local }
    }

    /// What both answer, which but for the ids is the same.
    async fn decide(&self, question: &Question) -> Decision {
        let remote = self.remote.decide(question).await.unwrap();
        let local = self.local.decide(question).await.unwrap();
        assert!(remote.id.is_some() && local.id.is_some());
        let without_id = |decision: &Decision| Decision { id: None, ..decision.clone() };
        assert_eq!(without_id(&remote), without_id(&local), "{question:?}");
        local
    }
}

fn tool(name: &str) -> Item {
    Item::new("tools/call").on(name)
}

#[tokio::test]
async fn decisions_are_the_same_over_the_network_and_in_the_process() {
    let both = Both::asked_by("app").await;
    let good = token("files", "files:read");
    let ask = |resource: &str, item: Item| Question::new(resource, item).token(token(resource, "files:read"));
    let permitted = both.decide(&ask("files", tool("list_files"))).await;
    let permit = permitted.permit().unwrap();
    assert_eq!((permit.obligations().len(), permit.subject()), (1, "User::\"corp/alice\""));
    assert!(permit.expires_at().is_some());
    for (question, reason) in [
        (ask("files", tool("old_tool")), "forbidden"),
        (ask("files", tool("pay").with(r#"{"n": 9007199254740993}"#)), "permitted"),
        (ask("files", tool("pay").with(r#"{"n": 9007199254740992}"#)), "no_permit"),
        (ask("files", tool("pay").with("{} {}")), "request_malformed"),
        (ask("files", tool("delete_file")), "insufficient_scope"),
        (ask("files", tool("wipe")), "insufficient_user_authentication"),
        (ask("files", Item::new("ping").on("x")), "request_malformed"),
        (ask("files", Item::new("nothing")), "method_unknown"),
        (ask("watched", tool("old_tool")), "observed"),
        (ask("orders", Item::new("GET").on("/v1/orders/8?x=1")), "permitted"),
        (ask("orders", Item::new("GET").on("/v1/orders/77")), "no_permit"),
        (ask("nowhere", tool("list_files")), "resource_unknown"),
        (Question::new("", tool("list_files")).token(&*good), "resource_unknown"),
        (Question::new("files", Item::new("initialize")), "permitted"),
        (Question::new("files", tool("list_files")), "no_credentials"),
        (Question::new("files", tool("list_files")).token(""), "token_malformed"),
        (Question::new("files", tool("list_files")).token(token("orders", "")), "token_audience_mismatch"),
        (ask("files", tool("list_files")).within(Duration::from_nanos(1)), "deadline_exceeded"),
    ] {
        if reason == "deadline_exceeded" {
            // Whoever is first, the caller's time or the denial, says that it is over.
            for no_answer in [both.remote.decide(&question).await, both.local.decide(&question).await] {
                let late = no_answer.map_or_else(
                    |no_answer| matches!(no_answer, NoAnswer::DeadlineExceeded { .. }),
                    |decision| decision.reason.as_str() == reason,
                );
                assert!(late);
            }
            continue;
        }
        for question in [question.clone(), question.explained()] {
            let decision = both.decide(&question).await;
            assert_eq!(decision.reason.as_str(), reason, "{question:?}");
            assert_eq!(decision.explanation.is_some(), question.explain);
            assert_eq!(decision.permit().is_some(), reason == "permitted");
            // What comes without a token has no end that is known, so it is never remembered.
            let ends = decision.permit().is_some_and(|permit| permit.expires_at().is_some());
            assert_eq!(ends, reason == "permitted" && question.token.is_some());
        }
    }
}

#[tokio::test]
async fn what_a_caller_may_ask_is_the_same() {
    for (pep, resource, reason) in [
        ("narrow", "files", "permitted"),
        ("narrow", "", "permitted"),
        ("narrow", "watched", "pep_not_allowed"),
        ("proxy", "files", "pep_not_allowed"),
        ("local", "files", "permitted"),
        ("gone", "files", "pep_unauthenticated"),
    ] {
        let both = Both::asked_by(pep).await;
        let question = Question::new(resource, tool("list_files")).token(token("files", "files:read"));
        assert_eq!(both.decide(&question).await.reason.as_str(), reason, "{pep}");
    }
}

#[tokio::test]
async fn batches_and_tokens_are_the_same() {
    let both = Both::asked_by("app").await;
    let good = token("files", "files:read");
    for items in [
        vec![tool("list_files"), tool("list_files")],
        vec![tool("list_files"), tool("delete_file"), tool("old_tool")],
        vec![tool("list_files"), Item::new("nothing")],
        vec![],
    ] {
        let batch = Batch::new("files", items).token(&*good).explained();
        let (remote, local) = (both.remote.decide_batch(&batch).await, both.local.decide_batch(&batch).await);
        let (mut remote, mut local) = (remote.unwrap(), local.unwrap());
        (remote.whole.id, local.whole.id) = (None, None);
        assert_eq!(remote, local);
        assert_eq!(local.items.len(), batch.items.len());
    }
    for (resource, token) in [("files", good.as_str()), ("watched", &good), ("files", ""), ("", &good)] {
        let presented = Presentation::new(resource, token);
        let (remote, local) = (both.remote.verify(&presented).await, both.local.verify(&presented).await);
        assert_eq!(remote.unwrap(), local.unwrap());
    }
}

#[tokio::test]
async fn each_decision_in_the_process_is_on_the_record() {
    let both = Both::asked_by("app").await;
    let question = Question::new("files", tool("list_files")).token(token("files", "files:read"));
    let question = question.request_id("r-1");
    let decision = both.local.decide(&question).await.unwrap();
    assert!(matches!(decision.outcome, Outcome::Permit(_)));
    let [record] = both.fixture.recorded().await.try_into().unwrap();
    assert_eq!(Some(record.id), decision.id);
    assert_eq!((record.pep.unwrap().as_str(), record.request_id.as_deref()), ("app", Some("r-1")));
    // Nothing can be recorded any more, so nothing is permitted.
    let denied = both.local.decide(&question).await.unwrap();
    assert_eq!(denied.reason.as_str(), "audit_unavailable");
    assert!(denied.permit().is_none());
}

#[tokio::test]
async fn an_adapter_holds_any_decision_point() {
    let both = Both::asked_by("app").await;
    let points: [Arc<dyn DecisionPoint>; 2] = [Arc::new(both.remote.clone()), Arc::new(both.local.clone())];
    let question = Question::new("files", tool("list_files")).token(token("files", "files:read"));
    for point in points {
        assert!(point.decide(&question).await.unwrap().permit().is_some());
    }
}

#[tokio::test]
async fn searches_and_exchanges_are_the_same() {
    let both = Both::asked_by("app").await;
    let good = token("files", "files:read");
    let tool = || Entity::new("Mcp::Tool", "files/list_files");
    let mut answered = 0;
    for search in [
        Search::targets("files", "tools/call").token(&*good),
        Search::targets("files", "tools/call"),
        Search::actions("files", tool()).token(&*good),
        Search::subjects("files", "User", "tools/call", tool()),
        Search::targets("nowhere", "tools/call").token(&*good),
    ] {
        let (remote, local) = (both.remote.search(&search).await, both.local.search(&search).await);
        let without_id = |searched| match searched {
            Searched::Found(page) => Ok((page.found, page.next)),
            Searched::Refused { reason, id: _ } => Err(reason),
        };
        let (remote, local) = (without_id(remote.unwrap()), without_id(local.unwrap()));
        answered += usize::from(local.is_ok());
        assert_eq!(remote, local, "{search:?}");
    }
    assert!(answered > 0);
    // None is configured here.
    let exchange = Exchange::new("files", &*good, "nothing");
    for exchanged in [both.remote.exchange(&exchange).await, both.local.exchange(&exchange).await] {
        let Ok(Exchanged::Refused(refusal)) = exchanged else { panic!("{exchanged:?}") };
        assert!(refusal.id.is_some());
    }
}
