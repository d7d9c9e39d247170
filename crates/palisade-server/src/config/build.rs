//! A configuration as a snapshot: what decisions are made with.
//!
//! Every problem is collected before anything is refused, so that an author mends them in one go. Nothing is
//! fetched: issuers get their keys later, in the background.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use palisade_gateway::Upstream;

use palisade_model::{Clock, PolicyRevision, ResourceName, Timestamp};
use palisade_pdp::{Askers, Limits, Resources, Snapshot};
use palisade_policy::{Policies, SourceFile, Sources, World};
use palisade_token::{IssuerSettings, Verifier};
use sha2::{Digest, Sha256};
use url::Url;

use super::{
    issuers::issuer_settings,
    load::Loaded,
    types::{self, Config},
    values::Secret,
};

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
    /// Servers behind the gateway that are in this process.
    pub upstreams: BTreeMap<ResourceName, Upstream>,
}

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
    let (sts, sts_issuer) = builder.sts();
    let verifier = builder.verifier(previous, clock, sts_issuer);
    let peps = builder.peps();
    let exchanges = builder.exchanges(previous);
    let shared_counts = builder.shared_counts(previous);
    let handle_keys = builder.handle_keys();
    let (resources, world) = builder.resources();
    builder.listeners();
    builder.gateway();
    builder.audit();
    let policies = builder.policies(&world);
    policies.iter().for_each(|policies| builder.asserted_types(policies));
    let mut shadow_warnings = Vec::new();
    let shadow = builder.shadow(&world, &mut shadow_warnings);
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
    warnings.extend(super::graphql::warnings(&policies));
    warnings.extend(shadow_warnings);
    let source = match embedded.sources {
        Some(_) => "embedded".to_owned(),
        None => policies.source().to_owned(),
    };
    let snapshot = Snapshot {
        revision,
        source,
        policies: Arc::new(policies),
        shadow,
        resources,
        peps,
        exchanges,
        sts,
        verifier: Arc::new(verifier),
        limits,
        handle_keys,
        shared_counts,
        askers: Askers::default(),
    };
    Ok(Built { snapshot, warnings, observed })
}

/// Whether a text is the origin of an https URL and nothing more.
pub(super) fn is_https_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.origin().ascii_serialization() == text)
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
    let (_, sts_issuer) = builder.sts();
    let verifier = builder.verifier(None, clock, sts_issuer);
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
    roots.extend(config.policies.path.clone());
    roots.extend(config.policies.sets.values().map(|set| set.path.clone()));
    // Not the shadow's: files there that never come to rest must not keep a reload of what is in force from happening.
    roots.extend(config.policies.schema.iter().chain(&config.policies.entities).cloned());
    let resources = config.resources.values().chain(std::iter::once(&config.defaults));
    roots.extend(resources.filter_map(|resource| resource.tools.as_ref()?.catalog.clone()));
    let secrets = config.peps.values().flat_map(|pep| [&pep.auth.key, &pep.auth.secret]);
    roots.extend(secrets.flatten().filter_map(|secret| match secret {
        Secret::File(path) => Some(path.clone()),
        Secret::Env(_) => None,
    }));
    roots.extend(config.exchanges.values().flat_map(super::exchanges::files));
    roots.extend(config.sts.iter().flat_map(super::sts::files));
    roots.extend(super::redis::files(config.exchange_cache.redis.as_ref()));
    roots.extend(super::redis::files(config.rate_limit_store.redis.as_ref()));
    roots.extend(super::handles::files(&config.handles));
    roots.extend(resources_with_secrets(config));
    let resources = config.resources.values().chain(std::iter::once(&config.defaults));
    roots.extend(resources.flat_map(super::static_tokens::files));
    let resources = config.resources.values().chain(std::iter::once(&config.defaults));
    roots.extend(resources.flat_map(super::graphql::files));
    let of_issuers =
        config.issuers.values().flat_map(|issuer| issuer.network.ca.iter().chain(&issuer.revocations));
    roots.extend(of_issuers.map(|file| file.file.clone()));
    roots
}

/// The files with the values of headers that upstreams always get.
fn resources_with_secrets(config: &Config) -> impl Iterator<Item = PathBuf> {
    let all = config.resources.values().chain(std::iter::once(&config.defaults));
    all.filter_map(|resource| match &resource.upstream_token {
        Some(types::UpstreamToken::Static(types::StaticHeader { value: Secret::File(path), .. })) => {
            Some(path.clone())
        }
        Some(_) | None => None,
    })
}

pub(super) struct Builder<'a> {
    pub(super) config: &'a Config,
    pub(super) embedded: &'a Embedded,
    pub(super) problems: Vec<String>,
    pub(super) now: Timestamp,
    pub(super) observed: Vec<(ResourceName, String)>,
}

impl Builder<'_> {
    /// Notes one thing that is wrong.
    pub(super) fn problem(&mut self, text: impl Into<String>) {
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
        let has_keys = self.config.peps.values().any(|pep| pep.auth.unix.is_none());
        if let Some(url) = &decision.base_url
            && !is_https_origin(url)
        {
            self.problem(format!(
                "listen.decision.base_url: `{url}` is not like https://pdp.example.com, without path, query and slash at the end"
            ));
        }
        if !decision.address.is_local() && !decision.allow_unauthenticated_callers && !has_keys {
            self.problem(format!(
                "listen.decision: {} is not on loopback, and no pep proves itself over TCP: add one under `peps`, listen on loopback or \
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

    /// With the issuer of our own tokens, where we issue any.
    fn verifier(
        &mut self,
        previous: Option<&Snapshot>,
        clock: &Arc<dyn Clock>,
        own: Option<IssuerSettings>,
    ) -> Option<Verifier> {
        let mut issuers = self.embedded.issuers.clone();
        issuers.extend(own);
        for (name, issuer) in &self.config.issuers {
            if self.embedded.issuers.iter().any(|taken| taken.name == *name) {
                self.problem(format!("issuers.{name}: the name is taken by the development issuer"));
            }
            if let Some(unknown) = issuer.origins.iter().find(|origin| !self.has_issuer(origin)) {
                self.problem(format!("issuers.{name}.origins: there is no issuer `{unknown}`"));
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

    fn policies(&mut self, world: &World) -> Option<Policies> {
        let settings = &self.config.policies;
        let sources = match (&self.embedded.sources, &settings.path) {
            (Some(sources), _) => Ok(sources.clone()),
            (None, Some(path)) => {
                if !settings.sets.is_empty() {
                    self.problem(
                        "policies: `path` and `sets` exclude each other: make the folder of `path` a set",
                    );
                }
                palisade_policy::read_tree(path, &settings.schema, &settings.entities)
            }
            (None, None) => palisade_policy::read_sets(&self.sets(), &settings.schema, &settings.entities),
        };
        let loaded = sources.and_then(|sources| Policies::load(&sources, world, settings.on_error));
        loaded.map_err(|diagnostics| self.problems.extend(diagnostics.iter().map(ToString::to_string))).ok()
    }

    /// The limited policy sets.
    pub(super) fn sets(&mut self) -> Vec<palisade_policy::PolicySet> {
        let mut sets = Vec::new();
        for (name, set) in &self.config.policies.sets {
            if set.resources.is_empty() {
                self.problems.push(format!("policies.sets.{name}.resources: name at least one resource"));
            }
            for unknown in set.resources.iter().filter(|name| !self.config.resources.contains_key(*name)) {
                let problem = format!("policies.sets.{name}.resources: there is no resource `{unknown}`");
                self.problems.push(problem);
            }
            let resources = set.resources.iter().cloned().collect();
            sets.push(palisade_policy::PolicySet { name: name.clone(), path: set.path.clone(), resources });
        }
        sets
    }

    /// The policies in shadow. What is wrong with them is a warning: nothing in force may depend on them.
    fn shadow(&self, world: &World, warnings: &mut Vec<String>) -> Option<Arc<Policies>> {
        let settings = &self.config.policies;
        let path = &settings.shadow.as_ref()?.path;
        let loaded = palisade_policy::read_tree(path, &settings.schema, &settings.entities)
            .and_then(|sources| Policies::load(&sources, world, settings.on_error));
        match loaded {
            Ok(policies) => Some(Arc::new(policies)),
            Err(diagnostics) => {
                let why = diagnostics.first().map(ToString::to_string).unwrap_or_default();
                warnings
                    .push(format!("policies.shadow: nothing is compared, since it cannot be loaded: {why}"));
                None
            }
        }
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
