//! What an exchange whose token is in store adds to a decision.
//!
//!     cargo bench -p palisade-exchange
//!
//! The same call of the same user is decided for two resources, one whose calls leave with nothing and one whose calls leave
//! with an exchanged token; what is told is the median of each and the difference: of decisions one after the other, as in a
//! service that has work, and of such that come after a rest. The provider is a stand-in on loopback that is asked once, so
//! nothing of it is in these numbers. Then the same with a new token of the user's each time:
//! each is verified, and the second kind exchanged at the provider, whose own part is what a bare request takes. It issues
//! another token each time, so that these are verified as if for the first time, too.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::{
    collections::BTreeSet,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_audit::{AuditLog, AuditSettings, Durability, OnFull};
use palisade_exchange::{
    ClientAuth, ClientSettings, ExchangeSettings, FromIssuer, Provider, ProviderExchanger, ResultCheck,
    SecretIn, TokenType,
};
use palisade_model::{
    AccessRequest, Action, Asked, Clock, Credential, Item, PolicyRevision, RawToken, Surface, SystemClock,
    Target,
};
use palisade_pdp::{
    Askers, Decision, DenialForm, Exchange, Fingerprint, Kind, Limits, Metadata, Pdp, PdpSettings, Pep,
    PepAuth, Peps, Resource, Resources, Routes, ScopeSettings, Snapshot, UpstreamToken,
};
use palisade_policy::{OnError, Policies, SourceFile, Sources, World, WorldExchange, WorldResource};
use palisade_token::{
    IssuerSettings, KeySource, Profile, Verifier,
    network::{Fetcher, Route},
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The allocator of the service.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;

const CORP: &str = "https://login.example.com";
const LEDGER: &str = "https://ledger.example.com";
const ROUNDS: usize = 20_000;
const ROUNDS_AT_PROVIDER: usize = 2_000;
/// In this time the log's writer has written what there is, and gone to sleep.
const REST: Duration = Duration::from_micros(50);
const POLICIES: &str = r#"
@id("call") permit (principal is User, action in Mcp::Action::"tools/call", resource);
@id("exchange") permit (principal is User, action == OAuth::Action::"exchange", resource == OAuth::Audience::"ledger")
when { ["ledger:read"].containsAll(context.requested_scopes) };
"#;

fn main() -> Result<(), Failure> {
    palisade_token::install_crypto_provider();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<(), Failure> {
    let key = Arc::new(Ed25519KeyPair::generate()?);
    let folder = tempfile::tempdir()?;
    let provider = provider(Arc::clone(&key)).await?;
    let pdp = decision_point(&key, &provider, folder.path())?;
    let plain = of(&key, "plain", 0)?;
    let exchanging = of(&key, "exchanging", 0)?;
    for (title, rest) in [("one after the other:", Duration::ZERO), ("after a rest:", REST)] {
        measure_cached(&pdp, (&plain, &exchanging), (title, rest)).await?;
    }
    measure_uncached(&key, &pdp, &provider).await
}

/// In pairs, of which each begins with either at random: what only one of a number of decisions pays, as for waking the thread
/// that writes the log, is then paid by both kinds alike.
async fn measure_cached(
    pdp: &Pdp,
    (plain, exchanging): (&AccessRequest, &AccessRequest),
    (title, rest): (&str, Duration),
) -> Result<(), Failure> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut random = Random(ROUNDS as u64);
    for _ in 0..ROUNDS {
        if random.heads() {
            without.push(time(pdp, plain, rest).await?);
            with.push(time(pdp, exchanging, rest).await?);
        } else {
            with.push(time(pdp, exchanging, rest).await?);
            without.push(time(pdp, plain, rest).await?);
        }
    }
    let (without, with) = (median(without), median(with));
    println!("{title}");
    println!("a decision without an exchange   {:>8.1} us", micros(without));
    println!("the same with one from the store {:>8.1} us", micros(with));
    println!("difference                       {:>8.1} us", micros(with.saturating_sub(without)));
    Ok(())
}

/// Coins, by xorshift.
struct Random(u64);

impl Random {
    fn heads(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 1 == 0
    }
}

async fn measure_uncached(key: &Ed25519KeyPair, pdp: &Pdp, provider: &str) -> Result<(), Failure> {
    let fetcher = Fetcher::new(&route()).map_err(|why| why.to_string())?;
    let url = provider.parse()?;
    let (mut without, mut with, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=ROUNDS_AT_PROVIDER {
        without.push(time(pdp, &of(key, "plain", number)?, REST).await?);
        with.push(time(pdp, &of(key, "exchanging", number)?, REST).await?);
        let began = Instant::now();
        fetcher.post(&url, None, Zeroizing::new("grant_type=x".to_owned())).await?;
        bare.push(began.elapsed());
    }
    let (without, with, bare) = (median(without), median(with), median(bare));
    let added = with.saturating_sub(without);
    println!("with a new token each time:");
    println!("a decision without an exchange   {:>8.1} us", micros(without));
    println!("the same with one at a provider  {:>8.1} us", micros(with));
    println!("a bare request to the provider   {:>8.1} us", micros(bare));
    println!("added beside the provider's time {:>8.1} us", micros(added.saturating_sub(bare)));
    Ok(())
}

/// A call of this resource with the token of this number.
fn of(key: &Ed25519KeyPair, resource: &str, number: usize) -> Result<AccessRequest, Failure> {
    request(resource, &signed(key, &format!("https://{resource}.example.com"), "files:read", number))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000_000.0
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// After a rest of this length: none, or so long that the thread that writes the log is asleep.
async fn time(pdp: &Pdp, request: &AccessRequest, rest: Duration) -> Result<Duration, Failure> {
    let rests = Instant::now();
    while rests.elapsed() < rest {
        std::thread::yield_now();
    }
    let snapshot = pdp.snapshot();
    let began = Instant::now();
    let decision = pdp.decide(&snapshot, request).await;
    let took = began.elapsed();
    match decision {
        Decision::Permit(_) => Ok(took),
        Decision::Observed(_) | Decision::Deny(_) => Err(format!("no permit: {}", decision.reason()).into()),
    }
}

/// A token endpoint that issues tokens to everybody, each another one.
async fn provider(key: Arc<Ed25519KeyPair>) -> Result<String, Failure> {
    let issued = Arc::new(AtomicUsize::new(0));
    let answer = axum::Router::new().fallback(move || async move {
        axum::Json(json!({
            "access_token": signed(&key, LEDGER, "ledger:read", issued.fetch_add(1, Ordering::Relaxed)),
            "token_type": "Bearer", "expires_in": 3_600, "issued_token_type": TokenType::AccessToken.urn(),
        }))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/token", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, answer).await });
    Ok(url)
}

fn signed(key: &Ed25519KeyPair, audience: &str, scope: &str, number: usize) -> String {
    let now = SystemClock.now().unix_seconds();
    let claims = json!({
        "iss": CORP, "aud": audience, "sub": "alice", "client_id": "app", "jti": format!("{audience}/{number}"), "iat": now,
        "exp": now + 3_600, "scope": scope,
    });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message =
        format!("{}.{}", encode(&json!({"alg": "EdDSA", "kid": "k", "typ": "at+jwt"})), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn request(resource: &str, token: &str) -> Result<AccessRequest, Failure> {
    let resource = resource.parse()?;
    let item = Item {
        action: Action::mcp("tools/call"),
        target: Target::mcp_tool(&resource, "echo"),
        arguments: None,
        supplied: Default::default(),
        known: Default::default(),
        reply_to: None,
    };
    Ok(AccessRequest {
        pep: Some("edge".parse()?),
        surface: Surface::ExtAuthz,
        resource: Some(resource),
        credential: Credential::Token(RawToken::new(token)),
        asked: Ok(Asked::one(item)),
        sent: None,
        handles: Vec::new(),
        client_ip: None,
        host: None,
        path: None,
        request_id: None,
        trace: None,
    })
}

fn decision_point(key: &Ed25519KeyPair, provider: &str, log: &std::path::Path) -> Result<Pdp, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "alg": "EdDSA", "use": "sig",
        "x": URL_SAFE_NO_PAD.encode(key.public_key())});
    let issuer = IssuerSettings {
        keys: KeySource::Inline(json!({"keys": [jwk]}).to_string()),
        ..IssuerSettings::new("corp".parse()?, CORP.into())
    };
    let exchange = exchange(provider)?;
    let upstream = UpstreamToken::Exchange(exchange.name.clone());
    let resources = [resource("plain", UpstreamToken::Strip)?, resource("exchanging", upstream)?];
    let settings = AuditSettings {
        path: log.to_owned(),
        durability: Durability::Queued,
        on_full: OnFull::Drop,
        quota: 1 << 30,
        otlp: None,
    };
    Ok(Pdp::new(PdpSettings {
        snapshot: Snapshot {
            revision: PolicyRevision::from("r1"),
            source: "bench".to_owned(),
            policies: Arc::new(policies()?),
            shadow: None,
            resources: Resources::new(resources.map(|resource| (resource, Vec::new())))?,
            peps: Peps::new([(Pep::local("edge".parse()?), PepAuth::Loopback)]),
            exchanges: [(exchange.name.clone(), Arc::new(exchange))].into(),
            verifier: Arc::new(Verifier::new(vec![issuer], 16 * 1024, Arc::clone(&clock))?),
            limits: Limits { deadline: Duration::from_secs(5), ..Limits::default() },
            sts: None,
            askers: Askers::default(),
            handle_keys: Default::default(),
            shared_counts: None,
        },
        audit: AuditLog::open(settings, Arc::clone(&clock))?,
        clock,
        most_concurrent: 16,
    }))
}

/// How the provider is reached.
fn route() -> Route {
    Route { private: true, authorities: None, proxy: None, timeout: Duration::from_secs(5), identity: None }
}

fn exchange(provider: &str) -> Result<Exchange, Failure> {
    let secret = ClientAuth::Secret(Zeroizing::new("s3cret".to_owned()), SecretIn::Header);
    let settings = ExchangeSettings {
        name: "ledger".parse()?,
        provider: Provider::Rfc8693,
        issuer: FromIssuer { name: "corp".parse()?, identifier: CORP.to_owned(), profile: Profile::Rfc9068 },
        issued_by: "corp".parse()?,
        issued_profile: Profile::Rfc9068,
        token_endpoint: Some(provider.parse()?),
        client: ClientSettings { id: "gw".to_owned(), auth: secret },
        audience: LEDGER.to_owned(),
        token_audience: LEDGER.to_owned(),
        resources: Vec::new(),
        subject_token_type: TokenType::AccessToken,
        actor: None,
        result: ResultCheck::Verified,
        authorization_server: None,
        route: route(),
        fingerprint: Fingerprint([0; 32]),
        shared: None,
    };
    Ok(Exchange {
        name: "ledger".parse()?,
        issuer: "corp".parse()?,
        audience: LEDGER.to_owned(),
        scopes: Arc::new(BTreeSet::from(["ledger:read".parse()?])),
        lifetime: Duration::from_secs(3_600),
        timeout: Duration::from_secs(3),
        requester: "corp/gw".to_owned(),
        fingerprint: Fingerprint([0; 32]),
        exchanger: Arc::new(ProviderExchanger::new(settings)?),
    })
}

fn policies() -> Result<Policies, Failure> {
    let resource = |name: &str| -> Result<WorldResource, Failure> {
        Ok(WorldResource {
            name: name.parse()?,
            kind: Kind::Mcp,
            identifier: format!("https://{name}.example.com"),
            tools: Vec::new(),
            routes: Vec::new(),
            graph: None,
        })
    };
    let ledger = WorldExchange {
        name: "ledger".parse()?,
        audience: LEDGER.to_owned(),
        resources: BTreeSet::from(["exchanging".parse()?]),
    };
    let world =
        World { resources: vec![resource("plain")?, resource("exchanging")?], exchanges: vec![ledger] };
    let sources = Sources { policies: vec![SourceFile::new("p.cedar", POLICIES)], ..Sources::default() };
    Policies::load(&sources, &world, OnError::Forbid).map_err(|errors| format!("{errors:?}").into())
}

fn resource(name: &str, upstream_token: UpstreamToken) -> Result<Resource, Failure> {
    let identifier = format!("https://{name}.example.com");
    Ok(Resource {
        name: name.parse()?,
        kind: Kind::Mcp,
        issuers: vec!["corp".parse()?],
        audiences: BTreeSet::from([identifier.as_str().into()]),
        any_audience: false,
        metadata: Metadata { url: format!("{identifier}/.well-known"), ..Metadata::default() },
        scopes: ScopeSettings::default(),
        acr_values: Vec::new(),
        max_age: Vec::new(),
        routes: Routes::default(),
        tools: Default::default(),
        anonymous: BTreeSet::new(),
        step_up: false,
        list: Default::default(),
        denial_form: DenialForm::Http,
        cors_origins: BTreeSet::new(),
        upstream_token,
        observe_until: None,
        rate_limits: Default::default(),
        static_tokens: Default::default(),
        grammar: Default::default(),
        identifier,
    })
}
