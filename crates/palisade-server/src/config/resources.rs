//! `resources` as the protected resources of a snapshot, with their metadata and catalogues.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::http::HeaderName;

use palisade_model::{Audience, IssuerName, Mirrored, ResourceName, Timestamp, ToolForms};
use palisade_pdp::{
    DenialForm, Grammar, Kind, Metadata, Place, Resource, Resources, Routes, ScopeSettings, StaticHeader,
    UpstreamToken, location,
};
use palisade_policy::{SourceFile, Tool, World, WorldResource};
use serde_json::{Map, Value, json};
use url::Url;
use zeroize::Zeroizing;

use super::{
    build::Builder,
    issuers::is_loopback,
    types::{self, Observe},
    values::Switch,
};

/// The longest time a resource may be under observation.
const LONGEST_OBSERVATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The most bytes of a service's name.
const MOST_SERVICE: usize = 256;

impl Builder<'_> {
    pub(super) fn resources(&mut self) -> (Option<Resources>, World) {
        let (mut all, mut world) = (Vec::new(), Vec::new());
        let names: Vec<ResourceName> = self.config.resources.keys().cloned().collect();
        for name in names {
            let Some(own) = self.config.resources.get(&name) else { continue };
            let merged = with_defaults(own, &self.config.defaults);
            let before = self.problems.len();
            let Some((mut resource, places)) = self.resource(&name, &merged) else { continue };
            let tools = self.tools(&name, &merged, resource.kind);
            resource.tools = self.tool_forms(&name, &merged, &tools);
            let (grammar, graph) = self.graph(&name, &merged, resource.kind);
            resource.grammar = grammar;
            world.push(WorldResource {
                name: name.clone(),
                kind: resource.kind,
                identifier: resource.identifier.clone(),
                tools,
                routes: merged.routes.clone().unwrap_or_default(),
                graph,
            });
            if self.problems.len() == before {
                all.push((resource, places));
            }
        }
        if self.config.defaults.identifier.is_some() || self.config.defaults.places.is_some() {
            self.problem("defaults: `identifier` and `match` belong to one resource, not to all");
        }
        let resources = Resources::new(all).map_err(|error| self.problem(format!("resources: {error}"))).ok();
        (
            resources,
            World {
                resources: world,
                exchanges: self.world_exchanges().into_iter().chain(self.world_audiences()).collect(),
            },
        )
    }

    fn resource(&mut self, name: &ResourceName, own: &types::Resource) -> Option<(Resource, Vec<Place>)> {
        let at = |key: &str| format!("resources.{name}.{key}");
        let (Some(identifier), Some(kind)) = (own.identifier.clone(), own.kind) else {
            self.problem(format!("{}: `identifier` and `kind` are needed", at("")));
            return None;
        };
        let url = match Url::parse(&identifier) {
            Ok(url) if url.fragment().is_none() && url.query().is_none() && url.has_host() => url,
            Ok(_) | Err(_) => {
                self.problem(format!(
                    "{}: `{identifier}` is no absolute URL without query and fragment",
                    at("identifier")
                ));
                return None;
            }
        };
        if url.scheme() != "https" && !is_loopback(&url) {
            self.problem(format!(
                "{}: `{identifier}` must begin with https:// off loopback (RFC 9728 section 1.2)",
                at("identifier")
            ));
        }
        let issuers = own.issuers.clone().unwrap_or_default();
        self.check_issuers(name, &issuers);
        if own.accept_any_audience == Some(true) && kind == Kind::Mcp {
            self.problem(format!("{}: refused for kind mcp", at("accept_any_audience")));
        }
        let routes = Routes::new(own.routes.iter().flatten().map(String::as_str)).map_err(|error| {
            self.problem(format!("{}: {error}", at("routes")));
        });
        if kind != Kind::Http && own.routes.is_some() {
            self.problem(format!("{}: only for kind http", at("routes")));
        }
        let observe_until = self.observation(name, own.observe.as_ref());
        let places = self.places(name, own, &url);
        let audiences = own.audiences.clone().filter(|audiences| !audiences.is_empty());
        let audiences: BTreeSet<Audience> =
            audiences.unwrap_or_else(|| vec![identifier.clone()]).into_iter().map(Into::into).collect();
        let resource = Resource {
            name: name.clone(),
            any_audience: own.accept_any_audience == Some(true),
            metadata: self.metadata(own, &identifier, &url, &issuers),
            scopes: scope_settings(own),
            acr_values: own.acr_values.clone().unwrap_or_default(),
            max_age: own.max_age.iter().flatten().map(|age| age.0).collect(),
            routes: routes.ok()?,
            tools: ToolForms::default(),
            anonymous: own.anonymous.iter().flatten().cloned().collect(),
            step_up: own.step_up != Some(Switch::Off),
            list: own.list.unwrap_or_default(),
            denial_form: own.denial_form.unwrap_or(DenialForm::Http),
            cors_origins: own.cors.iter().flat_map(|cors| cors.origins.iter().cloned()).collect(),
            upstream_token: self.upstream_token(name, own, &issuers),
            observe_until,
            rate_limits: self.rate_limits(name, own.rate_limits.as_ref(), kind),
            static_tokens: self.static_tokens(name, own.static_tokens.as_ref(), kind, &audiences),
            grammar: Grammar::default(),
            audiences,
            identifier,
            kind,
            issuers,
        };
        Some((resource, places))
    }

    fn check_issuers(&mut self, name: &ResourceName, issuers: &[IssuerName]) {
        if issuers.is_empty() {
            self.problem(format!("resources.{name}.issuers: at least one is needed"));
        }
        for issuer in issuers {
            if !self.has_issuer(issuer) {
                self.problem(format!("resources.{name}.issuers: there is no issuer `{issuer}`"));
            }
        }
    }

    fn upstream_token(
        &mut self,
        name: &ResourceName,
        own: &types::Resource,
        issuers: &[IssuerName],
    ) -> UpstreamToken {
        let at = format!("resources.{name}.upstream_token");
        match &own.upstream_token {
            None | Some(types::UpstreamToken::Strip) => UpstreamToken::Strip,
            Some(types::UpstreamToken::Keep) => UpstreamToken::Keep,
            Some(types::UpstreamToken::Exchange(exchange)) => {
                if own.accept_any_audience == Some(true) {
                    self.problem(format!(
                        "{at}.exchange: with `accept_any_audience`, a token that another service was sent would be exchanged: \
                         list the resource's own `audiences` instead"
                    ));
                }
                let known = self.config.exchanges.get(exchange);
                let issuer = known.map(|exchange| self.issuer_of(exchange));
                match issuer {
                    None => self.problem(format!("{at}.exchange: there is no exchange `{exchange}`")),
                    Some(Ok(issuer)) if !issuers.contains(&issuer) => self.problem(format!(
                        "{at}.exchange: `{exchange}` takes tokens of issuer `{issuer}`, and the resource accepts none of these"
                    )),
                    Some(Ok(_) | Err(_)) => {}
                }
                UpstreamToken::Exchange(exchange.clone())
            }
            Some(types::UpstreamToken::Static(header)) => match static_header(header) {
                Ok(header) => UpstreamToken::Static(Arc::new(header)),
                Err(why) => {
                    self.problem(format!("{at}.static: {why}"));
                    UpstreamToken::Strip
                }
            },
        }
    }

    /// Where calls find it: by host and path, which are the identifier's where none are written, and by service.
    fn places(&mut self, name: &ResourceName, own: &types::Resource, url: &Url) -> Vec<Place> {
        let host_of_url = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => String::new(),
        };
        let (mut by_host, mut places) = (Vec::new(), Vec::new());
        for place in own.places.iter().flatten() {
            match (&place.host, &place.path, &place.service) {
                (Some(host), path, None) => {
                    by_host.push((host.clone(), path.clone().unwrap_or_else(|| "/".to_owned())));
                }
                (None, None, Some(service)) if own.kind == Some(Kind::Mcp) && is_service(service) => {
                    places.push(Place::Service(service.clone()));
                }
                (None, None, Some(service)) => self.problem(format!(
                    "resources.{name}.match: service `{service}` is no name of a server, or the resource is not of kind mcp"
                )),
                (_, _, _) => {
                    self.problem(format!("resources.{name}.match: `host`, perhaps with `path`, or `service` alone"));
                }
            }
        }
        let only_services = |written: &Vec<types::Place>| {
            !written.is_empty() && written.iter().all(|place| place.service.is_some())
        };
        if own.places.as_ref().is_none_or(only_services) {
            by_host.push((host_of_url, url.path().to_owned()));
        }
        for (host, path) in by_host {
            match (location::host(&host, url.scheme()), location::Location::parse(&path)) {
                (Ok(host), Ok(location)) if location.path == path => places.push(Place::At { host, path }),
                (Err(refusal), _) | (_, Err(refusal)) => {
                    self.problem(format!("resources.{name}.match: {}", refusal.detail));
                }
                (Ok(_), Ok(_)) => self.problem(format!("resources.{name}.match: a path has no query")),
            }
        }
        places
    }

    fn observation(&mut self, name: &ResourceName, observe: Option<&Observe>) -> Option<Timestamp> {
        let Some(Observe::Until(day)) = observe else { return None };
        let key = format!("resources.{name}.observe.until");
        let Ok(until) = humantime::parse_rfc3339_weak(&format!("{day} 00:00:00")) else {
            self.problem(format!("{key}: `{day}` is no date such as 2026-12-31"));
            return None;
        };
        let seconds = until.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let until = Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap_or(0));
        if until > self.now.plus(LONGEST_OBSERVATION) {
            self.problem(format!("{key}: `{day}` is more than 30 days away"));
        }
        if until > self.now {
            self.observed.push((name.clone(), day.clone()));
        }
        Some(until)
    }

    fn metadata(
        &self,
        own: &types::Resource,
        identifier: &str,
        url: &Url,
        issuers: &[IssuerName],
    ) -> Metadata {
        let path = match url.path() {
            "/" => WELL_KNOWN.to_owned(),
            path => format!("{WELL_KNOWN}{path}"),
        };
        let mut document = Map::new();
        document.insert("resource".to_owned(), json!(identifier));
        let servers = own.authorization_servers.clone().filter(|servers| !servers.is_empty());
        let templated = |server: &String| server.contains("{tenantid}");
        let servers = servers.unwrap_or_else(|| {
            // A template is no server that a client could reach: name the tenants' under `authorization_servers`.
            issuers
                .iter()
                .filter_map(|name| self.issuer_url(name))
                .filter(|server| !templated(server))
                .collect()
        });
        if !servers.is_empty() {
            document.insert("authorization_servers".to_owned(), json!(servers));
        }
        document.insert("bearer_methods_supported".to_owned(), json!(["header"]));
        if let Some(scopes) = own.scopes.as_ref().filter(|scopes| !scopes.supported.is_empty()) {
            let prefixed = |scope| format!("{}{scope}", scopes.request_prefix);
            document.insert("scopes_supported".to_owned(), scopes.supported.iter().map(prefixed).collect());
        }
        let about = own.metadata.clone().unwrap_or_default();
        let members = [
            ("resource_name", about.name),
            ("resource_documentation", about.documentation),
            ("resource_policy_uri", about.policy),
            ("resource_tos_uri", about.terms),
        ];
        document.extend(
            members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::String(value?)))),
        );
        let origin = url.origin().ascii_serialization();
        Metadata { url: format!("{origin}{path}"), path, document: Value::Object(document) }
    }

    fn issuer_url(&self, name: &IssuerName) -> Option<String> {
        let embedded = self.embedded.issuers.iter().find(|issuer| issuer.name == *name);
        embedded
            .map(|issuer| issuer.issuer.as_str().to_owned())
            .or_else(|| self.config.issuers.get(name).map(|issuer| issuer.issuer.clone()))
    }

    /// The tools of the catalogue, those that are listed as typed with their types.
    fn tools(&mut self, name: &ResourceName, own: &types::Resource, kind: Kind) -> Vec<Tool> {
        let configured = own.tools.clone().unwrap_or_default();
        if kind != Kind::Mcp {
            if configured.catalog.is_some() || !configured.typed.is_empty() || !configured.meta.is_empty() {
                self.problem(format!("resources.{name}.tools: only for kind mcp"));
            }
            return Vec::new();
        }
        let file = match (configured.catalog, &self.embedded.catalog) {
            (Some(path), _) => match std::fs::read_to_string(&path) {
                Ok(text) => SourceFile { path: path.display().to_string(), text },
                Err(error) => {
                    self.problem(format!("resources.{name}.tools.catalog: {}: {error}", path.display()));
                    return Vec::new();
                }
            },
            (None, Some(embedded)) => embedded.clone(),
            (None, None) => {
                if !configured.typed.is_empty() {
                    self.problem(format!(
                        "resources.{name}.tools.typed: names tools of a catalogue, and there is none: write one with \
                         `palisade tools fetch` and name it under `tools.catalog`"
                    ));
                }
                return Vec::new();
            }
        };
        let tools = palisade_policy::read_catalog(&file).map_err(|diagnostic| vec![diagnostic]);
        let typed = tools.and_then(|tools| palisade_policy::with_types(tools, &configured.typed, &file));
        typed.unwrap_or_else(|diagnostics| {
            diagnostics.iter().for_each(|diagnostic| self.problem(diagnostic.to_string()));
            Vec::new()
        })
    }

    /// What the catalogue and the configuration say of the form of calls.
    fn tool_forms(&mut self, name: &ResourceName, own: &types::Resource, tools: &[Tool]) -> ToolForms {
        let mut forms = ToolForms::new();
        for tool in tools {
            let mirrored = tool.input_schema.as_ref().map(Mirrored::of_schema).unwrap_or_default();
            if !mirrored.is_empty() {
                forms.entry(tool.name.clone()).or_default().mirrored = mirrored;
            }
        }
        for (tool, calls) in own.tools.iter().flat_map(|tools| &tools.meta) {
            let pointers = std::iter::once(&calls.name).chain(&calls.arguments);
            let is_member = |name: &str| !name.is_empty() && name.parse::<u64>().is_err();
            let is_sound =
                |pointer: &str| pointer.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_member));
            if let Some(wrong) = pointers.into_iter().find(|pointer| !is_sound(pointer)) {
                self.problem(format!(
                    "resources.{name}.tools.meta.{tool}: `{wrong}` is no JSON pointer to a member: write `/name` for the member `name` \
                     of the tool's arguments"
                ));
            }
            if !tools.is_empty() && !tools.iter().any(|known| known.name == *tool) {
                self.problem(format!("resources.{name}.tools.meta.{tool}: the catalogue has no such tool"));
            }
            forms.entry(tool.clone()).or_default().calls = Some(calls.clone());
        }
        forms
    }
}

/// A header that can be set on its own: not one that frames the message, nor one of ours.
fn static_header(own: &types::StaticHeader) -> Result<StaticHeader, String> {
    const FRAMING: [&str; 6] = ["host", "connection", "content-length", "transfer-encoding", "te", "upgrade"];
    let name = HeaderName::from_bytes(own.header.as_bytes());
    let name = name.map_err(|_| format!("`{}` is no name of a header", own.header))?;
    if FRAMING.contains(&name.as_str()) || name.as_str().starts_with("x-palisade-") {
        return Err(format!("`{name}` is not for this"));
    }
    let value = Zeroizing::new(own.value.read()?);
    if value.is_empty() || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err("the value fits no header".to_owned());
    }
    Ok(StaticHeader { name: name.as_str().to_owned(), value })
}

fn scope_settings(own: &types::Resource) -> ScopeSettings {
    let scopes = own.scopes.clone().unwrap_or_default();
    ScopeSettings {
        initial: scopes.initial,
        supported: scopes.supported,
        step_up: scopes.step_up,
        implies: scopes.implies,
        request_prefix: scopes.request_prefix,
    }
}

/// Whether a gateway can have this name for a server.
fn is_service(name: &str) -> bool {
    !name.is_empty() && name.len() <= MOST_SERVICE && !name.chars().any(char::is_control)
}

/// A resource's own keys, and those of `defaults` where it has none.
pub(super) fn with_defaults(own: &types::Resource, defaults: &types::Resource) -> types::Resource {
    let own = own.clone();
    let defaults = defaults.clone();
    types::Resource {
        identifier: own.identifier,
        kind: own.kind.or(defaults.kind),
        issuers: own.issuers.or(defaults.issuers),
        audiences: own.audiences.or(defaults.audiences),
        accept_any_audience: own.accept_any_audience.or(defaults.accept_any_audience),
        authorization_servers: own.authorization_servers.or(defaults.authorization_servers),
        metadata: own.metadata.or(defaults.metadata),
        scopes: own.scopes.or(defaults.scopes),
        acr_values: own.acr_values.or(defaults.acr_values),
        max_age: own.max_age.or(defaults.max_age),
        places: own.places,
        routes: own.routes.or(defaults.routes),
        tools: own.tools.or(defaults.tools),
        schema: own.schema.or(defaults.schema),
        operations: own.operations.or(defaults.operations),
        introspection: own.introspection.or(defaults.introspection),
        anonymous: own.anonymous.or(defaults.anonymous),
        list: own.list.or(defaults.list),
        step_up: own.step_up.or(defaults.step_up),
        denial_form: own.denial_form.or(defaults.denial_form),
        cors: own.cors.or(defaults.cors),
        upstream_token: own.upstream_token.or(defaults.upstream_token),
        observe: own.observe.or(defaults.observe),
        rate_limits: own.rate_limits.or(defaults.rate_limits),
        static_tokens: own.static_tokens.or(defaults.static_tokens),
    }
}
