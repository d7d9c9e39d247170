//! The signature check, within its share of the machine.
//!
//! A signature costs some 50 microseconds. It is checked on the runtime's blocking threads, two a core at most; a bounded
//! number waits in order of arrival, and whoever comes then is refused at once. A flood of bad tokens so holds a bounded
//! part of the processors, and a bounded number of requests.

use std::sync::Arc;

use palisade_model::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{TokenError, keys::Key, parse::Parsed};

/// How many checks wait.
const WAITING: usize = 256;

/// Bounds the signature checks.
#[derive(Debug)]
pub(super) struct ColdChecks {
    under_way: Arc<Semaphore>,
    waiting: Semaphore,
}

impl ColdChecks {
    /// At most `under_way` checks at a time.
    pub(super) fn new(under_way: usize) -> Self {
        Self { under_way: Arc::new(Semaphore::new(under_way)), waiting: Semaphore::new(WAITING) }
    }

    /// Checks the signature of a token.
    pub(super) async fn check(&self, key: &Arc<Key>, parsed: &Parsed<'_>) -> Result<(), TokenError> {
        let permit = self.permit().await?;
        let (key, signed, signature) =
            (Arc::clone(key), parsed.signed.to_owned(), parsed.signature.to_owned());
        // The permit lives as long as the check, also when the request gives up.
        let check = move || {
            let holds = key.verifies(&signed, &signature);
            drop(permit);
            holds
        };
        if tokio::task::spawn_blocking(check).await.map_err(|_| failed())? {
            Ok(())
        } else {
            Err(TokenError::new(Reason::TokenSignatureInvalid, "the signature does not hold"))
        }
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, TokenError> {
        // One that is free is never taken from those who wait: the semaphore hands theirs to them in order.
        if let Ok(permit) = Arc::clone(&self.under_way).try_acquire_owned() {
            return Ok(permit);
        }
        let crowded =
            |_| TokenError::new(Reason::Overloaded, "too many tokens wait for their signature check");
        let _place = self.waiting.try_acquire().map_err(crowded)?;
        Arc::clone(&self.under_way).acquire_owned().await.map_err(|_| failed())
    }
}

fn failed() -> TokenError {
    TokenError::new(Reason::InternalError, "the signature could not be checked")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::SemaphorePermit;

    use super::*;

    impl ColdChecks {
        /// Takes every place, of those that check and of those that wait.
        pub(in crate::verify) async fn hold_everything(&self) -> [SemaphorePermit<'_>; 2] {
            let all = |semaphore: &Semaphore| u32::try_from(semaphore.available_permits()).unwrap();
            let (under_way, waiting) = (all(&self.under_way), all(&self.waiting));
            [
                self.under_way.acquire_many(under_way).await.unwrap(),
                self.waiting.acquire_many(waiting).await.unwrap(),
            ]
        }
    }

    #[tokio::test]
    async fn at_most_256_checks_wait_and_the_next_is_refused_at_once() {
        let checks = Arc::new(ColdChecks::new(1));
        let first = checks.permit().await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..WAITING {
            let checks = Arc::clone(&checks);
            waiting.spawn(async move { checks.permit().await.is_ok() });
        }
        while checks.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let one_more = tokio::time::timeout(Duration::ZERO, checks.permit()).await.unwrap();
        assert_eq!(one_more.unwrap_err().reason, Reason::Overloaded);
        drop(first);
        while let Some(served) = waiting.join_next().await {
            assert!(served.unwrap());
        }
        assert_eq!((checks.waiting.available_permits(), checks.under_way.available_permits()), (WAITING, 1));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_no_place_taken() {
        let checks = ColdChecks::new(1);
        let first = checks.permit().await.unwrap();
        let gives_up = tokio::time::timeout(Duration::from_millis(5), checks.permit()).await;
        assert!(gives_up.is_err());
        assert_eq!(checks.waiting.available_permits(), WAITING);
        drop(first);
        assert!(checks.permit().await.is_ok());
    }
}
