//! What the targets share: keys that are made anew in every process, so that no input can hold a good signature, a
//! runtime, and a decision point ([`site`]).
//!
//! Targets panic where a property does not hold; that is how a fuzzer hears of it.

pub mod site;

use std::sync::LazyLock;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The runtime that all inputs of a process run on.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});

/// A key of an issuer, with its private half.
#[derive(Debug)]
pub struct Signer {
    id: &'static str,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    P256(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

impl Signer {
    /// A new key for ES256.
    pub fn es256(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { id, pair: Pair::P256(pair) }
    }

    /// A new key for EdDSA.
    pub fn ed25519(id: &'static str) -> Self {
        Self { id, pair: Pair::Edwards(Ed25519KeyPair::generate().expect("a key")) }
    }

    /// Whether this is the `alg` of a header for this key.
    pub fn has_algorithm(&self, name: &str) -> bool {
        match self.pair {
            Pair::P256(_) => name == "ES256",
            Pair::Edwards(_) => matches!(name, "EdDSA" | "Ed25519"),
        }
    }

    /// The public half, as an entry of a key set.
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id,
                    "x": encode(x), "y": encode(y) })
            }
            Pair::Edwards(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id,
                    "x": encode(pair.public_key().as_ref()) })
            }
        }
    }

    /// Signs a header and claims, whatever they are.
    pub fn token(&self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = match &self.pair {
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature").as_ref().to_vec()
            }
            Pair::Edwards(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", encode(&signature))
    }
}

/// The key set of an issuer that has these keys.
pub fn key_set(keys: &[&Signer]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
