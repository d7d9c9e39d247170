use std::fs;

use palisade_model::{Reason, Surface, Timestamp};

use super::{
    table::{OTHER, WITH_PLACE},
    *,
};
use crate::record::Outcome;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn refusal(reason: Reason, address: &str) -> DecisionRecord {
    let mut record = DecisionRecord::new(DecisionId::new(NOW), NOW);
    record.reason = reason;
    record.resource = Some("files".parse().unwrap());
    record.pep = Some("edge".parse().unwrap());
    record.surface = Some(Surface::ExtAuthz);
    record.client_ip = Some(address.to_owned());
    record
}

fn open(folder: &Path) -> Recovered {
    Refusals::recover(folder, &[], false).unwrap()
}

fn counts(records: &[DecisionRecord]) -> u64 {
    records.iter().map(|record| record.count).sum()
}

#[test]
fn refusals_of_a_kind_are_one_record_with_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut refusals = open(folder.path()).refusals;
    let first = refusals.count(refusal(Reason::TokenExpired, "203.0.113.7"));
    assert_eq!(refusals.count(refusal(Reason::TokenExpired, "203.0.113.9")), first);
    assert_ne!(refusals.count(refusal(Reason::TokenExpired, "203.0.114.9")), first);
    assert_ne!(refusals.count(refusal(Reason::TokenMalformed, "203.0.113.7")), first);
    let seen: Vec<_> =
        refusals.records().into_iter().map(|record| (record.client_ip.unwrap(), record.count)).collect();
    let expected = [("203.0.113.0/24", 2), ("203.0.114.9", 1), ("203.0.113.7", 1)];
    assert_eq!(seen, expected.map(|(address, count)| (address.to_owned(), count)));
}

#[test]
fn prefixes_are_those_of_networks() {
    for (address, expected) in [
        ("203.0.113.7", Some("203.0.113.0/24")),
        ("2001:db8:1:2:3::4", Some("2001:db8:1::/48")),
        ("::ffff:203.0.113.7", Some("203.0.113.0/24")),
        ("other", None),
    ] {
        assert_eq!(prefix(address).as_deref(), expected, "{address}");
    }
}

#[test]
fn the_table_is_bounded_whatever_comes() {
    assert!(WITH_PLACE + Reason::ALL.len() <= SLOTS);
    let folder = tempfile::tempdir().unwrap();
    let mut refusals = open(folder.path()).refusals;
    for number in 0_u32..20_000 {
        let [_, a, b, c] = number.to_be_bytes();
        let reason = Reason::ALL[number as usize % Reason::ALL.len()];
        let mut record = refusal(reason, &format!("10.{a}.{b}.{c}"));
        record.client_ip = Some(format!("{a}.{b}.{c}.1"));
        record.pep = Some(format!("pep-{}", number % 100).parse().unwrap());
        refusals.count(record);
    }
    assert!(refusals.table.slots.len() <= SLOTS);
    assert_eq!(counts(&refusals.records()), 20_000);
    refusals.store().unwrap();
    assert_eq!(fs::metadata(folder.path().join("pending")).unwrap().len(), (SLOTS * SLOT_BYTES) as u64);
    assert!(
        refusals
            .records()
            .iter()
            .any(|record| record.client_ip.as_deref() == Some(OTHER) && record.pep.is_some())
    );
    assert!(
        refusals
            .records()
            .iter()
            .any(|record| record.client_ip.as_deref() == Some(OTHER) && record.pep.is_none())
    );
}

#[test]
fn what_was_stored_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut refusals = open(folder.path()).refusals;
    for address in ["203.0.113.7", "203.0.113.8", "2001:db8::1"] {
        refusals.count(refusal(Reason::NoCredentials, address));
        refusals.store().unwrap();
    }
    let expected = refusals.records();
    drop(refusals);
    assert_eq!(open(folder.path()).records, expected);
}

#[test]
fn a_count_whose_record_is_in_the_segment_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut refusals = open(folder.path()).refusals;
    refusals.count(refusal(Reason::NoCredentials, "203.0.113.7"));
    refusals.count(refusal(Reason::TokenExpired, "203.0.113.7"));
    refusals.store().unwrap();
    let records = refusals.records();
    let segment = line::encode(&Record::Decision(Box::new(records[0].clone()))).unwrap();
    let recovered = Refusals::recover(folder.path(), &segment, false).unwrap();
    assert_eq!(recovered.records, records[1..]);
    assert_eq!(
        open(folder.path()).records,
        records[1..],
        "also after another crash, with another newest segment"
    );
}

#[test]
fn cleared_counts_do_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut refusals = open(folder.path()).refusals;
    for address in ["203.0.113.7", "203.0.114.7"] {
        refusals.count(refusal(Reason::NoCredentials, address));
    }
    refusals.store().unwrap();
    refusals.clear().unwrap();
    assert_eq!(open(folder.path()).records, []);
    refusals.count(refusal(Reason::TokenExpired, "203.0.113.7"));
    refusals.store().unwrap();
    assert_eq!(counts(&open(folder.path()).records), 1);
}

#[test]
fn a_record_too_long_for_a_slot_is_reduced_to_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let mut refusals = open(folder.path()).refusals;
    let mut long = refusal(Reason::RequestMalformed, "203.0.113.7");
    long.resource = Some("a".repeat(63).parse().unwrap());
    long.pep = Some("b".repeat(63).parse().unwrap());
    long.actors = vec!["\u{1}".repeat(300); 10];
    long.client_ip = Some("2001:db8:1111:2222:3333:4444:5555:6666".to_owned());
    refusals.count(long.clone());
    refusals.count(long.clone());
    refusals.store().unwrap();
    let recovered = open(folder.path()).records;
    assert_eq!(recovered, refusals.records());
    let record = &recovered[0];
    assert_eq!((record.count, record.decision, record.reason), (2, Outcome::Deny, Reason::RequestMalformed));
    assert_eq!((&record.resource, &record.pep), (&long.resource, &long.pep));
    assert!(record.actors.is_empty());
}

#[test]
fn a_slot_that_cannot_be_read_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let mut refusals = open(folder.path()).refusals;
    refusals.count(refusal(Reason::NoCredentials, "203.0.113.7"));
    refusals.count(refusal(Reason::TokenExpired, "203.0.113.7"));
    refusals.store().unwrap();
    refusals.file.write_all_at(b"0000000001 {\"torn", 0).unwrap();
    refusals.file.write_all_at(&[b'{'; 30], 20).unwrap();
    assert_eq!(counts(&open(folder.path()).records), 1);
}
