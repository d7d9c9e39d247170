//! Until when a stream may go on.
//!
//! A stream ends with the token that opened it. And the request that opened it is asked about again: by the layer when other policies are
//! in force, by an adapter on an interval. Where that is denied, the stream ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use palisade_client::{Check, Checked, Describe, GatewayPoint, Passage};
use palisade_model::{Clock, PolicyRevision, SystemClock, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

/// How often it is asked which policies are in force, while streams are open.
pub(crate) const RECHECK: Duration = Duration::from_secs(5);
/// After how many refusals for asking too much a stream ends that other policies might deny: in more than a minute, in which a
/// budget is whole again.
const MOST_TOO_MANY: u32 = 15;
/// For how long a stream goes on that is asked about on an interval while nobody answers: as long as one for which too much is asked.
const GRACE: Duration = Duration::from_secs(75);
/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(100);

/// Which policies are in force, as far as is known: asked for once for all streams.
#[derive(Debug, Default)]
pub(crate) struct InForce(Mutex<Option<(Instant, Option<PolicyRevision>)>>);

impl InForce {
    /// The revision in force, as of the last few seconds; nothing where nobody tells.
    async fn revision(&self, point: &dyn GatewayPoint, resource: &str) -> Option<PolicyRevision> {
        let now = Instant::now();
        {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, revision)) = known.as_ref().filter(|(asked, _)| now - *asked < RECHECK / 2) {
                return revision.clone();
            }
            // Who comes meanwhile takes what was known.
            let before = known.take().and_then(|(_, revision)| revision);
            *known = Some((now, before));
        }
        let described = point.describe(&Describe::new(resource)).await;
        let revision = match described {
            Ok(Some(description)) => description.policy_revision,
            // It is no resource of ours any more: what is open is asked about again.
            Ok(None) => Some(PolicyRevision::from("")),
            Err(_no_answer) => None,
        };
        if revision.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, revision.clone()));
        }
        revision
    }
}

/// Why a stream may go on no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The token that opened it is at its end.
    Expired,
    /// What opened it is denied now.
    Denied,
    /// Nobody has said for too long that it may go on.
    Unanswered,
}

/// Until when a stream may go on.
#[derive(Debug)]
pub struct Lease {
    point: Arc<dyn GatewayPoint>,
    /// The request that opened it.
    pub(crate) check: Check,
    /// Whom it was permitted to.
    subject: String,
    expires_at: Option<Timestamp>,
    again: Again,
}

/// When it is asked again whether the stream may go on.
#[derive(Debug)]
enum Again {
    /// When other policies are in force than this revision.
    WithPolicies {
        in_force: Arc<InForce>,
        /// The revision that permitted it.
        revision: Option<PolicyRevision>,
        /// How often there was no answer because its subject or its client asks too much.
        too_many: u32,
    },
    /// After each interval, whatever policies are in force. Without an answer it goes on for the grace.
    Every { interval: Duration, grace: Duration },
}

/// What asking again has come to.
enum Said {
    Yes(Box<Passage>),
    No,
    TooMany,
    Nothing,
}

impl Lease {
    /// Of a stream that the request of this passage has opened, and that is asked about again whenever so much time has passed, or up to a quarter
    /// less. Every such question is a decision with its record. The stream goes on while nobody answers, for 75 s. It ends where the
    /// request would be permitted to another subject, or with another body than it came with.
    #[must_use]
    pub fn every(interval: Duration, point: Arc<dyn GatewayPoint>, check: Check, passage: &Passage) -> Self {
        let again = Again::Every { interval: interval.max(SHORTEST), grace: GRACE };
        Self { point, check, subject: passage.subject().to_owned(), expires_at: passage.expires_at(), again }
    }

    /// Of a stream that is asked about again when other policies are in force.
    pub(crate) fn with_policies(
        in_force: Arc<InForce>,
        point: Arc<dyn GatewayPoint>,
        check: Check,
        passage: &Passage,
    ) -> Self {
        let revision = passage.policy_revision().cloned();
        let again = Again::WithPolicies { in_force, revision, too_many: 0 };
        // As a request of which all has to be permitted: a stream that is open is not cut.
        let check = check.whole();
        Self { point, check, subject: passage.subject().to_owned(), expires_at: passage.expires_at(), again }
    }

    /// Waits until the stream may go on no longer.
    pub async fn ended(self) -> Ended {
        let Self { point, check, subject, expires_at, again } = self;
        let left = expires_at.map(|end| end.since(SystemClock.now()));
        let expiry = async {
            match left {
                Some(left) => sleep(left).await,
                None => std::future::pending().await,
            }
        };
        let asker = Asker { point: &*point, check: &check, subject: &subject };
        let asked = async {
            match again {
                Again::WithPolicies { in_force, revision, too_many } => {
                    asker.until_policies_deny(&in_force, revision, too_many).await
                }
                Again::Every { interval, grace } => asker.until_denied(interval, grace).await,
            }
        };
        tokio::select! { biased; () = expiry => Ended::Expired, ended = asked => ended }
    }
}

/// Who asks again.
struct Asker<'l> {
    point: &'l dyn GatewayPoint,
    check: &'l Check,
    subject: &'l str,
}

impl Asker<'_> {
    async fn until_policies_deny(
        &self,
        in_force: &InForce,
        mut revision: Option<PolicyRevision>,
        mut too_many: u32,
    ) -> Ended {
        let mut ticks = interval_at(Instant::now() + RECHECK, RECHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = in_force.revision(self.point, &self.check.resource).await;
            if now.is_none() || now == revision {
                continue;
            }
            match self.ask().await {
                Said::Yes(passage) => {
                    revision = passage.policy_revision().cloned();
                    too_many = 0;
                }
                Said::No => return Ended::Denied,
                // Too many requests are no word of the policies. But a client can see to it that there are too many.
                Said::TooMany => {
                    too_many += 1;
                    if too_many >= MOST_TOO_MANY {
                        return Ended::Unanswered;
                    }
                }
                // It was permitted, and nothing says that it is no longer.
                Said::Nothing => {}
            }
        }
    }

    async fn until_denied(&self, interval: Duration, grace: Duration) -> Ended {
        let mut answered = Instant::now();
        let mut pause = interval;
        loop {
            // Streams that were opened at once are not asked about at once for ever.
            sleep(pause.mul_f64(rand::random_range(0.75..1.0))).await;
            match self.ask().await {
                // It would be another request than the one that goes on.
                Said::Yes(passage) if passage.body().is_some() => return Ended::Denied,
                Said::Yes(_) => (answered, pause) = (Instant::now(), interval),
                Said::No => return Ended::Denied,
                Said::TooMany | Said::Nothing if answered.elapsed() >= interval + grace => {
                    return Ended::Unanswered;
                }
                Said::TooMany | Said::Nothing => pause = interval.min(RECHECK),
            }
        }
    }

    async fn ask(&self) -> Said {
        match self.point.check(self.check).await {
            Ok(Checked::Pass(passage)) if passage.subject() == self.subject => Said::Yes(passage),
            // It is permitted to somebody else.
            Ok(Checked::Pass(_)) => Said::No,
            Ok(Checked::Answer(told)) if told.status == StatusCode::TOO_MANY_REQUESTS => Said::TooMany,
            Ok(Checked::Answer(told)) if told.status == StatusCode::SERVICE_UNAVAILABLE => Said::Nothing,
            Ok(Checked::Answer(_)) => Said::No,
            Err(_no_answer) => Said::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
