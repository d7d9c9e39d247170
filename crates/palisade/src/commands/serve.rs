//! `palisade serve`: the service.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Args;
use palisade_model::SystemClock;
use palisade_server::{Service, StartSettings, config, telemetry::Telemetry};
use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;

/// Run the service.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palisade serve --config palisade.yaml")]
pub(crate) struct Serve {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        run(config::load::read(&self.config)?)
    }
}

/// Runs a service until it is asked to stop.
pub(crate) fn run(loaded: config::Loaded) -> anyhow::Result<Outcome> {
    runtime()?.block_on(async {
        let telemetry = Arc::new(Telemetry::install(&loaded.config.telemetry)?);
        let service = Service::start(StartSettings {
            loaded,
            embedded: config::build::Embedded::default(),
            clock: Arc::new(SystemClock),
            telemetry: Arc::clone(&telemetry),
        })
        .await?;
        let addresses = service.addresses();
        tracing::info!(
            decision = addresses.decision,
            public = addresses.public,
            admin = addresses.admin,
            gateway = addresses.gateway,
            "palisade is listening"
        );
        asked_to_stop().await?;
        tracing::info!("stopping: requests under way end, the decision log is flushed");
        service.stop().await;
        tokio::task::spawn_blocking(move || telemetry.shutdown()).await.context("telemetry")?;
        Ok(Outcome::Yes)
    })
}

/// The runtime of a command that serves or fetches.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot start")
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
