//! A recorded decision, explained: what `palisade decide` and `palisade why` print.

use std::fmt::Write;

use palisade_audit::{DecisionRecord, ExchangeRecord, Outcome, PolicyRef};
use palisade_model::Scopes;

use super::terminal::printable;

/// The record as sentences. Nothing is looked up: all of it was known when the decision was made.
pub(crate) fn of(record: &DecisionRecord) -> String {
    let mut text = Lines::default();
    let outcome = match record.decision {
        Outcome::Permit => "permit",
        Outcome::Observed => "observed: let by, because the resource is under observation",
        Outcome::Deny => "deny",
        Outcome::StepUp => "step-up: a stronger token would be let in",
    };
    text.add("decision", &format!("{outcome} ({})", record.reason));
    text.maybe("detail", record.detail.as_deref());
    text.maybe("code", record.policy_code.as_deref());
    text.maybe("subject", record.principal.as_deref());
    text.list("is in", &record.principal_in);
    text.list("actors", &record.actors);
    text.list("scopes", &record.scopes.iter().map(ToString::to_string).collect::<Vec<_>>());
    text.maybe("login", record.acr.as_deref());
    text.maybe("action", record.action.as_deref());
    text.maybe("target", record.target.as_deref().or(record.resource.as_ref().map(|name| name.as_str())));
    for policy in &record.determining_policies {
        let did = if record.decision == Outcome::Permit { "permitted by" } else { "forbidden by" };
        text.add(did, &place(policy));
    }
    for failed in &record.policy_errors {
        text.add("failed", &format!("{} ({}:{}): {}", failed.id, failed.file, failed.line, failed.message));
    }
    for near in &record.nearest_permits {
        let at = format!("{} ({}:{})", near.id, near.file, near.line);
        if near.failed.is_empty() {
            text.add("near", &format!("{at} would permit, if nothing forbade"));
        } else {
            text.add("near", &format!("{at} would permit, if this held:"));
            for condition in &near.failed {
                text.add("", &format!("  {condition}"));
            }
        }
    }
    if record.reason.as_str() == "no_permit" && record.nearest_permits.is_empty() {
        text.add("near", "no permit for this action on this target was found");
    }
    if let Some(exchange) = &record.exchange {
        add_exchange(exchange, &mut text);
    }
    add_remedy(record, &mut text);
    if let Some(revision) = &record.policy_revision {
        let source = record.policy_source.as_deref().unwrap_or("-");
        text.add("policies", &format!("revision {revision} of {source}"));
    }
    text.add("id", &format!("{} at {}", record.id, record.time));
    text.0
}

fn add_exchange(exchange: &ExchangeRecord, text: &mut Lines) {
    let names = |scopes: &Scopes| scopes.iter().map(ToString::to_string).collect::<Vec<_>>();
    text.add("exchange", &format!("{} for {} ({})", exchange.name, exchange.audience, exchange.reason));
    text.list("asked by", exchange.requester.as_slice());
    for policy in &exchange.determining_policies {
        text.add("", &format!("by {}", place(policy)));
    }
    text.list("asked for", &names(&exchange.requested_scopes));
    text.list("issued", &names(&exchange.scopes));
    text.list("acting", &exchange.actors);
    let said = exchange.provider_error.iter();
    for said in said.flat_map(|said| said.error.iter().chain(&said.description).chain(&said.codes)) {
        text.add("provider", said);
    }
}

fn add_remedy(record: &DecisionRecord, text: &mut Lines) {
    let scopes: Vec<String> = record.missing_scopes.iter().map(ToString::to_string).collect();
    if !scopes.is_empty() {
        text.add("helps", &format!("a token that has also the scopes: {}", scopes.join(" ")));
    }
    if !record.missing_acr.is_empty() {
        text.add("helps", &format!("a login of the class: {}", record.missing_acr.join(", ")));
    }
    if let Some(age) = record.missing_max_age {
        text.add("helps", &format!("a login that is at most {age} s old"));
    }
}

fn place(policy: &PolicyRef) -> String {
    format!("{} ({}:{})", policy.id, policy.file, policy.line)
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, what: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<13}{}", printable(what));
    }

    fn maybe(&mut self, name: &str, what: Option<&str>) {
        if let Some(what) = what {
            self.add(name, what);
        }
    }

    fn list(&mut self, name: &str, of: &[String]) {
        if !of.is_empty() {
            self.add(name, &of.join(", "));
        }
    }
}
