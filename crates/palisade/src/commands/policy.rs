//! `palisade policy`: what policy authors run before they ship a change.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use palisade_policy::{OnError, Policies, Severity, SourceFile, World, format, read_tree, run_tests};

use crate::Outcome;

/// Check, test and format policies.
#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Parse, validate strictly against the schema, and lint.
    #[command(after_help = "Example:\n  palisade policy check policies/five-tools")]
    Check {
        /// The folder with `*.cedar`, `*.cedarschema` and entity files.
        #[arg(default_value = "policies")]
        folder: PathBuf,
        /// More schema fragments.
        #[arg(long, value_name = "FILE")]
        schema: Vec<PathBuf>,
        /// More entity files.
        #[arg(long, value_name = "FILE")]
        entities: Vec<PathBuf>,
        /// Warnings fail, too.
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Run the `*.test.yaml` beside the policies.
    #[command(after_help = "Example:\n  palisade policy test policies --junit report.xml")]
    Test {
        /// The folder with policies and their tests.
        #[arg(default_value = "policies")]
        folder: PathBuf,
        /// Write the results in the JUnit form, too.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Print the results as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lay policies out the one way.
    #[command(after_help = "Example:\n  palisade policy fmt --check policies")]
    Fmt {
        /// Folders and files.
        #[arg(default_value = "policies")]
        paths: Vec<PathBuf>,
        /// Change nothing; exit with 1 if something would change.
        #[arg(long)]
        check: bool,
    },
}

impl Policy {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Check { folder, schema, entities, deny_warnings } => {
                Ok(check(&folder, &schema, &entities, deny_warnings))
            }
            Command::Test { folder, junit, json } => test(&folder, junit.as_deref(), json),
            Command::Fmt { paths, check } => fmt(&paths, check),
        }
    }
}

/// Every folder with policies of its own is a set; a folder of sets is checked set by set.
fn check(folder: &Path, schema: &[PathBuf], entities: &[PathBuf], deny_warnings: bool) -> Outcome {
    let mut outcome = Outcome::Yes;
    for set in sets(folder) {
        let loaded = read_tree(&set, schema, entities)
            .and_then(|sources| Policies::load(&sources, &World::assumed_by(&sources), OnError::default()));
        let (diagnostics, count) = match &loaded {
            Ok(policies) => (policies.warnings(), policies.policy_ids().count()),
            Err(diagnostics) => (diagnostics.as_slice(), 0),
        };
        for diagnostic in diagnostics {
            eprintln!("{diagnostic}");
        }
        let failed =
            diagnostics.iter().any(|diagnostic| deny_warnings || diagnostic.severity == Severity::Error);
        if failed {
            outcome = Outcome::No;
        } else {
            println!("ok: {}: {count} policies", set.display());
        }
    }
    outcome
}

/// The folder itself, or, where no policy lies directly in it, the folders below it that hold some.
fn sets(folder: &Path) -> Vec<PathBuf> {
    let holds_policies = |folder: &Path| entries(folder).iter().any(|path| is_policy(path));
    if folder.is_file() || holds_policies(folder) {
        return vec![folder.to_owned()];
    }
    let below: Vec<PathBuf> = entries(folder).into_iter().filter(|path| holds_policies(path)).collect();
    if below.is_empty() { vec![folder.to_owned()] } else { below }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

fn is_policy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cedar") && path.is_file()
}

fn test(folder: &Path, junit: Option<&Path>, json: bool) -> anyhow::Result<Outcome> {
    let report = run_tests(folder);
    if let Some(file) = junit {
        std::fs::write(file, report.junit()).with_context(|| file.display().to_string())?;
    }
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.passed() { Outcome::Yes } else { Outcome::No })
}

fn fmt(paths: &[PathBuf], check: bool) -> anyhow::Result<Outcome> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files);
    }
    let mut outcome = Outcome::Yes;
    for path in files {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).with_context(|| name.clone())?;
        match format(&SourceFile { path: name.clone(), text: text.clone() }) {
            Ok(formatted) if formatted == text => {}
            Ok(_) if check => {
                println!("{name}: not formatted; run `palisade policy fmt {name}`");
                outcome = Outcome::No;
            }
            Ok(formatted) => {
                std::fs::write(&path, formatted).with_context(|| name.clone())?;
                println!("formatted {name}");
            }
            Err(diagnostic) => {
                eprintln!("{diagnostic}");
                outcome = Outcome::No;
            }
        }
    }
    Ok(outcome)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for child in entries(path) {
            if child.is_dir() || is_policy(&child) {
                collect(&child, files);
            }
        }
    } else {
        files.push(path.to_owned());
    }
}
