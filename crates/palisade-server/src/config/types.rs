//! The configuration as one typed tree.
//!
//! Every key of the contract that does something is here, and no other: unknown keys are errors. `schemas/config.schema.json`
//! is generated from these types. Relative paths stay as written; [`super::load`] resolves them against the file.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use palisade_audit::{Durability, OnFull};
use palisade_exchange::{Provider, ResultCheck, SecretIn, TokenType};
use palisade_model::{ExchangeName, InnerCall, IssuerName, PepName, ResourceName, Scope, Surface};
use palisade_pdp::{ClientIp, DenialForm, Kind, ListMode, RequestFrom, ResourceFrom};
use palisade_policy::OnError;
use palisade_token::{Algorithm, GroupsOverage, Profile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod rate_limits;
mod static_tokens;
mod sts;

pub use rate_limits::{FailedAuthentication, RateLimitStore, RateLimits, Rates};
pub use static_tokens::{StaticToken, StaticTokens};
pub use sts::{Sts, StsAudience, StsClient};

use super::values::{ByteSize, ListenAddress, OneOrAll, OrOff, Period, Secret, Switch, TextOrSecret};

/// One configuration file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of the format: 1.
    pub version: u32,
    /// More files with issuers, resources, peps and exchanges. A name given twice is an error.
    #[serde(default)]
    pub include: Vec<PathBuf>,
    /// Where to listen.
    #[serde(default)]
    pub listen: Listen,
    /// What one request may cost.
    #[serde(default)]
    pub limits: Limits,
    /// The callers of the decision listener.
    #[serde(default)]
    pub peps: BTreeMap<PepName, Pep>,
    /// The issuers of tokens.
    #[serde(default)]
    pub issuers: BTreeMap<IssuerName, Issuer>,
    /// Keys under every resource; a resource's own wins.
    #[serde(default)]
    pub defaults: Resource,
    /// The protected resources.
    #[serde(default)]
    pub resources: BTreeMap<ResourceName, Resource>,
    /// The exchanges of tokens.
    #[serde(default)]
    pub exchanges: BTreeMap<ExchangeName, Exchange>,
    /// Our own token service; off unless it is here.
    #[serde(default)]
    pub sts: Option<Sts>,
    /// Where replicas share what they exchanged; default: each keeps its own, in memory.
    #[serde(default)]
    pub exchange_cache: ExchangeCache,
    /// Where replicas count together what `rate_limits` limit; default: each counts for itself, in memory.
    #[serde(default)]
    pub rate_limit_store: RateLimitStore,
    /// What binds sessions and tasks to their subjects.
    #[serde(default)]
    pub handles: Handles,
    /// The MCP gateway; off unless it is here or its command is run.
    #[serde(default)]
    pub gateway: Option<Gateway>,
    /// The policies.
    #[serde(default)]
    pub policies: Policies,
    /// The decision log.
    #[serde(default)]
    pub audit: Audit,
    /// Traces and metrics.
    #[serde(default)]
    pub telemetry: Telemetry,
}

/// What binds sessions and tasks of MCP servers to their subjects.
#[derive(Debug, Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Handles {
    /// 32 random bytes each, in base64 or hex: the first binds, both prove. Replicas share them; default: a key of this
    /// installation, which no other replica has.
    pub keys: Vec<Secret>,
}

/// The MCP gateway: a reverse proxy in front of servers in any language.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// `host:port`.
    pub address: ListenAddress,
    /// Where a client's address is read: `source`, or `{x_forwarded_for: N}`, the N-th from the right. Only where it is written is
    /// an address ever blocked: behind a proxy, `source` is the same for everybody.
    pub client_ip: Option<ClientIp>,
    /// The server behind each resource. A resource is served at the path of its identifier.
    pub upstreams: BTreeMap<ResourceName, Upstream>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { address: ListenAddress::loopback(7257), client_ip: None, upstreams: BTreeMap::new() }
    }
}

/// A server behind the gateway: `{url: http://host:port/path}` or `{stdio: "command"}`.
#[derive(Debug, Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// Its URL.
    pub url: Option<String>,
    /// A command: a process that speaks MCP over its standard input and output, one for each session.
    pub stdio: Option<String>,
    /// Variables of the environment that the process gets, beside the few that every program needs.
    pub environment: Vec<String>,
    /// The most processes at once.
    pub processes: Option<usize>,
    /// How long a process may be unused before it is ended.
    pub idle: Option<Period>,
}

/// A file named by `include`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Included {
    /// The version of the format: 1.
    pub version: u32,
    /// More callers.
    #[serde(default)]
    pub peps: BTreeMap<PepName, Pep>,
    /// More issuers.
    #[serde(default)]
    pub issuers: BTreeMap<IssuerName, Issuer>,
    /// More resources.
    #[serde(default)]
    pub resources: BTreeMap<ResourceName, Resource>,
    /// More exchanges.
    #[serde(default)]
    pub exchanges: BTreeMap<ExchangeName, Exchange>,
}

/// The three listeners.
#[derive(Debug, Clone, Deserialize, JsonSchema, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// For PEPs: gRPC and HTTP on one port.
    pub decision: DecisionListener,
    /// For clients: discovery metadata.
    pub public: PublicListener,
    /// For operators: health and metrics.
    pub admin: AdminListener,
}

/// The decision listener.
#[derive(Debug, Clone, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionListener {
    /// `host:port`, or `unix:/path`.
    pub address: ListenAddress,
    /// Where callers reach it: `https://pdp.example.com`, without a path. The AuthZEN metadata says it.
    pub base_url: Option<String>,
    /// Weakened: off loopback, callers that prove nothing are the PEP `local`.
    pub allow_unauthenticated_callers: bool,
}

impl Default for DecisionListener {
    fn default() -> Self {
        Self { address: ListenAddress::loopback(7254), base_url: None, allow_unauthenticated_callers: false }
    }
}

/// The public listener.
#[derive(Debug, Clone, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PublicListener {
    /// `host:port`, or `unix:/path`.
    pub address: ListenAddress,
    /// Where clients reach it: `https://auth.example.com`, without a path. The token service is called by it.
    pub base_url: Option<String>,
}

impl Default for PublicListener {
    fn default() -> Self {
        Self { address: ListenAddress::loopback(7255), base_url: None }
    }
}

/// The admin listener.
#[derive(Debug, Clone, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct AdminListener {
    /// `host:port`, or `unix:/path`.
    pub address: ListenAddress,
    /// Host names under which HTTP callers may address it, beside its own address.
    pub names: Vec<String>,
    /// Whether `/metrics` is served to anyone also off loopback.
    pub metrics: MetricsAccess,
    /// Weakened: off loopback, everything on this listener is open to anyone.
    pub allow_unauthenticated_callers: bool,
}

impl Default for AdminListener {
    fn default() -> Self {
        Self {
            address: ListenAddress::loopback(7256),
            names: Vec::new(),
            metrics: MetricsAccess::Loopback,
            allow_unauthenticated_callers: false,
        }
    }
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum MetricsAccess {
    /// Only callers on loopback.
    #[default]
    Loopback,
    /// Anyone who reaches the listener.
    Open,
}

/// What one request may cost.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How long a decision may take before it is a recorded denial; keep it below the proxy's own timeout.
    pub deadline: Period,
    /// The largest body that is decided on.
    pub body: ByteSize,
    /// The longest token; at most 64KiB.
    pub token: ByteSize,
    /// The most items of a batch.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Period(Duration::from_millis(150)),
            body: ByteSize(64 * 1024),
            token: ByteSize(16 * 1024),
            batch: 50,
        }
    }
}

/// A caller of the decision listener.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pep {
    /// What it proves itself with.
    pub auth: PepAuth,
    /// The entries it may use.
    pub surfaces: Vec<Surface>,
    /// The resources it may ask about, or `'*'`.
    pub resources: OneOrAll<ResourceName>,
    /// How its `ext_authz` calls name their resource.
    #[serde(default)]
    pub resource_from: ResourceFrom,
    /// Where the client's address is read from; default: `source`, with a warning where addresses can be blocked.
    #[serde(default)]
    pub client_ip: Option<ClientIp>,
    /// Where its HTTP checks say what the client's request is.
    #[serde(default)]
    pub request_from: RequestFrom,
    /// Whether `envoy.filters.http.mcp` metadata of its calls is believed.
    #[serde(default)]
    pub mcp_metadata: bool,
    /// The entity types of which it may assert a subject without a token.
    #[serde(default)]
    pub assert: Vec<String>,
    /// The attributes that it may supply where none is stored.
    #[serde(default)]
    pub properties: Vec<String>,
    /// The exchanges that it may ask for by itself; with the surface `exchange`.
    #[serde(default)]
    pub exchange: Vec<ExchangeName>,
}

/// What a PEP proves itself with, exactly one: `key`, `unix`, `client` with `secret`, or `issuer` with `client`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PepAuth {
    /// A key that it sends as `x-palisade-key` (gRPC metadata or HTTP header), or as a bearer token; at least 32 characters.
    pub key: Option<Secret>,
    /// The user id of its process, where the decision listener is a Unix socket.
    pub unix: Option<u32>,
    /// The secret that it sends with the id of `client` by HTTP Basic authentication; at least 32 characters.
    pub secret: Option<Secret>,
    /// The issuer of the token that it sends, one of `issuers`.
    pub issuer: Option<IssuerName>,
    /// Its id as a client: that of its secret, or the one its tokens are issued to.
    pub client: Option<String>,
    /// What its token must be for; default: `listen.decision.base_url`.
    pub audience: Option<String>,
}

/// An issuer of tokens.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its identifier, compared with `iss` code point for code point.
    pub issuer: String,
    /// What its tokens look like.
    #[serde(default = "default_profile")]
    pub profile: Profile,
    /// Where its keys are; default: discovery.
    #[serde(default)]
    pub jwks: Option<Jwks>,
    /// The signature algorithms it uses; default: every asymmetric one that is supported.
    #[serde(default)]
    pub algorithms: Vec<Algorithm>,
    /// How far its clock may be off.
    #[serde(default = "default_leeway")]
    pub leeway: Period,
    /// How long a fetch of its keys may take.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
    /// How long a token may live.
    #[serde(default = "default_max_lifetime")]
    pub max_lifetime: Period,
    /// The claim with the subject's id.
    #[serde(default)]
    pub subject: Option<String>,
    /// The tenants of a templated Entra issuer.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Which claims hold what.
    #[serde(default)]
    pub claims: Claims,
    /// What to do with a token that says its groups are elsewhere.
    #[serde(default)]
    pub groups_overage: GroupsOverage,
    /// How its network is reached.
    #[serde(default)]
    pub network: Network,
    /// For profile `palisade`: the issuers whose subjects its tokens may speak for.
    #[serde(default)]
    pub origins: Vec<IssuerName>,
    /// A file with what is revoked before its end: a JSON array of `{"subject": .., "before": ..}`, `{"client": .., "before": ..}`,
    /// `{"session": ..}` and `{"token": ..}`.
    #[serde(default)]
    pub revocations: Option<FileRef>,
}

const fn default_profile() -> Profile {
    Profile::Rfc9068
}

const fn default_leeway() -> Period {
    Period(Duration::from_secs(30))
}

const fn default_timeout() -> Period {
    Period(Duration::from_secs(5))
}

const fn default_max_lifetime() -> Period {
    Period(Duration::from_secs(24 * 60 * 60))
}

/// Where an issuer's keys are: exactly one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Jwks {
    /// A URL.
    Uri(String),
    /// A file, re-read when it changes.
    File(PathBuf),
}

/// Which claims hold what: a claim's name, or a JSON pointer if it begins with `/`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Claims {
    /// Roles.
    pub roles: Option<Vec<String>>,
    /// Groups.
    pub groups: Option<Vec<String>>,
    /// The tenant.
    pub tenant: Option<String>,
    /// Claims that become tags of the principal.
    pub tags: Vec<String>,
}

/// How an issuer's network is reached.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Whether private and loopback addresses may be reached, and plain http on loopback.
    pub private: bool,
    /// A file with further certificate authorities, PEM.
    pub ca: Option<FileRef>,
    /// `none`, or the URL of an egress proxy.
    pub proxy: Option<String>,
}

/// A file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Its path.
    pub file: PathBuf,
}

/// A protected resource. Under `defaults`, the same keys but `identifier` and `match`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resource {
    /// Its RFC 8707 identifier, an absolute URL without fragment.
    pub identifier: Option<String>,
    /// What it speaks.
    pub kind: Option<Kind>,
    /// The issuers whose tokens it accepts.
    pub issuers: Option<Vec<IssuerName>>,
    /// The audiences it accepts; default: its identifier.
    pub audiences: Option<Vec<String>>,
    /// Weakened: any audience will do. Refused for kind mcp.
    pub accept_any_audience: Option<bool>,
    /// The authorization servers of its metadata; default: the issuers' own identifiers.
    pub authorization_servers: Option<Vec<String>>,
    /// What its metadata says for people.
    pub metadata: Option<Metadata>,
    /// Its scopes.
    pub scopes: Option<Scopes>,
    /// Authentication contexts to offer in a step-up, weakest first.
    pub acr_values: Option<Vec<String>>,
    /// Ages of an authentication to offer in a step-up, laxest first.
    pub max_age: Option<Vec<Period>>,
    /// Where it is found by host and path, by default those of the identifier; and by the names that agentgateway has for it.
    #[serde(rename = "match")]
    pub places: Option<Vec<Place>>,
    /// Route templates; kind http.
    pub routes: Option<Vec<String>>,
    /// Its tools; kind mcp.
    pub tools: Option<Tools>,
    /// Its schema; kind graphql.
    pub schema: Option<GraphSchema>,
    /// What becomes of an operation of which something is denied; kind graphql. `whole`: it is denied. `part`: behind what can send on
    /// what is left, which is the adapter for servers in Rust, a query goes on without that, and the client is told; elsewhere it is denied.
    pub operations: Option<Operations>,
    /// What permitted introspection shows; kind graphql. `whole`: what the server says. `permitted`: what its caller may select with the
    /// token at hand; behind the adapters for servers in Rust and the gateway it is answered in place of the server, elsewhere denied.
    pub introspection: Option<Introspection>,
    /// MCP methods, or HTTP methods for kind http, that may reach policy without a token; for kind graphql `query`, `mutation`,
    /// `subscription` and `introspect`.
    pub anonymous: Option<Vec<String>>,
    /// What lists show: `reachable` (permitted, or after a step-up) or `permitted`; kind mcp.
    pub list: Option<ListMode>,
    /// Whether denials look for scopes that would turn them into permits.
    pub step_up: Option<Switch>,
    /// How MCP denials other than 401 and step-up are told.
    pub denial_form: Option<DenialForm>,
    /// Which browsers may read its answers.
    pub cors: Option<Cors>,
    /// What happens to the credential on the way to the upstream.
    pub upstream_token: Option<UpstreamToken>,
    /// `off`, or `{until: 2026-12-31}`: policy denials are recorded and let by, for at most 30 days.
    pub observe: Option<Observe>,
    /// How much may be asked of it: `off`, or what is not to be the default. Default: on for kind mcp, off for kind http.
    pub rate_limits: Option<OrOff<RateLimits>>,
    /// Secrets that it takes in place of tokens.
    pub static_tokens: Option<StaticTokens>,
}

/// What happens to the credential on the way to the upstream: `strip`, `keep`, `{exchange: name}` or
/// `{static: {header, value}}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamToken {
    /// It is removed.
    Strip,
    /// Weakened: it is passed on.
    Keep,
    /// It is removed, and a token of this exchange takes its place.
    Exchange(ExchangeName),
    /// It is removed, and the upstream gets this header.
    Static(StaticHeader),
}

/// A header that an upstream always gets.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticHeader {
    /// Its name.
    pub header: String,
    /// Its value.
    pub value: Secret,
}

/// An exchange of tokens.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Whose dialect is spoken.
    pub provider: Provider,
    /// The issuer whose tokens are exchanged, at its provider; default: the only one there is.
    #[serde(default)]
    pub issuer: Option<IssuerName>,
    /// Where the provider is asked; default: what its metadata says.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// The client that asks. It is confidential: a public one could let anyone ask in its name.
    pub client: ExchangeClient,
    /// What the tokens are for, as the provider calls it.
    pub audience: String,
    /// The `aud` of the tokens, where it is another; Entra: the GUID of the application.
    #[serde(default)]
    pub token_audience: Option<String>,
    /// `resource` parameters (RFC 8707), for a provider that takes them.
    #[serde(default)]
    pub resources: Vec<String>,
    /// The scopes to ask for. Nobody can ask for others; policies can narrow them.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// For how long a token is handed out; policies can narrow it.
    #[serde(default = "default_exchange_lifetime")]
    pub lifetime: Period,
    /// How long a call may take that waits for the provider.
    #[serde(default = "default_exchange_timeout")]
    pub timeout: Period,
    /// What the subjects' tokens are called in a request.
    #[serde(default)]
    pub subject_token_type: TokenType,
    /// A token of who acts for the subject, where the provider is told by a token.
    #[serde(default)]
    pub actor: Option<Actor>,
    /// The issuer of the issued tokens; default: the one that is asked last.
    #[serde(default)]
    pub issued_by: Option<IssuerName>,
    /// How the issued tokens are checked.
    #[serde(default)]
    pub result: ResultCheck,
    /// The authorization server of the upstream; provider `id_jag`.
    #[serde(default)]
    pub authorization_server: Option<AuthorizationServer>,
    /// How the provider is reached; default: as the issuer is.
    #[serde(default)]
    pub network: Option<Network>,
}

const fn default_exchange_lifetime() -> Period {
    Period(Duration::from_secs(5 * 60))
}

const fn default_exchange_timeout() -> Period {
    Period(Duration::from_secs(3))
}

/// Where the tokens of exchanges are kept beside memory.
#[derive(Debug, Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ExchangeCache {
    /// In Redis or Valkey, encrypted.
    pub redis: Option<Redis>,
}

/// A Redis or Valkey that several replicas share.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// `redis://host:port` or `rediss://host:port`. One with a password is in a file or a variable.
    pub url: TextOrSecret,
    /// What tokens are encrypted and names are hidden with: 32 bytes in base64 or hex. The first is used; tokens of a second
    /// one are read, too.
    pub keys: Vec<Secret>,
    /// What the names of the keys begin with.
    #[serde(default = "default_redis_prefix")]
    pub prefix: String,
    /// How long it may take to answer before it is done without.
    #[serde(default = "default_redis_timeout")]
    pub timeout: Period,
}

fn default_redis_prefix() -> String {
    "palisade".to_owned()
}

const fn default_redis_timeout() -> Period {
    Period(Duration::from_millis(50))
}

/// A confidential client, with a `secret`, a `key`, or `tls`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeClient {
    /// `client_id`.
    pub id: String,
    /// `client_secret_basic` or `client_secret_post`.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// Where the secret goes; default: what the provider asks for.
    #[serde(default)]
    pub secret_in: Option<SecretIn>,
    /// `private_key_jwt`: a private key, PEM.
    #[serde(default)]
    pub key: Option<Secret>,
    /// The `kid` of the key.
    #[serde(default)]
    pub kid: Option<String>,
    /// The certificate of the key, PEM: its thumbprint goes into the assertion, as Entra asks for.
    #[serde(default)]
    pub certificate: Option<FileRef>,
    /// `tls_client_auth`: certificate and private key of the connection, PEM.
    #[serde(default)]
    pub tls: Option<TlsIdentity>,
}

/// The certificate of a connection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsIdentity {
    /// The certificate, with those above it.
    pub certificate: FileRef,
    /// The private key.
    pub key: Secret,
}

/// A token of who acts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The token.
    pub token: Secret,
    /// What it is.
    #[serde(default)]
    pub token_type: TokenType,
}

/// The authorization server of an upstream.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationServer {
    /// The issuer that it is.
    pub issuer: IssuerName,
    /// Where it is asked; default: what its metadata says.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// The client that asks there.
    pub client: ExchangeClient,
}

/// What a resource's metadata says for people (RFC 9728 section 2).
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metadata {
    /// `resource_name`.
    pub name: Option<String>,
    /// `resource_documentation`, a URL.
    pub documentation: Option<String>,
    /// `resource_policy_uri`, a URL.
    pub policy: Option<String>,
    /// `resource_tos_uri`, a URL.
    pub terms: Option<String>,
}

/// The scopes of a resource.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scopes {
    /// In the first challenge.
    pub initial: Vec<Scope>,
    /// `scopes_supported` of the metadata.
    pub supported: Vec<Scope>,
    /// Candidates of a step-up, weakest first.
    pub step_up: Vec<Scope>,
    /// Scopes that a scope implies.
    pub implies: BTreeMap<Scope, Vec<Scope>>,
    /// What stands before every scope when a client asks the provider for it; entra: `api://<id>/`.
    pub request_prefix: String,
}

/// A host and a path prefix of whole segments; or the name of a service.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Place {
    /// The host, with its port where it is not the scheme's default.
    pub host: Option<String>,
    /// The path prefix; default: `/`.
    pub path: Option<String>,
    /// Instead of both: the name that agentgateway has for the server.
    pub service: Option<String>,
}

/// What becomes of an operation of which something is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operations {
    /// It is denied whole.
    Whole,
    /// It goes on without that, where its entry can send on what is left.
    Part,
}

/// What permitted introspection shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Introspection {
    /// What the server says.
    Whole,
    /// What its caller may select.
    Permitted,
}

/// The schema of a GraphQL API.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphSchema {
    /// The supergraph, or a plain schema, as a file.
    pub sdl: PathBuf,
    /// The documents that clients may name by their hashes, and that policies see as `allowlisted`: an object of documents by their
    /// SHA-256, or the manifest that Apollo's tools write. An entry may be `allowlisted` for some clients alone.
    #[serde(default)]
    pub manifest: Option<PathBuf>,
}

/// The tools of an MCP server.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tools {
    /// The server's tools, as a file: what `palisade tools fetch` writes, or a saved `tools/list` result.
    pub catalog: Option<PathBuf>,
    /// The tools of the catalogue whose arguments policies see with names and types, as `context.input`.
    pub typed: Vec<String>,
    /// The tools that call another tool of the same server, and where their arguments say which, as JSON pointers: policies are
    /// asked about the other call, too. For `{"name": "delete_file", "arguments": {..}}`:
    /// `{call_tool: {name: /name, arguments: /arguments}}`.
    pub meta: BTreeMap<String, InnerCall>,
}

/// Which browsers may read a resource's answers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Their origins, compared exactly.
    pub origins: Vec<String>,
}

/// Whether policy denials are recorded and let by: `off`, or `{until: 2026-12-31}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Observe {
    /// They are enforced.
    Off,
    /// They are let by until this day begins, in UTC; at most 30 days from now.
    Until(String),
}

/// The policies.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// A folder of `*.cedar` files. Default: `policies`, where there are no sets.
    pub path: Option<PathBuf>,
    /// Instead of one folder: folders whose policies can reach only the resources that each is for.
    pub sets: BTreeMap<String, PolicySet>,
    /// Extra `*.cedarschema` fragments.
    pub schema: Vec<PathBuf>,
    /// Entity files, Cedar's JSON format.
    pub entities: Vec<PathBuf>,
    /// When they are read again.
    pub reload: Reload,
    /// What an erroring policy does.
    pub on_error: OnError,
    /// Policies that are asked about the same requests, and whose differing answers are recorded and never acted on.
    pub shadow: Option<ShadowPolicies>,
}

/// A folder whose policies can reach only these resources.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicySet {
    /// A folder of `*.cedar` files.
    pub path: PathBuf,
    /// The resources that they may be about.
    pub resources: Vec<ResourceName>,
}

/// The policies in shadow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowPolicies {
    /// A folder of `*.cedar` files with entities and fragments of its own; `schema` and `entities` of `policies` go with
    /// it. What changes in it is taken with the next reload, or on SIGHUP.
    pub path: PathBuf,
}

/// When policies and configuration are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reload {
    /// When a file changes, and on SIGHUP.
    #[default]
    Watch,
    /// On SIGHUP.
    Signal,
    /// Never.
    Off,
}

/// The decision log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// The folder of its segments.
    pub path: PathBuf,
    /// What has happened to a record before its answer leaves.
    pub durability: Durability,
    /// What happens to a decision when the quota is used up.
    pub on_full: OnFull,
    /// How much disk the segments may take.
    pub quota: ByteSize,
    /// Where log records are exported to.
    pub otlp: Option<Otlp>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            path: PathBuf::from("audit"),
            durability: Durability::Written,
            on_full: OnFull::Deny,
            quota: ByteSize(20 * 1024 * 1024 * 1024),
            otlp: None,
        }
    }
}

/// An OTLP receiver.
#[derive(Debug, Clone, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Its gRPC endpoint: `http://127.0.0.1:4317`.
    pub endpoint: String,
}

/// Traces and metrics.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Where they are exported to.
    pub otlp: Option<Otlp>,
}
