//! How we prove ourselves to a provider: a secret in the header or in the body, a signed assertion (RFC 7523), or the
//! certificate of the connection (RFC 8705).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use palisade_model::Timestamp;
use serde::Serialize;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::{SecretIn, SetupError, wire::Form};

/// The type of an assertion (RFC 7523 section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// For how many seconds an assertion is good.
const ASSERTION_LIFETIME: i64 = 60;

/// A confidential client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// `client_id`.
    pub id: String,
    /// What it proves itself with.
    pub auth: ClientAuth,
}

/// What a client proves itself with. Nothing prints a secret or a key.
#[derive(Clone)]
pub enum ClientAuth {
    /// A secret.
    Secret(Zeroizing<String>, SecretIn),
    /// A key that signs assertions.
    Key(SigningKey),
    /// The certificate of the connection.
    Certificate,
}

impl ClientAuth {
    /// The method's name (RFC 8414 section 2, `token_endpoint_auth_methods_supported`).
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Secret(_, SecretIn::Header) => "client_secret_basic",
            Self::Secret(_, SecretIn::Body) => "client_secret_post",
            Self::Key(_) => "private_key_jwt",
            Self::Certificate => "tls_client_auth",
        }
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ClientAuth({}, ..)", self.method())
    }
}

/// A private key, and what an assertion says of it.
#[derive(Clone)]
pub struct SigningKey {
    key: EncodingKey,
    header: Box<Header>,
}

impl SigningKey {
    /// Reads a PEM key. `kid` and the SHA-256 thumbprint of a certificate are what providers find the public key by.
    ///
    /// # Errors
    /// When it is no key that can sign.
    pub fn from_pem(
        pem: &[u8],
        kid: Option<String>,
        certificate_sha256: Option<String>,
    ) -> Result<Self, SetupError> {
        let candidates = [
            (Algorithm::ES256, EncodingKey::from_ec_pem(pem)),
            (Algorithm::ES384, EncodingKey::from_ec_pem(pem)),
            (Algorithm::RS256, EncodingKey::from_rsa_pem(pem)),
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem)),
        ];
        for (algorithm, key) in candidates {
            let Ok(key) = key else { continue };
            let mut header = Header::new(algorithm);
            header.kid.clone_from(&kid);
            header.x5t_s256.clone_from(&certificate_sha256);
            // What a key can do shows when it signs.
            if jsonwebtoken::encode(&header, &(), &key).is_ok() {
                return Ok(Self { key, header: Box::new(header) });
            }
        }
        Err(SetupError::Key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({:?}, ..)", self.header.alg)
    }
}

/// The claims of an assertion (RFC 7523 section 3).
#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    /// One string: an assertion for two servers could be passed on by either.
    aud: &'a str,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl ClientSettings {
    /// What is sent as it is, and may come back in what a provider says.
    pub(crate) fn secret(&self) -> Option<&str> {
        match &self.auth {
            ClientAuth::Secret(secret, _) => Some(secret),
            ClientAuth::Key(_) | ClientAuth::Certificate => None,
        }
    }

    /// Adds the proof to a form; what it returns goes into the `Authorization` header.
    pub(crate) fn prove(
        &self,
        form: &mut Form,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Zeroizing<String>>, &'static str> {
        match &self.auth {
            ClientAuth::Secret(secret, SecretIn::Header) => {
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair =
                    Zeroizing::new(format!("{}:{}", encoded(&self.id), *Zeroizing::new(encoded(secret))));
                return Ok(Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))));
            }
            ClientAuth::Secret(secret, SecretIn::Body) => {
                form.add("client_id", &self.id);
                form.add("client_secret", secret);
            }
            ClientAuth::Key(key) => {
                form.add("client_id", &self.id);
                form.add("client_assertion_type", ASSERTION_TYPE);
                form.add("client_assertion", &self.assertion(key, audience, now)?);
            }
            ClientAuth::Certificate => form.add("client_id", &self.id),
        }
        Ok(None)
    }

    fn assertion(
        &self,
        key: &SigningKey,
        audience: &str,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, &'static str> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| "there is no randomness for the assertion")?;
        let iat = now.unix_seconds();
        let claims = Assertion {
            iss: &self.id,
            sub: &self.id,
            aud: audience,
            jti: hex::encode(random),
            iat,
            nbf: iat,
            exp: iat + ASSERTION_LIFETIME,
        };
        let signed = jsonwebtoken::encode(&key.header, &claims, &key.key);
        signed.map(Zeroizing::new).map_err(|_| "the assertion cannot be signed")
    }
}
