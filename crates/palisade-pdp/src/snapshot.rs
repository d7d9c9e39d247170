//! Everything a decision depends on, as one value that is swapped whole.

use std::{sync::Arc, time::Duration};

use palisade_model::PolicyRevision;
use palisade_policy::Policies;
use palisade_token::Verifier;

use crate::{Askers, Exchanges, HandleKeys, Peps, Resources, SharedCounts, Sts};

/// One configuration with its policies, schema, entities, catalogues and issuers, under one revision. A request uses
/// one snapshot from start to end.
#[derive(Debug)]
pub struct Snapshot {
    /// The revision, on every record.
    pub revision: PolicyRevision,
    /// Where the policies came from: a path, or `embedded`.
    pub source: String,
    /// The policies.
    pub policies: Arc<Policies>,
    /// Policies that are asked beside these and never acted on.
    pub shadow: Option<Arc<Policies>>,
    /// The protected resources.
    pub resources: Resources,
    /// The callers.
    pub peps: Peps,
    /// The exchanges of tokens.
    pub exchanges: Exchanges,
    /// Our own token service, where there is one.
    pub sts: Option<Arc<Sts>>,
    /// The token validator with its key sets.
    pub verifier: Arc<Verifier>,
    /// The limits.
    pub limits: Limits,
    /// The keys that bind handles of servers to subjects.
    pub handle_keys: Arc<HandleKeys>,
    /// Where replicas count together how much is asked; nothing where each counts for itself.
    pub shared_counts: Option<Arc<SharedCounts>>,
    /// What has been prepared of those who ask; empty in a new snapshot.
    pub askers: Askers,
}

/// What one request may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a decision may take before it is a recorded denial.
    pub deadline: Duration,
    /// The most bytes of a body that is decided on.
    pub body: usize,
    /// The most bytes of a token.
    pub token: usize,
    /// The most items of a batch.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: Duration::from_millis(150), body: 64 * 1024, token: 16 * 1024, batch: 50 }
    }
}
