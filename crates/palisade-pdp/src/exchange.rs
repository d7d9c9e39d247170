//! The exchange of a token (RFC 8693) as a part of a decision.
//!
//! The order: the subject is authenticated and the call permitted; then the policies are asked about the exchange itself
//! ([`terms`]), and only what they permit is asked for. An [`Order`] is the proof of that: it is built here alone, from a
//! verdict that permits, and there is no other way to an [`Exchanger`], nor to what it has in store. What comes back is
//! on the record with the decision.
//!
//! How a provider is asked, and what is kept of its answers, is not known here: that is what an exchanger is for.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use palisade_audit::{ExchangeRecord, ExchangeSource, ProviderErrorRecord};
use palisade_model::{
    AccessRequest, Authority, Credential, ExchangeName, IssuerName, RawToken, Reason, Refusal, Scopes,
    Subject, Timestamp,
};
use palisade_token::{Marks, Verifier};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    Snapshot,
    decide::{Judgement, too_late},
    question::Question,
    record::{add_exchange_policies, add_result, begun},
    waiting::{Place, Waiting},
};

pub(crate) mod terms;
pub(crate) mod wanted;

pub use wanted::AskedExchange;
pub(crate) use wanted::{Asking, Wanted, leaves};

/// An exchange of the configuration.
#[derive(Debug)]
pub struct Exchange {
    /// Its name.
    pub name: ExchangeName,
    /// The issuer whose tokens are exchanged: no other's leaves for its provider.
    pub issuer: IssuerName,
    /// What the tokens are for.
    pub audience: String,
    /// The scopes to ask for; nobody can ask for others.
    pub scopes: Arc<Scopes>,
    /// For how long a token is handed out after it was issued.
    pub lifetime: Duration,
    /// How long a call may take that waits for the provider.
    pub timeout: Duration,
    /// `<issuer>/<client_id>` of the client that asks.
    pub requester: String,
    /// A digest of everything that its exchanger depends on.
    pub fingerprint: Fingerprint,
    /// Who asks the provider.
    pub exchanger: Arc<dyn Exchanger>,
}

/// A digest of everything that an exchanger depends on. Secrets are among it, so nothing prints it: whoever knows the rest could
/// try out what they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fingerprint(..)")
    }
}

/// The exchanges of a snapshot, by name.
pub type Exchanges = BTreeMap<ExchangeName, Arc<Exchange>>;

/// Gets tokens for orders. Implemented by what asks providers over the network, and by what tests put in its place.
pub trait Exchanger: fmt::Debug + Send + Sync {
    /// Carries out an order. What is in store is there at once; who waits is answered no later than the order says. What
    /// takes longer may go on, for the next order like it.
    fn exchange(&self, order: Order) -> Exchanging<'_>;
}

/// An order that is carried out.
#[expect(missing_debug_implementations, reason = "a future says nothing of itself")]
pub enum Exchanging<'a> {
    /// It was answered at once: from store, or because nobody is asked now.
    Done(Exchanged),
    /// Somebody is asked.
    Waiting(BoxFuture<'a, Exchanged>),
}

impl Exchanging<'_> {
    /// What comes of it.
    pub async fn done(self) -> Exchanged {
        match self {
            Self::Done(exchanged) => exchanged,
            Self::Waiting(work) => work.await,
        }
    }
}

/// What the policies permit to be asked of a provider.
///
/// INVARIANT: built by `Step::run` alone, after a verdict that permits exactly this.
#[derive(Debug, Clone)]
pub struct Order {
    token: RawToken,
    subject: Arc<Subject>,
    authority: Arc<Authority>,
    verifier: Arc<Verifier>,
    scopes: Arc<Scopes>,
    lifetime: Duration,
    now: Timestamp,
    until: Instant,
}

impl Order {
    /// The subject's token.
    #[must_use]
    pub fn token(&self) -> &RawToken {
        &self.token
    }

    /// Whose token it is.
    #[must_use]
    pub fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    /// What the token says beside.
    #[must_use]
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Who verifies what is issued.
    #[must_use]
    pub fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// The scopes to ask for.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// For how long the issued token may be handed out.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The time of the decision.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When the answer must be there.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// An order that no policy was asked about.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn for_tests(
        token: RawToken,
        (subject, authority): (Arc<Subject>, Arc<Authority>),
        verifier: Arc<Verifier>,
        (scopes, lifetime): (Scopes, Duration),
        now: Timestamp,
        patience: Duration,
    ) -> Self {
        let (scopes, until) = (Arc::new(scopes), Instant::now() + patience);
        Self { token, subject, authority, verifier, scopes, lifetime, now, until }
    }
}

/// A token, or why there is none.
pub(crate) type Outcome = Result<Arc<Issued>, ExchangeFailure>;

/// What came of an order.
#[derive(Debug, Clone)]
pub struct Exchanged {
    /// Where the answer came from.
    pub source: ExchangeSource,
    /// The token, or why there is none.
    pub result: Outcome,
}

/// A token that a provider has issued and its exchanger has checked. Nothing prints it, and its memory is overwritten when
/// it is dropped.
pub struct Issued {
    /// The token.
    pub token: Zeroizing<String>,
    /// Its scopes, as far as they are known.
    pub scopes: Scopes,
    /// Its actors, `<issuer>/<subject>`, the current one first.
    pub actors: Vec<String>,
    /// `jti:<value>`, or `sha256:<hex>`.
    pub token_id: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Until when the policies permit that it is used: its end, or that of the lifetime that they permit.
    pub good_until: Timestamp,
    /// What it may be revoked by; nothing where it cannot be read.
    pub marks: Marks,
}

impl fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token: _, scopes, actors, token_id, expires_at, good_until, marks: _ } = self;
        write!(formatter, "Issued({token_id:?}, {scopes:?}, {actors:?}, {expires_at}, {good_until}, ..)")
    }
}

/// Why an exchange brought no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeFailure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What exactly is wrong, in our own words.
    pub detail: String,
    /// What the provider said.
    pub said: Option<Box<ProviderErrorRecord>>,
    /// What the provider asks of the client's next login, as it came: the `claims` parameter of OpenID Connect.
    pub claims: Option<String>,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

/// The kinds of failures, each with a reason of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// It was refused, or what was issued is not what was asked for.
    Refused,
    /// It is still under way.
    Pending,
    /// The user has to consent.
    ConsentRequired,
    /// The user has to interact with the provider.
    InteractionRequired,
    /// The provider cannot be reached, or answers nothing of use.
    Unavailable,
}

impl FailureKind {
    /// The reason code.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Refused => Reason::ExchangeRefused,
            Self::Pending => Reason::ExchangePending,
            Self::ConsentRequired => Reason::ExchangeConsentRequired,
            Self::InteractionRequired => Reason::ExchangeInteractionRequired,
            Self::Unavailable => Reason::ExchangeUnavailable,
        }
    }
}

/// What is left of the time for the decision itself once the provider was waited for.
const LAST_STEPS: Duration = Duration::from_millis(50);

/// One exchange of one request.
pub(crate) struct Step<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) question: &'a Question<'a>,
    pub(crate) request: &'a AccessRequest,
    pub(crate) wanted: &'a Wanted,
    pub(crate) now: Timestamp,
    pub(crate) deadline: Instant,
    /// Those who wait for providers.
    pub(crate) waiting: &'a Waiting,
}

impl Step<'_> {
    /// Asks the policies, then the exchanger, and notes in the judgement what came of it.
    pub(crate) async fn run(&self, judgement: &mut Judgement, place: &mut Place<'_>) -> Result<(), Refusal> {
        let exchange = &self.wanted.exchange;
        let mut record = Box::new(begun(&exchange.name, &exchange.audience));
        let done = match self.order(judgement, &mut record) {
            Ok(order) => {
                let began = Instant::now();
                let done = self.carry_out(order, place).await;
                record.duration_us = u64::try_from(began.elapsed().as_micros()).ok();
                Ok(done)
            }
            Err(refusal) => Err(refusal),
        };
        let outcome = match done {
            Ok(Exchanged { source, result }) => {
                record.source = Some(source);
                let outcome = add_result(&mut record, &result);
                judgement.exchange = Some(result);
                outcome
            }
            Err(refusal) => {
                record.reason = refusal.reason;
                Err(self.told(refusal))
            }
        };
        judgement.exchange_record = Some(record);
        outcome
    }

    /// What may be asked for, if anything.
    fn order(&self, judgement: &mut Judgement, record: &mut ExchangeRecord) -> Result<Order, Refusal> {
        let refuse = |detail: &str| Err(Refusal::new(Reason::ExchangeRefused, detail));
        let exchange = &self.wanted.exchange;
        let principal = self.question.principal;
        // INVARIANT: what is exchanged is the token that proved the subject, and nothing else: no assertion of a caller, and no
        // static token, which proves nothing to a provider.
        let authority = principal.authority().filter(|_| principal.is_issued());
        let (Credential::Token(token), Some(authority)) = (&self.request.credential, authority) else {
            return refuse("there is no token of the subject to exchange");
        };
        if authority.issuer != exchange.issuer {
            return refuse("the exchange is for tokens of another issuer");
        }
        // A deputy that was shown a token for another service does not get one here for a third, whatever its resource accepts.
        if authority.audience.is_disjoint(&self.question.resource.audiences) {
            return refuse("the subject's token is for none of the resource's audiences");
        }
        // The leeway is for clocks that differ, and nothing that is issued may outlive what it is issued for.
        if authority.expires_at <= self.now {
            let detail =
                "the subject's token is past its `exp`: it is taken for a while yet, and exchanged no more";
            return Err(Refusal::new(Reason::TokenExpired, detail));
        }
        let in_time = || Instant::now() < self.deadline;
        let settled = terms::settle(self.question, exchange, &self.wanted.scopes, in_time);
        let (terms, verdict) = settled.ok_or_else(too_late)?;
        add_exchange_policies(record, &verdict);
        let permitted = verdict.permits();
        let refusal = Refusal::new(verdict.reason(), "the policies do not permit the exchange");
        if self.wanted.alone {
            judgement.verdicts.push(verdict);
        }
        let Some(terms) = terms.filter(|_| permitted) else { return Err(refusal) };
        record.requested_scopes = terms.scopes.as_ref().clone();
        record.lifetime_s = Some(terms.lifetime.as_secs());
        let left = self.deadline.saturating_duration_since(Instant::now());
        Ok(Order {
            token: token.clone(),
            subject: Arc::clone(principal.subject()),
            authority: Arc::clone(authority),
            verifier: Arc::clone(&self.snapshot.verifier),
            scopes: terms.scopes,
            lifetime: terms.lifetime,
            now: self.now,
            until: self.deadline - LAST_STEPS.min(left / 10),
        })
    }

    /// A policy's denial of the exchange is the reason of a request for it; of a call it is the exchange that was refused.
    fn told(&self, refusal: Refusal) -> Refusal {
        let of_policies =
            matches!(refusal.reason, Reason::NoPermit | Reason::Forbidden | Reason::PolicyError);
        if of_policies && !self.wanted.alone {
            Refusal { reason: Reason::ExchangeRefused, ..refusal }
        } else {
            refusal
        }
    }

    /// What is in store is there at once. Whoever waits does so aside, if there is a place, so that a slow provider does not
    /// keep from their decisions those who need none of it.
    async fn carry_out(&self, order: Order, place: &mut Place<'_>) -> Exchanged {
        let exchange = &self.wanted.exchange;
        let subject = Arc::clone(order.subject());
        let work = match exchange.exchanger.exchange(order) {
            Exchanging::Done(done) => return done,
            Exchanging::Waiting(work) => work,
        };
        match self.waiting.enter(&exchange.name, subject.entity()) {
            Some(waits) => {
                place.aside(waits);
                work.await
            }
            None => Exchanged {
                source: ExchangeSource::Withheld,
                result: Err(ExchangeFailure {
                    kind: FailureKind::Pending,
                    detail: "too many requests wait for exchanges".to_owned(),
                    said: None,
                    claims: None,
                    retry_after: None,
                }),
            },
        }
    }
}
