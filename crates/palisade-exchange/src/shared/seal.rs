//! A token as it lies in a shared store: encrypted, and bound to its place.
//!
//! One byte of version, a random nonce of twelve, and AES-256-GCM over JSON. The version and the place are associated data:
//! a value that is moved to another place opens nowhere. A nonce is random for every value, which is safe for 2^32 of them
//! under one key; that is a hundred a second for a year.
//!
//! A place is a digest of secrets, too, so its name in the store is its HMAC: nobody without a key can try out what it is
//! made of. The keys of the two are derived (HKDF) from the configured one, each for its purpose.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, Salt},
    hmac,
};
use palisade_model::{Scopes, Timestamp};
use palisade_pdp::Issued;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

/// Of the format; it is part of what is authenticated.
const VERSION: u8 = 2;
/// The most keys: the one in use, and the one before or after it.
const MOST_KEYS: usize = 2;

/// A key as it is configured.
pub type SharedKey = Zeroizing<[u8; 32]>;

/// The keys.
pub struct Seal(Vec<Keys>);

/// What is made of one configured key.
struct Keys {
    seal: RandomizedNonceKey,
    names: hmac::Key,
}

/// What is sealed.
#[derive(Serialize)]
struct Sealing<'a> {
    token: &'a str,
    scopes: &'a Scopes,
    actors: &'a [String],
    token_id: &'a str,
    expires_at: Timestamp,
    written_at: Timestamp,
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
    /// When it was sealed, by the clock of who did.
    pub written_at: Timestamp,
    /// Until when it is handed out.
    pub good_until: Timestamp,
}

impl Seal {
    /// One key or two. The first seals, both open.
    #[must_use]
    pub fn new(keys: &[SharedKey]) -> Option<Self> {
        if keys.is_empty() || keys.len() > MOST_KEYS {
            return None;
        }
        keys.iter().map(Keys::new).collect::<Option<Vec<_>>>().map(Self)
    }

    /// The names of a place: by the key that seals, then by the other that opens.
    pub fn names(&self, place: &[u8; 32]) -> impl Iterator<Item = String> {
        self.0.iter().map(|keys| hex::encode(hmac::sign(&keys.names, place)))
    }

    /// A token, for one place, that is handed out from now until then.
    #[must_use]
    pub fn seal(
        &self,
        place: &[u8; 32],
        issued: &Issued,
        (written_at, good_until): (Timestamp, Timestamp),
    ) -> Option<Vec<u8>> {
        let content = Sealing {
            token: &issued.token,
            scopes: &issued.scopes,
            actors: &issued.actors,
            token_id: &issued.token_id,
            expires_at: issued.expires_at,
            written_at,
            good_until,
        };
        let mut text = Zeroizing::new(serde_json::to_vec(&content).ok()?);
        let nonce = self.0.first()?.seal.seal_in_place_append_tag(aad(place), &mut *text).ok()?;
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
        self.0.iter().find_map(|keys| {
            let mut text = Zeroizing::new(text.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let content = keys.seal.open_in_place(nonce, aad(place), &mut text).ok()?;
            serde_json::from_slice(content).ok()
        })
    }
}

impl Keys {
    fn new(key: &SharedKey) -> Option<Self> {
        let derived = |purpose: &[u8]| {
            let mut derived = Zeroizing::new([0; 32]);
            let made = Salt::new(HKDF_SHA256, &[]).extract(key.as_slice());
            made.expand(&[purpose], HKDF_SHA256).ok()?.fill(derived.as_mut_slice()).ok()?;
            Some(derived)
        };
        let seal = derived(b"palisade exchange seal")?;
        let names = derived(b"palisade exchange names")?;
        Some(Self {
            seal: RandomizedNonceKey::new(&AES_256_GCM, seal.as_slice()).ok()?,
            names: hmac::Key::new(hmac::HMAC_SHA256, names.as_slice()),
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
pub fn read_key(text: &str) -> Option<SharedKey> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bytes = if text.len() == 64 { hex::decode(text).ok() } else { STANDARD.decode(text).ok() };
    let bytes = Zeroizing::new(bytes?);
    let mut key = SharedKey::default();
    (bytes.len() == key.len()).then(|| {
        key.copy_from_slice(&bytes);
        key
    })
}

#[cfg(test)]
mod tests;
