//! A second policy set, asked beside the one in force about the same live traffic.
//!
//! What it would have answered differently becomes an event record. The comparison comes after the decision, on a copy
//! of the question, away from the decision's own task: its answer can reach nobody, and neither its cost nor its
//! failure can reach the decision. One question is compared at a time, a bounded number of items waits, and what finds no room
//! is counted and left out.
//!
//! An operation is one thing: it differs where any part of it is permitted by the one and denied by the other. The first part that only
//! the policies in force permit is told, and the first that only the shadow does, so that what it tightens hides nothing that it
//! loosens. For which of several reasons each of thousands of fields is denied is no difference to anybody.

use std::sync::{Arc, OnceLock};

use opentelemetry::{KeyValue, metrics::Counter};
use palisade_audit::{AuditLog, Event, EventRecord};
use palisade_model::{AccessRequest, Circumstances, Clock, DecisionId, Item, Reason, Surface, Timestamp};
use palisade_policy::{Policies, Verdict};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    Resource, Snapshot,
    askers::Asker,
    decide::Judgement,
    inner,
    principal::Principal,
    question::{about, believed, circumstances},
};

/// The most items that wait for their comparison: a whole operation finds room, and few of them at once.
const MOST_WAITING: u32 = 8_192;
/// The most differences that become records within a second; more are counted only.
const MOST_RECORDED: u32 = 50;

/// Compares decisions with those of the shadow.
pub(crate) struct Shadow {
    queue: OnceLock<Queue>,
    /// A place for each item that waits or is under way.
    places: Arc<Semaphore>,
    audit: AuditLog,
    clock: Arc<dyn Clock>,
    outcomes: Counter<u64>,
}

type Queue = mpsc::UnboundedSender<(Job, OwnedSemaphorePermit)>;

/// One decided question, owned: the request it came from is gone when its turn comes.
struct Job {
    policies: Arc<Policies>,
    decision: DecisionId,
    at: Timestamp,
    resource: Arc<Resource>,
    principal: Principal,
    circumstances: Circumstances,
    items: Vec<(Item, Reason)>,
    /// Whether the items are operations, each with its parts.
    operations: bool,
}

/// What came of a comparison.
struct Compared {
    same: u64,
    differences: Vec<Event>,
}

impl Shadow {
    pub(crate) fn new(audit: AuditLog, clock: Arc<dyn Clock>) -> Self {
        let outcomes = opentelemetry::global::meter("palisade")
            .u64_counter("palisade_shadow_comparisons_total")
            .with_description("Answers of the shadow policies: same, differs, unrecorded, skipped, failed")
            .build();
        Self {
            queue: OnceLock::new(),
            places: Arc::new(Semaphore::new(MOST_WAITING as usize)),
            audit,
            clock,
            outcomes,
        }
    }

    /// Has the shadow asked what the policies in force have just been asked. Never waits.
    pub(crate) fn compare(
        &self,
        snapshot: &Snapshot,
        request: &AccessRequest,
        judgement: &Judgement,
        decision: DecisionId,
        at: Timestamp,
    ) {
        let (Some(policies), Some(principal), Some(resource), Ok(asked)) =
            (&snapshot.shadow, &judgement.principal, &judgement.resource, &request.asked)
        else {
            return;
        };
        // What the policies in force were not asked has no answer to compare with. They were asked about an exchange on its
        // terms, which no item holds.
        let exchange = request.surface == Surface::Exchange;
        if exchange || judgement.verdicts.is_empty() || judgement.verdicts.len() != asked.items.len() {
            return;
        }
        let operations = judgement.operation.is_some();
        let wanted = u32::try_from(asked.items.len()).unwrap_or(u32::MAX);
        let Ok(place) = Arc::clone(&self.places).try_acquire_many_owned(wanted) else {
            let skipped = things(asked.items.iter(), operations);
            return self.outcomes.add(skipped, &[KeyValue::new("outcome", "skipped")]);
        };
        let reasons = judgement.verdicts.iter().map(Verdict::reason);
        let job = Job {
            policies: Arc::clone(policies),
            decision,
            at,
            resource: Arc::clone(resource),
            principal: principal.clone(),
            circumstances: circumstances(request, at),
            items: believed(snapshot, request, asked, Some(principal))
                .items()
                .cloned()
                .zip(reasons)
                .collect(),
            operations,
        };
        // The task ends only with the runtime, and then nobody asks any more.
        let _ = self.queue.get_or_init(|| self.start()).send((job, place));
    }

    /// Waits until every question has been compared.
    pub(crate) async fn settled(&self) {
        let _ = self.places.acquire_many(MOST_WAITING).await;
    }

    /// Starts the task that compares; it ends with the decision point.
    fn start(&self) -> Queue {
        let (queue, jobs) = mpsc::unbounded_channel();
        let (audit, clock, outcomes) = (self.audit.clone(), Arc::clone(&self.clock), self.outcomes.clone());
        tokio::spawn(run(jobs, audit, clock, outcomes));
        queue
    }
}

async fn run(
    mut jobs: mpsc::UnboundedReceiver<(Job, OwnedSemaphorePermit)>,
    audit: AuditLog,
    clock: Arc<dyn Clock>,
    outcomes: Counter<u64>,
) {
    let count = |outcome: &'static str, times: u64| {
        outcomes.add(times, &[KeyValue::new("outcome", outcome)]);
    };
    let mut second = (Timestamp::from_unix_seconds(0), 0_u32);
    while let Some((job, _place)) = jobs.recv().await {
        let asked = things(job.items.iter().map(|(item, _)| item), job.operations);
        // Apart from the threads that decide; and a panic is an error here, and nothing more.
        let compared = tokio::task::spawn_blocking(move || compared(&job)).await;
        let Ok(Compared { same, differences }) = compared else {
            count("failed", asked);
            continue;
        };
        count("same", same);
        for event in differences {
            let now = clock.now();
            if now.since(second.0) >= std::time::Duration::from_secs(1) {
                second = (now, 0);
            }
            second.1 = second.1.saturating_add(1);
            if second.1 > MOST_RECORDED {
                count("unrecorded", 1);
            } else if audit.event(EventRecord::new(now, event)).await.is_err() {
                count("failed", 1);
            } else {
                count("differs", 1);
            }
        }
    }
}

/// How many things are compared: operations, or items.
fn things<'a>(items: impl Iterator<Item = &'a Item>, operations: bool) -> u64 {
    items
        .filter(|item| !operations || item.action.is_operation())
        .fold(0_u64, |count, _| count.saturating_add(1))
}

/// The items that the shadow answers differently; of an operation the first of each direction.
fn compared(job: &Job) -> Compared {
    let asker = Asker::new(&job.policies, &job.resource, &job.principal);
    let asking = job.policies.ask(&asker.subject, &job.circumstances);
    let mut found = Compared { same: 0, differences: Vec::new() };
    let mut directions = Directions::default();
    for (item, decided) in &job.items {
        // INVARIANT: an operation is followed by its parts, and each of a batch begins with its own item.
        if job.operations && item.action.is_operation() {
            found.same = found.same.saturating_add(1);
            directions = Directions::default();
        }
        let permitted = *decided == Reason::Permitted;
        if job.operations && directions.told(permitted) {
            continue;
        }
        let inner = inner::calls(&job.resource, item).unwrap_or_default();
        let all = std::iter::once(item).chain(&inner).map(|call| asking.about(&about(call, &job.resource)));
        let Some(verdict) = first_denial(all) else { continue };
        let differs = match job.operations {
            true => verdict.permits() != permitted,
            false => verdict.reason() != *decided,
        };
        match (job.operations, differs) {
            (true, true) => {
                let first = directions.tell(permitted);
                found.same = found.same.saturating_sub(u64::from(first));
            }
            (false, false) => found.same = found.same.saturating_add(1),
            (true, false) | (false, true) => {}
        }
        if differs {
            found.differences.push(difference(job, (item, *decided), &verdict));
        }
    }
    found
}

/// Which ways of differing have been told of an operation.
#[derive(Default)]
struct Directions {
    tightened: bool,
    loosened: bool,
}

impl Directions {
    fn told(&self, permitted: bool) -> bool {
        if permitted { self.tightened } else { self.loosened }
    }

    /// Whether it is the first difference of all.
    fn tell(&mut self, permitted: bool) -> bool {
        let first = !self.tightened && !self.loosened;
        *(if permitted { &mut self.tightened } else { &mut self.loosened }) = true;
        first
    }
}

fn difference(job: &Job, (item, decided): (&Item, Reason), verdict: &Verdict) -> Event {
    Event::ShadowDiffers {
        decision: job.decision,
        decided_at: job.at.to_string(),
        principal: job.principal.subject().entity(),
        action: item.action.entity(),
        target: item.target.entity(),
        reason: decided,
        shadow_reason: verdict.reason(),
        shadow_policies: verdict.determining().iter().map(|policy| policy.id.clone()).collect(),
        shadow_revision: job.policies.revision().clone(),
    }
}

/// The first verdict that denies, else the first.
fn first_denial(verdicts: impl Iterator<Item = Verdict>) -> Option<Verdict> {
    verdicts.reduce(|first, next| if first.permits() && !next.permits() { next } else { first })
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Shadow(..)")
    }
}
