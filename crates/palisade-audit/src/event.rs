//! Events: what happened to the service itself that changes, or may change, its decisions.

use palisade_model::{DecisionId, IssuerName, PolicyRevision, Reason, ResourceName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::SCHEMA_VERSION;

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventRecord {
    /// The version of this schema.
    pub schema_version: u32,
    /// A UUID version 7 (RFC 9562): ids sort by time.
    #[schemars(with = "String")]
    pub id: DecisionId,
    /// When it happened, RFC 3339 in UTC with milliseconds.
    #[serde(with = "crate::rfc3339")]
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// What happened.
    pub event: Event,
}

impl EventRecord {
    /// An event that happened at `time`.
    #[must_use]
    pub fn new(time: Timestamp, event: Event) -> Self {
        Self { schema_version: SCHEMA_VERSION, id: DecisionId::new(time), time, event }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Event {
    /// The service started.
    Started {
        /// The version of the service.
        version: String,
        /// The snapshot it started with.
        revision: PolicyRevision,
        /// The settings that are weaker than their defaults.
        weakened: Listed,
    },
    /// New policies, schema, entities, catalogues or configuration were taken.
    ReloadTaken {
        /// The snapshot before.
        previous: PolicyRevision,
        /// The snapshot now.
        revision: PolicyRevision,
        /// The policies that were not in the snapshot before, by id.
        added: Listed,
        /// The policies that are no longer in the snapshot, by id.
        removed: Listed,
    },
    /// New policies, schema, entities, catalogues or configuration were refused; the snapshot stays in force.
    ReloadRefused {
        /// The snapshot that stays in force.
        revision: PolicyRevision,
        /// Why it was refused.
        error: String,
        /// The policies that were not in the snapshot in force, as far as they could be read.
        added: Listed,
        /// The policies of the snapshot in force that were gone, as far as they could be read.
        removed: Listed,
    },
    /// The keys of an issuer changed.
    KeysChanged {
        /// The issuer's name in the configuration.
        issuer: IssuerName,
        /// The thumbprints (RFC 7638) of the keys that came.
        added: Listed,
        /// The thumbprints (RFC 7638) of the keys that went.
        removed: Listed,
    },
    /// A resource came under observation: policy denials are recorded and let by.
    ObserveOn {
        /// The resource.
        resource: ResourceName,
        /// The day it ends.
        until: String,
    },
    /// A resource is enforced again.
    ObserveOff {
        /// The resource.
        resource: ResourceName,
    },
    /// The policies in shadow would have answered differently. Nothing was done because of that.
    ShadowDiffers {
        /// The decision that was made, and recorded under this id.
        #[schemars(with = "String")]
        decision: DecisionId,
        /// When it was made.
        decided_at: String,
        /// The subject, as in decision records.
        principal: String,
        /// The action, as in decision records.
        action: String,
        /// The target, as in decision records.
        target: String,
        /// What the policies in force said.
        #[schemars(with = "String")]
        reason: Reason,
        /// What the policies in shadow said.
        #[schemars(with = "String")]
        shadow_reason: Reason,
        /// The policies that determined it, by id.
        shadow_policies: Listed,
        /// The revision of the policies in shadow.
        shadow_revision: PolicyRevision,
    },
    /// The log was opened after the process or the machine died while writing: the end of a segment was no whole
    /// line, and was moved to a file beside it.
    TornLine {
        /// The segment.
        segment: String,
        /// The file that holds the torn end.
        moved_to: String,
        /// Its length in bytes.
        bytes: u64,
    },
}

impl Event {
    /// The name in records.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::ReloadTaken { .. } => "reload_taken",
            Self::ReloadRefused { .. } => "reload_refused",
            Self::KeysChanged { .. } => "keys_changed",
            Self::ObserveOn { .. } => "observe_on",
            Self::ObserveOff { .. } => "observe_off",
            Self::ShadowDiffers { .. } => "shadow_differs",
            Self::TornLine { .. } => "torn_line",
        }
    }

    /// Whether nothing depends on it.
    pub(crate) fn only_informs(&self) -> bool {
        match self {
            Self::ShadowDiffers { .. } => true,
            Self::Started { .. }
            | Self::ReloadTaken { .. }
            | Self::ReloadRefused { .. }
            | Self::KeysChanged { .. }
            | Self::ObserveOn { .. }
            | Self::ObserveOff { .. }
            | Self::TornLine { .. } => false,
        }
    }

    /// Whether somebody should look at it.
    pub(crate) fn is_warning(&self) -> bool {
        match self {
            Self::Started { weakened, .. } => weakened.count > 0,
            Self::ReloadTaken { .. }
            | Self::KeysChanged { .. }
            | Self::ObserveOff { .. }
            | Self::ShadowDiffers { .. } => false,
            Self::ReloadRefused { .. } | Self::ObserveOn { .. } | Self::TornLine { .. } => true,
        }
    }
}

/// A list that stays short: how many there are, and the first hundred.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<String>,
}

impl Listed {
    /// The most names that are kept.
    pub const KEPT: usize = 100;
}

impl FromIterator<String> for Listed {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        names.into_iter().fold(Self::default(), |mut listed, name| {
            listed.count += 1;
            if listed.first.len() < Self::KEPT {
                listed.first.push(name);
            }
            listed
        })
    }
}
