//! From a question to a recorded decision.
//!
//! The order of the steps is the order of what a caller may learn. Who calls us comes first, then which resource is
//! meant, since only a known resource may challenge; then who asks, and whether they have asked too much, before anything of the request is judged, so that
//! a stranger learns nothing of bodies, targets or policies; then what is asked; then the policies; then the exchange of
//! the token, where the call leaves with one, and the policies about that before anybody is asked for it. The record comes
//! last and before the answer: a permit without its receipt cannot be built.
//!
//! Nothing here returns an error. A refusal, a timeout and a panic are denials with a reason, and are recorded.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::FutureExt;
use palisade_audit::{AuditLog, AuditReceipt, DecisionRecord, ExchangeRecord, ItemRecord};
use palisade_limits::Limiter;
use palisade_model::{
    AccessRequest, Clock, Credential, DecisionId, Item, Reason, Refusal, Scopes, Surface, Timestamp,
};
use palisade_policy::{NearPermit, Verdict};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use tracing::Instrument;

use crate::{
    AskedExchange, Cutting, Decision, Denial, Directives, Findings, InPart, Observed, Parted, Permit, Remedy,
    Reply, Resource, Snapshot, Upstream, UpstreamToken,
    decision::Grant,
    exchange::{Asking, Outcome as Issuing, Step, leaves},
    handles, inner,
    limits::{Gauge, Reached},
    metrics::Metrics,
    operation,
    principal::{self, Principal},
    question::{
        Believed, Question, about, believed, circumstances, fits_catalogue, permitted_resource, readable,
    },
    record,
    shadow::Shadow,
    step_up::Challenges,
    waiting::{Place, Waiting},
};

/// The decision point.
#[derive(Debug)]
pub struct Pdp {
    snapshot: ArcSwap<Snapshot>,
    audit: AuditLog,
    clock: Arc<dyn Clock>,
    admission: Semaphore,
    /// One search at a time asks the policies.
    pub(crate) searching: Semaphore,
    /// Bounds the requests for tokens of our own.
    issuing: Semaphore,
    most_concurrent: usize,
    challenges: Challenges,
    /// Outlives snapshots: what was drawn is drawn, whatever is reloaded.
    limiter: Limiter,
    metrics: Metrics,
    shadow: Shadow,
    /// Those who wait for providers of exchanges.
    waiting: Waiting,
    /// Whether the last decision could not be recorded.
    unrecorded: AtomicBool,
}

/// What a decision point is built from.
#[derive(Debug)]
pub struct PdpSettings {
    /// The first snapshot.
    pub snapshot: Snapshot,
    /// The decision log.
    pub audit: AuditLog,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How many decisions may be under way at once; one more is `overloaded`.
    pub most_concurrent: usize,
}

/// How long a record may take when the deadline is already past: within what Envoy's 200 ms leave of our 150.
const LAST_WORDS: Duration = Duration::from_millis(30);

/// What the steps found out, for the record and the answer.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) outcome: Outcome,
    pub(crate) detail: Option<String>,
    pub(crate) resource: Option<Arc<Resource>>,
    pub(crate) principal: Option<Principal>,
    pub(crate) scopes: Scopes,
    pub(crate) verdicts: Vec<Verdict>,
    /// The calls inside the items, as records have them.
    pub(crate) inner: Vec<ItemRecord>,
    /// The call inside the first denied item that is denied in its place.
    pub(crate) denied_inside: Option<Item>,
    pub(crate) missing_scopes: Scopes,
    /// The permits that came nearest to permitting the first denied item.
    pub(crate) nearest: Vec<NearPermit>,
    pub(crate) remedy: Remedy,
    /// What came of the exchange that the call leaves by, or that was asked for, if it came to one.
    pub(crate) exchange: Option<Issuing>,
    /// What is to be recorded of it. The record of the decision takes it.
    pub(crate) exchange_record: Option<Box<ExchangeRecord>>,
    /// The limit that it is denied for.
    pub(crate) reached: Option<Reached>,
    /// What is to be recorded of an operation.
    pub(crate) operation: Option<operation::Account>,
    /// Whether the steps came to their end before the deadline.
    pub(crate) in_time: bool,
}

/// Where the steps ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every item is permitted.
    Permit,
    /// What is left of an operation is permitted, and its entry sends nothing else on.
    InPart,
    /// The policies deny it for this reason, and the resource is under observation.
    Observe(Reason),
    /// It is denied.
    Deny(Reason),
}

impl Pdp {
    /// A decision point.
    #[must_use]
    pub fn new(settings: PdpSettings) -> Self {
        Self {
            shadow: Shadow::new(settings.audit.clone(), Arc::clone(&settings.clock)),
            snapshot: ArcSwap::from_pointee(settings.snapshot),
            audit: settings.audit,
            clock: settings.clock,
            admission: Semaphore::new(settings.most_concurrent),
            searching: Semaphore::new(1),
            issuing: Semaphore::new(MOST_ISSUING),
            most_concurrent: settings.most_concurrent,
            waiting: Waiting::new(settings.most_concurrent),
            challenges: Challenges::new(),
            limiter: Limiter::default(),
            metrics: Metrics::new(),
            unrecorded: AtomicBool::new(false),
        }
    }

    /// The snapshot in force. Take one for a request, and decode and decide with it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts another snapshot in force. Requests that are under way end with the one they began with.
    pub fn replace(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// The decision log.
    #[must_use]
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Decides a question. Always answers, within the deadline and what a last record takes.
    pub async fn decide(&self, snapshot: &Arc<Snapshot>, request: &AccessRequest) -> Decision {
        self.decide_and_explain(snapshot, request, Duration::MAX).await.0
    }

    /// The same, with what the policies said of each item, for a caller that waits no longer than `patience`.
    pub async fn decide_and_explain(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &AccessRequest,
        patience: Duration,
    ) -> (Decision, Findings) {
        self.decide_whole(snapshot, request, None, patience).await
    }

    /// The same for a request that may be an operation: with what its reader says of it, where it is one.
    pub async fn decide_whole(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &AccessRequest,
        directives: Option<&Directives<'_>>,
        patience: Duration,
    ) -> (Decision, Findings) {
        let asking = Asking { request, exchange: None, directives, cutting: None };
        let (decided, findings) = self.decide_in_span(snapshot, &asking, patience).await;
        (decided.whole(), findings)
    }

    /// The same for an entry that sends on what is left of an operation in place of what came, and tells its client what was taken
    /// out.
    pub async fn decide_in_part(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &AccessRequest,
        (directives, cutting): (Option<&Directives<'_>>, Option<&Cutting<'_>>),
        patience: Duration,
    ) -> Parted {
        let asking = Asking { request, exchange: None, directives, cutting };
        self.decide_in_span(snapshot, &asking, patience).await.0
    }

    /// Decides whether a token may be exchanged, and exchanges it: a permit of this holds the token. Where the request for
    /// it could not be read, `asked` is nothing and the request says why.
    pub async fn exchange(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &AccessRequest,
        asked: Option<&AskedExchange>,
        patience: Duration,
    ) -> Decision {
        let asking = Asking { request, exchange: asked, directives: None, cutting: None };
        self.decide_in_span(snapshot, &asking, patience).await.0.whole()
    }

    async fn decide_in_span(
        &self,
        snapshot: &Arc<Snapshot>,
        asking: &Asking<'_>,
        patience: Duration,
    ) -> (Parted, Findings) {
        let span =
            tracing::info_span!("pdp.decide", otel.kind = "server", decision.reason = tracing::field::Empty);
        record::continue_trace(&span, asking.request);
        let answer = self.decide_in_time(snapshot, asking, patience).instrument(span.clone()).await;
        span.record("decision.reason", answer.0.reason().as_str());
        answer
    }

    async fn decide_in_time(
        &self,
        snapshot: &Arc<Snapshot>,
        asking: &Asking<'_>,
        patience: Duration,
    ) -> (Parted, Findings) {
        let request = asking.request;
        let started = self.clock.now();
        let deadline = Instant::now() + patience.min(asking.time(snapshot));
        // Held until the record is written, so that `settled` waits for it, too.
        let mut place = self.admit().map(Place::new);
        let judgement = match &mut place {
            Some(place) => self.judge_in_time(snapshot, asking, started, deadline, place).await,
            None => Judgement::denied(Reason::Overloaded),
        };
        self.conclude(snapshot, request, judgement, started, deadline).await
    }

    /// A place among what is under way, as long as it is held; none where all are taken.
    pub(crate) fn admit(&self) -> Option<SemaphorePermit<'_>> {
        self.admission.try_acquire().ok()
    }

    /// The same for requests for a token of our own.
    pub(crate) fn admit_issue(&self) -> Option<SemaphorePermit<'_>> {
        self.issuing.try_acquire().ok()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Waits until no decision is under way, for at most `limit`: a proxy that gave up on its call does not take the
    /// record with it when the service stops.
    pub async fn settled(&self, limit: Duration) {
        let all = u32::try_from(self.most_concurrent).unwrap_or(u32::MAX);
        let issuing = u32::try_from(MOST_ISSUING).unwrap_or(u32::MAX);
        let every = async {
            // Those who wait were decisions under way before: none of them is missed in this order.
            let admitted = self.admission.acquire_many(all).await;
            self.waiting.settled().await;
            (admitted, self.issuing.acquire_many(issuing).await)
        };
        if tokio::time::timeout(limit, every).await.is_err() {
            tracing::warn!("decisions were still under way when the decision log was closed");
        }
        if tokio::time::timeout(limit, self.shadow.settled()).await.is_err() {
            tracing::warn!(
                "comparisons with the shadow were still under way when the decision log was closed"
            );
        }
    }

    /// The steps, with every way they can fail turned into a denial.
    async fn judge_in_time(
        &self,
        snapshot: &Snapshot,
        asking: &Asking<'_>,
        now: Timestamp,
        deadline: Instant,
        place: &mut Place<'_>,
    ) -> Judgement {
        let mut judgement = Judgement::denied(Reason::InternalError);
        match within(deadline, self.judge(snapshot, asking, now, deadline, &mut judgement, place)).await {
            Ok(outcome) => {
                judgement.outcome = outcome;
                judgement.in_time = Instant::now() < deadline;
            }
            Err(refusal) => judgement.refuse(refusal),
        }
        judgement
    }

    /// The decision itself.
    async fn judge(
        &self,
        snapshot: &Snapshot,
        asking: &Asking<'_>,
        now: Timestamp,
        deadline: Instant,
        judgement: &mut Judgement,
        place: &mut Place<'_>,
    ) -> Result<Outcome, Refusal> {
        let request = asking.request;
        let resource = permitted_resource(snapshot, request)?;
        judgement.resource = Some(Arc::clone(&resource));
        // Who waits for a provider is known; until then nobody waits longer than for any other decision.
        let soon = deadline.min(Instant::now() + snapshot.limits.deadline);
        let limiter = &self.limiter;
        let gauge = Gauge { limiter, snapshot, resource: &resource, request, now, deadline: soon };
        gauge.unblocked().await.map_err(|reached| judgement.reach(reached))?;
        let wanted = asking.wanted(snapshot, &resource)?;
        let authenticated = principal::authenticate(snapshot, &resource, request, now);
        let authenticated = timeout_at(soon, authenticated).await.unwrap_or_else(|_elapsed| Err(too_late()));
        if let Err(refusal) = &authenticated {
            gauge.note(refusal).await;
        }
        let principal = authenticated?;
        let asker = snapshot.askers.get(&snapshot.policies, &resource, &principal);
        judgement.scopes.clone_from(asker.subject.scopes());
        judgement.principal = Some(principal.clone());
        gauge.draw(&principal).await.map_err(|reached| judgement.reach(reached))?;
        handles::are_of(snapshot, &self.audit, request, &principal.subject().entity())?;
        let (directives, cutting) = (asking.directives, asking.cutting);
        let most = directives.map_or(snapshot.limits.batch, |_| operation::MOST_PARTS);
        let asked = believed(snapshot, request, readable(request, most)?, Some(&principal));
        operation::fits(&asked, directives, &resource)?;
        fits_catalogue(snapshot, &asked)?;
        let circumstances = circumstances(request, now);
        let asking = snapshot.policies.ask(&asker.subject, &circumstances);
        let question = Question { resource: &resource, principal: &principal, asking };

        // Of an exchange that is all that is asked for, the policies are asked below.
        let alone = wanted.as_ref().is_some_and(|wanted| wanted.alone);
        let outcome = match directives {
            _ if alone => Outcome::Permit,
            None => self.judge_items(snapshot, &question, &asked, now, deadline, judgement)?,
            Some(directives) => {
                let read = operation::Read { asked: &asked, directives, cutting };
                self.judge_operation(snapshot, &question, &read, now, deadline, judgement).await?
            }
        };
        if let (Some(wanted), Outcome::Permit | Outcome::InPart | Outcome::Observe(_)) = (&wanted, outcome) {
            let (question, waiting) = (&question, &self.waiting);
            let step = Step { snapshot, question, request, wanted, now, deadline, waiting };
            step.run(judgement, place).await?;
        }
        Ok(outcome)
    }

    /// What the policies say of what is asked, and what would help where they deny it.
    fn judge_items(
        &self,
        snapshot: &Snapshot,
        question: &Question<'_>,
        asked: &Believed<'_>,
        now: Timestamp,
        deadline: Instant,
        judgement: &mut Judgement,
    ) -> Result<Outcome, Refusal> {
        let resource = question.resource;
        for item in asked.items() {
            let said = inner::ask(snapshot, &question.asking, resource, item)?;
            let first = judgement.verdicts.iter().all(Verdict::permits);
            judgement.verdicts.push(said.verdict);
            judgement.inner.extend(said.inner);
            judgement.denied_inside = judgement.denied_inside.take().or(said.denied.filter(|_| first));
            if Instant::now() >= deadline {
                return Err(too_late());
            }
        }
        let first_denied = asked.items().zip(&judgement.verdicts).find(|(_, verdict)| !verdict.permits());
        let Some((item, verdict)) = first_denied else {
            return Ok(Outcome::Permit);
        };
        let inside = judgement.denied_inside.clone();
        let item = inside.as_ref().unwrap_or(item);
        let denied_for = verdict.reason();
        judgement.nearest = question.asking.nearest(&about(item, resource));
        let reason = match self.find_remedy(snapshot, question, item, denied_for, now, deadline) {
            Some(remedy) => remedy.apply(judgement),
            None => denied_for,
        };
        // Only what the policies say is observed, of every item: an unknown method is denied under observation, too.
        let said_by_policies =
            judgement.verdicts.iter().all(|verdict| verdict.permits() || is_policy_denial(verdict.reason()));
        let observed = resource.observe_until.is_some_and(|until| now < until) && said_by_policies;
        Ok(if observed { Outcome::Observe(reason) } else { Outcome::Deny(reason) })
    }

    pub(crate) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// Records the judgement and turns it into the decision.
    async fn conclude(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &AccessRequest,
        mut judgement: Judgement,
        started: Timestamp,
        deadline: Instant,
    ) -> (Parted, Findings) {
        let id = DecisionId::new(started);
        let duration = self.clock.now().since(started);
        let record = record::of(id, snapshot, request, &mut judgement, &self.audit, started, duration);
        let receipt = self.record_by(record, deadline).await;
        let recorded = receipt.is_some();
        // A refusal that is counted stands in the record of the first of its kind: that is the id to tell.
        let id = receipt.as_ref().map_or(id, AuditReceipt::id);
        let decision = decision(id, snapshot, request, &judgement, receipt);
        self.metrics.decided(snapshot, request, &judgement, &decision, duration);
        self.shadow.compare(snapshot, request, &judgement, id, started);
        let findings = Findings::new(judgement, &decision, recorded);
        (decision, findings)
    }

    /// Records it by the deadline, or with the last words after that; nothing where it is on no record.
    pub(crate) async fn record_by(&self, record: DecisionRecord, deadline: Instant) -> Option<AuditReceipt> {
        let until = deadline.max(Instant::now() + LAST_WORDS);
        let receipt = match timeout_at(until, self.audit.record(record)).await {
            Ok(Ok(receipt)) => Ok(receipt),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("the log took too long".to_owned()),
        };
        self.note_recording(receipt.as_ref().err());
        receipt.ok()
    }

    /// Says once when decisions cannot be recorded, and once when they can again: a log line for each would be a flood.
    fn note_recording(&self, error: Option<&String>) {
        match (error, self.unrecorded.swap(error.is_some(), Ordering::Relaxed)) {
            (Some(error), false) => tracing::error!(error, "decisions cannot be recorded, and are denied"),
            (None, true) => tracing::info!("decisions are recorded again"),
            (Some(_), true) | (None, false) => {}
        }
    }
}

pub(crate) fn too_late() -> Refusal {
    Refusal::new(Reason::DeadlineExceeded, "the deadline passed")
}

/// Runs the steps, with a panic and the end of the time as refusals.
pub(crate) async fn within(
    deadline: Instant,
    steps: impl Future<Output = Result<Outcome, Refusal>>,
) -> Result<Outcome, Refusal> {
    let outcome = match timeout_at(deadline, AssertUnwindSafe(steps).catch_unwind()).await {
        Ok(Ok(judged)) => judged?,
        Ok(Err(_panic)) => return Err(Refusal::new(Reason::InternalError, "the decision panicked")),
        Err(_elapsed) => return Err(too_late()),
    };
    // A decision on the processor alone cannot be interrupted; it is not a permit when it comes too late.
    match outcome {
        Outcome::Permit | Outcome::InPart | Outcome::Observe(_) if Instant::now() >= deadline => {
            Err(too_late())
        }
        Outcome::Permit | Outcome::InPart | Outcome::Observe(_) | Outcome::Deny(_) => Ok(outcome),
    }
}

/// The one place where a judgement and a receipt become a decision.
fn decision(
    id: DecisionId,
    snapshot: &Snapshot,
    request: &AccessRequest,
    judgement: &Judgement,
    receipt: Option<AuditReceipt>,
) -> Parted {
    let deny = |reason: Reason| Parted::Whole(Decision::Deny(denial(id, reason, request, judgement)));
    let upstream = |resource| upstream(request, resource, judgement);
    let (Some(resource), Some(principal), Some(upstream)) =
        (&judgement.resource, &judgement.principal, judgement.resource.as_deref().and_then(upstream))
    else {
        return match judgement.outcome {
            Outcome::Deny(reason) => deny(reason),
            Outcome::Permit | Outcome::InPart | Outcome::Observe(_) => deny(Reason::InternalError),
        };
    };
    let grant = |receipt| Grant {
        id,
        receipt,
        resource: Arc::clone(resource),
        subject: Arc::clone(principal.subject()),
        authority: principal.authority().cloned(),
        revision: snapshot.revision.clone(),
        upstream,
    };
    let verdicts = judgement.verdicts.as_slice();
    let operation = judgement.operation.as_ref();
    match (judgement.outcome, receipt) {
        (Outcome::Deny(reason), _) => deny(reason),
        (Outcome::Permit | Outcome::InPart | Outcome::Observe(_), None) => deny(Reason::AuditUnavailable),
        (Outcome::Permit, Some(receipt)) => {
            // INVARIANT: a permit has at least one verdict, and every verdict permits, or is one that an operation can do without.
            let granted = match (operation, &request.asked) {
                (None, _) => verdicts.iter().all(Verdict::permits),
                (Some(account), Ok(asked)) => operation::is_sound(account, asked, verdicts),
                (Some(_), Err(_)) => false,
            };
            let sound = !verdicts.is_empty() && granted;
            if sound {
                Parted::Whole(Decision::Permit(Permit { grant: grant(receipt) }))
            } else {
                deny(Reason::InternalError)
            }
        }
        (Outcome::InPart, Some(receipt)) => {
            // INVARIANT: a permit in part holds the only thing that may go on, and of that every item is permitted.
            let asked = request.asked.as_ref().ok();
            let left = operation
                .zip(asked)
                .and_then(|(account, asked)| operation::sound_part(account, asked, verdicts));
            match left {
                Some((body, told)) => Parted::InPart(InPart { grant: grant(receipt), body, told }),
                None => deny(Reason::InternalError),
            }
        }
        (Outcome::Observe(would_be), Some(receipt)) => {
            Parted::Whole(Decision::Observed(Observed { grant: grant(receipt), would_be }))
        }
    }
}

/// What the upstream of a call gets in place of the credential; nothing for a call that must leave with a token and has none.
///
/// INVARIANT: whatever leaves by an exchange, or asks for one, has what was issued for it. A call without a credential
/// has nothing that could be exchanged, and leaves with nothing.
fn upstream(request: &AccessRequest, resource: &Resource, judgement: &Judgement) -> Option<Upstream> {
    let issued = judgement.exchange.as_ref().and_then(|issued| issued.as_ref().ok()).map(Arc::clone);
    if request.surface == Surface::Exchange {
        return issued.map(Upstream::Exchanged);
    }
    let known = request.credential != Credential::Absent;
    Some(match &resource.upstream_token {
        UpstreamToken::Strip => Upstream::Strip,
        UpstreamToken::Keep => Upstream::Keep,
        UpstreamToken::Static(header) if known => Upstream::Static(Arc::clone(header)),
        UpstreamToken::Exchange(_) if known && leaves(request.surface) => Upstream::Exchanged(issued?),
        UpstreamToken::Static(_) | UpstreamToken::Exchange(_) => Upstream::Strip,
    })
}

pub(crate) fn denial(
    id: DecisionId,
    reason: Reason,
    request: &AccessRequest,
    judgement: &Judgement,
) -> Denial {
    let asked = request.asked.as_ref().ok();
    let failure = judgement.exchange.as_ref().and_then(|issued| issued.as_ref().err());
    let claims = failure.and_then(|failure| failure.claims.as_ref());
    let reply = |item: &Item| Reply { action: item.action.name.clone(), id: item.reply_to.clone() };
    // Only of what was judged so: a record that could not be written is told as it is of every request.
    let operation = judgement.operation.as_ref().filter(|_| judgement.outcome == Outcome::Deny(reason));
    Denial {
        id,
        reason,
        resource: judgement.resource.clone(),
        remedy: claims.map_or_else(|| judgement.remedy.clone(), |claims| Remedy::Claims(claims.clone())),
        retry_after: match judgement.reached {
            Some(reached) => Some(reached.wait),
            None => failure.and_then(|failure| failure.retry_after),
        },
        policy_code: judgement.verdicts.iter().find_map(|verdict| verdict.policy_code().map(str::to_owned)),
        replies: asked
            .map(|asked| {
                asked.items.iter().filter(|item| !item.action.is_part_of_operation()).map(reply).collect()
            })
            .unwrap_or_default(),
        batch: asked.is_some_and(|asked| asked.batch),
        told: operation.and_then(operation::Account::told_of_nothing).map(str::to_owned),
    }
}

/// How many requests for tokens of our own are under way at once.
const MOST_ISSUING: usize = 64;

pub(crate) const fn is_policy_denial(reason: Reason) -> bool {
    matches!(reason, Reason::NoPermit | Reason::Forbidden | Reason::PolicyError)
}

impl Judgement {
    pub(crate) fn denied(reason: Reason) -> Self {
        Self {
            outcome: Outcome::Deny(reason),
            detail: None,
            resource: None,
            principal: None,
            scopes: Scopes::new(),
            verdicts: Vec::new(),
            inner: Vec::new(),
            denied_inside: None,
            missing_scopes: Scopes::new(),
            nearest: Vec::new(),
            remedy: Remedy::None,
            exchange: None,
            exchange_record: None,
            reached: None,
            operation: None,
            in_time: false,
        }
    }

    /// Notes the limit that was reached, and what the request is refused with.
    pub(crate) fn reach(&mut self, reached: Reached) -> Refusal {
        self.reached = Some(reached);
        reached.refusal()
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.outcome = Outcome::Deny(refusal.reason);
        self.detail = Some(refusal.detail);
        self.remedy = Remedy::None;
        if let Some(account) = &mut self.operation {
            account.of_parts = false;
        }
    }
}

#[cfg(test)]
mod tests;
