//! A judgement as a record of the decision log, and the trace it belongs to.

use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use palisade_audit::{
    AuditLog, DecisionRecord, ExchangeRecord, ItemRecord, NearPermit, Outcome as Recorded, PolicyFailure,
    PolicyRef,
};
use palisade_model::{
    AccessRequest, Asked, Credential, DecisionId, ExchangeName, Item, Properties, Reason, Refusal, Scopes,
    Timestamp,
};
use palisade_policy::Verdict;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    Issued, Remedy, Snapshot,
    decide::{Judgement, Outcome},
    exchange,
    principal::Principal,
};

/// Makes a span a child of the span that the proxy's `traceparent` names.
pub(crate) fn continue_trace(span: &tracing::Span, request: &AccessRequest) {
    let Some(trace) = request.trace else { return };
    let flags = if trace.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let parent = SpanContext::new(
        TraceId::from_bytes(trace.trace),
        SpanId::from_bytes(trace.span),
        flags,
        true,
        TraceState::default(),
    );
    // A span that is not recorded has no parent to set; that changes nothing of the decision.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
}

/// How many roles and groups of a principal a record holds.
const MOST_PARENTS: usize = 64;

/// The record of a judgement.
pub(crate) fn of(
    id: DecisionId,
    snapshot: &Snapshot,
    request: &AccessRequest,
    judgement: &mut Judgement,
    audit: &AuditLog,
    time: Timestamp,
    duration: Duration,
) -> DecisionRecord {
    let mut record = DecisionRecord::new(id, time);
    record.duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    record.detail.clone_from(&judgement.detail);
    (record.decision, record.reason) = match judgement.outcome {
        Outcome::Permit | Outcome::InPart => (Recorded::Permit, Reason::Permitted),
        Outcome::Observe(would_be) => {
            record.detail = Some(format!("enforcement would have said {would_be}"));
            (Recorded::Observed, Reason::Observed)
        }
        Outcome::Deny(reason @ (Reason::InsufficientScope | Reason::InsufficientUserAuthentication)) => {
            (Recorded::StepUp, reason)
        }
        Outcome::Deny(reason) => (Recorded::Deny, reason),
    };
    record.resource = judgement.resource.as_ref().map(|resource| resource.name.clone());
    record.missing_scopes.clone_from(&judgement.missing_scopes);
    if let Remedy::Authentication { acr_values, max_age } = &judgement.remedy {
        record.missing_acr.clone_from(acr_values);
        record.missing_max_age = max_age.map(|age| age.as_secs());
    }
    record.nearest_permits = judgement.nearest.iter().map(near_permit).collect();
    record.policy_revision = Some(snapshot.revision.clone());
    record.policy_source = Some(snapshot.source.clone());
    add_subject(&mut record, judgement);
    add_request(&mut record, request);
    record.exchange = judgement.exchange_record.take();
    if let Ok(asked) = &request.asked {
        add_asked(&mut record, asked, judgement, audit);
    }
    record.ignored = ignored(snapshot, request);
    record
}

/// The most names of supplied attributes that a record holds.
const MOST_IGNORED: usize = 32;

/// What the caller supplied and took no part.
pub(crate) fn ignored(snapshot: &Snapshot, request: &AccessRequest) -> Vec<String> {
    let pep = request.pep.as_ref().and_then(|name| snapshot.peps.by_name(name));
    let mut all = Vec::new();
    let mut add = |what: &str, type_name: &str, id: &str, supplied: &Properties| {
        if supplied.is_empty() {
            return;
        }
        let aside = snapshot.policies.left_aside(type_name, id, supplied);
        let may = |name: &str| pep.is_some_and(|pep| pep.supplies.contains(name));
        let names = supplied.names().filter(|name| !may(name) || aside.contains(name));
        all.extend(names.map(|name| format!("{what}.{name}")));
    };
    if let Credential::AssertedByPep(subject) = &request.credential {
        add("subject", subject.kind.type_name(), &subject.id, &subject.supplied);
    }
    for item in request.asked.iter().flat_map(|asked| &asked.items) {
        add("resource", &item.target.type_name, &item.target.id, &item.supplied);
    }
    let unseen = |item: &Item| {
        let any = item.arguments.as_ref().is_some_and(|arguments| !arguments.paths.is_empty());
        any && !snapshot.policies.takes_arguments(&item.action)
    };
    if request.asked.iter().flat_map(|asked| &asked.items).any(unseen) {
        all.push("action.properties".to_owned());
    }
    all.truncate(MOST_IGNORED);
    all
}

fn add_subject(record: &mut DecisionRecord, judgement: &Judgement) {
    let Some(principal) = &judgement.principal else { return };
    add_principal(record, principal, &judgement.scopes);
}

pub(crate) fn add_principal(record: &mut DecisionRecord, principal: &Principal, scopes: &Scopes) {
    record.principal = Some(principal.subject().entity());
    record.asserted = principal.is_asserted();
    record.principal_in = principal.subject().parents();
    if record.principal_in.len() > MOST_PARENTS {
        record.principal_in.truncate(MOST_PARENTS);
        record.detail = Some(
            record.detail.take().map_or_else(String::new, |detail| format!("{detail}; "))
                + "principal_in cut",
        );
    }
    record.scopes.clone_from(scopes);
    if let Some(authority) = principal.authority() {
        let client = |id: &String| format!("Client::{id:?}");
        record.actors = authority.actors.iter().map(client).collect();
        record.client = authority.client.as_ref().map(client);
        record.issuer = Some(authority.issuer.clone());
        record.acr.clone_from(&authority.acr);
        record.token_id = Some(authority.token_id.clone());
    }
}

pub(crate) fn add_request(record: &mut DecisionRecord, request: &AccessRequest) {
    record.surface = Some(request.surface);
    record.pep.clone_from(&request.pep);
    record.client_ip = request.client_ip.map(|ip| ip.to_string());
    record.request_id.clone_from(&request.request_id);
    let own = tracing::Span::current().context().span().span_context().clone();
    if own.is_valid() {
        record.trace_id = Some(own.trace_id().to_string());
        record.span_id = Some(own.span_id().to_string());
    } else if let Some(trace) = request.trace {
        record.trace_id = Some(TraceId::from_bytes(trace.trace).to_string());
        record.span_id = Some(SpanId::from_bytes(trace.span).to_string());
    }
}

/// What was asked: of a batch, the item that decided stands in the record's own fields.
fn add_asked(record: &mut DecisionRecord, asked: &Asked, judgement: &Judgement, audit: &AuditLog) {
    let verdicts = judgement.verdicts.as_slice();
    let operation = judgement.operation.as_ref();
    let first_denied = || verdicts.iter().position(|verdict| !verdict.permits()).unwrap_or(0);
    let deciding = operation.map_or_else(first_denied, |operation| operation.deciding);
    let Some(item) = judgement.denied_inside.as_ref().or_else(|| asked.items.get(deciding)) else { return };
    let part = operation.and_then(|operation| operation.part.as_ref());
    let (action, target) = part.map_or((&item.action, &item.target), |(action, target)| (action, target));
    record.action = Some(action.entity());
    record.target = Some(target.entity());
    record.path = item.target.http_template().map(str::to_owned);
    let digest = item.arguments.as_ref().filter(|arguments| !arguments.paths.is_empty());
    record.input_digest = digest.map(|arguments| audit.input_digest(&arguments.digest));
    // What a directive denies, no policy has decided.
    if let Some(verdict) = verdicts.get(deciding).filter(|_| part.is_none()) {
        record.policy_code = verdict.policy_code().map(str::to_owned);
        record.determining_policies = verdict.determining().iter().map(policy_ref).collect();
        record.policy_errors = verdict.errors().iter().map(failure).collect();
        if record.detail.is_none() {
            record.detail = verdict.detail().map(str::to_owned);
        }
    }
    if !verdicts.is_empty() {
        let candidates: usize = verdicts.iter().map(Verdict::candidates).sum();
        record.candidates = u64::try_from(candidates).ok();
    }
    if let Some(operation) = operation {
        let told = operation.told(asked, judgement.outcome);
        record.detail = Some(record.detail.take().map_or(told.clone(), |detail| format!("{told}; {detail}")));
        record.items.clone_from(&operation.items);
    } else if asked.batch || asked.items.len() > 1 || !judgement.inner.is_empty() {
        let items = asked.items.iter().zip(verdicts).map(|(item, verdict)| item_record(item, verdict));
        record.items = items.chain(judgement.inner.iter().cloned()).collect();
    }
}

/// The record of an exchange before anything is known of it.
pub(crate) fn begun(name: &ExchangeName, audience: &str) -> ExchangeRecord {
    ExchangeRecord {
        name: name.clone(),
        audience: audience.to_owned(),
        requester: None,
        reason: Reason::Permitted,
        requested_scopes: Scopes::new(),
        lifetime_s: None,
        source: None,
        duration_us: None,
        scopes: Scopes::new(),
        actors: Vec::new(),
        token_id: None,
        expires_at: None,
        provider_error: None,
        determining_policies: Vec::new(),
        policy_errors: Vec::new(),
    }
}

/// What the policies said of an exchange.
pub(crate) fn add_exchange_policies(record: &mut ExchangeRecord, verdict: &Verdict) {
    record.determining_policies = verdict.determining().iter().map(policy_ref).collect();
    record.policy_errors = verdict.errors().iter().map(failure).collect();
}

/// What came of an order; for the decision, why there is no token where there is none.
pub(crate) fn add_result(record: &mut ExchangeRecord, result: &exchange::Outcome) -> Result<(), Refusal> {
    match result {
        Ok(issued) => {
            add_issued(record, issued);
            Ok(())
        }
        Err(failure) => {
            record.reason = failure.kind.reason();
            record.provider_error = failure.said.as_deref().cloned();
            Err(Refusal::new(record.reason, failure.detail.clone()))
        }
    }
}

/// What was issued, without the token.
fn add_issued(record: &mut ExchangeRecord, issued: &Issued) {
    record.scopes.clone_from(&issued.scopes);
    record.actors = issued.actors.iter().map(|id| format!("Client::{id:?}")).collect();
    record.token_id = Some(issued.token_id.clone());
    record.expires_at = Some(issued.expires_at);
}

pub(crate) fn item_record(item: &Item, verdict: &Verdict) -> ItemRecord {
    ItemRecord {
        principal: None,
        action: item.action.entity(),
        target: item.target.entity(),
        decision: if verdict.permits() { Recorded::Permit } else { Recorded::Deny },
        reason: verdict.reason(),
        determining_policies: verdict.determining().iter().map(policy_ref).collect(),
    }
}

fn policy_ref(policy: &palisade_policy::PolicyRef) -> PolicyRef {
    PolicyRef { id: policy.id.clone(), file: policy.file.clone(), line: line(policy) }
}

fn near_permit(near: &palisade_policy::NearPermit) -> NearPermit {
    let (id, file) = (near.policy.id.clone(), near.policy.file.clone());
    NearPermit { id, file, line: line(&near.policy), failed: near.failed.clone() }
}

fn failure(failure: &palisade_policy::PolicyFailure) -> PolicyFailure {
    PolicyFailure {
        id: failure.policy.id.clone(),
        file: failure.policy.file.clone(),
        line: line(&failure.policy),
        message: failure.message.clone(),
    }
}

fn line(policy: &palisade_policy::PolicyRef) -> u32 {
    u32::try_from(policy.line).unwrap_or(u32::MAX)
}
