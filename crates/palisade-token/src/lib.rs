//! Strict access-token validation: `RawToken -> VerifiedToken`.
//!
//! The flow of one token through [`Verifier::verify`]:
//! `parse` (the compact serialization, read in one way only) -> the issuer, picked by exact `iss` -> `profile` (the
//! `typ`) -> `keyset` (the issuer's live, linted keys) -> the signature -> `claims`, `scopes` and `profile` again (who
//! the subject is) -> the checks that depend on the request: issuer allowed here, times, audience, `revocations`, binding.
//! `cache` keeps what no request can change, so that a token seen before costs one hash and the last step.
//!
//! The only crate used for cryptography is `jsonwebtoken`, and of it only the signature check: everything else that a
//! JWT library does is done here, more strictly (RFC 9068, RFC 8725).
//!
//! `origin` finds the issuer that an identity comes from, where a token speaks for another's. `signing` is the other side: the
//! keys that our own token service signs with.
//!
//! What must never happen here: a claim of an unverified token leaves this crate; a key set is fetched because of a bad
//! signature; an outage of the issuer becomes a reason that blames the token; the text of a token, or a part of
//! it, reaches an error, a log or a metric.

mod cache;
mod claims;
mod error;
mod identity;
mod keys;
mod keyset;
pub mod network;
mod origin;
mod parse;
mod profile;
mod revocations;
mod scopes;
mod settings;
mod signing;
mod verify;

pub use error::{SetupError, TokenError};
pub use keyset::{DiscoveryError, IssuerStatus, KeyChange, Refreshers, token_endpoint};
pub use origin::{FIRST_TOKEN, MOST_PASSED, Names, Party, Passed, Provenance, VIA};
pub use profile::Profile;
pub use revocations::{Marks, Revocations, RevocationsError};
pub use settings::{
    Algorithm, ClaimMap, ClaimPath, ClaimPathError, GroupsOverage, IssuerSettings, KeySource, Network,
};
pub use signing::{SigningError, SigningKey, SigningKeys};
pub use verify::{Expectation, VerifiedToken, Verifier};

#[cfg(test)]
mod fixtures;

/// Installs the cryptography that signatures are verified with, for the whole process.
///
/// The binary calls it once, before the first token; tests call it too. Calling it again changes nothing.
pub fn install_crypto_provider() {
    if jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().is_err() {
        tracing::debug!("a provider of JWT cryptography is installed already");
    }
}
