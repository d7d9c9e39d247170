use std::{fs, time::Instant};

use super::*;
use crate::{
    Event, EventRecord,
    record::{DecisionRecord, ItemRecord, PolicyRef, SCHEMA_VERSION, SegmentHeader},
    segment::SeriesName,
};

const BEGIN: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(BEGIN.unix_seconds() + seconds)
}

fn segment(folder: &Path, series: SeriesName, sequence: u64, time: Timestamp, records: &[Record]) {
    let header = Record::Segment(SegmentHeader {
        schema_version: SCHEMA_VERSION,
        series: series.as_str().to_owned(),
        sequence,
        time,
        previous_sha256: None,
    });
    let lines = [&header].into_iter().chain(records).flat_map(|record| line::encode(record).unwrap());
    fs::write(series.path(folder, sequence), lines.collect::<Vec<_>>()).unwrap();
}

fn decision(seconds: i64, change: impl FnOnce(&mut DecisionRecord)) -> Record {
    let mut record = DecisionRecord::new(DecisionId::new(at(seconds)), at(seconds));
    record.detail = Some(seconds.to_string());
    change(&mut record);
    Record::Decision(Box::new(record))
}

/// A folder with 6 decisions, one of them a count of 5, and an event.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let policy = |id: &str| PolicyRef { id: id.to_owned(), file: "a.cedar".to_owned(), line: 1 };
    let user = |name: &str| Some(format!("User::\"corp/{name}\""));
    let first = [
        decision(0, |record| {
            record.principal = user("alice");
            record.decision = Outcome::Permit;
            record.reason = Reason::Permitted;
            record.resource = Some("files".parse().unwrap());
            record.action = Some("Mcp::Action::\"tools/call\"".to_owned());
            record.determining_policies = vec![policy("p1"), policy("p2")];
        }),
        decision(10, |record| {
            record.principal = user("alice2");
            record.reason = Reason::NoPermit;
            record.target = user("alice");
        }),
    ];
    let event = Event::ObserveOff { resource: "files".parse().unwrap() };
    let second = [
        Record::Event(Box::new(EventRecord::new(at(4_000), event))),
        decision(4_010, |record| {
            record.principal = user("bob");
            record.decision = Outcome::StepUp;
            record.reason = Reason::InsufficientScope;
            record.items = vec![ItemRecord {
                principal: None,
                action: "Mcp::Action::\"tools/call\"".to_owned(),
                target: "T::\"x\"".to_owned(),
                decision: Outcome::Deny,
                reason: Reason::NoPermit,
                determining_policies: vec![policy("p3")],
            }];
        }),
        decision(4_020, |record| record.principal = user(&"é".repeat(300))),
    ];
    segment(folder.path(), SeriesName::Decisions, 1, at(0), &first);
    segment(folder.path(), SeriesName::Decisions, 2, at(3_999), &second);
    let refusals = [5, 4_015].map(|seconds| {
        decision(seconds, |record| {
            record.reason = Reason::NoCredentials;
            record.count = if seconds == 5 { 5 } else { 1 };
        })
    });
    segment(folder.path(), SeriesName::Refusals, 1, at(0), &refusals);
    folder
}

fn seconds(path: &Path, filter: &Filter) -> Vec<i64> {
    let mut found = Vec::new();
    run(path, filter, |record| {
        found.push(record.time().unix_seconds() - BEGIN.unix_seconds());
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn check(filter: Filter, expected: &[i64]) {
    let folder = folder();
    let oldest_first = Filter { order: Order::OldestFirst, ..filter.clone() };
    assert_eq!(seconds(folder.path(), &oldest_first), expected, "{filter:?}");
    let newest_first: Vec<i64> = expected.iter().rev().copied().collect();
    assert_eq!(seconds(folder.path(), &filter), newest_first, "{filter:?}");
}

#[test]
fn everything_comes_in_order_of_time_across_the_series() {
    check(Filter::default(), &[0, 5, 10, 4_000, 4_010, 4_015, 4_020]);
}

#[test]
fn each_field_filters() {
    let text = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    check(Filter { since: Some(at(10)), until: Some(at(4_010)), ..none() }, &[10, 4_000]);
    check(Filter { principal: text("User::\"corp/alice\""), ..none() }, &[0]);
    check(Filter { principal: text("corp/alice"), ..none() }, &[0]);
    check(Filter { principal: text("alice"), ..none() }, &[]);
    check(Filter { principal: Some(format!("User::\"corp/{}\"", "é".repeat(300))), ..none() }, &[4_020]);
    check(Filter { resource: text("files"), ..none() }, &[0]);
    check(Filter { action: text("tools/call"), ..none() }, &[0, 4_010]);
    check(Filter { action: text("Mcp::Action::\"tools/call\""), ..none() }, &[0, 4_010]);
    check(Filter { decision: Some(Outcome::StepUp), ..none() }, &[4_010]);
    check(Filter { reason: Some(Reason::NoCredentials), ..none() }, &[5, 4_015]);
    check(Filter { policy: text("p2"), ..none() }, &[0]);
    check(Filter { policy: text("p3"), ..none() }, &[4_010]);
    check(Filter { policy: text("p"), ..none() }, &[]);
    check(Filter { principal: text("corp/alice"), reason: Some(Reason::NoPermit), ..none() }, &[]);
}

#[test]
fn an_id_finds_its_record() {
    let folder = folder();
    let mut ids = Vec::new();
    run(folder.path(), &Filter::default(), |record| {
        ids.push(match record {
            Record::Decision(record) => record.id,
            Record::Event(record) => record.id,
            Record::Segment(_) => panic!("headers are no records"),
        });
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(ids.len(), 7);
    for id in ids {
        assert_eq!(seconds(folder.path(), &Filter { id: Some(id), ..Filter::default() }).len(), 1);
    }
}

#[test]
fn counts_are_of_decisions() {
    let folder = folder();
    let count = |by| count_by(folder.path(), &Filter::default(), by).unwrap().0;
    let expected =
        |counts: &[(&str, u64)]| counts.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(count(CountBy::Decision), expected(&[("deny", 8), ("permit", 1), ("step_up", 1)]));
    assert_eq!(count(CountBy::Resource), expected(&[("-", 9), ("files", 1)]));
    assert_eq!(count(CountBy::Policy), expected(&[("-", 9), ("p1", 1), ("p2", 1)]));
    let since = Filter { since: Some(at(1_000)), ..Filter::default() };
    let (counts, summary) = count_by(folder.path(), &since, CountBy::Reason).unwrap();
    assert_eq!(counts, expected(&[("insufficient_scope", 1), ("internal_error", 1), ("no_credentials", 1)]));
    assert_eq!((summary.records, summary.decisions), (3, 3));
}

#[test]
fn segments_whose_times_cannot_match_are_not_read() {
    let folder = folder();
    for (filter, read) in [
        (Filter::default(), 3),
        (Filter { since: Some(at(4_400)), ..Filter::default() }, 2),
        (Filter { until: Some(at(100)), ..Filter::default() }, 2),
    ] {
        let summary = run(folder.path(), &filter, |_record| ControlFlow::Continue(())).unwrap();
        assert_eq!((summary.segments_read, summary.segments_skipped), (read, 3 - read), "{filter:?}");
    }
}

#[test]
fn a_visitor_breaks_off() {
    let folder = folder();
    let mut left = 2;
    let summary = run(folder.path(), &Filter::default(), |_record| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(summary.unwrap().records, 2);
}

#[test]
fn lines_that_are_no_records_are_counted_and_the_line_being_written_is_left_alone() {
    let folder = folder();
    let path = SeriesName::Decisions.path(folder.path(), 2);
    let mut content = fs::read(&path).unwrap();
    content.extend(b"{\"type\":\"palisade.later\",\"id\":1}\n\0\0\0\n{\"type\":\"palisade.dec");
    fs::write(&path, content).unwrap();
    let summary = run(folder.path(), &Filter::default(), |_record| ControlFlow::Continue(())).unwrap();
    assert_eq!((summary.records, summary.unreadable), (7, 2));
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let error =
        run(Path::new("/nonexistent"), &Filter::default(), |_record| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the decision log `/nonexistent`");
}

/// Writes so many decisions about a thousand users, as large as real ones, in segments of 50,000.
fn large(folder: &Path, records: usize) {
    for (sequence, begin) in (0..records).step_by(50_000).enumerate() {
        let lines: Vec<Record> = (begin..records.min(begin + 50_000))
            .map(|number| {
                decision(number as i64 / 100, |record| {
                    record.principal = Some(format!("User::\"corp/user{}\"", number % 1_000));
                    record.decision = if number % 10 == 0 { Outcome::Deny } else { Outcome::Permit };
                    record.reason = if number % 10 == 0 { Reason::NoPermit } else { Reason::Permitted };
                    record.issuer = Some("corp".parse().unwrap());
                    record.client = Some("corp/agent".to_owned());
                    record.token_id = Some(format!("jti:{number:032x}"));
                    record.action = Some("Mcp::Action::\"tools/call\"".to_owned());
                    record.target = Some(format!("Mcp::Tool::\"files/tool{}\"", number % 50));
                    record.resource = Some("files".parse().unwrap());
                    record.scopes = ["files:read", "files:write"].map(|scope| scope.parse().unwrap()).into();
                    record.determining_policies = vec![PolicyRef {
                        id: "allow-read".to_owned(),
                        file: "files.cedar".to_owned(),
                        line: 12,
                    }];
                    record.policy_revision = Some("sha256:0123456789abcdef".into());
                    record.pep = Some("edge".parse().unwrap());
                    record.client_ip = Some("203.0.113.7".to_owned());
                    record.trace_id = Some(format!("{number:032x}"));
                    record.span_id = Some(format!("{number:016x}"));
                })
            })
            .collect();
        segment(folder, SeriesName::Decisions, sequence as u64 + 1, at(begin as i64 / 100), &lines);
    }
}

fn measure(records: usize) -> [std::time::Duration; 3] {
    let folder = tempfile::tempdir().unwrap();
    large(folder.path(), records);
    let begun = Instant::now();
    let alice = Filter { principal: Some("corp/user7".to_owned()), ..Filter::default() };
    assert_eq!(seconds(folder.path(), &alice).len(), records / 1_000);
    let filtered = begun.elapsed();
    let begun = Instant::now();
    let (counts, _) = count_by(folder.path(), &Filter::default(), CountBy::Decision).unwrap();
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), records as u64);
    let counted = begun.elapsed();
    let begun = Instant::now();
    let late = Filter { since: Some(at(records as i64 / 100 - 10)), ..Filter::default() };
    assert_eq!(seconds(folder.path(), &late).len(), 1_000);
    [filtered, counted, begun.elapsed()]
}

#[test]
fn a_hundred_thousand_records_are_queried_in_seconds() {
    let [filtered, counted, late] = measure(100_000);
    assert!(
        filtered.as_secs() < 5 && counted.as_secs() < 20 && late.as_secs() < 5,
        "{filtered:?} {counted:?} {late:?}"
    );
}

#[test]
#[ignore = "takes a gigabyte and an optimised build; run by hand with --release"]
fn a_million_records_are_queried_in_seconds() {
    let [filtered, counted, late] = measure(1_000_000);
    assert!(
        filtered.as_secs() < 2 && counted.as_secs() < 5 && late.as_secs() < 1,
        "{filtered:?} {counted:?} {late:?}"
    );
}
