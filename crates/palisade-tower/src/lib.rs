//! The decision service in front of an MCP server in Rust, or of any other HTTP service: a [`tower`] layer.
//!
//! ```no_run
//! use palisade_client::Client;
//! use palisade_tower::PalisadeLayer;
//! use tower::Layer;
//!
//! # fn guard<S>(server: S) -> Result<palisade_tower::Guarded<S>, palisade_client::SetupError> {
//! let palisade = Client::to("http://127.0.0.1:7254")?;
//! let guarded = PalisadeLayer::new(palisade, "files").layer(server);
//! # Ok(guarded) }
//! ```
//!
//! `server` is the `StreamableHttpService` of `rmcp`, an `axum::Router`, or whatever else answers HTTP requests. What the layer
//! asks is a [`GatewayPoint`](palisade_client::GatewayPoint): the service, or a decision point in the same process
//! (`palisade_front::InProcess`). It decides nothing itself:
//!
//! - A request is handed over as it came, with its whole body, and goes on only when it is permitted: without the client's
//!   token, with what the configuration puts in its place, and with who it is for in `x-palisade-subject` and as
//!   [`Caller`] among its extensions. A denial is answered as the decision point says it, with its challenge. Without an answer
//!   it is 503.
//! - Lists (`tools/list` and its like) are cut to what their reader may see, in JSON and in event streams, and become
//!   private.
//! - A stream that is listened to tells of those changed resources that its subscription names, or that its client may read.
//! - Ids of sessions and tasks are bound to their subject on the way out, and taken only from them on the way in.
//! - A GraphQL query goes on without what is not granted, where the resource has `operations: part`; the client is told what was
//!   taken out among the `errors` of the answer. Without that key it is denied whole, and so is a mutation ever.
//! - A stream ends with the token that opened it, and when other policies come into force that deny it.
//! - The metadata document of the resource (RFC 9728) is answered at its well-known path.

mod answer;
mod body;
mod change;
mod coming;
mod graphql;
mod guard;
mod lease;
mod plan;
mod readable;
mod request;
mod stream;
mod tools;

pub use body::{Body, BoxError};
pub use guard::{Caller, ClientAddress, Guarded, PalisadeLayer, Settings};
pub use lease::{Ended, Lease};
pub use request::incoming;
