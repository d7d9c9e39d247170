//! The handle of the decision log.
//!
//! `record` turns a record into a line, queues it, waits for what the durability promises, and only then makes the
//! receipt without which no permit can be built. One thread writes (`writer`), one exports (`export`); neither shares
//! a runtime with the decisions, so a slow disk or collector costs no worker.
//!
//! INVARIANT: [`AuditReceipt`] is constructed here and nowhere else, and only after the writer's answer (or, with
//! `queued`, after the queue took the record from a log whose last write succeeded).

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use aws_lc_rs::hmac;
use palisade_model::{Clock, DecisionId};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    checkpoint::Checkpoint,
    event::EventRecord,
    export::{Exporter, Phase},
    folder::{self, FolderProblem},
    line,
    metrics::Metrics,
    record::{DecisionRecord, Record},
    segment::SeriesName,
    settings::{AuditSettings, Durability},
    shorten::{self, LONGEST_LINE},
    status::{AuditStatus, Shared, lock},
    writer::{Command, Entry, Recorded, Writer},
};

/// How many records wait for the writer at most. Who comes later waits for room, against its own deadline.
const QUEUE: usize = 1_024;
/// How long a shutdown waits for the exporter to send what is left.
const LAST_EXPORT: Duration = Duration::from_secs(2);
/// How long a shutdown waits for a thread that was told to stop.
const THREAD_END: Duration = Duration::from_secs(1);

/// The decision log of one folder. Clones share it.
#[derive(Debug, Clone)]
pub struct AuditLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    durability: Durability,
    commands: mpsc::Sender<Command>,
    key: hmac::Key,
    phase: watch::Sender<Phase>,
    writer_ended: watch::Receiver<bool>,
    exporter_ended: watch::Receiver<bool>,
    /// Held while the log is open; dropped last.
    claim: Mutex<Option<Arc<File>>>,
}

/// The proof that a decision is recorded as the configuration wants it. Without one no permit can be built.
#[derive(Debug)]
pub struct AuditReceipt {
    id: DecisionId,
    dropped: bool,
}

impl AuditReceipt {
    /// The id of the record that holds the decision: its own, or that of the record which counts refusals of its
    /// kind. With `queued` it is always its own.
    #[must_use]
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// Whether the record was dropped because the log is full and `on_full: drop` is set.
    #[must_use]
    pub fn dropped(&self) -> bool {
        self.dropped
    }
}

/// Why the log cannot be opened, or a decision not be recorded.
#[derive(Debug, Clone, Error)]
pub enum AuditError {
    /// Another process has the folder open.
    #[error("the decision log `{path}` is in use by another process: give each its own `audit.path`")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The quota is below the smallest that works.
    #[error("a quota of {quota} bytes is too small: `audit.quota` is at least 1MiB")]
    QuotaTooSmall {
        /// The quota.
        quota: u64,
    },
    /// The installation's key is damaged.
    #[error("`{path}` is not a key of 32 bytes: restore it, or remove it to have a new one made")]
    Key {
        /// The file of the key.
        path: PathBuf,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// The OTLP endpoint is no URL, or of another scheme.
    #[error("`{endpoint}` is not an OTLP endpoint: use `http://host:4317` or `https://host:4317`")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
    },
    /// TLS to the OTLP endpoint cannot be set up.
    #[error("cannot set up TLS for `{endpoint}`: has the machine a store of root certificates?")]
    Tls {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        source: Arc<tonic::transport::Error>,
    },
    /// A file operation failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Others could change what is in the folder.
    #[error("the folder of the decision log, `{path}`, {problem}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and the fix.
        problem: FolderProblem,
    },
    /// The quota is used up, and nothing may be deleted.
    #[error("the decision log is full: nothing may be deleted before the OTLP receiver has it")]
    Full,
    /// The event is longer than a line may be. A decision is not: it is cut to what fits.
    #[error("the record takes {bytes} bytes, more than a line may have")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The record cannot be turned into JSON.
    #[error("the record cannot be written as JSON")]
    Encode(#[source] Arc<serde_json::Error>),
    /// The log is closed.
    #[error("the decision log is closed")]
    Closed,
}

impl AuditError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }
}

impl AuditLog {
    /// Opens the log of a folder: creates it, takes its lock, repairs what a crash left, starts its threads.
    ///
    /// # Errors
    /// When another process has the folder, a setting is wrong, or the folder cannot be read and written.
    pub fn open(settings: AuditSettings, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        if settings.quota < AuditSettings::MIN_QUOTA {
            return Err(AuditError::QuotaTooSmall { quota: settings.quota });
        }
        let path = &settings.path;
        let claim = Arc::new(folder::claim(path)?);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &folder::key(path)?);
        let checkpoint = Checkpoint::load(path).map_err(|error| AuditError::io("read", path, error))?;
        let shared = Arc::new(Shared::new(settings.quota, settings.otlp.is_some(), checkpoint));
        let metrics = Metrics::new(&shared);

        let (phase, phases) = watch::channel(Phase::Running);
        let exporter = match &settings.otlp {
            Some(endpoint) => {
                let instance = mac(&key, "service.instance.id");
                Some(Exporter::new(path, endpoint, &instance, Arc::clone(&shared), metrics.clone())?)
            }
            None => None,
        };
        let writer = Writer::open(&settings, clock, Arc::clone(&shared), metrics)?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let started =
            |task| start(task, &claim).map_err(|error| AuditError::io("start a thread for", path, error));
        let writer_ended = started(Task { name: "audit-writer", run: Box::pin(writer.run(queue)) })?;
        let exporter_ended = match exporter {
            Some(exporter) => started(Task { name: "audit-export", run: Box::pin(exporter.run(phases)) })?,
            None => watch::channel(true).1,
        };
        let inner = Inner {
            shared,
            durability: settings.durability,
            commands,
            key,
            phase,
            writer_ended,
            exporter_ended,
            claim: Mutex::new(Some(claim)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Records a decision. Waits for room in the queue and for what the durability promises; the caller puts its
    /// deadline around it. A caller that gives up answers with a denial: its record is written late and says so, and
    /// where there was no room for it in the queue, it is counted.
    ///
    /// # Errors
    /// When the record is not in the log: the decision must then become a denial, and is counted as one.
    pub async fn record(&self, record: DecisionRecord) -> Result<AuditReceipt, AuditError> {
        let id = record.id;
        if record.is_refusal() {
            return self.submit(SeriesName::Refusals, id, Entry::Refusal(Box::new(record))).await;
        }
        let line = shorten::line_of(record).map_err(|error| AuditError::Encode(Arc::new(error)))?;
        self.submit(SeriesName::Decisions, id, Entry::Line { id, line }).await
    }

    /// Records an event.
    ///
    /// # Errors
    /// When the event is not in the log.
    pub async fn event(&self, event: EventRecord) -> Result<(), AuditError> {
        let id = event.id;
        // What only informs goes where the counted refusals are, which have a quota of their own: however much of it there
        // is, it makes no room scarce for decisions.
        let series = if event.event.only_informs() { SeriesName::Refusals } else { SeriesName::Decisions };
        let line = encode(&Record::Event(Box::new(event)))?;
        self.submit(series, id, Entry::Line { id, line }).await.map(|_receipt| ())
    }

    async fn submit(
        &self,
        series: SeriesName,
        id: DecisionId,
        entry: Entry,
    ) -> Result<AuditReceipt, AuditError> {
        let mut unqueued = Unqueued { shared: &self.inner.shared, entry: Some(entry) };
        let room = self.inner.commands.reserve().await.map_err(|_| AuditError::Closed)?;
        let Some(entry) = unqueued.entry.take() else { return Err(AuditError::Closed) };
        // While the disk fails, `queued` waits like `written`: a queue in front of a broken disk is no record.
        let failing = self.inner.shared.of(series).health.is_failing();
        if self.inner.durability == Durability::Queued && !failing {
            room.send(Command::Record { entry, reply: None });
            return Ok(AuditReceipt { id, dropped: false });
        }
        let (reply, answer) = oneshot::channel();
        room.send(Command::Record { entry, reply: Some(reply) });
        let Recorded { id, dropped } = answer.await.map_err(|_| AuditError::Closed)??;
        Ok(AuditReceipt { id, dropped })
    }

    /// `hmac-sha256:<hex>` of the digest of a call's arguments, with the installation's key: equal arguments are seen
    /// to be equal, and nobody without the key can try out what they were.
    #[must_use]
    pub fn input_digest(&self, canonical_arguments_digest: &str) -> String {
        format!("hmac-sha256:{}", mac(&self.inner.key, canonical_arguments_digest))
    }

    /// The state of the log.
    #[must_use]
    pub fn status(&self) -> AuditStatus {
        self.inner.shared.status()
    }

    /// Writes what is queued and counted, gives the exporter two seconds to send the rest, and closes the log. What
    /// could not be sent is sent after the next start.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.inner.commands.send(Command::Finish(reply)).await.is_ok() && done.await.is_err() {
            tracing::error!("the decision log's writer ended before it had finished");
        }
        self.inner.phase.send_replace(Phase::Finishing);
        ended(&self.inner.exporter_ended, LAST_EXPORT).await;
        self.inner.phase.send_replace(Phase::Ended);
        ended(&self.inner.exporter_ended, THREAD_END).await;
        ended(&self.inner.writer_ended, THREAD_END).await;
        lock(&self.inner.claim).take();
    }
}

/// What waits for room in the queue. Where its caller gives up before there is any, the writer finds it counted: in a
/// bounded table, so that a disk that hangs costs no memory.
struct Unqueued<'a> {
    shared: &'a Shared,
    entry: Option<Entry>,
}

impl Drop for Unqueued<'_> {
    fn drop(&mut self) {
        if let Some(refusal) = self.entry.take().and_then(Entry::into_refusal) {
            lock(&self.shared.unqueued).count(refusal);
        }
    }
}

fn encode(record: &Record) -> Result<Vec<u8>, AuditError> {
    let line = line::encode(record).map_err(|error| AuditError::Encode(Arc::new(error)))?;
    if line.len() > LONGEST_LINE {
        return Err(AuditError::TooLong { bytes: line.len() });
    }
    Ok(line)
}

fn mac(key: &hmac::Key, text: &str) -> String {
    hex::encode(hmac::sign(key, text.as_bytes()))
}

/// Waits for a thread to end, but not longer than told. A thread that a panic stopped has ended too.
async fn ended(thread: &watch::Receiver<bool>, longest: Duration) {
    let mut thread = thread.clone();
    if timeout(longest, thread.wait_for(|ended| *ended)).await.is_err() {
        tracing::debug!("a thread of the decision log is still at work");
    }
}

/// What a thread does.
struct Task {
    name: &'static str,
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Starts a thread with a runtime of its own. It keeps the folder claimed until it ends, and then says so.
fn start(task: Task, claim: &Arc<File>) -> io::Result<watch::Receiver<bool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (end, ended) = watch::channel(false);
    let claim = Arc::clone(claim);
    thread::Builder::new().name(task.name.to_owned()).spawn(move || {
        runtime.block_on(task.run);
        // The runtime goes before the claim: with it ends every connection of the thread.
        drop(runtime);
        drop(claim);
        end.send_replace(true);
    })?;
    Ok(ended)
}

#[cfg(test)]
mod tests;
