//! The live key set of one issuer.
//!
//! A [`KeyStore`] holds the keys that are in force and replaces them whole, after a document was fetched, read and
//! linted. `refresh` decides when a document is fetched, `discovery` where it is. Requests read a snapshot and never
//! wait for a fetch, with one exception: a `kid` that no key has may cause a refresh (`missing`), within a budget.
//!
//! A key that is gone from the document is gone here at once. A fetch that fails keeps the old keys, for at most
//! [`HARD_TTL`]; after that the issuer has none, which is an outage of the issuer and never the fault of a token. A
//! reload that changes how keys are fetched begins with the document that is in force, read by the new settings. What
//! must never happen: a refresh because a signature was wrong.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use moka::sync::Cache;
use opentelemetry::KeyValue;
use palisade_model::{Clock, Issuer, IssuerName, Timestamp};
use thiserror::Error;
use tokio::sync::{Semaphore, broadcast, watch};

use crate::{
    Algorithm, KeySource, Profile, SetupError,
    keys::{Finding, KeySet, KeySetError},
    network::{FetchError, Fetcher, Route},
};

mod discovery;
mod missing;
mod refresh;

pub use discovery::{DiscoveryError, token_endpoint};
pub use refresh::Refreshers;

/// How long keys are used while no fetch succeeds.
pub(crate) const HARD_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// A change of the keys of an issuer, by RFC 7638 thumbprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The issuer.
    pub issuer: IssuerName,
    /// Keys that are usable now.
    pub added: Vec<String>,
    /// Keys that are gone; the tokens they signed are refused from now on.
    pub removed: Vec<String>,
}

/// How an issuer stands, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerStatus {
    /// The issuer.
    pub name: IssuerName,
    /// Whether there are keys that tokens can be verified with.
    pub ready: bool,
    /// The RFC 7638 thumbprints of the keys.
    pub keys: Vec<String>,
    /// When usable keys were last read or confirmed.
    pub last_success: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
}

/// Everything the keys of an issuer depend on. Two configurations that agree in it share their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) name: IssuerName,
    pub(crate) issuer: Issuer,
    pub(crate) profile: Profile,
    pub(crate) source: KeySource,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) route: Route,
}

impl Origin {
    /// Whether a document that was fetched for `before` is also one of this origin, however it would be fetched today. The
    /// profile has a say in where discovery may lead.
    fn shares_documents_with(&self, before: &Self) -> bool {
        let same_place = self.profile == before.profile || self.source != KeySource::Discovery;
        (&self.name, &self.issuer, &self.source) == (&before.name, &before.issuer, &before.source)
            && same_place
    }
}

/// Keys that are in force.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) keys: Arc<KeySet>,
    /// Counts the changes of the key set; equal epochs of one store mean equal keys.
    pub(crate) epoch: u64,
    /// What the keys were read from.
    document: Arc<[u8]>,
    /// When usable keys were last read or confirmed.
    confirmed: Option<Timestamp>,
    /// How long the document may be used without asking again.
    soft_ttl: Duration,
}

/// Why the keys could not be read.
#[derive(Debug, Error)]
enum RefreshError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot read `{path}`: {why}")]
    File { path: PathBuf, why: String },
    #[error("the key set is unusable: {0}")]
    Keys(#[from] KeySetError),
    #[error("the key set has no usable key")]
    NoUsableKey,
    #[error(transparent)]
    Discovery(#[from] discovery::DiscoveryError),
}

/// The live keys of one issuer.
#[derive(Debug)]
pub(crate) struct KeyStore {
    origin: Origin,
    clock: Arc<dyn Clock>,
    /// `None` for keys that are not fetched.
    fetcher: Option<Fetcher>,
    live: ArcSwapOption<Live>,
    had_keys: AtomicBool,
    last_error: Mutex<Option<String>>,
    pace: Mutex<refresh::Pace>,
    memory: Mutex<refresh::Memory>,
    progress: watch::Sender<refresh::Progress>,
    /// Bounds the requests that wait for a refresh.
    waiting: Semaphore,
    /// Key ids that a successful refresh of late did not bring.
    absent: Cache<String, ()>,
    changes: broadcast::Sender<KeyChange>,
}

impl KeyStore {
    /// A store; keys given inline, keys in a file that can be read, and keys that one of the stores `before` has of the
    /// same document, are there at once.
    pub(crate) fn new<'a>(
        origin: Origin,
        clock: Arc<dyn Clock>,
        changes: broadcast::Sender<KeyChange>,
        mut before: impl Iterator<Item = &'a Self>,
    ) -> Result<Self, SetupError> {
        let fetcher = match &origin.source {
            KeySource::Discovery | KeySource::Uri(_) => {
                let client = |why| SetupError::Client { issuer: origin.name.clone(), why };
                Some(Fetcher::new(&origin.route).map_err(client)?)
            }
            KeySource::File(_) | KeySource::Inline(_) => None,
        };
        let store = Self {
            fetcher,
            clock,
            live: ArcSwapOption::empty(),
            had_keys: AtomicBool::new(false),
            last_error: Mutex::default(),
            pace: Mutex::default(),
            memory: Mutex::default(),
            progress: watch::Sender::default(),
            waiting: Semaphore::new(missing::WAITING),
            absent: Cache::builder().max_capacity(1_000).time_to_live(Duration::from_secs(60)).build(),
            changes,
            origin,
        };
        if let Some(before) = before.find(|before| store.origin.shares_documents_with(&before.origin)) {
            store.begin_with(before);
        }
        store.load_what_is_at_hand()?;
        Ok(store)
    }

    /// Takes over the document of a store of other settings, as old as it is. It is due at once: only a fetch can tell
    /// whether the new settings work.
    fn begin_with(&self, before: &Self) {
        // INVARIANT: read before the keys. A refresh puts keys in force first and remembers their `ETag` then, so what is
        // remembered is never newer than the document, and no "not modified" can confirm a document that was replaced.
        let memory = locked(&before.memory).clone();
        let Some(live) = before.live.load_full() else { return };
        let Ok((keys, findings)) = KeySet::import(&live.document, &self.origin.algorithms) else { return };
        if keys.is_empty() || live.confirmed.is_none() {
            return;
        }
        self.report(&findings);
        *locked(&self.memory) = memory;
        self.had_keys.store(true, Ordering::Relaxed);
        let (document, confirmed) = (Arc::clone(&live.document), live.confirmed);
        let soft_ttl = Duration::ZERO;
        self.live.store(Some(Arc::new(Live {
            keys: Arc::new(keys),
            epoch: 1,
            document,
            confirmed,
            soft_ttl,
        })));
    }

    fn load_what_is_at_hand(&self) -> Result<(), SetupError> {
        let issuer = &self.origin.name;
        match &self.origin.source {
            KeySource::Discovery => {
                discovery::check(&self.origin)?;
            }
            KeySource::Uri(url) => {
                let checked = self.fetcher.as_ref().map_or(Ok(()), |fetcher| fetcher.check(url));
                checked.map_err(|why| SetupError::Url {
                    issuer: issuer.clone(),
                    url: Box::new(url.clone()),
                    why,
                })?;
            }
            KeySource::File(path) => {
                // A file that is not there yet is waited for: it may be mounted later.
                let read = refresh::read_file(path);
                let outcome =
                    read.and_then(|document| self.import(document, None)).and_then(|()| self.check_usable());
                self.note_outcome(&outcome);
            }
            KeySource::Inline(document) => {
                let document = document.as_bytes().to_vec();
                let outcome = self.import(document, None).and_then(|()| self.check_usable());
                outcome
                    .map_err(|error| SetupError::Keys { issuer: issuer.clone(), why: error.to_string() })?;
            }
        }
        Ok(())
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The keys in force; `None` while the issuer has none.
    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        let live = self.live.load_full()?;
        let fixed = matches!(self.origin.source, KeySource::Inline(_));
        let young = |confirmed: Timestamp| self.clock.now().since(confirmed) < HARD_TTL;
        let fresh = fixed || live.confirmed.is_some_and(young);
        (fresh && !live.keys.is_empty()).then_some(live)
    }

    /// A document that was read, or confirmed, must have brought a usable key.
    fn check_usable(&self) -> Result<(), RefreshError> {
        let usable = self.live.load().as_ref().is_some_and(|live| !live.keys.is_empty());
        usable.then_some(()).ok_or(RefreshError::NoUsableKey)
    }

    /// Whether there have been keys.
    pub(crate) fn had_keys(&self) -> bool {
        self.had_keys.load(Ordering::Relaxed)
    }

    /// Waits until there have been keys.
    pub(crate) async fn until_keys(&self) {
        let mut progress = self.progress.subscribe();
        while !self.had_keys() && progress.changed().await.is_ok() {}
    }

    pub(crate) fn status(&self) -> IssuerStatus {
        let latest = self.live.load_full();
        IssuerStatus {
            name: self.origin.name.clone(),
            ready: self.live().is_some(),
            keys: latest
                .as_ref()
                .map(|live| live.keys.thumbprints().into_iter().collect())
                .unwrap_or_default(),
            last_success: latest.and_then(|live| live.confirmed),
            last_error: locked(&self.last_error).clone(),
        }
    }

    /// Reads a document and puts its keys in force.
    fn import(&self, document: Vec<u8>, max_age: Option<Duration>) -> Result<(), RefreshError> {
        let (keys, findings) = KeySet::import(&document, &self.origin.algorithms)?;
        self.report(&findings);
        let before = self.live.load_full();
        let (keys, epoch) = match &before {
            Some(live) if live.keys.same_as(&keys) => (Arc::clone(&live.keys), live.epoch),
            Some(live) => (Arc::new(keys), live.epoch.saturating_add(1)),
            None => (Arc::new(keys), 1),
        };
        // What the issuer has just left out is known to be absent: its tokens are to blame, and cause no fetch.
        for id in before.iter().flat_map(|live| live.keys.ids()).filter(|id| !keys.has_id(id)) {
            self.absent.insert(id.to_owned(), ());
        }
        let confirmed = before.as_ref().and_then(|live| live.confirmed);
        let now = keys.thumbprints();
        let then = before.map(|live| live.keys.thumbprints()).unwrap_or_default();
        let soft_ttl = refresh::soft_ttl(max_age);
        self.put_in_force(Live { keys, epoch, document: document.into(), confirmed, soft_ttl });
        self.announce(&now, &then);
        Ok(())
    }

    /// The document is the one that was read last.
    fn confirm(&self, max_age: Option<Duration>) {
        if let Some(live) = self.live.load_full() {
            let (keys, document) = (Arc::clone(&live.keys), Arc::clone(&live.document));
            let soft_ttl = refresh::soft_ttl(max_age);
            self.put_in_force(Live { keys, document, soft_ttl, ..*live });
        }
    }

    /// Puts keys in force that were read or confirmed just now.
    fn put_in_force(&self, mut live: Live) {
        let count = u64::try_from(live.keys.thumbprints().len()).unwrap_or(u64::MAX);
        let labels = [KeyValue::new("issuer", self.origin.name.as_str().to_owned())];
        opentelemetry::global::meter("palisade")
            .u64_gauge("palisade_issuer_keys")
            .build()
            .record(count, &labels);
        if !live.keys.is_empty() {
            self.had_keys.store(true, Ordering::Relaxed);
            live.confirmed = Some(self.clock.now());
        }
        self.live.store(Some(Arc::new(live)));
    }

    fn announce(&self, now: &BTreeSet<String>, then: &BTreeSet<String>) {
        let only_in = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
            one.difference(other).cloned().collect()
        };
        let change = KeyChange {
            issuer: self.origin.name.clone(),
            added: only_in(now, then),
            removed: only_in(then, now),
        };
        if change.added.is_empty() && change.removed.is_empty() {
            return;
        }
        tracing::info!(issuer = %change.issuer, added = ?change.added, removed = ?change.removed, "the keys of an issuer changed");
        if self.changes.send(change).is_err() {
            tracing::debug!("nobody listens to key changes");
        }
    }

    fn report(&self, findings: &[Finding]) {
        for Finding { entry, why, alarm } in findings {
            if *alarm {
                tracing::warn!(issuer = %self.origin.name, entry, why, "a published key is dangerous and was left out");
            } else {
                tracing::info!(issuer = %self.origin.name, entry, why, "a published key was left out");
            }
        }
    }

    fn note_outcome(&self, outcome: &Result<(), RefreshError>) {
        let error = outcome.as_ref().err().map(ToString::to_string);
        let outcome = if error.is_some() { "failure" } else { "success" };
        let labels = [
            KeyValue::new("issuer", self.origin.name.as_str().to_owned()),
            KeyValue::new("outcome", outcome),
        ];
        opentelemetry::global::meter("palisade")
            .u64_counter("mcp_jwks_refresh_total")
            .build()
            .add(1, &labels);
        let mut last_error = locked(&self.last_error);
        // A file is polled every second: the same complaint is logged once.
        if let Some(error) = error.as_deref().filter(|error| last_error.as_deref() != Some(error)) {
            tracing::warn!(issuer = %self.origin.name, error, "the keys of an issuer could not be read");
        }
        *last_error = error;
    }
}

/// A lock whose holder panicked still guards plain values that are whole after every statement.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
