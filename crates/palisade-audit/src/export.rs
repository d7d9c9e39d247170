//! The exporter: reads the segments from a checkpoint, sends OTLP log records, moves the checkpoint.
//!
//! It reads files, not memory: a receiver that is down for an hour costs an hour of disk and loses nothing. The
//! checkpoint moves after the acknowledgement and never before, so a restart sends at most one batch a second time.
//! A batch that the receiver refuses for good is halved until the record it means stands alone; that one is skipped
//! and counted, and stays in the local log. Every other failure is tried again.
//!
//! Each series goes its own way on the same connection: what goes wrong with counted refusals, whose number and
//! content strangers choose, neither delays a decision nor hides that decisions fail.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aws_lc_rs::rand;
use opentelemetry_proto::tonic::{
    collector::logs::v1::{ExportLogsServiceRequest, logs_service_client::LogsServiceClient},
    logs::v1::LogRecord,
};
use tokio::{select, sync::watch, time::sleep};
use tonic::{
    Code, Status,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    checkpoint::Position,
    log::AuditError,
    metrics::Metrics,
    otlp,
    record::Record,
    segment::{SegmentInfo, SeriesName},
    status::{SeriesState, Shared, lock},
};

/// How many records a call carries at most.
const BATCH: usize = 512;
/// How many bytes of lines a call carries at most; receivers refuse messages above 4 MiB. It holds the longest line.
const BATCH_BYTES: u64 = 1024 * 1024;
/// After how many records a busy processor is left to decisions: to read all of a batch at once takes longer than a decision may.
const A_TURN: usize = 64;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(5);
/// How long records gather before they are sent: a call and a checkpoint for each of them would cost more than the
/// decisions do.
const GATHER: Duration = Duration::from_millis(100);
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How far the life of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Records come.
    Running,
    /// No more records come; what is there is still sent, without a second attempt.
    Finishing,
    /// Nothing is sent any more.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Exporter {
    folder: PathBuf,
    instance: String,
    endpoint: Endpoint,
    shared: Arc<Shared>,
    metrics: Metrics,
}

/// The export of one series.
struct Lane<'a> {
    exporter: &'a Exporter,
    name: SeriesName,
    series: &'a SeriesState,
    client: LogsServiceClient<Channel>,
    /// How many records the next batch may have; smaller after one was refused.
    batch: usize,
    /// How many calls in a row failed.
    failures: u32,
    /// Whether the checkpoint could not be written the last time.
    unsaved: bool,
    /// What was read last, kept for its room.
    content: Vec<u8>,
}

/// What a step of a lane came to.
enum Step {
    /// There may be more to send.
    Moved,
    /// What there was is sent, for all that is known. More gathers.
    Few,
    /// All is sent.
    Idle,
    /// The next step has to wait.
    Pause(Duration),
}

/// The next records of a series.
#[derive(Debug)]
struct Batch {
    records: Vec<LogRecord>,
    /// Where the series is acknowledged up to when they are.
    end: Position,
}

/// Why a batch was not acknowledged.
#[derive(Debug)]
enum Failure {
    /// Trying again may help.
    Passing(String),
    /// The receiver does not take this batch.
    Refused(String),
}

impl Exporter {
    pub(crate) fn new(
        folder: &Path,
        endpoint: &str,
        instance: &str,
        shared: Arc<Shared>,
        metrics: Metrics,
    ) -> Result<Self, AuditError> {
        let wrong = || AuditError::Endpoint { endpoint: endpoint.to_owned() };
        let mut parsed = Endpoint::from_shared(endpoint.to_owned()).map_err(|_| wrong())?;
        match (parsed.uri().scheme_str(), parsed.uri().host()) {
            (Some("http"), Some(_)) => {}
            (Some("https"), Some(_)) => {
                let tls = ClientTlsConfig::new().with_native_roots();
                parsed = parsed.tls_config(tls).map_err(|error| AuditError::Tls {
                    endpoint: endpoint.to_owned(),
                    source: Arc::new(error),
                })?;
            }
            (Some(_) | None, Some(_) | None) => return Err(wrong()),
        }
        let endpoint = parsed.timeout(CALL).connect_timeout(CALL);
        let instance = instance.to_owned();
        Ok(Self { folder: folder.to_owned(), instance, endpoint, shared, metrics })
    }

    pub(crate) async fn run(self, phases: watch::Receiver<Phase>) {
        let client = LogsServiceClient::new(self.endpoint.connect_lazy());
        let lane = |name| Lane {
            exporter: &self,
            name,
            series: self.shared.of(name),
            client: client.clone(),
            batch: BATCH,
            failures: 0,
            unsaved: false,
            content: Vec::new(),
        };
        let decisions = lane(SeriesName::Decisions).run(phases.clone());
        let refusals = lane(SeriesName::Refusals).run(phases);
        tokio::join!(decisions, refusals);
    }
}

impl Lane<'_> {
    async fn run(mut self, mut phases: watch::Receiver<Phase>) {
        loop {
            let phase = *phases.borrow_and_update();
            if phase == Phase::Ended {
                return;
            }
            let step = select! {
                step = self.step() => step,
                // A call that is under way when the log finishes is not given up.
                () = ended(phases.clone()) => return,
            };
            let pause = match step {
                Step::Moved => continue,
                Step::Few if phase != Phase::Running => continue,
                Step::Few => Some(GATHER),
                Step::Idle => None,
                Step::Pause(pause) => Some(pause),
            };
            if phase != Phase::Running {
                return;
            }
            let wake = async {
                if pause.is_none() {
                    self.series.written.notified().await;
                }
                sleep(pause.unwrap_or(GATHER)).await;
            };
            select! {
                () = wake => {}
                changed = phases.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Sends the next batch.
    async fn step(&mut self) -> Step {
        let batch = match self.next() {
            Ok(Some(batch)) => batch,
            Ok(None) => return Step::Idle,
            Err(error) => return self.back_off(&format!("cannot read the segments: {error}")),
        };
        let (records, limit) = (batch.records.len(), self.batch);
        if records == 0 {
            self.acknowledge(batch.end, 0, 0);
            return Step::Moved;
        }
        match self.send(batch.records).await {
            Ok(rejected) => {
                self.failures = 0;
                self.batch = records.saturating_mul(2).clamp(self.batch, BATCH);
                self.note_success();
                self.acknowledge(batch.end, records as u64, rejected);
                if records < limit { Step::Few } else { Step::Moved }
            }
            Err(Failure::Passing(error)) => self.back_off(&error),
            Err(Failure::Refused(error)) => {
                self.note_failure(&error);
                if records > 1 {
                    self.batch = records / 2;
                } else {
                    tracing::error!(error, "the OTLP receiver refused a record; it stays in the local log");
                    self.acknowledge(batch.end, 1, 1);
                }
                // Short, so that one bad record holds nothing up for long, and long enough for a receiver that
                // refuses everything not to be flooded.
                Step::Pause(pause(1))
            }
        }
    }

    fn back_off(&mut self, error: &str) -> Step {
        self.note_failure(error);
        self.failures = self.failures.saturating_add(1);
        Step::Pause(pause(self.failures))
    }

    /// Sends records. Returns how many of them the receiver rejected.
    async fn send(&mut self, records: Vec<LogRecord>) -> Result<u64, Failure> {
        let resource_logs = vec![otlp::resource_logs(&self.exporter.instance, records)];
        match self.client.export(ExportLogsServiceRequest { resource_logs }).await {
            Ok(answer) => {
                let Some(partial) = answer.into_inner().partial_success else { return Ok(0) };
                if partial.rejected_log_records > 0 {
                    // OTLP forbids a second attempt, and does not say which records are meant.
                    tracing::error!(
                        rejected = partial.rejected_log_records,
                        error = partial.error_message,
                        series = self.name.as_str(),
                        "the OTLP receiver rejected records; they stay in the local log"
                    );
                }
                Ok(u64::try_from(partial.rejected_log_records).unwrap_or(0))
            }
            Err(status) => Err(failure(&status)),
        }
    }

    /// Moves the checkpoint behind what was acknowledged.
    fn acknowledge(&mut self, end: Position, records: u64, rejected: u64) {
        let shared = &self.exporter.shared;
        let mut checkpoint = lock(&shared.checkpoint);
        checkpoint.set(self.name, end);
        // On a full disk the file cannot be written, and only what is acknowledged may be deleted to make room: it
        // counts as acknowledged all the same. After a restart it would be sent once more.
        let stored = checkpoint.store(&self.exporter.folder);
        drop(checkpoint);
        if let (Err(error), false) = (&stored, self.unsaved) {
            tracing::warn!(%error, "cannot write the export checkpoint");
        }
        self.unsaved = stored.is_err();
        let accepted = records.saturating_sub(rejected);
        shared.exported.fetch_add(accepted, Ordering::Relaxed);
        shared.rejected.fetch_add(rejected, Ordering::Relaxed);
        self.exporter.metrics.exported.add(accepted, &[]);
    }

    fn note_success(&self) {
        if lock(&self.series.last_export_error).take().is_some() {
            tracing::info!(series = self.name.as_str(), "the OTLP receiver takes records again");
        }
    }

    fn note_failure(&self, error: &str) {
        self.exporter.metrics.export_failures.add(1, &[]);
        let before = lock(&self.series.last_export_error).replace(error.to_owned());
        if before.is_none() {
            let series = self.name.as_str();
            tracing::warn!(error, series, "records cannot be exported; they wait in the local log");
        }
    }

    /// Reads the next records, as far as they are committed.
    fn next(&mut self) -> io::Result<Option<Batch>> {
        let shared = &self.exporter.shared;
        let position = shared.acknowledged(self.name);
        let segments = shared.segments(self.name).clone();
        let Some((segment, offset)) = start(position, &segments) else { return Ok(None) };
        let wanted = usize::try_from((segment.length - offset).min(BATCH_BYTES)).unwrap_or(0);
        let content = &mut self.content;
        content.resize(wanted, 0);
        match File::open(self.name.path(&self.exporter.folder, segment.sequence))
            .and_then(|file| file.read_exact_at(content, offset))
        {
            Ok(()) => {}
            // The quota deleted it meanwhile: the next round begins behind it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut records = Vec::new();
        let mut end = offset;
        for line in content.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            if records.len() >= self.batch {
                break;
            }
            end += line.len() as u64;
            if records.len() % A_TURN == A_TURN - 1 {
                std::thread::yield_now();
            }
            match Record::read(line) {
                Ok(record) => records.extend(otlp::log_record(&record)),
                Err(error) => {
                    tracing::error!(%error, segment = segment.sequence, "a line of the log cannot be read");
                    shared.rejected.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if end == offset {
            // No line is that long: the file was damaged from outside, and must not stop what stands behind it.
            tracing::error!(
                segment = segment.sequence,
                offset,
                "a part of the log holds no line and is passed over"
            );
            end += content.len() as u64;
        }
        Ok(Some(Batch { records, end: Position { sequence: segment.sequence, offset: end } }))
    }
}

/// The first segment that has something unacknowledged, and where that begins.
fn start(position: Position, segments: &[SegmentInfo]) -> Option<(SegmentInfo, u64)> {
    segments
        .iter()
        .map(|segment| (*segment, position.within(segment.sequence)))
        .find(|(segment, acknowledged)| *acknowledged < segment.length)
}

/// Whether a failed call may be tried again (OTLP specification, "Failures"). Wrong credentials and a wrong address
/// are tried again too: those are for the operator to mend, and no reason to lose records.
fn failure(status: &Status) -> Failure {
    let error = format!("{}: {}", status.code().description(), status.message());
    match status.code() {
        // Too large a message is `OutOfRange` with tonic and `ResourceExhausted` with grpc-go.
        Code::InvalidArgument | Code::OutOfRange => Failure::Refused(error),
        Code::ResourceExhausted if status.message().contains("larger than max") => Failure::Refused(error),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => Failure::Passing(error),
    }
}

/// Twice as long after every failure, less a random part of up to a half.
fn pause(failures: u32) -> Duration {
    let longest =
        SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_PAUSE);
    let mut random = [0; 1];
    // Without random bytes there is no jitter, and the pause is still right.
    let _unavailable = rand::fill(&mut random);
    longest - (longest / 512).saturating_mul(u32::from(random[0]))
}

/// Comes when nothing is to be sent any more, also when the log was dropped without a shutdown.
async fn ended(mut phases: watch::Receiver<Phase>) {
    let _dropped = phases.wait_for(|phase| *phase == Phase::Ended).await;
}

#[cfg(test)]
mod tests;
