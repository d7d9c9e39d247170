//! A decision point that remembers permits for a moment.
//!
//! It is off unless it is put around another decision point, and what it changes has to be wanted: **a remembered answer is
//! not asked for, so the service neither records nor counts that use.** [`Cached::report`] and the counter
//! `palisade_client_remembered_decisions_total` say how many there were, and [`Decision::remembered`] says it of each; its `id`
//! is the record of the decision that is remembered.
//!
//! Remembered is a permit of one item for a token, without obligations, and no more. A denial is asked for each time: what
//! was denied may be permitted a moment later by a role that was given or a scope that was added, and who looks for an attack
//! counts denials. So is what obliges the caller, what comes without a token, and what asks for an explanation.
//!
//! A permit is remembered no longer than
//!
//! - [`CacheSettings::ttl`], which also bounds what no revision shows: a key that its issuer withdraws, a policy about the
//!   time of day, an endpoint that has reloaded and was not asked since;
//! - its token: by this machine's clock it has not ended;
//! - its policies: the first answer of another revision forgets everything of the one before. While replicas have different
//!   revisions, next to nothing is remembered.
//!
//! The key of an answer is a digest over everything that is asked ([`key`]), so that no token is kept. The caller is no part of it:
//! a cache belongs to one client, which is one PEP.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use opentelemetry::metrics::Counter;
use palisade_model::{Clock, PolicyRevision, SystemClock, Timestamp};
use tokio::time::Instant;

use crate::{
    Answering, Batch, BatchDecision, Decision, DecisionPoint, Exchange, Exchanged, Presentation, Question,
    Search, Searched, SetupError, Verification,
};

mod key;

use key::{Key, key};

/// How much is remembered, and for how long.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// How long a permit is remembered at most: up to a minute.
    pub ttl: Duration,
    /// How many are remembered at most.
    pub entries: u64,
    /// What says whether a token has ended.
    pub clock: Arc<dyn Clock>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(2), entries: 10_000, clock: Arc::new(SystemClock) }
    }
}

/// The longest that a permit may be remembered.
const LONGEST_TTL: Duration = Duration::from_secs(60);

/// A decision point with a memory.
pub struct Cached<P> {
    point: P,
    settings: CacheSettings,
    permits: Cache<Key, Remembered>,
    revision: Mutex<InForce>,
    remembered: AtomicU64,
    asked: AtomicU64,
    counter: Counter<u64>,
}

/// How often was asked and how often remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheReport {
    /// Decisions on one item that were remembered, and are on no record of the service.
    pub remembered: u64,
    /// Decisions on one item that were asked for.
    pub asked: u64,
}

impl fmt::Display for CacheReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remembered, asked } = self;
        write!(
            formatter,
            "{remembered} decisions were remembered and are on no record, {asked} were asked for"
        )
    }
}

#[derive(Debug, Clone)]
struct Remembered {
    decision: Decision,
    until: Instant,
    expires_at: Timestamp,
    epoch: u64,
}

/// The revision that answered last. An epoch ends when another one answers.
#[derive(Debug, Clone, Default)]
struct InForce {
    revision: Option<PolicyRevision>,
    epoch: u64,
}

impl<P: DecisionPoint> Cached<P> {
    /// Puts a memory around a decision point.
    ///
    /// # Errors
    /// When a setting is out of bounds.
    pub fn new(point: P, settings: CacheSettings) -> Result<Self, SetupError> {
        if settings.ttl.is_zero() || settings.ttl > LONGEST_TTL {
            return Err(SetupError::Bound {
                what: "ttl",
                bounds: "more than nothing and at most one minute",
            });
        }
        if settings.entries == 0 {
            return Err(SetupError::Bound { what: "entries", bounds: "at least one" });
        }
        let permits = Cache::builder().max_capacity(settings.entries).time_to_live(settings.ttl).build();
        let counter = opentelemetry::global::meter("palisade")
            .u64_counter("palisade_client_remembered_decisions_total")
            .with_description("Decisions that a client remembered, which no service has recorded")
            .build();
        Ok(Self {
            point,
            settings,
            permits,
            revision: Mutex::default(),
            remembered: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            counter,
        })
    }

    /// How often was asked and how often remembered since this was made.
    #[must_use]
    pub fn report(&self) -> CacheReport {
        CacheReport {
            remembered: self.remembered.load(Ordering::Relaxed),
            asked: self.asked.load(Ordering::Relaxed),
        }
    }

    /// Forgets everything.
    pub fn forget(&self) {
        self.in_force().epoch += 1;
        self.permits.invalidate_all();
    }

    fn in_force(&self) -> std::sync::MutexGuard<'_, InForce> {
        // Nothing panics while it is held; were it so, a revision would be seen once more.
        self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a question, if it is remembered and still holds.
    fn recall(&self, key: &Key) -> Option<Decision> {
        let found = self.permits.get(key)?;
        let holds = found.epoch == self.in_force().epoch
            && Instant::now() < found.until
            && self.settings.clock.now() < found.expires_at;
        if !holds {
            self.permits.invalidate(key);
            return None;
        }
        Some(Decision { remembered: true, ..found.decision })
    }

    /// Notes which revision answered, and tells the epoch that the answer belongs to.
    fn answered_by(&self, revision: Option<&PolicyRevision>) -> Option<u64> {
        let revision = revision?.clone();
        let mut in_force = self.in_force();
        match &in_force.revision {
            Some(known) if *known == revision => {}
            Some(_) => {
                in_force.epoch += 1;
                in_force.revision = Some(revision);
                self.permits.invalidate_all();
            }
            None => in_force.revision = Some(revision),
        }
        Some(in_force.epoch)
    }

    async fn decide_remembering(&self, question: &Question) -> Result<Decision, crate::NoAnswer> {
        let key = (!question.explain && question.token.is_some()).then(|| key(question));
        if let Some(decision) = key.and_then(|key| self.recall(&key)) {
            self.remembered.fetch_add(1, Ordering::Relaxed);
            self.counter.add(1, &[]);
            return Ok(decision);
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (epoch, began) = (self.in_force().epoch, Instant::now());
        let decision = self.point.decide(question).await?;
        // An answer that was under way while the revision changed may be of the one before.
        let current = self.answered_by(decision.policy_revision.as_ref()) == Some(epoch);
        let plain = decision.permit().filter(|permit| permit.obligations().is_empty());
        let expires_at = plain.and_then(crate::Permit::expires_at);
        if let (Some(key), Some(expires_at), true) = (key, expires_at, current) {
            let until = began + self.settings.ttl;
            let decision = decision.clone();
            self.permits.insert(key, Remembered { decision, until, expires_at, epoch });
        }
        Ok(decision)
    }
}

impl<P: DecisionPoint> DecisionPoint for Cached<P> {
    fn decide<'a>(&'a self, question: &'a Question) -> Answering<'a, Decision> {
        Box::pin(self.decide_remembering(question))
    }

    fn decide_batch<'a>(&'a self, batch: &'a Batch) -> Answering<'a, BatchDecision> {
        Box::pin(async move {
            let decision = self.point.decide_batch(batch).await?;
            self.answered_by(decision.whole.policy_revision.as_ref());
            Ok(decision)
        })
    }

    fn verify<'a>(&'a self, presentation: &'a Presentation) -> Answering<'a, Verification> {
        self.point.verify(presentation)
    }

    fn search<'a>(&'a self, search: &'a Search) -> Answering<'a, Searched> {
        self.point.search(search)
    }

    /// The service remembers issued tokens itself, and asks the policies first each time.
    fn exchange<'a>(&'a self, exchange: &'a Exchange) -> Answering<'a, Exchanged> {
        self.point.exchange(exchange)
    }
}

impl<P: fmt::Debug> fmt::Debug for Cached<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cached").field("point", &self.point).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
