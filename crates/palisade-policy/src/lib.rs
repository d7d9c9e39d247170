//! Policies: load, validate, evaluate, test.
//!
//! [`read_tree`] reads files into [`Sources`]; [`Policies::load`] turns them, with the [`World`] of the configuration,
//! into an immutable snapshot or a list of [`Diagnostic`]s; [`Policies::evaluate`] answers one [`Query`] with a
//! [`Verdict`], and [`Policies::prepare`] with [`Policies::ask`] many of one subject; [`step_up`] finds what a stronger
//! token would have to have. [`Asking::list`] says what a list shows, and [`Search`] who can do what. This is the only
//! crate that knows the policy language, and no type of it is in the public interface. Nothing here performs I/O but the
//! reading of files, nothing waits, and no clock is read.

mod arguments;
mod asking;
mod catalog;
mod diagnostic;
mod diff;
mod engine;
mod explain;
mod format;
mod lints;
mod listing;
mod matrix;
#[cfg(feature = "test-util")]
pub mod measure;
mod outcome;
mod parse;
mod pieces;
mod policies;
mod query;
mod search;
mod sets;
mod sources;
mod step_up;
mod store;
mod subject;
mod supplied;
mod testing;
mod typed;
mod validate;
mod values;
mod verdict;
mod vocabulary;
mod world;

pub use asking::Asking;
pub use catalog::{Catalog, CatalogChanges, ToolChange, read_catalog};
pub use diagnostic::{Diagnostic, Severity};
pub use diff::{DecisionChange, Difference, NotRebuilt, PolicyChange, Recorded, Side, matrix_questions};
pub use explain::NearPermit;
pub use format::format;
pub use lints::{Lint, lint};
pub use listing::{Listing, Reach};
pub use matrix::{CellDifference, Column, Form, Matrix, Row, Table};
pub use outcome::{Decided, Inquiry, Outcome, ResourceSettings};
pub use policies::{OnError, Policies};
pub use query::{About, Query, Strength, Terms};
pub use search::{Found, Inputs, Search, SearchError};
pub use sets::{PolicySet, SetFiles, read_sets};
pub use sources::{SourceFile, Sources, read_tree};
pub use step_up::{Offer, StepUp, step_up, with_implied};
pub use subject::PreparedSubject;
pub use testing::{CaseResult, Coverage, Deployment, Persona, TestBed, TestReport, run_tests};
pub use typed::{InputType, with_types};
pub use verdict::{Effect, PolicyFailure, PolicyInfo, PolicyRef, Verdict, WhatIf};
pub use vocabulary::VOCABULARY;
pub use world::{Kind, Tool, World, WorldExchange, WorldGraph, WorldResource};
