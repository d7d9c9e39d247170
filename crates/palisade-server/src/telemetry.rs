//! Traces, metrics and the service's own log lines.
//!
//! Metrics are always collected for `/metrics`; traces and metrics go to an OTLP receiver where one is configured. A
//! receiver that is down costs nothing but its data: decisions never wait for it. Decision records take another way,
//! see `palisade-audit`, which loses nothing.

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider, trace::SdkTracerProvider};
use prometheus::{Encoder, Registry, TextEncoder};
use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{config::types, environment};

/// The providers of this process.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
}

/// Why telemetry cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The exporter cannot be built.
    #[error("telemetry.otlp: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The Prometheus reader cannot be built.
    #[error("telemetry: {0}")]
    Prometheus(String),
}

impl Telemetry {
    /// Sets up the providers of this process. Called once, inside the runtime, before anything makes an instrument.
    ///
    /// # Errors
    /// When an exporter cannot be built.
    pub fn install(settings: &types::Telemetry) -> Result<Self, TelemetryError> {
        let resource = Resource::builder()
            .with_service_name("palisade")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let registry = Registry::new();
        let prometheus = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .without_counter_suffixes()
            .without_units()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| TelemetryError::Prometheus(error.to_string()))?;
        let mut meters = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(prometheus);
        let mut tracers = None;
        if let Some(otlp) = &settings.otlp {
            let metrics = opentelemetry_otlp::MetricExporter::builder()
                .with_tonic()
                .with_endpoint(&otlp.endpoint)
                .build()?;
            meters = meters.with_periodic_exporter(metrics);
            let spans = opentelemetry_otlp::SpanExporter::builder()
                .with_tonic()
                .with_endpoint(&otlp.endpoint)
                .build()?;
            tracers =
                Some(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(spans).build());
        }
        let meters = meters.build();
        opentelemetry::global::set_meter_provider(meters.clone());
        log_to_stderr(tracers.as_ref());
        Ok(Self { registry, meters, tracers })
    }

    /// The metrics in Prometheus' text format.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(error = %error, "the metrics could not be encoded");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// Sends what is left.
    pub fn shutdown(&self) {
        let tracers = self.tracers.as_ref().map(SdkTracerProvider::shutdown);
        for error in [tracers.and_then(Result::err), self.meters.shutdown().err()].into_iter().flatten() {
            tracing::warn!(error = %error, "telemetry was not shut down cleanly");
        }
    }
}

/// Log lines for people go to standard error, at `RUST_LOG` or `info`. Spans go to the tracer alone: to write the fields of
/// each decision's span for lines that hardly ever come costs every decision.
fn log_to_stderr(tracers: Option<&SdkTracerProvider>) {
    let filter = environment::variable("RUST_LOG").unwrap_or_else(|| "info,rmcp=warn".to_owned());
    // With the hint, what nobody listens to still costs a comparison only.
    let events = filter_fn(|metadata| metadata.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let filter = EnvFilter::new(filter).and(events);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    let spans = tracers.map(|tracers| {
        tracing_opentelemetry::layer()
            .with_tracer(tracers.tracer("palisade"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(EnvFilter::new("off,palisade=info,palisade_pdp=info,palisade_token=info"))
    });
    if tracing_subscriber::registry().with(lines).with(spans).try_init().is_err() {
        tracing::debug!("another subscriber is installed already");
    }
}
