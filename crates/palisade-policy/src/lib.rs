//! Policies: load, validate, evaluate, test.
//!
//! [`read_tree`] reads files into [`Sources`]; [`Policies::load`] turns them, with the [`World`] of the configuration,
//! into an immutable snapshot or a list of [`Diagnostic`]s; [`Policies::evaluate`] answers one [`Query`] with a
//! [`Verdict`]; [`step_up`] finds what a stronger token would have to have. This is the only crate that knows the
//! policy language, and no type of it is in the public interface. Nothing here performs I/O but the reading of files,
//! nothing waits, and no clock is read.

mod diagnostic;
mod engine;
mod format;
mod parse;
mod policies;
mod query;
mod sources;
mod step_up;
mod store;
mod testing;
mod verdict;
mod vocabulary;
mod world;

pub use diagnostic::{Diagnostic, Severity};
pub use format::format;
pub use policies::{OnError, Policies};
pub use query::{Query, Strength};
pub use sources::{SourceFile, Sources, read_tree};
pub use step_up::{Offer, StepUp, step_up, with_implied};
pub use testing::{CaseResult, Coverage, TestReport, run_tests};
pub use verdict::{Effect, PolicyFailure, PolicyInfo, PolicyRef, Verdict, WhatIf};
pub use vocabulary::VOCABULARY;
pub use world::{Kind, Tool, World, WorldResource, read_catalog};
