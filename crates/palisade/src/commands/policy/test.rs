//! `palisade policy test`: the cases beside the policies.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use palisade_policy::run_tests;

use crate::{Outcome, commands::terminal::printable_lines};

/// Run the `*.test.yaml` beside the policies, and say which policies no case is decided by.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palisade policy test policies --junit report.xml")]
pub(super) struct Test {
    /// The folder with policies and their tests.
    #[arg(default_value = "policies")]
    folder: PathBuf,
    /// Write the results in the JUnit form, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        if !self.folder.exists() {
            bail!("{}: there is no such folder", self.folder.display());
        }
        let report = run_tests(&self.folder);
        if let Some(file) = &self.junit {
            std::fs::write(file, report.junit()).with_context(|| file.display().to_string())?;
        }
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print!("{}", printable_lines(&report.to_string()));
        }
        Ok(if report.passed() { Outcome::Yes } else { Outcome::No })
    }
}
