//! Apollo MCP Server's `mcp.yaml`.
//!
//! The flow: `transport.auth` becomes an issuer and a resource of kind `mcp` with one permission for whoever has the
//! scopes; `overrides.required_scopes` becomes a refusal per tool. All else is about the server's own work and stays in
//! `mcp.yaml`, because the server goes on working behind Palisade.
//!
//! What Apollo does (1.15, from its documentation and source): a token is valid if a configured server's key signed it and
//! its audience is listed; `iss` is compared only where issuers are listed. `scopes` are needed for every request, all or
//! one of them (`scope_mode`); a tool's `required_scopes` are all needed besides. With `allow_anonymous_mcp_discovery`
//! three methods are answered without a token.

mod auth;
mod issuers;
mod overrides;
#[cfg(test)]
mod tests;

use palisade_model::ResourceName;
use url::Url;

use crate::{
    Draft, Import, ImportError, Options,
    config::{Cors, Place, Resource, check_identifier},
    source::{self, Entry, Section, UNREADABLE},
};

/// The keys that say how the server does its work.
const SERVER: &[&str] = &[
    "apps",
    "custom_scalars",
    "endpoint",
    "forward_headers",
    "graphos",
    "headers",
    "health_check",
    "instructions",
    "introspection",
    "logging",
    "operations",
    "prompts",
    "rhai",
    "schema",
    "server_info",
    "telemetry",
];
const STAYS: &str = "stays in mcp.yaml: not about who may call";

/// Imports an `mcp.yaml`.
///
/// # Errors
/// For a text that is no YAML mapping, and for options that are no URLs.
pub fn import(text: &str, options: &Options) -> Result<Import, ImportError> {
    let root = source::read(text)?;
    let mut draft = Draft::new(options)?;
    let name = options.name.clone();
    let root = Entry::root(&root);
    let Some(mut top) = root.section(&mut draft.report) else { return Err(ImportError::NotAMapping) };
    let mut resource = Resource { kind: "mcp", upstream_token: Some("keep"), ..Resource::default() };

    let transport = top.take("transport");
    let mut transport = transport.and_then(|entry| entry.section(&mut draft.report));
    let auth = transport.as_mut().and_then(|transport| transport.take("auth"));
    if let Some(transport) = &mut transport {
        transport_type(transport, auth.is_some(), &mut draft);
    }
    let needed = auth::read(auth.as_ref(), &name, &mut resource, &mut draft);
    auth::permit(&name, needed, &mut draft);
    overrides::read(&mut top, &name, &mut resource, &mut draft);
    if let Some(transport) = transport {
        places(transport, &mut resource, &mut draft);
    }
    cors(&mut top, &mut resource, &mut draft);
    top.not_needed(SERVER, STAYS, &mut draft.report);
    top.rest(&mut draft.report);

    draft
        .report
        .hint("keys of mcp.yaml can be overridden by APOLLO_MCP_ variables, which the import cannot see");
    draft.report.hint(
        "tokens must be RFC 9068 access tokens unless `issuers.<name>.profile` says okta, auth0, keycloak, entra_v2, \
         entra_v1 or google",
    );
    draft.report.hint("the Apollo server must be reachable through the proxy only");
    draft.config.resources.insert(name, resource);
    draft.finish()
}

fn transport_type(transport: &mut Section<'_>, authenticates: bool, draft: &mut Draft) {
    let Some(entry) = transport.take("type") else {
        if authenticates {
            draft.report.left(
                0,
                "transport.type",
                "without it Apollo speaks stdio and takes no `auth`; set streamable_http, Palisade guards HTTP only",
            );
        }
        return;
    };
    match entry.text() {
        Some("streamable_http" | "sse") => draft.report.not_needed(entry.line, &entry.path, STAYS),
        Some(_) => draft.report.left(entry.line, &entry.path, "Palisade guards servers that speak HTTP only"),
        None => draft.report.left(entry.line, &entry.path, UNREADABLE),
    }
}

/// The hosts that the server answers to are places where the resource is found.
fn places(mut transport: Section<'_>, resource: &mut Resource, draft: &mut Draft) {
    transport.not_needed(&["address", "port", "stateful_mode"], STAYS, &mut draft.report);
    let validation = transport.take_section("host_validation", &mut draft.report);
    transport.rest(&mut draft.report);
    let Some(mut validation) = validation else { return };
    let enabled = validation.take("enabled");
    if let Some(entry) = &enabled {
        match entry.bool() {
            Some(_) => {
                draft.report.not_needed(entry.line, &entry.path, "stays in mcp.yaml: Apollo checks it")
            }
            None => draft.report.left(entry.line, &entry.path, UNREADABLE),
        }
    }
    if let Some(hosts) = validation.take("allowed_hosts") {
        let (hosts, _) = hosts.texts(&mut draft.report);
        let on = enabled.is_none_or(|entry| entry.bool() != Some(false));
        hosts.iter().for_each(|host| place(host, on, resource, draft));
    }
    validation.not_needed(
        &["allowed_origins"],
        "stays in mcp.yaml, where Apollo goes on checking it",
        &mut draft.report,
    );
    validation.rest(&mut draft.report);
}

fn place(host: &Entry<'_>, on: bool, resource: &mut Resource, draft: &mut Draft) {
    let Some(text) = host.text() else { return };
    if !on {
        draft.report.not_needed(host.line, &host.path, "without effect: host validation is off");
        return;
    }
    // The identifier is one that was checked.
    let Ok(identifier) = Url::parse(&resource.identifier) else { return };
    let Some(written) = is_host(text) else {
        draft.report.left(
            host.line,
            &host.path,
            "no host that `match` can hold: write the host out, without wildcards",
        );
        return;
    };
    if resource.places.is_empty() {
        resource.places.push(Place { host: authority(&identifier), path: identifier.path().to_owned() });
    }
    let added = Place { host: written, path: identifier.path().to_owned() };
    if !resource.places.contains(&added) {
        resource.places.push(added);
    }
    draft.report.carried(
        host.line,
        &host.path,
        "`match` of the resource, for PEPs with `resource_from: host`; keep the key, too: Apollo checks what the proxy \
         sends",
    );
}

fn authority(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => String::new(),
    }
}

/// A host with or without a port, and nothing else.
fn is_host(text: &str) -> Option<String> {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | ':');
    let good = !text.is_empty() && text.chars().all(plain) && !text.contains("..") && !text.starts_with('.');
    let url = Url::parse(&format!("https://{text}/")).ok().filter(|_| good)?;
    let written = authority(&url);
    (written == text.to_ascii_lowercase()).then_some(written)
}

fn cors(top: &mut Section<'_>, resource: &mut Resource, draft: &mut Draft) {
    let Some(mut cors) = top.take_section("cors", &mut draft.report) else { return };
    let enabled = cors.take("enabled");
    let on = enabled.as_ref().is_some_and(|entry| entry.bool() == Some(true));
    if let Some(entry) = &enabled {
        match entry.bool() {
            Some(true) => draft.report.carried(entry.line, &entry.path, "`cors` of the resource"),
            Some(false) => draft.report.not_needed(entry.line, &entry.path, "off"),
            None => draft.report.left(entry.line, &entry.path, UNREADABLE),
        }
    }
    if !on {
        for (_, entry) in cors.take_all() {
            draft.report.not_needed(entry.line, &entry.path, "without effect: `cors.enabled` is not true");
        }
        return;
    }
    if let Some(origins) = cors.take("origins") {
        let (origins, _) = origins.texts(&mut draft.report);
        resource.cors =
            Some(Cors { origins: origins.iter().filter_map(|origin| exact(origin, draft)).collect() });
    }
    if let Some(entry) = cors.take("allow_any_origin") {
        off_only(&entry, "Palisade has no `any origin`: list the origins under `cors.origins`", draft);
    }
    if let Some(entry) = cors.take("allow_credentials") {
        off_only(&entry, "Palisade's answers allow no cookies across origins", draft);
    }
    cors.left(
        &["match_origins"],
        "Palisade compares origins exactly: list them under `cors.origins`",
        &mut draft.report,
    );
    cors.left(
        &["allow_methods", "allow_headers", "expose_headers", "max_age"],
        "Palisade answers preflights itself, with the methods and headers of MCP",
        &mut draft.report,
    );
    cors.rest(&mut draft.report);
}

fn exact(origin: &Entry<'_>, draft: &mut Draft) -> Option<String> {
    let text = origin.text()?;
    let written = Url::parse(text).ok().map(|url| url.origin().ascii_serialization());
    if written.as_deref() == Some(text) {
        draft.report.carried(origin.line, &origin.path, "`cors.origins` of the resource");
        Some(text.to_owned())
    } else {
        draft.report.left(
            origin.line,
            &origin.path,
            "no single origin: list the origins under `cors.origins`",
        );
        None
    }
}

/// A switch whose `false` is what Palisade does.
fn off_only(entry: &Entry<'_>, why: &str, draft: &mut Draft) {
    match entry.bool() {
        Some(false) => draft.report.not_needed(entry.line, &entry.path, "off, as in Palisade"),
        Some(true) => draft.report.left(entry.line, &entry.path, why),
        None => draft.report.left(entry.line, &entry.path, UNREADABLE),
    }
}

/// The identifier of the resource, from `transport.auth.resource`.
fn identifier(resource: Option<&Entry<'_>>, name: &ResourceName, draft: &mut Draft) -> String {
    let Some(entry) = resource else {
        return draft.missing_identifier(0, "transport.auth.resource", name);
    };
    let checked = entry.text().ok_or(UNREADABLE).and_then(|text| check_identifier(text).map(|_| text));
    match checked {
        Ok(text) => {
            draft.report.carried(entry.line, &entry.path, format!("`resources.{name}.identifier`"));
            text.to_owned()
        }
        Err(why) => {
            draft.report.left(entry.line, &entry.path, why);
            draft.missing_identifier(entry.line, &entry.path, name)
        }
    }
}
