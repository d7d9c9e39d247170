//! Tokens that were verified before.
//!
//! The key is the SHA-256 of the token and the epoch of the configuration it was verified under; the value holds what
//! no request can change: the claims, the issuer, the key. What a request or the time changes (audience, issuer allowed
//! here, `exp`, `cnf`, whether it is revoked, whether the key is still published) is checked by `verify` on every use. Only a token
//! that was accepted gets in: refusals are chosen by attackers, and would push the good tokens out.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use crate::{claims::Times, identity::Identity, keys::Key};

/// How much the tokens in the cache may weigh, measured by their length.
const CAPACITY_BYTES: u64 = 64 * 1024 * 1024;

/// What one token weighs beside its own length.
const OVERHEAD_BYTES: u32 = 1024;

/// Which token, under which configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    pub(crate) digest: [u8; 32],
    pub(crate) epoch: u64,
}

/// What no request can change about a token whose signature held.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The place of its issuer in the configuration of the epoch.
    pub(crate) issuer: usize,
    pub(crate) identity: Identity,
    pub(crate) times: Times,
    /// The key that its signature was verified with, and the epoch of the key set that held it.
    pub(crate) key: Arc<Key>,
    pub(crate) key_epoch: u64,
    /// The length of the token, in bytes.
    pub(crate) weight: u32,
}

/// The cache, shared by the verifiers of all configurations.
#[derive(Debug, Clone)]
pub(crate) struct TokenCache(Cache<CacheKey, Arc<Facts>>);

impl TokenCache {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(CAPACITY_BYTES)
            .weigher(|_, facts: &Arc<Facts>| facts.weight.saturating_mul(2).saturating_add(OVERHEAD_BYTES))
            .time_to_idle(Duration::from_secs(10 * 60))
            .build();
        Self(cache)
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Arc<Facts>> {
        self.0.get(key)
    }

    pub(crate) fn insert(&self, key: CacheKey, facts: Arc<Facts>) {
        self.0.insert(key, facts);
    }

    pub(crate) fn remove(&self, key: &CacheKey) {
        self.0.invalidate(key);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}
