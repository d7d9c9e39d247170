//! The one thread that writes: group commit.
//!
//! It takes all that is queued, makes room, writes the lines in one go, counts the refusals, and only then answers
//! every caller of the batch. Once a second it turns counted refusals into records, and finds out whether a series
//! that failed can be written again.
//!
//! It must not answer before what the durability promises has happened, and must not write as a permit what was
//! answered as a denial, because its caller had given up. What it cannot write is counted: the decisions that were
//! answered are those in the log, unless the operator chose to drop some.

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
    health::Writing,
    line,
    log::AuditError,
    metrics::Metrics,
    record::{DecisionRecord, Record},
    refusals::{self, Recovered, Refusals},
    segment::{Opened, Series, SeriesName},
    settings::{AuditSettings, Durability, OnFull},
    shorten::LONGEST_LINE,
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
    /// Record it.
    Record { entry: Entry, reply: Reply },
    /// Write all, and end.
    Finish(oneshot::Sender<()>),
}

/// What is to be recorded.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A line of the decisions series.
    Line { id: DecisionId, line: Vec<u8> },
    /// A refusal before a subject is known.
    Refusal(Box<DecisionRecord>),
}

impl Entry {
    /// The refusal that it is counted as where it cannot be recorded as it is; `None` for an event.
    pub(crate) fn into_refusal(self) -> Option<DecisionRecord> {
        match self {
            Self::Line { line, .. } => refusals::unrecorded(&line),
            Self::Refusal(record) => Some(*record),
        }
    }
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
    /// The length of the last lines that were not written.
    unwritten: usize,
}

/// A line, and who waits for it.
struct Waiting {
    id: DecisionId,
    line: Vec<u8>,
    reply: Reply,
}

/// What became of a batch of lines.
#[derive(Debug, Clone)]
enum Commit {
    Written,
    Dropped,
    Failed(AuditError),
}

impl Commit {
    fn as_writing(&self) -> Writing {
        match self {
            Self::Written => Writing::Written,
            Self::Dropped => Writing::Dropped,
            Self::Failed(error) => Writing::Failed(describe(error)),
        }
    }
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
        // Before anything is written where something acknowledged once was.
        if SeriesName::ALL.map(|series| shared.clamp_checkpoint(series)).contains(&true) {
            let checkpoint = *lock(&shared.checkpoint);
            checkpoint.store_durably(path).map_err(failed)?;
        }
        let newest = refusals.newest().map_err(failed)?;
        let Recovered { refusals: counted, records } =
            Refusals::recover(path, &newest, sync).map_err(failed)?;
        let on_full = settings.on_full;
        let path = path.clone();
        let mut writer =
            Self { path, clock, shared, metrics, on_full, decisions, refusals, counted, unwritten: 0 };
        for event in torn_decisions.into_iter().chain(torn_refusals) {
            tracing::warn!(event = ?event.event, "the end of a segment was torn");
            let line = line::encode(&Record::Event(Box::new(event))).map_err(|error| failed(error.into()))?;
            // A full log must not keep the service from starting; the torn end itself is safe beside its segment.
            if let Commit::Failed(error) = writer.append_lines(&line) {
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
                    gather(&mut queue, &mut batch);
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
        let unqueued = std::mem::take(&mut *lock(&self.shared.unqueued));
        self.counted.merge(unqueued);
        // After an error the counts stay in the table and in their file, and are tried again.
        let flushed = match self.flush_refusals() {
            Ok(()) => Writing::Written,
            Err(error) => Writing::Failed(error.to_string()),
        };
        self.note(SeriesName::Refusals, flushed);
        if self.shared.of(SeriesName::Decisions).health.in_trouble() {
            self.probe();
        }
        for series in SeriesName::ALL {
            self.shared.of(series).health.each_second(series);
        }
        self.shared.sample(self.clock.now());
    }

    /// Finds out whether decisions can be recorded again. Without this, a service that gets no requests because it is
    /// not ready would never see that its disk is well.
    fn probe(&mut self) {
        let (bytes, now) = (self.unwritten.min(LONGEST_LINE), self.clock.now());
        let commit = self.with_room(bytes, |decisions| decisions.probe(bytes, now));
        let writing = match commit.as_writing() {
            Writing::Written => Writing::Possible,
            still @ (Writing::Possible | Writing::Dropped | Writing::Failed(_)) => still,
        };
        self.note(SeriesName::Decisions, writing);
        // The probe may have begun a segment, whose first line is to be passed over.
        self.shared.of(SeriesName::Decisions).written.notify_one();
    }

    fn note(&self, series: SeriesName, writing: Writing) {
        self.shared.of(series).health.note(series, writing);
    }

    /// Writes a batch and answers it. Returns who waits for the end.
    fn commit(&mut self, batch: &mut Vec<Command>) -> Vec<oneshot::Sender<()>> {
        let (mut lines, mut bytes, mut counted, mut finished) =
            (Vec::<Waiting>::new(), 0, Vec::new(), Vec::new());
        for command in batch.drain(..) {
            match command {
                Command::Record { entry: Entry::Line { id, line }, reply } => {
                    let line = if gave_up(&reply) { late(line) } else { line };
                    if bytes + line.len() > BATCH_BYTES {
                        self.append(std::mem::take(&mut lines));
                        bytes = 0;
                    }
                    bytes += line.len();
                    lines.push(Waiting { id, line, reply });
                }
                Command::Record { entry: Entry::Refusal(record), reply } => {
                    counted.push((self.counted.count(*record), reply));
                }
                Command::Finish(done) => finished.push(done),
            }
        }
        if !lines.is_empty() {
            self.append(lines);
        }
        if !counted.is_empty() {
            self.store_counts(counted);
        }
        finished
    }

    /// Appends lines to the decisions series, if there is room for them, and answers who waits for them.
    fn append(&mut self, waiting: Vec<Waiting>) {
        let lines = waiting.iter().map(|waiting| waiting.line.as_slice()).collect::<Vec<_>>().concat();
        let commit = self.append_lines(&lines);
        let number = waiting.len() as u64;
        match &commit {
            Commit::Written => self.metrics.records.add(number, &[]),
            Commit::Dropped => self.count_dropped(number),
            // Who does not wait cannot turn it into a denial.
            Commit::Failed(_) => {
                let lost = waiting.iter().filter(|waiting| waiting.reply.is_none()).count();
                self.count_dropped(lost as u64);
            }
        }
        for Waiting { id, line, reply } in waiting {
            let Some(reply) = reply else { continue };
            let answer = match &commit {
                Commit::Written => Ok(Recorded { id, dropped: false }),
                Commit::Dropped => Ok(Recorded { id, dropped: true }),
                Commit::Failed(error) => {
                    // Nothing was promised to anybody, so it may wait for the next second.
                    if let Some(refusal) = refusals::unrecorded(&line) {
                        self.counted.count(refusal);
                    }
                    Err(error.clone())
                }
            };
            // A caller that gives up at this very moment answers with a denial of its own.
            let _gone = reply.send(answer);
        }
    }

    /// Stores what was counted, and answers who waits for it.
    fn store_counts(&mut self, counted: Vec<(DecisionId, Reply)>) {
        let stored = self.counted.store().map_err(|error| AuditError::io("write", &self.path, error));
        let writing = match &stored {
            Ok(()) => Writing::Written,
            Err(error) => Writing::Failed(describe(error)),
        };
        self.note(SeriesName::Refusals, writing);
        for (id, reply) in counted {
            if let Some(reply) = reply {
                let _gone = reply.send(stored.clone().map(|()| Recorded { id, dropped: false }));
            }
        }
    }

    fn append_lines(&mut self, lines: &[u8]) -> Commit {
        let now = self.clock.now();
        let commit = self.with_room(lines.len(), |decisions| decisions.append(lines, now));
        let writing = commit.as_writing();
        if writing == Writing::Written {
            self.shared.of(SeriesName::Decisions).written.notify_one();
        } else {
            self.unwritten = lines.len();
        }
        self.note(SeriesName::Decisions, writing);
        commit
    }

    /// Writes to the decisions series, where there is room.
    fn with_room(&mut self, bytes: usize, write: impl Fn(&mut Series) -> io::Result<()>) -> Commit {
        let mut written = self.decisions.make_room(bytes as u64, false).and_then(|fits| {
            if fits { write(&mut self.decisions) } else { Err(io::ErrorKind::StorageFull.into()) }
        });
        // The disk can be full before the quota is: one more segment may go.
        if matches!(&written, Err(error) if is_full(error))
            && self.decisions.make_room(0, true).is_ok_and(|fits| fits)
        {
            written = write(&mut self.decisions);
        }
        match written {
            Ok(()) => Commit::Written,
            Err(error) if is_full(&error) && self.on_full == OnFull::Drop => Commit::Dropped,
            Err(error) if is_full(&error) => Commit::Failed(AuditError::Full),
            Err(error) => Commit::Failed(AuditError::io("write", &self.path, error)),
        }
    }

    fn count_dropped(&self, number: u64) {
        if number > 0 {
            self.shared.dropped.fetch_add(number, Ordering::Relaxed);
            self.metrics.dropped.add(number, &[]);
        }
    }

    /// Turns counted refusals into records.
    fn flush_refusals(&mut self) -> io::Result<()> {
        let records = self.counted.records();
        if records.is_empty() {
            // The file may still lack what a failed attempt could not write.
            return self.counted.store();
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
        // Where nothing more can be deleted, one segment above the quota is the lesser evil.
        let _fits = self.refusals.make_room(lines.len() as u64, false)?;
        self.refusals.append(&lines, self.clock.now())?;
        self.metrics.records.add(records.iter().map(|record| record.count).sum(), &[]);
        self.shared.of(SeriesName::Refusals).written.notify_one();
        Ok(())
    }
}

/// Lets threads that are about to record something do so first, and takes that, too. Where a processor is free this
/// costs nothing; where none is, one write and one change of threads serve many decisions instead of one.
fn gather(queue: &mut mpsc::Receiver<Command>, batch: &mut Vec<Command>) {
    std::thread::yield_now();
    while batch.len() < BATCH {
        let Ok(command) = queue.try_recv() else { return };
        batch.push(command);
    }
}

/// The line of a decision whose caller gave up, as what was answered instead.
fn late(line: Vec<u8>) -> Vec<u8> {
    let late = match Record::read(&line) {
        Ok(Record::Decision(record)) => line::encode(&Record::Decision(Box::new(record.without_receipt()))),
        Ok(Record::Event(_) | Record::Segment(_)) => return line,
        Err(error) => Err(error),
    };
    late.unwrap_or_else(|error| {
        tracing::error!(%error, "a record that came too late cannot be read, and is written as it is");
        line
    })
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
