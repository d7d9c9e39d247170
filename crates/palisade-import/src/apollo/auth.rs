//! `transport.auth`: who issues tokens, for whom, and which scopes everybody needs.

use palisade_model::{ResourceName, Scope};

use super::{identifier, issuers::issuers};
use crate::{
    Draft,
    cedar::{Condition, Effect, Policy, action_in, set, uid},
    config::Resource,
    source::{Entry, Section, UNREADABLE},
};

/// The methods that Apollo answers without a token.
const DISCOVERY: [&str; 3] = ["initialize", "tools/list", "resources/list"];

/// What everybody needs.
#[derive(Debug)]
pub(super) struct Needed {
    line: u64,
    what: &'static str,
    scopes: Condition,
    /// The line that lets discovery by without a token.
    anonymous: Option<u64>,
}

/// Reads the block into the resource and its issuers.
pub(super) fn read(
    auth: Option<&Entry<'_>>,
    name: &ResourceName,
    resource: &mut Resource,
    draft: &mut Draft,
) -> Needed {
    let nothing = Needed { line: 0, what: "transport.auth", scopes: Condition::Always, anonymous: None };
    let section = auth.and_then(|auth| auth.section(&mut draft.report));
    let (Some(auth), Some(mut section)) = (auth, section) else {
        draft.report.left(
            0,
            "transport.auth",
            "Apollo takes requests without a token; Palisade asks for one",
        );
        resource.identifier = draft.missing_identifier(0, "transport.auth.resource", name);
        resource.issuers.extend(draft.missing_issuer(0, "transport.auth.servers"));
        if auth.is_some() {
            draft.suspend(name, 0, "transport.auth");
        }
        return nothing;
    };
    resource.identifier = identifier(section.take("resource").as_ref(), name, draft);
    resource.issuers = issuers(auth, &mut section, draft);
    resource.audiences = audiences(auth, &mut section, name, draft);
    let scopes = scopes(&mut section, name, resource, draft);
    documentation(&mut section, resource, draft);
    passthrough(&mut section, resource, draft);
    let anonymous = discovery(&mut section, name, resource, draft);
    section.not_needed(
        &["jwks_cache_ttl", "jwks_min_refresh_interval"],
        "Palisade fetches keys by itself",
        &mut draft.report,
    );
    section.left(
        &["discovery_headers"],
        "Palisade sends no headers of yours when it fetches keys; let its requests by without them",
        &mut draft.report,
    );
    section.rest(&mut draft.report);
    Needed { line: auth.line, scopes, anonymous, ..nothing }
}

/// The permission for everybody who signed in and has the scopes, and the one for discovery.
pub(super) fn permit(name: &ResourceName, needed: Needed, draft: &mut Draft) {
    let server = uid("Mcp::Server", name.as_str());
    let policy = Policy {
        of: name.to_string(),
        id: draft.id(format!("{name}-signed-in")),
        comment: draft.origin(needed.line, needed.what),
        effect: Effect::Permit,
        principal: None,
        action: "action".to_owned(),
        resource: format!("resource in {server}"),
        when: needed.scopes,
        guarded: true,
        reserved: false,
    };
    draft.report.permitted(
        needed.line,
        needed.what,
        name.as_str(),
        format!("policy `{}`: whoever signed in may use the server", policy.id),
    );
    if let Some(line) = needed.anonymous {
        let discovery = Policy {
            id: draft.id(format!("{name}-discovery")),
            comment: draft.origin(line, "transport.auth.allow_anonymous_mcp_discovery"),
            principal: Some("principal is Anonymous".to_owned()),
            action: action_in("Mcp::Action", &DISCOVERY),
            resource: format!("resource == {server}"),
            when: Condition::Always,
            ..policy.clone()
        };
        draft.policies.push(discovery);
    }
    draft.policies.insert(0, policy);
}

fn audiences(
    auth: &Entry<'_>,
    section: &mut Section<'_>,
    name: &ResourceName,
    draft: &mut Draft,
) -> Vec<String> {
    let any = section.take("allow_any_audience");
    let allows_any = any.as_ref().is_some_and(|entry| entry.bool() == Some(true));
    if let Some(entry) = &any {
        super::off_only(
            entry,
            "Palisade refuses tokens for others at an MCP server: list the audiences under `audiences`",
            draft,
        );
    }
    let listed = section.take("audiences");
    let (line, path) = listed
        .as_ref()
        .map_or((auth.line, "transport.auth.audiences"), |entry| (entry.line, entry.path.as_str()));
    let (texts, _) = listed.as_ref().map_or((Vec::new(), true), |entry| entry.texts(&mut draft.report));
    for entry in &texts {
        draft.report.carried(entry.line, &entry.path, format!("`resources.{name}.audiences`"));
    }
    if texts.is_empty() && !allows_any {
        draft.report.left(
            line,
            path,
            "Apollo takes no token without an audience; Palisade would take those for the identifier: list what your \
             tokens carry",
        );
        draft.suspend(name, line, path);
    }
    texts.iter().filter_map(Entry::text).map(str::to_owned).collect()
}

/// The scopes that every request needs.
fn scopes(
    section: &mut Section<'_>,
    name: &ResourceName,
    resource: &mut Resource,
    draft: &mut Draft,
) -> Condition {
    let mode = section.take("scope_mode");
    let listed = section.take("scopes");
    let (texts, complete) =
        listed.as_ref().map_or((Vec::new(), true), |entry| entry.texts(&mut draft.report));
    if let Some(entry) = listed.as_ref().filter(|_| !complete) {
        draft.suspend(name, entry.line, &entry.path);
    }
    let names: Vec<&str> = texts.iter().filter_map(Entry::text).collect();
    let condition = match mode.as_ref().map(|entry| (entry, entry.text())) {
        None | Some((_, Some("require_all"))) => required(&names, "containsAll"),
        Some((_, Some("require_any"))) => required(&names, "containsAny"),
        Some((_, Some("disabled"))) => Condition::Always,
        Some((entry, _)) => {
            draft.report.left(entry.line, &entry.path, "not require_all, require_any or disabled");
            draft.suspend(name, entry.line, &entry.path);
            Condition::Never
        }
    };
    if let Some(entry) = listed.as_ref().filter(|_| !texts.is_empty() && condition != Condition::Always) {
        wider(entry, draft);
    }
    if let Some(entry) = mode.as_ref().filter(|_| condition != Condition::Never) {
        draft.report.permitted(entry.line, &entry.path, name.as_str(), format!("policy `{name}-signed-in`"));
    }
    for entry in &texts {
        let Some(text) = entry.text() else { continue };
        if text.parse::<Scope>().is_ok() {
            resource.scopes.initial.push(text.to_owned());
            draft.report.permitted(
                entry.line,
                &entry.path,
                name.as_str(),
                format!("`resources.{name}.scopes`, and policy `{name}-signed-in`"),
            );
        } else {
            draft.report.left(
                entry.line,
                &entry.path,
                "no scope: no token can hold it (RFC 6749 section 3.3)",
            );
        }
    }
    resource.scopes.supported.clone_from(&resource.scopes.initial);
    resource.scopes.step_up.clone_from(&resource.scopes.initial);
    condition
}

/// Says that scopes are asked for, and that Palisade finds more of them than Apollo.
pub(super) fn wider(asked: &Entry<'_>, draft: &mut Draft) {
    draft.report.left(
        asked.line,
        &asked.path,
        "they are asked for, and more tokens may have them: Palisade counts the claim `permissions`, too, and Apollo does \
         not; look whether your issuer writes it",
    );
    draft.report.hint("Palisade's scopes are those of `scope`, `scp` and `permissions` together");
}

fn required(names: &[&str], how: &str) -> Condition {
    match names {
        [] => Condition::Always,
        [one] => Condition::is(format!("context.scopes.contains({})", crate::cedar::quoted(one))),
        several => Condition::is(format!("context.scopes.{how}({})", set(several))),
    }
}

/// The condition that a token has all of these scopes.
pub(super) fn all_of(names: &[&str]) -> Condition {
    required(names, "containsAll")
}

fn documentation(section: &mut Section<'_>, resource: &mut Resource, draft: &mut Draft) {
    let Some(entry) = section.take("resource_documentation") else { return };
    if let Some(text) = entry.plain_text(&mut draft.report) {
        resource.metadata.insert("documentation", text.to_owned());
        draft.report.carried(entry.line, &entry.path, "`metadata.documentation`");
    }
}

fn passthrough(section: &mut Section<'_>, resource: &mut Resource, draft: &mut Draft) {
    const KEEPS: &str = "`upstream_token: keep`, because Apollo hands the token on to the graph";
    let Some(entry) = section.take("disable_auth_token_passthrough") else {
        draft.report.hint(format!(
            "{KEEPS}; if it need not, set `disable_auth_token_passthrough: true` there and `upstream_token: strip` here"
        ));
        return;
    };
    match entry.bool() {
        Some(true) => {
            resource.upstream_token = Some("strip");
            draft.report.carried(entry.line, &entry.path, "`upstream_token: strip`");
        }
        Some(false) => draft.report.carried(entry.line, &entry.path, KEEPS),
        None => {
            resource.upstream_token = Some("strip");
            draft.report.left(entry.line, &entry.path, UNREADABLE);
        }
    }
}

/// The line that lets discovery by without a token.
fn discovery(
    section: &mut Section<'_>,
    name: &ResourceName,
    resource: &mut Resource,
    draft: &mut Draft,
) -> Option<u64> {
    let entry = section.take("allow_anonymous_mcp_discovery")?;
    match entry.bool() {
        Some(true) => {
            resource.anonymous = DISCOVERY.to_vec();
            draft.report.permitted(
                entry.line,
                &entry.path,
                name.as_str(),
                "`anonymous` and a policy; where Palisade filters a list, nobody sees an entry that they could not get",
            );
            Some(entry.line)
        }
        Some(false) => {
            draft.report.not_needed(entry.line, &entry.path, "off, as in Palisade");
            None
        }
        None => {
            draft.report.left(entry.line, &entry.path, UNREADABLE);
            None
        }
    }
}
