//! The one thread that writes: group commit.
//!
//! It takes all that is queued, makes room, writes the lines in one go, counts the refusals, and only then answers
//! every caller of the batch. Once a second it turns counted refusals into records.
//!
//! It must not answer before what the durability promises has happened, and must not write a record whose caller has
//! given up: that decision was answered as a denial.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use palisade_model::{Clock, DecisionId};
use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use crate::{
    line,
    log::AuditError,
    metrics::Metrics,
    record::{DecisionRecord, Record},
    refusals::{Recovered, Refusals},
    segment::{Opened, Series, SeriesName},
    settings::{AuditSettings, Durability, OnFull},
    status::{Shared, lock},
};

/// How many commands a batch takes at most.
const BATCH: usize = 256;
/// How many bytes of lines are written in one go, so that a batch fits the smallest quota.
const BATCH_BYTES: usize = 512 * 1024;
/// How often counted refusals become records.
const SECOND: Duration = Duration::from_secs(1);

type Reply = Option<oneshot::Sender<Result<Recorded, AuditError>>>;

/// What the writer is asked for. Without a reply nobody waits (`queued`).
#[derive(Debug)]
pub(crate) enum Command {
    /// A line of the decisions series.
    Append { id: DecisionId, line: Vec<u8>, reply: Reply },
    /// A refusal before a subject is known.
    Count { record: Box<DecisionRecord>, reply: Reply },
    /// Write all, and end.
    Finish(oneshot::Sender<()>),
}

/// What became of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    pub(crate) id: DecisionId,
    pub(crate) dropped: bool,
}

#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    metrics: Metrics,
    on_full: OnFull,
    decisions: Series,
    refusals: Series,
    counted: Refusals,
}

/// What became of a batch of lines.
#[derive(Debug, Clone)]
enum Commit {
    Written,
    Dropped,
    Failed(AuditError),
}

impl Writer {
    /// Opens the series, and writes what a crash left unwritten.
    pub(crate) fn open(
        settings: &AuditSettings,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        metrics: Metrics,
    ) -> Result<Self, AuditError> {
        let failed = |error| AuditError::io("recover", &settings.path, error);
        let (path, now) = (&settings.path, clock.now());
        let sync = settings.durability == Durability::Synced;
        let open = |series| Series::open(series, path, &shared, sync, now).map_err(failed);
        let Opened { series: decisions, torn: torn_decisions } = open(SeriesName::Decisions)?;
        let Opened { series: refusals, torn: torn_refusals } = open(SeriesName::Refusals)?;
        let newest = refusals.newest().map_err(failed)?;
        let Recovered { refusals: counted, records } =
            Refusals::recover(path, &newest, sync).map_err(failed)?;
        let on_full = settings.on_full;
        let mut writer =
            Self { path: path.clone(), clock, shared, metrics, on_full, decisions, refusals, counted };
        for event in torn_decisions.into_iter().chain(torn_refusals) {
            tracing::warn!(event = ?event.event, "the end of a segment was torn");
            let line = line::encode(&Record::Event(Box::new(event))).map_err(|error| failed(error.into()))?;
            // A full log must not keep the service from starting; the torn end itself is safe beside its segment.
            if let Commit::Failed(error) = writer.append(&line) {
                tracing::error!(%error, "cannot record that the end of a segment was torn");
            }
        }
        writer.write_refusals(&records).map_err(failed)?;
        writer.counted.clear().map_err(failed)?;
        Ok(writer)
    }

    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut second = interval(SECOND);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut finished = Vec::new();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            select! {
                received = queue.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        break;
                    }
                    finished.extend(self.commit(&mut batch));
                    if !finished.is_empty() {
                        queue.close();
                    }
                }
                _ = second.tick() => self.each_second(),
            }
        }
        self.each_second();
        for done in finished {
            // Who asked may have stopped waiting.
            let _gone = done.send(());
        }
    }

    fn each_second(&mut self) {
        if let Err(error) = self.flush_refusals() {
            // The counts stay in the table and in their file, and are tried again.
            self.note(Some(&error.to_string()));
        }
        self.shared.sample(self.clock.now());
    }

    /// Writes a batch and answers it. Returns who waits for the end.
    fn commit(&mut self, batch: &mut Vec<Command>) -> Vec<oneshot::Sender<()>> {
        let (mut lines, mut appended, mut refused, mut finished) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for command in batch.drain(..) {
            match command {
                Command::Append { reply, .. } | Command::Count { reply, .. } if gave_up(&reply) => {}
                Command::Append { id, line, reply } => {
                    if lines.len() + line.len() > BATCH_BYTES {
                        let commit = self.append(&lines);
                        self.answer(std::mem::take(&mut appended), &commit);
                        lines.clear();
                    }
                    lines.extend(line);
                    appended.push((id, reply));
                }
                Command::Count { record, reply } => refused.push((self.counted.count(*record), reply)),
                Command::Finish(done) => finished.push(done),
            }
        }
        if !appended.is_empty() {
            let commit = self.append(&lines);
            self.answer(appended, &commit);
        }
        if !refused.is_empty() {
            let commit = match self.counted.store() {
                Ok(()) => Commit::Written,
                Err(error) => Commit::Failed(AuditError::io("write", &self.path, error)),
            };
            self.answer(refused, &commit);
        }
        self.shared.written.notify_one();
        finished
    }

    /// Appends lines to the decisions series, if there is room for them.
    fn append(&mut self, lines: &[u8]) -> Commit {
        let now = self.clock.now();
        let mut written = self.decisions.make_room(lines.len() as u64, false).and_then(|room| {
            if room.fits { self.decisions.append(lines, now) } else { Err(io::ErrorKind::StorageFull.into()) }
        });
        // The disk can be full before the quota is: one more segment may go.
        if matches!(&written, Err(error) if is_full(error))
            && self.decisions.make_room(0, true).is_ok_and(|room| room.fits)
        {
            written = self.decisions.append(lines, now);
        }
        match written {
            Ok(()) => Commit::Written,
            Err(error) if is_full(&error) && self.on_full == OnFull::Drop => Commit::Dropped,
            Err(error) if is_full(&error) => Commit::Failed(AuditError::Full),
            Err(error) => Commit::Failed(AuditError::io("write", &self.path, error)),
        }
    }

    fn answer(&self, callers: Vec<(DecisionId, Reply)>, commit: &Commit) {
        let number = callers.len() as u64;
        match commit {
            Commit::Written => {
                self.note(None);
                self.metrics.records.add(number, &[]);
            }
            Commit::Dropped => {
                self.note(Some("the log is full; records are dropped"));
                self.count_dropped(number);
            }
            Commit::Failed(error) => {
                self.note(Some(&describe(error)));
                // Who does not wait cannot turn it into a denial.
                self.count_dropped(callers.iter().filter(|(_, reply)| reply.is_none()).count() as u64);
            }
        }
        for (id, reply) in callers {
            let answer = match commit {
                Commit::Written => Ok(Recorded { id, dropped: false }),
                Commit::Dropped => Ok(Recorded { id, dropped: true }),
                Commit::Failed(error) => Err(error.clone()),
            };
            if let Some(reply) = reply {
                // A caller that gives up at this very moment answers with a denial of its own.
                let _gone = reply.send(answer);
            }
        }
    }

    fn count_dropped(&self, number: u64) {
        if number > 0 {
            self.shared.dropped.fetch_add(number, Ordering::Relaxed);
            self.metrics.dropped.add(number, &[]);
        }
    }

    /// Notes whether the last write failed; logs when that changes.
    fn note(&self, error: Option<&str>) {
        let failed = self.shared.failing.swap(error.is_some(), Ordering::AcqRel);
        match (failed, error) {
            (false, Some(error)) => tracing::error!(error, "the decision log cannot be written"),
            (true, None) => tracing::info!("the decision log is written again"),
            (false, None) | (true, Some(_)) => {}
        }
        if failed || error.is_some() {
            *lock(&self.shared.last_write_error) = error.map(str::to_owned);
        }
    }

    /// Turns counted refusals into records.
    fn flush_refusals(&mut self) -> io::Result<()> {
        let records = self.counted.records();
        if records.is_empty() {
            return Ok(());
        }
        self.write_refusals(&records)?;
        self.counted.clear()
    }

    fn write_refusals(&mut self, records: &[DecisionRecord]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for record in records {
            lines.extend(line::encode(&Record::Decision(Box::new(record.clone())))?);
        }
        let room = self.refusals.make_room(lines.len() as u64, false)?;
        if room.unacknowledged > 0 {
            tracing::warn!(
                bytes = room.unacknowledged,
                "counted refusals were deleted before they were exported"
            );
        }
        self.refusals.append(&lines, self.clock.now())?;
        self.shared.written.notify_one();
        Ok(())
    }
}

fn gave_up(reply: &Reply) -> bool {
    reply.as_ref().is_some_and(oneshot::Sender::is_closed)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error with what the operating system said.
fn describe(error: &AuditError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
