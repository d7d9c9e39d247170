//! A credential as it came, before anything is known of it.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

/// The text of an access token. Nothing prints it, and its memory is overwritten when the last clone is dropped; only the
/// token crate turns it into something with claims.
#[derive(Clone, PartialEq, Eq)]
pub struct RawToken(Arc<Zeroizing<String>>);

impl RawToken {
    /// Wraps the text of a token.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// The text, for the validator and for forwarding; never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

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
}
