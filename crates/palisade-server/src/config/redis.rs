//! `redis`, wherever it stands, as what replicas share something by.

use std::{path::PathBuf, time::Duration};

use palisade_exchange::shared::{
    LONGEST_TIMEOUT,
    seal::{SharedKey, read_key},
};
use sha2::{Digest, Sha256};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{
    types::Redis,
    values::{Secret, TextOrSecret},
};

/// The longest prefix.
const LONGEST_PREFIX: usize = 64;
/// The most keys: the one in use, and the one before or after it.
const MOST_KEYS: usize = 2;

/// What is read of one.
pub(super) struct Connection {
    pub(super) url: Zeroizing<String>,
    /// One key, or two.
    pub(super) keys: Vec<SharedKey>,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    /// A digest of all of it.
    pub(super) fingerprint: [u8; 32],
}

/// Reads one, with its secrets.
pub(super) fn read(redis: &Redis) -> Result<Connection, String> {
    let Redis { url, keys, prefix, timeout } = redis;
    if timeout.0 > LONGEST_TIMEOUT || timeout.0 < Duration::from_millis(1) {
        return Err("timeout: from 1ms to 1s".to_owned());
    }
    let plain = |byte: u8| byte.is_ascii_graphic();
    if prefix.is_empty() || prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(plain) {
        return Err(format!("prefix: 1 to {LONGEST_PREFIX} visible characters of ASCII"));
    }
    let url = read_url(url)?;
    let keys = keys.iter().map(key).collect::<Result<Vec<SharedKey>, String>>()?;
    if keys.is_empty() || keys.len() > MOST_KEYS {
        return Err("keys: one, or two while they are changed".to_owned());
    }
    let mut hash = Sha256::new();
    for part in [url.as_bytes(), prefix.as_bytes(), &timeout.0.as_nanos().to_be_bytes()] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    keys.iter().for_each(|key| hash.update(key.as_slice()));
    let fingerprint = hash.finalize().into();
    Ok(Connection { url, keys, prefix: prefix.clone(), timeout: timeout.0, fingerprint })
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

/// Whether it is elsewhere, and what crosses the network is not encrypted.
pub(super) fn is_in_the_clear(redis: &Redis) -> bool {
    let url = redis.url.read().map(Zeroizing::new).ok();
    let Some(url) = url.and_then(|text| Url::parse(&text).ok()) else { return false };
    let local = match url.host() {
        // A URL that is not of the web has addresses as names.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    url.scheme() == "redis" && !local
}

/// The files that it is made of.
pub(super) fn files(redis: Option<&Redis>) -> impl Iterator<Item = PathBuf> {
    let secrets = redis.into_iter().flat_map(|redis| redis.url.secret().into_iter().chain(&redis.keys));
    secrets.filter_map(|secret| match secret {
        Secret::File(path) => Some(path.clone()),
        Secret::Env(_) => None,
    })
}

/// The same, to be resolved against the file that names them.
pub(super) fn files_mut(redis: Option<&mut Redis>) -> impl Iterator<Item = &mut PathBuf> {
    redis.into_iter().flat_map(|redis| {
        let url = match &mut redis.url {
            TextOrSecret::Text(_) => None,
            TextOrSecret::Secret(secret) => Some(secret),
        };
        url.into_iter().chain(&mut redis.keys).filter_map(Secret::path_mut)
    })
}
