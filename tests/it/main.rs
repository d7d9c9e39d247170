//! The whole service against real components, and the rules of the house.

mod dev;
mod envoy;
mod failures;
mod reload;
mod stories;
mod structure;
