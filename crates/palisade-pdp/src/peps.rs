//! The callers of the decision service, and what each may ask and is believed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use palisade_model::{
    Audience, Authority, ExchangeName, IssuerName, PepName, ResourceName, Subject, SubjectKind, Surface,
};
use serde::{Deserialize, Serialize};

use crate::{Resource, Resources};

/// Who calls the decision service. The server's connection layer puts it into the extensions of every request; a
/// request without one has a caller that is not authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller(pub Option<PepName>);

/// A policy enforcement point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pep {
    /// Its name in the configuration.
    pub name: PepName,
    /// The entries it may use.
    pub surfaces: BTreeSet<Surface>,
    /// The resources it may ask about; `None` is all of them.
    pub resources: Option<BTreeSet<ResourceName>>,
    /// How its calls name their resource.
    pub resource_from: ResourceFrom,
    /// Where the client's address is read from.
    pub client_ip: ClientIp,
    /// Whether it is trusted so far in a client's address that it can be blocked.
    pub vouches: bool,
    /// Where its HTTP checks say what the client's request is.
    pub request_from: RequestFrom,
    /// Whether `envoy.filters.http.mcp` metadata of its calls is believed.
    pub mcp_metadata: bool,
    /// The entity types of which it may assert a subject without a token.
    pub asserts: BTreeSet<String>,
    /// The attributes that it may supply where none is stored.
    pub supplies: BTreeSet<String>,
    /// The exchanges it may ask for.
    pub exchange: BTreeSet<ExchangeName>,
}

/// How an `ext_authz` call names its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceFrom {
    /// By the route's context extension `palisade.resource`.
    #[default]
    Route,
    /// By host and path.
    Host,
    /// By the route's context extension where there is one, else by host and path: the caller `local`.
    #[serde(skip)]
    Either,
}

/// Where an HTTP check says what the client's request is. A proxy writes all header fields of its form itself, over what
/// its client sent under their names; the fields of another form are never believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestFrom {
    /// The check itself has the client's method, host, path and body: Envoy's HTTP `ext_authz`.
    #[default]
    Call,
    /// `X-Original-Method`, `-Proto`, `-Host` and `-URI`, as deploy/ sets them for nginx and HAProxy.
    XOriginal,
    /// `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`, as Traefik and Caddy send them.
    XForwarded,
}

/// Where the client's address is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientIp {
    /// The address of the proxy's downstream connection.
    #[default]
    Source,
    /// The element of `X-Forwarded-For` that stands this many places from the right; 1 is the last one.
    XForwardedFor(u8),
}

impl Pep {
    /// Whether it may use this entry for this resource.
    #[must_use]
    pub fn may_ask(&self, surface: Surface, resource: &ResourceName) -> bool {
        self.surfaces.contains(&surface)
            && self.resources.as_ref().is_none_or(|resources| resources.contains(resource))
    }

    /// The only resource it may ask about, where its configuration names exactly one.
    #[must_use]
    pub fn only_resource<'a>(&self, all: &'a Resources) -> Option<&'a Arc<Resource>> {
        let mut own = self.resources.iter().flatten();
        let only = own.next().filter(|_| own.next().is_none())?;
        all.by_name(only.as_str())
    }

    /// The unnamed caller on loopback: it may ask for decisions on tokens, and nothing else. What a token says when it is
    /// verified is no decision.
    #[must_use]
    pub fn local(name: PepName) -> Self {
        Self {
            name,
            surfaces: BTreeSet::from([
                Surface::ExtAuthz,
                Surface::ExtProc,
                Surface::ExtMcp,
                Surface::HttpAuthz,
                Surface::Gateway,
                Surface::Coprocessor,
                Surface::Decide,
            ]),
            resources: None,
            resource_from: ResourceFrom::Either,
            client_ip: ClientIp::Source,
            vouches: true,
            request_from: RequestFrom::Call,
            mcp_metadata: false,
            asserts: BTreeSet::new(),
            supplies: BTreeSet::new(),
            exchange: BTreeSet::new(),
        }
    }

    /// The name of the MCP gateway of this process, which no other caller has.
    pub const GATEWAY: &str = "mcp-gateway";

    /// The MCP gateway of this process: it asks about every resource, and hands tokens on to upstreams.
    #[must_use]
    pub fn gateway(name: PepName, client_ip: ClientIp) -> Self {
        Self { surfaces: BTreeSet::from([Surface::Gateway]), client_ip, ..Self::local(name) }
    }

    /// Whether it is that one.
    pub(crate) fn is_local(&self) -> bool {
        self.name.as_str() == LOCAL
    }
}

/// The name of the unnamed caller, which no other has.
const LOCAL: &str = "local";

/// A client of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenClient {
    /// The issuer's name in the configuration.
    pub issuer: IssuerName,
    /// `<issuer>/<client_id>`, as a subject's id.
    pub id: String,
}

/// All callers of a snapshot, with what they prove themselves with.
#[derive(Debug, Clone, Default)]
pub struct Peps {
    by_name: BTreeMap<PepName, Pep>,
    /// SHA-256 of every key: a look-up by digest tells nothing about a key by its time.
    by_key: BTreeMap<[u8; 32], PepName>,
    by_uid: BTreeMap<u32, PepName>,
    by_secret: BTreeMap<(String, [u8; 32]), PepName>,
    /// With the audience that the token must have.
    by_client: BTreeMap<TokenClient, (PepName, Audience)>,
}

/// What a PEP proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PepAuth {
    /// The SHA-256 of a key that it sends.
    Key([u8; 32]),
    /// The user id of its process on a Unix socket.
    Uid(u32),
    /// The id and the SHA-256 of the secret of a client.
    Secret {
        /// The id.
        client: String,
        /// The SHA-256 of the secret.
        digest: [u8; 32],
    },
    /// A token of a client, for this audience.
    Token(TokenClient, Audience),
    /// Nothing beside its place on loopback: the caller `local`.
    Loopback,
    /// Nothing, since it is in this process: nobody from outside can be it.
    Inside,
}

impl Peps {
    /// Takes the callers. The last of two callers with one key, user id or name wins; the configuration refuses both.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = (Pep, PepAuth)>) -> Self {
        let mut peps = Self::default();
        for (pep, auth) in all {
            match auth {
                PepAuth::Key(digest) => {
                    peps.by_key.insert(digest, pep.name.clone());
                }
                PepAuth::Uid(uid) => {
                    peps.by_uid.insert(uid, pep.name.clone());
                }
                PepAuth::Secret { client, digest } => {
                    peps.by_secret.insert((client, digest), pep.name.clone());
                }
                PepAuth::Token(client, audience) => {
                    peps.by_client.insert(client, (pep.name.clone(), audience));
                }
                PepAuth::Loopback | PepAuth::Inside => {}
            }
            peps.by_name.insert(pep.name.clone(), pep);
        }
        peps
    }

    /// The caller of this name.
    #[must_use]
    pub fn by_name(&self, name: &PepName) -> Option<&Pep> {
        self.by_name.get(name)
    }

    /// The caller whose key has this SHA-256.
    #[must_use]
    pub fn by_key(&self, digest: &[u8; 32]) -> Option<&Pep> {
        self.by_key.get(digest).and_then(|name| self.by_name.get(name))
    }

    /// The caller whose client id this is, if its secret has this SHA-256.
    #[must_use]
    pub fn by_secret(&self, client: &str, digest: [u8; 32]) -> Option<&Pep> {
        self.by_secret.get(&(client.to_owned(), digest)).and_then(|name| self.by_name.get(name))
    }

    /// What a token of a PEP must be for, and the issuers it may come from; nothing where no PEP has one.
    #[must_use]
    pub fn tokens(&self) -> Option<(BTreeSet<Audience>, Vec<IssuerName>)> {
        let mut issuers: Vec<IssuerName> =
            self.by_client.keys().map(|client| client.issuer.clone()).collect();
        issuers.dedup();
        let audiences = self.by_client.values().map(|(_, audience)| audience.clone()).collect();
        (!issuers.is_empty()).then_some((audiences, issuers))
    }

    /// The caller whose token this is. A token of the client itself, never one that a user has at that client.
    #[must_use]
    pub fn by_token(&self, subject: &Subject, authority: &Authority) -> Option<&Pep> {
        let is_own = subject.kind == SubjectKind::Client && authority.actors.is_empty();
        let client = TokenClient { issuer: authority.issuer.clone(), id: subject.id.clone() };
        let (name, audience) = self.by_client.get(&client).filter(|_| is_own)?;
        self.by_name.get(name).filter(|_| authority.audience.contains(audience))
    }

    /// The caller whose processes have this user id.
    #[must_use]
    pub fn by_uid(&self, uid: u32) -> Option<&Pep> {
        self.by_uid.get(&uid).and_then(|name| self.by_name.get(name))
    }
}
