//! The decision point: the one place where a question becomes a decision.
//!
//! Every entry of the service decodes its protocol to an [`AccessRequest`](palisade_model::AccessRequest), calls
//! [`Pdp::decide`] and encodes the [`Decision`]. The flow is authenticate, read, gather, evaluate, step up, exchange,
//! record, answer; see [`mod@decide`]. A [`Permit`] can be built in one way only: from a verdict that permits and the receipt
//! of a written record.
//!
//! A token of our own is issued by the same policies and under the same rule: [`Pdp::issue`] signs what is permitted and on the
//! record, and nothing else can reach the keys.
//!
//! This crate knows no wire format. It must never answer without having tried to record.

pub mod answer;
mod askers;
pub mod decide;
mod decision;
mod exchange;
mod findings;
mod grammar;
mod handles;
mod identify;
mod inner;
mod limits;
mod list;
pub mod location;
mod metrics;
mod operation;
mod peps;
mod principal;
mod question;
mod record;
mod remedy;
mod resources;
mod routes;
mod search;
mod shadow;
mod snapshot;
mod static_tokens;
mod step_up;
mod sts;
mod task;
mod verify;
mod waiting;

pub use askers::Askers;
pub use decide::{Pdp, PdpSettings};
pub use decision::{Decision, Denial, InPart, Observed, Parted, Permit, Remedy, Reply, Upstream};
pub use exchange::{
    AskedExchange, Exchange, ExchangeFailure, Exchanged, Exchanger, Exchanges, Exchanging, FailureKind,
    Fingerprint, Issued, Order,
};
pub use findings::{Finding, Findings, ItemOutcome};
pub use grammar::Grammar;
pub use handles::HandleKeys;
pub use identify::Identified;
pub use limits::{EXECUTED_ROOTS, RateLimits, Rates};
pub use list::{ListMode, ListOf, ListRequest, Listed, MOST_ENTRIES, Narrowing};
pub use operation::{Cutting, Directives, Granted, Lack, Lacking, Left, MOST_PARTS};
pub use palisade_limits::{Block, Budget, SharedCounts};
pub use palisade_policy::Kind;
pub use peps::{Caller, ClientIp, Pep, PepAuth, Peps, RequestFrom, ResourceFrom, TokenClient};
pub use principal::Proven;
pub use question::LISTED_FOR;
pub use resources::{
    DenialForm, Metadata, Place, Resource, Resources, ResourcesError, ScopeSettings, StaticHeader,
    UpstreamToken,
};
pub use routes::{Route, RouteError, Routes};
pub use search::{Page, Results, SearchRequest, Searched, Sought};
pub use snapshot::{Limits, Snapshot};
pub use static_tokens::{StaticToken, StaticTokens};
pub use sts::{
    AskedToken, Fault, Issuance, IssuedToken, Refused, Requester, Sts, StsClient, StsError, StsSettings,
    StsTarget, TokenRequest,
};
pub use task::run_to_end;
pub use verify::Presented;
