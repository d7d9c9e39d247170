//! When the keys of an issuer are fetched.
//!
//! One task an issuer fetches at 80 % of the time the document may be used (`max-age` between one minute and one hour, ten
//! minutes by default), with 10 % of jitter, so that replicas do not fetch together. After a failure it tries again with
//! growing pauses, quickly while there are no keys at all.
//!
//! A token with a `kid` that no key has may cause a fetch of its own, because keys rotate. Anybody can invent such
//! tokens, so these fetches have a budget: [`FORCED`] in [`FORCED_WINDOW`], whatever the number of tokens; one fetch at a
//! time; and a `kid` that a fetch did not bring causes no other for a minute. A request waits for the fetch at
//! most [`FORCED_WAIT`]; the fetch itself lives on when the request is gone.

use std::{collections::VecDeque, io::Read, path::Path, sync::Arc, time::Duration};

use palisade_model::Timestamp;
use tokio::{sync::watch, task::JoinSet};
use url::Url;

use super::{KeyStore, RefreshError, discovery, locked};
use crate::{KeySource, network::Fetched};

const FORCED: usize = 2;
const FORCED_WINDOW: Duration = Duration::from_secs(30);
const FORCED_WAIT: Duration = Duration::from_millis(500);
const FILE_POLL: Duration = Duration::from_secs(1);
const MAX_FILE: u64 = 256 * 1024;

/// How long discovered metadata is believed.
const REDISCOVER: Duration = Duration::from_secs(60 * 60);

/// The tasks that keep the keys fresh. Dropping it ends them; the keys then in force stay until they are too old.
#[derive(Debug)]
#[must_use = "dropping it ends the tasks"]
pub struct Refreshers {
    _tasks: JoinSet<()>,
}

impl Refreshers {
    /// Starts a task for every store whose keys can change.
    pub(crate) fn start(stores: impl Iterator<Item = Arc<KeyStore>>) -> Self {
        let mut tasks = JoinSet::new();
        for store in stores.filter(|store| !matches!(store.origin.source, KeySource::Inline(_))) {
            tasks.spawn(async move { store.keep_fresh().await });
        }
        Self { _tasks: tasks }
    }
}

/// How often fetches have happened, and whether one is under way.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last forced fetches began, at most [`FORCED`] of them.
    forced: VecDeque<Timestamp>,
    under_way: bool,
    failures: u32,
}

/// What a refresh remembers for the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The key set's URL, as discovered, and when.
    discovered: Option<(Url, Timestamp)>,
    etag: Option<String>,
    /// The last document that was read.
    document: Option<Vec<u8>>,
}

/// May a fetch begin?
enum Begin {
    Now(Flight),
    /// One is under way already.
    UnderWay,
    /// The budget is used up.
    Spent,
}

/// A refresh under way. Its end, however it comes, lets the next begin and wakes those who wait.
struct Flight(Arc<KeyStore>);

impl Drop for Flight {
    fn drop(&mut self) {
        locked(&self.0.pace).under_way = false;
        self.0.attempts.send_modify(|attempts| *attempts = attempts.wrapping_add(1));
    }
}

impl KeyStore {
    /// Refreshes the keys for as long as it runs.
    async fn keep_fresh(self: Arc<Self>) {
        let mut attempts = self.attempts.subscribe();
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.pause()) => match self.begin(false) {
                    Begin::Now(flight) => self.refresh(flight).await,
                    Begin::UnderWay | Begin::Spent => ended(&mut attempts).await,
                },
                // A refresh that a token caused has ended: what it brought sets the pace from now on.
                () = ended(&mut attempts) => {}
            }
        }
    }

    /// Refreshes because no key has this id, if the budget allows, and waits for the outcome a short while. The caller
    /// looks the key up again, whatever happened. Keys that are not fetched have nothing to refresh: a file is read every
    /// second anyway.
    pub(crate) async fn refresh_for(self: &Arc<Self>, id: &str) {
        if self.fetcher.is_none() || self.unknown.contains_key(id) {
            return;
        }
        let mut attempts = self.attempts.subscribe();
        match self.begin(true) {
            Begin::Now(flight) => {
                let (store, id) = (Arc::clone(self), id.to_owned());
                // Of its own, so that a request that gives up does not end the fetch that others wait for.
                tokio::spawn(async move {
                    store.refresh(flight).await;
                    if store.live().is_none_or(|live| !live.keys.has_id(&id)) {
                        store.unknown.insert(id, ());
                    }
                });
            }
            Begin::UnderWay => {}
            Begin::Spent => return,
        }
        if tokio::time::timeout(FORCED_WAIT, ended(&mut attempts)).await.is_err() {
            tracing::debug!(issuer = %self.origin.name, "a request did not wait for the keys any longer");
        }
    }

    fn begin(self: &Arc<Self>, forced: bool) -> Begin {
        let now = self.clock.now();
        let mut pace = locked(&self.pace);
        if pace.under_way {
            return Begin::UnderWay;
        }
        if forced {
            pace.forced.retain(|began| now.since(*began) < FORCED_WINDOW);
            if pace.forced.len() >= FORCED {
                return Begin::Spent;
            }
            pace.forced.push_back(now);
        }
        pace.under_way = true;
        Begin::Now(Flight(Arc::clone(self)))
    }

    async fn refresh(&self, flight: Flight) {
        let outcome = {
            let mut memory = self.memory.lock().await;
            self.load(&mut memory).await
        };
        self.note_outcome(&outcome);
        {
            let mut pace = locked(&self.pace);
            pace.failures = if outcome.is_ok() { 0 } else { pace.failures.saturating_add(1) };
        }
        // The flight ends last, and takes the lock of the pace itself.
        drop(flight);
    }

    async fn load(&self, memory: &mut Memory) -> Result<(), RefreshError> {
        let url = match &self.origin.source {
            KeySource::Inline(_) => return Ok(()),
            KeySource::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                let document = read.unwrap_or_else(|error| Err(unreadable(Path::new("keys"), &error)))?;
                return self.take(memory, document, None, None);
            }
            KeySource::Uri(url) => url.clone(),
            KeySource::Discovery => self.discovered(memory).await?,
        };
        let Some(fetcher) = &self.fetcher else { return Ok(()) };
        match fetcher.get(&url, memory.etag.as_deref()).await {
            Ok(Fetched::Unchanged { max_age }) => {
                self.confirm(max_age);
                Ok(())
            }
            Ok(Fetched::Document { body, etag, max_age }) => self.take(memory, body, etag, max_age),
            Err(error) => {
                // Perhaps the key set has moved: the next attempt asks where it is.
                *memory = Memory { discovered: None, ..std::mem::take(memory) };
                Err(error.into())
            }
        }
    }

    /// Takes a document; one that was read before is only confirmed. A document that cannot be read leaves no trace, so
    /// that its `ETag` is not confirmed later.
    fn take(
        &self,
        memory: &mut Memory,
        document: Vec<u8>,
        etag: Option<String>,
        max_age: Option<Duration>,
    ) -> Result<(), RefreshError> {
        if memory.document.as_deref() == Some(document.as_slice()) {
            self.confirm(max_age);
        } else {
            self.import(&document, max_age)?;
            memory.document = Some(document);
        }
        memory.etag = etag;
        Ok(())
    }

    async fn discovered(&self, memory: &mut Memory) -> Result<Url, RefreshError> {
        let now = self.clock.now();
        if let Some((url, found)) = &memory.discovered
            && now.since(*found) < REDISCOVER
        {
            return Ok(url.clone());
        }
        let url = match &self.fetcher {
            Some(fetcher) => discovery::key_set_url(&self.origin, fetcher).await?,
            None => return Err(discovery::DiscoveryError::NoKeySet.into()),
        };
        if memory.discovered.as_ref().is_none_or(|(known, _)| *known != url) {
            memory.etag = None;
        }
        memory.discovered = Some((url.clone(), now));
        Ok(url)
    }

    /// How long to wait before the next fetch.
    pub(super) fn pause(&self) -> Duration {
        if matches!(self.origin.source, KeySource::File(_)) {
            return FILE_POLL;
        }
        let failures = locked(&self.pace).failures;
        let jitter = rand::random_range(0.9..1.1);
        match (failures, self.live.load_full()) {
            (0, None) => Duration::ZERO,
            (0, Some(live)) => {
                let due = live.confirmed.plus(live.soft_ttl.mul_f64(0.8 * jitter));
                due.since(self.clock.now())
            }
            (failures, live) => after_failure(failures, live.is_some()).mul_f64(jitter),
        }
    }
}

async fn ended(attempts: &mut watch::Receiver<u64>) {
    if attempts.changed().await.is_err() {
        // The sender lives in the store, which the caller holds.
        std::future::pending::<()>().await;
    }
}

/// How long a document may be used without asking again.
pub(super) fn soft_ttl(max_age: Option<Duration>) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(10 * 60);
    max_age.unwrap_or(DEFAULT).clamp(Duration::from_secs(60), Duration::from_secs(60 * 60))
}

/// Without keys every request is refused, so the first pauses are short; with keys there is time.
fn after_failure(failures: u32, has_keys: bool) -> Duration {
    let (first, longest) = if has_keys { (5_000, 60_000) } else { (250, 5_000) };
    let doublings = failures.saturating_sub(1).min(16);
    Duration::from_millis((first << doublings).min(longest))
}

/// Reads a key set from a file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, RefreshError> {
    let mut document = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(MAX_FILE + 1).read_to_end(&mut document).map_err(|error| unreadable(path, &error))?;
    if document.len() as u64 > MAX_FILE {
        return Err(RefreshError::File {
            path: path.to_owned(),
            why: format!("it is longer than {MAX_FILE} bytes"),
        });
    }
    Ok(document)
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> RefreshError {
    RefreshError::File { path: path.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_ttl_is_between_a_minute_and_an_hour() {
        let soft = |seconds: Option<u64>| soft_ttl(seconds.map(Duration::from_secs)).as_secs();
        assert_eq!([soft(None), soft(Some(0)), soft(Some(300)), soft(Some(86_400))], [600, 60, 300, 3_600]);
    }

    #[test]
    fn pauses_grow_after_failures_and_are_shorter_without_keys() {
        let cold: Vec<u128> = (1..=7).map(|failures| after_failure(failures, false).as_millis()).collect();
        assert_eq!(cold, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        let warm: Vec<u64> = (1..=6).map(|failures| after_failure(failures, true).as_secs()).collect();
        assert_eq!(warm, [5, 10, 20, 40, 60, 60]);
        assert_eq!(after_failure(u32::MAX, true), Duration::from_secs(60));
    }
}
