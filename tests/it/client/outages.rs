//! Services that are killed, stand still and flap: no wrong answer, no call that outlasts its deadline, and no permit for
//! what is denied.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use palisade_client::{Client, ClientSettings, DecisionPoint, NoAnswer, Question};
use palisade_tests::{
    components::{OidcProvider, eventually},
    service::Palisade,
};

use super::{endpoint, started, tool};
use crate::stories;

/// How long a call may take in all, and how much later a busy machine may notice.
const DEADLINE: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(700);

/// What came of the questions.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicUsize,
    unanswered: AtomicUsize,
}

impl Tally {
    fn take(&self) -> (usize, usize) {
        (self.answered.swap(0, Ordering::SeqCst), self.unanswered.swap(0, Ordering::SeqCst))
    }
}

/// Two replicas, a client of both, and callers that ask all the time what is permitted and what is not.
struct Setup {
    replicas: [Palisade; 2],
    client: Client,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<()>>,
    _provider: OidcProvider,
}

impl Setup {
    async fn start() -> Self {
        let provider = stories::provider().await;
        let (one, _) = started(&provider).await;
        let (two, _) = started(&provider).await;
        let settings = ClientSettings {
            endpoints: vec![endpoint(&one), endpoint(&two)],
            deadline: DEADLINE,
            ..ClientSettings::default()
        };
        let client = Client::new(&settings).unwrap();
        let good = provider.token("bob", &stories::identifier("demo"), "").await.unwrap();
        let (head, _signature) = good.rsplit_once('.').unwrap();
        let forged = format!("{head}.AAAA");
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let asked = [("echo", good.clone(), true), ("system_status", good, false), ("echo", forged, false)];
        let callers = asked.map(|(name, token, permitted)| {
            let question = Question::new("demo", tool(name)).token(token);
            tokio::spawn(ask_all_the_time(
                client.clone(),
                question,
                permitted,
                Arc::clone(&tally),
                Arc::clone(&stop),
            ))
        });
        let callers = callers.into_iter().collect();
        Self { replicas: [one, two], client, tally, stop, callers, _provider: provider }
    }

    /// Waits until so many more questions are answered.
    async fn answered(&self, count: usize) {
        let now = self.tally.answered.load(Ordering::SeqCst);
        let more = async || Ok((self.tally.answered.load(Ordering::SeqCst) >= now + count).then_some(()));
        eventually("answers", more).await.unwrap();
    }

    async fn left_out(&self, count: usize) {
        let left_out = async || Ok((self.client.left_out().len() == count).then_some(()));
        eventually("the endpoints that are left out", left_out).await.unwrap();
    }

    /// Ends the callers, each of which fails on a wrong answer or a call that took too long.
    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for caller in self.callers {
            caller.await.unwrap();
        }
    }
}

async fn ask_all_the_time(
    client: Client,
    question: Question,
    permitted: bool,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        let answer = client.decide(&question).await;
        assert!(began.elapsed() < DEADLINE + SLACK, "{:?}: {answer:?}", began.elapsed());
        match answer {
            // An outage of the service is a denial of what is permitted, and never a permit of what is not.
            Ok(decision) if decision.permit().is_some() => {
                assert!(permitted, "{decision:?}");
                tally.answered.fetch_add(1, Ordering::SeqCst);
            }
            Ok(decision) => {
                let outage =
                    ["deadline_exceeded", "overloaded", "issuer_keys_unavailable", "audit_unavailable"];
                assert!(!permitted || outage.contains(&decision.reason.as_str()), "{decision:?}");
                tally.answered.fetch_add(1, Ordering::SeqCst);
            }
            Err(NoAnswer::DeadlineExceeded { .. } | NoAnswer::Unreachable { .. } | NoAnswer::Lost { .. }) => {
                tally.unanswered.fetch_add(1, Ordering::SeqCst);
            }
            Err(other) => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_costs_what_was_under_way_with_it_and_no_more() {
    let mut setup = Setup::start().await;
    setup.answered(30).await;
    assert_eq!(setup.tally.take().1, 0, "with all well, everything is answered");
    setup.replicas[0].kill().unwrap();
    setup.answered(60).await;
    let (_, unanswered) = setup.tally.take();
    assert!(unanswered <= setup.callers.len(), "{unanswered}");
    assert_eq!(setup.client.left_out().len(), 1);
    setup.answered(30).await;
    assert_eq!(setup.tally.take().1, 0);

    // With all of them dead nothing is permitted, and nobody waits for it.
    setup.replicas[1].kill().unwrap();
    setup.left_out(2).await;
    setup.tally.take();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (answered, unanswered) = setup.tally.take();
    assert_eq!(answered, 0);
    assert!(unanswered > 3, "a refused connection is known at once: {unanswered}");

    for replica in &mut setup.replicas {
        replica.restart().await.unwrap();
    }
    setup.left_out(0).await;
    setup.tally.take();
    setup.answered(30).await;
    assert_eq!(setup.tally.take().1, 0);
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stands_still_is_left_out_after_one_deadline() {
    let mut setup = Setup::start().await;
    setup.answered(30).await;
    setup.tally.take();
    setup.replicas[0].process().unwrap().signal("STOP").unwrap();
    setup.left_out(1).await;
    setup.answered(60).await;
    let (_, unanswered) = setup.tally.take();
    assert!(unanswered <= setup.callers.len(), "{unanswered}");

    // Both stand still: each call ends with its deadline.
    setup.replicas[1].process().unwrap().signal("STOP").unwrap();
    setup.left_out(2).await;
    setup.tally.take();
    tokio::time::sleep(DEADLINE * 2).await;
    assert_eq!(setup.tally.take().0, 0);
    for replica in &mut setup.replicas {
        replica.process().unwrap().signal("CONT").unwrap();
    }
    setup.left_out(0).await;
    setup.answered(30).await;
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_flap_are_never_believed_in_what_they_did_not_say() {
    let mut setup = Setup::start().await;
    setup.answered(30).await;
    setup.tally.take();
    for round in 0..4 {
        let replica = &mut setup.replicas[round % 2];
        replica.kill().unwrap();
        replica.restart().await.unwrap();
    }
    setup.answered(30).await;
    let (answered, unanswered) = setup.tally.take();
    // One of the two is always there; what is lost was under way with the other when it died.
    assert!(unanswered <= 4 * 2 * setup.callers.len() && answered > unanswered, "{answered} {unanswered}");
    setup.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_replica_costs_nothing() {
    let mut setup = Setup::start().await;
    setup.answered(30).await;
    setup.tally.take();
    setup.replicas[0].terminate().await.unwrap();
    setup.answered(30).await;
    assert_eq!(setup.tally.take().1, 0, "what a stopping service has begun it answers");
    setup.end().await;
}
