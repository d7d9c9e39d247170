//! The decision service in a server of [`async_graphql`]: each operation is asked about before anything of it is executed.
//!
//! ```no_run
//! use async_graphql::{EmptyMutation, EmptySubscription, ObjectType, Request, Schema};
//! use palisade_async_graphql::{Palisade, incoming, into_http};
//! use palisade_client::Client;
//!
//! # async fn adopt<Q: ObjectType + 'static>(query: Q, parts: http::request::Parts, request: Request) -> Result<(), palisade_client::SetupError> {
//! let palisade = Palisade::new(Client::to("http://127.0.0.1:7254")?, "storefront");
//! let schema = Schema::build(query, EmptyMutation, EmptySubscription).extension(palisade).finish();
//! // In the server's handler, with the head of the HTTP request:
//! let response = into_http(schema.execute(request.data(incoming(&parts))).await);
//! # Ok(()) }
//! ```
//!
//! The resource is one of kind `graphql` whose `schema.sdl` is `schema.sdl()` of the server. What is asked is a
//! [`GatewayPoint`](palisade_client::GatewayPoint) and a [`DecisionPoint`](palisade_client::DecisionPoint): the service, or a decision point
//! in the same process (`palisade_front::InProcess`). It decides, and nothing here does:
//!
//! - **An operation** ([`Palisade`]) is asked about whole, once, as the HTTP request that it is: a POST of its text, name and variables, with
//!   the header fields that came. What was asked about is what is executed. Of a batch each operation is asked about, up to ten
//!   ([`Palisade::taking_batches_of`]). A denial is an error with `extensions.code` and, through [`into_http`], the status and the challenge that the
//!   decision point says.
//! - **A field** can be asked about once more when it is resolved, with its coerced arguments and with attributes of the object that it is a field of
//!   ([`PalisadeGuard`]). Equal questions within a request are asked once, 16 are under way at a time, and those after the first 1,000 are denied.
//! - **A subscription** is asked about again on an interval ([`Palisade::asking_again_every`]). It ends with its token, when it is denied, and when nobody
//!   has said for too long that it may go on; its last message says why.
//!
//! Resolvers find whom a request is for ([`Caller`](palisade_tower::Caller)) in its context, and the request ([`Incoming`](palisade_client::Incoming)) without
//! the client's token, with what the configuration puts in its place.
//!
//! What cannot be asked about is denied: an operation whose sender nobody has said, one without its text, uploads, what comes by GET and is no query, a body that
//! is not JSON by its `Content-Type`, and text that has more than one reading (block strings). So is everything while nobody answers. An operation without its text is
//! a persisted query: neither those of `async_graphql` nor those of the resource's manifest are taken, since `extensions` are not asked about.
//! `ApolloPersistedQueries` empties the text of each operation that it has read, and does not go together with this extension.
//!
//! # Other extensions
//!
//! **Register [`Palisade`] before all others.** The first extension of a schema is around all others: it asks after they have changed the request, it sees
//! the document that they have read, and it ends the stream that they have made. A request that an extension before it changes afterwards is refused, in
//! its text, its name, its document, its variables, its uploads and what resolvers know of its sender. Unnoticed stay an extension before it
//! whose `parse_query` puts another document in the place of the one that it was given, and one that gives resolvers other data in `execute`. And
//! streams of a `dynamic::Schema` have no `execute` hook: they rest on the hooks before it.

mod admitted;
mod answered;
mod arguments;
mod denial;
mod extension;
mod finite;
mod guard;
mod incoming;
mod parent;
mod question;
mod stream;
mod text;

#[cfg(test)]
mod tests;

pub use denial::into_http;
pub use extension::Palisade;
pub use guard::PalisadeGuard;
pub use incoming::{Sender, incoming};
