//! The exporter: reads the segments from a checkpoint, sends OTLP log records, moves the checkpoint.
//!
//! It reads files, not memory: a receiver that is down for an hour costs an hour of disk and loses nothing. The
//! checkpoint moves after the acknowledgement and never before, so a restart sends at most one batch a second time.
//! A batch that the receiver refuses for good is halved until the record it means stands alone; that one is skipped
//! and counted, and stays in the local log. Every other failure is tried again.

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
    segment::{SegmentInfo, SeriesName},
    status::{Shared, lock},
};

/// How many records a call carries at most.
const BATCH: usize = 512;
/// How many bytes of lines a call carries at most; receivers refuse messages above 4 MiB. It holds the longest line.
const BATCH_BYTES: u64 = 1024 * 1024;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(5);
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
    /// How many records the next batch may have; smaller after one was refused.
    batch: usize,
}

/// The next records of a series.
#[derive(Debug)]
struct Batch {
    series: SeriesName,
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
        Ok(Self { folder: folder.to_owned(), instance, endpoint, shared, metrics, batch: BATCH })
    }

    pub(crate) async fn run(mut self, mut phases: watch::Receiver<Phase>) {
        let mut client = LogsServiceClient::new(self.endpoint.connect_lazy());
        let mut failures = 0;
        loop {
            let phase = *phases.borrow_and_update();
            if phase == Phase::Ended {
                return;
            }
            let round = select! {
                round = self.round(&mut client) => round,
                // A call that is under way when the log finishes is not given up.
                () = ended(phases.clone()) => return,
            };
            let pause = match round {
                Ok(true) => {
                    failures = 0;
                    continue;
                }
                Ok(false) => None,
                Err(error) => {
                    self.note_failure(&error, failures);
                    failures += 1;
                    Some(pause(failures))
                }
            };
            if phase != Phase::Running {
                return;
            }
            let shared = Arc::clone(&self.shared);
            let wake = async {
                match pause {
                    Some(pause) => sleep(pause).await,
                    None => shared.written.notified().await,
                }
            };
            select! {
                () = wake => {}
                changed = phases.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Sends the next batch of each series. Returns whether there was any.
    async fn round(&mut self, client: &mut LogsServiceClient<Channel>) -> Result<bool, String> {
        let mut sent = false;
        for series in SeriesName::ALL {
            let Some(batch) =
                self.next(series).map_err(|error| format!("cannot read the segments: {error}"))?
            else {
                continue;
            };
            sent = true;
            let end = batch.end;
            let (records, rejected) = match self.send(client, &batch).await {
                Ok(rejected) => {
                    self.batch = BATCH;
                    (batch.records.len() as u64, rejected)
                }
                Err(Failure::Refused(error)) if batch.records.len() > 1 => {
                    tracing::debug!(
                        error,
                        records = batch.records.len(),
                        "a batch was refused and is halved"
                    );
                    self.batch = batch.records.len() / 2;
                    continue;
                }
                Err(Failure::Refused(error)) => {
                    tracing::error!(error, "the OTLP receiver refused a record; it stays in the local log");
                    self.batch = BATCH;
                    (1, 1)
                }
                Err(Failure::Passing(error)) => return Err(error),
            };
            self.acknowledge(series, end, records, rejected)?;
        }
        Ok(sent)
    }

    /// Sends a batch. Returns how many of its records the receiver rejected.
    async fn send(&self, client: &mut LogsServiceClient<Channel>, batch: &Batch) -> Result<u64, Failure> {
        if batch.records.is_empty() {
            return Ok(0);
        }
        let resource_logs = vec![otlp::resource_logs(&self.instance, batch.records.clone())];
        match client.export(ExportLogsServiceRequest { resource_logs }).await {
            Ok(answer) => {
                let Some(partial) = answer.into_inner().partial_success else { return Ok(0) };
                if partial.rejected_log_records > 0 {
                    // OTLP forbids a second attempt, and does not say which records are meant.
                    tracing::error!(
                        rejected = partial.rejected_log_records,
                        error = partial.error_message,
                        series = batch.series.as_str(),
                        "the OTLP receiver rejected records; they stay in the local log"
                    );
                }
                Ok(u64::try_from(partial.rejected_log_records).unwrap_or(0))
            }
            Err(status) => Err(failure(&status)),
        }
    }

    /// Moves the checkpoint behind what was acknowledged.
    fn acknowledge(
        &self,
        series: SeriesName,
        end: Position,
        records: u64,
        rejected: u64,
    ) -> Result<(), String> {
        let mut checkpoint = *lock(&self.shared.checkpoint);
        checkpoint.set(series, end);
        checkpoint
            .store(&self.folder)
            .map_err(|error| format!("cannot write the export checkpoint: {error}"))?;
        *lock(&self.shared.checkpoint) = checkpoint;
        let accepted = records.saturating_sub(rejected);
        self.shared.exported.fetch_add(accepted, Ordering::Relaxed);
        self.shared.rejected.fetch_add(rejected, Ordering::Relaxed);
        self.metrics.exported.add(accepted, &[]);
        if lock(&self.shared.last_export_error).take().is_some() {
            tracing::info!("the OTLP receiver takes records again");
        }
        Ok(())
    }

    fn note_failure(&self, error: &str, before: u32) {
        self.metrics.export_failures.add(1, &[]);
        if before == 0 {
            tracing::warn!(error, "records cannot be exported; they wait in the local log");
        }
        *lock(&self.shared.last_export_error) = Some(error.to_owned());
    }

    /// Reads the next records of a series, as far as they are committed.
    fn next(&self, series: SeriesName) -> io::Result<Option<Batch>> {
        let position = self.shared.acknowledged(series);
        let segments = self.shared.segments(series).clone();
        let Some((segment, offset)) = start(position, &segments) else { return Ok(None) };
        let mut content = vec![0; usize::try_from((segment.length - offset).min(BATCH_BYTES)).unwrap_or(0)];
        match File::open(series.path(&self.folder, segment.sequence))
            .and_then(|file| file.read_exact_at(&mut content, offset))
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
            match serde_json::from_slice(line) {
                Ok(record) => records.extend(otlp::log_record(&record)),
                Err(error) => {
                    tracing::error!(%error, segment = segment.sequence, "a line of the log cannot be read");
                    self.shared.rejected.fetch_add(1, Ordering::Relaxed);
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
        Ok(Some(Batch { series, records, end: Position { sequence: segment.sequence, offset: end } }))
    }
}

/// The first segment that has something unacknowledged, and where that begins.
fn start(position: Position, segments: &[SegmentInfo]) -> Option<(SegmentInfo, u64)> {
    // A checkpoint beyond the newest segment belongs to a folder that was emptied.
    let known = segments.last().is_some_and(|newest| position.sequence <= newest.sequence);
    let position = if known { position } else { Position::default() };
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
