//! A token for another service, for the same subject (RFC 8693).

use std::time::Duration;

use palisade_model::{DecisionId, PolicyRevision, RawToken, Timestamp};

use crate::{ReasonCode, question::Beside};

/// How long an exchange may take where the question says nothing: providers are slower than decisions.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// May the holder of this token have one for an upstream, and which?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The resource that the token is for, by its name in the configuration. Empty: the only resource that the caller may
    /// ask about.
    pub resource: String,
    /// The access token of the subject, without `Bearer`.
    pub token: RawToken,
    /// The exchange's name in the configuration.
    pub exchange: String,
    /// Some of the exchange's scopes. None: all of them. Policies may narrow them.
    pub scopes: Vec<String>,
    pub(crate) beside: Beside,
}
crate::question::beside!(Exchange);

impl Exchange {
    /// A token of a resource, to be exchanged for all that this exchange gives. It may take ten seconds, unless
    /// [`Exchange::within`] says otherwise.
    #[must_use]
    pub fn new(resource: impl Into<String>, token: impl Into<String>, exchange: impl Into<String>) -> Self {
        let beside = Beside { deadline: Some(DEADLINE), ..Beside::default() };
        let (resource, token) = (resource.into(), RawToken::new(token));
        Self { resource, token, exchange: exchange.into(), scopes: Vec::new(), beside }
    }

    /// The same for some of the scopes.
    #[must_use]
    pub fn scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), ..self }
    }
}

/// What an exchange came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "without an issued token nothing may be sent upstream"]
pub enum Exchanged {
    /// A token was issued, and that is on the record.
    Issued(IssuedToken),
    /// There is none.
    Refused(ExchangeRefusal),
}

/// A token that was issued for an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    pub(crate) token: RawToken,
    pub(crate) scopes: Vec<String>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) id: DecisionId,
    pub(crate) policy_revision: Option<PolicyRevision>,
}

impl IssuedToken {
    /// The token. `Debug` does not show it.
    #[must_use]
    pub fn token(&self) -> &RawToken {
        &self.token
    }

    /// Its scopes, as far as they are known.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// When it ends.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The id of the decision and of its record.
    #[must_use]
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// The revision of the policies that decided.
    #[must_use]
    pub fn policy_revision(&self) -> Option<&PolicyRevision> {
        self.policy_revision.as_ref()
    }
}

/// Why no token was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeRefusal {
    /// Why: `no_permit`, `exchange_consent_required` and so on.
    pub reason: ReasonCode,
    /// The id of the decision and of its record; none where the service failed before there was one.
    pub id: Option<DecisionId>,
    /// What the user's next login must bring, as the provider has said it: the `claims` parameter of OpenID Connect.
    pub claims: Option<String>,
    /// When it makes sense to ask again.
    pub retry_after: Option<Duration>,
    /// The revision of the policies that decided.
    pub policy_revision: Option<PolicyRevision>,
}
