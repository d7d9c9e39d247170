//! A decision point with a few GraphQL APIs, callers, policies and a signing key; messages of routers, and what comes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_audit::{AuditLog, AuditSettings, DecisionRecord, Durability, OnFull, Record, query};
use palisade_call::Graph;
use palisade_graphql::Schema;
use palisade_model::{Audience, Clock, Issuer, IssuerName, ManualClock, PolicyRevision, Surface, Timestamp};
use palisade_pdp::{
    Askers, Block, Budget, Caller, ClientIp, DenialForm, Grammar, Kind, Limits, Metadata, Pdp, PdpSettings,
    Pep, PepAuth, Peps, Place, RateLimits, Rates, Resource, Resources, Routes, ScopeSettings, Snapshot,
    UpstreamToken,
};
use palisade_policy::{OnError, Policies, SourceFile, Sources, World, WorldGraph, WorldResource};
use palisade_token::{IssuerSettings, KeySource, Verifier, install_crypto_provider};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub(super) const NOW: i64 = 1_700_000_000;
/// How many failed authentications block an address at `open`.
pub(super) const FAILURES: u32 = 20;
/// How much a subject may ask in a minute where a resource limits that.
pub(super) const READS: u32 = 40;

const POLICIES: &str = include_str!("../../../../policies/graphql-fields/policy.cedar");
const SDL: &str = include_str!("../../../../policies/graphql-fields/schema.graphql");
/// `open` is for everybody, `trial` permits the operation alone and is under observation.
const MORE: &str = r#"
@id("open") permit (principal, action in [Graphql::Action::"execute", Graphql::Action::"field"], resource in Graphql::Graph::"open");
@id("open-name") permit (principal is User, action in Graphql::Action::"policy", resource == Graphql::Policy::"open/own_card");
@id("trial") permit (principal, action in Graphql::Action::"execute", resource in Graphql::Graph::"trial");
"#;

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

/// A decision point, and the folder of its log.
pub(super) struct Fixture {
    pub(super) pdp: Arc<Pdp>,
    folder: TempDir,
}

/// What a router gets.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Fixture {
    /// The answer to a message of the caller `router`.
    pub(super) async fn ask(&self, resource: &str, message: &Value) -> Told {
        self.ask_as(Some("router"), resource, message.to_string().as_bytes(), &[]).await
    }

    /// The same, as it is written.
    pub(super) async fn ask_for_text(&self, resource: &str, message: &[u8]) -> String {
        self.send(Some("router"), resource, message, &[]).await.2
    }

    pub(super) async fn ask_as(
        &self,
        caller: Option<&str>,
        resource: &str,
        message: &[u8],
        headers: &[(&str, &str)],
    ) -> Told {
        let (status, headers, body) = self.send(caller, resource, message, headers).await;
        Told { status, headers, body: serde_json::from_str(&body).unwrap_or_default() }
    }

    async fn send(
        &self,
        caller: Option<&str>,
        resource: &str,
        message: &[u8],
        headers: &[(&str, &str)],
    ) -> (u16, HeaderMap, String) {
        let mut request = Request::post(format!("/graphql/coprocessor/{resource}"));
        if headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let caller = Caller(caller.map(|name| name.parse().unwrap()));
        let request = request.extension(caller).body(Body::from(message.to_vec())).unwrap();
        let response = crate::router(Arc::clone(&self.pdp)).oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Every record of a decision, once there are this many.
    pub(super) async fn recorded(&self, count: usize) -> Vec<DecisionRecord> {
        self.recorded_until(|found| found.len() >= count).await
    }

    /// The same, once they are enough. Refusals of nobody are counted for a second, and written then.
    pub(super) async fn recorded_until(
        &self,
        enough: impl Fn(&[DecisionRecord]) -> bool,
    ) -> Vec<DecisionRecord> {
        let started = Instant::now();
        loop {
            let mut found = Vec::new();
            let filter = query::Filter { order: query::Order::OldestFirst, ..query::Filter::default() };
            query::run(self.folder.path(), &filter, |record| {
                if let Record::Decision(record) = record {
                    found.push(*record);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
            if enough(&found) {
                return found;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "the records did not come: {found:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(super) fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let settings = AuditSettings {
        path: folder.path().to_owned(),
        durability: Durability::Queued,
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
            resources: resources(),
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
    Fixture { pdp: Arc::new(pdp), folder }
}

fn identifier(name: &str) -> String {
    format!("https://{name}.example.com/graphql")
}

fn policies() -> Policies {
    let graph = |name: &str| {
        let schema = Schema::load(SDL).unwrap();
        let elements =
            schema.elements().map(|(at, element)| (at.to_string(), element.labels.clone())).collect();
        let policies = schema.policies().into_keys().collect();
        WorldResource {
            name: name.parse().unwrap(),
            kind: Kind::Graphql,
            identifier: identifier(name),
            tools: Vec::new(),
            routes: Vec::new(),
            graph: Some(WorldGraph { elements, policies, ..WorldGraph::default() }),
        }
    };
    let files = WorldResource { kind: Kind::Mcp, graph: None, ..graph("files") };
    let world = World {
        resources: vec![graph("storefront"), graph("open"), graph("trial"), files],
        exchanges: Vec::new(),
    };
    let files = [SourceFile::new("p.cedar", POLICIES), SourceFile::new("more.cedar", MORE)];
    let sources = Sources { policies: files.into(), ..Sources::default() };
    Policies::load(&sources, &world, OnError::Forbid).unwrap()
}

fn resource(name: &str) -> Resource {
    let graph = Graph {
        schema: Schema::load(SDL).unwrap(),
        documents: Default::default(),
        operations: Default::default(),
        introspection: Default::default(),
    };
    let scope = |text: &str| text.parse::<palisade_model::Scope>().unwrap();
    Resource {
        name: name.parse().unwrap(),
        identifier: identifier(name),
        kind: Kind::Graphql,
        issuers: vec!["corp".parse().unwrap(), "away".parse().unwrap()],
        audiences: BTreeSet::from([Audience::from(identifier(name))]),
        any_audience: false,
        metadata: Metadata {
            url: format!("https://{name}.example.com/.well-known/oauth-protected-resource/graphql"),
            ..Metadata::default()
        },
        scopes: ScopeSettings {
            step_up: vec![scope("profile:pii:read")],
            implies: BTreeMap::from([(scope("customers:admin"), vec![scope("customers:read")])]),
            ..ScopeSettings::default()
        },
        acr_values: Vec::new(),
        max_age: Vec::new(),
        tools: Default::default(),
        routes: Routes::new([] as [&str; 0]).unwrap(),
        anonymous: BTreeSet::new(),
        step_up: true,
        list: Default::default(),
        denial_form: DenialForm::Http,
        cors_origins: BTreeSet::from(["https://app.example.com".to_owned()]),
        upstream_token: UpstreamToken::Strip,
        observe_until: None,
        rate_limits: Default::default(),
        static_tokens: Default::default(),
        grammar: Grammar::new(graph),
    }
}

fn resources() -> Resources {
    let anonymous = BTreeSet::from(["query".to_owned()]);
    let failures = Budget { most: FAILURES, within: Duration::from_secs(300) };
    let failed_authentication = Some(Block { failures, lasts: Duration::from_secs(300) });
    let subject = Some(Rates { calls: READS, reads: READS });
    let observe_until = Some(Timestamp::from_unix_seconds(NOW + 60));
    let all = [
        resource("storefront"),
        Resource {
            anonymous,
            rate_limits: RateLimits { failed_authentication, subject, ..RateLimits::default() },
            ..resource("open")
        },
        Resource { observe_until, ..resource("trial") },
        Resource { kind: Kind::Mcp, grammar: Grammar::default(), ..resource("files") },
    ];
    Resources::new(all.map(|resource| (resource, Vec::<Place>::new()))).unwrap()
}

/// `router` may ask about everything, `narrow` about `open`; `proxy` has another entry.
fn peps() -> Peps {
    let pep = |name: &str, surface| Pep {
        surfaces: BTreeSet::from([surface]),
        client_ip: ClientIp::XForwardedFor(1),
        ..Pep::local(name.parse().unwrap())
    };
    let all = [
        pep("router", Surface::Coprocessor),
        Pep {
            resources: Some(BTreeSet::from(["open".parse().unwrap()])),
            ..pep("narrow", Surface::Coprocessor)
        },
        pep("proxy", Surface::ExtAuthz),
        Pep::local("local".parse().unwrap()),
    ];
    Peps::new(all.map(|pep| (pep, PepAuth::Loopback)))
}

fn verifier(clock: Arc<dyn Clock>) -> Verifier {
    install_crypto_provider();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "alg": "EdDSA", "use": "sig",
        "x": encode(KEY.public_key().as_ref()) });
    let corp = IssuerSettings {
        keys: KeySource::Inline(json!({ "keys": [key] }).to_string()),
        ..IssuerSettings::new(
            "corp".parse::<IssuerName>().unwrap(),
            Issuer::from("https://login.example.com"),
        )
    };
    // Its keys have never been fetched.
    let away =
        IssuerSettings::new("away".parse::<IssuerName>().unwrap(), Issuer::from("https://away.example.com"));
    Verifier::new(vec![corp, away], 16 * 1024, clock).unwrap()
}

/// A bearer token for a resource, with these claims changed.
pub(super) fn bearer(resource: &str, changes: Value) -> String {
    let mut claims = json!({
        "iss": "https://login.example.com", "sub": "alice", "aud": identifier(resource), "client_id": "app",
        "jti": "t1", "iat": NOW - 60, "exp": NOW + 600, "scope": ""
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "k" });
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed =
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = encode(KEY.sign(signed.as_bytes()).as_ref());
    format!("Bearer {signed}.{signature}")
}

/// A token with these scopes.
pub(super) fn scoped(resource: &str, scope: &str) -> String {
    bearer(resource, json!({ "scope": scope }))
}

/// A token with a second factor, which `own_card` asks for.
pub(super) fn with_mfa(resource: &str, scope: &str) -> String {
    bearer(resource, json!({ "scope": scope, "amr": ["pwd", "mfa"] }))
}

/// What a decided message was answered, or that it ends with a status.
pub(super) fn ended(told: &Told) -> u64 {
    assert_eq!(told.status, 200, "{told:?}");
    told.body["control"]["break"].as_u64().unwrap_or_else(|| panic!("not ended: {told:?}"))
}
