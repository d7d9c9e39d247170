//! MCP client messages as questions, and denials as JSON-RPC answers.
//!
//! A POST goes through [`read`]: its headers say that it is plain JSON, its body is one JSON-RPC message or a batch in
//! one possible reading (`message`), no member of it could be taken for another (`lookalikes`), every message names a
//! method of the protocol (`method`), what a subscription names is asked about piece by piece (`subscription`), and the headers that mirror the body agree with it (`mirrors`). A GET is [`stream_open`], a DELETE is [`session_delete`]. What a proxy
//! has read from the body itself comes as [`Attributes`]. [`denial()`] is the way back. What a server answers is cut to its reader
//! by [`Listing`], as it came where it can be ([`Lists`]), in event streams with the help of [`sse`].
//!
//! There is no I/O here, and no decision. Nothing is repaired: what two readers could take differently is refused.

mod attributes;
mod denial;
mod listing;
mod lists;
mod lookalikes;
mod message;
mod method;
mod mirrors;
pub mod sse;
mod subscription;

use palisade_model::{Action, Asked, Item, Properties, Reason, Refusal, ResourceName, Target};

pub use attributes::{Attributes, unread};
pub use denial::{Reply, denial};
pub use listing::Listing;
pub use lists::Lists;
pub use message::{Unread, read, read_body, read_message};
pub use method::is_request;
pub use mirrors::{Mirrors, decoded as mirrored, is_stateless};
pub use palisade_json::JsonError;
pub use subscription::Subscribed;

/// A POST of a client, as far as the decision depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// The whole body.
    pub body: &'a [u8],
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// The headers that mirror the body.
    pub mirrors: &'a Mirrors<'a>,
    /// The most messages of a batch.
    pub max_batch: usize,
}

/// The opening of a stream: a GET (MCP 2025-11-25, Streamable HTTP).
#[must_use]
pub fn stream_open(resource: &ResourceName) -> Asked {
    Asked::one(on_server("stream/open", resource))
}

/// The end of a session: a DELETE (MCP 2025-11-25, Streamable HTTP).
#[must_use]
pub fn session_delete(resource: &ResourceName) -> Asked {
    Asked::one(on_server("session/delete", resource))
}

/// An action on the server as a whole.
fn on_server(action: &str, resource: &ResourceName) -> Item {
    Item {
        action: Action::mcp(action),
        target: Target::mcp_server(resource),
        arguments: None,
        supplied: Properties::default(),
        known: Properties::default(),
        reply_to: None,
    }
}

fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::RequestMalformed, detail)
}

#[cfg(test)]
mod tests;
