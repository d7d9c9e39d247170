//! agentgateway's configuration: its MCP routes.
//!
//! The flow: every route with an MCP backend (`binds[].listeners[].routes[]`, or the short form `mcp`) becomes a resource.
//! `mcpAuthentication` or `jwtAuth` becomes its issuers and audiences, `mcpAuthorization` its policies. Routing, rate
//! limits and the like stay in the gateway, which goes on working in front of the servers.
//!
//! What agentgateway does (1.4, from its documentation and source): a rule that fails does not match. Any `deny` rule that
//! matches refuses; each `require` rule must match; then any `allow` rule that matches permits. With `allow` rules and no
//! match the answer is no; without any, it is yes. Rules judge tools, prompts and resources, in lists and in calls.

mod auth;
mod expression;
mod operand;
mod rules;
#[cfg(test)]
mod tests;

use palisade_model::ResourceName;

use crate::{
    Draft, Import, ImportError, Options,
    cedar::quoted,
    config::{Claims, Cors, Resource, free},
    source::{self, Entry, Section},
};
use expression::{ClaimUse, Targets};

/// What a gateway does beside deciding who may call.
const STAYS: &str = "stays in the gateway: not about who may call";
/// What refuses requests before rules about MCP are asked.
const REFUSES: &str = "stays in the gateway, which must go on enforcing it: Palisade does not";

const OTHER_POLICIES: &[&str] = &[
    "a2a",
    "ai",
    "backendAuth",
    "backendTLS",
    "backendTunnel",
    "buffer",
    "csrf",
    "directResponse",
    "extProc",
    "health",
    "http",
    "localRateLimit",
    "mcpGuardrails",
    "remoteRateLimit",
    "requestHeaderModifier",
    "requestMirror",
    "requestRedirect",
    "responseHeaderModifier",
    "retry",
    "tcp",
    "timeout",
    "transformations",
    "urlRewrite",
];
const REFUSING_POLICIES: &[&str] =
    &["apiKey", "authorization", "basicAuth", "extAuthz", "frontendTLS", "networkAuthorization", "oidc"];

/// A route to MCP servers.
struct Route<'a> {
    line: u64,
    path: String,
    policies: Option<Section<'a>>,
    targets: Targets,
    /// Rules at a place where they cannot be read: line and path.
    hidden: Vec<(u64, String)>,
}

/// Imports a configuration.
///
/// # Errors
/// For a text that is no YAML mapping or has no MCP route, and for options that are no URLs.
pub fn import(text: &str, options: &Options) -> Result<Import, ImportError> {
    let root = source::read(text)?;
    let mut draft = Draft::new(options)?;
    let root = Entry::root(&root);
    let Some(mut top) = root.section(&mut draft.report) else { return Err(ImportError::NotAMapping) };
    let mut routes = Vec::new();
    if let Some(mcp) = top.take("mcp") {
        routes.extend(short(&mcp, &mut draft));
    }
    for bind in elements(&mut top, "binds", &mut draft) {
        let Some(mut bind) = bind.section(&mut draft.report) else { continue };
        for listener in elements(&mut bind, "listeners", &mut draft) {
            routes.extend(listener_routes(&listener, &mut draft));
        }
        bind.not_needed(&["port", "tunnelProtocol", "mode"], STAYS, &mut draft.report);
        bind.rest(&mut draft.report);
    }
    if routes.is_empty() {
        return Err(ImportError::Nothing("there is no route with an MCP backend"));
    }
    let mut shared = attached_rules(&mut top, &mut draft);
    shared_backends(&mut top, &mut shared, &mut draft);
    unplaced(&mut top, &["routeGroups"], &mut shared, &mut draft);
    top.not_needed(&["config", "frontendPolicies", "llm", "services", "workloads"], STAYS, &mut draft.report);
    top.rest(&mut draft.report);

    let mut claims = ClaimUse::default();
    for mut route in routes {
        route.hidden.extend(shared.iter().cloned());
        resource(route, &mut claims, &mut draft)?;
    }
    speak_of_claims(claims, &mut draft);
    draft.finish()
}

fn elements<'a>(section: &mut Section<'a>, key: &str, draft: &mut Draft) -> Vec<Entry<'a>> {
    section.take(key).and_then(|entry| entry.elements(&mut draft.report)).unwrap_or_default()
}

/// The short form: `mcp: {port, policies, targets}`.
fn short<'a>(mcp: &Entry<'a>, draft: &mut Draft) -> Option<Route<'a>> {
    let mut section = mcp.section(&mut draft.report)?;
    let mut hidden = Vec::new();
    let policies = section.take("policies").and_then(|policies| readable(&policies, &mut hidden, draft));
    let targets = targets(&mut section, &mut hidden, draft);
    section.not_needed(&["port"], STAYS, &mut draft.report);
    section.rest(&mut draft.report);
    Some(Route { line: mcp.line, path: mcp.path.clone(), policies, targets, hidden })
}

fn listener_routes<'a>(listener: &Entry<'a>, draft: &mut Draft) -> Vec<Route<'a>> {
    let Some(mut section) = listener.section(&mut draft.report) else { return Vec::new() };
    let entries = elements(&mut section, "routes", draft);
    let mut routes: Vec<Route<'a>> = entries.iter().filter_map(|entry| route(entry, draft)).collect();
    let mut hidden = Vec::new();
    if let Some(policies) = section.take("policies")
        && let Some(mut policies) = readable(&policies, &mut hidden, draft)
    {
        unplaced(&mut policies, &["mcpAuthorization", "mcpAuthentication"], &mut hidden, draft);
        policies.left(
            &["jwtAuth"],
            "for every route of the listener: give its issuers to the resources by hand",
            &mut draft.report,
        );
        policies.left(REFUSING_POLICIES, REFUSES, &mut draft.report);
        policies.not_needed(OTHER_POLICIES, STAYS, &mut draft.report);
        policies.rest(&mut draft.report);
    }
    routes.iter_mut().for_each(|route| route.hidden.extend(hidden.iter().cloned()));
    section.not_needed(
        &["gatewayName", "hostname", "name", "namespace", "protocol", "tcpRoutes", "tls"],
        STAYS,
        &mut draft.report,
    );
    section.rest(&mut draft.report);
    routes
}

fn route<'a>(entry: &Entry<'a>, draft: &mut Draft) -> Option<Route<'a>> {
    let mut section = entry.section(&mut draft.report)?;
    let policies = section.take("policies");
    let mut hidden = Vec::new();
    let backends = known(&mut section, "backends", &mut hidden, draft);
    let mut found: Option<Targets> = None;
    let mut several = false;
    for backend in &backends {
        let Some(mut backend) = readable(backend, &mut hidden, draft) else { continue };
        if let Some(mcp) = backend.take("mcp")
            && let Some(mut mcp) = readable(&mcp, &mut hidden, draft)
        {
            several |= found.is_some();
            found = Some(targets(&mut mcp, &mut hidden, draft));
            mcp.rest(&mut draft.report);
        }
        inner_policies(&mut backend, &mut hidden, draft);
        stays(&mut backend, draft);
    }
    section.not_needed(&["hostnames", "matches", "name", "namespace", "ruleName"], STAYS, &mut draft.report);
    section.rest(&mut draft.report);
    let mut policies = policies.and_then(|policies| readable(&policies, &mut hidden, draft));
    let about_mcp =
        policies.as_ref().is_some_and(|policies| policies.has(&["mcpAuthorization", "mcpAuthentication"]));
    if found.is_none() && !about_mcp {
        for (_, policy) in policies.iter_mut().flat_map(Section::take_all) {
            draft.report.not_needed(policy.line, &policy.path, "not a route to MCP servers");
        }
        return None;
    }
    let unknown = Targets { names: None, prefixed: true };
    let targets = if several { unknown } else { found.unwrap_or(unknown) };
    Some(Route { line: entry.line, path: entry.path.clone(), policies, targets, hidden })
}

/// The targets of an MCP backend. Names are written `<target>_<name>` where there are several, or by `prefixMode`.
fn targets(section: &mut Section<'_>, hidden: &mut Vec<(u64, String)>, draft: &mut Draft) -> Targets {
    let entries = known(section, "targets", hidden, draft);
    let mut names = Vec::new();
    for entry in &entries {
        let Some(mut target) = readable(entry, hidden, draft) else { continue };
        if let Some(name) = target.take("name") {
            match name.text().filter(|text| !text.contains('_')) {
                Some(text) => {
                    draft.report.not_needed(name.line, &name.path, STAYS);
                    names.push(text.to_owned());
                }
                None => draft.report.left(name.line, &name.path, "no name of a target that could be read"),
            }
        }
        inner_policies(&mut target, hidden, draft);
        stays(&mut target, draft);
    }
    let mode = section.take("prefixMode");
    let sure = match mode.as_ref().map(|entry| (entry, entry.text())) {
        None | Some((_, Some("conditional"))) => Some(entries.len() > 1),
        Some((_, Some("always"))) => Some(true),
        Some((entry, _)) => {
            draft.report.left(entry.line, &entry.path, "not a mode whose names the import knows");
            None
        }
    };
    if let Some(entry) = mode.filter(|_| sure.is_some()) {
        draft.report.carried(entry.line, &entry.path, "the names of tools in policies");
    }
    section.not_needed(&["failureMode", "statefulMode", "name"], STAYS, &mut draft.report);
    let known = sure.is_some() && !names.is_empty() && names.len() == entries.len();
    Targets { names: known.then_some(names), prefixed: sure.unwrap_or(true) }
}

/// The backends that routes name: which routes do is not looked up, so their rules are hidden from all of them.
fn shared_backends(top: &mut Section<'_>, hidden: &mut Vec<(u64, String)>, draft: &mut Draft) {
    for entry in known(top, "backends", hidden, draft) {
        let Some(mut backend) = readable(&entry, hidden, draft) else { continue };
        if let Some(mcp) = backend.take("mcp")
            && let Some(mut mcp) = readable(&mcp, hidden, draft)
        {
            for target in known(&mut mcp, "targets", hidden, draft) {
                let Some(mut target) = readable(&target, hidden, draft) else { continue };
                inner_policies(&mut target, hidden, draft);
                stays(&mut target, draft);
            }
            stays(&mut mcp, draft);
        }
        inner_policies(&mut backend, hidden, draft);
        stays(&mut backend, draft);
    }
}

/// The elements of a list that may have rules in it: what cannot be read hides them.
fn known<'a>(
    section: &mut Section<'a>,
    key: &str,
    hidden: &mut Vec<(u64, String)>,
    draft: &mut Draft,
) -> Vec<Entry<'a>> {
    let Some(list) = section.take(key) else { return Vec::new() };
    let elements = list.elements(&mut draft.report);
    if elements.is_none() {
        hidden.push((list.line, list.path));
    }
    elements.unwrap_or_default()
}

/// A mapping that may have rules in it: one that cannot be read hides them.
fn readable<'a>(
    entry: &Entry<'a>,
    hidden: &mut Vec<(u64, String)>,
    draft: &mut Draft,
) -> Option<Section<'a>> {
    let section = entry.section(&mut draft.report);
    if section.is_none() {
        hidden.push((entry.line, entry.path.clone()));
    }
    section
}

fn stays(section: &mut Section<'_>, draft: &mut Draft) {
    for (_, other) in section.take_all() {
        draft.report.not_needed(other.line, &other.path, STAYS);
    }
}

/// Policies of a backend or target. Rules there are joined with the route's in a way of their own: they are not read.
fn inner_policies(section: &mut Section<'_>, hidden: &mut Vec<(u64, String)>, draft: &mut Draft) {
    let Some(policies) = section.take("policies") else { return };
    let Some(mut policies) = readable(&policies, hidden, draft) else { return };
    unplaced(&mut policies, &["mcpAuthorization"], hidden, draft);
    policies.left(REFUSING_POLICIES, REFUSES, &mut draft.report);
    stays(&mut policies, draft);
}

/// Policies whose effect on a route is not known here.
fn unplaced(policies: &mut Section<'_>, keys: &[&str], hidden: &mut Vec<(u64, String)>, draft: &mut Draft) {
    for entry in keys.iter().filter_map(|key| policies.take(key)) {
        draft.report.left(entry.line, &entry.path, "move it to its route and import again");
        hidden.push((entry.line, entry.path));
    }
}

/// Policies that are attached to routes by name. Rules there cannot be placed.
fn attached_rules(top: &mut Section<'_>, draft: &mut Draft) -> Vec<(u64, String)> {
    let mut hidden = Vec::new();
    for entry in known(top, "policies", &mut hidden, draft) {
        let Some(mut attached) = readable(&entry, &mut hidden, draft) else { continue };
        if let Some(policy) = attached.take("policy")
            && let Some(mut policy) = readable(&policy, &mut hidden, draft)
        {
            unplaced(&mut policy, &["mcpAuthorization", "mcpAuthentication", "jwtAuth"], &mut hidden, draft);
            policy.left(REFUSING_POLICIES, REFUSES, &mut draft.report);
            policy.not_needed(OTHER_POLICIES, STAYS, &mut draft.report);
            policy.not_needed(&["cors"], STAYS, &mut draft.report);
            policy.rest(&mut draft.report);
        }
        attached.not_needed(&["name", "phase", "target"], STAYS, &mut draft.report);
        attached.rest(&mut draft.report);
    }
    hidden
}

fn resource(mut route: Route<'_>, claims: &mut ClaimUse, draft: &mut Draft) -> Result<(), ImportError> {
    let unused = |name: &str| {
        name.parse::<ResourceName>().ok().filter(|name| !draft.config.resources.contains_key(name))
    };
    let Some(name) = free(draft.options.name.as_str(), unused) else {
        return Err(ImportError::Nothing("there are too many routes for one name: give a shorter --name"));
    };
    let mut resource = Resource { kind: "mcp", ..Resource::default() };
    let mut none = Section::default();
    let policies = route.policies.as_mut().unwrap_or(&mut none);
    let issuers = auth::read(policies, route.line, &name, &mut resource, draft);
    cors(policies, &mut resource, draft);
    let authorization = policies.take("mcpAuthorization");
    policies.left(REFUSING_POLICIES, REFUSES, &mut draft.report);
    policies.not_needed(OTHER_POLICIES, STAYS, &mut draft.report);
    if let Some(policies) = route.policies.take() {
        policies.rest(&mut draft.report);
    }
    let rules = rules::Rules {
        name: &name,
        issuers: &issuers,
        targets: &route.targets,
        line: route.line,
        path: &route.path,
    };
    rules.write(authorization.as_ref(), claims, draft);
    for (line, path) in &route.hidden {
        draft.suspend(&name, *line, path);
    }
    if route.targets.prefixed && route.targets.names.is_some() {
        draft
            .report
            .hint(format!("tools of `{name}` are named as clients of the gateway see them: <target>_<tool>"));
    }
    draft.config.resources.insert(name, resource);
    Ok(())
}

fn cors(policies: &mut Section<'_>, resource: &mut Resource, draft: &mut Draft) {
    let Some(mut cors) = policies.take_section("cors", &mut draft.report) else { return };
    if let Some(origins) = cors.take("allowOrigins") {
        let (origins, _) = origins.texts(&mut draft.report);
        let mut exact = Vec::new();
        for origin in &origins {
            match origin.text().filter(|text| !text.contains('*')) {
                Some(text) => {
                    exact.push(text.to_owned());
                    draft.report.carried(origin.line, &origin.path, "`cors.origins` of the resource");
                }
                None => draft.report.left(
                    origin.line,
                    &origin.path,
                    "Palisade compares origins exactly: list them under `cors.origins`",
                ),
            }
        }
        resource.cors = Some(Cors { origins: exact }).filter(|cors| !cors.origins.is_empty());
    }
    cors.not_needed(
        &["allowCredentials", "allowHeaders", "allowMethods", "exposeHeaders", "maxAge"],
        "stays in the gateway, which answers preflights before it asks Palisade",
        &mut draft.report,
    );
    cors.rest(&mut draft.report);
}

fn speak_of_claims(used: ClaimUse, draft: &mut Draft) {
    draft.report.hint("Palisade's scopes are those of `scope`, `scp` and `permissions` together");
    draft.report.hint(
        "completion/complete and tasks/* are not permitted: agentgateway's rules do not speak of them; permit them by \
         hand where a server has them",
    );
    let texts: Vec<String> = draft.policies.iter().map(|policy| policy.when.to_string()).collect();
    let spoken_of = |tag: &String| texts.iter().any(|text| text.contains(&format!("Tag({})", quoted(tag))));
    let tags: Vec<String> = used.tags.into_iter().filter(spoken_of).collect();
    if used.values || !tags.is_empty() {
        draft.report.hint(
            "claims are sets of texts: a claim that is a text and one that is a list of this text alone look alike, where \
             agentgateway tells them apart (`==` holds for the text only, `in` finds parts of a text, `exists` fails for \
             it), and a token in which a claim of a rule is neither a text nor a list of texts is refused",
        );
    }
    let claims =
        Claims { roles: used.roles.into_iter().collect(), groups: used.groups.into_iter().collect(), tags };
    for issuer in draft.config.issuers.values_mut() {
        issuer.claims.clone_from(&claims);
    }
}
