//! Bodies through the AuthZEN API, to a decision point with every part of its own.
//!
//! The first byte of an input picks the caller and the entry, the rest is the body. The policies permit nothing but what
//! no request here can have. So whatever a body says, no answer says `"decision":true` and no search finds anything,
//! and every status is one of the API's.
#![no_main]

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use palisade_audit::{AuditLog, AuditSettings, Durability, OnFull};
use palisade_fuzz::RUNTIME;
use palisade_model::{Audience, Clock, PolicyRevision, Surface, SystemClock};
use palisade_pdp::{
    Askers, Caller, ClientIp, DenialForm, Kind, Limits, Metadata, Pdp, PdpSettings, Pep, PepAuth, Peps,
    RequestFrom, Resource, ResourceFrom, Resources, Routes, ScopeSettings, Snapshot, UpstreamToken,
};
use palisade_policy::{OnError, Policies, SourceFile, Sources, World, WorldResource};
use palisade_token::Verifier;
use serde_json::Value;
use tempfile::TempDir;
use tonic::codegen::Service as _;

const ENTRIES: [&str; 5] = [
    "/access/v1/evaluation",
    "/access/v1/evaluations",
    "/access/v1/search/subject",
    "/access/v1/search/resource",
    "/access/v1/search/action",
];
/// The one without a name is not authenticated.
const CALLERS: [Option<&str>; 3] = [Some("app"), Some("local"), None];
const SCHEMA: &str = "entity team; entity user in [team] { role?: String, level?: Long, boss?: user };\n\
    entity record { status?: String, owner?: user };\n\
    namespace Records { action \"read\", \"write\" appliesTo { principal: [user], resource: [record], context: Palisade::Call }; }";
/// Nobody is in the team, and nobody has its scope.
const POLICIES: &str = r#"
@id("team") permit (principal in team::"none", action, resource is record);
@id("scope") permit (principal is user, action, resource is record)
when { context.scopes.contains("all") || (principal has role && principal.role == "root" && resource has owner && !context.asserted) };
@id("shut") forbid (principal, action, resource is record) when { resource has status && resource.status == "shut" };
"#;
const ENTITIES: &str = r#"[
  {"uid": {"type": "user", "id": "alice"}, "attrs": {"role": "admin"}}, {"uid": {"type": "user", "id": "bob"}},
  {"uid": {"type": "record", "id": "r1"}}, {"uid": {"type": "record", "id": "r2"}, "attrs": {"status": "shut"}}
]"#;

struct Setup {
    router: Router,
    _log: TempDir,
}

static SETUP: LazyLock<Setup> = LazyLock::new(setup);

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    let choice = usize::from(*choice);
    RUNTIME.block_on(ask(
        CALLERS[choice % CALLERS.len()],
        ENTRIES[choice / CALLERS.len() % ENTRIES.len()],
        body,
    ));
});

async fn ask(caller: Option<&str>, entry: &str, body: &[u8]) {
    let caller = Caller(caller.and_then(|name| name.parse().ok()));
    let request = Request::post(entry)
        .header("content-type", "application/json")
        .header("x-request-id", "r1")
        .extension(caller.clone())
        .body(Body::from(body.to_vec()))
        .expect("a request");
    let response = SETUP.router.clone().call(request).await.expect("an answer");
    let status = response.status().as_u16();
    assert!(matches!(status, 200 | 400 | 401 | 403 | 503), "status {status}");
    assert!(response.headers().contains_key("x-request-id"));
    let known = caller.0.is_some_and(|name| name.as_str() == "app");
    assert!(known || status == 401, "a stranger is answered with {status}");
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
    if status == 200 {
        denies(&answer);
    } else {
        assert!(answer.is_string(), "an error is words");
    }
}

fn denies(answer: &Value) {
    let one = |answer: &Value| assert_eq!(answer["decision"], Value::Bool(false), "{answer}");
    match (answer.get("results"), answer.get("evaluations")) {
        (Some(results), _) => assert_eq!(results.as_array().map(Vec::len), Some(0), "{answer}"),
        (None, Some(items)) => items.as_array().expect("a list").iter().for_each(one),
        (None, None) => one(answer),
    }
}

fn setup() -> Setup {
    let log = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = AuditSettings {
        path: log.path().to_owned(),
        durability: Durability::Queued,
        on_full: OnFull::Drop,
        quota: 8 * 1024 * 1024,
        otlp: None,
    };
    let _entered = RUNTIME.enter();
    let audit = AuditLog::open(settings, Arc::clone(&clock)).expect("a log");
    let sources = Sources {
        policies: vec![SourceFile::new("fuzz.cedar", POLICIES)],
        schema: vec![SourceFile::new("fuzz.cedarschema", SCHEMA)],
        entities: vec![SourceFile::new("fuzz.json", ENTITIES)],
        ..Sources::default()
    };
    let world = World {
        resources: vec![WorldResource {
            name: "records".parse().expect("a name"),
            kind: Kind::Http,
            identifier: "https://records.test".to_owned(),
            tools: Vec::new(),
            routes: Vec::new(),
            graph: None,
        }],
        ..World::default()
    };
    let snapshot = Snapshot {
        revision: PolicyRevision::from("fuzz"),
        source: "fuzz".to_owned(),
        policies: Arc::new(Policies::load(&sources, &world, OnError::Forbid).expect("policies")),
        shadow: None,
        resources: Resources::new([(resource(), Vec::new())]).expect("resources"),
        peps: peps(),
        verifier: Arc::new(Verifier::new(Vec::new(), 16 * 1024, Arc::clone(&clock)).expect("a verifier")),
        limits: Limits { deadline: Duration::from_secs(60), ..Limits::default() },
        exchanges: Default::default(),
        sts: None,
        askers: Askers::default(),
            handle_keys: Default::default(),
            shared_counts: None,
    };
    let pdp = Arc::new(Pdp::new(PdpSettings { snapshot, audit, clock, most_concurrent: 16 }));
    Setup { router: palisade_authzen::router(pdp, Some("https://pdp.test")), _log: log }
}

fn resource() -> Resource {
    Resource {
        name: "records".parse().expect("a name"),
        identifier: "https://records.test".to_owned(),
        kind: Kind::Http,
        issuers: vec!["corp".parse().expect("a name")],
        audiences: BTreeSet::from([Audience::from("https://records.test")]),
        any_audience: false,
        metadata: Metadata::default(),
        scopes: ScopeSettings::default(),
        acr_values: Vec::new(),
        max_age: Vec::new(),
        routes: Routes::new([] as [&str; 0]).expect("routes"),
        anonymous: BTreeSet::new(),
        step_up: true,
        list: Default::default(),
        denial_form: DenialForm::Http,
        cors_origins: BTreeSet::new(),
        upstream_token: UpstreamToken::Strip,
        observe_until: None,
        tools: Default::default(),
        rate_limits: Default::default(),
        static_tokens: Default::default(),
        grammar: Default::default(),
    }
}

fn peps() -> Peps {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let app = Pep {
        name: "app".parse().expect("a name"),
        surfaces: BTreeSet::from([Surface::Authzen, Surface::Search]),
        resources: None,
        resource_from: ResourceFrom::Route,
        client_ip: ClientIp::Source,
        request_from: RequestFrom::Call,
        vouches: true,
        mcp_metadata: false,
        exchange: BTreeSet::new(),
        asserts: names(&["user", "User", "team"]),
        supplies: names(&["role", "level", "boss", "status", "owner"]),
    };
    Peps::new([app, Pep::local("local".parse().expect("a name"))].map(|pep| (pep, PepAuth::Loopback)))
}
