//! Envoy `ext_authz` over gRPC, and the HTTP check of Envoy and other proxies, as questions to the decision point; and Envoy
//! `ext_proc` for the lists of MCP servers ([`ext_proc`]).
//!
//! The checks both build one [`HttpCall`](palisade_call::HttpCall) from what the proxy sent ([`grpc`], [`http`]; `original` reads the client's request
//! where a proxy tells it in header fields). `palisade-call` makes it an
//! access request, the decision point decides, and `encode` makes the decision an answer of the proxy's protocol. Once begun, a check
//! runs to its record, whether or not somebody still waits for the answer ([`palisade_pdp::run_to_end`]).
//!
//! Nothing here evaluates a policy or looks into a token. Status code 0, which Envoy takes for an allow whatever else
//! an answer says, is written in one place, from a permit.

mod encode;
pub mod ext_proc;
pub mod grpc;
pub mod http;
mod original;

#[cfg(test)]
mod tests;
