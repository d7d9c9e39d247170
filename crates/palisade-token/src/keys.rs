//! The keys of one issuer, linted at import.
//!
//! A JWK Set (RFC 7517 section 5) is read entry by entry: an entry that is unusable is left out, and never spoils the
//! others. What is left are public keys for signatures, each with exactly one algorithm that is fixed here, before any
//! token is seen, so that a token's header can only agree with it. Nothing here fetches anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use jsonwebtoken::DecodingKey;
use serde_json::Value;
use thiserror::Error;

use crate::Algorithm;

mod lint;

/// How many entries a key set may have.
const MAX_KEYS: usize = 100;

/// How deep a key set may nest.
const DEPTH: usize = 32;

/// One public key with its one algorithm.
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    /// RFC 7638, SHA-256, base64url.
    pub(crate) thumbprint: String,
    pub(crate) algorithm: Algorithm,
    /// The issuer that the entry itself is limited to: a member that Entra adds.
    pub(crate) issuer: Option<String>,
    material: DecodingKey,
}

impl Key {
    /// Whether `signature` (base64url) over `signed` was made with this key.
    pub(crate) fn verifies(&self, signed: &str, signature: &str) -> bool {
        let algorithm = self.algorithm.for_signatures();
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.material, algorithm).unwrap_or(false)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let identity =
            |key: &Self| (key.id.clone(), key.thumbprint.clone(), key.algorithm, key.issuer.clone());
        identity(self) == identity(other)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({}, {})", self.thumbprint, self.algorithm)
    }
}

/// Why a document is not a key set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum KeySetError {
    #[error("the document cannot be read: {0}")]
    Json(#[from] palisade_json::JsonError),
    #[error("the document is no JSON object with an array `keys`")]
    NoKeys,
    #[error("the document has more than {MAX_KEYS} keys")]
    TooMany,
}

/// Why an entry was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The place of the entry in the document, from 0.
    pub(crate) entry: usize,
    pub(crate) why: &'static str,
    /// Whether somebody should look at it: a secret was published, or two keys contradict each other.
    pub(crate) alarm: bool,
}

/// The usable keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Arc<Key>>,
}

impl KeySet {
    /// Reads a document. `accepted` are the algorithms the issuer is configured with; empty stands for all.
    pub(crate) fn import(
        document: &[u8],
        accepted: &[Algorithm],
    ) -> Result<(Self, Vec<Finding>), KeySetError> {
        let Value::Object(mut members) = palisade_json::read(document, DEPTH)? else {
            return Err(KeySetError::NoKeys);
        };
        let Some(Value::Array(entries)) = members.remove("keys") else { return Err(KeySetError::NoKeys) };
        if entries.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut findings = Vec::new();
        let mut keys = Vec::new();
        for (entry, value) in entries.iter().enumerate() {
            match lint::key(value, accepted) {
                Ok(key) => keys.push((entry, key)),
                Err(refusal) => findings.push(Finding { entry, why: refusal.why, alarm: refusal.alarm }),
            }
        }
        let contradicting = contradicting(&keys);
        let mut usable: Vec<Arc<Key>> = Vec::new();
        for (entry, key) in keys {
            if contradicting.contains(&entry) {
                let why = "another entry has the same `kid` or the same key, and contradicts it";
                findings.push(Finding { entry, why, alarm: true });
            } else if !usable.iter().any(|other| **other == key) {
                usable.push(Arc::new(key));
            }
        }
        Ok((Self { keys: usable }, findings))
    }

    /// The key a token names. A token without `kid` has a key only where exactly one fits its algorithm.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Arc<Key>> {
        match id {
            Some(id) => self.keys.iter().find(|key| key.id.as_deref() == Some(id)),
            None => {
                let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
                fitting.next().filter(|_| fitting.next().is_none())
            }
        }
    }

    /// Whether a key has this `kid`.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// The names of the keys.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.id.as_deref())
    }

    /// Whether this very key, with its name, algorithm and limits, is in the set.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.keys.iter().any(|other| **other == *key)
    }

    pub(crate) fn thumbprints(&self) -> BTreeSet<String> {
        self.keys.iter().map(|key| key.thumbprint.clone()).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether both hold the same keys.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len() && self.keys.iter().all(|key| other.contains(key))
    }
}

/// The entries that cannot be told apart or contradict each other: one `kid` for two keys, or one key with two
/// algorithms or two limits. All of them are unusable: which one is meant is a guess.
fn contradicting(keys: &[(usize, Key)]) -> BTreeSet<usize> {
    let mut by_id: BTreeMap<&str, Vec<&(usize, Key)>> = BTreeMap::new();
    let mut by_thumbprint: BTreeMap<&str, Vec<&(usize, Key)>> = BTreeMap::new();
    for item in keys {
        if let Some(id) = &item.1.id {
            by_id.entry(id).or_default().push(item);
        }
        by_thumbprint.entry(&item.1.thumbprint).or_default().push(item);
    }
    let unlike = |group: &[&(usize, Key)]| {
        group.windows(2).any(|pair| match pair {
            [(_, one), (_, other)] => {
                one.thumbprint != other.thumbprint
                    || one.algorithm != other.algorithm
                    || one.issuer != other.issuer
            }
            _ => false,
        })
    };
    by_id
        .values()
        .chain(by_thumbprint.values())
        .filter(|group| unlike(group))
        .flat_map(|group| group.iter().map(|(entry, _)| *entry))
        .collect()
}

#[cfg(test)]
mod tests;
