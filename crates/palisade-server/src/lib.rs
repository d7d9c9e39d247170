//! The composition root: from a configuration to a running service.
//!
//! [`Service::start`] builds a snapshot, opens the decision log, binds the listeners and starts the background work;
//! [`Service::stop`] drains. Everything is wired here and nothing is decided here. Tests start services in their own
//! process the same way the binary does.

pub mod config;
pub mod dev;
pub mod environment;
mod listeners;
mod reload;
mod service;
pub mod telemetry;

pub use service::{Service, StartError, StartSettings};
