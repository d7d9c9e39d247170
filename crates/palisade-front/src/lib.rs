//! Our own surfaces: the gRPC API for enforcement points, discovery metadata for clients, health and metrics for
//! operators.
//!
//! [`grpc`] turns messages of `palisade.v1` into questions and decisions into messages; [`wording`] is what it shares
//! with `palisade decide`, so that both ask what the wire would ask. Everything else here decides nothing and comes
//! from the snapshot in force. No answer depends on a `Host` or `Forwarded` header in what it says; the host only tells
//! two resources of one path apart.

pub mod admin;
pub mod grpc;
pub mod metadata;
pub mod wording;
