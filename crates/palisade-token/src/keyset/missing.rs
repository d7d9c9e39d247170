//! A token names a key that the issuer does not have: the only thing a request ever does about keys.
//!
//! The key may have been published a moment ago, so the key set is fetched, within the budget of `refresh`. Only a fetch
//! that began after the token came, and succeeded, can tell that there is no such key; what it did not bring is
//! remembered for a minute, and causes no other fetch. In every other case (the budget is spent, the fetch fails or takes
//! too long, too many wait already) nobody knows, and the token must not be blamed for it.
//!
//! Anybody can invent key ids, so few may wait, and not for long. The fetch itself lives on when the request is gone.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use super::{
    KeyStore, locked,
    refresh::{Begin, ended},
};
use crate::KeySource;

/// How long one request waits.
const WAIT: Duration = Duration::from_millis(500);
/// How many requests wait for the keys of one issuer.
pub(super) const WAITING: usize = 64;

/// Why nobody knows whether the issuer has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Unsettled {
    #[error("too many requests wait for its keys already")]
    Crowded,
    #[error("the fetches that unknown key ids may cause are used up for now")]
    Spent,
    #[error("its keys could not be fetched")]
    Failed,
    #[error("its keys did not come in time")]
    Slow,
}

impl KeyStore {
    /// Looks for a key with this id at the issuer. When it succeeds, the caller finds the key among the live ones, or the
    /// issuer has none with this id.
    pub(crate) async fn look_for(self: &Arc<Self>, id: &str) -> Result<(), Unsettled> {
        if matches!(self.origin.source, KeySource::Inline(_)) || self.absent.contains_key(id) {
            return Ok(());
        }
        let _place = self.waiting.try_acquire().map_err(|_| Unsettled::Crowded)?;
        tokio::time::timeout(WAIT, self.settle(id)).await.unwrap_or(Err(Unsettled::Slow))
    }

    async fn settle(self: &Arc<Self>, id: &str) -> Result<(), Unsettled> {
        let mut progress = self.progress.subscribe();
        let seen = locked(&self.pace).begun;
        loop {
            progress.mark_unchanged();
            if let Some(outcome) = self.outcome(id, seen) {
                return outcome;
            }
            match self.begin(true) {
                Begin::Now(flight) => {
                    let (store, id) = (Arc::clone(self), id.to_owned());
                    // Of its own, so that a request that gives up does not end the fetch that others wait for.
                    tokio::spawn(async move {
                        store.refresh(flight).await;
                        // What it did not bring is remembered, also when the request is gone.
                        store.outcome(&id, seen);
                    });
                }
                // It began before this request came. If it does not bring the key, the next one tells.
                Begin::UnderWay => {}
                Begin::Spent => return Err(Unsettled::Spent),
            }
            ended(&mut progress).await;
        }
    }

    /// What the fetches that began after the first `seen` ones tell about a key id; `None` if none of them has ended.
    fn outcome(&self, id: &str, seen: u64) -> Option<Result<(), Unsettled>> {
        let progress = *self.progress.borrow();
        if self.live().is_some_and(|live| live.keys.has_id(id)) {
            Some(Ok(()))
        } else if progress.succeeded > seen {
            self.absent.insert(id.to_owned(), ());
            Some(Ok(()))
        } else {
            (progress.ended > seen).then_some(Err(Unsettled::Failed))
        }
    }
}
