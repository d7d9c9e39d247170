use std::{
    io::{BufRead, BufReader, Write},
    ops::ControlFlow,
    os::unix::fs::PermissionsExt,
    process::{self, Stdio},
    time::Instant,
};

use palisade_model::{ManualClock, Reason, SystemClock, Timestamp};

use super::*;
use crate::{
    Event, Outcome,
    health::Writing,
    query::{self, Filter, Order, verify},
    settings::OnFull,
};

fn settings(path: &Path) -> AuditSettings {
    AuditSettings {
        path: path.to_owned(),
        durability: Durability::Written,
        on_full: OnFull::Deny,
        quota: 64 * 1024 * 1024,
        otlp: None,
    }
}

/// A receiver that nobody will ever reach.
fn nowhere() -> Option<String> {
    Some("http://127.0.0.1:9".to_owned())
}

fn open(settings: AuditSettings) -> AuditLog {
    AuditLog::open(settings, Arc::new(SystemClock)).unwrap()
}

fn permit(detail: &str) -> DecisionRecord {
    let now = SystemClock.now();
    let mut record = DecisionRecord::new(DecisionId::new(now), now);
    record.decision = Outcome::Permit;
    record.reason = Reason::Permitted;
    record.principal = Some("User::\"corp/alice\"".to_owned());
    record.detail = Some(detail.to_owned());
    record
}

fn refusal(address: &str) -> DecisionRecord {
    let now = SystemClock.now();
    let mut record = DecisionRecord::new(DecisionId::new(now), now);
    record.reason = Reason::TokenSignatureInvalid;
    record.resource = Some("files".parse().unwrap());
    record.client_ip = Some(address.to_owned());
    record
}

fn all(path: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    let filter = Filter { order: Order::OldestFirst, ..Filter::default() };
    let summary = query::run(path, &filter, |record| {
        records.push(record);
        ControlFlow::Continue(())
    });
    assert_eq!(summary.unwrap().unreadable, 0);
    records
}

fn decisions(path: &Path) -> u64 {
    query::run(path, &Filter::default(), |_record| ControlFlow::Continue(())).unwrap().decisions
}

#[tokio::test]
async fn every_receipt_has_its_record_with_every_durability() {
    for durability in [Durability::Queued, Durability::Written, Durability::Synced] {
        let folder = tempfile::tempdir().unwrap();
        let log = open(AuditSettings { durability, ..settings(folder.path()) });
        let mut ids = Vec::new();
        for number in 0..50 {
            let receipt = log.record(permit(&number.to_string())).await.unwrap();
            assert!(!receipt.dropped());
            ids.push(receipt.id());
            if durability != Durability::Queued {
                assert_eq!(all(folder.path()).len(), ids.len());
            }
        }
        log.shutdown().await;
        let recorded: Vec<_> = all(folder.path())
            .into_iter()
            .map(|record| match record {
                Record::Decision(record) => record.id,
                Record::Event(_) | Record::Segment(_) => panic!("only decisions were recorded"),
            })
            .collect();
        assert_eq!(recorded, ids);
        assert!(matches!(log.record(permit("late")).await, Err(AuditError::Closed)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    let callers: Vec<_> = (0..3_000)
        .map(|number| {
            let log = log.clone();
            let record = if number % 3 == 0 { refusal("203.0.113.7") } else { permit("x") };
            tokio::spawn(async move { log.record(record).await.unwrap().dropped() })
        })
        .collect();
    for caller in callers {
        assert!(!caller.await.unwrap());
    }
    log.shutdown().await;
    assert_eq!(decisions(folder.path()), 3_000);
}

#[tokio::test]
async fn a_folder_has_one_process_and_private_files() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("audit");
    let log = open(settings(&path));
    log.record(permit("x")).await.unwrap();
    let second = AuditLog::open(settings(&path), Arc::new(SystemClock)).unwrap_err();
    assert_eq!(
        second.to_string(),
        format!(
            "the decision log `{}` is in use by another process: give each its own `audit.path`",
            path.display()
        )
    );
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&path).unwrap() {
        files += 1;
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    assert_eq!(files, 4, "lock, key, pending, one segment");
    log.shutdown().await;
    open(settings(&path));
}

#[tokio::test]
async fn a_log_that_is_dropped_lets_go_of_its_folder_and_keeps_its_counts() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let log = open_when_free(AuditSettings { otlp: nowhere(), ..settings(folder.path()) }).await;
        log.record(refusal("203.0.113.7")).await.unwrap();
        log.record(permit("x")).await.unwrap();
        drop(log);
    }
    open_when_free(settings(folder.path())).await.shutdown().await;
    assert_eq!(decisions(folder.path()), 6);
}

/// A log that was dropped holds its folder until its threads have ended.
async fn open_when_free(settings: AuditSettings) -> AuditLog {
    loop {
        match AuditLog::open(settings.clone(), Arc::new(SystemClock)) {
            Ok(log) => return log,
            Err(AuditError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn wrong_settings_are_refused_with_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |settings| AuditLog::open(settings, Arc::new(SystemClock)).unwrap_err().to_string();
    assert!(refused(AuditSettings { quota: 1_000, ..settings(folder.path()) }).contains("at least 1MiB"));
    for endpoint in ["collector:4317", "ftp://collector", "not a url", ""] {
        let error = refused(AuditSettings { otlp: Some(endpoint.to_owned()), ..settings(folder.path()) });
        assert!(error.contains("is not an OTLP endpoint"), "{error}");
    }
    let https = AuditSettings { otlp: Some("https://localhost:4317".to_owned()), ..settings(folder.path()) };
    assert!(matches!(AuditLog::open(https, Arc::new(SystemClock)), Ok(_) | Err(AuditError::Tls { .. })));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "short").unwrap();
    assert!(refused(settings(folder.path())).contains("is not a key of 32 bytes"));
}

#[tokio::test]
async fn input_digests_depend_on_the_installation_and_last() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = open(settings(one.path()));
    let digest = log.input_digest("abc");
    log.shutdown().await;
    assert_eq!(open(settings(one.path())).input_digest("abc"), digest);
    let elsewhere = open(settings(other.path())).input_digest("abc");
    assert_ne!(elsewhere, digest);
    for digest in [digest, elsewhere] {
        assert_eq!(digest.strip_prefix("hmac-sha256:").unwrap().len(), 64);
    }
}

/// Records until the log refuses or drops. Returns how many were taken.
async fn fill(log: &AuditLog) -> u64 {
    let mut record = permit("x");
    record.actors = vec!["a".repeat(256); 100];
    for taken in 0..1_000 {
        match log.record(record.clone()).await {
            Ok(receipt) if receipt.dropped() => return taken,
            Ok(_) => {}
            Err(AuditError::Full) => return taken,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the log is never full");
}

fn size(path: &Path) -> u64 {
    std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

const SMALL: u64 = AuditSettings::MIN_QUOTA;
const PENDING: u64 = 2 * 1024 * 1024;
/// Of a segment of each series; one record is longer than both.
const LONGEST_HEADERS: u64 = 256;

#[tokio::test]
async fn a_full_log_denies_or_drops_and_refusals_still_count() {
    for on_full in [OnFull::Deny, OnFull::Drop] {
        let folder = tempfile::tempdir().unwrap();
        let log = open(AuditSettings { on_full, quota: SMALL, otlp: nowhere(), ..settings(folder.path()) });
        let taken = fill(&log).await;
        assert!(taken > 20);
        for _ in 0..100 {
            assert!(!log.record(refusal("203.0.113.7")).await.unwrap().dropped());
        }
        let status = log.status();
        let (dropped, counted) = match on_full {
            OnFull::Deny => (0, 1),
            OnFull::Drop => (1, 0),
        };
        assert_eq!(status.last_write_error.is_some(), on_full == OnFull::Deny, "dropping is no error");
        assert_eq!((status.dropped, status.quota_bytes), (dropped, SMALL));
        log.shutdown().await;
        // A segment that has nothing but its header yet has no record to export, and counts as exported.
        let headers = |status: &AuditStatus| status.used_bytes.saturating_sub(status.backlog_bytes);
        let at_rest = |status: &AuditStatus| {
            status.used_bytes <= SMALL && headers(status) < LONGEST_HEADERS && status.exported == 0
        };
        let begun = Instant::now();
        while !at_rest(&log.status()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", log.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(size(folder.path()) <= SMALL + PENDING + 4_096);
        assert_eq!(decisions(folder.path()), taken + 100 + counted, "who was denied for it is counted");
    }
}

/// Waits until the log says that it can be written again.
async fn well(log: &AuditLog) {
    let begun = Instant::now();
    while log.status().last_write_error.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", log.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_full_log_is_well_by_itself_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(AuditSettings { quota: SMALL, otlp: nowhere(), ..settings(folder.path()) });
    let taken = fill(&log).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(log.status().last_write_error.is_some(), "there is still no room");
    // What an exporter does when its receiver is back.
    let newest = *log.inner.shared.segments(SeriesName::Decisions).last().unwrap();
    lock(&log.inner.shared.checkpoint).set(
        SeriesName::Decisions,
        crate::checkpoint::Position { sequence: newest.sequence, offset: newest.length },
    );
    well(&log).await;
    let before = decisions(folder.path());
    assert!(before < taken && before > 0, "the probe left no trace but the room it made");
    log.record(permit("x")).await.unwrap();
    log.shutdown().await;
    assert_eq!(decisions(folder.path()), before + 1);
    assert_eq!(verify(folder.path()).unwrap().flaws, []);
}

/// A permit must not leave without its record because something else could be written.
#[tokio::test]
async fn a_counted_refusal_does_not_hide_that_decisions_fail() {
    let folder = tempfile::tempdir().unwrap();
    let durability = Durability::Queued;
    let log = open(AuditSettings { durability, quota: SMALL, otlp: nowhere(), ..settings(folder.path()) });
    let mut record = permit("x");
    record.actors = vec!["a".repeat(256); 100];
    while log.status().last_write_error.is_none() {
        // Nobody waits for these: the first that does not fit is lost and counted.
        let _taken = log.record(record.clone()).await;
    }
    for _ in 0..10 {
        log.record(refusal("203.0.113.7")).await.unwrap();
        assert!(matches!(log.record(record.clone()).await, Err(AuditError::Full)));
        assert!(log.status().last_write_error.is_some());
    }
    // Not even when a record would fit now, before one has.
    log.inner.shared.of(SeriesName::Decisions).health.note(SeriesName::Decisions, Writing::Possible);
    assert!(matches!(log.record(record).await, Err(AuditError::Full)));
}

#[tokio::test]
async fn without_a_receiver_the_oldest_records_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(AuditSettings { quota: SMALL, ..settings(folder.path()) });
    let mut record = permit("x");
    record.actors = vec!["a".repeat(256); 100];
    let mut last = None;
    for _ in 0..200 {
        last = Some(
            log.record(DecisionRecord { id: DecisionId::new(SystemClock.now()), ..record.clone() })
                .await
                .unwrap(),
        );
    }
    assert_eq!((log.status().backlog_bytes, log.status().seconds_until_full), (0, None));
    log.shutdown().await;
    assert!(size(folder.path()) <= SMALL + PENDING + 4_096);
    let Some(Record::Decision(newest)) = all(folder.path()).pop() else {
        panic!("a decision is the newest record")
    };
    assert_eq!(Some(newest.id), last.map(|receipt| receipt.id()));
    assert_eq!(verify(folder.path()).unwrap().flaws, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_takes_bounded_space_and_every_one_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(AuditSettings { otlp: nowhere(), ..settings(folder.path()) });
    let begun = Instant::now();
    let callers: Vec<_> = (0_u32..10)
        .map(|caller| {
            let log = log.clone();
            tokio::spawn(async move {
                for number in 0..10_000_u32 {
                    let [_, a, b, c] = (number * 10 + caller).to_be_bytes();
                    let address = format!("{}.{b}.{c}.{a}", caller + 1);
                    assert!(!log.record(refusal(&address)).await.unwrap().dropped());
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    log.record(permit("a good caller")).await.unwrap();
    log.shutdown().await;
    assert_eq!(decisions(folder.path()), 100_001);
    let most = 1 + 1_024 * (begun.elapsed().as_secs() as usize + 2);
    assert!(all(folder.path()).len() <= most, "{} records, {most} at most", all(folder.path()).len());
    assert!(size(folder.path()) <= 64 * 1024 * 1024 / 10 + PENDING);
}

#[tokio::test]
async fn a_disk_that_fails_denies_until_it_works_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    // A folder where the first segment must be: it cannot be created.
    let obstacle = folder.path().join("decisions-0000000000000001.jsonl");
    std::fs::create_dir(&obstacle).unwrap();
    for _ in 0..3 {
        assert!(matches!(log.record(permit("x")).await, Err(AuditError::Io { .. })));
    }
    assert!(log.status().last_write_error.unwrap().contains("Is a directory"));
    assert_eq!(log.status().dropped, 0, "who was told that it failed answered with a denial");
    log.record(refusal("203.0.113.7")).await.unwrap();
    assert!(log.status().last_write_error.is_some(), "a refusal is no decision");
    std::fs::remove_dir(&obstacle).unwrap();
    well(&log).await;
    log.record(permit("x")).await.unwrap();
    log.shutdown().await;
    assert_eq!(decisions(folder.path()), 5, "three that were denied for it are counted");
    let counted: u64 = all(folder.path())
        .into_iter()
        .filter_map(|record| match record {
            Record::Decision(record) if record.reason == Reason::AuditUnavailable => {
                assert_eq!((record.decision, record.principal), (Outcome::Deny, None));
                Some(record.count)
            }
            Record::Decision(_) | Record::Event(_) | Record::Segment(_) => None,
        })
        .sum();
    assert_eq!(counted, 3);
}

#[tokio::test]
async fn queued_records_wait_while_the_disk_fails() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(AuditSettings { durability: Durability::Queued, ..settings(folder.path()) });
    let obstacle = folder.path().join("decisions-0000000000000001.jsonl");
    std::fs::create_dir(&obstacle).unwrap();
    log.record(permit("nobody waits for it")).await.unwrap();
    // The error is noted first, and then what it cost.
    while log.status().last_write_error.is_none() || log.status().dropped == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(log.status().dropped, 1);
    assert!(matches!(log.record(permit("x")).await, Err(AuditError::Io { .. })));
    std::fs::remove_dir(&obstacle).unwrap();
    log.record(permit("x")).await.unwrap();
    log.shutdown().await;
    assert_eq!(decisions(folder.path()), 2, "the record, and the denial of who was told that it failed");
}

#[tokio::test]
async fn what_a_caller_gave_up_on_is_recorded_as_what_was_answered() {
    for (decision, reason, expected) in [
        (Outcome::Permit, Reason::Permitted, (Outcome::Deny, Reason::AuditUnavailable)),
        (Outcome::Observed, Reason::Observed, (Outcome::Deny, Reason::AuditUnavailable)),
        (Outcome::Deny, Reason::NoPermit, (Outcome::Deny, Reason::NoPermit)),
        (Outcome::StepUp, Reason::InsufficientScope, (Outcome::StepUp, Reason::InsufficientScope)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let log = open(settings(folder.path()));
        let (reply, answer) = oneshot::channel();
        drop(answer);
        let record = DecisionRecord { decision, reason, ..permit("as it was") };
        let (id, principal) = (record.id, record.principal.clone());
        let entry = Entry::Line { id, line: shorten::line_of(record).unwrap() };
        log.inner.commands.send(Command::Record { entry, reply: Some(reply) }).await.unwrap();
        log.shutdown().await;
        let Some(Record::Decision(read)) = all(folder.path()).pop() else { panic!("a decision is recorded") };
        assert_eq!((read.id, read.principal, read.count), (id, principal, 1));
        assert_eq!((read.decision, read.reason), expected);
        let late = expected.1 == Reason::AuditUnavailable;
        assert_eq!(read.detail.as_deref(), Some(if late { "the record came too late" } else { "as it was" }));
    }
}

#[tokio::test]
async fn callers_that_give_up_before_there_is_room_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    // A writer that hangs leaves no room in the queue.
    let room = log.inner.commands.reserve_many(QUEUE).await.unwrap();
    for number in 0..5_000_u32 {
        let mut record = if number % 2 == 0 { permit("x") } else { refusal("203.0.113.7") };
        let [_, _, a, b] = number.to_be_bytes();
        record.client_ip = Some(format!("203.{a}.{b}.7"));
        tokio::select! {
            biased;
            answer = log.record(record) => panic!("there is no room: {answer:?}"),
            () = std::future::ready(()) => {}
        }
    }
    drop(room);
    log.shutdown().await;
    assert_eq!(decisions(folder.path()), 5_000);
    let records = all(folder.path());
    assert!(records.len() < 2_048, "kinds are counted, not decisions: {}", records.len());
    assert!(records.iter().all(|record| match record {
        Record::Decision(record) => record.decision == Outcome::Deny && record.principal.is_none(),
        Record::Event(_) | Record::Segment(_) => false,
    }));
}

#[tokio::test]
async fn denials_of_anonymous_callers_are_counted_and_their_permits_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    let anonymous = Some("Anonymous::\"anonymous\"".to_owned());
    for _ in 0..100 {
        let denied = DecisionRecord { principal: anonymous.clone(), ..refusal("203.0.113.7") };
        log.record(DecisionRecord { reason: Reason::NoPermit, ..denied }).await.unwrap();
    }
    for _ in 0..3 {
        log.record(DecisionRecord { principal: anonymous.clone(), ..permit("x") }).await.unwrap();
    }
    log.shutdown().await;
    assert_eq!(decisions(folder.path()), 103);
    let permits = all(folder.path())
        .iter()
        .filter(|record| matches!(record, Record::Decision(record) if record.decision == Outcome::Permit))
        .count();
    assert_eq!(permits, 3);
    assert!(all(folder.path()).len() < 10);
}

#[tokio::test]
async fn a_record_that_is_too_long_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    let mut record = permit("x");
    record.actors = vec!["a".repeat(256); 2_000];
    let receipt = log.record(record).await.unwrap();
    let Some(Record::Decision(read)) = all(folder.path()).pop() else { panic!("a decision is recorded") };
    assert_eq!((read.id, read.decision), (receipt.id(), Outcome::Permit));
    assert_eq!(read.detail.as_deref(), Some("cut to the essentials; x"));
}

#[tokio::test]
async fn a_torn_line_is_an_event_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    log.record(permit("x")).await.unwrap();
    log.event(EventRecord::new(SystemClock.now(), Event::ObserveOff { resource: "files".parse().unwrap() }))
        .await
        .unwrap();
    log.shutdown().await;
    let segment = folder.path().join("decisions-0000000000000001.jsonl");
    std::fs::OpenOptions::new().append(true).open(segment).unwrap().write_all(b"{\"type\":").unwrap();
    open(settings(folder.path())).shutdown().await;
    let names: Vec<_> = all(folder.path())
        .into_iter()
        .map(|record| match record {
            Record::Decision(_) => "decision",
            Record::Event(event) => event.event.name(),
            Record::Segment(_) => "segment",
        })
        .collect();
    assert_eq!(names, ["decision", "observe_off", "torn_line"]);
}

#[tokio::test]
async fn the_time_until_full_is_told_while_the_backlog_grows() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)));
    let otlp = nowhere();
    let log = AuditLog::open(
        AuditSettings { otlp, ..settings(folder.path()) },
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    let log = log.unwrap();
    let begun = Instant::now();
    while log.status().seconds_until_full.is_none() && begun.elapsed() < Duration::from_secs(20) {
        log.record(permit("x")).await.unwrap();
        clock.advance(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(log.status().seconds_until_full.is_some());
}

/// The process that the next test kills: records decisions and refusals in the folder it was started in, and prints a
/// line for each receipt.
#[tokio::test]
#[ignore = "started by the test below"]
async fn process_to_kill() {
    if !Path::new("killed-by-its-parent").exists() {
        return;
    }
    let log = open(settings(Path::new("audit")));
    let mut out = io::stdout();
    for number in 0_u32.. {
        let [.., a] = number.to_be_bytes();
        let record = if number % 2 == 0 { permit("x") } else { refusal(&format!("203.0.{a}.7")) };
        log.record(record).await.unwrap();
        out.write_all(b"receipt\n").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_killed_process_loses_no_decision_that_was_answered() {
    let children: Vec<_> = [1, 150, 900, 1_000, 1_100, 2_000]
        .into_iter()
        .map(|millis| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("killed-by-its-parent"), "").unwrap();
            let mut child = process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "log::tests::process_to_kill", "--ignored", "--nocapture"])
                .current_dir(folder.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let out = BufReader::new(child.stdout.take().unwrap());
            thread::spawn(move || {
                let mut receipts = out.lines().map_while(Result::ok).filter(|line| line.ends_with("receipt"));
                receipts.next().expect("the first receipt");
                let killer = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(millis));
                    child.kill().unwrap();
                    child.wait().unwrap();
                });
                let receipts = 1 + receipts.count() as u64;
                killer.join().unwrap();
                (folder, receipts)
            })
        })
        .collect();
    for child in children {
        let (folder, receipts) = child.join().unwrap();
        let path = folder.path().join("audit");
        tokio::runtime::Runtime::new().unwrap().block_on(async { open(settings(&path)).shutdown().await });
        let recorded = decisions(&path);
        // The last record may be written and not yet answered.
        assert!(
            receipts > 0 && (receipts..=receipts + 1).contains(&recorded),
            "{receipts} receipts, {recorded} recorded"
        );
        assert_eq!(verify(&path).unwrap().flaws, []);
    }
}
