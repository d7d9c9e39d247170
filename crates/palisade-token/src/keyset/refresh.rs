//! When the keys of an issuer are fetched.
//!
//! One task an issuer fetches at 80 % of the time the document may be used (`max-age` between one minute and one hour, ten
//! minutes by default), with 10 % of jitter, so that replicas do not fetch together. After a failure it tries again with
//! growing pauses, quickly while there are no usable keys at all. A document without a usable key is put in force like any
//! other, because a key that is gone must be gone; and it is a failure, so that the next attempt comes soon.
//!
//! A token with a `kid` that no key has may cause a fetch of its own (`missing`), because keys rotate. Anybody can invent
//! such tokens, so these fetches have a budget: [`FORCED`] in [`FORCED_WINDOW`], whatever the number of tokens; and there
//! is one fetch at a time.

use std::{collections::VecDeque, io::Read, path::Path, sync::Arc, time::Duration};

use palisade_model::Timestamp;
use tokio::{sync::watch, task::JoinSet};
use url::Url;

use super::{KeyStore, RefreshError, discovery, locked};
use crate::{KeySource, network::Fetched};

const FORCED: usize = 2;
const FORCED_WINDOW: Duration = Duration::from_secs(30);
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
    /// How many fetches have begun: the number of the last one.
    pub(super) begun: u64,
    failures: u32,
}

/// How far the fetches have come, by their numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// The last one that has ended.
    pub(super) ended: u64,
    /// The last one that has brought keys, or the news that they have not changed.
    pub(super) succeeded: u64,
}

/// What a refresh remembers for the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// The key set's URL, as discovered, and when.
    discovered: Option<(Url, Timestamp)>,
    /// The `ETag` of the document in force.
    etag: Option<String>,
}

/// May a fetch begin?
pub(super) enum Begin {
    Now(Flight),
    /// One is under way already.
    UnderWay,
    /// The budget is used up.
    Spent,
}

/// A refresh under way. Its end, however it comes, lets the next begin and wakes those who wait.
pub(super) struct Flight {
    store: Arc<KeyStore>,
    number: u64,
    succeeded: bool,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut pace = locked(&self.store.pace);
        pace.under_way = false;
        // Under the lock, so that the numbers only grow.
        self.store.progress.send_modify(|progress| {
            progress.ended = self.number;
            if self.succeeded {
                progress.succeeded = self.number;
            }
        });
    }
}

impl KeyStore {
    /// Refreshes the keys for as long as it runs.
    async fn keep_fresh(self: Arc<Self>) {
        let mut progress = self.progress.subscribe();
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.pause()) => match self.begin(false) {
                    Begin::Now(flight) => self.refresh(flight).await,
                    Begin::UnderWay | Begin::Spent => ended(&mut progress).await,
                },
                // A refresh that a token caused has ended: what it brought sets the pace from now on.
                () = ended(&mut progress) => {}
            }
        }
    }

    /// Begins a fetch; a `forced` one is counted against the budget.
    pub(super) fn begin(self: &Arc<Self>, forced: bool) -> Begin {
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
        pace.begun = pace.begun.saturating_add(1);
        Begin::Now(Flight { store: Arc::clone(self), number: pace.begun, succeeded: false })
    }

    pub(super) async fn refresh(&self, mut flight: Flight) {
        // A copy, because a fetch may take seconds and a reload wants to read it meanwhile.
        let mut memory = locked(&self.memory).clone();
        let outcome = self.load(&mut memory).await.and_then(|()| self.check_usable());
        *locked(&self.memory) = memory;
        self.note_outcome(&outcome);
        {
            let mut pace = locked(&self.pace);
            pace.failures = if outcome.is_ok() { 0 } else { pace.failures.saturating_add(1) };
        }
        flight.succeeded = outcome.is_ok();
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
                return self.take(document, None);
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
            Ok(Fetched::Document { body, etag, max_age }) => {
                // A document that cannot be read leaves no trace, so that its `ETag` is not confirmed later.
                self.take(body, max_age)?;
                memory.etag = etag;
                Ok(())
            }
            Err(error) => {
                // Perhaps the key set has moved: the next attempt asks where it is.
                memory.discovered = None;
                Err(error.into())
            }
        }
    }

    /// Takes a document; the one that is in force is only confirmed.
    fn take(&self, document: Vec<u8>, max_age: Option<Duration>) -> Result<(), RefreshError> {
        if self.live.load().as_ref().is_some_and(|live| *live.document == *document) {
            self.confirm(max_age);
            Ok(())
        } else {
            self.import(document, max_age)
        }
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
            (0, Some(live)) => live.confirmed.map_or(Duration::ZERO, |confirmed| {
                confirmed.plus(live.soft_ttl.mul_f64(0.8 * jitter)).since(self.clock.now())
            }),
            (failures, _) => after_failure(failures, self.live().is_some()).mul_f64(jitter),
        }
    }
}

/// Waits for a refresh to end.
pub(super) async fn ended(progress: &mut watch::Receiver<Progress>) {
    if progress.changed().await.is_err() {
        // The sender lives in the store, which the caller holds.
        std::future::pending::<()>().await;
    }
}

/// How long a document may be used without asking again.
pub(super) fn soft_ttl(max_age: Option<Duration>) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(10 * 60);
    max_age.unwrap_or(DEFAULT).clamp(Duration::from_secs(60), Duration::from_secs(60 * 60))
}

/// Without usable keys every request is refused, so the pauses are short; with keys there is time.
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
