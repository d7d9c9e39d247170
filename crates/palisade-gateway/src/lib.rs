//! A streaming reverse proxy for MCP servers in any language, on the adapter ([`palisade_tower`]).
//!
//! It adds no decision of its own. [`Routes`] finds the server of a request by its path, the adapter decides, and the server is
//! asked over HTTP ([`Upstream::http`]) or is a child process that speaks over its standard input and output
//! ([`Upstream::stdio`]). Answers go by as they come: a stream keeps its order and its timing, and ends when its client or its
//! server ends it.
//!
//! What is bounded: connections, the time that one may be silent, the time that the head and the body of a request may take, the
//! time that a client may take nothing, requests under way, the size of what has to be changed, child processes, and how many of
//! them a subject has. What is not: how long an answer takes.

mod answer;
mod connection;
mod http_server;
mod routes;
mod serve;
mod stdio;
mod upstream;

pub use routes::{Route, Routes};
pub use serve::{Bounds, serve};
pub use stdio::StdioSettings;
pub use upstream::{Upstream, UpstreamError};
