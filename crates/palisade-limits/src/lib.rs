//! How much may be done in a time.
//!
//! A [`Budget`] is so much in any time of a length, wherever that begins: what is let by never adds up to more. Who draws on it
//! is a [`Holder`]. Whoever failed too often is blocked for a while ([`Block`]). A [`Limiter`] counts in memory, which is
//! bounded; where replicas share a server ([`SharedCounts`]) it counts there, and each replica for itself while that gives no
//! answer: nobody is ever unlimited, and nobody waits for a server that is gone.
//!
//! It knows no request, and nothing of who a holder is: names go into memory and out to a server as digests alone.

mod budget;
mod limiter;
mod metrics;
mod shared;
mod table;
mod window;

pub use budget::{Block, Budget, Draw, Exceeded, Holder};
pub use limiter::{Crowd, Limiter};
pub use shared::SharedCounts;
