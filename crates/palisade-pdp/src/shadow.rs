//! A second policy set, asked beside the one in force about the same live traffic.
//!
//! What it would have answered differently becomes an event record. The comparison comes after the decision, on a copy
//! of the question, away from the decision's own task: its answer can reach nobody, and neither its cost nor its
//! failure can reach the decision. One question is compared at a time, a bounded number of items waits, and what finds no room
//! is counted and left out.
//!
//! An operation is one thing: it differs where any part of it is permitted by the one and denied by the other, and the first such
//! part is told. For which of several reasons each of thousands of fields is denied is no difference to anybody.

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
    /// Whether the items are one operation.
    operation: bool,
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
        let operation = judgement.operation.is_some();
        let wanted = u32::try_from(asked.items.len()).unwrap_or(u32::MAX);
        let Ok(place) = Arc::clone(&self.places).try_acquire_many_owned(wanted) else {
            let skipped = if operation { 1 } else { u64::from(wanted) };
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
            items: believed(snapshot, request, asked).items().cloned().zip(reasons).collect(),
            operation,
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
        let asked = if job.operation { 1 } else { job.items.len() as u64 };
        // Apart from the threads that decide; and a panic is an error here, and nothing more.
        let Ok(differences) = tokio::task::spawn_blocking(move || differences(&job)).await else {
            count("failed", asked);
            continue;
        };
        count("same", asked.saturating_sub(differences.len() as u64));
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

/// The items that the shadow answers differently; of an operation the first one.
fn differences(job: &Job) -> Vec<Event> {
    let asker = Asker::new(&job.policies, &job.resource, &job.principal);
    let asking = job.policies.ask(&asker.subject, &job.circumstances);
    let differs = |(item, decided): &(Item, Reason)| {
        let inner = inner::calls(&job.resource, item).unwrap_or_default();
        let all = std::iter::once(item).chain(&inner).map(|call| asking.about(&about(call, &job.resource)));
        let verdict = first_denial(all)?;
        let differs = match job.operation {
            true => verdict.permits() != (*decided == Reason::Permitted),
            false => verdict.reason() != *decided,
        };
        differs.then(|| Event::ShadowDiffers {
            decision: job.decision,
            decided_at: job.at.to_string(),
            principal: job.principal.subject().entity(),
            action: item.action.entity(),
            target: item.target.entity(),
            reason: *decided,
            shadow_reason: verdict.reason(),
            shadow_policies: verdict.determining().iter().map(|policy| policy.id.clone()).collect(),
            shadow_revision: job.policies.revision().clone(),
        })
    };
    job.items.iter().filter_map(differs).take(if job.operation { 1 } else { usize::MAX }).collect()
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
