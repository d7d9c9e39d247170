//! What would turn a denial into a permit: found by asking the same policies again, and never guessed.

use palisade_model::{Item, Reason, Scopes, Timestamp};
use palisade_policy::{Offer, StepUp};
use tokio::time::Instant;

use crate::{
    Pdp, Remedy, Snapshot,
    decide::Judgement,
    question::{Question, about},
};

/// A remedy that flips the decision.
pub(crate) struct Found {
    pub(crate) reason: Reason,
    pub(crate) remedy: Remedy,
    pub(crate) missing: Scopes,
}

impl Found {
    /// More scopes than are held.
    pub(crate) fn scopes(missing: Scopes, held: &Scopes) -> Self {
        Self { reason: Reason::InsufficientScope, remedy: Remedy::Scopes(&missing | held), missing }
    }

    pub(crate) fn apply(self, judgement: &mut Judgement) -> Reason {
        judgement.remedy = self.remedy;
        judgement.missing_scopes = self.missing;
        self.reason
    }
}

impl Pdp {
    /// What would turn the denial of a known target into a permit, for a proven subject.
    pub(crate) fn find_remedy(
        &self,
        snapshot: &Snapshot,
        question: &Question<'_>,
        item: &Item,
        denied_for: Reason,
        now: Timestamp,
        deadline: Instant,
    ) -> Option<Found> {
        let asked_for =
            matches!(denied_for, Reason::NoPermit | Reason::Forbidden) && question.resource.step_up;
        let authority = question.principal.authority()?;
        let subject = question.principal.subject().entity();
        if !asked_for
            || !snapshot.policies.knows_target(&item.target)
            || !self.challenges().may_search(&subject, now)
        {
            return None;
        }
        let offer = Offer {
            step_up: &question.resource.scopes.step_up,
            implies: &question.resource.scopes.implies,
            acr_values: &question.resource.acr_values,
            max_age: &question.resource.max_age,
        };
        let until = (Instant::now() + snapshot.limits.deadline / 4).min(deadline);
        let about = about(item, question.resource);
        let found = match question.asking.step_up(&about, &offer, || Instant::now() < until) {
            StepUp::None => None,
            StepUp::Exhausted => {
                self.metrics().step_up_exhausted();
                None
            }
            StepUp::Scopes(missing) => {
                let missing: Scopes = missing.into_iter().collect();
                Some(Found::scopes(missing, &question.resource.scopes.held_by(&authority.scopes)))
            }
            StepUp::Authentication { acr_values, max_age } => Some(Found {
                reason: Reason::InsufficientUserAuthentication,
                remedy: Remedy::Authentication { acr_values, max_age },
                missing: Scopes::new(),
            }),
        };
        found.inspect(|found| self.challenges().note(&subject, &found.remedy, now))
    }
}
