//! Who is proven to ask: the step between a verified token and a verdict.

use std::sync::Arc;

use palisade_model::{
    AccessRequest, Authority, Credential, Item, RawToken, Reason, Refusal, Scopes, Subject, SubjectKind,
    Timestamp,
};
use palisade_token::{Expectation, Party, Provenance, VerifiedToken};

use crate::{Pep, Resource, Snapshot, StaticToken};

/// A principal whose authority may be used. Its fields are private: it comes from a verified token, from a static one, from a PEP that may
/// assert it, or from a resource that lets all of what is asked reach policy without one.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    subject: Arc<Subject>,
    proof: Proof,
}

/// What stands for a principal.
#[derive(Debug, Clone)]
enum Proof {
    /// A verified token, and where those it names come from.
    Token(Arc<Authority>, Option<Arc<Provenance>>),
    /// A static token of the resource.
    Static(Arc<Authority>),
    /// The word of a PEP that may assert such a subject.
    Asserted,
    /// Nothing: it is nobody.
    None,
}

impl Principal {
    pub(crate) fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    pub(crate) fn authority(&self) -> Option<&Arc<Authority>> {
        match &self.proof {
            Proof::Token(authority, _) | Proof::Static(authority) => Some(authority),
            Proof::Asserted | Proof::None => None,
        }
    }

    pub(crate) fn is_asserted(&self) -> bool {
        matches!(self.proof, Proof::Asserted)
    }

    /// Whether a token of an issuer stands for it: what proves it to others, too.
    pub(crate) fn is_issued(&self) -> bool {
        matches!(self.proof, Proof::Token(..))
    }

    /// Whether somebody stands for it.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.proof, Proof::None)
    }

    /// Whether both come from one token, or rather from one verification of it.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let same_authority = match (self.authority(), other.authority()) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (Some(_) | None, Some(_) | None) => false,
        };
        same_authority && Arc::ptr_eq(&self.subject, &other.subject)
    }

    pub(crate) fn of_token(token: &VerifiedToken) -> Self {
        let proof = Proof::Token(Arc::clone(token.authority()), Some(Arc::clone(token.provenance())));
        Self { subject: Arc::clone(token.subject()), proof }
    }

    fn of_static(token: &StaticToken) -> Self {
        Self { subject: Arc::clone(token.subject()), proof: Proof::Static(Arc::clone(token.authority())) }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(subject: Subject, authority: Authority) -> Self {
        Self { subject: Arc::new(subject), proof: Proof::Token(Arc::new(authority), None) }
    }

    pub(crate) fn anonymous() -> Self {
        Self { subject: Arc::new(Subject::anonymous()), proof: Proof::None }
    }
}

/// Somebody who was proven to ask, by a token of an issuer or by a static one of the resource.
#[derive(Debug, Clone)]
pub struct Proven {
    // INVARIANT: built from a principal that has an authority, which only a token gives.
    subject: Arc<Subject>,
    authority: Arc<Authority>,
    provenance: Option<Arc<Provenance>>,
    scopes: Scopes,
}

impl Proven {
    /// The principal, where a token stands for it. `scopes` are those that it holds, with those that they imply.
    pub(crate) fn of(principal: &Principal, scopes: &Scopes) -> Option<Self> {
        let provenance = match &principal.proof {
            Proof::Token(_, provenance) => provenance.clone(),
            Proof::Static(_) | Proof::Asserted | Proof::None => None,
        };
        let authority = Arc::clone(principal.authority()?);
        Some(Self { subject: Arc::clone(&principal.subject), authority, provenance, scopes: scopes.clone() })
    }

    /// Who it is.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What the token says beside.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Who it is where it comes from: `iss` and `sub` of the issuer's own. Nothing for a static token.
    #[must_use]
    pub fn party(&self) -> Option<&Party> {
        self.provenance.as_deref().map(|provenance| &provenance.subject)
    }

    /// The scopes that are held, with those that they imply.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
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
        Credential::Token(raw) => match resource.static_tokens.find_bearer(raw) {
            Some(token) => Ok(Principal::of_static(token)),
            None => verify(snapshot, resource, raw, now).await.map(|token| Principal::of_token(&token)),
        },
        Credential::Static(raw) => {
            let token = resource.static_tokens.find(raw).map(Principal::of_static);
            token.ok_or_else(|| Refusal::new(Reason::TokenMalformed, "it is no static token of the resource"))
        }
        Credential::Unusable(refusal) => Err(refusal.clone()),
        Credential::AssertedByPep(subject) => asserted(snapshot, request, subject),
        Credential::Absent if may_be_anonymous(resource, request) => Ok(Principal::anonymous()),
        Credential::Absent => Err(Refusal::new(Reason::NoCredentials, "no credential came")),
    }
}

/// A subject on the word of the caller, if its configuration lets it assert one of this type. Of what it says of the
/// subject only the attributes count that it may supply: what the subject is in is for entity files to say.
fn asserted(snapshot: &Snapshot, request: &AccessRequest, subject: &Subject) -> Result<Principal, Refusal> {
    let pep = may_assert(snapshot, request, &subject.kind)?;
    let supplied = subject.supplied.only(|name| pep.supplies.contains(name));
    let subject = Subject { supplied, ..Subject::named(subject.kind.type_name(), subject.id.clone()) };
    Ok(Principal { subject: Arc::new(subject), proof: Proof::Asserted })
}

/// The caller, if it may assert subjects of this kind.
pub(crate) fn may_assert<'a>(
    snapshot: &'a Snapshot,
    request: &AccessRequest,
    kind: &SubjectKind,
) -> Result<&'a Pep, Refusal> {
    let pep = request.pep.as_ref().and_then(|name| snapshot.peps.by_name(name));
    if let Some(pep) = pep.filter(|pep| pep.asserts.contains(kind.type_name())) {
        return Ok(pep);
    }
    if snapshot.policies.has_type(kind.type_name()) {
        Err(Refusal::new(Reason::PepNotAllowed, "the caller may not assert a subject of this type"))
    } else {
        Err(Refusal::new(Reason::SubjectUnknown, "the schema has no such type of subject"))
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

/// Whether every item asked for is a method that the resource lets reach policy without a token. The parts of an operation come
/// with it.
fn may_be_anonymous(resource: &Resource, request: &AccessRequest) -> bool {
    let listed = |item: &Item| resource.anonymous.contains(&item.action.name);
    request.asked.as_ref().is_ok_and(|asked| {
        let is_operation = asked.items.first().is_some_and(|first| first.action.is_operation());
        let is_part = |item: &Item| is_operation && item.action.is_part_of_operation();
        !asked.items.is_empty() && asked.items.iter().all(|item| listed(item) || is_part(item))
    })
}
