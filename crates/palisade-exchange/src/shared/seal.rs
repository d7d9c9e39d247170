//! A token as it lies in a shared store: encrypted, and bound to its place.
//!
//! One byte of version, a random nonce of twelve, and AES-256-GCM over JSON. The version and the place are associated data:
//! a value that is moved to another place opens nowhere. A nonce is random for every value, which is safe for 2^32 of them
//! under one key; that is a hundred a second for a year.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use palisade_model::{Scopes, Timestamp};
use palisade_pdp::Issued;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Of the format; it is part of what is authenticated.
const VERSION: u8 = 1;
/// The most keys: the one in use, and the one before or after it.
const MOST_KEYS: usize = 2;

/// The keys.
pub struct Seal(Vec<RandomizedNonceKey>);

/// What is sealed.
#[derive(Serialize)]
struct Sealing<'a> {
    token: &'a str,
    scopes: &'a Scopes,
    actors: &'a [String],
    token_id: &'a str,
    expires_at: Timestamp,
    good_until: Timestamp,
}

/// What was sealed. It is nothing to hand out: `check::restored` makes that of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The token.
    #[serde(deserialize_with = "overwritten")]
    pub token: Zeroizing<String>,
    /// Its scopes.
    pub scopes: Scopes,
    /// Its actors.
    pub actors: Vec<String>,
    /// Its id.
    pub token_id: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Until when it is handed out.
    pub good_until: Timestamp,
}

impl Seal {
    /// One key or two. The first seals, both open.
    #[must_use]
    pub fn new(keys: &[[u8; 32]]) -> Option<Self> {
        if keys.is_empty() || keys.len() > MOST_KEYS {
            return None;
        }
        let keys = keys.iter().map(|key| RandomizedNonceKey::new(&AES_256_GCM, key).ok());
        keys.collect::<Option<Vec<_>>>().map(Self)
    }

    /// A token, for one place.
    #[must_use]
    pub fn seal(&self, place: &[u8; 32], issued: &Issued, good_until: Timestamp) -> Option<Vec<u8>> {
        let content = Sealing {
            token: &issued.token,
            scopes: &issued.scopes,
            actors: &issued.actors,
            token_id: &issued.token_id,
            expires_at: issued.expires_at,
            good_until,
        };
        let mut text = Zeroizing::new(serde_json::to_vec(&content).ok()?);
        let nonce = self.0.first()?.seal_in_place_append_tag(aad(place), &mut *text).ok()?;
        Some([&[VERSION], nonce.as_ref().as_slice(), &text].concat())
    }

    /// What was sealed for this place, if it was, with one of the keys.
    #[must_use]
    pub fn open(&self, place: &[u8; 32], sealed: &[u8]) -> Option<Kept> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *version != VERSION {
            return None;
        }
        // A failed attempt leaves nothing of use in its place, so each has a copy of its own.
        self.0.iter().find_map(|key| {
            let mut text = Zeroizing::new(text.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let content = key.open_in_place(nonce, aad(place), &mut text).ok()?;
            serde_json::from_slice(content).ok()
        })
    }
}

fn overwritten<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

fn aad(place: &[u8; 32]) -> Aad<Vec<u8>> {
    Aad::from([b"palisade exchange ".as_slice(), &[VERSION], place].concat())
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal(..)")
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Kept({:?}, ..)", self.token_id)
    }
}

/// A key as it is configured: 32 bytes in base64 or hex.
#[must_use]
pub fn read_key(text: &str) -> Option<[u8; 32]> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut bytes = if text.len() == 64 { hex::decode(text).ok() } else { STANDARD.decode(text).ok() }?;
    let key = bytes.as_slice().try_into().ok();
    bytes.zeroize();
    key
}

#[cfg(test)]
mod tests;
