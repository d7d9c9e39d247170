//! What the policies say to one question.
//!
//! A [`Verdict`] can become a decision. A [`WhatIf`] cannot: it answers a question nobody asked, and there is no way
//! from it to a verdict.

use std::{cmp::Ordering, fmt};

use palisade_model::Reason;
use serde::{Deserialize, Serialize};

/// A policy, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PolicyRef {
    /// The id.
    pub id: String,
    /// The path of the file.
    pub file: String,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// What a policy does when it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It permits.
    Permit,
    /// It forbids, whatever permits.
    Forbid,
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        })
    }
}

/// A policy as the set knows it, with the annotations that have a meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyInfo {
    /// Its id and place.
    #[serde(flatten)]
    pub policy: PolicyRef,
    /// What it does.
    pub effect: Effect,
    /// `@description`.
    pub description: Option<String>,
    /// `@deny_code`.
    pub deny_code: Option<String>,
    /// `@obligation`.
    pub obligation: Option<String>,
    /// `@advice`.
    pub advice: Option<String>,
}

/// A policy that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyFailure {
    /// The policy.
    pub policy: PolicyRef,
    /// Why; holds no value of the request.
    pub message: String,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub(crate) reason: Reason,
    pub(crate) determining: Vec<PolicyRef>,
    pub(crate) errors: Vec<PolicyFailure>,
    pub(crate) policy_code: Option<String>,
    pub(crate) obligations: Vec<String>,
    pub(crate) advice: Vec<String>,
    pub(crate) candidates: usize,
    pub(crate) detail: Option<String>,
}

impl Verdict {
    /// A denial for a question that could not be put to the policies.
    pub(crate) fn refusal(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            // INVARIANT: a refusal is never a permit, whoever calls this with what.
            reason: if reason == Reason::Permitted { Reason::InternalError } else { reason },
            determining: Vec::new(),
            errors: Vec::new(),
            policy_code: None,
            obligations: Vec::new(),
            advice: Vec::new(),
            candidates: 0,
            detail: Some(detail.into()),
        }
    }

    /// Whether the policies permit it.
    #[must_use]
    pub fn permits(&self) -> bool {
        self.reason == Reason::Permitted
    }

    /// Why: `permitted`, `no_permit`, `forbidden`, `policy_error`, `target_unknown` or `method_unknown`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The permits that hold, or the forbids that do; in order of id.
    #[must_use]
    pub fn determining(&self) -> &[PolicyRef] {
        &self.determining
    }

    /// The policies that could not be evaluated; in order of id.
    #[must_use]
    pub fn errors(&self) -> &[PolicyFailure] {
        &self.errors
    }

    /// The `@deny_code` of the first determining forbid that has one.
    #[must_use]
    pub fn policy_code(&self) -> Option<&str> {
        self.policy_code.as_deref()
    }

    /// The `@obligation` of every determining policy that has one.
    #[must_use]
    pub fn obligations(&self) -> &[String] {
        &self.obligations
    }

    /// The `@advice` of every determining policy that has one.
    #[must_use]
    pub fn advice(&self) -> &[String] {
        &self.advice
    }

    /// How many policies were evaluated.
    #[must_use]
    pub fn candidates(&self) -> usize {
        self.candidates
    }

    /// Why the question could not be put to the policies, where it could not; holds no value of the request.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

/// The answer to a question that was not asked: the same, with a stronger token. No permit can be made of it.
#[derive(Debug, Clone)]
pub struct WhatIf(Verdict);

impl WhatIf {
    pub(crate) fn new(verdict: Verdict) -> Self {
        Self(verdict)
    }

    /// Whether the stronger token would be let in.
    #[must_use]
    pub fn would_permit(&self) -> bool {
        self.0.permits()
    }
}

/// Ids that end in numbers sort by the number.
pub(crate) fn by_id(left: &PolicyRef, right: &PolicyRef) -> Ordering {
    fn key(policy: &PolicyRef) -> (&str, Option<u64>, &str) {
        let (stem, number) = policy.id.rsplit_once('#').unwrap_or((&policy.id, ""));
        (stem, number.parse().ok(), &policy.id)
    }
    key(left).cmp(&key(right))
}
