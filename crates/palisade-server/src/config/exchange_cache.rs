//! `exchange_cache` as where replicas share tokens.

use std::sync::Arc;

use palisade_exchange::SharedStore;

use super::{redis, types::ExchangeCache};

/// A store, and a digest of what it is made of.
pub(super) struct Cache {
    pub(super) store: Arc<SharedStore>,
    pub(super) fingerprint: [u8; 32],
}

/// The store of a configuration, which is not reached before it is needed.
pub(super) fn open(cache: &ExchangeCache) -> Result<Option<Cache>, String> {
    let Some(own) = &cache.redis else { return Ok(None) };
    let redis::Connection { url, keys, prefix, timeout, fingerprint } = redis::read(own)?;
    let store = SharedStore::new(&url, &keys, prefix, timeout)?;
    Ok(Some(Cache { store: Arc::new(store), fingerprint }))
}

/// What is weak about it.
pub(super) fn warning(cache: &ExchangeCache) -> Option<String> {
    cache.redis.as_ref().filter(|own| redis::is_in_the_clear(own)).map(|_| {
        "exchange_cache.redis.url: the password crosses the network in plain text, and whoever is in between can drop \
         and replay what is encrypted; use `rediss://`"
            .to_owned()
    })
}
