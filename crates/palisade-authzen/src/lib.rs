//! The AuthZEN Authorization API 1.0.
//!
//! A request becomes what it says (`message`: total, strict JSON, unknown members left alone), what it says becomes
//! questions in the policies' words (`entities`), the decision point decides and records each (`evaluate`, `search`), and
//! the decisions become an answer (`encode`). What cannot be read is a question, too: its refusal is on the record like
//! every other decision. [`router`] has the entries, `http` what all of them share, `metadata` the discovery document.
//!
//! Nothing here evaluates a policy. `"decision": true` is written in one place of `encode`, from what the decision point
//! says is let by. No answer says anything that comes from a `Host` header.

mod encode;
mod entities;
mod evaluate;
mod http;
mod message;
mod metadata;
mod search;

pub use http::router;
