//! Providers are stand-ins on loopback here that follow the documented requests, responses and error bodies; what they
//! issue is signed and verified as it would be anywhere.

mod dialects;
mod fixture;
mod keys;
mod mutual_tls;
mod results;
mod revoked;
mod shared;
mod waiting;

/// The key of an order.
pub(crate) fn a_key() -> crate::key::Key {
    keys::nothing_key()
}
