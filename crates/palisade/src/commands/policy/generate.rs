//! `palisade policy generate`: the scopes that GraphQL operations need, out of the directives of their schema, as policies of the
//! tools that are made of them; and where a configuration and the schema disagree.
//!
//! Exit status: 0 if everything fits together; 1 if something does not, with the policies written all the same, or an operation
//! cannot be read, with nothing written; 2 if what is needed is not there.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use palisade_graphql::Schema;
use palisade_import::operations::{self, Disagreement, Operation};
use palisade_model::ResourceName;
use palisade_policy::{Kind, SourceFile, format};
use palisade_server::config;
use serde::Serialize;

use self::configured::Deployed;
use super::set::entries;
use crate::{
    Outcome,
    commands::terminal::{printable, printable_lines},
};

mod configured;
mod documents;

/// Write what GraphQL operations need, by the directives of their schema, as policies of their tools.
///
/// Every operation is a tool of its name. The policies only refuse: who may use a tool is said elsewhere. Of a resource of kind
/// graphql no policies are written, since its directives are judged with every operation; what disagrees is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade policy generate --operations operations --sdl supergraph.graphql --resource shop\n  \
    palisade policy generate --operations operations --sdl supergraph.graphql --config palisade.yaml --resource shop \\\n    \
    --output policies/operations.cedar\n  palisade policy generate --operations operations --sdl supergraph.graphql --resource shop \\\n    \
    --check policies/operations.cedar"
)]
pub(super) struct Generate {
    /// The folder with the operations: every `*.graphql` and `*.gql` in and below it.
    #[arg(long, value_name = "DIR")]
    operations: PathBuf,
    /// The schema: the supergraph, or a plain one.
    #[arg(long, value_name = "FILE")]
    sdl: PathBuf,
    /// The resource whose tools they are; default: the only MCP server of the configuration.
    #[arg(long, value_name = "NAME", required_unless_present = "config")]
    resource: Option<ResourceName>,
    /// The configuration to compare with: its scopes, its catalogue, and whom its policies permit a tool.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the policies into this file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write nothing; exit with 1 if this file is another than would be written.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    check: Option<PathBuf>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found<'a> {
    resource: &'a ResourceName,
    ok: bool,
    operations: &'a [Operation],
    /// The policies as text; nothing of a GraphQL API.
    policies: Option<&'a str>,
    disagreements: &'a [Disagreement],
    /// The file of `--check` is another than would be written.
    stale: bool,
}

impl Generate {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let deployed = match self.config.as_deref().map(Deployed::read).transpose() {
            Ok(deployed) => deployed,
            Err(error) => return Outcome::refused(error),
        };
        let (resource, kind) = self.asked(deployed.as_ref())?;
        let Some((schema, found)) = self.read()? else { return Ok(Outcome::No) };
        let policies = match kind {
            Kind::Mcp => Some(self.policies(&found, &resource)?),
            Kind::Graphql | Kind::Http => None,
        };
        let stale = self.put(policies.as_deref())?;
        let disagreements = match deployed {
            None => Vec::new(),
            Some(deployed) => match deployed.disagreements(&found, &schema, &resource) {
                Ok(disagreements) => disagreements,
                Err(error) => return Outcome::refused(error),
            },
        };
        let ok = disagreements.is_empty() && !stale;
        let policies = policies.as_deref();
        let found = Found {
            resource: &resource,
            ok,
            operations: &found,
            policies,
            disagreements: &disagreements,
            stale,
        };
        self.tell(&found)?;
        Ok(if ok { Outcome::Yes } else { Outcome::No })
    }

    /// The resource, and what it is.
    fn asked(&self, deployed: Option<&Deployed>) -> anyhow::Result<(ResourceName, Kind)> {
        let (name, kind) = match (deployed, &self.resource) {
            (Some(deployed), named) => deployed.resource(named.as_ref())?,
            (None, Some(name)) => (name.clone(), Kind::Mcp),
            (None, None) => bail!("give --resource NAME, or --config FILE"),
        };
        if kind == Kind::Http {
            bail!("`{name}` is of kind http: operations are of an MCP server or of a GraphQL API");
        }
        if kind == Kind::Graphql && (self.output.is_some() || self.check.is_some()) {
            bail!(
                "`{name}` is a GraphQL API, whose directives are judged with every operation: there are no policies to write"
            );
        }
        Ok((name, kind))
    }

    /// The schema and the operations; nothing if one of them cannot be read, which has been said.
    fn read(&self) -> anyhow::Result<Option<(Schema, Vec<Operation>)>> {
        let mut files = Vec::new();
        collect(&self.operations, &mut files);
        if files.is_empty() {
            bail!("{}: there is no `*.graphql` and no `*.gql`", self.operations.display());
        }
        if !self.sdl.exists() {
            bail!("{}: there is no such file", self.sdl.display());
        }
        let schema = match config::graphql::read_schema(&self.sdl) {
            Ok(schema) => schema,
            Err(problem) => {
                eprintln!("{}", printable_lines(&problem));
                return Ok(None);
            }
        };
        let mut texts = Vec::new();
        for file in files {
            let shown = file.display().to_string();
            let text = std::fs::read_to_string(&file).with_context(|| shown.clone())?;
            texts.push((shown, text));
        }
        match documents::read(&schema, &texts) {
            Ok(operations) => Ok(Some((schema, operations))),
            Err(problems) => {
                problems.iter().for_each(|problem| eprintln!("{}", printable_lines(problem)));
                Ok(None)
            }
        }
    }

    fn policies(&self, found: &[Operation], resource: &ResourceName) -> anyhow::Result<String> {
        let text = operations::policies(found, resource, &self.sdl.display().to_string());
        let path = self.output.as_ref().or(self.check.as_ref());
        let path = path.map_or_else(|| "policies".to_owned(), |path| path.display().to_string());
        // Laying out parses: what is no Cedar is never written.
        format(&SourceFile { path, text }).map_err(|diagnostic| anyhow::anyhow!("{diagnostic}"))
    }

    /// Writes the policies where they were asked for. Answers whether the file to check is another.
    fn put(&self, policies: Option<&str>) -> anyhow::Result<bool> {
        let Some(policies) = policies else { return Ok(false) };
        if let Some(file) = &self.output {
            std::fs::write(file, policies).with_context(|| file.display().to_string())?;
        }
        match &self.check {
            None => Ok(false),
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
                Ok(text != policies)
            }
        }
    }

    fn tell(&self, found: &Found<'_>) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(found)?);
            return Ok(());
        }
        match found.policies.filter(|_| self.output.is_none() && self.check.is_none()) {
            Some(policies) => print!("{}", printable_lines(policies)),
            None => found.operations.iter().for_each(|operation| println!("{}", printable(&line(operation)))),
        }
        if let Some(file) = &self.output {
            println!("wrote {}", file.display());
        }
        for disagreement in found.disagreements {
            eprintln!("{}", printable(&format!("disagreement: {disagreement}")));
        }
        if let Some(file) = self.check.as_ref().filter(|_| found.stale) {
            let file = file.display();
            eprintln!(
                "{file} is another than would be written; if that is meant, write it anew with --output"
            );
        }
        Ok(())
    }
}

/// `GetOrder (query, operations/GetOrder.graphql): order:read and user:read`.
fn line(operation: &Operation) -> String {
    let mut line =
        format!("{} ({}, {}): {}", operation.name, operation.kind, operation.file, operation.needs());
    if !operation.policies.is_empty() {
        line.push_str(&format!("; policies {}", operation.policies));
    }
    line
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    let is_document =
        |path: &Path| path.extension().is_some_and(|extension| extension == "graphql" || extension == "gql");
    for entry in entries(path) {
        if entry.is_dir() {
            collect(&entry, files);
        } else if is_document(&entry) {
            files.push(entry);
        }
    }
}
