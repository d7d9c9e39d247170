//! One case: a question, the decision it gets, and how that differs from what was expected.

use std::fmt::Write as _;

use palisade_model::{Action, Arguments, Circumstances, Properties, ResourceName, Surface, Target};

use serde_json::Value;

use super::file::{Age, Case, TestFile, TestResource};
use crate::{Inquiry, Kind, Outcome, Policies, Verdict};

/// What a case came to.
pub(super) struct Checked {
    pub(super) failure: Option<String>,
    /// The policies that decided it.
    pub(super) determined: Vec<String>,
}

impl Case {
    /// Asks the question and compares.
    ///
    /// # Errors
    /// When the case does not make a question.
    pub(super) fn check(&self, tests: &TestFile, policies: &Policies) -> Result<Checked, String> {
        let (name, resource) = self.resource(tests)?;
        let subject = self.principal.subject()?;
        let authority = self.token.authority(&subject, &resource.identifier, self.at.0)?;
        let action = self.action(resource.kind);
        let target = self.target(name, resource.kind, &action, policies)?;
        let arguments = self
            .arguments
            .as_ref()
            .map(|value| Arguments::from_json(value).map_err(|error| format!("arguments: {error}")))
            .transpose()?;
        let sent = self.sent.as_ref().map(Arguments::from_json).transpose();
        let sent = sent.map_err(|error| format!("sent: {error}"))?;
        let inquiry = Inquiry {
            who: subject.entity(),
            subject,
            authority,
            action,
            target,
            resource: name.clone(),
            arguments,
            supplied: self.supplied(resource.kind),
            circumstances: Circumstances {
                now: self.at.0,
                ip: self.ip,
                host: self.host.clone(),
                path: self.path.clone(),
                surface: Surface::Decide,
                asserted: self.principal.entity.is_some(),
                sent,
            },
        };
        let (outcome, verdict) = inquiry.verdict(policies, &resource.settings());
        Ok(Checked {
            failure: self.compare(&outcome, &verdict),
            determined: verdict.determining().iter().map(|policy| policy.id.clone()).collect(),
        })
    }

    /// What is known of the target; of an operation as little as there can be, but for what the case says.
    fn supplied(&self, kind: Kind) -> Properties {
        let mut members = self.properties.clone();
        if kind == Kind::Graphql && matches!(self.action.as_str(), "query" | "mutation" | "subscription") {
            let name = self.target.iter().map(|name| ("name", Value::from(name.as_str())));
            let least = [("allowlisted", false.into()), ("depth", 1.into()), ("fields", 1.into())];
            for (member, value) in least.into_iter().chain(name) {
                members.entry(member).or_insert(value);
            }
        }
        Properties::new(members)
    }

    fn resource<'a>(&self, tests: &'a TestFile) -> Result<(&'a ResourceName, &'a TestResource), String> {
        match &self.resource {
            Some(name) => tests
                .resources
                .get_key_value(name)
                .ok_or_else(|| format!("`{name}` is not one of the resources")),
            None => match (tests.resources.iter().next(), tests.resources.len()) {
                (Some(only), 1) => Ok(only),
                (Some(_) | None, _) => Err("name the `resource`: there is not exactly one".to_owned()),
            },
        }
    }

    /// `tools/call` of the resource's own protocol, or `Own::Action::"name"`.
    fn action(&self, kind: Kind) -> Action {
        let full = self.action.strip_suffix('"').and_then(|text| text.rsplit_once("Action::\""));
        match (full, kind) {
            (Some((namespace, name)), _) => {
                Action { namespace: namespace.trim_end_matches("::").to_owned(), name: name.to_owned() }
            }
            (None, Kind::Mcp) => Action::mcp(&self.action),
            (None, Kind::Http) => Action::http(&self.action),
            (None, Kind::Graphql) => Action::graphql(&self.action),
        }
    }

    /// The target by its plain name, of the one type that the action is done to; or a whole entity.
    fn target(
        &self,
        resource: &ResourceName,
        kind: Kind,
        action: &Action,
        policies: &Policies,
    ) -> Result<Target, String> {
        let whole = match kind {
            Kind::Mcp => Target::mcp_server(resource),
            Kind::Http => Target { type_name: "Http::Service".to_owned(), id: resource.to_string() },
            Kind::Graphql => Target::graphql_graph(resource),
        };
        let Some(name) = &self.target else { return Ok(whole) };
        if let Some((type_name, id)) = name.strip_suffix('"').and_then(|text| text.split_once("::\"")) {
            return Ok(Target { type_name: type_name.to_owned(), id: id.to_owned() });
        }
        if kind == Kind::Graphql && action.name == "field" {
            return Ok(Target::graphql_element(resource, name));
        }
        let act = policies.vocabulary().action(action);
        let mut types =
            act.into_iter().flat_map(|act| &act.resources).filter(|name| **name != whole.type_name);
        let id = match kind {
            Kind::Mcp | Kind::Graphql => format!("{resource}/{name}"),
            Kind::Http => format!("{resource}{name}"),
        };
        match (types.next(), types.next()) {
            (Some(type_name), None) => Ok(Target { type_name: type_name.clone(), id }),
            (Some(_), Some(_)) => Err(format!(
                "`{}` is done to several types: write the target like `Mcp::Prompt::\"{id}\"`",
                self.action
            )),
            (None, _) => Err(format!("`{}` takes no target but the server", self.action)),
        }
    }

    /// What differs, one line a difference, or nothing.
    fn compare(&self, outcome: &Outcome, verdict: &Verdict) -> Option<String> {
        let mut lines = String::new();
        let mut differ = |key: &str, expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "- {key}: {expected}\n+ {key}: {found}");
        };
        if self.expect != outcome.decision {
            differ("expect", &self.expect.as_str(), &outcome.decision.as_str());
        }
        if let Some(reason) = self.reason.filter(|reason| *reason != outcome.reason) {
            differ("reason", &reason, &outcome.reason);
        }
        let determining: std::collections::BTreeSet<String> =
            verdict.determining().iter().map(|policy| policy.id.clone()).collect();
        if let Some(expected) = self.determining.as_ref().filter(|expected| **expected != determining) {
            differ("determining", &list(expected), &list(&determining));
        }
        if let Some(code) = self.policy_code.as_deref().filter(|code| Some(*code) != verdict.policy_code()) {
            differ("policy_code", &code, &verdict.policy_code().unwrap_or("none"));
        }
        if let Some(expected) =
            self.missing_scopes.as_ref().filter(|expected| **expected != outcome.missing_scopes)
        {
            differ("missing_scopes", &list(expected), &list(&outcome.missing_scopes));
        }
        if let Some(expected) = self.acr_values.as_ref().filter(|expected| **expected != outcome.acr_values) {
            differ("acr_values", &list(expected), &list(&outcome.acr_values));
        }
        if let Some(Age(expected)) = self.max_age.filter(|Age(expected)| Some(*expected) != outcome.max_age) {
            differ("max_age", &format!("{expected:?}"), &format!("{:?}", outcome.max_age));
        }
        if lines.is_empty() {
            return None;
        }
        let _ = write!(lines, "{}", circumstances_of(outcome, verdict));
        Some(lines.trim_end().to_owned())
    }
}

/// What else is known, for whoever has to find out why.
fn circumstances_of(outcome: &Outcome, verdict: &Verdict) -> String {
    let mut text = format!("  reason: {}\n", outcome.reason);
    for policy in verdict.determining() {
        let _ = writeln!(text, "  determined by {}:{}: {}", policy.file, policy.line, policy.id);
    }
    for error in verdict.errors() {
        let _ = writeln!(
            text,
            "  {}:{}: {}: {}",
            error.policy.file, error.policy.line, error.policy.id, error.message
        );
    }
    if let Some(detail) = verdict.detail() {
        let _ = writeln!(text, "  {detail}");
    }
    text
}

fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    format!("[{}]", items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", "))
}
