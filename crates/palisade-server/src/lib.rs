//! The composition root: from a configuration to a running service.
//!
//! [`Service::start`] builds a snapshot, opens the decision log, binds the listeners and starts the background work;
//! [`Service::stop`] drains. Everything is wired here and nothing is decided here. Tests start services in their own
//! process the same way the binary does.

mod callers;
pub mod config;
pub mod dev;
pub mod environment;
mod gateway;
mod listeners;
mod reload;
mod service;
pub mod single;
pub mod telemetry;
mod workshop;

pub use service::{Service, StartError, StartSettings};

/// An error with everything that caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
