//! Token exchange: a token for the upstream, for the same subject, from the provider.
//!
//! The flow of one order through [`ProviderExchanger`]: its key ([`mod@key`]: everything that the answer depends on) -> what
//! is in `store`, a token or a refusal -> `breaker` (whether the provider may be asked now) -> `flights` (one request for all
//! who ask the same) -> [`shared`] (what another replica has got), then `endpoint` and `wire` (where the provider is asked, in which of its dialects) -> `client` (how we
//! prove ourselves) -> `response` (read strictly) -> `check` (is it what was asked for?) -> `store`.
//!
//! An order is made by the decision point alone, after the policies permitted it: nothing here asks a policy, and nothing
//! here is reached without one. What is asked of a provider is never more than the order says, and what comes back is
//! handed on only if it is no more than that either.
//!
//! What must never happen here: a token or a secret in a log line, a metric, an error or an answer; a token of one issuer
//! sent to the provider of another; a provider asked again in a loop; a result used that was not checked.

mod breaker;
mod check;
mod client;
mod endpoint;
mod exchanger;
mod failure;
mod flights;
pub mod key;
mod metrics;
mod provider;
pub mod response;
mod settings;
pub mod shared;
mod store;
mod wire;

#[cfg(test)]
mod tests;

pub use client::{ClientAuth, ClientSettings, SigningKey};
pub use exchanger::ProviderExchanger;
pub use provider::{Provider, SecretIn};
pub use settings::{
    Actor, AuthorizationServer, ExchangeSettings, FromIssuer, ResultCheck, SetupError, TokenType,
};
pub use shared::SharedStore;
