//! Taking changed files: policies, schema, entities, catalogues and configuration, as one snapshot or not at all.
//!
//! Files are looked at when a notification comes, on SIGHUP, and every few seconds, since notifications get lost on
//! network file systems and under Kubernetes' symbolic links. A change is taken only when two readings half a second
//! apart are alike and the files still read the same after the snapshot was built, so that half a deployment is never
//! in force. On any error the old snapshot serves on, visibly.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::Watcher;
use palisade_audit::{Event, EventRecord};
use palisade_model::{Clock, PolicyRevision, ResourceName, Timestamp};
use palisade_pdp::{Pdp, Snapshot};
use palisade_policy::Policies;
use sha2::{Digest, Sha256};
use tokio::{
    signal::unix::Signal,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    config::{
        self,
        build::{Built, Embedded},
        load::Loaded,
        types::Reload,
    },
    workshop::Workshop,
};

/// Between two readings that must be alike.
const SETTLE: Duration = Duration::from_millis(500);
/// How often the content is read without a notification.
const POLL: Duration = Duration::from_secs(5);

/// What a reading of all files comes to.
pub(crate) type Fingerprint = [u8; 32];

/// How the last reload went, for `/readyz`.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(crate) struct ReloadStatus {
    /// When the snapshot in force was taken.
    pub(crate) taken: String,
    /// Why the files as they are now were refused; `None` where they are in force.
    pub(crate) error: Option<String>,
    /// What the configuration in force weakens; told beside this.
    #[serde(skip)]
    pub(crate) weakened: Vec<String>,
}

/// What the reload task works with.
pub(crate) struct Reloader {
    pub(crate) path: PathBuf,
    pub(crate) loaded: Loaded,
    pub(crate) pdp: Arc<Pdp>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: watch::Sender<ReloadStatus>,
    pub(crate) refreshers: palisade_token::Refreshers,
    pub(crate) observed: Vec<(ResourceName, String)>,
    /// SIGHUP, listened for since the service began to start.
    pub(crate) hangup: Signal,
    /// The reading that the snapshot in force was built from.
    pub(crate) in_force: Fingerprint,
    /// Where snapshots are built.
    pub(crate) workshop: Workshop,
}

impl Reloader {
    /// Looks for changes until it is dropped.
    pub(crate) async fn run(mut self) {
        let (changed, mut changes) = tokio::sync::mpsc::channel::<()>(1);
        let mut watcher = self.watcher(&changed);
        let mut tick = interval(POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refused = None;
        // A SIGHUP is done with when the files are in force or refused, not before.
        let mut forced = false;
        loop {
            tokio::select! {
                hup = self.hangup.recv() => forced |= hup.is_some(),
                Some(()) = changes.recv() => {}
                _ = tick.tick() => {}
            }
            self.end_observations().await;
            let looks = match self.loaded.config.policies.reload {
                Reload::Watch => true,
                Reload::Signal => forced,
                Reload::Off => {
                    if forced {
                        tracing::warn!("SIGHUP changes nothing: `policies.reload` is `off`");
                        forced = false;
                    }
                    false
                }
            };
            if !looks {
                continue;
            }
            let known = if forced { None } else { Some((self.in_force, &mut refused)) };
            let Some(reading) = self.settled(known).await else { continue };
            match self.reload(reading).await {
                Some(true) => {
                    (self.in_force, refused, forced) = (reading, None, false);
                    // The files may be others now; the old watcher ends.
                    drop(std::mem::replace(&mut watcher, self.watcher(&changed)));
                }
                Some(false) => (refused, forced) = (Some(reading), false),
                // The files changed once more while the snapshot was built: look again at once.
                None => tick.reset_immediately(),
            }
        }
    }

    /// Two readings alike, if they differ from what is in force and from what was refused; always when forced.
    async fn settled(&self, known: Option<(Fingerprint, &mut Option<Fingerprint>)>) -> Option<Fingerprint> {
        let mut reading = self.read().await?;
        if let Some((in_force, refused)) = known {
            if reading == in_force {
                // What was refused before is looked at again if it comes back: it may be good by then.
                *refused = None;
                self.status.send_if_modified(|status| status.error.take().is_some());
            }
            if reading == in_force || Some(reading) == *refused {
                return None;
            }
        }
        for _ in 0..MOST_READINGS {
            sleep(SETTLE).await;
            let again = self.read().await?;
            if again == reading {
                return Some(reading);
            }
            reading = again;
        }
        let error = "the files do not come to rest: something writes to them all the time";
        tracing::warn!(error, "nothing new is taken");
        self.status.send_modify(|status| status.error = Some(error.to_owned()));
        None
    }

    /// Reads all files, off the runtime's threads.
    async fn read(&self) -> Option<Fingerprint> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || fingerprint(&path)).await.ok()
    }

    /// Builds a snapshot from the files and puts it in force. `None` where they changed meanwhile.
    async fn reload(&mut self, reading: [u8; 32]) -> Option<bool> {
        let built = self.build().await;
        if self.read().await? != reading {
            return None;
        }
        let before = self.pdp.snapshot();
        match built {
            Ok((loaded, built)) => {
                self.take(loaded, built, &before).await;
                self.workshop.let_go(before);
                Some(true)
            }
            Err(error) => {
                tracing::error!(
                    error,
                    revision = before.revision.as_str(),
                    "the changed files are refused; the snapshot in force serves on"
                );
                self.status.send_modify(|status| status.error = Some(error.clone()));
                self.metric("refused");
                let listed = <[String; 0]>::default().into_iter().collect::<palisade_audit::Listed>();
                let revision = before.revision.clone();
                self.event(Event::ReloadRefused { revision, error, added: listed.clone(), removed: listed })
                    .await;
                Some(false)
            }
        }
    }

    /// Reads and builds on the thread for it: with many policies it takes a while.
    async fn build(&self) -> Result<(Loaded, Built), String> {
        let (path, clock, before) = (self.path.clone(), Arc::clone(&self.clock), self.pdp.snapshot());
        let running = self.loaded.config.clone();
        let work = move || {
            let loaded = config::load::read(&path).map_err(|error| crate::chain(&error))?;
            if loaded.config.audit != running.audit || loaded.config.telemetry != running.telemetry {
                return Err("`audit` and `telemetry` are changed by a restart only".to_owned());
            }
            if loaded.config.listen != running.listen {
                tracing::warn!("the changed `listen` comes into force with a restart");
            }
            let built = config::build::snapshot(&loaded, &Embedded::default(), Some(&before), &clock);
            built.map(|built| (loaded, built)).map_err(|error| error.to_string())
        };
        let built = self.workshop.build(work).await;
        built.unwrap_or_else(|| Err("the reload panicked".to_owned()))
    }

    async fn take(&mut self, loaded: Loaded, built: Built, before: &Snapshot) {
        let revision = built.snapshot.revision.clone();
        let (added, removed) = difference(&before.policies, &built.snapshot.policies);
        for warning in &built.warnings {
            tracing::warn!(warning, "configuration");
        }
        self.refreshers = built.snapshot.verifier.start();
        self.pdp.replace(built.snapshot);
        self.loaded = loaded;
        let now = self.clock.now().to_string();
        self.status.send_replace(ReloadStatus { taken: now, error: None, weakened: built.warnings });
        self.metric("taken");
        tracing::info!(revision = revision.as_str(), "changed files are in force");
        let previous: PolicyRevision = before.revision.clone();
        self.event(Event::ReloadTaken {
            previous,
            revision,
            added: added.into_iter().collect(),
            removed: removed.into_iter().collect(),
        })
        .await;
        self.announce_observations(built.observed).await;
    }

    async fn announce_observations(&mut self, observed: Vec<(ResourceName, String)>) {
        for (resource, until) in &observed {
            if !self.observed.contains(&(resource.clone(), until.clone())) {
                self.event(Event::ObserveOn { resource: resource.clone(), until: until.clone() }).await;
            }
        }
        for (resource, _) in std::mem::replace(&mut self.observed, observed.clone()) {
            if !observed.iter().any(|(still, _)| *still == resource) {
                self.event(Event::ObserveOff { resource }).await;
            }
        }
    }

    /// Notes the end of observations whose day has come. The decision point enforces them from that moment by itself.
    async fn end_observations(&mut self) {
        let (snapshot, now) = (self.pdp.snapshot(), self.clock.now());
        let ended = |name: &ResourceName| {
            let until = snapshot.resources.by_name(name.as_str()).and_then(|resource| resource.observe_until);
            until.is_none_or(|until: Timestamp| until <= now)
        };
        let still: Vec<_> = self.observed.iter().filter(|(name, _)| !ended(name)).cloned().collect();
        if still.len() != self.observed.len() {
            self.announce_observations(still).await;
        }
    }

    async fn event(&self, event: Event) {
        if let Err(error) = self.pdp.audit().event(EventRecord::new(self.clock.now(), event)).await {
            tracing::error!(error = %error, "an event could not be recorded");
        }
    }

    fn metric(&self, outcome: &'static str) {
        let counter = opentelemetry::global::meter("palisade").u64_counter("palisade_reloads_total").build();
        counter.add(1, &[opentelemetry::KeyValue::new("outcome", outcome)]);
    }

    /// Watches the files of the snapshot in force. What cannot be watched is read every few seconds all the same.
    fn watcher(&self, changed: &tokio::sync::mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
        if self.loaded.config.policies.reload != Reload::Watch {
            return None;
        }
        let changed = changed.clone();
        let notify = move |event: notify::Result<notify::Event>| {
            // Reading files is an event as well: answering those would wake the reader by its own reading.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            // A full channel means that a look is due already.
            let _ = changed.try_send(());
        };
        let mut watcher = notify::recommended_watcher(notify).ok()?;
        for path in config::build::roots(&self.loaded) {
            if let Err(error) = watcher.watch(&path, notify::RecursiveMode::Recursive) {
                tracing::warn!(error = %error, "a folder cannot be watched; it is read every few seconds");
            }
        }
        Some(watcher)
    }
}

/// The files and folders that a snapshot is made of, by the configuration file as it is now: a changed configuration
/// names other files, and those have to be whole, too. A configuration that cannot be read is itself all there is.
pub(crate) fn roots(path: &Path) -> Vec<PathBuf> {
    match config::load::read(path) {
        Ok(loaded) => config::build::roots(&loaded),
        Err(_) => vec![path.to_owned()],
    }
}

/// How often files are read that change from one reading to the next, before that is said.
const MOST_READINGS: usize = 20;

/// A hash over the content of every file that a snapshot is made of.
pub(crate) fn fingerprint(path: &Path) -> Fingerprint {
    let mut reading = Reading { hash: Sha256::new(), folders: 0 };
    for root in roots(path) {
        reading.add(&root, 0);
    }
    reading.hash.finalize().into()
}

/// The most folders that are looked into: links can form circles.
const MOST_FOLDERS: usize = 10_000;

struct Reading {
    hash: Sha256,
    folders: usize,
}

impl Reading {
    /// Adds a file, or every file below a folder in order of their names. Hidden files take no part, as in reading.
    fn add(&mut self, path: &Path, depth: usize) {
        let Ok(entries) = std::fs::read_dir(path) else { return self.add_file(path) };
        self.folders += 1;
        if self.folders > MOST_FOLDERS || depth > 32 {
            return;
        }
        let mut children: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        children.sort();
        let hidden =
            |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        for child in children.iter().filter(|child| !hidden(child)) {
            self.add(child, depth + 1);
        }
    }

    /// Adds a file. What is none, such as a pipe or a device, has no end: its name takes part, and loading refuses it.
    fn add_file(&mut self, path: &Path) {
        let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
        let content = if is_file { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
        self.hash.update(path.as_os_str().as_encoded_bytes());
        self.hash.update(content.len().to_be_bytes());
        self.hash.update(content);
    }
}

/// The ids of the policies that came and that went.
fn difference(before: &Policies, after: &Policies) -> (Vec<String>, Vec<String>) {
    let ids = |policies: &Policies| {
        policies.policy_ids().map(|info| info.policy.id.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let (before, after) = (ids(before), ids(after));
    (after.difference(&before).cloned().collect(), before.difference(&after).cloned().collect())
}
