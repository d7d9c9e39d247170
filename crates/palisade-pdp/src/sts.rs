//! Our own token service (RFC 8693): what it is configured with, and what it is asked.
//!
//! A client that was called with a token asks for another, to call somebody else in the name of the same subject. The flow,
//! in `issue`: the client, the target, the subject's token, the actor's token, the hard rules (`rules`), the policies, the
//! record, and last the signature over what `claims` has put together.
//!
//! INVARIANT: the keys are reached from `issue` alone, after the receipt of a permit's record. A [`Requester`] comes from
//! [`Sts::authenticate`] alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use palisade_model::{
    Audience, DecisionId, ExchangeName, IssuerName, RawToken, Reason, Refusal, ResourceName, Scope, Scopes,
    TraceId,
};
use palisade_token::{Party, SigningKeys};
use thiserror::Error;
use zeroize::Zeroizing;

mod account;
mod claims;
mod issue;
mod rules;

/// The most actors of a token that is issued.
pub(crate) const MOST_ACTORS: usize = 4;

/// What a token service is built from.
#[derive(Debug)]
pub struct StsSettings {
    /// The name that its clients have in the ids of policies: `<name>/<client_id>`. Also the name of the issuer that its
    /// tokens are from, in this configuration.
    pub name: IssuerName,
    /// Its issuer identifier, and where it is reached: an origin, without a path.
    pub base_url: String,
    /// The issuers whose tokens it takes, beside its own.
    pub issuers: Vec<IssuerName>,
    /// Its clients.
    pub clients: Vec<StsClient>,
    /// What it issues tokens for.
    pub targets: Vec<StsTarget>,
    /// What it signs with.
    pub keys: SigningKeys,
}

/// A confidential client.
#[derive(Clone, PartialEq, Eq)]
pub struct StsClient {
    /// `client_id`.
    pub id: String,
    /// The SHA-256 of its secret.
    pub secret: [u8; 32],
    /// What tokens are for that it may exchange: the audiences that it is itself.
    pub audiences: BTreeSet<Audience>,
    /// What it may ask tokens for.
    pub targets: BTreeSet<ExchangeName>,
}

impl fmt::Debug for StsClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StsClient({:?}, ..)", self.id)
    }
}

/// What a token can be asked for: an `OAuth::Audience` of the policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsTarget {
    /// Its name.
    pub name: ExchangeName,
    /// The `aud` of its tokens.
    pub audience: String,
    /// The scopes that its tokens may have.
    pub scopes: BTreeSet<Scope>,
    /// The scopes that others imply there: who holds one holds those, too.
    pub implies: BTreeMap<Scope, Vec<Scope>>,
    /// The longest that its tokens live.
    pub lifetime: Duration,
}

/// Why there is no token service.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StsError {
    /// Two targets have one audience, or a client or a target is given twice.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// The name is no name of a resource: it cannot be, since both have one grammar.
    #[error("`{0}` is no name")]
    Name(String),
}

/// A token service.
#[derive(Debug)]
pub struct Sts {
    name: IssuerName,
    /// The policies are asked about something of a resource; the service stands for its own.
    place: ResourceName,
    base_url: String,
    issuers: Vec<IssuerName>,
    clients: BTreeMap<String, Arc<StsClient>>,
    targets: Vec<StsTarget>,
    keys: SigningKeys,
}

impl Sts {
    /// A token service.
    ///
    /// # Errors
    /// When a client or a target is there twice, by its name or its audience.
    pub fn new(settings: StsSettings) -> Result<Self, StsError> {
        let StsSettings { name, base_url, mut issuers, clients, targets, keys } = settings;
        let mut seen = BTreeSet::new();
        for text in targets.iter().flat_map(|target| [target.name.as_str(), target.audience.as_str()]) {
            if !seen.insert(text) {
                return Err(StsError::Twice(text.to_owned()));
            }
        }
        let mut by_id = BTreeMap::new();
        for client in clients {
            if let Some(taken) = by_id.insert(client.id.clone(), Arc::new(client)) {
                return Err(StsError::Twice(taken.id.clone()));
            }
        }
        let place = name.as_str().parse().map_err(|_| StsError::Name(name.to_string()))?;
        if !issuers.contains(&name) {
            issuers.push(name.clone());
        }
        Ok(Self { name, place, base_url, issuers, clients: by_id, targets, keys })
    }

    /// Its issuer identifier, and where it is reached.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Its public keys, as a JWK Set.
    #[must_use]
    pub fn key_set(&self) -> &str {
        self.keys.document()
    }

    /// Every scope that one of its tokens may have.
    pub fn scopes(&self) -> BTreeSet<&Scope> {
        self.targets.iter().flat_map(|target| &target.scopes).collect()
    }

    /// The client of this id, if the secret is its own. Takes as long for an unknown id as for a wrong secret.
    #[must_use]
    pub fn authenticate(&self, id: &str, secret: &str) -> Option<Requester> {
        let client = self.clients.get(id);
        let expected = client.map_or([0; 32], |client| client.secret);
        let given = digest::digest(&digest::SHA256, secret.as_bytes());
        let holds = verify_slices_are_equal(given.as_ref(), &expected).is_ok();
        client.filter(|_| holds).map(|client| Requester {
            client: Arc::clone(client),
            entity_id: format!("{}/{}", self.name, client.id),
            party: Party { issuer: self.base_url.clone(), id: client.id.clone() },
        })
    }
}

/// A client that has proven itself.
#[derive(Debug, Clone)]
pub struct Requester {
    client: Arc<StsClient>,
    /// `<name>/<client_id>`.
    entity_id: String,
    party: Party,
}

/// One request for a token, as far as it could be read.
#[derive(Debug)]
pub struct TokenRequest {
    /// Who asks, or why it is nobody.
    pub client: Result<Requester, Refused>,
    /// What is asked for, or why it could not be read.
    pub asked: Result<AskedToken, Refused>,
    /// The trace it belongs to.
    pub trace: Option<TraceId>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedToken {
    /// The token of the subject.
    pub subject_token: RawToken,
    /// The token of the actor, where it is not the client itself that acts.
    pub actor_token: Option<RawToken>,
    /// Every `audience` and `resource`: names or audiences of one target.
    pub targets: Vec<String>,
    /// The scopes; where none are named, those that the subject's token and the target share.
    pub scopes: Option<Scopes>,
}

/// What is at fault where no token is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request cannot be read.
    Request,
    /// The client has not proven itself.
    Client,
    /// The client may not exchange tokens at all.
    ClientMayNot,
    /// Another grant is asked for.
    Grant,
    /// The subject's token, or what it is to be used for.
    Subject,
    /// The actor's token, or that there is none.
    Actor,
    /// The target.
    Target,
    /// The scopes.
    Scope,
    /// The policies do not permit it.
    Policy,
    /// We ourselves, or an issuer that is out of reach.
    Service,
}

/// A refusal, and what is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is at fault.
    pub fault: Fault,
    /// Why.
    pub refusal: Refusal,
}

impl Refused {
    /// A refusal.
    #[must_use]
    pub fn new(fault: Fault, reason: Reason, detail: impl Into<String>) -> Self {
        Self { fault, refusal: Refusal::new(reason, detail) }
    }
}

/// What came of a request.
#[derive(Debug)]
pub enum Issuance {
    /// A token, which is on the record.
    Issued(IssuedToken),
    /// None, by this decision.
    Refused(DecisionId, Refused),
}

/// A token that we have issued. Nothing prints it.
pub struct IssuedToken {
    /// The decision, which is also its `jti`.
    pub id: DecisionId,
    /// The token.
    pub token: Zeroizing<String>,
    /// Its scopes.
    pub scopes: Scopes,
    /// For how many seconds it is good.
    pub expires_in: u64,
    /// Whether it is only good with proofs of the key that it is bound to (RFC 9449).
    pub needs_proof: bool,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, token: _, scopes, expires_in, needs_proof } = self;
        write!(formatter, "IssuedToken({id}, {scopes:?}, {expires_in}, {needs_proof}, ..)")
    }
}

#[cfg(test)]
mod tests;
