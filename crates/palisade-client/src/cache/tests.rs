//! What is remembered, for how long, and what is not.

use std::sync::atomic::AtomicBool;

use palisade_model::ManualClock;

use super::*;
use crate::{Denial, Item, NoAnswer, Outcome, Permit, ReasonCode};

const NOW: i64 = 1_700_000_000;

/// A decision point that answers what it is told to.
#[derive(Debug)]
struct Told {
    asked: AtomicU64,
    revision: Mutex<&'static str>,
    outcome: Mutex<Outcome>,
    is_down: AtomicBool,
}

fn permit(expires_in: Option<i64>, obligations: &[&str]) -> Outcome {
    Outcome::Permit(Permit {
        subject: "User::\"a\"".to_owned(),
        obligations: obligations.iter().map(ToString::to_string).collect(),
        advice: Vec::new(),
        expires_at: expires_in.map(|seconds| Timestamp::from_unix_seconds(NOW + seconds)),
    })
}

impl Told {
    fn decision(&self) -> Result<Decision, NoAnswer> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_down.load(Ordering::SeqCst) {
            return Err(NoAnswer::Unsendable { what: "x" });
        }
        Ok(Decision {
            outcome: self.outcome.lock().unwrap().clone(),
            reason: ReasonCode("r".to_owned()),
            id: "01a1fbe7-3682-7add-b91f-dde13657033e".parse().ok(),
            policy_revision: Some((*self.revision.lock().unwrap()).into()),
            explanation: None,
            remembered: false,
        })
    }
}

impl DecisionPoint for Arc<Told> {
    fn decide<'a>(&'a self, _question: &'a Question) -> Answering<'a, Decision> {
        // Decided at once and answered a little later, so that a test can come between.
        let decision = self.decision();
        Box::pin(async move {
            tokio::task::yield_now().await;
            decision
        })
    }

    fn decide_batch<'a>(&'a self, _batch: &'a Batch) -> Answering<'a, BatchDecision> {
        Box::pin(async move { Ok(BatchDecision { whole: self.decision()?, items: Vec::new() }) })
    }

    fn verify<'a>(&'a self, _presentation: &'a Presentation) -> Answering<'a, Verification> {
        Box::pin(async { Ok(Verification::Refused(ReasonCode("r".to_owned()))) })
    }

    fn search<'a>(&'a self, _search: &'a Search) -> Answering<'a, Searched> {
        Box::pin(async { Ok(Searched::Refused { reason: ReasonCode("r".to_owned()), id: None }) })
    }

    fn exchange<'a>(&'a self, _exchange: &'a Exchange) -> Answering<'a, Exchanged> {
        Box::pin(async { Err(crate::NoAnswer::Unsendable { what: "nothing" }) })
    }
}

struct Fixture {
    told: Arc<Told>,
    clock: Arc<ManualClock>,
    cached: Cached<Arc<Told>>,
}

fn fixture() -> Fixture {
    fixture_with(Duration::from_secs(30))
}

fn fixture_with(ttl: Duration) -> Fixture {
    let told = Arc::new(Told {
        asked: AtomicU64::new(0),
        revision: Mutex::new("r1"),
        outcome: Mutex::new(permit(Some(600), &[])),
        is_down: AtomicBool::new(false),
    });
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(NOW)));
    let settings = CacheSettings { ttl, entries: 100, clock: Arc::clone(&clock) as Arc<dyn Clock> };
    let cached = Cached::new(Arc::clone(&told), settings).unwrap();
    Fixture { told, clock, cached }
}

fn question(target: &str) -> Question {
    Question::new("demo", Item::new("tools/call").on(target)).token("t")
}

impl Fixture {
    /// Asks, and says whether the answer was remembered.
    async fn remembers(&self, question: &Question) -> bool {
        self.cached.decide(question).await.unwrap().remembered
    }

    fn now_says(&self, outcome: Outcome) {
        *self.told.outcome.lock().unwrap() = outcome;
    }
}

#[tokio::test]
async fn a_plain_permit_is_remembered_and_counted() {
    let fixture = fixture();
    assert!(!fixture.remembers(&question("a")).await);
    assert!(fixture.remembers(&question("a")).await);
    assert!(fixture.remembers(&question("a").request_id("other")).await);
    assert!(!fixture.remembers(&question("b")).await);
    assert_eq!(fixture.cached.report(), CacheReport { remembered: 2, asked: 2 });
    assert_eq!(fixture.told.asked.load(Ordering::SeqCst), 2);
    let told = fixture.cached.report().to_string();
    assert_eq!(told, "2 decisions were remembered and are on no record, 2 were asked for");
}

#[tokio::test]
async fn nothing_but_a_plain_permit_is_remembered() {
    let fixture = fixture();
    let denied = Outcome::Deny(Denial { policy_code: None });
    let step_up = Outcome::StepUp(crate::StepUp::Scopes { missing: Vec::new(), ask_for: Vec::new() });
    let observed = Outcome::Observed(crate::Observed {
        subject: String::new(),
        would_be: ReasonCode("no_permit".to_owned()),
        policy_code: None,
    });
    for outcome in [denied, step_up, observed, permit(Some(600), &["log"]), permit(None, &[])] {
        fixture.now_says(outcome.clone());
        for _ in 0..2 {
            assert!(!fixture.remembers(&question("a")).await, "{outcome:?}");
        }
    }
    fixture.now_says(permit(Some(600), &[]));
    let nobody = Question { token: None, ..question("a") };
    for asked in [question("a").explained(), nobody] {
        for _ in 0..2 {
            assert!(!fixture.remembers(&asked).await, "{asked:?}");
        }
    }
}

#[tokio::test]
async fn no_answer_is_not_remembered_and_never_a_permit() {
    let fixture = fixture();
    fixture.told.is_down.store(true, Ordering::SeqCst);
    assert!(fixture.cached.decide(&question("a")).await.is_err());
    fixture.told.is_down.store(false, Ordering::SeqCst);
    assert!(!fixture.remembers(&question("a")).await);
}

#[tokio::test]
async fn a_permit_ends_with_its_time() {
    let fixture = fixture_with(Duration::from_secs(1));
    fixture.remembers(&question("a")).await;
    assert!(fixture.remembers(&question("a")).await);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(!fixture.remembers(&question("a")).await);
}

#[tokio::test]
async fn a_permit_ends_with_its_token() {
    let fixture = fixture();
    fixture.now_says(permit(Some(5), &[]));
    fixture.remembers(&question("a")).await;
    fixture.clock.advance(Duration::from_millis(4_999));
    assert!(fixture.remembers(&question("a")).await);
    fixture.clock.advance(Duration::from_millis(1));
    assert!(!fixture.remembers(&question("a")).await);
    // The service lets a token live on for its leeway; the memory does not.
    assert!(!fixture.remembers(&question("a")).await);
}

#[tokio::test]
async fn an_answer_of_another_revision_forgets_all() {
    let fixture = fixture();
    for target in ["a", "b"] {
        fixture.remembers(&question(target)).await;
        assert!(fixture.remembers(&question(target)).await);
    }
    *fixture.told.revision.lock().unwrap() = "r2";
    fixture.now_says(Outcome::Deny(Denial { policy_code: None }));
    // A denial of the new revision, of another question, is enough.
    assert!(!fixture.remembers(&question("c")).await);
    for target in ["a", "b"] {
        let decision = fixture.cached.decide(&question(target)).await.unwrap();
        assert!(!decision.remembered && decision.permit().is_none());
    }
}

#[tokio::test]
async fn a_batch_of_another_revision_forgets_all_and_so_does_who_wants_it() {
    let fixture = fixture();
    fixture.remembers(&question("a")).await;
    *fixture.told.revision.lock().unwrap() = "r2";
    let _ = fixture.cached.decide_batch(&Batch::new("demo", Vec::new())).await.unwrap();
    assert!(!fixture.remembers(&question("a")).await);
    assert!(fixture.remembers(&question("a")).await);
    fixture.cached.forget();
    assert!(!fixture.remembers(&question("a")).await);
}

#[tokio::test]
async fn an_answer_that_a_new_revision_overtook_is_not_remembered() {
    let fixture = fixture();
    fixture.remembers(&question("a")).await;
    // It is decided by the old revision, and answers after the new one did.
    let (slow, asked) = (question("slow"), question("b"));
    let mut overtaken = fixture.cached.decide(&slow);
    assert!(futures::FutureExt::now_or_never(&mut overtaken).is_none());
    *fixture.told.revision.lock().unwrap() = "r2";
    fixture.remembers(&asked).await;
    assert!(overtaken.await.unwrap().permit().is_some());
    assert!(!fixture.remembers(&slow).await);
}

#[test]
fn bounds_are_checked() {
    for (ttl, entries) in [(0, 1), (61, 1), (1, 0)] {
        let settings = CacheSettings { ttl: Duration::from_secs(ttl), entries, ..CacheSettings::default() };
        assert!(Cached::new(Arc::clone(&fixture().told), settings).is_err());
    }
}
