//! One exchange: from an order to a checked token.

use std::{sync::Arc, time::Duration};

use palisade_audit::ExchangeSource;
use palisade_model::{Reason, SubjectKind, Timestamp};
use palisade_pdp::{
    ExchangeFailure, Exchanged, Exchanger, Exchanging, FailureKind, Fingerprint, Issued, Order,
};
use palisade_token::{
    Verifier,
    network::{self, Fetcher},
};
use tokio::time::{Instant, timeout_at};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    ClientSettings, ExchangeSettings, FromIssuer, SetupError,
    breaker::{Breaker, Health, Leave, Who},
    check,
    endpoint::Endpoint,
    failure::{Failed, failure},
    flights::{Boarded, Flight, Flights, Outcome},
    key::{Beginning, Key},
    metrics::{Answered, Metrics},
    provider::{AssertionAudience, Dialect},
    response::{self, Answer, Granted},
    store::{self, Store},
    wire::{self, Form},
};

/// How long to stay away where the provider says so and not for how long.
const AWAY: Duration = Duration::from_secs(5);

/// Asks a provider, and keeps what it answers.
#[derive(Debug, Clone)]
pub struct ProviderExchanger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ExchangeSettings,
    fetcher: Fetcher,
    endpoint: Endpoint,
    /// Of the second step of an ID-JAG.
    next: Option<(Endpoint, ClientSettings)>,
    keys: Beginning,
    store: Store,
    flights: Flights,
    breaker: Breaker,
    metrics: Arc<Metrics>,
}

impl ProviderExchanger {
    /// An exchanger with nothing in store.
    ///
    /// # Errors
    /// When a URL may not be asked, or the client cannot be built.
    pub fn new(settings: ExchangeSettings) -> Result<Self, SetupError> {
        let next = settings.authorization_server.as_ref();
        let configured = [Some(&settings.token_endpoint), next.map(|next| &next.token_endpoint)];
        for url in configured.into_iter().flatten().flatten() {
            network::check_url(url, settings.route.private)
                .map_err(|why| SetupError::Url { url: Box::new(url.clone()), why })?;
        }
        if next.is_some() != (settings.provider.dialect() == Dialect::IdJag) {
            return Err(SetupError::Settings(
                "`authorization_server` goes with provider `id_jag`, and only with it",
            ));
        }
        let endpoint = |issuer: &FromIssuer, url: &Option<Url>| Endpoint::new(issuer.clone(), url.clone());
        Ok(Self(Arc::new(Inner {
            fetcher: Fetcher::new(&settings.route).map_err(SetupError::Client)?,
            endpoint: endpoint(&settings.issuer, &settings.token_endpoint),
            next: next.map(|next| (endpoint(&next.issuer, &next.token_endpoint), next.client.clone())),
            keys: Beginning::of(&settings),
            store: Store::new(),
            flights: Flights::default(),
            breaker: Breaker::default(),
            metrics: Arc::new(Metrics::new(settings.name.as_str())),
            settings,
        })))
    }

    /// The digest of its settings.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.settings.fingerprint
    }

    /// Answers at once, or boards a flight.
    fn carry_out(&self, order: Order) -> Exchanging<'_> {
        let inner = &self.0;
        if inner.settings.provider.is_for_users() && order.subject().kind != SubjectKind::User {
            let why = "the provider exchanges the tokens of users alone";
            return inner.withheld(failure(FailureKind::Refused, why));
        }
        if !inner.settings.can_tell(order.subject()) {
            let why = "what would be issued for a client that acts as itself cannot be told from a user's";
            return inner.withheld(failure(FailureKind::Refused, why));
        }
        let key = inner.keys.key(&order);
        let (now, until, verifier) = (order.now(), order.until(), Arc::clone(order.verifier()));
        if let Some(answer) = inner.known(&key, now, &verifier) {
            return inner.stored(answer);
        }
        let (who, subject) = (inner.breaker.who(order.subject()), order.subject().entity());
        let work = {
            let inner = Arc::clone(inner);
            move |leave| async move { inner.fly(key, order, leave, who).await }
        };
        let answered = || inner.known(&key, now, &verifier);
        match inner.flights.board((key, subject), answered, || inner.may_begin(who), work) {
            Boarded::Joined(flight) => inner.wait(flight, Answered::Joined, until, verifier),
            Boarded::Began(flight) => inner.wait(flight, Answered::Miss, until, verifier),
            Boarded::Withheld(failure) => inner.withheld(failure),
            Boarded::Answered(answer) => inner.stored(answer),
        }
    }
}

impl Exchanger for ProviderExchanger {
    fn exchange(&self, order: Order) -> Exchanging<'_> {
        self.carry_out(order)
    }
}

impl Inner {
    /// What is in store, and may be handed out.
    ///
    /// INVARIANT: no token comes from here that a list in force for the order revokes, however long it was in store.
    fn known(&self, key: &Key, now: Timestamp, verifier: &Verifier) -> Option<Outcome> {
        let answer = self.store.get(key, now)?;
        match &answer {
            Ok(issued) if verifier.has_revoked(&issued.marks) => {
                self.store.forget(key);
                None
            }
            Ok(_) | Err(_) => Some(answer),
        }
    }

    /// For a flight, and no longer than until then.
    fn wait(&self, flight: Flight, how: Answered, until: Instant, verifier: Arc<Verifier>) -> Exchanging<'_> {
        let counted = Counted(Some(Arc::clone(&self.metrics)));
        Exchanging::Waiting(Box::pin(async move {
            let Exchanged { source, result } = timeout_at(until, flight).await.unwrap_or_else(|_elapsed| {
                let pending = failure(FailureKind::Pending, "the provider has not answered yet");
                Exchanged { source: ExchangeSource::Provider, result: Err(pending) }
            });
            // It may have begun under another list.
            let result = match result {
                Ok(issued) if verifier.has_revoked(&issued.marks) => {
                    Err(failure(FailureKind::Refused, "the issued token is revoked"))
                }
                Ok(_) | Err(_) => result,
            };
            let how = match (how, source) {
                (Answered::Miss, ExchangeSource::Cache) => Answered::Shared,
                (Answered::Miss, ExchangeSource::Withheld) => Answered::Withheld,
                (how, _) => how,
            };
            counted.answered(how, reason(&result));
            Exchanged { source, result }
        }))
    }

    fn stored(&self, answer: Outcome) -> Exchanging<'static> {
        let how = if answer.is_ok() { Answered::Hit } else { Answered::Refusal };
        self.metrics.answered(how, reason(&answer));
        Exchanging::Done(Exchanged { source: ExchangeSource::Cache, result: answer })
    }

    fn withheld(&self, failure: ExchangeFailure) -> Exchanging<'static> {
        self.metrics.answered(Answered::Withheld, failure.kind.reason().as_str());
        Exchanging::Done(Exchanged { source: ExchangeSource::Withheld, result: Err(failure) })
    }

    /// Where replicas share tokens, that is asked first, also about a provider that is left alone.
    fn may_begin(&self, who: Who) -> Result<Option<Leave>, ExchangeFailure> {
        self.settings.shared.is_none().then(|| self.may_ask(who)).transpose()
    }

    /// What another replica has got, or else what the provider answers.
    async fn fly(&self, key: Key, order: Order, leave: Option<Leave>, who: Who) -> Exchanged {
        let began = Instant::now();
        if let Some(shared) = &self.settings.shared
            && let Some((issued, until)) = shared.get((&self.settings, &self.metrics), &key, &order).await
        {
            let issued = Arc::new(issued);
            self.store.put_token(key, Arc::clone(&issued), until);
            return Exchanged { source: ExchangeSource::Cache, result: Ok(issued) };
        }
        match leave.map_or_else(|| self.may_ask(who), Ok) {
            Ok(leave) => {
                let result = self.ask(key, order, leave, began).await;
                Exchanged { source: ExchangeSource::Provider, result }
            }
            Err(failure) => Exchanged { source: ExchangeSource::Withheld, result: Err(failure) },
        }
    }

    fn may_ask(&self, who: Who) -> Result<Leave, ExchangeFailure> {
        self.breaker.enter(who, Instant::now()).map_err(|left| {
            let mut failure = failure(FailureKind::Unavailable, "the provider is not asked for now");
            failure.retry_after = Some(left);
            failure
        })
    }

    /// Asks the provider, checks what it answers and keeps it. Always tells the breaker how it went.
    async fn ask(&self, key: Key, order: Order, leave: Leave, flying: Instant) -> Outcome {
        let began = Instant::now();
        let mut report = Report { breaker: &self.breaker, leave, health: Health::Fails };
        let asked = self.ask_provider(&order).await;
        // INVARIANT: nothing in store is older than it seems: time goes on while the provider is waited for.
        let now = order.now().plus(flying.elapsed());
        let outcome = match asked {
            Ok(issued) => {
                report.health = Health::Answers;
                let issued = Arc::new(issued);
                if let Some(until) = store::good_until(&order, &issued, now) {
                    self.store.put_token(key, Arc::clone(&issued), until);
                    if let Some(shared) = &self.settings.shared {
                        shared.put(&self.metrics, &key, &issued, now, until);
                    }
                }
                Ok(issued)
            }
            Err(failed) => {
                report.health = failed.health;
                self.store.put_refusal(key, &failed, now);
                Err(failed.failure)
            }
        };
        drop(report);
        self.metrics.asked(began.elapsed(), reason(&outcome));
        outcome
    }

    async fn ask_provider(&self, order: &Order) -> Result<Issued, Failed> {
        let settings = &self.settings;
        let tenant = order.subject().tenant.as_deref();
        let began = Instant::now();
        let acting = check::acting(settings, order, order.now()).await?;
        let mut granted =
            self.send(&self.endpoint, &settings.client, wire::first(settings, order), order, tenant).await?;
        if let Some((endpoint, client)) = &self.next {
            check::check_assertion(order, &granted)?;
            granted = self.send(endpoint, client, wire::second(order, &granted.token), order, tenant).await?;
        }
        check::check(settings, order, granted, acting.as_ref(), order.now().plus(began.elapsed())).await
    }

    /// One request at one token endpoint.
    async fn send(
        &self,
        endpoint: &Endpoint,
        client: &ClientSettings,
        mut form: Form,
        order: &Order,
        tenant: Option<&str>,
    ) -> Result<Granted, Failed> {
        let url = endpoint.url(&self.fetcher, tenant).await?;
        let audience = match self.settings.provider.assertion_audience() {
            AssertionAudience::Issuer => endpoint.identifier(tenant),
            AssertionAudience::TokenEndpoint => url.to_string(),
        };
        let now = order.now();
        let proof = client.prove(&mut form, &audience, now).map_err(Failed::unavailable)?;
        let proof = proof.as_ref().map(|proof: &Zeroizing<String>| proof.as_str());
        let answered = self.fetcher.post(&url, proof, form.into_body()).await;
        let answered = answered.map_err(|error| Failed::unavailable(error.to_string()))?;
        let retry_after = answered.retry_after.as_deref().and_then(|text| retry_after(text, now));
        let actor = self.settings.actor.as_ref().map(|actor| actor.token.as_str());
        let secrets: Vec<&str> =
            client.secret().into_iter().chain(actor).chain([order.token().expose()]).collect();
        let answer = response::read(answered.status, &answered.body, &secrets);
        if answered.status == 429 || (answered.status >= 500 && retry_after.is_some()) {
            return Err(Failed::busy(retry_after.unwrap_or(AWAY), answered.status, answer));
        }
        match answer {
            Answer::Granted(granted) => Ok(granted),
            Answer::Refused(refused) => Err(Failed::of(refused)),
            Answer::Unusable(why) => Err(Failed::unusable(answered.status, why)),
        }
    }
}

/// Counts how somebody who waits was answered, also where they go away before.
struct Counted(Option<Arc<Metrics>>);

impl Counted {
    fn answered(mut self, how: Answered, reason: &'static str) {
        if let Some(metrics) = self.0.take() {
            metrics.answered(how, reason);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(metrics) = self.0.take() {
            metrics.answered(Answered::Left, Reason::ExchangePending.as_str());
        }
    }
}

/// Tells the breaker how it went when the work ends, in whatever way.
struct Report<'a> {
    breaker: &'a Breaker,
    leave: Leave,
    health: Health,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        self.breaker.went(self.leave, Instant::now(), self.health);
    }
}

fn reason(outcome: &Outcome) -> &'static str {
    outcome.as_ref().map_or_else(|failure| failure.kind.reason(), |_| Reason::Permitted).as_str()
}

/// A number of seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    let date = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(Timestamp::from_unix_seconds(i64::try_from(date).ok()?).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let now = Timestamp::from_unix_seconds(784_111_777);
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:40:37 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
