//! `palisade config`: check a configuration, or print the schema of one.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use palisade_model::{Clock, SystemClock};
use palisade_server::config::{self, build::Embedded, warnings};

use crate::Outcome;

/// Check a configuration, or print its JSON Schema.
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate a configuration with its policies and catalogues, without starting anything.
    #[command(after_help = "Example:\n  palisade config check palisade.yaml")]
    Check {
        /// The configuration file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON Schema of the configuration.
    #[command(after_help = "Example:\n  palisade config schema > config.schema.json")]
    Schema,
}

impl Config {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Check { file } => check(&file),
            Command::Schema => {
                println!("{}", serde_json::to_string_pretty(&config::schema())?);
                Ok(Outcome::Yes)
            }
        }
    }
}

fn check(file: &std::path::Path) -> anyhow::Result<Outcome> {
    let loaded = config::load::read(file)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let built = match config::build::snapshot(&loaded, &Embedded::default(), None, &clock) {
        Ok(built) => built,
        Err(error) => {
            eprintln!("{error}");
            return Ok(Outcome::No);
        }
    };
    for warning in &built.warnings {
        println!("warning: {warning}");
    }
    for timeout in warnings::proxy_timeouts(&loaded.config) {
        println!("timeout: {timeout}");
    }
    let policies = built.snapshot.policies.policy_ids().count();
    let resources = built.snapshot.resources.iter().count();
    println!("ok: {resources} resources, {policies} policies, revision {}", built.snapshot.revision);
    Ok(Outcome::Yes)
}
