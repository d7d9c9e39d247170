//! A decision point with every part of its own, whose policies permit nothing to the tokens that go with it.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use palisade_audit::{AuditLog, AuditSettings, Durability, OnFull};
use palisade_call::{Graph, Introspection, WholeOrPart};
use palisade_graphql::{Manifest, Schema};
use palisade_model::{Audience, Clock, Issuer, PolicyRevision, SystemClock};
use palisade_pdp::{
    Askers, Caller, ClientIp, DenialForm, Grammar, Kind, Limits, Metadata, Pdp, PdpSettings, Pep, PepAuth, Peps,
    Place, RequestFrom, Resource, ResourceFrom, Resources, Routes, ScopeSettings, Snapshot, StaticTokens,
    UpstreamToken,
};
use palisade_policy::{OnError, Policies, SourceFile, Sources, Tool, World, WorldGraph, WorldResource};
use palisade_token::{IssuerSettings, KeySource, Verifier, install_crypto_provider};
use serde_json::json;
use tempfile::TempDir;

use crate::{RUNTIME, Signer, key_set};

const ISSUER: &str = "https://corp.test";
/// The one without a name is not authenticated.
pub const CALLERS: [Option<&str>; 8] = [
    Some("edge"),
    Some("mesh"),
    Some("trusted"),
    Some("narrow"),
    Some("nginx"),
    Some("caddy"),
    Some("local"),
    None,
];
/// Several, because a subject that is often challenged is not challenged any more.
const SUBJECTS: usize = 256 / CALLERS.len() + 1;
/// What these permit needs a scope or an `acr` that no token here has; the first one can be had by a step-up.
const POLICIES: &str = r#"
@id("delete") permit (principal is User, action in Mcp::Action::"tools/call", resource)
when { resource.name == "delete_file" && context.scopes.contains("files:delete") };
@id("read") permit (principal is User, action == Mcp::Action::"resources/read", resource)
when { context has acr && context.acr == "gold" };
@id("move") permit (principal is User, action in Mcp::Action::"tools/call", resource)
when { context.args.text.hasTag("/to") && context.args.text.getTag("/to") like "/a/*"
  && context.scopes.contains("files:admin") };
@id("orders") permit (principal, action in Http::Action::"read", resource == Http::Route::"orders/v1/orders/{id}")
when { context.scopes.contains("orders:read") };
@id("operations") permit (principal, action in Graphql::Action::"execute", resource in Graphql::Graph::"graph");
@id("fields") permit (principal, action in Graphql::Action::"field", resource in Graphql::Graph::"graph");
@id("schema") permit (principal, action in Graphql::Action::"introspect", resource == Graphql::Graph::"graph");
@id("name") permit (principal, action in Graphql::Action::"policy", resource == Graphql::Policy::"graph/known")
when { context.scopes.contains("files:admin") };
@id("never") forbid (principal, action in Mcp::Action::"prompts/get", resource);
"#;

/// The policies permit all of it but `known`; its directives let nobody have any.
const SDL: &str = r#"
type Query @requiresScopes(scopes: [["files:read", "files:admin"], ["nobody"]]) {
  item(id: ID!, deep: Filter): Item
  items(first: Int = 10): [Item!]! @policy(policies: [["known"], ["unknown", "known"]])
  node: Node
  found: [Found]
}
type Mutation @policy(policies: [["known"]]) { change(id: ID!): Item @authenticated }
type Subscription @requiresScopes(scopes: [["nobody"]]) { changes: Item }
interface Node { id: ID! }
type Item implements Node { id: ID! name: String @tag(name: "pii") items: [Item!] node: Node }
union Found = Item
input Filter { text: String = "all", deep: Filter }
"#;

/// A decision point that permits nothing, and tokens that are good.
#[derive(Debug)]
pub struct Setup {
    /// The decision point.
    pub pdp: Arc<Pdp>,
    /// A token of each subject, good for every resource but `watched`.
    pub tokens: Vec<String>,
    _log: TempDir,
}

/// The one of this process.
pub static SETUP: LazyLock<Setup> = LazyLock::new(|| {
    install_crypto_provider();
    let _runtime = RUNTIME.enter();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let key = Signer::ed25519("e");
    let corp = IssuerSettings {
        keys: KeySource::Inline(key_set(&[&key])),
        ..IssuerSettings::new("corp".parse().expect("a name"), Issuer::from(ISSUER))
    };
    let log = tempfile::tempdir().expect("a folder");
    let audit = AuditSettings {
        path: log.path().to_owned(),
        durability: Durability::Queued,
        on_full: OnFull::Deny,
        quota: AuditSettings::MIN_QUOTA,
        otlp: None,
    };
    let snapshot = Snapshot {
        revision: PolicyRevision::from("fuzz"),
        source: "embedded".to_owned(),
        policies: Arc::new(policies()),
        shadow: None,
        resources: resources(),
        peps: peps(),
        verifier: Arc::new(Verifier::new(vec![corp], 16 * 1024, Arc::clone(&clock)).expect("a verifier")),
        // A deadline that passes would hide what it cuts short.
        limits: Limits { deadline: Duration::from_secs(20), batch: 4, ..Limits::default() },
        exchanges: Default::default(),
        sts: None,
        askers: Askers::default(),
            handle_keys: Default::default(),
            shared_counts: None,
    };
    let tokens = (0..SUBJECTS).map(|subject| token(&key, subject, clock.now().unix_seconds())).collect();
    let audit = AuditLog::open(audit, Arc::clone(&clock)).expect("a decision log");
    let pdp = Pdp::new(PdpSettings { snapshot, audit, clock, most_concurrent: 8 });
    Setup { pdp: Arc::new(pdp), tokens, _log: log }
});

/// The caller and the good token that a byte of an input picks.
pub fn picked(byte: u8) -> (Caller, &'static str) {
    let pick = usize::from(byte);
    let caller = Caller(CALLERS[pick % CALLERS.len()].map(|name| name.parse().expect("a name")));
    (caller, &SETUP.tokens[pick / CALLERS.len()])
}

/// Good for every resource but `watched`, where what policies deny is let by.
fn token(key: &Signer, subject: usize, now: i64) -> String {
    let audience: Vec<String> = ["files", "chat", "orders", "graph"].map(identifier).into();
    let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "e" });
    let claims = json!({ "iss": ISSUER, "sub": format!("user-{subject}"), "aud": audience, "client_id": "app",
        "jti": format!("t{subject}"), "iat": now, "exp": now + 86_400, "scope": "files:read" });
    key.token(header.to_string().as_bytes(), claims.to_string().as_bytes())
}

fn identifier(name: &str) -> String {
    format!("https://{name}.test/mcp")
}

fn policies() -> Policies {
    let of_kind = |name: &str, kind, tools: &[&str], routes: &[&str]| WorldResource {
        name: name.parse().expect("a name"),
        kind,
        identifier: identifier(name),
        tools: tools.iter().map(|name| Tool { name: (*name).to_owned(), ..Tool::default() }).collect(),
        routes: routes.iter().map(|route| (*route).to_owned()).collect(),
        graph: None,
    };
    let servers = ["files", "chat", "watched"]
        .map(|name| of_kind(name, Kind::Mcp, &["list_files", "delete_file", "move_file"], &[]));
    let orders = of_kind("orders", Kind::Http, &[], &["/v1/orders/{id}"]);
    let schema = Schema::load(SDL).expect("a schema");
    let elements = schema.elements().map(|(at, element)| (at.to_string(), element.labels.clone())).collect();
    let graph = WorldGraph { elements, policies: schema.policies().into_keys().collect(), ..WorldGraph::default() };
    let graph = WorldResource { graph: Some(graph), ..of_kind("graph", Kind::Graphql, &[], &[]) };
    let world = World { resources: servers.into_iter().chain([orders, graph]).collect(), ..World::default() };
    let sources = Sources { policies: vec![SourceFile::new("fuzz.cedar", POLICIES)], ..Sources::default() };
    Policies::load(&sources, &world, OnError::Forbid).expect("policies")
}

fn resource(name: &str, kind: Kind) -> Resource {
    Resource {
        name: name.parse().expect("a name"),
        identifier: identifier(name),
        kind,
        issuers: vec!["corp".parse().expect("a name")],
        audiences: BTreeSet::from([Audience::from(identifier(name))]),
        any_audience: false,
        metadata: Metadata {
            url: format!("https://{name}.test/.well-known/oauth-protected-resource/mcp"),
            ..Metadata::default()
        },
        scopes: ScopeSettings {
            initial: vec!["files:read".parse().expect("a scope")],
            step_up: ["files:delete", "files:admin"].map(|scope| scope.parse().expect("a scope")).into(),
            ..ScopeSettings::default()
        },
        acr_values: vec!["gold".to_owned()],
        max_age: Vec::new(),
        routes: Routes::new(["/v1/orders/{id}"]).expect("routes"),
        // It reaches the policies without a token, and none permits anything.
        anonymous: BTreeSet::from(["initialize".to_owned(), "tools/call".to_owned()]),
        step_up: true,
        list: Default::default(),
        denial_form: DenialForm::Http,
        cors_origins: BTreeSet::from(["https://app.test".to_owned()]),
        upstream_token: UpstreamToken::Strip,
        observe_until: None,
        tools: Default::default(),
        rate_limits: Default::default(),
        static_tokens: Default::default(),
        grammar: Default::default(),
    }
}

fn resources() -> Resources {
    let at = |name: &str, path: &str| Place::At { host: format!("{name}.test"), path: path.to_owned() };
    let place = |name: &str, path: &str| match name {
        "orders" | "graph" => vec![at(name, path)],
        server => vec![at(name, path), Place::Service(format!("{server}-srv"))],
    };
    Resources::new([
        (resource("files", Kind::Mcp), place("files", "/mcp")),
        (Resource { denial_form: DenialForm::Jsonrpc, ..resource("chat", Kind::Mcp) }, place("chat", "/mcp")),
        (
            Resource {
                observe_until: Some(SystemClock.now().plus(Duration::from_secs(86_400))),
                anonymous: BTreeSet::new(),
                upstream_token: UpstreamToken::Keep,
                static_tokens: StaticTokens::new(Some("x-api-key".to_owned()), true, Vec::new()),
                ..resource("watched", Kind::Mcp)
            },
            place("watched", "/mcp"),
        ),
        (resource("orders", Kind::Http), place("orders", "/")),
        (
            Resource {
                anonymous: ["query", "mutation", "introspect"].map(str::to_owned).into(),
                grammar: Grammar::new(graph()),
                ..resource("graph", Kind::Graphql)
            },
            place("graph", "/mcp"),
        ),
    ])
    .expect("resources")
}

fn graph() -> Graph {
    let document = "query Known { items { id } }";
    let (documents, operations) = (Manifest::of([document]), WholeOrPart::Part);
    let schema = Schema::load(SDL).expect("a schema");
    Graph { schema, documents, operations, introspection: Introspection::Permitted }
}

fn peps() -> Peps {
    let pep =
        |name: &str| Pep { resource_from: ResourceFrom::Route, ..Pep::local(name.parse().expect("a name")) };
    let orders = BTreeSet::from(["orders".parse().expect("a name")]);
    let all = [
        pep("edge"),
        Pep { resource_from: ResourceFrom::Host, ..pep("mesh") },
        Pep { mcp_metadata: true, client_ip: ClientIp::XForwardedFor(2), ..pep("trusted") },
        Pep { resources: Some(orders), ..pep("narrow") },
        Pep { request_from: RequestFrom::XOriginal, ..pep("nginx") },
        Pep { request_from: RequestFrom::XForwarded, client_ip: ClientIp::XForwardedFor(1), ..pep("caddy") },
        Pep::local("local".parse().expect("a name")),
    ];
    Peps::new(all.map(|pep| (pep, PepAuth::Loopback)))
}
