//! `palisade policy check`: parse, strict validation, lints; once, or after every change.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use palisade_policy::{Diagnostic, Lint, Severity, lint};
use palisade_server::config;
use serde::Serialize;

use super::{
    set::{Around, Named, Place, Surroundings, sets},
    watch,
};
use crate::{
    Outcome,
    commands::terminal::{complain, printable_lines},
};

/// Parse, validate strictly against the schema, and lint.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade policy check policies/five-tools\n  palisade policy check --config palisade.yaml --deny-warnings\n  \
    palisade policy check policies --watch\n  palisade policy check policies/graphql-api --schema-sdl shop=supergraph.graphql"
)]
pub(super) struct Check {
    /// The folder with `*.cedar`, `*.cedarschema` and entity files; default: that of the configuration, or `policies`.
    folder: Option<PathBuf>,
    #[command(flatten)]
    around: Around,
    /// The schema of a GraphQL API instead of what is configured: its SDL, as `NAME=FILE` where there are several or none is
    /// configured.
    #[arg(long, value_name = "FILE")]
    schema_sdl: Vec<String>,
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
            let file =
                |named: &String| named.split_once('=').map_or(named.clone(), |(_, file)| file.to_owned());
            roots.extend(self.schema_sdl.iter().map(|named| PathBuf::from(file(named))));
            // What the configuration names may change with it, so it is read before every check.
            watch::run(
                || {
                    let named = self.around.read().map(|around| around.watched()).unwrap_or_default();
                    let folder = self.folder.clone().unwrap_or_else(|| PathBuf::from("policies"));
                    roots.iter().cloned().chain(named).chain([folder]).collect()
                },
                || match self.once() {
                    Ok(_) => {}
                    Err(error) => complain(&error),
                },
            );
        }
        self.once()
    }

    fn once(&self) -> anyhow::Result<Outcome> {
        let mut around = match self.around.read() {
            Ok(around) => around,
            Err(error) => return Outcome::refused(error),
        };
        around.graphs = match self.graphs() {
            Ok(graphs) => graphs,
            Err(error) => return Outcome::refused(error),
        };
        self.all_there()?;
        let places = match &self.folder {
            // What a configuration names is checked as the service loads it: as one.
            None if around.has_configuration() => around.places(None),
            named => {
                let folder = named.clone().unwrap_or_else(|| PathBuf::from("policies"));
                sets(&folder).iter().map(|folder| around.place(folder)).collect()
            }
        };
        if places.is_empty() {
            bail!("the configuration names no policies");
        }
        let checked: Vec<Checked> = places.iter().map(|place| self.set(&around, place)).collect();
        if self.json {
            println!("{}", serde_json::json!({ "sets": checked }));
        } else {
            checked.iter().for_each(print);
        }
        Ok(if checked.iter().all(|checked| checked.ok) { Outcome::Yes } else { Outcome::No })
    }

    /// Whether everything is there that was named.
    fn all_there(&self) -> anyhow::Result<()> {
        let folder = match (&self.folder, &self.around.config) {
            (None, Some(_)) => None,
            (named, _) => Some(named.clone().unwrap_or_else(|| PathBuf::from("policies"))),
        };
        let needed = folder.iter().chain(&self.around.schema).chain(&self.around.entities);
        match needed.into_iter().find(|path| !path.exists()) {
            Some(missing) => bail!("{}: there is no such file or folder", missing.display()),
            None => Ok(()),
        }
    }

    /// The schemas that were named.
    fn graphs(&self) -> anyhow::Result<Vec<Named>> {
        let read = |text: &String| {
            let (name, path) = match text.split_once('=') {
                Some((name, path)) => (Some(name.parse()?), path),
                None => (None, text.as_str()),
            };
            let schema = config::graphql::read_schema(Path::new(path)).map_err(anyhow::Error::msg)?;
            Ok(Named { name, graph: config::graphql::world_graph(&schema), file: path.to_owned() })
        };
        self.schema_sdl.iter().map(read).collect()
    }

    fn set(&self, around: &Surroundings, place: &Place) -> Checked {
        let (mut diagnostics, policies) = match around.load(place, None) {
            Ok(set) => {
                let mut found = lint(&set.policies, &set.sources, &set.bed.deployment);
                found.extend(set.bed.notes);
                (found, set.policies.policy_ids().count())
            }
            Err(diagnostics) => (diagnostics, 0),
        };
        diagnostics.retain(|found| found.lint.is_none_or(|lint| !self.allow.contains(&lint)));
        let fails = |found: &Diagnostic| self.deny_warnings || found.severity == Severity::Error;
        Checked { folder: place.to_string(), ok: !diagnostics.iter().any(fails), policies, diagnostics }
    }
}

fn print(checked: &Checked) {
    for diagnostic in &checked.diagnostics {
        eprintln!("{}", printable_lines(&diagnostic.to_string()));
    }
    if checked.ok {
        println!("ok: {}: {} policies", checked.folder, checked.policies);
    }
}
