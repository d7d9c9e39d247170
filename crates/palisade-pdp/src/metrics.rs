//! What is counted of decisions. Label values come from the configuration or the catalogue, else they are `other`:
//! a caller can never make a new one.

use std::{fmt, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram},
};
use palisade_model::{AccessRequest, Reason, ResourceName, Surface};

use crate::{Decision, Parted, Snapshot, decide::Judgement};

/// The instruments.
pub(crate) struct Metrics {
    duration: Histogram<f64>,
    decisions: Counter<u64>,
    verifications: Counter<u64>,
    auth_success: Counter<u64>,
    auth_failure: Counter<u64>,
    tool_invocations: Counter<u64>,
    step_up_exhausted: Counter<u64>,
    rate_limited: Counter<u64>,
}

/// Upper bounds of the duration histogram, in seconds.
const BOUNDS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2];

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("palisade");
        Self {
            duration: meter
                .f64_histogram("palisade_decision_duration_seconds")
                .with_description("How long decisions take, the record included")
                .with_boundaries(BOUNDS.to_vec())
                .build(),
            decisions: meter.u64_counter("palisade_decisions_total").with_description("Decisions").build(),
            verifications: meter
                .u64_counter("palisade_token_verifications_total")
                .with_description("Tokens that a caller asked to be verified, beside decisions")
                .build(),
            auth_success: meter
                .u64_counter("mcp_auth_success_total")
                .with_description("Requests with a good token")
                .build(),
            auth_failure: meter
                .u64_counter("mcp_auth_failure_total")
                .with_description("Requests without a token or with a bad one, by reason")
                .build(),
            tool_invocations: meter
                .u64_counter("mcp_tool_invocation_total")
                .with_description("Permitted calls, by tool of the catalogue")
                .build(),
            step_up_exhausted: meter
                .u64_counter("palisade_step_up_exhausted_total")
                .with_description("Searches for a step-up that ended at a bound")
                .build(),
            rate_limited: meter
                .u64_counter("mcp_rate_limit_hit_total")
                .with_description("Requests that were refused because a limit was reached, by limit")
                .build(),
        }
    }

    pub(crate) fn step_up_exhausted(&self) {
        self.step_up_exhausted.add(1, &[]);
    }

    pub(crate) fn verified(
        &self,
        snapshot: &Snapshot,
        resource: Option<&ResourceName>,
        refused: Option<Reason>,
    ) {
        let known = resource.filter(|name| snapshot.resources.by_name(name.as_str()).is_some());
        let resource = KeyValue::new("resource", known.map_or("other", |name| name.as_str()).to_owned());
        let reason = refused.map_or("accepted", Reason::as_str);
        self.verifications.add(1, &[resource, KeyValue::new("reason", reason)]);
    }

    pub(crate) fn decided(
        &self,
        snapshot: &Snapshot,
        request: &AccessRequest,
        judgement: &Judgement,
        decided: &Parted,
        duration: Duration,
    ) {
        let surface = KeyValue::new("surface", request.surface.as_str());
        let outcome = KeyValue::new("decision", outcome(decided));
        let reason = decided.reason();
        self.duration.record(duration.as_secs_f64(), &[surface.clone(), outcome.clone()]);
        let resource = judgement.resource.as_ref().map_or("other", |resource| resource.name.as_str());
        let resource = KeyValue::new("resource", resource.to_owned());
        let labels = [surface, resource.clone(), outcome, KeyValue::new("reason", reason.as_str())];
        self.decisions.add(1, &labels);
        match &judgement.principal {
            Some(principal) if principal.authority().is_some() => self.auth_success.add(1, &[]),
            Some(_) => {}
            None if is_authentication(reason) => {
                self.auth_failure.add(1, &[KeyValue::new("reason", reason.as_str())]);
            }
            None => {}
        }
        if let Some(reached) = judgement.reached {
            let limit = KeyValue::new("limit", reached.limit.as_str());
            self.rate_limited.add(1, &[resource.clone(), limit]);
        }
        if matches!(decided, Parted::Whole(Decision::Permit(_))) {
            self.count_tools(snapshot, request);
        }
    }

    /// A search; how many results there are is on its record.
    pub(crate) fn searched(&self, resource: Option<&str>, reason: Reason, duration: Duration) {
        self.answered(Surface::Search, resource, reason, duration);
    }

    /// A list; how many entries it shows is on its record.
    pub(crate) fn listed(
        &self,
        surface: Surface,
        resource: Option<&str>,
        reason: Reason,
        duration: Duration,
    ) {
        self.answered(surface, resource, reason, duration);
    }

    /// A token of our own that was issued or refused.
    pub(crate) fn issued(&self, reason: Reason, duration: Duration) {
        self.answered(Surface::Sts, None, reason, duration);
    }

    fn answered(&self, surface: Surface, resource: Option<&str>, reason: Reason, duration: Duration) {
        let surface = KeyValue::new("surface", surface.as_str());
        let outcome = KeyValue::new("decision", if reason == Reason::Permitted { "permit" } else { "deny" });
        self.duration.record(duration.as_secs_f64(), &[surface.clone(), outcome.clone()]);
        let resource = KeyValue::new("resource", resource.unwrap_or("other").to_owned());
        self.decisions.add(1, &[surface, resource, outcome, KeyValue::new("reason", reason.as_str())]);
    }

    fn count_tools(&self, snapshot: &Snapshot, request: &AccessRequest) {
        let items = request.asked.iter().flat_map(|asked| &asked.items);
        for item in items.filter(|item| item.target.type_name == "Mcp::Tool") {
            let tool = if snapshot.policies.knows_target(&item.target) {
                item.target.id.clone()
            } else {
                "other".to_owned()
            };
            self.tool_invocations.add(1, &[KeyValue::new("tool", tool)]);
        }
    }
}

const fn outcome(decided: &Parted) -> &'static str {
    match decided {
        Parted::Whole(Decision::Permit(_)) | Parted::InPart(_) => "permit",
        Parted::Whole(Decision::Observed(_)) => "observed",
        Parted::Whole(Decision::Deny(denial)) => {
            if matches!(denial.reason, Reason::InsufficientScope | Reason::InsufficientUserAuthentication) {
                "step_up"
            } else {
                "deny"
            }
        }
    }
}

/// Whether a refusal is about the credential rather than about the request or the service.
fn is_authentication(reason: Reason) -> bool {
    reason == Reason::NoCredentials || reason.as_str().starts_with("token_")
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics(..)")
    }
}
