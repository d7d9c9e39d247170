//! The HTTP surfaces that decide nothing: discovery metadata for clients, health and metrics for operators.
//!
//! Everything served here comes from the snapshot in force. No answer depends on a `Host` or `Forwarded` header in
//! what it says; the host only tells two resources of one path apart.

pub mod admin;
pub mod metadata;
