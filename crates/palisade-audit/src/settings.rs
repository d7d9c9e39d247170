//! What the decision log is told by the configuration (`audit:`).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the decision log lives and what it promises.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// The folder. Created with mode 0700 if it is not there.
    pub path: PathBuf,
    /// What has happened to a record before its receipt exists.
    pub durability: Durability,
    /// What happens to a decision when the quota is used up.
    pub on_full: OnFull,
    /// The most bytes all segments may take together, at least [`AuditSettings::MIN_QUOTA`]. A tenth of it is for
    /// refusals before a subject is known.
    pub quota: u64,
    /// The OTLP gRPC endpoint (`http://` or `https://`) that gets every record. Without one nothing is exported,
    /// the log is a ring: the oldest segments make room for new ones, and it is never full.
    pub otlp: Option<String>,
}

impl AuditSettings {
    /// The smallest quota, in bytes.
    pub const MIN_QUOTA: u64 = 1024 * 1024;
}

/// What has happened to a record before the answer may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It is in the bounded queue of the writer: lost if the process dies.
    Queued,
    /// The operating system has it: lost if the machine dies.
    #[default]
    Written,
    /// The disk has it.
    Synced,
}

/// What happens to a decision when the quota is used up and nothing may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Recording fails, so the decision becomes a denial.
    #[default]
    Deny,
    /// The record is dropped and counted, and the receipt says so.
    Drop,
}
