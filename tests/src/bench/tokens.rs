//! The issuer of a benchmark: access tokens by two keys, made ahead, and the key set that every side verifies them with.

use std::time::Duration;

use anyhow::Result;
use palisade_model::{Clock, SystemClock};
use serde_json::{Value, json};

pub(crate) use crate::signer::Algorithm;
use crate::signer::Signer;

/// What every token says of who issued it.
pub(crate) const ISSUER: &str = "https://login.example.com";
/// What every token is for.
pub(crate) const AUDIENCE: &str = "https://mcp.example.com/demo";
/// Longer than a run takes, and less than the service accepts at most.
const LIFETIME: Duration = Duration::from_secs(8 * 3600);

/// Whom a token speaks for.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) subject: String,
    pub(crate) roles: Vec<String>,
    pub(crate) scopes: Vec<String>,
}

/// The keys.
#[derive(Debug)]
pub(crate) struct TokenIssuer(Signer);

impl TokenIssuer {
    pub(crate) fn generate() -> Result<Self> {
        Signer::generate().map(Self)
    }

    /// The key set document (RFC 7517).
    pub(crate) fn key_set(&self) -> Result<Value> {
        self.0.key_set()
    }

    /// A token of this holder (RFC 9068). Tokens of two numbers differ, also for one holder.
    pub(crate) fn token(&self, algorithm: Algorithm, holder: &Holder, number: usize) -> Result<String> {
        self.token_for(AUDIENCE, algorithm, holder, number)
    }

    /// The same for another resource.
    pub(crate) fn token_for(
        &self,
        audience: &str,
        algorithm: Algorithm,
        holder: &Holder,
        number: usize,
    ) -> Result<String> {
        let now = SystemClock.now();
        let claims = json!({
            "iss": ISSUER, "aud": audience, "sub": holder.subject, "client_id": "bench",
            "iat": now.unix_seconds(), "exp": now.plus(LIFETIME).unix_seconds(), "jti": format!("{algorithm:?}-{number}"),
            "scope": holder.scopes.join(" "), "roles": holder.roles,
        });
        self.0.token(algorithm, &claims)
    }
}
