//! Keys, tokens and verifiers for tests. Keys are made at run time; nothing secret is checked in.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_model::{Audience, Issuer, IssuerName, ManualClock, RawToken, Reason, Timestamp};
use serde_json::{Value, json};

use crate::{
    Expectation, IssuerSettings, KeySource, TokenError, VerifiedToken, Verifier, install_crypto_provider,
};

/// 2023-11-14T22:13:20Z, the time of all tests.
pub(crate) const NOW: i64 = 1_700_000_000;
pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const AUDIENCE: &str = "https://mcp.example.com/files";

static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
    Rsa,
}

/// A key of an issuer, with its private half.
pub(crate) struct Signer {
    pub(crate) id: String,
    pub(crate) algorithm: &'static str,
    pair: Pair,
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(crate) fn es256(id: &str) -> Self {
        let pair = Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
        Self { id: id.to_owned(), algorithm: "ES256", pair }
    }

    pub(crate) fn es384(id: &str) -> Self {
        let pair = Pair::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap());
        Self { id: id.to_owned(), algorithm: "ES384", pair }
    }

    pub(crate) fn ed25519(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            algorithm: "EdDSA",
            pair: Pair::Edwards(Ed25519KeyPair::generate().unwrap()),
        }
    }

    /// All signers of this kind have one key: making one takes long.
    pub(crate) fn rsa(id: &str, algorithm: &'static str) -> Self {
        Self { id: id.to_owned(), algorithm, pair: Pair::Rsa }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Pair::Edwards(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())}),
            Pair::Rsa => {
                let components =
                    aws_lc_rs::signature::RsaPublicKeyComponents::<Vec<u8>>::from(RSA.public_key());
                json!({"kty": "RSA", "n": encode(components.n), "e": encode(components.e)})
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["alg"] = json!(self.algorithm);
        jwk["use"] = json!("sig");
        jwk
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Edwards(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa => {
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if self.algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; RSA.public_modulus_len()];
                RSA.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// Signs parts that may be anything.
    pub(crate) fn sign_parts(&self, header: &str, claims: &str) -> String {
        let signed = format!("{header}.{claims}");
        format!("{signed}.{}", encode(self.signature(signed.as_bytes())))
    }

    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        self.sign_parts(&encode(header), &encode(claims))
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.algorithm, "typ": "at+jwt", "kid": self.id})
    }

    /// The good token with some claims changed; `null` takes a claim away.
    pub(crate) fn token(&self, changes: Value) -> String {
        self.sign(&self.header(), &changed(claims(), changes))
    }
}

/// Claims of a good token.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "client_id": "app", "jti": "id-1",
        "iat": NOW - 60, "exp": NOW + 600, "scope": "files:read"
    })
}

pub(crate) fn changed(mut base: Value, changes: Value) -> Value {
    let (Value::Object(members), Value::Object(changes)) = (&mut base, changes) else { panic!("objects") };
    for (name, value) in changes {
        if value.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
    base
}

pub(crate) fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

pub(crate) fn settings(keys: KeySource) -> IssuerSettings {
    IssuerSettings { keys, ..IssuerSettings::new("corp".parse().unwrap(), Issuer::from(ISSUER)) }
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_unix_seconds(NOW)))
}

pub(crate) fn verifier(issuers: Vec<IssuerSettings>) -> Verifier {
    install_crypto_provider();
    Verifier::new(issuers, 16 * 1024, clock()).unwrap()
}

/// A verifier with one issuer and the given keys, changed as wanted.
pub(crate) fn verifier_with(keys: &[Value], change: impl FnOnce(&mut IssuerSettings)) -> Verifier {
    let mut settings = settings(KeySource::Inline(key_set(keys)));
    change(&mut settings);
    verifier(vec![settings])
}

/// Verifies for the resource of all tests.
pub(crate) async fn check(verifier: &Verifier, token: &str) -> Result<VerifiedToken, TokenError> {
    check_at(verifier, token, AUDIENCE, NOW).await
}

pub(crate) async fn check_at(
    verifier: &Verifier,
    token: &str,
    audience: &str,
    now: i64,
) -> Result<VerifiedToken, TokenError> {
    let audiences = BTreeSet::from([Audience::from(audience)]);
    let issuers: [IssuerName; 1] = ["corp".parse().unwrap()];
    let expected = Expectation { audiences: &audiences, any_audience: false, issuers: &issuers };
    verifier.verify(&RawToken::new(token), &expected, Timestamp::from_unix_seconds(now)).await
}

/// Why a token is refused; fails when it is accepted.
pub(crate) async fn refusal(verifier: &Verifier, token: &str) -> Reason {
    match check(verifier, token).await {
        Ok(_) => panic!("the token was accepted"),
        Err(error) => error.reason,
    }
}
