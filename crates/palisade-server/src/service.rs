//! The running service: what is started in which order, and how it ends.

use std::{sync::Arc, time::Duration};

use palisade_audit::{AuditLog, AuditSettings, Event, EventRecord};
use palisade_front::{
    InProcess,
    admin::{Admin, Readiness},
};
use palisade_model::{Clock, PepName, ResourceName};
use palisade_pdp::{Pdp, PdpSettings};
use serde_json::json;
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{broadcast::error::RecvError, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    callers::{self, Callers},
    config::{self, build::Embedded, load::Loaded, types::Config, types::MetricsAccess},
    gateway::GatewayListener,
    listeners::{BindError, Socket},
    reload::{self, ReloadStatus, Reloader},
    telemetry::Telemetry,
    workshop::Workshop,
};

/// What a service is started with.
#[derive(Debug)]
pub struct StartSettings {
    /// The configuration.
    pub loaded: Loaded,
    /// What is built in beside it.
    pub embedded: Embedded,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The telemetry of this process.
    pub telemetry: Arc<Telemetry>,
}

/// Why a service cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration, the policies or a catalogue are wrong.
    #[error(transparent)]
    Build(#[from] config::BuildError),
    /// A listener cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A server behind the gateway cannot be one.
    #[error("gateway.upstreams.{0}")]
    Upstream(ResourceName, #[source] palisade_gateway::UpstreamError),
    /// The decision log cannot be opened.
    #[error("the decision log cannot be opened")]
    Audit(#[from] palisade_audit::AuditError),
    /// The descriptors of the gRPC services cannot be served.
    #[error("the gRPC services cannot be described")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// Signals cannot be listened for.
    #[error("signals cannot be listened for")]
    Signal(#[source] std::io::Error),
    /// The thread for snapshots cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// Building the first snapshot panicked.
    #[error("building the policies panicked: this is a defect, which the log describes")]
    Panic,
}

/// Where the listeners of a running service are.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// For PEPs.
    pub decision: String,
    /// For clients.
    pub public: String,
    /// For operators.
    pub admin: String,
    /// The MCP gateway, where there is one.
    pub gateway: Option<String>,
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    addresses: Addresses,
    pdp: Arc<Pdp>,
    stop: CancellationToken,
    listeners: Vec<JoinHandle<std::io::Result<()>>>,
    admin: (CancellationToken, JoinHandle<std::io::Result<()>>),
    background: Vec<JoinHandle<()>>,
}

/// How many decisions may be under way at once. At a millisecond each that is far more than two cores can do, so a
/// request that finds no room would have missed its deadline in the queue.
const MOST_CONCURRENT: usize = 1_024;

/// How long decisions may take whose callers are gone already.
const SETTLE: Duration = Duration::from_millis(500);

/// How long who watches the health has to hear that the service stops.
const LAST_WATCH: Duration = Duration::from_millis(500);

/// How long requests under way may take once the service stops.
const DRAIN: Duration = Duration::from_secs(10);

impl Service {
    /// Starts a service: everything that can be wrong is found before a listener answers.
    ///
    /// # Errors
    /// When the configuration is wrong, an address is taken, or the decision log cannot be opened.
    pub async fn start(settings: StartSettings) -> Result<Self, StartError> {
        let StartSettings { loaded, mut embedded, clock, telemetry } = settings;
        let inside = std::mem::take(&mut embedded.upstreams);
        let config = loaded.config.clone();
        // From here on a SIGHUP asks for a reload, and a change of the files is one.
        let hangup = signal(SignalKind::hangup()).map_err(StartError::Signal)?;
        let path = loaded.files.first().cloned();
        let in_force = path.as_deref().map(reload::fingerprint);
        let workshop = Workshop::open().map_err(StartError::Thread)?;
        let (loaded, built) = first_snapshot(&workshop, loaded, embedded, &clock).await?;
        let decision = Socket::bind("listen.decision", &config.listen.decision.address).await?;
        let public = Socket::bind("listen.public", &config.listen.public.address).await?;
        let admin = Socket::bind("listen.admin", &config.listen.admin.address).await?;
        let gateway = GatewayListener::bind(config.gateway.as_ref(), inside).await?;
        let addresses = Addresses {
            decision: decision.address(),
            public: public.address(),
            admin: admin.address(),
            gateway: gateway.as_ref().map(GatewayListener::address),
        };
        let audit = AuditLog::open(audit_settings(&config), Arc::clone(&clock))?;
        announce(&audit, &built, clock.as_ref()).await;

        let verifier = Arc::clone(&built.snapshot.verifier);
        let key_changes = verifier.subscribe_key_changes();
        let refreshers = verifier.start();
        let pdp = Arc::new(Pdp::new(PdpSettings {
            snapshot: built.snapshot,
            audit: audit.clone(),
            clock: Arc::clone(&clock),
            most_concurrent: MOST_CONCURRENT,
        }));
        let taken = ReloadStatus { taken: clock.now().to_string(), error: None, weakened: built.warnings };
        let (status, reload_status) = watch::channel(taken);
        let stop = CancellationToken::new();
        let clock_of_callers = Arc::clone(&clock);
        let mut background = vec![tokio::spawn(record_key_changes(key_changes, audit, Arc::clone(&clock)))];
        if let (Some(path), Some(in_force)) = (path, in_force) {
            let (pdp, observed) = (Arc::clone(&pdp), built.observed);
            let reloader = Reloader {
                path,
                loaded,
                pdp,
                clock,
                status,
                refreshers,
                observed,
                hangup,
                in_force,
                workshop,
            };
            background.push(tokio::spawn(reloader.run()));
        } else {
            // An embedded configuration never changes; its keys are kept fresh as long as the service runs.
            let stopped = stop.clone();
            background.push(tokio::spawn(async move {
                stopped.cancelled().await;
                drop((refreshers, status, hangup));
            }));
        }
        observe_gauges(&config);
        let mut listeners = vec![
            decision
                .serve(decision_router(&pdp, &config, clock_of_callers, stop.clone()).await?, stop.clone()),
            public.serve_strangers(public_router(&pdp), stop.clone()),
        ];
        listeners.extend(gateway.and_then(|gateway| gateway.serve(&pdp, stop.clone())));
        // The admin listener outlives the others: `/readyz` says that the service is stopping while it does.
        let stop_admin = CancellationToken::new();
        let router = admin_router(&pdp, &config, telemetry, reload_status, stop.clone());
        let admin = (stop_admin.clone(), admin.serve_strangers(router, stop_admin));
        Ok(Self { addresses, pdp, stop, listeners, admin, background })
    }

    /// Where the listeners are.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The decision point.
    #[must_use]
    pub fn pdp(&self) -> &Arc<Pdp> {
        &self.pdp
    }

    /// The decision point, to be asked in this process by this PEP: for programs that hold a service instead of calling
    /// one. `local` is the unnamed PEP.
    #[must_use]
    pub fn decision_point(&self, pep: PepName) -> InProcess {
        InProcess::new(Arc::clone(&self.pdp), pep)
    }

    /// Stops: no new connections, requests under way end, the decision log is flushed and exported as far as it goes.
    pub async fn stop(self) {
        self.stop.cancel();
        let drained = futures::future::join_all(self.listeners);
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("requests were still under way when the time to drain was over");
        }
        for task in &self.background {
            task.abort();
        }
        self.pdp.settled(SETTLE).await;
        self.pdp.audit().shutdown().await;
        self.admin.0.cancel();
        if tokio::time::timeout(DRAIN, self.admin.1).await.is_err() {
            tracing::warn!("the admin listener still had callers when the time to drain was over");
        }
    }
}

fn public_router(pdp: &Arc<Pdp>) -> axum::Router {
    palisade_front::metadata::router(Arc::clone(pdp)).merge(palisade_sts::router(Arc::clone(pdp)))
}

async fn decision_router(
    pdp: &Arc<Pdp>,
    config: &Config,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Result<axum::Router, StartError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let check = palisade_ext_authz::grpc::server(Arc::clone(pdp));
    let lists = palisade_ext_authz::ext_proc::server(Arc::clone(pdp));
    let decisions = palisade_front::grpc::decisions(Arc::clone(pdp));
    let tokens = palisade_front::grpc::tokens(Arc::clone(pdp));
    let gateways = palisade_front::grpc::gateways(Arc::clone(pdp));
    let ext_mcp = palisade_front::grpc::ext_mcp(Arc::clone(pdp));
    let services = [
        "",
        name_of(&check),
        name_of(&lists),
        name_of(&decisions),
        name_of(&tokens),
        name_of(&gateways),
        name_of(&ext_mcp),
    ];
    set_health(&reporter, services, ServingStatus::Serving).await;
    tokio::spawn(report_stop(reporter, services, stop));
    // Envoy's own services are not described: the crate that has their messages has no descriptors of them.
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(palisade_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(palisade_proto::EXT_MCP_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let grpc = tonic::service::Routes::new(check)
        .add_service(lists)
        .add_service(decisions)
        .add_service(tokens)
        .add_service(gateways)
        .add_service(ext_mcp)
        .add_service(health)
        .add_service(reflection)
        .prepare()
        .into_axum_router();
    let callers = Callers {
        pdp: Arc::clone(pdp),
        clock,
        allow_unauthenticated: config.listen.decision.allow_unauthenticated_callers,
    };
    let base_url = config.listen.decision.base_url.as_deref();
    let http = palisade_ext_authz::http::router(Arc::clone(pdp))
        .merge(palisade_authzen::router(Arc::clone(pdp), base_url))
        .merge(palisade_front::peers::router(Arc::clone(pdp)))
        .merge(palisade_coprocessor::router(Arc::clone(pdp)));
    Ok(callers::with_callers(grpc.merge(http), callers))
}

/// How many gRPC services tell their health, with the server itself.
const SERVICES: usize = 7;

const fn name_of<S: tonic::server::NamedService>(_service: &S) -> &'static str {
    S::NAME
}

async fn set_health(reporter: &HealthReporter, services: [&str; SERVICES], status: ServingStatus) {
    for service in services {
        reporter.set_service_status(service, status).await;
    }
}

/// Tells whoever checks or watches that the service stops. Streams that watch end soon after, since they would keep
/// the service from ending.
async fn report_stop(
    mut reporter: HealthReporter,
    services: [&'static str; SERVICES],
    stop: CancellationToken,
) {
    stop.cancelled().await;
    set_health(&reporter, services, ServingStatus::NotServing).await;
    tokio::time::sleep(LAST_WATCH).await;
    for service in services {
        reporter.clear_service_status(service).await;
    }
}

fn admin_router(
    pdp: &Arc<Pdp>,
    config: &Config,
    telemetry: Arc<Telemetry>,
    reload: watch::Receiver<ReloadStatus>,
    stop: CancellationToken,
) -> axum::Router {
    let listener = &config.listen.admin;
    let detail_open = listener.address.is_local() || listener.allow_unauthenticated_callers;
    let metrics_open = detail_open || listener.metrics == MetricsAccess::Open;
    let pdp = Arc::clone(pdp);
    let readiness = move || readiness(&pdp, &reload.borrow(), stop.is_cancelled());
    palisade_front::admin::router(Admin {
        readiness: Arc::new(readiness),
        metrics: Arc::new(move || telemetry.prometheus()),
        names: listener.names.clone(),
        detail_open,
        metrics_open,
    })
}

/// Ready means: decisions can come out as permits. A collector that is down does not make it unready.
fn readiness(pdp: &Pdp, reload: &ReloadStatus, stopping: bool) -> Readiness {
    let snapshot = pdp.snapshot();
    let audit = pdp.audit().status();
    let issuer = |status: palisade_token::IssuerStatus| {
        let last_success = status.last_success.map(|time| time.to_string());
        let (name, ready, keys, error) = (status.name, status.ready, status.keys, status.last_error);
        json!({ "name": name, "ready": ready, "keys": keys, "last_success": last_success, "last_error": error })
    };
    let issuers: Vec<_> = snapshot.verifier.status().into_iter().map(issuer).collect();
    let ready = !stopping && snapshot.verifier.ready() && audit.last_write_error.is_none();
    let detail = json!({
        "ready": ready,
        "stopping": stopping,
        "revision": snapshot.revision,
        "policies": snapshot.policies.policy_ids().count(),
        "reload": reload,
        "issuers": issuers,
        "audit": audit,
        "weakened": reload.weakened,
    });
    Readiness { ready, detail }
}

fn audit_settings(config: &Config) -> AuditSettings {
    AuditSettings {
        path: config.audit.path.clone(),
        durability: config.audit.durability,
        on_full: config.audit.on_full,
        quota: config.audit.quota.0,
        otlp: config.audit.otlp.as_ref().map(|otlp| otlp.endpoint.clone()),
    }
}

/// Writes down what the service starts with, in the log lines and in the decision log. A log that is full does not keep
/// the service from starting: started, it denies, exports what fills the log, and recovers.
async fn announce(audit: &AuditLog, built: &config::Built, clock: &dyn Clock) {
    for warning in &built.warnings {
        tracing::warn!(warning, "configuration");
    }
    let started = Event::Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: built.snapshot.revision.clone(),
        weakened: built.warnings.iter().cloned().collect(),
    };
    let observed = built
        .observed
        .iter()
        .map(|(resource, until)| Event::ObserveOn { resource: resource.clone(), until: until.clone() });
    for event in std::iter::once(started).chain(observed) {
        if let Err(error) = audit.event(EventRecord::new(clock.now(), event)).await {
            tracing::error!(error = %error, "an event could not be recorded");
        }
    }
}

/// Builds where later snapshots are built, too.
async fn first_snapshot(
    workshop: &Workshop,
    loaded: Loaded,
    embedded: Embedded,
    clock: &Arc<dyn Clock>,
) -> Result<(Loaded, config::build::Built), StartError> {
    let clock = Arc::clone(clock);
    let build = move || {
        let built = config::build::snapshot(&loaded, &embedded, None, &clock)?;
        Ok((loaded, built))
    };
    workshop.build(build).await.ok_or(StartError::Panic)?
}

/// `palisade_insecure{listener}`: 1 where callers need prove nothing.
fn observe_gauges(config: &Config) {
    let insecure = [
        ("decision", config.listen.decision.allow_unauthenticated_callers),
        ("admin", config.listen.admin.allow_unauthenticated_callers),
    ];
    let gauge = opentelemetry::global::meter("palisade").u64_gauge("palisade_insecure").build();
    for (listener, open) in insecure {
        gauge.record(u64::from(open), &[opentelemetry::KeyValue::new("listener", listener)]);
    }
}

async fn record_key_changes(
    mut changes: tokio::sync::broadcast::Receiver<palisade_token::KeyChange>,
    audit: AuditLog,
    clock: Arc<dyn Clock>,
) {
    loop {
        let change = match changes.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "changes of key sets were missed");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let (added, removed) = (change.added.into_iter().collect(), change.removed.into_iter().collect());
        let event = Event::KeysChanged { issuer: change.issuer, added, removed };
        if let Err(error) = audit.event(EventRecord::new(clock.now(), event)).await {
            tracing::error!(error = %error, "a change of keys could not be recorded");
        }
    }
}
