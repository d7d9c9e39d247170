//! The whole service against real components, and the rules of the house.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod dev;
mod egress;
mod envoy;
mod failures;
mod http_routes;
mod peps;
mod reload;
mod stories;
mod structure;
mod token_verify;
