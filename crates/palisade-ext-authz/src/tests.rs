//! The whole crate before a real decision point: what goes in on the wire, and what comes out.

mod answers;
mod exchange;
mod faults;
mod fixture;
mod forms;
mod http;
mod original;
mod rows;
