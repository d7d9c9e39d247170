use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Mutex,
    time::Instant,
};

use opentelemetry_proto::tonic::{
    collector::logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    common::v1::any_value::Value,
};
use palisade_model::{Clock, DecisionId, Reason, SystemClock};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, transport::Server};

use super::*;
use crate::{AuditLog, AuditSettings, DecisionRecord, Durability, Event, EventRecord, OnFull, Outcome};

/// How the receiver answers a call out of order.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Takes the records and says that it failed.
    FailAfterTaking,
    /// Fails without taking anything.
    Fail(Code),
    /// Takes the records but for one.
    Partial,
}

/// A real OTLP receiver.
#[derive(Debug, Default)]
struct Receiver {
    records: Mutex<Vec<LogRecord>>,
    answers: Mutex<VecDeque<Answer>>,
    calls: Mutex<Vec<usize>>,
    /// Refuses every call that holds a record with this detail.
    poison: Option<&'static str>,
    /// Is not there for calls that hold a record of this reason.
    away: Option<&'static str>,
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let logs = request.into_inner().resource_logs.remove(0);
        let attributes = logs.resource.unwrap().attributes;
        let keys: Vec<_> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, ["service.name", "service.version", "service.instance.id"]);
        let records = logs.scope_logs.into_iter().next().unwrap().log_records;
        if self.poison.is_some_and(|poison| records.iter().any(|record| has(record, poison))) {
            return Err(Status::invalid_argument("poison"));
        }
        if self
            .away
            .is_some_and(|reason| records.iter().any(|record| says(record, "palisade.reason", reason)))
        {
            return Err(Status::unavailable("away"));
        }
        let answer = self.answers.lock().unwrap().pop_front();
        if let Some(Answer::Fail(code)) = answer {
            return Err(Status::new(code, "on purpose"));
        }
        self.calls.lock().unwrap().push(records.len());
        self.records.lock().unwrap().extend(records);
        match answer {
            Some(Answer::FailAfterTaking) => Err(Status::unavailable("on purpose")),
            Some(Answer::Partial) => {
                let partial =
                    ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "one".to_owned() };
                Ok(Response::new(ExportLogsServiceResponse { partial_success: Some(partial) }))
            }
            Some(Answer::Fail(_)) | None => Ok(Response::new(ExportLogsServiceResponse::default())),
        }
    }
}

fn has(record: &LogRecord, detail: &str) -> bool {
    says(record, "palisade.detail", detail)
}

fn says(record: &LogRecord, key: &str, text: &str) -> bool {
    record.attributes.iter().any(|attribute| {
        attribute.key == key
            && attribute.value.as_ref().unwrap().value == Some(Value::StringValue(text.to_owned()))
    })
}

impl Receiver {
    /// How often each record came.
    fn seen(&self) -> HashMap<String, usize> {
        let mut seen = HashMap::new();
        for record in self.records.lock().unwrap().iter() {
            let id = record.attributes.iter().find(|attribute| attribute.key == "palisade.id").unwrap();
            *seen.entry(format!("{:?}", id.value)).or_default() += 1;
        }
        seen
    }
}

async fn listen(receiver: &Arc<Receiver>, address: SocketAddr) -> JoinHandle<()> {
    let listener = TcpListener::bind(address).await.unwrap();
    let service = LogsServiceServer::from_arc(Arc::clone(receiver));
    tokio::spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    })
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn open(path: &Path, address: SocketAddr) -> AuditLog {
    let settings = AuditSettings {
        path: path.to_owned(),
        durability: Durability::Written,
        on_full: OnFull::Deny,
        quota: 64 * 1024 * 1024,
        otlp: Some(format!("http://{address}")),
    };
    AuditLog::open(settings, Arc::new(SystemClock)).unwrap()
}

async fn record(log: &AuditLog, number: usize) {
    for at in 0..number {
        let now = SystemClock.now();
        let mut record = DecisionRecord::new(DecisionId::new(now), now);
        record.principal = Some("User::\"corp/alice\"".to_owned());
        record.reason = Reason::NoPermit;
        record.decision = Outcome::Deny;
        record.detail = Some(format!("number {at}"));
        log.record(record).await.unwrap();
    }
}

async fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_then_up_then_fails_once_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let log = open(folder.path(), address);
    record(&log, 1_200).await;
    log.event(EventRecord::new(SystemClock.now(), Event::ObserveOff { resource: "files".parse().unwrap() }))
        .await
        .unwrap();
    wait_for("a failure is shown", || log.status().last_export_error.is_some()).await;
    assert!(log.status().backlog_bytes > 0 && log.status().exported == 0);

    let receiver = Arc::new(Receiver::default());
    receiver.answers.lock().unwrap().push_back(Answer::FailAfterTaking);
    let _server = listen(&receiver, address).await;
    wait_for("all is exported", || log.status().backlog_bytes == 0).await;
    wait_for("no failure is shown", || log.status().last_export_error.is_none()).await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1_201);
    // The counter follows the checkpoint.
    wait_for("all is counted", || log.status().exported == 1_201).await;
    assert!(seen.values().filter(|times| **times > 1).count() <= BATCH, "only one batch came twice");
    assert!(receiver.calls.lock().unwrap().iter().all(|records| *records <= BATCH));

    receiver.answers.lock().unwrap().extend([Answer::Fail(Code::Unavailable); 100]);
    record(&log, 10).await;
    log.shutdown().await;
    assert!(log.status().backlog_bytes > 0);
    let before = receiver.records.lock().unwrap().len();
    receiver.answers.lock().unwrap().clear();
    let log = open(folder.path(), address);
    wait_for("the rest is exported after a restart", || log.status().backlog_bytes == 0).await;
    assert_eq!(receiver.seen().len(), 1_211);
    assert_eq!(
        receiver.records.lock().unwrap().len(),
        before + 10,
        "what was acknowledged is not sent again"
    );
    log.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_gather_before_they_are_sent() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let receiver = Arc::new(Receiver::default());
    let _server = listen(&receiver, address).await;
    let log = open(folder.path(), address);
    let begun = Instant::now();
    record(&log, 300).await;
    wait_for("all is exported", || log.status().exported == 300).await;
    // A moment at least lies between two calls, however long the records took.
    let most = begun.elapsed().as_millis() / GATHER.as_millis() + 1;
    let calls = receiver.calls.lock().unwrap().len();
    assert!(u128::try_from(calls).unwrap() <= most, "{calls} calls, and at most {most}");
    log.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_sends_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let receiver = Arc::new(Receiver::default());
    let _server = listen(&receiver, address).await;
    let log = open(folder.path(), address);
    record(&log, 700).await;
    let mut refusal = DecisionRecord::new(DecisionId::new(SystemClock.now()), SystemClock.now());
    refusal.reason = Reason::TokenExpired;
    log.record(refusal).await.unwrap();
    log.shutdown().await;
    assert_eq!(receiver.seen().len(), 701);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_not_wait_long_for_a_receiver_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), free_address().await);
    record(&log, 10).await;
    let begun = Instant::now();
    log.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_refused_for_good_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let log = open(folder.path(), address);
    record(&log, 100).await;
    let receiver = Arc::new(Receiver { poison: Some("number 37"), ..Receiver::default() });
    let _server = listen(&receiver, address).await;
    wait_for("all is exported", || log.status().backlog_bytes == 0).await;
    assert_eq!(receiver.seen().len(), 99);
    wait_for("all is counted", || (log.status().exported, log.status().rejected) == (99, 1)).await;
    log.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_success_is_counted_and_passing_failures_are_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let log = open(folder.path(), address);
    record(&log, 10).await;
    let receiver = Arc::new(Receiver::default());
    let failures = [Code::Unauthenticated, Code::ResourceExhausted].map(Answer::Fail);
    receiver.answers.lock().unwrap().extend(failures.into_iter().chain([Answer::Partial]));
    let _server = listen(&receiver, address).await;
    wait_for("all is exported", || log.status().backlog_bytes == 0).await;
    assert_eq!(receiver.calls.lock().unwrap().as_slice(), [10], "rejected records are not sent again");
    wait_for("all is counted", || (log.status().exported, log.status().rejected) == (9, 1)).await;
    log.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_refusals_neither_delay_decisions_nor_hide_that_they_fail() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let receiver = Arc::new(Receiver { away: Some("token_expired"), ..Receiver::default() });
    let _server = listen(&receiver, address).await;
    let log = open(folder.path(), address);
    let mut refusal = DecisionRecord::new(DecisionId::new(SystemClock.now()), SystemClock.now());
    refusal.reason = Reason::TokenExpired;
    log.record(refusal).await.unwrap();
    wait_for("refusals fail", || log.status().last_export_error.is_some()).await;
    // Long enough for pauses that would be felt.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let begun = Instant::now();
    for number in 1..=20 {
        record(&log, 1).await;
        wait_for("a decision is exported", || log.status().exported == number).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(log.status().last_export_error.is_some(), "the refusals still fail");
    log.shutdown().await;
}

/// After a power loss the end of a segment can be gone that the receiver has acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_where_acknowledged_records_were_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let receiver = Arc::new(Receiver::default());
    let _server = listen(&receiver, address).await;
    let log = open(folder.path(), address);
    record(&log, 100).await;
    wait_for("all is exported", || log.status().exported == 100).await;
    log.shutdown().await;

    let newest = SeriesName::Decisions.path(folder.path(), 1);
    let content = std::fs::read(&newest).unwrap();
    let lines: Vec<_> = content.split_inclusive(|byte| *byte == b'\n').collect();
    std::fs::write(&newest, lines[..50].concat()).unwrap();

    // A second crash must not bring the old checkpoint back.
    open(folder.path(), address).shutdown().await;
    let log = open(folder.path(), address);
    record(&log, 10).await;
    wait_for("the new records arrive", || receiver.seen().len() == 110).await;
    wait_for("all is exported", || log.status().backlog_bytes == 0).await;
    log.shutdown().await;

    // The whole segment is gone.
    std::fs::remove_file(&newest).unwrap();
    let log = open(folder.path(), address);
    record(&log, 10).await;
    wait_for("the new records arrive", || receiver.seen().len() == 120).await;
    log.shutdown().await;
}

#[test]
fn pauses_grow_to_half_a_minute_and_are_jittered() {
    for (failures, longest) in [(1, 200), (2, 400), (3, 800), (8, 25_600), (9, 30_000), (1_000, 30_000)] {
        let pause = pause(failures);
        let longest = Duration::from_millis(longest);
        assert!(pause <= longest && pause >= longest / 2, "{failures}: {pause:?}");
    }
}

#[test]
fn a_checkpoint_leads_to_the_first_unacknowledged_byte() {
    let segments = [(3, 100), (4, 200)].map(|(sequence, length)| SegmentInfo { sequence, length });
    let begin = |sequence, offset| {
        start(Position { sequence, offset }, &segments).map(|(at, offset)| (at.sequence, offset))
    };
    assert_eq!(begin(0, 0), Some((3, 0)));
    assert_eq!(begin(2, 50), Some((3, 0)), "deleted segments are passed over");
    assert_eq!(begin(3, 50), Some((3, 50)));
    assert_eq!(begin(3, 100), Some((4, 0)));
    assert_eq!(begin(4, 200), None);
}
