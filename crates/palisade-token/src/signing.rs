//! The keys that our own token service signs with.
//!
//! One signs, all are published: a key is published before it signs and after it has signed, so that who has fetched the
//! key set yesterday can verify the tokens of today. A key's id is its thumbprint (RFC 7638). Nothing prints a private key,
//! and its text is overwritten once it is read.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why there is no key, or no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SigningError {
    /// Not a private key of P-256 in PEM.
    #[error(
        "not a private key of P-256 in PEM: make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    Pem,
    /// Two keys are one.
    #[error("a key is given twice")]
    Twice,
    /// No key at all.
    #[error("at least one key is needed")]
    None,
    /// The operating system has no randomness, or the key does not sign.
    #[error("the key does not sign")]
    Sign,
}

/// One private key of P-256, for ES256.
#[derive(Clone)]
pub struct SigningKey {
    key: EncodingKey,
    id: String,
    public: Value,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate() -> Result<Self, SigningError> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningError::Sign)?;
        Self::of(&pair)
    }

    /// Reads a key in PEM, PKCS #8 or SEC 1.
    ///
    /// # Errors
    /// When it is no private key of P-256.
    pub fn from_pem(text: &str) -> Result<Self, SigningError> {
        let der = der(text).ok_or(SigningError::Pem)?;
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der);
        Self::of(&pair.map_err(|_| SigningError::Pem)?)
    }

    fn of(pair: &EcdsaKeyPair) -> Result<Self, SigningError> {
        // An uncompressed point (SEC 1 section 2.3.3): 0x04, then x and y of 32 bytes each.
        let point = pair.public_key().as_ref();
        let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else { return Err(SigningError::Pem) };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // The required members in lexicographic order, without white space (RFC 7638 section 3).
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
        let id = URL_SAFE_NO_PAD.encode(digest);
        let public =
            json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "x": x, "y": y });
        let private = pair.to_pkcs8v1().map_err(|_| SigningError::Pem)?;
        Ok(Self { key: EncodingKey::from_ec_der(private.as_ref()), id, public })
    }

    /// The `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({}, ..)", self.id)
    }
}

/// The octets of the first private key in a text; what stands before it, such as parameters of the curve, is passed over.
fn der(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    ["PRIVATE KEY", "EC PRIVATE KEY"].into_iter().find_map(|label| {
        let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
        let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
        let base64: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
        STANDARD.decode(base64.as_bytes()).ok().map(Zeroizing::new)
    })
}

/// The keys of a token service.
#[derive(Debug, Clone)]
pub struct SigningKeys {
    current: SigningKey,
    document: String,
}

impl SigningKeys {
    /// The first of these signs, all are published.
    ///
    /// # Errors
    /// When there is none, or one twice.
    pub fn new(keys: Vec<SigningKey>) -> Result<Self, SigningError> {
        let mut ids: Vec<&str> = keys.iter().map(SigningKey::id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(SigningError::Twice);
        }
        let published: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
        let document = json!({ "keys": published }).to_string();
        let current = keys.into_iter().next().ok_or(SigningError::None)?;
        Ok(Self { current, document })
    }

    /// The public keys, as a JWK Set (RFC 7517 section 5).
    #[must_use]
    pub fn document(&self) -> &str {
        &self.document
    }

    /// Signs the claims of an access token (RFC 9068).
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn sign(&self, claims: &impl Serialize) -> Result<Zeroizing<String>, SigningError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.current.id.clone());
        let signed = jsonwebtoken::encode(&header, claims, &self.current.key);
        signed.map(Zeroizing::new).map_err(|_| SigningError::Sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_a_private_key_and_a_key_is_given_once() {
        let key = SigningKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({}, ..)", key.id()));
        assert_eq!(SigningKeys::new(vec![key.clone(), key]).unwrap_err(), SigningError::Twice);
        assert_eq!(SigningKeys::new(Vec::new()).unwrap_err(), SigningError::None);
        for bad in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "secret"] {
            assert_eq!(SigningKey::from_pem(bad).unwrap_err(), SigningError::Pem, "{bad}");
        }
    }

    #[test]
    fn the_published_document_has_no_private_member() {
        let keys = SigningKeys::new(vec![SigningKey::generate().unwrap(), SigningKey::generate().unwrap()]);
        let document: Value = serde_json::from_str(keys.unwrap().document()).unwrap();
        for key in document["keys"].as_array().unwrap() {
            let names: std::collections::BTreeSet<&String> = key.as_object().unwrap().keys().collect();
            let names: Vec<&String> = names.into_iter().collect();
            assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        }
    }
}
