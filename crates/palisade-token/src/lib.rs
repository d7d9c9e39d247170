//! Strict access-token validation.
