//! `exchange_cache` as where replicas share tokens.

use std::{path::PathBuf, sync::Arc, time::Duration};

use palisade_exchange::{
    SharedStore,
    shared::{
        LONGEST_TIMEOUT,
        seal::{SharedKey, read_key},
    },
};
use sha2::{Digest, Sha256};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{
    types::{ExchangeCache, Redis},
    values::{Secret, TextOrSecret},
};

/// The longest prefix.
const LONGEST_PREFIX: usize = 64;

/// A store, and a digest of what it is made of.
pub(super) struct Cache {
    pub(super) store: Arc<SharedStore>,
    pub(super) fingerprint: [u8; 32],
}

/// The store of a configuration, which is not reached before it is needed.
pub(super) fn open(cache: &ExchangeCache) -> Result<Option<Cache>, String> {
    let Some(redis) = &cache.redis else { return Ok(None) };
    let Redis { url, keys, prefix, timeout } = redis;
    if timeout.0 > LONGEST_TIMEOUT || timeout.0 < Duration::from_millis(1) {
        return Err("timeout: from 1ms to 1s".to_owned());
    }
    let plain = |byte: u8| byte.is_ascii_graphic();
    if prefix.is_empty() || prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(plain) {
        return Err(format!("prefix: 1 to {LONGEST_PREFIX} visible characters of ASCII"));
    }
    let place = read_url(url)?;
    let read = keys.iter().map(key).collect::<Result<Vec<SharedKey>, String>>()?;
    let mut hash = Sha256::new();
    for part in [place.as_bytes(), prefix.as_bytes(), &timeout.0.as_nanos().to_be_bytes()] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    read.iter().for_each(|key| hash.update(key.as_slice()));
    let store = SharedStore::new(&place, &read, prefix.clone(), timeout.0);
    Ok(Some(Cache { store: Arc::new(store?), fingerprint: hash.finalize().into() }))
}

fn read_url(url: &TextOrSecret) -> Result<Zeroizing<String>, String> {
    let text = Zeroizing::new(url.read().map_err(|why| format!("url: {why}"))?);
    let holds_password = Url::parse(&text).is_ok_and(|url| url.password().is_some());
    if holds_password && url.secret().is_none() {
        return Err("url: it holds a password: write it as `{file: path}` or `{env: NAME}`".to_owned());
    }
    Ok(text)
}

fn key(secret: &Secret) -> Result<SharedKey, String> {
    let text = Zeroizing::new(secret.read().map_err(|why| format!("keys: {why}"))?);
    read_key(text.trim()).ok_or_else(|| "keys: a key is 32 random bytes, in base64 or hex".to_owned())
}

/// What is weak about it.
pub(super) fn warning(cache: &ExchangeCache) -> Option<String> {
    let url = Url::parse(&Zeroizing::new(cache.redis.as_ref()?.url.read().ok()?)).ok()?;
    let local = match url.host()? {
        // A URL that is not of the web has addresses as names.
        Host::Domain(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    (url.scheme() == "redis" && !local).then(|| {
        "exchange_cache.redis.url: the password crosses the network in plain text, and whoever is in between can drop \
         and replay what is encrypted; use `rediss://`"
            .to_owned()
    })
}

fn secrets(redis: &Redis) -> impl Iterator<Item = &Secret> {
    redis.url.secret().into_iter().chain(&redis.keys)
}

/// The files that it is made of.
pub(super) fn files(cache: &ExchangeCache) -> impl Iterator<Item = PathBuf> {
    cache.redis.iter().flat_map(secrets).filter_map(|secret| match secret {
        Secret::File(path) => Some(path.clone()),
        Secret::Env(_) => None,
    })
}

/// The same, to be resolved against the file that names them.
pub(super) fn files_mut(cache: &mut ExchangeCache) -> impl Iterator<Item = &mut PathBuf> {
    cache.redis.iter_mut().flat_map(|redis| {
        let url = match &mut redis.url {
            TextOrSecret::Text(_) => None,
            TextOrSecret::Secret(secret) => Some(secret),
        };
        url.into_iter().chain(&mut redis.keys).filter_map(Secret::path_mut)
    })
}
