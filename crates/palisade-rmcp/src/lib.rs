//! The decision service round a handler of [`rmcp`]: each method that a client calls is asked about before the handler sees it.
//!
//! ```no_run
//! use palisade_client::Client;
//! use palisade_rmcp::Guarded;
//! use rmcp::ServerHandler;
//!
//! # fn guard<H: ServerHandler>(handler: H) -> Result<Guarded<H>, palisade_client::SetupError> {
//! let palisade = Client::to("http://127.0.0.1:7254")?;
//! let guarded = Guarded::new(handler, palisade, "files");
//! # Ok(guarded) }
//! ```
//!
//! The layer of [`palisade_tower`] stands before the HTTP service and can do all that this can, and more: it answers 401 and 403
//! with their challenges and the metadata document, checks `Host` and `Origin`, binds sessions to their subject, and ends
//! streams. Use it where one can be put. A guard is for a handler that is handed to somebody else's service:
//!
//! - What is not permitted does not reach the handler. A denied tool, prompt or resource is answered as an unknown one
//!   would be. What a stronger token would permit is an error with the challenge in `data.www_authenticate`, since a handler has no
//!   status to answer with.
//! - Lists are cut to what their reader may see, and become private.
//! - Tasks are bound to their subject and to the tool that made them.
//! - The handler finds the [`Caller`](palisade_tower::Caller) among the extensions of its context and of the HTTP request there, and that
//!   request without the client's token.
//!
//! What is asked is a [`GatewayPoint`](palisade_client::GatewayPoint): the service, or a decision point in the same process. Without an
//! answer, and for a request that did not come over HTTP and has no token, nothing is let by.

mod gate;
mod guarded;

pub use guarded::Guarded;
