//! The configuration: its types, how files become them, and how they become a snapshot.
//!
//! [`load::read`] reads files into [`types::Config`]; [`build::snapshot`] turns that into what decisions are made with,
//! and reports every problem at once. Nothing here listens, fetches or decides.

pub mod author;
pub mod build;
mod callers;
mod exchange_cache;
mod exchanges;
pub(crate) mod gateway;
pub mod graphql;
mod handles;
mod issuers;
pub mod load;
mod rate_limits;
mod redis;
mod resources;
mod static_tokens;
pub(crate) mod sts;
pub mod types;
pub mod values;
pub mod warnings;

pub use build::{BuildError, Built};
pub use load::{ConfigError, Loaded};

/// The JSON Schema of a configuration file.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(types::Config).to_value()
}

#[cfg(test)]
mod tests;
