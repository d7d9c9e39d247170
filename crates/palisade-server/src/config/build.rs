//! A configuration as a snapshot: what decisions are made with.
//!
//! Every problem is collected before anything is refused, so that an author mends them in one go. Nothing is
//! fetched: issuers get their keys later, in the background.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Duration};

use palisade_model::{Clock, IssuerName, PepName, PolicyRevision, ResourceName, Surface, Timestamp};
use palisade_pdp::{
    DenialForm, Kind, Limits, Metadata, Pep, PepAuth, Peps, Place, Resource, Resources, Routes,
    ScopeSettings, Snapshot, UpstreamToken, location,
};
use palisade_policy::{Policies, SourceFile, Sources, Tool, World, WorldResource};
use palisade_token::{ClaimMap, ClaimPath, IssuerSettings, KeySource, Network, Verifier};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::{
    load::Loaded,
    types::{self, Config, Jwks, Observe},
    values::{OneOrAll, Secret, Switch},
};
use crate::environment;

/// A snapshot, and what should be known of it.
#[derive(Debug)]
pub struct Built {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Weakened settings and lints.
    pub warnings: Vec<String>,
    /// The resources under observation, with their last day.
    pub observed: Vec<(ResourceName, String)>,
}

/// What is wrong with a configuration or its policies: every problem, one a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BuildError(pub Vec<String>);

impl fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for BuildError {}

/// What is built in beside the files: the development issuer of `palisade dev` and of nothing else.
#[derive(Debug, Default)]
pub struct Embedded {
    /// Issuers that no file gives.
    pub issuers: Vec<IssuerSettings>,
    /// Policies instead of those that the configuration names.
    pub sources: Option<Sources>,
    /// A catalogue for every MCP resource that names none.
    pub catalog: Option<SourceFile>,
}

/// The longest time a resource may be under observation.
const LONGEST_OBSERVATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Builds a snapshot. With a snapshot before it, issuers that did not change keep their keys.
///
/// # Errors
/// Every problem of the configuration, the policies, the schema, the entities and the catalogues.
pub fn snapshot(
    loaded: &Loaded,
    embedded: &Embedded,
    previous: Option<&Snapshot>,
    clock: &Arc<dyn Clock>,
) -> Result<Built, BuildError> {
    let mut builder = Builder {
        config: &loaded.config,
        embedded,
        problems: Vec::new(),
        now: clock.now(),
        observed: Vec::new(),
    };
    let verifier = builder.verifier(previous, clock);
    let peps = builder.peps();
    let (resources, world) = builder.resources();
    builder.listeners();
    builder.audit();
    let policies = builder.policies(&world);
    let revision = builder.revision(loaded, policies.as_ref());
    let limits = builder.limits();
    let observed = std::mem::take(&mut builder.observed);
    let (Some(verifier), Some(resources), Some(policies), true) =
        (verifier, resources, policies, builder.problems.is_empty())
    else {
        return Err(BuildError(builder.problems));
    };
    let mut warnings = super::warnings::of(&loaded.config);
    warnings.extend(policies.warnings().iter().map(ToString::to_string));
    let source = match embedded.sources {
        Some(_) => "embedded".to_owned(),
        None => loaded.config.policies.path.display().to_string(),
    };
    let snapshot = Snapshot {
        revision,
        source,
        policies: Arc::new(policies),
        resources,
        peps,
        verifier: Arc::new(verifier),
        limits,
    };
    Ok(Built { snapshot, warnings, observed })
}

/// Builds only what validates tokens: the issuers and the resources.
///
/// # Errors
/// Every problem of the issuers and the resources.
pub fn token_checks(loaded: &Loaded, clock: &Arc<dyn Clock>) -> Result<(Verifier, Resources), BuildError> {
    let embedded = Embedded::default();
    let mut builder = Builder {
        config: &loaded.config,
        embedded: &embedded,
        problems: Vec::new(),
        now: clock.now(),
        observed: Vec::new(),
    };
    let verifier = builder.verifier(None, clock);
    let (resources, _) = builder.resources();
    match (verifier, resources) {
        (Some(verifier), Some(resources)) if builder.problems.is_empty() => Ok((verifier, resources)),
        (Some(_) | None, Some(_) | None) => Err(BuildError(builder.problems)),
    }
}

/// The files and folders that a snapshot is made of: the configuration, the policies, and every file that either names.
#[must_use]
pub fn roots(loaded: &Loaded) -> Vec<PathBuf> {
    let config = &loaded.config;
    let mut roots = loaded.files.clone();
    roots.push(config.policies.path.clone());
    roots.extend(config.policies.schema.iter().chain(&config.policies.entities).cloned());
    let resources = config.resources.values().chain(std::iter::once(&config.defaults));
    roots.extend(resources.filter_map(|resource| resource.tools.as_ref()?.catalog.clone()));
    roots.extend(config.peps.values().filter_map(|pep| match &pep.auth {
        types::PepAuth::Key(Secret::File(path)) => Some(path.clone()),
        types::PepAuth::Key(Secret::Env(_)) | types::PepAuth::Unix(_) => None,
    }));
    roots.extend(config.issuers.values().filter_map(|issuer| Some(issuer.network.ca.as_ref()?.file.clone())));
    roots
}

struct Builder<'a> {
    config: &'a Config,
    embedded: &'a Embedded,
    problems: Vec<String>,
    now: Timestamp,
    observed: Vec<(ResourceName, String)>,
}

impl Builder<'_> {
    fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    fn limits(&mut self) -> Limits {
        let limits = &self.config.limits;
        let limits = Limits {
            deadline: limits.deadline.0,
            body: limits.body.as_usize(),
            token: limits.token.as_usize(),
            batch: limits.batch,
        };
        if limits.deadline < Duration::from_millis(10) {
            self.problem("limits.deadline: less than 10ms leaves no time to decide");
        }
        if limits.token > 64 * 1024 {
            self.problem("limits.token: at most 64KiB");
        }
        if limits.batch == 0 || limits.body == 0 || limits.token == 0 {
            self.problem("limits: body, token and batch are at least 1");
        }
        limits
    }

    /// Off loopback the decision listener needs callers that prove who they are over TCP, or the switch that says
    /// otherwise.
    fn listeners(&mut self) {
        let decision = &self.config.listen.decision;
        let has_keys = self.config.peps.values().any(|pep| matches!(pep.auth, types::PepAuth::Key(_)));
        if !decision.address.is_local() && !decision.allow_unauthenticated_callers && !has_keys {
            self.problem(format!(
                "listen.decision: {} is not on loopback, and no pep has a key: add one under `peps`, listen on loopback or \
                 a Unix socket, or set `allow_unauthenticated_callers: true`",
                decision.address
            ));
        }
    }

    fn audit(&mut self) {
        if self.config.audit.quota.0 < palisade_audit::AuditSettings::MIN_QUOTA {
            self.problem("audit.quota: at least 1MiB");
        }
        let endpoints =
            [("audit.otlp", &self.config.audit.otlp), ("telemetry.otlp", &self.config.telemetry.otlp)];
        for (key, otlp) in endpoints {
            let Some(otlp) = otlp else { continue };
            let usable = Url::parse(&otlp.endpoint)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            if !usable {
                self.problem(format!(
                    "{key}.endpoint: `{}` is no URL such as http://127.0.0.1:4317",
                    otlp.endpoint
                ));
            }
        }
    }

    fn verifier(&mut self, previous: Option<&Snapshot>, clock: &Arc<dyn Clock>) -> Option<Verifier> {
        let mut issuers = self.embedded.issuers.clone();
        for (name, issuer) in &self.config.issuers {
            if self.embedded.issuers.iter().any(|taken| taken.name == *name) {
                self.problem(format!("issuers.{name}: the name is taken by the development issuer"));
            }
            match issuer_settings(name, issuer) {
                Ok(settings) => issuers.push(settings),
                Err(why) => self.problem(format!("issuers.{name}: {why}")),
            }
        }
        let longest = self.config.limits.token.as_usize();
        let verifier = match previous {
            Some(previous) => previous.verifier.reconfigured(issuers, longest),
            None => Verifier::new(issuers, longest, Arc::clone(clock)),
        };
        verifier.map_err(|error| self.problem(format!("issuers: {error}"))).ok()
    }

    fn peps(&mut self) -> Peps {
        let mut all = Vec::new();
        let mut proofs = BTreeSet::new();
        for (name, pep) in &self.config.peps {
            if name.as_str() == "local" {
                self.problem("peps.local: the name is reserved for unnamed callers on loopback");
            }
            let auth = match pep_auth(&pep.auth) {
                Ok(auth) => auth,
                Err(why) => {
                    self.problem(format!("peps.{name}.auth: {why}"));
                    continue;
                }
            };
            if !proofs.insert(format!("{auth:?}")) {
                self.problem(format!("peps.{name}.auth: another pep proves itself with the same"));
            }
            all.push((self.pep(name, pep), auth));
        }
        if let Ok(local) = "local".parse() {
            all.push((Pep::local(local), PepAuth::Loopback));
        }
        Peps::new(all)
    }

    fn pep(&mut self, name: &PepName, pep: &types::Pep) -> Pep {
        let resources = match &pep.resources {
            OneOrAll::All(_) => None,
            OneOrAll::These(names) => Some(names.iter().cloned().collect::<BTreeSet<_>>()),
        };
        for resource in resources.iter().flatten() {
            if !self.config.resources.contains_key(resource) {
                self.problem(format!("peps.{name}.resources: there is no resource `{resource}`"));
            }
        }
        if pep.surfaces.contains(&Surface::Decide) {
            self.problem(format!(
                "peps.{name}.surfaces: `decide` is not an entry of the decision listener yet"
            ));
        }
        if pep.client_ip == palisade_pdp::ClientIp::XForwardedFor(0) {
            self.problem(format!("peps.{name}.client_ip: `x_forwarded_for` counts from 1"));
        }
        Pep {
            name: name.clone(),
            surfaces: pep.surfaces.iter().copied().collect(),
            resources,
            resource_from: pep.resource_from,
            client_ip: pep.client_ip,
            mcp_metadata: pep.mcp_metadata,
        }
    }

    fn resources(&mut self) -> (Option<Resources>, World) {
        let (mut all, mut world) = (Vec::new(), Vec::new());
        let names: Vec<ResourceName> = self.config.resources.keys().cloned().collect();
        for name in names {
            let Some(own) = self.config.resources.get(&name) else { continue };
            let merged = with_defaults(own, &self.config.defaults);
            let before = self.problems.len();
            let Some((resource, places)) = self.resource(&name, &merged) else { continue };
            let tools = self.catalog(&name, &merged, resource.kind);
            world.push(WorldResource {
                name: name.clone(),
                kind: resource.kind,
                identifier: resource.identifier.clone(),
                tools,
                routes: merged.routes.clone().unwrap_or_default(),
            });
            if self.problems.len() == before {
                all.push((resource, places));
            }
        }
        if self.config.defaults.identifier.is_some() || self.config.defaults.places.is_some() {
            self.problem("defaults: `identifier` and `match` belong to one resource, not to all");
        }
        let resources = Resources::new(all).map_err(|error| self.problem(format!("resources: {error}"))).ok();
        (resources, World { resources: world })
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
        let resource = Resource {
            name: name.clone(),
            audiences: audiences
                .unwrap_or_else(|| vec![identifier.clone()])
                .into_iter()
                .map(Into::into)
                .collect(),
            any_audience: own.accept_any_audience == Some(true),
            metadata: self.metadata(own, &identifier, &url, &issuers),
            scopes: scope_settings(own),
            acr_values: own.acr_values.clone().unwrap_or_default(),
            max_age: own.max_age.iter().flatten().map(|age| age.0).collect(),
            routes: routes.ok()?,
            anonymous: own.anonymous.iter().flatten().cloned().collect(),
            step_up: own.step_up != Some(Switch::Off),
            denial_form: own.denial_form.unwrap_or(DenialForm::Http),
            cors_origins: own.cors.iter().flat_map(|cors| cors.origins.iter().cloned()).collect(),
            upstream_token: own.upstream_token.unwrap_or(UpstreamToken::Strip),
            observe_until,
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
            let embedded = self.embedded.issuers.iter().any(|known| known.name == *issuer);
            if !embedded && !self.config.issuers.contains_key(issuer) {
                self.problem(format!("resources.{name}.issuers: there is no issuer `{issuer}`"));
            }
        }
    }

    fn places(&mut self, name: &ResourceName, own: &types::Resource, url: &Url) -> Vec<Place> {
        let host_of_url = || match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => String::new(),
        };
        let written: Vec<(String, String)> = match &own.places {
            Some(places) => places.iter().map(|place| (place.host.clone(), place.path.clone())).collect(),
            None => vec![(host_of_url(), url.path().to_owned())],
        };
        let mut places = Vec::new();
        for (host, path) in written {
            match (location::host(&host, url.scheme()), location::Location::parse(&path)) {
                (Ok(host), Ok(location)) if location.path == path => places.push(Place { host, path }),
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

    fn catalog(&mut self, name: &ResourceName, own: &types::Resource, kind: Kind) -> Vec<Tool> {
        let configured = own.tools.as_ref().and_then(|tools| tools.catalog.as_ref());
        if kind != Kind::Mcp {
            if configured.is_some() {
                self.problem(format!("resources.{name}.tools: only for kind mcp"));
            }
            return Vec::new();
        }
        let file = match (configured, &self.embedded.catalog) {
            (Some(path), _) => match std::fs::read_to_string(path) {
                Ok(text) => SourceFile { path: path.display().to_string(), text },
                Err(error) => {
                    self.problem(format!("resources.{name}.tools.catalog: {}: {error}", path.display()));
                    return Vec::new();
                }
            },
            (None, Some(embedded)) => embedded.clone(),
            (None, None) => return Vec::new(),
        };
        palisade_policy::read_catalog(&file).unwrap_or_else(|diagnostic| {
            self.problem(diagnostic.to_string());
            Vec::new()
        })
    }

    fn policies(&mut self, world: &World) -> Option<Policies> {
        let settings = &self.config.policies;
        let sources = match &self.embedded.sources {
            Some(sources) => Ok(sources.clone()),
            None => palisade_policy::read_tree(&settings.path, &settings.schema, &settings.entities),
        };
        let loaded = sources.and_then(|sources| Policies::load(&sources, world, settings.on_error));
        loaded.map_err(|diagnostics| self.problems.extend(diagnostics.iter().map(ToString::to_string))).ok()
    }

    /// A hash over what can change a decision: policies, schema, entities and catalogues by their own revision, and
    /// the configuration files.
    fn revision(&self, loaded: &Loaded, policies: Option<&Policies>) -> PolicyRevision {
        let mut hash = Sha256::new();
        hash.update(policies.map(|policies| policies.revision().as_str().to_owned()).unwrap_or_default());
        for file in roots(loaded).iter().filter(|path| path.is_file()) {
            let content = std::fs::read(file).unwrap_or_default();
            hash.update(content.len().to_be_bytes());
            hash.update(content);
        }
        let digest = hex::encode(hash.finalize());
        PolicyRevision::from(digest.get(..16).unwrap_or(&digest))
    }
}

/// How far a clock may be off before it is a defect.
const LONGEST_LEEWAY: Duration = Duration::from_secs(5 * 60);

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

fn issuer_settings(name: &IssuerName, issuer: &types::Issuer) -> Result<IssuerSettings, String> {
    let url = Url::parse(&issuer.issuer.replace("{tenantid}", "tenant"))
        .map_err(|error| format!("`{}` is no URL: {error}", issuer.issuer))?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(format!(
            "`{}` must begin with https://: off loopback, plain http proves nothing",
            issuer.issuer
        ));
    }
    if issuer.issuer == crate::dev::ISSUER {
        return Err(
            "this is the development issuer of `palisade dev`, whose keys are in nobody's care".to_owned()
        );
    }
    if issuer.leeway.0 > LONGEST_LEEWAY {
        return Err(
            "leeway: more than 5m accepts tokens long after their end (`M` is months, `m` is minutes)"
                .to_owned(),
        );
    }
    let segments: Vec<&str> = url.path_segments().into_iter().flatten().collect();
    if segments.first().is_some_and(|first| matches!(*first, "common" | "organizations")) {
        return Err("an Entra issuer `common` or `organizations` accepts every tenant in the world; use {tenantid} and `tenants`".to_owned());
    }
    let keys = match &issuer.jwks {
        None => KeySource::Discovery,
        Some(Jwks::Uri(uri)) => {
            KeySource::Uri(Url::parse(uri).map_err(|error| format!("jwks: `{uri}` is no URL: {error}"))?)
        }
        Some(Jwks::File(path)) => KeySource::File(path.clone()),
    };
    let proxy = match issuer.network.proxy.as_deref() {
        None | Some("none") => None,
        Some(proxy) => {
            Some(Url::parse(proxy).map_err(|error| format!("network.proxy: `{proxy}` is no URL: {error}"))?)
        }
    };
    Ok(IssuerSettings {
        profile: issuer.profile,
        keys,
        algorithms: issuer.algorithms.clone(),
        leeway: issuer.leeway.0,
        timeout: issuer.timeout.0,
        max_lifetime: issuer.max_lifetime.0,
        subject_claim: issuer.subject.clone(),
        tenants: issuer.tenants.clone(),
        claims: claim_map(&issuer.claims)?,
        groups_overage: issuer.groups_overage,
        network: Network {
            private: issuer.network.private,
            ca: issuer.network.ca.as_ref().map(|ca| ca.file.clone()),
            proxy,
        },
        ..IssuerSettings::new(name.clone(), issuer.issuer.as_str().into())
    })
}

fn claim_map(claims: &types::Claims) -> Result<ClaimMap, String> {
    let path = |text: &String| text.parse::<ClaimPath>().map_err(|error| format!("claims: {error}"));
    let paths = |texts: &[String]| texts.iter().map(path).collect::<Result<Vec<_>, _>>();
    Ok(ClaimMap {
        roles: paths(claims.roles.as_deref().unwrap_or_default())?,
        groups: paths(claims.groups.as_deref().unwrap_or_default())?,
        tenant: claims.tenant.as_ref().map(path).transpose()?,
        tags: paths(&claims.tags)?,
    })
}

fn pep_auth(auth: &types::PepAuth) -> Result<PepAuth, String> {
    match auth {
        types::PepAuth::Unix(uid) => Ok(PepAuth::Uid(*uid)),
        types::PepAuth::Key(secret) => {
            let key = read_secret(secret)?;
            if key.len() < 32 {
                return Err(
                    "a key has at least 32 characters: make one with `openssl rand -hex 32`".to_owned()
                );
            }
            Ok(PepAuth::Key(Sha256::digest(key.as_bytes()).into()))
        }
    }
}

fn read_secret(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::File(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end().to_owned())
            .map_err(|error| format!("{}: {error}", path.display())),
        Secret::Env(name) => {
            environment::variable(name).ok_or_else(|| format!("the environment has no variable `{name}`"))
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
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

/// A resource's own keys, and those of `defaults` where it has none.
fn with_defaults(own: &types::Resource, defaults: &types::Resource) -> types::Resource {
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
        anonymous: own.anonymous.or(defaults.anonymous),
        step_up: own.step_up.or(defaults.step_up),
        denial_form: own.denial_form.or(defaults.denial_form),
        cors: own.cors.or(defaults.cors),
        upstream_token: own.upstream_token.or(defaults.upstream_token),
        observe: own.observe.or(defaults.observe),
    }
}
