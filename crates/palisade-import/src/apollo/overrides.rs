//! `overrides.required_scopes`: scopes that a tool needs besides those of everybody.

use palisade_model::{ResourceName, Scope};

use super::{
    STAYS,
    auth::{all_of, wider},
};
use crate::{
    Draft,
    cedar::{Condition, Effect, Policy, action_in, uid},
    config::Resource,
    source::{Entry, Section},
};

/// The overrides that say how tools look.
const APPEARANCE: &[&str] = &[
    "annotations",
    "descriptions",
    "disable_schema_description",
    "disable_type_description",
    "enable_explorer",
    "enable_output_schema",
    "mutation_mode",
];

/// Reads the overrides into one refusal a tool.
pub(super) fn read(top: &mut Section<'_>, name: &ResourceName, resource: &mut Resource, draft: &mut Draft) {
    let Some(entry) = top.take("overrides") else { return };
    let Some(mut section) = entry.section(&mut draft.report) else {
        draft.suspend(name, entry.line, &entry.path);
        return;
    };
    if let Some(scopes) = section.take("required_scopes") {
        match scopes.section(&mut draft.report) {
            Some(mut tools) => tools.take_all().iter().for_each(|(tool, entry)| {
                if refuse(tool, entry, name, resource, draft) {
                    wider(entry, draft);
                }
            }),
            None => draft.suspend(name, scopes.line, &scopes.path),
        }
    }
    section.not_needed(APPEARANCE, STAYS, &mut draft.report);
    section.rest(&mut draft.report);
}

/// The refusal of a tool. Gives whether it asks for scopes.
fn refuse(
    tool: &str,
    entry: &Entry<'_>,
    name: &ResourceName,
    resource: &mut Resource,
    draft: &mut Draft,
) -> bool {
    let (texts, complete) = entry.texts(&mut draft.report);
    let names: Vec<&str> = texts.iter().filter_map(Entry::text).collect();
    let has_all = all_of(&names);
    if complete && has_all == Condition::Always {
        draft.report.not_needed(entry.line, &entry.path, "asks for nothing");
        return false;
    }
    let policy = Policy {
        of: name.to_string(),
        id: draft.id(format!("{name}-line-{}", entry.line)),
        comment: draft.origin(entry.line, &entry.path),
        effect: Effect::Forbid,
        principal: None,
        action: action_in("Mcp::Action", &["tools/call"]),
        resource: format!("resource == {}", uid("Mcp::Tool", &format!("{name}/{tool}"))),
        when: if complete { has_all.negated() } else { Condition::Always },
        guarded: false,
        reserved: false,
    };
    if complete {
        draft.report.carried(entry.line, &entry.path, format!("policy `{}`", policy.id));
    } else {
        draft.report.left(entry.line, &entry.path, format!("policy `{}` refuses the tool to all", policy.id));
    }
    draft.policies.push(policy);
    for text in texts.iter().filter(|entry| entry.text().is_some_and(|text| text.parse::<Scope>().is_err())) {
        draft.report.left(text.line, &text.path, "no scope: no token can hold it (RFC 6749 section 3.3)");
    }
    for scope in names.into_iter().filter(|name| name.parse::<Scope>().is_ok()) {
        for list in [&mut resource.scopes.supported, &mut resource.scopes.step_up] {
            if !list.iter().any(|known| known == scope) {
                list.push(scope.to_owned());
            }
        }
    }
    complete
}
