//! One connection to a Redis or Valkey that replicas share: made when it is needed, and anew after a failure.
//!
//! What is shared there, and what of it is believed, is for who uses it. Here are the bounds: no question takes longer than
//! its patience, no answer brings more than was asked for, and a server that failed is left alone for a while. Nothing prints
//! a URL, which may hold a password.

mod bounded;
mod script;
mod server;

pub use script::Script;
pub use server::Server;
