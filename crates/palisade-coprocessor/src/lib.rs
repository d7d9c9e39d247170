//! The coprocessor of GraphQL routers: `/graphql/coprocessor/{resource}`.
//!
//! A router asks about each stage of a request and goes on as it is told. Apollo Router and Hive Router have one protocol in two
//! spellings (`message`, told apart by the name of the stage); Grafbase asks for the names of `@policy` alone (`grafbase`). What
//! comes becomes the call that the client made (`call`), and from there on everything is as for every other entry of HTTP
//! requests: decoded by `palisade_call`, decided by the decision point, recorded once (`decide`); `reply` writes what the
//! router is told, and `claims` what it learns of the subject.
//!
//! An operation that came whole is decided whole: nothing of it is left for a router to take out. Where it did not come, the
//! names of `@policy` that the router asks about are decided one by one, and where there are none, only the token is looked at.
//! A router's own stage is the client's request itself: without its body it is refused, and where a router only wants to know who
//! somebody is, it asks at `/token`, where no operation is ever decided. What a router sends of an operation at a stage at which it
//! executes another is refused, too.
//! A stage at which nothing is asked for (responses, requests to subgraphs) is passed through: no decision, no record.
//!
//! A message that cannot be read in one way, and a caller that may not ask, get an HTTP error, which routers take for a failure
//! of the request. "Go on" is written in one place, from what was decided.

mod call;
mod claims;
mod decide;
mod grafbase;
mod message;
mod names;
mod reply;

#[cfg(test)]
mod tests;

pub use decide::router;
