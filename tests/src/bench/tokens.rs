//! The issuer of a benchmark: access tokens by two keys, made ahead, and the key set that every side verifies them with.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_model::{Clock, SystemClock};
use serde_json::{Value, json};

/// What every token says of who issued it.
pub(crate) const ISSUER: &str = "https://login.example.com";
/// What every token is for.
pub(crate) const AUDIENCE: &str = "https://mcp.example.com/demo";
/// Longer than a run takes, and less than the service accepts at most.
const LIFETIME: Duration = Duration::from_secs(8 * 3600);

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Es256,
    Rs256,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// Whom a token speaks for.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) subject: String,
    pub(crate) roles: Vec<String>,
    pub(crate) scopes: Vec<String>,
}

/// The keys.
#[derive(Debug)]
pub(crate) struct TokenIssuer {
    elliptic: EcdsaKeyPair,
    rsa: RsaKeyPair,
    random: SystemRandom,
}

impl TokenIssuer {
    pub(crate) fn generate() -> Result<Self> {
        let elliptic = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| anyhow!("no elliptic key can be made"))?;
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no RSA key can be made"))?;
        Ok(Self { elliptic, rsa, random: SystemRandom::new() })
    }

    /// The key set document (RFC 7517).
    pub(crate) fn key_set(&self) -> Result<Value> {
        // An uncompressed point (SEC 1 section 2.3.3): 0x04, then x and y of 32 bytes each.
        let point = self.elliptic.public_key().as_ref();
        let (x, y) = point.get(1..33).zip(point.get(33..65)).context("not a point of P-256")?;
        // RSAPublicKey of 2048 bits (RFC 8017 A.1.1): nine bytes of DER, the modulus, and 65537.
        let modulus = self.rsa.public_key().as_ref().get(9..265).context("not an RSA key of 2048 bits")?;
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Ok(json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "ES256", "x": text(x), "y": text(y) },
            { "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "RS256", "n": text(modulus), "e": "AQAB" },
        ] }))
    }

    /// A token of this holder (RFC 9068). Tokens of two numbers differ, also for one holder.
    pub(crate) fn token(&self, algorithm: Algorithm, holder: &Holder, number: usize) -> Result<String> {
        let now = SystemClock.now();
        let name = algorithm.name();
        let header = json!({ "alg": name, "typ": "at+jwt", "kid": name });
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": holder.subject, "client_id": "bench",
            "iat": now.unix_seconds(), "exp": now.plus(LIFETIME).unix_seconds(), "jti": format!("{name}-{number}"),
            "scope": holder.scopes.join(" "), "roles": holder.roles,
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.sign(algorithm, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>> {
        match algorithm {
            Algorithm::Es256 => {
                let signature = self.elliptic.sign(&self.random, message);
                Ok(signature.map_err(|_| anyhow!("nothing can be signed"))?.as_ref().to_vec())
            }
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(|_| anyhow!("nothing can be signed"))?;
                Ok(signature)
            }
        }
    }
}
