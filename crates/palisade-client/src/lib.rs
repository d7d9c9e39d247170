//! The Rust client of the decision service.
//!
//! May the holder of this token do this? Ten lines ask, and act on the answer:
//!
//! ```no_run
//! use palisade_client::{Client, DecisionPoint, Item, Outcome, Question};
//!
//! /// Deletes a file for the holder of a token, or says why not. `palisade` is `Client::to("http://127.0.0.1:7254")?`.
//! async fn delete(palisade: &Client, token: &str) -> Result<(), String> {
//!     let item = Item::new("tools/call").on("delete_file").with(r#"{"path": "/tmp/a"}"#);
//!     let question = Question::new("demo", item).token(token);
//!     let decision = palisade.decide(&question).await.map_err(|no_answer| no_answer.to_string())?;
//!     match decision.outcome {
//!         Outcome::Permit(_) => Ok(()), // here it is done
//!         Outcome::StepUp(step_up) => Err(format!("get a stronger token: {step_up}")),
//!         Outcome::Deny(_) | Outcome::Observed(_) => Err(format!("denied: {}", decision.reason)),
//!     }
//! }
//! ```
//!
//! Who asks holds a [`DecisionPoint`]: a [`Client`], which asks a service over gRPC, or `palisade_front::InProcess`, which
//! asks a decision point in the same process. Both read a question and write an answer by the same code ([`wire`]).
//!
//! **No answer is no permit.** A decision is a [`Decision`]; everything else is a [`NoAnswer`], and who gets one does not
//! let the call by. Only [`Outcome::Permit`] is a permit: a step-up, an observation and a denial are variants of their own.
//!
//! **A call ends.** It has a deadline ([`ClientSettings::deadline`], or [`Question::within`]), which is also told to the
//! service, and is over when that passes, whatever the service does.
//!
//! **What is asked again, and why that is safe.** Nothing is done by a decision, but each is recorded and counts towards
//! what a subject may ask. A question is asked again only where the service has not read it: the connection could not be made,
//! or was closed before the question went out, or the other side says that it did not take it (HTTP/2 `REFUSED_STREAM`) or
//! that there is no service behind it (`UNAVAILABLE`, which Palisade itself never answers). It then goes to another
//! endpoint, to each at most once, within the one deadline. A question that went out and was not answered is not asked again:
//! it may stand on the record. A proxy that says `UNAVAILABLE` after it had passed the question on leaves a second record,
//! and nothing worse.
//!
//! **Several endpoints** share the load: a question goes to the one with the fewest under way. One that fails is left out, and
//! comes back when its health service (`grpc.health.v1`) answers, asked at once and then ever more rarely. While all are left
//! out, all are tried.
//!
//! **No cache** but where one is put around a decision point ([`Cached`]).

mod cache;
mod client;
mod decision;
mod endpoint;
mod error;
mod exchange;
mod failure;
mod gateway;
mod health;
mod point;
mod question;
mod search;
mod settings;
#[doc(hidden)]
pub mod wire;

pub use cache::{CacheReport, CacheSettings, Cached};
pub use client::Client;
pub use decision::{
    BatchDecision, Decision, Denial, Explanation, ItemDecision, ItemOutcome, NearPermit, Observed, Outcome,
    Permit, PolicyFailure, PolicyRef, ReasonCode, StepUp, Verification,
};
pub use error::{NoAnswer, SetupError};
pub use exchange::{Exchange, ExchangeRefusal, Exchanged, IssuedToken};
pub use gateway::{
    Bind, Check, Checked, Describe, Description, GatewayPoint, Handle, Incoming, List, Listed, Passage, Told,
};
pub use palisade_model::RawToken;
pub use point::{Answering, DecisionPoint};
pub use question::{Batch, Item, Presentation, Question};
pub use search::{Entity, Found, Page, Search, Searched, Sought};
pub use settings::{ClientSettings, PepKey, Plaintext};
