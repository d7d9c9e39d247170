use std::collections::BTreeSet;

use palisade_model::{PepName, Scope};
use proptest::{collection, option, prelude::*, sample};

use super::*;
use crate::{event::Event, line};

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z:/\"\\\\ ]{0,20}", "\\PC{0,20}"]
}

fn refs() -> impl Strategy<Value = Vec<PolicyRef>> {
    let policy = (texts(), texts(), any::<u32>()).prop_map(|(id, file, line)| PolicyRef { id, file, line });
    collection::vec(policy, 0..3)
}

fn records() -> impl Strategy<Value = DecisionRecord> {
    let outcome = sample::select(vec![Outcome::Permit, Outcome::Observed, Outcome::Deny, Outcome::StepUp]);
    let scopes = collection::btree_set("[a-z:]{1,9}", 0..3).prop_map(|scopes| {
        scopes.iter().map(|scope| scope.parse::<Scope>().unwrap()).collect::<BTreeSet<_>>()
    });
    let maybe = || option::of(texts());
    (
        (0_i64..4_102_444_800_000, any::<u64>(), outcome, sample::select(Reason::ALL), any::<u64>()),
        (maybe(), maybe(), maybe(), maybe(), collection::vec(texts(), 0..3)),
        (refs(), refs(), scopes, option::of("[a-z][a-z0-9-]{0,9}"), option::of(any::<u64>())),
    )
        .prop_map(
            |(
                (millis, duration_us, decision, reason, count),
                (a, b, c, d, actors),
                (e, f, scopes, name, g),
            )| {
                let time = Timestamp::from_unix_micros(millis * 1_000);
                let mut record = DecisionRecord::new(DecisionId::new(time), time);
                let failure = |policy: &PolicyRef| PolicyFailure {
                    id: policy.id.clone(),
                    file: String::new(),
                    line: 1,
                    message: policy.file.clone(),
                };
                record.duration_us = duration_us;
                record.decision = decision;
                record.reason = reason;
                record.count = count;
                record.policy_code = a.clone();
                record.principal = b.clone();
                record.actors = actors;
                record.action = c;
                record.detail = d;
                record.target = a;
                record.policy_errors = f.iter().map(failure).collect();
                record.determining_policies = e.clone();
                record.missing_scopes = scopes.clone();
                record.scopes = scopes;
                record.resource = name.as_deref().map(|name| name.parse().unwrap());
                record.pep = name.as_deref().map(|name| name.parse::<PepName>().unwrap());
                record.policy_revision = b.map(PolicyRevision::from);
                record.candidates = g;
                record.surface = Some(Surface::ExtAuthz);
                record.items = vec![ItemRecord {
                    principal: None,
                    action: "Action::\"read\"".to_owned(),
                    target: "T::\"x\"".to_owned(),
                    decision,
                    reason,
                    determining_policies: e,
                }];
                record
            },
        )
}

proptest! {
    #[test]
    fn a_record_is_read_back_from_its_line(record in records()) {
        let record = Record::Decision(Box::new(record));
        let line = line::encode(&record).unwrap();
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert_eq!(&serde_json::from_slice::<Record>(&line).unwrap(), &record);
        prop_assert!(line.starts_with(DECISION));
        prop_assert_eq!(Record::read(&line).unwrap(), record);
    }
}

#[test]
fn a_record_says_its_type_and_leaves_out_what_is_absent() {
    let time = Timestamp::from_unix_seconds(1_800_000_000);
    let id = DecisionId::new(time);
    let line = line::encode(&Record::Decision(Box::new(DecisionRecord::new(id, time)))).unwrap();
    let expected = format!(
        "{{\"type\":\"palisade.decision\",\"schema_version\":1,\"id\":\"{id}\",\"time\":\"2027-01-15T08:00:00.000Z\",\
         \"duration_us\":0,\"decision\":\"deny\",\"reason\":\"internal_error\",\"count\":1}}\n"
    );
    assert_eq!(String::from_utf8(line).unwrap(), expected);
}

#[test]
fn a_reader_ignores_fields_of_a_later_version() {
    let time = Timestamp::from_unix_seconds(1_800_000_000);
    let record = Record::Decision(Box::new(DecisionRecord::new(DecisionId::new(time), time)));
    let mut value = serde_json::to_value(&record).unwrap();
    value["later"] = serde_json::json!({ "a": 1 });
    assert_eq!(serde_json::from_value::<Record>(value).unwrap(), record);
}

#[test]
fn an_event_is_read_back_and_its_lists_stay_short() {
    let removed: crate::Listed = (0..1_000).map(|number| format!("policy{number}")).collect();
    assert_eq!((removed.count, removed.first.len()), (1_000, 100));
    let event = Event::ReloadTaken {
        previous: PolicyRevision::from("a"),
        revision: PolicyRevision::from("b"),
        added: crate::Listed::default(),
        removed,
    };
    let record = Record::Event(Box::new(EventRecord::new(Timestamp::from_unix_seconds(1), event)));
    let line = line::encode(&record).unwrap();
    assert!(line.starts_with(br#"{"type":"palisade.event","schema_version":1,"#));
    assert!(memchr::memmem::find(&line, br#""event":{"name":"reload_taken","#).is_some());
    assert_eq!(serde_json::from_slice::<Record>(&line).unwrap(), record);
}

#[test]
fn the_schema_has_every_field_of_a_record() {
    let schema = decision_record_schema().to_string();
    for field in [
        "schema_version",
        "duration_us",
        "policy_code",
        "principal",
        "token_id",
        "missing_scopes",
        "determining_policies",
        "policy_errors",
        "policy_revision",
        "policy_source",
        "candidates",
        "input_digest",
        "client_ip",
        "trace_id",
        "span_id",
        "items",
        "count",
        "palisade.decision",
        "palisade.event",
        "step_up",
        "exchange",
        "provider_error",
    ] {
        assert!(schema.contains(&format!("\"{field}\"")), "{field}");
    }
}
