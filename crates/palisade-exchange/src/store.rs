//! What providers have answered: tokens until they end, refusals for a while.
//!
//! The two are apart, so that a flood of refusals does not push the tokens out. A token is handed out until its own end,
//! the end of the subject's token or the lifetime that the policies permit, whichever is first, less a margin that a call
//! takes to arrive. The subject's token is verified on every request before anybody looks here, so what belongs to one that
//! is revoked or over is not found any more; what was issued is held against the lists of its own issuer once more when it
//! is found.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use palisade_model::Timestamp;
use palisade_pdp::{ExchangeFailure, Issued, Order};

use crate::{failure::Failed, key::Key};

/// How much the tokens of one exchange may weigh, roughly, in bytes.
const CAPACITY_BYTES: u64 = 16 * 1024 * 1024;
/// What a token weighs beside its own length.
const OVERHEAD_BYTES: usize = 1_024;
/// The most refusals of one exchange.
const MOST_REFUSALS: u64 = 10_000;
/// The longest that anything is kept.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// The most that is taken off the end of a token.
const MARGIN: Duration = Duration::from_secs(30);

/// The answers of one exchange.
#[derive(Debug)]
pub(crate) struct Store {
    tokens: Cache<Key, (Arc<Issued>, Timestamp)>,
    refusals: Cache<Key, (ExchangeFailure, Timestamp)>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let weight =
            |token: &Arc<Issued>| u32::try_from(token.token.len() + OVERHEAD_BYTES).unwrap_or(u32::MAX);
        let tokens = Cache::builder()
            .max_capacity(CAPACITY_BYTES)
            .weigher(move |_, (token, _): &(Arc<Issued>, Timestamp)| weight(token))
            .time_to_live(LONGEST);
        let refusals = Cache::builder().max_capacity(MOST_REFUSALS).time_to_live(LONGEST);
        Self { tokens: tokens.build(), refusals: refusals.build() }
    }

    /// The answer that is still good.
    pub(crate) fn get(&self, key: &Key, now: Timestamp) -> Option<Result<Arc<Issued>, ExchangeFailure>> {
        if let Some((token, until)) = self.tokens.get(key) {
            if now < until {
                return Some(Ok(token));
            }
            self.tokens.invalidate(key);
        }
        let (failure, until) = self.refusals.get(key)?;
        (now < until).then_some(Err(failure))
    }

    pub(crate) fn put_token(&self, key: Key, token: Arc<Issued>, until: Timestamp) {
        self.refusals.invalidate(&key);
        self.tokens.insert(key, (token, until));
    }

    /// Forgets a token that is not to be handed out any more.
    pub(crate) fn forget(&self, key: &Key) {
        self.tokens.invalidate(key);
    }

    pub(crate) fn put_refusal(&self, key: Key, failed: &Failed, now: Timestamp) {
        if let Some(good_for) = failed.good_for {
            self.refusals.insert(key, (failed.failure.clone(), now.plus(good_for)));
        }
    }
}

/// Until when a token is handed out: nothing where that would be over already.
pub(crate) fn good_until(order: &Order, issued: &Issued, now: Timestamp) -> Option<Timestamp> {
    let permitted = now.plus(order.lifetime().min(LONGEST));
    let end = issued.expires_at.min(order.authority().expires_at).min(permitted);
    let left = end.since(now);
    let until = now.plus(left.saturating_sub(MARGIN.min(left / 10)));
    (now < until).then_some(until)
}
