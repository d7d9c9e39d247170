//! `palisade config`: check a configuration, or print the schema of one.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use palisade_model::{Clock, SystemClock};
use palisade_server::config::{self, build::Embedded, warnings};
use serde_json::json;

use crate::{Outcome, commands::terminal::printable};

/// Check a configuration, or print its JSON Schema.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palisade config check palisade.yaml")]
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
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration.
    #[command(after_help = "Example:\n  palisade config schema > config.schema.json")]
    Schema,
}

impl Config {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Check { file, json } => check(&file, json),
            Command::Schema => {
                println!("{}", serde_json::to_string_pretty(&config::schema())?);
                Ok(Outcome::Yes)
            }
        }
    }
}

fn check(file: &std::path::Path, json: bool) -> anyhow::Result<Outcome> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let checked = config::load::read(file).map_err(anyhow::Error::from).and_then(|loaded| {
        let built = config::build::snapshot(&loaded, &Embedded::default(), None, &clock)?;
        Ok((loaded, built))
    });
    let (loaded, built) = match checked {
        Ok(checked) => checked,
        Err(error) if json && !matches!(error.downcast_ref(), Some(config::ConfigError::Read { .. })) => {
            println!("{}", json!({ "ok": false, "error": format!("{error:#}") }));
            return Ok(Outcome::No);
        }
        Err(error) => return Err(error),
    };
    let timeouts = warnings::proxy_timeouts(&loaded.config);
    let policies = built.snapshot.policies.policy_ids().count();
    let resources = built.snapshot.resources.iter().count();
    let revision = &built.snapshot.revision;
    if json {
        let report = json!({
            "ok": true, "resources": resources, "policies": policies, "revision": revision,
            "warnings": built.warnings, "timeouts": timeouts,
        });
        println!("{report}");
        return Ok(Outcome::Yes);
    }
    for warning in &built.warnings {
        println!("warning: {}", printable(&warning.to_string()));
    }
    for timeout in timeouts {
        println!("timeout: {}", printable(&timeout.to_string()));
    }
    println!("ok: {resources} resources, {policies} policies, revision {revision}");
    Ok(Outcome::Yes)
}
