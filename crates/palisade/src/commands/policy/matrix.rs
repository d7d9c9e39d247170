//! `palisade policy matrix`: who may what, written or compared with what was written.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use palisade_policy::{CellDifference, Form};

use super::set::Around;
use crate::{
    Outcome,
    commands::terminal::{printable, printable_lines},
};

/// Print who may what: the personas of the `*.test.yaml`, asked about everything that is known.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade policy matrix policies/five-tools\n  palisade policy matrix policies/five-tools --output matrix.html\n  \
    palisade policy matrix policies/five-tools --check policies/five-tools/matrix.txt"
)]
pub(super) struct Matrix {
    /// The folder with policies and their tests; default: that of the configuration, or `policies`.
    folder: Option<PathBuf>,
    #[command(flatten)]
    around: Around,
    /// The test files with the personas, or their folder, if they lie elsewhere.
    #[arg(long, value_name = "PATH")]
    tests: Option<PathBuf>,
    /// How it is written; default: what the name of the file says, or text.
    #[arg(long)]
    format: Option<FormArgument>,
    /// Write it into this file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print nothing but the cells that are others than in this file; exit with 1 if there are any.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    check: Option<PathBuf>,
    /// Print it as JSON; with --check, the cells that differ.
    #[arg(long, conflicts_with_all = ["format", "output"])]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormArgument {
    Text,
    Csv,
    Html,
}

impl Matrix {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let around = self.around.read()?;
        let place = around.one_place(self.folder.as_deref())?;
        let set = match around.load(&place, self.tests.as_deref()) {
            Ok(set) => set,
            Err(diagnostics) => {
                for diagnostic in diagnostics {
                    eprintln!("{}", printable_lines(&diagnostic.to_string()));
                }
                return Ok(Outcome::No);
            }
        };
        set.bed.notes.iter().for_each(|note| eprintln!("{}", printable_lines(&note.to_string())));
        if set.bed.personas.is_empty() {
            eprintln!(
                "palisade: nobody asks: name personas under `matrix` in a `*.test.yaml` below {place}, or give --tests"
            );
            return Ok(Outcome::Misuse);
        }
        let matrix = palisade_policy::Matrix::of(&set.policies, &set.bed);
        if let Some(file) = &self.check {
            return self.compare(&matrix, file);
        }
        if self.json {
            println!("{}", serde_json::to_string(&matrix)?);
            return Ok(Outcome::Yes);
        }
        let text = matrix.written(self.form(self.output.as_deref()));
        match &self.output {
            Some(file) => std::fs::write(file, text).with_context(|| file.display().to_string())?,
            None => print!("{}", printable_lines(&text)),
        }
        Ok(Outcome::Yes)
    }

    fn compare(&self, matrix: &palisade_policy::Matrix, file: &Path) -> anyhow::Result<Outcome> {
        let name = file.display();
        let text = std::fs::read_to_string(file).with_context(|| name.to_string())?;
        let differences =
            matrix.differences(&text, self.form(Some(file))).map_err(|error| anyhow!("{name}: {error}"))?;
        if self.json {
            println!("{}", serde_json::json!({ "differences": differences }));
        } else {
            differences.iter().for_each(print);
        }
        if differences.is_empty() {
            return Ok(Outcome::Yes);
        }
        eprintln!(
            "{} cells are others than in {name}; if that is meant, write it anew with --output",
            differences.len()
        );
        Ok(Outcome::No)
    }

    fn form(&self, file: Option<&Path>) -> Form {
        let extension = file.and_then(|file| file.extension()).and_then(|extension| extension.to_str());
        match (self.format, extension) {
            (Some(FormArgument::Html), _) | (None, Some("html" | "htm")) => Form::Html,
            (Some(FormArgument::Csv), _) | (None, Some("csv")) => Form::Csv,
            (Some(FormArgument::Text), _) | (None, _) => Form::Text,
        }
    }
}

fn print(cell: &CellDifference) {
    let text = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
    let line = format!(
        "{}: {}: {}: {} -> {}",
        cell.resource,
        cell.persona,
        cell.column,
        text(&cell.before),
        text(&cell.after)
    );
    println!("{}", printable(&line));
}
