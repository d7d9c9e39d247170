//! An HTTP request as a question, and a decision as what the client and the upstream get.
//!
//! Every entry that decides on HTTP requests builds one [`HttpCall`] from what its protocol sent. [`decode()`] makes it an
//! access request; it is total: what cannot be read is in the request, as the reason for a recorded denial. On the way
//! back [`Passage`] says what the upstream learns of a call that is let by, and must not get from the client, and
//! [`denial_answer`] what the client is told. [`list_question`] asks about the
//! entries of a list that a server has answered as their own calls would be asked about. [`contract`] has what the messages of other projects come by. So no two entries can read a request, or tell a denial, differently.
//!
//! There is no I/O here, no decision, and no wire format of a proxy.

mod answer;
mod call;
pub mod contract;
mod credential;
mod decode;
mod graphql;
mod handles;
mod identity;
mod lists;
mod mcp;
mod static_token;

pub use answer::{denial_answer, outage, response_headers};
pub use call::{Body, Headers, HttpCall, Named};
pub use decode::{Believed, Decoded, decode};
pub use graphql::{Graph, Introspected, Introspection, Operations, WholeOrPart, entries};
pub use handles::{unbound_body, unbound_name};
pub use identity::{Passage, subject_text};
pub use lists::{list_question, reads_question};
