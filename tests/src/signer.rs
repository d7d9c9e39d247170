//! Keys of an issuer that only its key set document is known of, for tokens that say whatever a test or a benchmark needs.

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256.
    Es256,
    /// RSA PKCS #1 v1.5, 2048 bits.
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

/// A key of each algorithm.
#[derive(Debug)]
pub struct Signer {
    elliptic: EcdsaKeyPair,
    rsa: RsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    /// New keys.
    ///
    /// # Errors
    /// If none can be made.
    pub fn generate() -> Result<Self> {
        let elliptic = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| anyhow!("no elliptic key can be made"))?;
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no RSA key can be made"))?;
        Ok(Self { elliptic, rsa, random: SystemRandom::new() })
    }

    /// The key set document (RFC 7517).
    ///
    /// # Errors
    /// If the keys are not of the form that they always have.
    pub fn key_set(&self) -> Result<Value> {
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

    /// An access token (RFC 9068) of these claims.
    ///
    /// # Errors
    /// If nothing can be signed.
    pub fn token(&self, algorithm: Algorithm, claims: &Value) -> Result<String> {
        let name = algorithm.name();
        let header = json!({ "alg": name, "typ": "at+jwt", "kid": name });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
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
