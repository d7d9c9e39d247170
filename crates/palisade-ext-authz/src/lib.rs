//! Envoy `ext_authz` over gRPC, and the HTTP check of Envoy and other proxies, as questions to the decision point.
//!
//! Both entries build one `HttpCall` from what the proxy sent ([`grpc`], [`http`]; `original` reads the client's request
//! where a proxy tells it in header fields). `decode` makes it an
//! access request, the decision point decides, and `encode` makes the decision an answer of the proxy's protocol.
//! Decoding is total: what cannot be read is in the request, as the reason for a recorded denial. Once begun, a check
//! runs to its record, whether or not somebody still waits for the answer ([`palisade_pdp::run_to_end`]).
//!
//! Nothing here evaluates a policy or looks into a token. Status code 0, which Envoy takes for an allow whatever else
//! an answer says, is written in one place, from a permit.

mod call;
mod credential;
mod decode;
mod encode;
pub mod grpc;
pub mod http;
mod identity;
mod mcp;
mod original;

#[cfg(test)]
mod tests;
