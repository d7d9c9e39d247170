//! A credential as it came, before anything is known of it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The text of an access token. Nothing prints it, and its memory is overwritten when the last clone is dropped; only the
/// token crate turns it into something with claims.
#[derive(Clone)]
pub struct RawToken(Arc<Token>);

struct Token {
    text: Zeroizing<String>,
    digest: OnceLock<[u8; 32]>,
}

impl RawToken {
    /// Wraps the text of a token.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Token { text: Zeroizing::new(text.into()), digest: OnceLock::new() }))
    }

    /// The text, for the validator and for forwarding; never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0.text
    }

    /// The SHA-256 of the text: what caches know a token by. Made once, whoever asks.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        self.0.digest.get_or_init(|| Sha256::digest(self.expose().as_bytes()).into())
    }
}

impl PartialEq for RawToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for RawToken {}

impl fmt::Debug for RawToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RawToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_nothing_of_the_token() {
        assert_eq!(format!("{:?}", RawToken::new("secret")), "RawToken(..)");
    }

    #[test]
    fn a_digest_is_the_texts() {
        let token = RawToken::new("abc");
        let published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-4, appendix
        assert_eq!(hex::encode(token.digest()), published);
        assert_eq!(token.digest(), token.clone().digest());
        assert_eq!(token, RawToken::new("abc"));
    }
}
