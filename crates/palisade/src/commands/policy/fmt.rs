//! `palisade policy fmt`: one way to lay policies out.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use palisade_policy::{Diagnostic, SourceFile, format};
use serde::Serialize;

use super::set::{entries, is_policy};
use crate::{Outcome, commands::terminal::printable_lines};

/// Lay policies out the one way.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palisade policy fmt --check policies")]
pub(super) struct Fmt {
    /// Folders and files.
    #[arg(default_value = "policies")]
    paths: Vec<PathBuf>,
    /// Change nothing; exit with 1 if something would change.
    #[arg(long)]
    check: bool,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

/// What became of a file.
#[derive(Debug, Serialize)]
struct Laid {
    file: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Diagnostic>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// As it should be.
    Formatted,
    /// Otherwise than it should be, and left so.
    NotFormatted,
    /// Written anew.
    Rewritten,
    /// No policy file.
    Invalid,
}

impl Fmt {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let mut files = Vec::new();
        for path in &self.paths {
            collect(path, &mut files);
        }
        let mut laid = Vec::new();
        for path in files {
            laid.push(lay(&path, self.check)?);
        }
        if self.json {
            println!("{}", serde_json::json!({ "files": laid }));
        } else {
            laid.iter().for_each(print);
        }
        let fails = |laid: &Laid| matches!(laid.state, State::NotFormatted | State::Invalid);
        Ok(if laid.iter().any(fails) { Outcome::No } else { Outcome::Yes })
    }
}

fn lay(path: &Path, check: bool) -> anyhow::Result<Laid> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| file.clone())?;
    let (state, problem) = match format(&SourceFile { path: file.clone(), text: text.clone() }) {
        Ok(formatted) if formatted == text => (State::Formatted, None),
        Ok(_) if check => (State::NotFormatted, None),
        Ok(formatted) => {
            std::fs::write(path, formatted).with_context(|| file.clone())?;
            (State::Rewritten, None)
        }
        Err(problem) => (State::Invalid, Some(problem)),
    };
    Ok(Laid { file, state, problem })
}

fn print(laid: &Laid) {
    let name = &laid.file;
    match laid.state {
        State::Formatted => {}
        State::NotFormatted => println!("{name}: not formatted; run `palisade policy fmt {name}`"),
        State::Rewritten => println!("formatted {name}"),
        State::Invalid => {
            laid.problem.iter().for_each(|problem| eprintln!("{}", printable_lines(&problem.to_string())));
        }
    }
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
