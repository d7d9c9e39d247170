//! The whole service against real components, and the rules of the house.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod anonymous;
mod async_graphql;
mod authzen;
mod bench;
mod client;
mod coprocessor;
mod dev;
mod egress;
mod envoy;
mod exchange;
mod exchange_cache;
mod ext_mcp;
mod ext_proc;
mod failures;
mod gateway;
mod generate;
mod graphql;
mod graphql_layer;
mod http_routes;
mod import;
mod limits;
mod matrix;
mod mcp_graphql;
mod own_api;
mod peers_contracts;
mod peps;
mod policy_kit;
mod proxies;
mod reload;
mod router;
mod router_scopes;
mod static_tokens;
mod stories;
mod structure;
mod sts;
mod token_verify;
mod tools_fetch;
mod why;
