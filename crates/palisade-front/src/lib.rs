//! Our own surfaces: the gRPC API for enforcement points, discovery metadata for clients, health and metrics for
//! operators.
//!
//! [`grpc`] turns messages of `palisade.v1` into questions and decisions into messages; [`InProcess`] asks the same without
//! a network; [`wording`] is what `palisade decide` shares, so that all ask what the wire would ask. [`peers`] does the
//! same for contracts that gateways of other projects have for a decision service. Everything else here decides nothing and comes
//! from the snapshot in force. No answer depends on a `Host` or `Forwarded` header in what it says; the host only tells
//! two resources of one path apart.

pub mod admin;
pub mod grpc;
mod in_process;
pub mod metadata;
pub mod peers;
pub mod wording;

pub use in_process::InProcess;
