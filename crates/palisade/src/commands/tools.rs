//! `palisade tools`: a server's tools as a catalogue, and what changed since the last.
//!
//! What the server says becomes the file, but for what is ours in it: `groups` and `tags` stay as somebody wrote them.

mod server;

use std::{
    fmt::Write as _,
    fs::Permissions,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use palisade_policy::{Catalog, CatalogChanges, SourceFile, ToolChange};
use serde_json::{Value, json};

use crate::{
    Outcome,
    commands::{serve, terminal::printable},
};

/// Keep the catalogue of a server's tools.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  palisade tools fetch --server https://mcp.example.com/files --output policies/files/tools.json"
)]
pub(crate) struct Tools {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Fetch(Fetch),
}

/// Write a catalogue of the tools that an MCP server lists, with a digest of each input schema, and say what changed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade tools fetch --server https://mcp.example.com/files --token-file token.txt\n  \
    palisade tools fetch --server http://127.0.0.1:3001/mcp --check\n  \
    palisade tools fetch --file list.json --output policies/files/tools.json\n\n\
    The groups and tags that somebody wrote into the catalogue stay. With --check nothing is written, and the exit \
    status is 1 if something would be."
)]
struct Fetch {
    /// The URL of the server's MCP endpoint.
    #[arg(long, value_name = "URL", conflicts_with = "file", required_unless_present = "file")]
    server: Option<String>,
    /// A saved answer to `tools/list`, in place of a server.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A file with a bearer token for the server.
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// How long one request may take; the whole list may take ten times as long.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    timeout: Duration,
    /// The catalogue.
    #[arg(long, default_value = "tools.json", value_name = "FILE")]
    output: PathBuf,
    /// Change nothing; exit with 1 if the catalogue would change.
    #[arg(long)]
    check: bool,
    /// Print what changed as JSON.
    #[arg(long)]
    json: bool,
}

impl Tools {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Fetch(fetch) => fetch.run(),
        }
    }
}

impl Fetch {
    fn run(self) -> anyhow::Result<Outcome> {
        let listed = match (&self.file, &self.server) {
            (Some(file), _) => saved(file)?,
            (None, Some(url)) => self.ask(url)?,
            (None, None) => bail!("give a server or a file"),
        };
        let origin = self.file.as_ref().map(|file| file.display().to_string()).or(self.server.clone());
        let listed = Catalog::listed(listed)
            .map_err(|why| anyhow!("{}: {}", origin.unwrap_or_default(), printable(&why)))?;
        let before = existing(&self.output)?;
        let (known, text) = before.unwrap_or_default();
        let now = listed.with_labels_of(&known);
        let written = now.to_text();
        let differs = written != text;
        if differs && !self.check {
            replace(&self.output, &written)?;
        }
        let report = Report { fetch: &self, changes: now.changes_since(&known), tools: now.len(), differs };
        print!("{}", if self.json { report.json() } else { report.text() });
        Ok(if differs && self.check { Outcome::No } else { Outcome::Yes })
    }

    fn ask(&self, url: &str) -> anyhow::Result<Vec<Value>> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        // Drawn on a terminal only.
        let progress = ProgressBar::new_spinner().with_message("asking the server");
        progress.enable_steady_tick(Duration::from_millis(100));
        let asked = serve::runtime()?.block_on(server::list(url, token, self.timeout, |tools| {
            progress.set_message(format!("{tools} tools"));
        }));
        progress.finish_and_clear();
        asked.map_err(|error| anyhow!("{url}: {}", printable(&error.to_string())))
    }
}

/// What changed, for people and for machines.
struct Report<'a> {
    fetch: &'a Fetch,
    changes: CatalogChanges,
    tools: usize,
    differs: bool,
}

impl Report<'_> {
    fn text(&self) -> String {
        let CatalogChanges { added, removed, changed, unchanged } = &self.changes;
        let mut text = String::new();
        let mut line = |sign: &str, what: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{sign} {}", printable(what));
        };
        added.iter().for_each(|tool| line("+", tool));
        removed.iter().for_each(|tool| line("-", tool));
        changed.iter().for_each(|change| line("~", &told(change)));
        let file = self.fetch.output.display();
        let _ = if self.changes.is_empty() && self.differs {
            writeln!(text, "{file}: the same {unchanged} tools, in another form or without digests")
        } else if self.changes.is_empty() {
            writeln!(text, "{file}: the same {unchanged} tools")
        } else {
            let (added, removed, changed) = (added.len(), removed.len(), changed.len());
            writeln!(
                text,
                "{file}: {added} added, {removed} removed, {changed} changed, {unchanged} unchanged"
            )
        };
        if self.differs && self.fetch.check {
            let _ = writeln!(text, "{file}: not up to date; run the same command without --check");
        }
        text
    }

    fn json(&self) -> String {
        let mut report = json!(self.changes);
        if let Some(report) = report.as_object_mut() {
            report.insert("file".to_owned(), json!(self.fetch.output));
            report.insert("tools".to_owned(), json!(self.tools));
            report.insert("differs".to_owned(), json!(self.differs));
            report.insert("written".to_owned(), json!(self.differs && !self.fetch.check));
        }
        format!("{report}\n")
    }
}

fn told(change: &ToolChange) -> String {
    let none = || "none".to_owned();
    let short = |digest: &Option<String>| {
        digest.as_ref().map_or_else(none, |digest| digest.chars().take("sha256:".len() + 12).collect())
    };
    let digests = if change.digest_before == change.digest_after {
        String::new()
    } else {
        format!(" ({} -> {})", short(&change.digest_before), short(&change.digest_after))
    };
    format!("{}: {}{digests}", change.tool, change.members.join(", "))
}

/// The catalogue as it is, and its text; nothing where there is no file yet.
fn existing(path: &Path) -> anyhow::Result<Option<(Catalog, String)>> {
    if !path.try_exists().with_context(|| path.display().to_string())? {
        return Ok(None);
    }
    let file = SourceFile::read(path).map_err(|error| anyhow!("{error}"))?;
    let catalog = Catalog::read(&file).map_err(|error| anyhow!("{error}"))?;
    Ok(Some((catalog, file.text)))
}

/// Replaces the file whole, because a service may be reading it.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let write = || {
        // The name is new and nobody can guess it, so what somebody else has put there is not written through.
        let fresh = Permissions::from_mode(0o666);
        let mut beside = tempfile::Builder::new().permissions(fresh).tempfile_in(folder)?;
        if let Ok(before) = std::fs::metadata(&target) {
            beside.as_file().set_permissions(before.permissions())?;
        }
        beside.write_all(text.as_bytes())?;
        beside.persist(&target).map(drop).map_err(|error| error.error)
    };
    write().with_context(|| target.display().to_string())
}

/// The tools of a saved answer: the JSON-RPC response, its result, or the array itself.
fn saved(path: &Path) -> anyhow::Result<Vec<Value>> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| name.to_string())?;
    let mut answer = palisade_json::read(&bytes, server::MAX_DEPTH).with_context(|| name.to_string())?;
    if let Some(result) = answer.get_mut("result") {
        answer = result.take();
    }
    let page = server::Page::of(answer).map_err(|error| anyhow!("{name}: {error}"))?;
    if page.next.is_some() {
        bail!("{name}: is one page of several (`nextCursor`): put the tools of all pages into one array");
    }
    Ok(page.tools)
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let token = text.trim();
    if token.is_empty() || token.contains(|character: char| !character.is_ascii_graphic()) {
        bail!("{}: holds no token: one line, without `Bearer`", path.display());
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests;
