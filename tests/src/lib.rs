//! The harness: the service and the real components around it, as child processes.

pub mod authzen;
pub mod bench;
pub mod components;
pub mod service;
pub mod signer;
