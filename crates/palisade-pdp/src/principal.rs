//! Who is proven to ask: the step between a verified token and a verdict.

use std::sync::Arc;

use palisade_model::{AccessRequest, Authority, Credential, RawToken, Reason, Refusal, Subject, Timestamp};
use palisade_token::{Expectation, VerifiedToken};

use crate::{Resource, Snapshot};

/// A proven principal. Its fields are private: it comes from a verified token, or from a resource that lets all of
/// what is asked reach policy without one.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    subject: Arc<Subject>,
    authority: Option<Arc<Authority>>,
}

impl Principal {
    pub(crate) fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    pub(crate) fn authority(&self) -> Option<&Arc<Authority>> {
        self.authority.as_ref()
    }

    /// Whether both come from one token, or rather from one verification of it.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let same_authority = match (&self.authority, &other.authority) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (Some(_) | None, Some(_) | None) => false,
        };
        same_authority && Arc::ptr_eq(&self.subject, &other.subject)
    }

    fn of_token(token: &VerifiedToken) -> Self {
        Self { subject: Arc::clone(token.subject()), authority: Some(Arc::clone(token.authority())) }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(subject: Subject, authority: Authority) -> Self {
        Self { subject: Arc::new(subject), authority: Some(Arc::new(authority)) }
    }

    fn anonymous() -> Self {
        Self { subject: Arc::new(Subject::anonymous()), authority: None }
    }
}

/// Finds out who asks. A request with any credential is judged by it: a bad token never becomes an anonymous caller.
pub(crate) async fn authenticate(
    snapshot: &Snapshot,
    resource: &Resource,
    request: &AccessRequest,
    now: Timestamp,
) -> Result<Principal, Refusal> {
    match &request.credential {
        Credential::Token(raw) => {
            verify(snapshot, resource, raw, now).await.map(|token| Principal::of_token(&token))
        }
        Credential::Unusable(refusal) => Err(refusal.clone()),
        Credential::Absent if may_be_anonymous(resource, request) => Ok(Principal::anonymous()),
        Credential::Absent => Err(Refusal::new(Reason::NoCredentials, "no credential came")),
    }
}

/// Verifies a token for a resource.
pub(crate) async fn verify(
    snapshot: &Snapshot,
    resource: &Resource,
    raw: &RawToken,
    now: Timestamp,
) -> Result<VerifiedToken, Refusal> {
    let expected = Expectation {
        audiences: &resource.audiences,
        any_audience: resource.any_audience,
        issuers: &resource.issuers,
    };
    let verified = snapshot.verifier.verify(raw, &expected, now).await;
    verified.map_err(|error| Refusal::new(error.reason, error.detail))
}

/// Whether every item asked for is a method that the resource lets reach policy without a token.
fn may_be_anonymous(resource: &Resource, request: &AccessRequest) -> bool {
    request.asked.as_ref().is_ok_and(|asked| {
        !asked.items.is_empty()
            && asked.items.iter().all(|item| resource.anonymous.contains(&item.action.name))
    })
}
