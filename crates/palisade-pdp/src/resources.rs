//! The protected resources (RFC 9728) of a snapshot, and how a call finds the one it is for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use palisade_model::{
    Action, Audience, ExchangeName, IssuerName, Item, Properties, Reason, Refusal, ResourceName, Scope,
    Scopes, Target, Timestamp, ToolForms,
};
use palisade_policy::Kind;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Grammar, ListMode, RateLimits, StaticTokens, routes::Routes};

/// One protected resource.
#[derive(Debug)]
pub struct Resource {
    /// Its name in the configuration.
    pub name: ResourceName,
    /// Its RFC 8707 identifier, an absolute URL.
    pub identifier: String,
    /// What it speaks.
    pub kind: Kind,
    /// The issuers whose tokens it accepts.
    pub issuers: Vec<IssuerName>,
    /// The audiences it accepts.
    pub audiences: BTreeSet<Audience>,
    /// Whether any audience will do: a weakened setting, never for MCP.
    pub any_audience: bool,
    /// Its RFC 9728 document.
    pub metadata: Metadata,
    /// Its scopes.
    pub scopes: ScopeSettings,
    /// Authentication contexts to offer in a step-up, weakest first.
    pub acr_values: Vec<String>,
    /// Ages of an authentication to offer in a step-up, laxest first.
    pub max_age: Vec<Duration>,
    /// What is known of the form of calls of its tools.
    pub tools: ToolForms,
    /// The route templates of an HTTP service.
    pub routes: Routes,
    /// The names of actions that may reach policy without a token; of an operation, the operation's own and introspection.
    pub anonymous: BTreeSet<String>,
    /// Whether denials look for scopes that would turn them into permits.
    pub step_up: bool,
    /// What lists show.
    pub list: ListMode,
    /// How MCP denials other than 401 and step-up are told.
    pub denial_form: DenialForm,
    /// Origins of browsers that may read answers.
    pub cors_origins: BTreeSet<String>,
    /// What happens to the credential on the way to the upstream.
    pub upstream_token: UpstreamToken,
    /// Until when policy denials are recorded and let by.
    pub observe_until: Option<Timestamp>,
    /// How much may be asked of it.
    pub rate_limits: RateLimits,
    /// Secrets that it takes in place of tokens.
    pub static_tokens: StaticTokens,
    /// What its requests are read with, where that is more than its name.
    pub grammar: Grammar,
}

/// Everything an RFC 9728 document says, and where it is.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// The URL of the document: the identifier with the well-known path inserted (RFC 9728 section 3.1).
    pub url: String,
    /// The path of that URL.
    pub path: String,
    /// The document.
    pub document: serde_json::Value,
}

/// What a resource says of scopes.
#[derive(Debug, Clone, Default)]
pub struct ScopeSettings {
    /// The scopes of the first challenge.
    pub initial: Vec<Scope>,
    /// The scopes that the metadata document lists.
    pub supported: Vec<Scope>,
    /// Candidates of a step-up, weakest first.
    pub step_up: Vec<Scope>,
    /// Scopes that a scope implies.
    pub implies: BTreeMap<Scope, Vec<Scope>>,
    /// What stands before every scope when a client asks the provider for it.
    pub request_prefix: String,
}

impl Resource {
    /// The origin of its identifier (RFC 6454): `https://mcp.example.com`.
    #[must_use]
    pub fn origin(&self) -> &str {
        let scheme = self.identifier.find("://").map_or(0, |at| at + 3);
        let path = self.identifier.get(scheme..).and_then(|rest| rest.find(['/', '?', '#']));
        self.identifier.get(..path.map_or(self.identifier.len(), |at| scheme + at)).unwrap_or_default()
    }

    /// The path of its identifier, without a slash at its end: where clients find it at their host.
    #[must_use]
    pub fn path(&self) -> &str {
        let path = self.identifier.get(self.origin().len()..).unwrap_or_default();
        let end = path.find(['?', '#']).unwrap_or(path.len());
        path.get(..end).unwrap_or_default().trim_end_matches('/')
    }

    /// A request of an HTTP service as an item. The path is one that [`crate::location::Location`] has accepted.
    ///
    /// # Errors
    /// `method_unknown` for a method that is not in the policy vocabulary, `target_unknown` where no route template
    /// matches the path.
    pub fn http_item(&self, method: &str, path: &str) -> Result<Item, Refusal> {
        if !matches!(method, "GET" | "HEAD" | "OPTIONS" | "POST" | "PUT" | "PATCH" | "DELETE") {
            return Err(Refusal::new(Reason::MethodUnknown, "the policy vocabulary has no such method"));
        }
        let route = self.routes.find(path);
        let route =
            route.ok_or_else(|| Refusal::new(Reason::TargetUnknown, "no route template matches the path"))?;
        Ok(Item {
            action: Action::http(method),
            target: Target::http_route(&self.name, &route.template),
            arguments: Some(Arc::new(route.arguments)),
            supplied: Properties::default(),
            known: Properties::default(),
            reply_to: None,
        })
    }
}

impl ScopeSettings {
    /// The scopes of a token that mean something to this resource.
    #[must_use]
    pub(crate) fn held_by(&self, token: &Scopes) -> Scopes {
        let known =
            self.initial.iter().chain(&self.supported).chain(&self.step_up).chain(self.implies.keys());
        known.filter(|scope| token.contains(*scope)).cloned().collect()
    }
}

/// How MCP denials are told, other than a 401 and a step-up, which are always HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DenialForm {
    /// HTTP 403.
    #[default]
    Http,
    /// HTTP 200 with a JSON-RPC error.
    Jsonrpc,
}

/// What happens to the credential on the way to the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UpstreamToken {
    /// It is removed.
    #[default]
    Strip,
    /// It is passed on.
    Keep,
    /// It is removed, and a token takes its place that it was exchanged for.
    Exchange(ExchangeName),
    /// It is removed, and the upstream gets a header of its own.
    Static(Arc<StaticHeader>),
}

impl UpstreamToken {
    /// Whether the call leaves with a credential that it did not bring: whoever asks about it is handed that.
    pub(crate) const fn is_secret(&self) -> bool {
        match self {
            Self::Exchange(_) | Self::Static(_) => true,
            Self::Strip | Self::Keep => false,
        }
    }
}

/// A header that an upstream always gets. Nothing prints its value.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticHeader {
    /// The name, in lower case.
    pub name: String,
    /// The value.
    pub value: Zeroizing<String>,
}

impl fmt::Debug for StaticHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value: _ } = self;
        write!(formatter, "StaticHeader({name:?}, ..)")
    }
}

/// Where a resource is found by calls that do not know its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// By host and path: `{host: mcp.example.com, path: /files}`.
    At {
        /// The host, normalised.
        host: String,
        /// A prefix of whole segments; `/` is every path.
        path: String,
    },
    /// By the name that a gateway has for the server: `{service: files}`.
    Service(String),
}

/// Two resources claim one place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResourcesError {
    /// A name stands twice.
    #[error("resource `{0}` is defined twice")]
    Name(ResourceName),
    /// Two resources have one metadata URL.
    #[error("resources `{0}` and `{1}` have the same identifier, but for a slash at its end")]
    Identifier(ResourceName, ResourceName),
    /// A place stands twice.
    #[error("resources `{first}` and `{second}` both match host `{host}` and path `{path}`")]
    Place {
        /// The resource that came first.
        first: ResourceName,
        /// The resource that came second.
        second: ResourceName,
        /// The host of both.
        host: String,
        /// The path of both.
        path: String,
    },
    /// A service stands twice.
    #[error("resources `{first}` and `{second}` both match service `{service}`")]
    Service {
        /// The resource that came first.
        first: ResourceName,
        /// The resource that came second.
        second: ResourceName,
        /// The service of both.
        service: String,
    },
}

/// All resources of a snapshot.
#[derive(Debug, Default)]
pub struct Resources {
    by_name: BTreeMap<ResourceName, Arc<Resource>>,
    by_host: HashMap<String, Vec<(String, Arc<Resource>)>>,
    by_service: HashMap<String, Arc<Resource>>,
}

impl Resources {
    /// Takes the resources and their places.
    ///
    /// # Errors
    /// When a name or a place stands twice.
    pub fn new(all: impl IntoIterator<Item = (Resource, Vec<Place>)>) -> Result<Self, ResourcesError> {
        let mut resources = Self::default();
        for (resource, places) in all {
            let same = resources.iter().find(|known| known.metadata.url == resource.metadata.url);
            if let Some(known) = same {
                return Err(ResourcesError::Identifier(known.name.clone(), resource.name));
            }
            let resource = Arc::new(resource);
            for place in places {
                resources.place(&resource, place)?;
            }
            let name = resource.name.clone();
            if resources.by_name.insert(name.clone(), resource).is_some() {
                return Err(ResourcesError::Name(name));
            }
        }
        for at_host in resources.by_host.values_mut() {
            at_host.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        }
        Ok(resources)
    }

    fn place(&mut self, resource: &Arc<Resource>, place: Place) -> Result<(), ResourcesError> {
        match place {
            Place::At { host, path } => {
                // `/files` and `/files/` are the same prefix by whole segments.
                let path = path.strip_suffix('/').unwrap_or(&path).to_owned();
                let at_host = self.by_host.entry(host.clone()).or_default();
                if let Some((_, first)) = at_host.iter().find(|(taken, _)| *taken == path) {
                    let (first, second) = (first.name.clone(), resource.name.clone());
                    return Err(ResourcesError::Place { first, second, host, path });
                }
                at_host.push((path, Arc::clone(resource)));
            }
            Place::Service(service) => {
                if let Some(first) = self.by_service.insert(service.clone(), Arc::clone(resource)) {
                    let (first, second) = (first.name.clone(), resource.name.clone());
                    return Err(ResourcesError::Service { first, second, service });
                }
            }
        }
        Ok(())
    }

    /// The resource that a gateway has this name for.
    #[must_use]
    pub fn by_service(&self, service: &str) -> Option<&Arc<Resource>> {
        self.by_service.get(service)
    }

    /// The resource of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Resource>> {
        self.by_name.get(name)
    }

    /// The resource of this name, where this host is one of its places' hosts.
    #[must_use]
    pub fn at_host(&self, name: &ResourceName, host: &str) -> Option<&Arc<Resource>> {
        let mut there = self.by_host.get(host)?.iter().map(|(_, resource)| resource);
        there.find(|resource| resource.name == *name)
    }

    /// The resource whose place has this host and the longest prefix of this path, by whole segments.
    #[must_use]
    pub fn at(&self, host: &str, path: &str) -> Option<&Arc<Resource>> {
        let longest_first = self.by_host.get(host)?;
        // What a GraphQL API serves below its own path is no GraphQL, and would be decided as if it were.
        let is_whole = |prefix: &String, resource: &Resource| {
            resource.kind != Kind::Graphql || path.strip_suffix('/').unwrap_or(path) == prefix
        };
        let holds = |(prefix, resource): &&(String, Arc<Resource>)| {
            is_segment_prefix(prefix, path) && is_whole(prefix, resource)
        };
        longest_first.iter().find(holds).map(|(_, resource)| resource)
    }

    /// The resources whose metadata document has this path; several where they are on different hosts.
    pub fn with_metadata_at(&self, path: &str) -> impl Iterator<Item = &Arc<Resource>> {
        self.iter().filter(move |resource| resource.metadata.path == path)
    }

    /// Every resource, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_name.values()
    }
}

/// Whether `prefix`, without a slash at its end, is a prefix of `path` by whole segments: `/files` is not one of
/// `/filesystem`.
fn is_segment_prefix(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_whole_segments() {
        for (prefix, path, expected) in [
            ("", "/", true),
            ("", "/anything", true),
            ("/files", "/files", true),
            ("/files", "/files/", true),
            ("/files", "/files/a", true),
            ("/files", "/filesystem", false),
            ("/files", "/file", false),
            ("/files", "/FILES", false),
        ] {
            assert_eq!(is_segment_prefix(prefix, path), expected, "{prefix} {path}");
        }
    }
}
