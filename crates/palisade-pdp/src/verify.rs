//! Whether a resource accepts a token, for callers that ask nothing else.
//!
//! The same check that every decision begins with, under the same rules: who may ask, about which resource, within the
//! deadline. It is no decision: nothing is permitted by it, so it is counted and not recorded.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use palisade_model::{PepName, RawToken, Reason, Refusal, ResourceName, Surface};
use palisade_token::VerifiedToken;
use tokio::time::timeout;

use crate::{Pdp, Snapshot, principal, question};

/// A token, who it is presented to, and who asks.
#[derive(Debug)]
pub struct Presented<'a> {
    /// The caller of the decision service; `None` where it is not authenticated.
    pub pep: Option<&'a PepName>,
    /// The resource; `None` where the request names none.
    pub resource: Option<&'a ResourceName>,
    /// The token.
    pub token: &'a RawToken,
}

impl Pdp {
    /// Verifies a token for a resource, within `patience` or the deadline of a decision, whichever is shorter.
    ///
    /// # Errors
    /// When the caller may not ask, or the resource does not accept the token, with the reason. An outage is such a
    /// reason, too, and says nothing about the token.
    pub async fn verify(
        &self,
        snapshot: &Snapshot,
        presented: &Presented<'_>,
        patience: Duration,
    ) -> Result<VerifiedToken, Refusal> {
        let patience = patience.min(snapshot.limits.deadline);
        let verified = self.in_time(self.steps_of_verify(snapshot, presented), patience).await;
        let reason = verified.as_ref().err().map(|refusal| refusal.reason);
        self.metrics().verified(snapshot, presented.resource, reason);
        verified
    }

    /// Runs the steps, with every way they can fail turned into a refusal.
    async fn in_time(
        &self,
        steps: impl Future<Output = Result<VerifiedToken, Refusal>>,
        patience: Duration,
    ) -> Result<VerifiedToken, Refusal> {
        let Some(_admitted) = self.admit() else {
            return Err(Refusal::new(Reason::Overloaded, "too much is under way"));
        };
        match timeout(patience, AssertUnwindSafe(steps).catch_unwind()).await {
            Ok(Ok(found)) => found,
            Ok(Err(_panic)) => Err(Refusal::new(Reason::InternalError, "the verification panicked")),
            Err(_elapsed) => Err(Refusal::new(Reason::DeadlineExceeded, "the deadline passed")),
        }
    }

    async fn steps_of_verify(
        &self,
        snapshot: &Snapshot,
        presented: &Presented<'_>,
    ) -> Result<VerifiedToken, Refusal> {
        let Presented { pep, resource, token } = presented;
        let resource = question::permitted(snapshot, *pep, *resource, Surface::Verify)?;
        principal::verify(snapshot, &resource, token, self.now()).await
    }
}
