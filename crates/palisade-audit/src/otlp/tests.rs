use palisade_model::{DecisionId, PolicyRevision, Reason};

use super::*;
use crate::{
    event::{Event, Listed},
    record::{ItemRecord, PolicyRef},
};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn text(value: &AnyValue) -> String {
    match value.value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::ArrayValue(array) => array.values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::BoolValue(_)
        | Value::DoubleValue(_)
        | Value::KvlistValue(_)
        | Value::BytesValue(_)
        | Value::StringValueStrindex(_) => panic!("not sent: {value:?}"),
    }
}

fn attribute(record: &LogRecord, key: &str) -> Option<String> {
    record.attributes.iter().find(|pair| pair.key == key).map(|pair| text(pair.value.as_ref().unwrap()))
}

fn denial() -> DecisionRecord {
    let mut record = DecisionRecord::new(DecisionId::new(NOW), NOW);
    record.reason = Reason::NoPermit;
    record.principal = Some("User::\"corp/alice\"".to_owned());
    record.action = Some("Mcp::Action::\"tools/call\"".to_owned());
    record.target = Some("Mcp::Tool::\"files/delete_file\"".to_owned());
    record.scopes = ["files:read", "files:list"].map(|scope| scope.parse().unwrap()).into();
    record.determining_policies = vec![PolicyRef { id: "p".to_owned(), file: "a.cedar".to_owned(), line: 3 }];
    record.client_ip = Some("203.0.113.7".to_owned());
    record.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
    record.span_id = Some("00f067aa0ba902b7".to_owned());
    record
}

#[test]
fn a_denial_is_a_warning_with_its_trace_and_standard_attributes() {
    let record = log_record(&Record::Decision(Box::new(denial()))).unwrap();
    assert_eq!(
        (record.severity_number, record.severity_text.as_str()),
        (SeverityNumber::Warn as i32, "WARN")
    );
    assert_eq!(record.event_name, "palisade.decision");
    assert_eq!(record.time_unix_nano, 1_800_000_000_000_000_000);
    assert_eq!(hex::encode(&record.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex::encode(&record.span_id), "00f067aa0ba902b7");
    assert_eq!(
        text(record.body.as_ref().unwrap()),
        "deny (no_permit): User::\"corp/alice\", Mcp::Action::\"tools/call\", Mcp::Tool::\"files/delete_file\""
    );
    for (key, expected) in [
        ("palisade.decision", Some("deny")),
        ("palisade.reason", Some("no_permit")),
        ("palisade.count", Some("1")),
        ("palisade.scopes", Some("files:list, files:read")),
        ("palisade.determining_policies", Some("p (a.cedar:3)")),
        ("enduser.id", Some("corp/alice")),
        ("client.address", Some("203.0.113.7")),
        ("mcp.method.name", Some("tools/call")),
        ("mcp.tool.name", Some("delete_file")),
        ("gen_ai.tool.name", Some("delete_file")),
        ("palisade.missing_scopes", None),
        ("palisade.detail", None),
    ] {
        assert_eq!(attribute(&record, key).as_deref(), expected, "{key}");
    }
}

#[test]
fn an_operation_is_named_also_where_a_part_of_it_was_denied() {
    let mut record = denial();
    record.action = Some("Graphql::Action::\"field\"".to_owned());
    record.target = Some("Graphql::Field::\"shop/Customer.email\"".to_owned());
    let item = |target: &str| ItemRecord {
        principal: None,
        action: "Graphql::Action::\"mutation\"".to_owned(),
        target: format!("Graphql::Operation::\"shop/{target}\""),
        decision: Outcome::Permit,
        reason: Reason::Permitted,
        determining_policies: Vec::new(),
    };
    for (target, name) in [("Checkout", Some("Checkout")), (&"0a".repeat(32), None)] {
        record.items = vec![item(target)];
        let told = log_record(&Record::Decision(Box::new(record.clone()))).unwrap();
        assert_eq!(attribute(&told, "graphql.operation.type").as_deref(), Some("mutation"));
        assert_eq!(attribute(&told, "graphql.operation.name").as_deref(), name);
        assert_eq!(attribute(&told, "mcp.method.name"), None);
    }
}

#[test]
fn severity_follows_the_outcome() {
    for (decision, severity) in [
        (Outcome::Permit, SeverityNumber::Info),
        (Outcome::Observed, SeverityNumber::Warn),
        (Outcome::Deny, SeverityNumber::Warn),
        (Outcome::StepUp, SeverityNumber::Warn),
    ] {
        let record = DecisionRecord { decision, ..denial() };
        let record = log_record(&Record::Decision(Box::new(record))).unwrap();
        assert_eq!(record.severity_number, severity as i32, "{decision:?}");
    }
}

#[test]
fn ids_of_another_length_are_left_out() {
    for wrong in ["", "4bf9", "not hex"] {
        let record = DecisionRecord { trace_id: Some(wrong.to_owned()), span_id: None, ..denial() };
        let record = log_record(&Record::Decision(Box::new(record))).unwrap();
        assert_eq!((record.trace_id, record.span_id), (vec![], vec![]));
    }
}

#[test]
fn events_carry_their_fields() {
    let event = Event::ReloadRefused {
        revision: PolicyRevision::from("r1"),
        error: "a.cedar:3: unexpected token".to_owned(),
        added: ["p9".to_owned()].into_iter().collect(),
        removed: Listed::default(),
    };
    let record = log_record(&Record::Event(Box::new(EventRecord::new(NOW, event)))).unwrap();
    assert_eq!((record.event_name.as_str(), record.severity_text.as_str()), ("palisade.event", "WARN"));
    assert_eq!(attribute(&record, "palisade.event").as_deref(), Some("reload_refused"));
    assert_eq!(attribute(&record, "palisade.event.error").as_deref(), Some("a.cedar:3: unexpected token"));
    assert_eq!(attribute(&record, "palisade.event.revision").as_deref(), Some("r1"));
    assert_eq!(
        attribute(&record, "palisade.event.added").as_deref(),
        Some("{\"count\":1,\"first\":[\"p9\"]}")
    );
}
