//! Who asks, for callers of which nothing else is asked yet: a stage of a router that brings a token and no operation.
//!
//! The steps that every decision begins with, under the same rules, and on the record as every decision is. Nothing is asked, so that
//! no policy is, and nothing is permitted by it: what comes of it is no [`Permit`](crate::Permit).

use std::sync::Arc;

use palisade_audit::AuditReceipt;
use palisade_model::{AccessRequest, Credential, DecisionId, Reason, Refusal, Timestamp};
use palisade_policy::with_implied;
use tokio::time::Instant;

use crate::{
    Denial, Pdp, Snapshot,
    decide::{Judgement, Outcome, denial, within},
    limits::Gauge,
    principal::{self, Principal, Proven},
    question,
};

/// Who was found to ask, on the record.
#[derive(Debug)]
pub struct Identified {
    // INVARIANT: there is one only where the record of it was written.
    id: DecisionId,
    proven: Option<Proven>,
}

impl Identified {
    /// The id of the record.
    #[must_use]
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// Who was proven; nobody where no credential came and the resource has methods that nobody may ask for.
    #[must_use]
    pub fn proven(&self) -> Option<&Proven> {
        self.proven.as_ref()
    }
}

impl Pdp {
    /// Who is proven to ask, within the deadline of a decision. Without a credential that is nobody, where the resource lets nobody
    /// ask for anything at all. What is asked is not looked at.
    ///
    /// # Errors
    /// When the caller may not ask, too much is under way, authentication has failed too often from the client's address, the resource
    /// does not accept the credential, or nothing can be recorded: the denial that is on the record.
    pub async fn identify(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &AccessRequest,
    ) -> Result<Identified, Box<Denial>> {
        let started = self.now();
        let deadline = Instant::now() + snapshot.limits.deadline;
        // Held until the record is written, so that `settled` waits for it, too.
        let admitted = self.admit();
        let mut judgement = match &admitted {
            Some(_) => self.identified_in_time(snapshot, request, started, deadline).await,
            None => Judgement::denied(Reason::Overloaded),
        };
        let id = DecisionId::new(started);
        let duration = self.now().since(started);
        let record =
            crate::record::of(id, snapshot, request, &mut judgement, self.audit(), started, duration);
        let receipt = self.record_by(record, deadline).await;
        let id = receipt.as_ref().map_or(id, AuditReceipt::id);
        let refused = match (judgement.outcome, receipt) {
            (Outcome::Deny(reason), _) => Some(reason),
            (Outcome::Permit | Outcome::Observe(_), None) => Some(Reason::AuditUnavailable),
            (Outcome::Permit | Outcome::Observe(_), Some(_)) => None,
            // Nothing was asked that could be cut.
            (Outcome::InPart, _) => Some(Reason::InternalError),
        };
        self.metrics().verified(snapshot, request.resource.as_ref(), refused);
        if let Some(reason) = refused {
            return Err(Box::new(denial(id, reason, request, &judgement)));
        }
        let proven = judgement.principal.as_ref();
        Ok(Identified { id, proven: proven.and_then(|principal| Proven::of(principal, &judgement.scopes)) })
    }

    /// The steps, with every way they can fail turned into a denial.
    async fn identified_in_time(
        &self,
        snapshot: &Snapshot,
        request: &AccessRequest,
        now: Timestamp,
        deadline: Instant,
    ) -> Judgement {
        let mut judgement = Judgement::denied(Reason::InternalError);
        match within(deadline, self.find_out(snapshot, request, now, deadline, &mut judgement)).await {
            Ok(outcome) => {
                judgement.outcome = outcome;
                judgement.detail = Some("nothing was asked but who it is".to_owned());
            }
            Err(refusal) => judgement.refuse(refusal),
        }
        judgement
    }

    async fn find_out(
        &self,
        snapshot: &Snapshot,
        request: &AccessRequest,
        now: Timestamp,
        deadline: Instant,
        judgement: &mut Judgement,
    ) -> Result<Outcome, Refusal> {
        let resource = question::permitted_resource(snapshot, request)?;
        judgement.resource = Some(Arc::clone(&resource));
        let gauge = Gauge { limiter: self.limiter(), snapshot, resource: &resource, request, now, deadline };
        gauge.unblocked().await.map_err(|reached| judgement.reach(reached))?;
        let principal = if request.credential == Credential::Absent && !resource.anonymous.is_empty() {
            Principal::anonymous()
        } else {
            let authenticated = principal::authenticate(snapshot, &resource, request, now).await;
            if let Err(refusal) = &authenticated {
                gauge.note(refusal).await;
            }
            authenticated?
        };
        judgement.principal = Some(principal.clone());
        // Who only says who it is again and again fills the log as well as who asks for something.
        gauge.draw(&principal).await.map_err(|reached| judgement.reach(reached))?;
        let held = principal.authority().map(|authority| &authority.scopes);
        judgement.scopes = held.map(|held| with_implied(held, &resource.scopes.implies)).unwrap_or_default();
        // The word of a PEP proves nobody.
        let is_sound = principal.authority().is_some() || request.credential == Credential::Absent;
        if is_sound {
            Ok(Outcome::Permit)
        } else {
            Err(Refusal::new(Reason::NoCredentials, "no token stands for who asks"))
        }
    }
}
