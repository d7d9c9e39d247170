//! The decision log: record, receipt, segments, OTLP export, query.
//!
//! ```text
//! record ──> queue ──> writer ──> segments ──> exporter ──> OTLP receiver
//!   ^                    │            └──> query, verify
//!   └───── receipt ──────┘
//! ```
//!
//! A decision is answered after its record is in the log; how far in, the durability says. The exporter reads the
//! segments, not memory, so a receiver that is down costs disk and loses nothing. Refusals before a subject is known
//! are counted, so that a flood of them costs counting and nothing else. What was answered and not recorded in time is
//! recorded late, or counted.
//!
//! What is not here: no sampling, no masking, no second format. A record that must not hold something has no field
//! for it.

mod checkpoint;
mod event;
mod exchange;
mod export;
mod folder;
mod health;
mod line;
mod log;
mod metrics;
mod otlp;
pub mod query;
mod record;
mod refusals;
mod rfc3339;
mod segment;
mod settings;
mod shorten;
mod status;
mod writer;

pub use event::{Event, EventRecord, Listed};
pub use exchange::{ExchangeRecord, ExchangeSource, ProviderErrorRecord};
pub use folder::FolderProblem;
pub use log::{AuditError, AuditLog, AuditReceipt};
pub use record::{
    DecisionRecord, ItemRecord, NearPermit, Outcome, PolicyFailure, PolicyRef, Record, SCHEMA_VERSION,
    SegmentHeader, decision_record_schema,
};
pub use settings::{AuditSettings, Durability, OnFull};
pub use status::AuditStatus;
