//! A record as an OTLP log record.
//!
//! Severity INFO for a permit, WARN for a denial; the event name is the record's type; the body is a short line for
//! people; everything else is in attributes: `palisade.*` for our own, and the standard names of OpenTelemetry's
//! semantic conventions where there is one.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    resource::v1::Resource,
};
use palisade_model::Timestamp;
use serde_json::Value as Json;

use crate::{
    event::EventRecord,
    exchange::ExchangeRecord,
    record::{DecisionRecord, Outcome, Record},
};

/// The log record of a line; `None` for the first line of a segment.
pub(crate) fn log_record(record: &Record) -> Option<LogRecord> {
    match record {
        Record::Decision(record) => Some(decision(record)),
        Record::Event(record) => Some(event(record)),
        Record::Segment(_) => None,
    }
}

/// The records of one service instance.
pub(crate) fn resource_logs(instance: &str, log_records: Vec<LogRecord>) -> ResourceLogs {
    let attributes = Attributes::default()
        .text("service.name", "palisade")
        .text("service.version", env!("CARGO_PKG_VERSION"))
        .text("service.instance.id", instance);
    let resource = Resource { attributes: attributes.0, ..Resource::default() };
    let scope = InstrumentationScope { name: "palisade".to_owned(), ..InstrumentationScope::default() };
    let scope_logs = ScopeLogs { scope: Some(scope), log_records, ..ScopeLogs::default() };
    ResourceLogs { resource: Some(resource), scope_logs: vec![scope_logs], ..ResourceLogs::default() }
}

fn decision(record: &DecisionRecord) -> LogRecord {
    let warn = match record.decision {
        Outcome::Permit => false,
        Outcome::Observed | Outcome::Deny | Outcome::StepUp => true,
    };
    let who = record.principal.as_deref().unwrap_or("somebody unknown");
    let what = record.action.as_deref().unwrap_or("an unknown action");
    let body = match record.target.as_deref().or(record.resource.as_ref().map(|name| name.as_str())) {
        Some(target) => format!("{} ({}): {who}, {what}, {target}", record.decision.as_str(), record.reason),
        None => format!("{} ({}): {who}, {what}", record.decision.as_str(), record.reason),
    };
    LogRecord {
        trace_id: hex_bytes(record.trace_id.as_deref(), 16),
        span_id: hex_bytes(record.span_id.as_deref(), 8),
        attributes: graphql(mcp(decision_attributes(record), record), record).0,
        ..base("palisade.decision", record.time, warn, body)
    }
}

fn decision_attributes(record: &DecisionRecord) -> Attributes {
    Attributes::default()
        .number("palisade.schema_version", record.schema_version.into())
        .text("palisade.id", record.id.to_string())
        .number("palisade.duration_us", record.duration_us)
        .text("palisade.decision", record.decision.as_str())
        .text("palisade.reason", record.reason.as_str())
        .number("palisade.count", record.count)
        .maybe("palisade.policy_code", record.policy_code.as_deref())
        .maybe("palisade.detail", record.detail.as_deref())
        .maybe("palisade.principal", record.principal.as_deref())
        .maybe("enduser.id", record.principal.as_deref().and_then(entity_id))
        .texts("palisade.principal_in", record.principal_in.iter().cloned())
        .maybe("palisade.acr", record.acr.as_deref())
        .texts("palisade.actors", record.actors.iter().cloned())
        .maybe("palisade.client", record.client.as_deref())
        .maybe("palisade.issuer", record.issuer.as_ref().map(|name| name.as_str()))
        .maybe("palisade.token_id", record.token_id.as_deref())
        .maybe("palisade.action", record.action.as_deref())
        .maybe("palisade.resource", record.resource.as_ref().map(|name| name.as_str()))
        .maybe("palisade.target", record.target.as_deref())
        .texts("palisade.scopes", record.scopes.iter().map(ToString::to_string))
        .texts("palisade.missing_scopes", record.missing_scopes.iter().map(ToString::to_string))
        .texts("palisade.missing_acr", record.missing_acr.iter().cloned())
        .maybe_number("palisade.missing_max_age", record.missing_max_age)
        .texts(
            "palisade.nearest_permits",
            record
                .nearest_permits
                .iter()
                .map(|near| format!("{} ({}:{}): {}", near.id, near.file, near.line, near.failed.join("; "))),
        )
        .texts(
            "palisade.determining_policies",
            record
                .determining_policies
                .iter()
                .map(|policy| format!("{} ({}:{})", policy.id, policy.file, policy.line)),
        )
        .texts(
            "palisade.policy_errors",
            record
                .policy_errors
                .iter()
                .map(|failed| format!("{} ({}:{}): {}", failed.id, failed.file, failed.line, failed.message)),
        )
        .maybe("palisade.policy_revision", record.policy_revision.as_ref().map(|revision| revision.as_str()))
        .maybe("palisade.policy_source", record.policy_source.as_deref())
        .maybe_number("palisade.candidates", record.candidates)
        .maybe("palisade.surface", record.surface.map(|surface| surface.as_str()))
        .maybe("palisade.pep", record.pep.as_ref().map(|name| name.as_str()))
        .maybe("client.address", record.client_ip.as_deref())
        .maybe("palisade.request_id", record.request_id.as_deref())
        .maybe("url.template", record.path.as_deref())
        .maybe("palisade.input_digest", record.input_digest.as_deref())
        .exchange(record.exchange.as_deref())
        .texts(
            "palisade.items",
            record.items.iter().map(|item| {
                format!("{} ({}): {}, {}", item.decision.as_str(), item.reason, item.action, item.target)
            }),
        )
}

/// The attributes of a call to an MCP server, by the names of the conventions for MCP.
fn mcp(attributes: Attributes, record: &DecisionRecord) -> Attributes {
    let method =
        record.action.as_deref().filter(|action| action.starts_with("Mcp::Action::")).and_then(entity_id);
    let tool = record
        .target
        .as_deref()
        .filter(|target| target.starts_with("Mcp::Tool::"))
        .and_then(entity_id)
        .and_then(|id| id.split_once('/'))
        .map(|(_resource, tool)| tool);
    attributes.maybe("mcp.method.name", method).maybe("mcp.tool.name", tool).maybe("gen_ai.tool.name", tool)
}

/// The attributes of a GraphQL operation, by the names of the conventions for GraphQL. Where a part of it was denied, it is among
/// the items.
fn graphql(attributes: Attributes, record: &DecisionRecord) -> Attributes {
    let own = record.action.as_deref().zip(record.target.as_deref());
    let items = record.items.iter().map(|item| (item.action.as_str(), item.target.as_str()));
    let operation =
        own.into_iter().chain(items).find(|(_, target)| target.starts_with("Graphql::Operation::"));
    let kind = operation.and_then(|(action, _)| entity_id(action));
    let name = operation.and_then(|(_, target)| entity_id(target)?.split_once('/'));
    // One without a name goes by its hash.
    let is_hash = |name: &&str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = name.map(|(_graph, name)| name).filter(|name| !is_hash(name));
    attributes.maybe("graphql.operation.type", kind).maybe("graphql.operation.name", name)
}

fn event(record: &EventRecord) -> LogRecord {
    let mut attributes = Attributes::default()
        .number("palisade.schema_version", record.schema_version.into())
        .text("palisade.id", record.id.to_string())
        .text("palisade.event", record.event.name());
    // The fields of an event go by the names they have in the record.
    if let Ok(Json::Object(fields)) = serde_json::to_value(&record.event) {
        for (name, value) in fields.into_iter().filter(|(name, _)| name != "name") {
            let value = match value {
                Json::String(text) => text,
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                    value.to_string()
                }
            };
            attributes = attributes.text(&format!("palisade.event.{name}"), value);
        }
    }
    let body = record.event.name().replace('_', " ");
    LogRecord {
        attributes: attributes.0,
        ..base("palisade.event", record.time, record.event.is_warning(), body)
    }
}

fn base(event_name: &str, time: Timestamp, warn: bool, body: String) -> LogRecord {
    let nanos = u64::try_from(time.unix_micros()).unwrap_or(0).saturating_mul(1_000);
    let (number, text) = if warn { (SeverityNumber::Warn, "WARN") } else { (SeverityNumber::Info, "INFO") };
    LogRecord {
        time_unix_nano: nanos,
        observed_time_unix_nano: nanos,
        severity_number: number.into(),
        severity_text: text.to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        event_name: event_name.to_owned(),
        ..LogRecord::default()
    }
}

/// `corp/alice` of `User::"corp/alice"`.
fn entity_id(entity: &str) -> Option<&str> {
    entity.split_once("::\"").and_then(|(_, id)| id.strip_suffix('"'))
}

/// The bytes of a trace or span id; none where it has another length.
fn hex_bytes(text: Option<&str>, length: usize) -> Vec<u8> {
    text.and_then(|text| hex::decode(text).ok()).filter(|bytes| bytes.len() == length).unwrap_or_default()
}

/// Attributes, built without what is absent.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn with(mut self, key: &str, value: Value) -> Self {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value, ..KeyValue::default() });
        self
    }

    fn text(self, key: &str, text: impl Into<String>) -> Self {
        self.with(key, Value::StringValue(text.into()))
    }

    fn number(self, key: &str, number: u64) -> Self {
        self.with(key, Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn exchange(self, exchange: Option<&ExchangeRecord>) -> Self {
        let Some(exchange) = exchange else { return self };
        let said = exchange.provider_error.as_ref();
        self.text("palisade.exchange.name", exchange.name.as_str())
            .text("palisade.exchange.audience", exchange.audience.as_str())
            .text("palisade.exchange.reason", exchange.reason.as_str())
            .texts(
                "palisade.exchange.requested_scopes",
                exchange.requested_scopes.iter().map(ToString::to_string),
            )
            .texts("palisade.exchange.scopes", exchange.scopes.iter().map(ToString::to_string))
            .texts("palisade.exchange.actors", exchange.actors.iter().cloned())
            .maybe("palisade.exchange.token_id", exchange.token_id.as_deref())
            .maybe_number("palisade.exchange.duration_us", exchange.duration_us)
            .maybe("palisade.exchange.provider_error", said.and_then(|said| said.error.as_deref()))
            .maybe(
                "palisade.exchange.provider_description",
                said.and_then(|said| said.description.as_deref()),
            )
            .texts(
                "palisade.exchange.provider_codes",
                said.iter().flat_map(|said| said.codes.iter().cloned()),
            )
    }

    fn maybe(self, key: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(key, text),
            None => self,
        }
    }

    fn maybe_number(self, key: &str, number: Option<u64>) -> Self {
        match number {
            Some(number) => self.number(key, number),
            None => self,
        }
    }

    fn texts(self, key: &str, texts: impl Iterator<Item = String>) -> Self {
        let values: Vec<AnyValue> =
            texts.map(|text| AnyValue { value: Some(Value::StringValue(text)) }).collect();
        if values.is_empty() { self } else { self.with(key, Value::ArrayValue(ArrayValue { values })) }
    }
}

#[cfg(test)]
mod tests;
