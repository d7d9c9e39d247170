//! `palisade policy check`: parse, strict validation, lints; once, or after every change.

use std::path::{Path, PathBuf};

use clap::Args;
use palisade_policy::{Diagnostic, Lint, Severity, lint};
use serde::Serialize;

use super::{
    set::{Around, Surroundings, sets},
    watch,
};
use crate::{Outcome, commands::terminal::printable};

/// Parse, validate strictly against the schema, and lint.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade policy check policies/five-tools\n  palisade policy check --config palisade.yaml --deny-warnings\n  \
    palisade policy check policies --watch"
)]
pub(super) struct Check {
    /// The folder with `*.cedar`, `*.cedarschema` and entity files; default: that of the configuration, or `policies`.
    folder: Option<PathBuf>,
    #[command(flatten)]
    around: Around,
    /// Warnings fail, too.
    #[arg(long)]
    deny_warnings: bool,
    /// Leave the findings of this lint out.
    #[arg(long, value_name = "LINT")]
    allow: Vec<Lint>,
    /// Print the findings as JSON, one object a check.
    #[arg(long)]
    json: bool,
    /// Check again whenever a file changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

/// What was found in one set.
#[derive(Debug, Serialize)]
struct Checked {
    folder: String,
    ok: bool,
    policies: usize,
    diagnostics: Vec<Diagnostic>,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        if self.watch {
            let mut roots: Vec<PathBuf> = self.around.config.iter().cloned().collect();
            roots.extend(self.around.schema.iter().chain(&self.around.entities).cloned());
            // What the configuration names may change with it, so it is read before every check.
            watch::run(
                || {
                    let named = self.around.read().map(|around| around.watched()).unwrap_or_default();
                    let folder = self.folder.clone().unwrap_or_else(|| PathBuf::from("policies"));
                    roots.iter().cloned().chain(named).chain([folder]).collect()
                },
                || match self.once() {
                    Ok(_) => {}
                    Err(error) => eprintln!("palisade: {error:#}"),
                },
            );
        }
        self.once()
    }

    fn once(&self) -> anyhow::Result<Outcome> {
        let around = self.around.read()?;
        let folders = around.folders(self.folder.as_deref());
        let checked: Vec<Checked> =
            folders.iter().flat_map(|folder| sets(folder)).map(|folder| self.set(&around, &folder)).collect();
        if self.json {
            println!("{}", serde_json::json!({ "sets": checked }));
        } else {
            checked.iter().for_each(print);
        }
        Ok(if checked.iter().all(|checked| checked.ok) { Outcome::Yes } else { Outcome::No })
    }

    fn set(&self, around: &Surroundings, folder: &Path) -> Checked {
        let (mut diagnostics, policies) = match around.load(folder, None) {
            Ok(set) => {
                let mut found = lint(&set.policies, &set.sources, &set.bed.deployment);
                found.extend(set.bed.notes);
                (found, set.policies.policy_ids().count())
            }
            Err(diagnostics) => (diagnostics, 0),
        };
        diagnostics.retain(|found| found.lint.is_none_or(|lint| !self.allow.contains(&lint)));
        let fails = |found: &Diagnostic| self.deny_warnings || found.severity == Severity::Error;
        Checked {
            folder: folder.display().to_string(),
            ok: !diagnostics.iter().any(fails),
            policies,
            diagnostics,
        }
    }
}

fn print(checked: &Checked) {
    for diagnostic in &checked.diagnostics {
        for line in diagnostic.to_string().lines() {
            eprintln!("{}", printable(line));
        }
    }
    if checked.ok {
        println!("ok: {}: {} policies", checked.folder, checked.policies);
    }
}
