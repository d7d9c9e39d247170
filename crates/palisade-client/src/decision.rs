//! What is answered.
//!
//! Everything here is read from an answer by [`crate::wire`] and by nothing else: a [`Permit`] has private fields, so that
//! nobody makes one by hand.

use std::{fmt, time::Duration};

use palisade_model::{DecisionId, PolicyRevision, Reason, Timestamp};

/// Why a decision came out as it did: one of the closed list of codes that records and metrics have, too. A service
/// that is newer than this crate may say one that this crate does not know.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ReasonCode(pub(crate) String);

impl ReasonCode {
    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The code as one that this crate knows.
    #[must_use]
    pub fn known(&self) -> Option<Reason> {
        self.0.parse().ok()
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// A decision on one item.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "what a decision does not permit may not be done"]
pub struct Decision {
    /// How it came out.
    pub outcome: Outcome,
    /// Why.
    pub reason: ReasonCode,
    /// The id of the decision and of its record; `palisade why` explains it. None where the service failed before
    /// there was one; a permit always has one.
    pub id: Option<DecisionId>,
    /// The revision of the policies and the configuration that decided.
    pub policy_revision: Option<PolicyRevision>,
    /// What the policies said, where the question asked for that.
    pub explanation: Option<Explanation>,
    /// Whether the answer was remembered by [`crate::Cached`]. The service has no record of such a use; `id` is that of the
    /// decision that is remembered.
    pub remembered: bool,
}

impl Decision {
    /// The permit, where it is one.
    #[must_use]
    pub fn permit(&self) -> Option<&Permit> {
        match &self.outcome {
            Outcome::Permit(permit) => Some(permit),
            Outcome::StepUp(_) | Outcome::Deny(_) | Outcome::Observed(_) => None,
        }
    }
}

/// How a decision came out. Only `Permit` is a permit.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "what is not permitted may not be done"]
pub enum Outcome {
    /// It may be done, and that is on the record.
    Permit(Permit),
    /// It is denied, and a stronger token would be permitted.
    StepUp(StepUp),
    /// It is denied.
    Deny(Denial),
    /// The policies deny it, and the resource is under observation: who passes calls on lets it by. It is no permit, and
    /// who does something themselves does not do it.
    Observed(Observed),
}

/// A recorded permission, for this one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    pub(crate) subject: String,
    pub(crate) obligations: Vec<String>,
    pub(crate) advice: Vec<String>,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Permit {
    /// Whose authority is used, as records name it: `User::"corp/alice"`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What the policies oblige the caller to do. Who cannot does not let it by.
    #[must_use]
    pub fn obligations(&self) -> &[String] {
        &self.obligations
    }

    /// What the policies advise the caller to do.
    #[must_use]
    pub fn advice(&self) -> &[String] {
        &self.advice
    }

    /// When the token ends; none where none came.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }
}

/// What a stronger token would have to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepUp {
    /// Scopes (RFC 6750 section 3).
    Scopes {
        /// Those that are missing, as policies name them.
        missing: Vec<String>,
        /// Those to ask the authorization server for, as it names them.
        ask_for: Vec<String>,
    },
    /// An authentication (RFC 9470 section 3).
    Authentication {
        /// Contexts that would do, in order of preference.
        acr_values: Vec<String>,
        /// How old it may be.
        max_age: Option<Duration>,
    },
}

impl fmt::Display for StepUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scopes { missing: _, ask_for } => write!(formatter, "scopes {}", ask_for.join(" ")),
            Self::Authentication { acr_values, max_age } => {
                write!(formatter, "authentication {}", acr_values.join(" "))?;
                max_age.map_or(Ok(()), |age| write!(formatter, " of the last {} s", age.as_secs()))
            }
        }
    }
}

/// A denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The `@deny_code` of the policy that forbade it.
    pub policy_code: Option<String>,
}

/// A denial under observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Whose authority is used.
    pub subject: String,
    /// The reason that enforcement would have given.
    pub would_be: ReasonCode,
    /// The `@deny_code` of the policy that forbade it.
    pub policy_code: Option<String>,
}

/// A decision on several items.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "what a decision does not permit may not be done"]
pub struct BatchDecision {
    /// The decision on the whole, for a caller that passes all items on as one: one denied item denies it. Its obligations
    /// and advice are those of the items.
    pub whole: Decision,
    /// How each item came out, in the order of the question, for a caller that passes items on one by one.
    pub items: Vec<ItemDecision>,
}

/// How one item of several came out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what a decision does not permit may not be done"]
pub struct ItemDecision {
    /// How it came out.
    pub outcome: ItemOutcome,
    /// Why.
    pub reason: ReasonCode,
    /// The policies that decided it, where the question asked for that.
    pub determining: Vec<PolicyRef>,
}

/// How one item of several came out. What a stronger token would change is said of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what is not permitted may not be done"]
pub enum ItemOutcome {
    /// It may be done, and that is on the record.
    Permit {
        /// What the policies oblige the caller to do.
        obligations: Vec<String>,
        /// What they advise.
        advice: Vec<String>,
    },
    /// It is denied.
    Deny(Denial),
    /// It is denied, under observation. It is no permit.
    Observed(Denial),
}

/// Whether a resource accepts a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a token that is not accepted proves nothing"]
pub enum Verification {
    /// It does.
    Accepted {
        /// Whose authority the token gives, as records name it.
        subject: String,
        /// The scopes of the token.
        scopes: Vec<String>,
        /// When the token ends.
        expires_at: Option<Timestamp>,
    },
    /// It does not, or cannot tell.
    Refused(ReasonCode),
}

/// What the policies said. It holds the text of policies: it is for who writes them, not for who was denied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    /// What exactly is wrong, where the policies were not asked.
    pub detail: Option<String>,
    /// The permits that hold, or the forbids that do.
    pub determining: Vec<PolicyRef>,
    /// The policies that could not be evaluated.
    pub errors: Vec<PolicyFailure>,
    /// The permits that came nearest, the nearest first.
    pub nearest: Vec<NearPermit>,
}

/// A policy and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRef {
    /// Its id.
    pub id: String,
    /// The file, relative to the policy folder.
    pub file: String,
    /// The line its text begins on, from 1.
    pub line: u32,
}

/// A policy that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFailure {
    /// The policy.
    pub policy: PolicyRef,
    /// Why.
    pub message: String,
}

/// A permit that did not permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearPermit {
    /// The policy.
    pub policy: PolicyRef,
    /// What of it did not hold.
    pub failed: Vec<String>,
}
