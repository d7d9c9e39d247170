//! A decision point with a few resources, callers, policies and a signing key; checks, and what comes of them.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use envoy_types::{
    ext_authz::v3::pb::{CheckRequest, CheckResponse, HeaderValue, HttpResponse},
    pb::{
        envoy::{
            config::core::v3::{Address, HeaderMap, Metadata as ProtoMetadata, SocketAddress, address},
            service::auth::v3::{
                AttributeContext,
                attribute_context::{HttpRequest, Peer, Request},
            },
        },
        google::protobuf::{ListValue, Struct, Value as ProtoValue, value::Kind as ProtoKind},
    },
};
use palisade_audit::{AuditLog, AuditSettings, DecisionRecord, Durability, OnFull, Record, query};
use palisade_model::{
    AccessRequest, Audience, Clock, Issuer, IssuerName, ManualClock, PepName, PolicyRevision, Reason,
    ResourceName, Surface, Timestamp,
};
use palisade_pdp::{
    Askers, Caller, ClientIp, Decision, DenialForm, Granted, Kind, Limits, Listed, Metadata, Parted, Pdp,
    PdpSettings, Pep, PepAuth, Peps, Place, RequestFrom, Resource, ResourceFrom, Resources, Routes,
    ScopeSettings, Snapshot, UpstreamToken,
};
use palisade_policy::{OnError, Policies, SourceFile, Sources, Tool, World, WorldResource};
use palisade_token::{IssuerSettings, KeySource, Verifier, install_crypto_provider};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::grpc;
use palisade_call::{Believed, Decoded, HttpCall, decode, denial_answer};

pub(super) const NOW: i64 = 1_700_000_000;
pub(super) const ORIGIN: &str = "https://app.example.com";

const POLICIES: &str = r#"
@id("start") permit (principal, action in Mcp::Action::"session", resource);
@id("list") permit (principal is User, action in Mcp::Action::"list", resource);
@id("read") permit (principal is User, action in Mcp::Action::"tools/call", resource)
when { resource.name == "list_files" && context.scopes.contains("files:read") };
@id("delete") permit (principal is User, action in Mcp::Action::"tools/call", resource)
when { resource.name == "delete_file" && context.scopes.contains("files:delete") };
@id("books") permit (principal == User::"corp/alice", action == OAuth::Action::"exchange", resource == OAuth::Audience::"ledger")
when { ["ledger:read", "ledger:write"].containsAll(context.requested_scopes) };
@id("orders") permit (principal is User, action in Http::Action::"read", resource == Http::Route::"orders/v1/orders/{id}");
"#;

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

/// A decision point, and the folder of its log.
pub(super) struct Fixture {
    pub(super) pdp: Arc<Pdp>,
    folder: TempDir,
}

impl Fixture {
    /// The first record of a decision. Waits for it.
    pub(super) async fn recorded(&self) -> DecisionRecord {
        let started = Instant::now();
        loop {
            let mut found = None;
            query::run(self.folder.path(), &query::Filter::default(), |record| {
                if let Record::Decision(record) = record {
                    found = Some(*record);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
            if let Some(found) = found {
                return found;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "no record came");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(super) fn fixture() -> Fixture {
    fixture_with(Limits { deadline: Duration::from_secs(20), ..Limits::default() })
}

pub(super) fn fixture_with(limits: Limits) -> Fixture {
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
            limits,
            exchanges: super::exchange::exchanges(),
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

fn policies() -> Policies {
    let tool = |name: &str| Tool { name: name.to_owned(), ..Tool::default() };
    let resource = |name: &str, kind, tools, routes: &[&str]| WorldResource {
        name: name.parse().unwrap(),
        kind,
        identifier: identifier(name),
        tools,
        routes: routes.iter().map(|route| (*route).to_owned()).collect(),
        graph: None,
    };
    let mcp = |name: &str| resource(name, Kind::Mcp, vec![tool("list_files"), tool("delete_file")], &[]);
    let orders = resource("orders", Kind::Http, Vec::new(), &["/v1/orders/{id}"]);
    let world = World {
        resources: vec![
            mcp("files"),
            mcp("chat"),
            mcp("watched"),
            mcp("books"),
            mcp("keyed"),
            mcp("lax"),
            orders,
            super::graphql::in_world("storefront"),
            super::graphql::in_world("trial"),
            super::graphql::in_world("counted"),
            super::graphql::in_world("outlined"),
            super::graphql::in_world("billed"),
        ],
        exchanges: vec![super::exchange::in_world()],
    };
    let files = [
        SourceFile::new("p.cedar", POLICIES),
        SourceFile::new("fields.cedar", super::graphql::POLICIES),
        SourceFile::new("trial.cedar", super::graphql::TRIAL),
    ];
    let sources = Sources { policies: files.into(), ..Sources::default() };
    Policies::load(&sources, &world, OnError::Forbid).unwrap()
}

fn identifier(name: &str) -> String {
    format!("https://{name}.example.com/mcp")
}

pub(super) fn resource(name: &str, kind: Kind) -> Resource {
    Resource {
        name: name.parse().unwrap(),
        identifier: identifier(name),
        kind,
        issuers: vec!["corp".parse().unwrap(), "away".parse().unwrap()],
        audiences: BTreeSet::from([Audience::from(identifier(name))]),
        any_audience: false,
        metadata: Metadata {
            url: format!("https://{name}.example.com/.well-known/oauth-protected-resource/mcp"),
            ..Metadata::default()
        },
        scopes: ScopeSettings {
            initial: vec!["files:read".parse().unwrap()],
            step_up: vec!["files:delete".parse().unwrap()],
            ..ScopeSettings::default()
        },
        acr_values: Vec::new(),
        max_age: Vec::new(),
        tools: Default::default(),
        routes: Routes::new(["/v1/orders/{id}"]).unwrap(),
        anonymous: BTreeSet::from(["initialize".to_owned()]),
        step_up: true,
        list: Default::default(),
        denial_form: DenialForm::Http,
        cors_origins: BTreeSet::from([ORIGIN.to_owned()]),
        upstream_token: UpstreamToken::Strip,
        observe_until: None,
        rate_limits: Default::default(),
        static_tokens: Default::default(),
        grammar: Default::default(),
    }
}

pub(super) fn resources() -> Resources {
    let place = |name: &str, path: &str| {
        vec![Place::At { host: format!("{name}.example.com"), path: path.to_owned() }]
    };
    Resources::new([
        (resource("files", Kind::Mcp), place("files", "/mcp")),
        (Resource { denial_form: DenialForm::Jsonrpc, ..resource("chat", Kind::Mcp) }, place("chat", "/mcp")),
        (
            Resource {
                observe_until: Some(Timestamp::from_unix_seconds(NOW + 60)),
                step_up: false,
                list: Default::default(),
                upstream_token: UpstreamToken::Keep,
                ..resource("watched", Kind::Mcp)
            },
            Vec::new(),
        ),
        (
            Resource {
                upstream_token: UpstreamToken::Exchange("ledger".parse().unwrap()),
                ..resource("books", Kind::Mcp)
            },
            Vec::new(),
        ),
        (Resource { upstream_token: super::exchange::header(), ..resource("keyed", Kind::Mcp) }, Vec::new()),
        (
            // No configuration that could be loaded.
            Resource {
                any_audience: true,
                upstream_token: UpstreamToken::Exchange("ledger".parse().unwrap()),
                ..resource("lax", Kind::Mcp)
            },
            Vec::new(),
        ),
        (resource("orders", Kind::Http), place("orders", "/")),
        (super::graphql::resource("storefront"), place("storefront", "/graphql")),
        (
            Resource {
                observe_until: Some(Timestamp::from_unix_seconds(NOW + 60)),
                ..super::graphql::resource("trial")
            },
            Vec::new(),
        ),
        (super::graphql::counted(), Vec::new()),
        (super::graphql::outlined(), Vec::new()),
        (
            Resource {
                upstream_token: UpstreamToken::Exchange("ledger".parse().unwrap()),
                ..super::graphql::resource("billed")
            },
            Vec::new(),
        ),
    ])
    .unwrap()
}

/// `edge` names resources by route, `mesh` by host; `trusted` is believed in more; `local` is the unnamed one; `nginx` and
/// `caddy` ask with calls of their own.
pub(super) fn peps() -> Peps {
    let pep = |name: &str| Pep { resource_from: ResourceFrom::Route, ..Pep::local(name.parse().unwrap()) };
    let narrow = Some(BTreeSet::from(["orders".parse::<ResourceName>().unwrap()]));
    let all = [
        pep("edge"),
        Pep { resource_from: ResourceFrom::Host, ..pep("mesh") },
        Pep { mcp_metadata: true, client_ip: ClientIp::XForwardedFor(2), ..pep("trusted") },
        Pep { resources: narrow, ..pep("narrow") },
        Pep { request_from: RequestFrom::XOriginal, client_ip: ClientIp::XForwardedFor(1), ..pep("nginx") },
        Pep { request_from: RequestFrom::XForwarded, client_ip: ClientIp::XForwardedFor(1), ..pep("caddy") },
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

/// A token of `corp`'s key with these claims changed; `null` takes a claim away.
pub(super) fn token(resource: &str, changes: Value) -> String {
    let mut claims = json!({
        "iss": "https://login.example.com", "sub": "alice", "aud": identifier(resource), "client_id": "app",
        "jti": "t1", "iat": NOW - 60, "exp": NOW + 600, "scope": "files:read"
    });
    let mut kid = json!("k");
    for (name, value) in changes.as_object().unwrap() {
        match (name.as_str(), value) {
            ("kid", value) => kid = value.clone(),
            (name, Value::Null) => drop(claims.as_object_mut().unwrap().remove(name)),
            (name, value) => claims[name] = value.clone(),
        }
    }
    let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid });
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed =
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = encode(KEY.sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}

pub(super) fn bearer(resource: &str) -> String {
    format!("Bearer {}", token(resource, json!({})))
}

/// A check of Envoy's, built part by part.
#[derive(Debug, Clone)]
pub(super) struct Check {
    pub(super) caller: Caller,
    pub(super) check: AttributeContext,
    pub(super) http: HttpRequest,
}

impl Check {
    /// A request on the route of a resource, as the caller `edge` passes it on.
    pub(super) fn new(resource: &str, method: &str, path: &str) -> Self {
        let http = HttpRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            host: format!("{resource}.example.com"),
            scheme: "https".to_owned(),
            size: -1,
            ..HttpRequest::default()
        };
        let mut check = AttributeContext::default();
        check.context_extensions.insert("palisade.resource".to_owned(), resource.to_owned());
        Self { caller: caller("edge"), check, http }
    }

    /// A JSON-RPC POST to an MCP server.
    pub(super) fn post(resource: &str, body: &Value) -> Self {
        Self::new(resource, "POST", "/mcp").header("content-type", "application/json").body(&body.to_string())
    }

    /// A tool call with a good token.
    pub(super) fn call(resource: &str, tool: &str) -> Self {
        Self::post(resource, &call_body(tool)).header("authorization", &bearer(resource))
    }

    pub(super) fn by(mut self, name: &str) -> Self {
        self.caller = caller(name);
        self
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.http.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A header as `encode_raw_headers` sends it.
    pub(super) fn raw_header(mut self, name: &str, value: &[u8]) -> Self {
        let header =
            HeaderValue { key: name.to_owned(), raw_value: value.to_vec(), ..HeaderValue::default() };
        self.http.header_map.get_or_insert_with(HeaderMap::default).headers.push(header);
        self
    }

    pub(super) fn body(mut self, body: &str) -> Self {
        self.http.body = body.to_owned();
        self
    }

    pub(super) fn path(mut self, path: &str) -> Self {
        self.http.path = path.to_owned();
        self
    }

    pub(super) fn host(mut self, host: &str) -> Self {
        self.http.host = host.to_owned();
        self
    }

    pub(super) fn source(mut self, address: &str) -> Self {
        let address = SocketAddress { address: address.to_owned(), ..SocketAddress::default() };
        let address = Address { address: Some(address::Address::SocketAddress(address)) };
        self.check.source = Some(Peer { address: Some(address), ..Peer::default() });
        self
    }

    pub(super) fn extension(mut self, resource: Option<&str>) -> Self {
        self.check.context_extensions.clear();
        self.check
            .context_extensions
            .extend(resource.map(|name| ("palisade.resource".to_owned(), name.to_owned())));
        self
    }

    pub(super) fn metadata(mut self, namespace: &str, value: &Value) -> Self {
        let Some(ProtoKind::StructValue(fields)) = proto(value).kind else { panic!("an object") };
        let metadata = self.check.metadata_context.get_or_insert_with(ProtoMetadata::default);
        metadata.filter_metadata.insert(namespace.to_owned(), fields);
        self
    }

    pub(super) fn request(self) -> CheckRequest {
        let request = Request { http: Some(self.http), time: None };
        CheckRequest { attributes: Some(AttributeContext { request: Some(request), ..self.check }) }
    }

    pub(super) fn decoded(self) -> Decoded {
        let (peps, resources) = (peps(), resources());
        let caller = self.caller.clone();
        decode(&grpc::call(self.request()), &Believed::new(&caller, &peps, &resources, 64 * 1024, 3))
    }

    /// What a decision point says to an entry that sends on what is left of an operation.
    pub(super) async fn parted(self, fixture: &Fixture) -> Parted {
        self.parted_and_told(fixture).await.0
    }

    /// The same, with the status and the body of what a client is told where it is denied.
    pub(super) async fn parted_and_told(self, fixture: &Fixture) -> (Parted, Option<(u16, String)>) {
        let (peps, resources) = (peps(), resources());
        let caller = self.caller.clone();
        let call = HttpCall { cuts: true, ..grpc::call(self.request()) };
        let decoded = decode(&call, &Believed::new(&caller, &peps, &resources, 64 * 1024, 3));
        let (directives, cutting) = (decoded.directives(), decoded.cutting());
        let reader = (directives.as_deref(), cutting.as_deref());
        let snapshot = fixture.pdp.snapshot();
        let parted = fixture.pdp.decide_in_part(&snapshot, &decoded.request, reader, Duration::MAX).await;
        let told = match &parted {
            Parted::Whole(Decision::Deny(denial)) => Some(denial_answer(denial, &call, &decoded)),
            Parted::Whole(Decision::Permit(_) | Decision::Observed(_)) | Parted::InPart(_) => None,
        };
        (parted, told.map(|answer| (answer.status, answer.body)))
    }

    /// What an entry that answers introspection tells its client: the data, or why not.
    pub(super) async fn introspected(self, fixture: &Fixture) -> Result<Value, Reason> {
        let (peps, resources) = (peps(), resources());
        let caller = self.caller.clone();
        let call = HttpCall { cuts: true, answers: true, ..grpc::call(self.request()) };
        let decoded = decode(&call, &Believed::new(&caller, &peps, &resources, 64 * 1024, 3));
        let (directives, cutting) = (decoded.directives(), decoded.cutting());
        let reader = (directives.as_deref(), cutting.as_deref());
        let (pdp, snapshot) = (&fixture.pdp, fixture.pdp.snapshot());
        let parted = pdp.decide_in_part(&snapshot, &decoded.request, reader, Duration::MAX).await;
        let Parted::Whole(Decision::Permit(_)) = parted else { return Err(parted.reason()) };
        let schema = decoded.introspected(&decoded.request).expect("it is answered here");
        let narrowing = |granted: &Granted<'_>| schema.shown(granted);
        let listed = pdp.list_read(&snapshot, &schema.question, Some(&narrowing), Duration::MAX).await;
        let Listed::Shown { shown, .. } = listed else { panic!("{listed:?}") };
        let answer: Value = serde_json::from_str(&schema.answer(&shown).unwrap()).unwrap();
        Ok(answer["data"].clone())
    }

    pub(super) fn asked(self) -> AccessRequest {
        self.decoded().request
    }

    /// Why what is asked could not be read; nothing where it could.
    pub(super) fn refusal(self) -> Option<Reason> {
        self.asked().asked.err().map(|refusal| refusal.reason)
    }

    /// The answer of a decision point.
    pub(super) async fn answer(self, fixture: &Fixture) -> CheckResponse {
        use envoy_types::ext_authz::v3::pb::Authorization as _;
        let service = grpc::CheckService::new(Arc::clone(&fixture.pdp));
        let mut request = tonic::Request::new(self.clone().request());
        request.extensions_mut().insert(self.caller);
        service.check(request).await.unwrap().into_inner()
    }
}

pub(super) fn call_body(tool: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": tool } })
}

pub(super) fn caller(name: &str) -> Caller {
    Caller(Some(name.parse::<PepName>().unwrap()))
}

fn proto(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => ProtoKind::NullValue(0),
        Value::Bool(flag) => ProtoKind::BoolValue(*flag),
        Value::Number(number) => ProtoKind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => ProtoKind::StringValue(text.clone()),
        Value::Array(all) => ProtoKind::ListValue(ListValue { values: all.iter().map(proto).collect() }),
        Value::Object(members) => ProtoKind::StructValue(Struct {
            fields: members.iter().map(|(name, value)| (name.clone(), proto(value))).collect(),
        }),
    };
    ProtoValue { kind: Some(kind) }
}

/// The code, as Envoy reads it: an absent status is 0, an allow.
pub(super) fn code(response: &CheckResponse) -> i32 {
    response.status.as_ref().map_or(0, |status| status.code)
}

/// The code and the HTTP status of a denial.
pub(super) fn denied(response: &CheckResponse) -> (i32, i32) {
    match &response.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => (code(response), denied.status.as_ref().unwrap().code),
        other => panic!("not a denial: {other:?}"),
    }
}

/// The recorded reason, from the metadata for access logs.
pub(super) fn reason(response: &CheckResponse) -> String {
    match &response.dynamic_metadata.as_ref().unwrap().fields["reason"].kind {
        Some(ProtoKind::StringValue(reason)) => reason.clone(),
        other => panic!("no reason: {other:?}"),
    }
}

/// A response as text, a line a fact, with the decision's id and the order of the metadata made stable.
pub(super) fn show(response: &CheckResponse) -> String {
    let metadata = response.dynamic_metadata.clone().unwrap_or_default();
    let id = match metadata.fields.get("decision_id").and_then(|id| id.kind.clone()) {
        Some(ProtoKind::StringValue(id)) => id,
        _ => "no id".to_owned(),
    };
    let mut lines = vec![format!("code {}", code(response))];
    #[expect(deprecated, reason = "Envoy up to 1.36 reads `append` alone")]
    let mut headers = |kind: &str, all: &[envoy_types::ext_authz::v3::pb::HeaderValueOption]| {
        for option in all {
            let header = option.header.as_ref().unwrap();
            let how = match (option.append.map(|append| append.value), option.append_action) {
                (Some(false), 2) => "=",
                (Some(true), 0) => "+=",
                other => panic!("{}: {other:?}", header.key),
            };
            lines.push(format!("{kind} {} {how} {}", header.key, header.value));
        }
    };
    match response.http_response.as_ref().unwrap() {
        HttpResponse::OkResponse(ok) => {
            headers("upstream", &ok.headers);
            headers("client", &ok.response_headers_to_add);
            lines.push(format!("remove {}", ok.headers_to_remove.join(" ")));
        }
        HttpResponse::DeniedResponse(denied) => {
            headers("client", &denied.headers);
            lines.insert(1, format!("status {}", denied.status.as_ref().unwrap().code));
            lines.push(format!("body {}", denied.body));
        }
        HttpResponse::ErrorResponse(_) => panic!("an error obeys failure_mode_allow"),
    }
    let mut fields: Vec<String> = metadata
        .fields
        .iter()
        .map(|(name, value)| match &value.kind {
            Some(ProtoKind::StringValue(text)) => format!("metadata {name} = {text}"),
            other => panic!("{other:?}"),
        })
        .collect();
    fields.sort();
    lines.append(&mut fields);
    lines.join("\n").replace(&id, "<id>")
}

/// What is asked for over HTTP.
pub(super) const HTTP: Surface = Surface::HttpAuthz;
