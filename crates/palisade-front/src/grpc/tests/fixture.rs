//! A decision point with a few resources, callers, policies and a signing key, and calls of the API.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_audit::{AuditLog, AuditSettings, DecisionRecord, Durability, OnFull, Record, query};
use palisade_model::{Audience, Clock, Issuer, ManualClock, PolicyRevision, Surface, Timestamp};
use palisade_pdp::{
    Askers, Caller, ClientIp, DenialForm, Kind, Limits, Metadata, Pdp, PdpSettings, Pep, PepAuth, Peps,
    Place, RequestFrom, Resource, ResourceFrom, Resources, Routes, ScopeSettings, Snapshot, StaticHeader,
    UpstreamToken,
};
use palisade_policy::{OnError, Policies, SourceFile, Sources, Tool, World, WorldResource};
use palisade_proto::v1::{
    DecideBatchRequest, DecideBatchResponse, DecideRequest, DecideResponse, Item, VerifyRequest,
    VerifyResponse, decisions_server::Decisions as _, tokens_server::Tokens as _,
};
use palisade_token::{IssuerSettings, KeySource, Verifier, install_crypto_provider};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Request;

use crate::grpc::Api;

pub(crate) const NOW: i64 = 1_700_000_000;

const POLICIES: &str = r#"
@id("read") @obligation("log the call") @advice("cache it")
permit (principal is User, action in Mcp::Action::"tools/call", resource)
when { resource.name == "list_files" && context.scopes.contains("files:read") };
@id("delete") permit (principal is User, action in Mcp::Action::"tools/call", resource)
when { resource.name == "delete_file" && context.scopes.contains("files:delete") };
@id("strong") permit (principal is User, action in Mcp::Action::"tools/call", resource)
when { resource.name == "wipe" && context has acr && context.acr == "urn:example:mfa" };
@id("never") @deny_code("gone") forbid (principal, action in Mcp::Action::"tools/call", resource)
when { resource.name == "old_tool" };
@id("small") permit (principal is User, action in Mcp::Action::"tools/call", resource)
when { resource.name == "pay" && context.args.number.hasTag("/n") && context.args.number.getTag("/n") == 9007199254740993 };
@id("hello") permit (principal, action in Mcp::Action::"session", resource);
@id("list") permit (principal is User, action in Mcp::Action::"list", resource);
@id("orders") permit (principal is User, action in Http::Action::"read", resource == Http::Route::"orders/v1/orders/{id}")
unless { context has path && context.path like "/v1/orders/7*" };
@id("open") permit (principal is User, action == Mcp::Action::"resources/read", resource)
when { resource.uri like "file:///open/*" && context.scopes.contains("files:read") };
@id("unlisted") forbid (principal, action == Mcp::Action::"resources/list", resource);
@id("lists") permit (principal is User, action in Mcp::Action::"list", resource);
@id("tasks") permit (principal is User, action == Mcp::Action::"tasks/get", resource is Mcp::Tool) when { resource.name == "list_files" };
@id("listen") permit (principal is User, action == Mcp::Action::"resources/subscribe", resource) when { resource.uri like "file:///open/*" };
"#;
const RESOURCES: [&str; 4] = ["files", "watched", "orders", "keyed"];
const TOOLS: [&str; 5] = ["list_files", "delete_file", "wipe", "old_tool", "pay"];

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

/// The API on a decision point, and the folder of its log.
pub(crate) struct Fixture {
    api: Api,
    folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = AuditSettings {
            path: folder.path().to_owned(),
            durability: Durability::Written,
            on_full: OnFull::Deny,
            quota: AuditSettings::MIN_QUOTA,
            otlp: None,
        };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(NOW)));
        let pdp = Pdp::new(PdpSettings {
            snapshot: Snapshot {
                revision: PolicyRevision::from("r1"),
                source: "test".to_owned(),
                policies: Arc::new(policies()),
                shadow: None,
                resources: Resources::new(RESOURCES.map(|name| (resource(name), places(name)))).unwrap(),
                peps: peps(),
                verifier: Arc::new(verifier(Arc::clone(&clock))),
                limits: Limits { deadline: Duration::from_secs(20), ..Limits::default() },
                exchanges: Default::default(),
                sts: None,
                askers: Askers::default(),
                handle_keys: Default::default(),
                shared_counts: None,
            },
            audit: AuditLog::open(settings, Arc::clone(&clock)).unwrap(),
            clock,
            most_concurrent: 100,
        });
        Self { api: Api::new(Arc::new(pdp)), folder }
    }

    /// The API.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// The decision point.
    pub(crate) fn pdp(&self) -> Arc<Pdp> {
        Arc::clone(&self.api.pdp)
    }

    pub(crate) async fn decide(&self, by: &str, asked: DecideRequest) -> DecideResponse {
        self.api.decide(call(by, asked)).await.unwrap().into_inner()
    }

    pub(crate) async fn decide_batch(&self, by: &str, asked: DecideBatchRequest) -> DecideBatchResponse {
        self.api.decide_batch(call(by, asked)).await.unwrap().into_inner()
    }

    pub(crate) async fn verify(&self, by: &str, resource: &str, token: &str) -> VerifyResponse {
        let asked = VerifyRequest { resource: resource.to_owned(), token: token.to_owned() };
        self.api.verify(call(by, asked)).await.unwrap().into_inner()
    }

    /// A call whose caller waits for so long, in gRPC's own words.
    pub(crate) async fn decide_within(&self, timeout: &str, asked: DecideRequest) -> DecideResponse {
        let mut request = call("app", asked);
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        self.api.decide(request).await.unwrap().into_inner()
    }

    /// The log is closed: nothing can be recorded any more.
    pub(crate) async fn close_log(&self) {
        self.api.pdp.audit().shutdown().await;
    }

    /// Every decision on the record, the oldest first.
    pub(crate) async fn recorded(&self) -> Vec<DecisionRecord> {
        self.close_log().await;
        let mut found = Vec::new();
        let filter = query::Filter { order: query::Order::OldestFirst, ..query::Filter::default() };
        query::run(self.folder.path(), &filter, |record| {
            if let Record::Decision(record) = record {
                found.push(*record);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }
}

/// A call of this PEP; of nobody for an empty name.
pub(crate) fn call<T>(by: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller(by.parse().ok()));
    request
}

/// A question about a tool, with a token.
pub(crate) fn ask(resource: &str, tool: &str, token: &str) -> DecideRequest {
    DecideRequest {
        resource: resource.to_owned(),
        token: Some(token.to_owned()),
        item: Some(item("tools/call", Some(tool))),
        explain: false,
    }
}

pub(crate) fn ask_all(resource: &str, items: Vec<Item>, token: &str) -> DecideBatchRequest {
    DecideBatchRequest { resource: resource.to_owned(), token: Some(token.to_owned()), items, explain: false }
}

pub(crate) fn item(action: &str, target: Option<&str>) -> Item {
    Item { action: action.to_owned(), target: target.map(str::to_owned), arguments: None }
}

pub(crate) fn tools(names: &[&str]) -> Vec<Item> {
    names.iter().map(|name| item("tools/call", Some(name))).collect()
}

/// A token of the issuer's key for a resource, with these scopes.
pub(crate) fn token(resource: &str, scopes: &str) -> String {
    let claims = json!({
        "iss": "https://login.example.com", "sub": "alice", "aud": identifier(resource), "client_id": "app",
        "jti": "t1", "iat": NOW - 60, "exp": NOW + 600, "scope": scopes
    });
    signed(&claims)
}

pub(crate) fn signed(claims: &Value) -> String {
    let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "k" });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub(crate) fn identifier(resource: &str) -> String {
    format!("https://{resource}.example.com/mcp")
}

/// Where gateways find it.
fn places(resource: &str) -> Vec<Place> {
    let at = Place::At { host: format!("{resource}.example.com"), path: "/mcp".to_owned() };
    let service = (kind(resource) == Kind::Mcp).then(|| Place::Service(format!("{resource}-srv")));
    std::iter::once(at).chain(service).collect()
}

fn upstream_token(resource: &str) -> UpstreamToken {
    let header = StaticHeader { name: "x-api-key".to_owned(), value: "s3cret".to_owned().into() };
    if resource == "keyed" { UpstreamToken::Static(Arc::new(header)) } else { UpstreamToken::Strip }
}

fn kind(resource: &str) -> Kind {
    if resource == "orders" { Kind::Http } else { Kind::Mcp }
}

fn policies() -> Policies {
    let tools = || TOOLS.map(|name| Tool { name: name.to_owned(), ..Tool::default() }).to_vec();
    let world = RESOURCES.map(|name| WorldResource {
        name: name.parse().unwrap(),
        kind: kind(name),
        identifier: identifier(name),
        tools: if kind(name) == Kind::Mcp { tools() } else { Vec::new() },
        routes: if kind(name) == Kind::Http { vec!["/v1/orders/{id}".to_owned()] } else { Vec::new() },
        graph: None,
    });
    let sources = Sources { policies: vec![SourceFile::new("p.cedar", POLICIES)], ..Sources::default() };
    Policies::load(&sources, &World { resources: world.to_vec(), ..World::default() }, OnError::Forbid)
        .unwrap()
}

pub(crate) fn resource(name: &str) -> Resource {
    Resource {
        name: name.parse().unwrap(),
        identifier: identifier(name),
        kind: kind(name),
        issuers: vec!["corp".parse().unwrap()],
        audiences: BTreeSet::from([Audience::from(identifier(name))]),
        any_audience: false,
        metadata: Metadata { url: format!("https://{name}.example.com/m"), ..Metadata::default() },
        scopes: ScopeSettings {
            initial: vec!["files:read".parse().unwrap()],
            step_up: vec!["files:delete".parse().unwrap()],
            request_prefix: "api://x/".to_owned(),
            ..ScopeSettings::default()
        },
        acr_values: vec!["urn:example:mfa".to_owned()],
        max_age: Vec::new(),
        tools: Default::default(),
        routes: Routes::new(["/v1/orders/{id}"]).unwrap(),
        anonymous: BTreeSet::from(["initialize".to_owned()]),
        step_up: name != "watched",
        list: Default::default(),
        denial_form: DenialForm::Http,
        cors_origins: BTreeSet::new(),
        upstream_token: upstream_token(name),
        observe_until: (name == "watched").then(|| Timestamp::from_unix_seconds(NOW + 60)),
        rate_limits: Default::default(),
        static_tokens: Default::default(),
        grammar: Default::default(),
    }
}

/// `app` may do everything here, `narrow` only with `files`, `proxy` and `gateway` have other entries, `local` is the unnamed one.
fn peps() -> Peps {
    let pep = |name: &str, surfaces: &[Surface]| Pep {
        name: name.parse().unwrap(),
        surfaces: surfaces.iter().copied().collect(),
        resources: None,
        resource_from: ResourceFrom::Route,
        client_ip: ClientIp::Source,
        request_from: RequestFrom::Call,
        vouches: true,
        mcp_metadata: false,
        asserts: BTreeSet::new(),
        supplies: BTreeSet::new(),
        exchange: BTreeSet::new(),
    };
    let all = [
        pep("app", &[Surface::Decide, Surface::Verify, Surface::Search, Surface::Exchange]),
        Pep {
            resources: Some(BTreeSet::from(["files".parse().unwrap()])),
            ..pep("narrow", &[Surface::Decide, Surface::Verify])
        },
        pep("proxy", &[Surface::ExtAuthz]),
        pep("gate", &[Surface::Gateway]),
        pep("gateway", &[Surface::ExtMcp]),
        Pep::local("local".parse().unwrap()),
    ];
    Peps::new(all.map(|pep| (pep, PepAuth::Loopback)))
}

fn verifier(clock: Arc<dyn Clock>) -> Verifier {
    install_crypto_provider();
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "alg": "EdDSA", "use": "sig",
        "x": URL_SAFE_NO_PAD.encode(KEY.public_key()) });
    let corp = IssuerSettings {
        keys: KeySource::Inline(json!({ "keys": [key] }).to_string()),
        ..IssuerSettings::new("corp".parse().unwrap(), Issuer::from("https://login.example.com"))
    };
    Verifier::new(vec![corp], 16 * 1024, clock).unwrap()
}
