//! What a question comes out as: permit, observed or deny.
//!
//! The types are proofs. Their fields are private to this crate, and only [`crate::decide`] builds them: a
//! [`Permit`] from a verdict that permits and a receipt of its record, with the exchanged token where its call leaves with one; an [`Observed`] from a policy denial of a
//! resource under observation and a receipt. An [`InPart`] is for an entry that sends on what is left of an operation: it holds that, and
//! a receipt. A [`Denial`] needs no proof.

use std::{sync::Arc, time::Duration};

use palisade_audit::AuditReceipt;
use palisade_model::{Authority, DecisionId, PolicyRevision, Reason, Scopes, Subject};

use crate::{Issued, Resource, StaticHeader};

/// The outcome of a question.
#[derive(Debug)]
pub enum Decision {
    /// The action may be done.
    Permit(Permit),
    /// The policies deny it, and the resource is under observation: the call is let by, and it is no permit.
    Observed(Observed),
    /// The action may not be done.
    Deny(Denial),
}

impl Decision {
    /// The id of the decision and of its record.
    #[must_use]
    pub fn id(&self) -> DecisionId {
        match self {
            Self::Permit(permit) => permit.grant.id,
            Self::Observed(observed) => observed.grant.id,
            Self::Deny(denial) => denial.id,
        }
    }

    /// The reason code.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Permit(_) => Reason::Permitted,
            Self::Observed(_) => Reason::Observed,
            Self::Deny(denial) => denial.reason,
        }
    }
}

/// The outcome of a question of an entry that sends on what is left of an operation.
#[derive(Debug)]
pub enum Parted {
    /// Of the request as it came.
    Whole(Decision),
    /// The action may be done without what is taken out of it.
    InPart(InPart),
}

impl Parted {
    /// The id of the decision and of its record.
    #[must_use]
    pub fn id(&self) -> DecisionId {
        match self {
            Self::Whole(decision) => decision.id(),
            Self::InPart(part) => part.grant.id,
        }
    }

    /// The reason code.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Whole(decision) => decision.reason(),
            Self::InPart(_) => Reason::Permitted,
        }
    }

    /// The decision, for who sends on nothing but what came. There is no other where nothing can be cut.
    pub(crate) fn whole(self) -> Decision {
        match self {
            Self::Whole(decision) => decision,
            Self::InPart(part) => Decision::Deny(Denial {
                id: part.grant.id,
                reason: Reason::InternalError,
                resource: Some(part.grant.resource),
                remedy: Remedy::None,
                retry_after: None,
                policy_code: None,
                replies: Vec::new(),
                batch: false,
                told: None,
            }),
        }
    }
}

/// What an enforcement point needs to pass a call on: who it is for.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) id: DecisionId,
    pub(crate) receipt: AuditReceipt,
    pub(crate) resource: Arc<Resource>,
    pub(crate) subject: Arc<Subject>,
    pub(crate) authority: Option<Arc<Authority>>,
    pub(crate) revision: PolicyRevision,
    pub(crate) upstream: Upstream,
}

/// What the upstream gets in place of the client's credential.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// Nothing.
    Strip,
    /// The credential itself.
    Keep,
    /// A token that it was exchanged for.
    Exchanged(Arc<Issued>),
    /// A header of the configuration.
    Static(Arc<StaticHeader>),
}

macro_rules! grant_accessors {
    ($name:ident) => {
        impl $name {
            /// The id of the decision and of its record.
            #[must_use]
            pub fn id(&self) -> DecisionId {
                self.grant.id
            }

            /// The proof that the decision is on the record.
            #[must_use]
            pub fn receipt(&self) -> &AuditReceipt {
                &self.grant.receipt
            }

            /// The resource the call goes to.
            #[must_use]
            pub fn resource(&self) -> &Arc<Resource> {
                &self.grant.resource
            }

            /// Whose authority is used.
            #[must_use]
            pub fn subject(&self) -> &Arc<Subject> {
                &self.grant.subject
            }

            /// What the token says; nothing for an anonymous call.
            #[must_use]
            pub fn authority(&self) -> Option<&Arc<Authority>> {
                self.grant.authority.as_ref()
            }

            /// What the upstream gets in place of the client's credential.
            #[must_use]
            pub fn upstream(&self) -> &Upstream {
                &self.grant.upstream
            }

            /// The revision of the snapshot that decided.
            #[must_use]
            pub fn revision(&self) -> &PolicyRevision {
                &self.grant.revision
            }
        }
    };
}

/// A recorded permission.
#[derive(Debug)]
pub struct Permit {
    pub(crate) grant: Grant,
}
grant_accessors!(Permit);

/// A recorded permission for what is left of an operation, and for nothing else.
pub struct InPart {
    pub(crate) grant: Grant,
    pub(crate) body: Vec<u8>,
    pub(crate) told: String,
}
grant_accessors!(InPart);

impl std::fmt::Debug for InPart {
    // Without the body.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InPart").field("grant", &self.grant).finish_non_exhaustive()
    }
}

impl InPart {
    /// The body that goes on in place of the one that came; nothing else may.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What the client is told of what was taken out: a JSON array.
    #[must_use]
    pub fn told(&self) -> &str {
        &self.told
    }
}

/// A recorded policy denial that is let by, because its resource is under observation.
#[derive(Debug)]
pub struct Observed {
    pub(crate) grant: Grant,
    pub(crate) would_be: Reason,
}
grant_accessors!(Observed);

impl Observed {
    /// The reason code of the denial that enforcement would have given.
    #[must_use]
    pub fn would_be(&self) -> Reason {
        self.would_be
    }
}

/// A denial, with what its caller may be told.
#[derive(Debug, Clone)]
pub struct Denial {
    /// The id of the decision and of its record.
    pub id: DecisionId,
    /// The reason code.
    pub reason: Reason,
    /// The resource, where it is known.
    pub resource: Option<Arc<Resource>>,
    /// What a client can do about it.
    pub remedy: Remedy,
    /// When to come back, where that is known.
    pub retry_after: Option<Duration>,
    /// The `@deny_code` of the policy that forbade it.
    pub policy_code: Option<String>,
    /// The JSON-RPC messages of the request, for an answer in that form.
    pub replies: Vec<Reply>,
    /// Whether the request was a JSON-RPC batch.
    pub batch: bool,
    /// What the client is told of an operation of which nothing is left, at an entry that sends on what is left: a JSON array.
    pub told: Option<String>,
}

impl Denial {
    /// In how many seconds to come back: when that is known, else soon.
    #[must_use]
    pub fn retry_after_seconds(&self) -> u64 {
        let seconds = self.retry_after.map_or(1, |after| after.as_millis().div_ceil(1_000));
        u64::try_from(seconds).unwrap_or(u64::MAX).max(1)
    }
}

/// A JSON-RPC message of the request that an answer may have to address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The method's name in the policy vocabulary.
    pub action: String,
    /// The raw JSON of the message's `id`; none for notifications and responses.
    pub id: Option<String>,
}

/// What a client can do about a denial.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Remedy {
    /// Nothing that it should be told.
    #[default]
    None,
    /// Get a token with these scopes: those that flip the decision, and those of the resource that it has already.
    Scopes(Scopes),
    /// Authenticate again (RFC 9470).
    Authentication {
        /// Contexts that would do, in order of preference.
        acr_values: Vec<String>,
        /// How old the authentication may be.
        max_age: Option<Duration>,
    },
    /// Log in again as the provider of an exchange asks: the `claims` parameter of OpenID Connect, as it came.
    Claims(String),
}
