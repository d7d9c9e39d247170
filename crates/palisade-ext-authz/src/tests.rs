//! The whole crate before a real decision point: what goes in on the wire, and what comes out.

mod answers;
mod exchange;
mod ext_proc;
mod faults;
mod fixture;
mod forms;
mod graphql;
mod http;
mod original;
mod rows;
