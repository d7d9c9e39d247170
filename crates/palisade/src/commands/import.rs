//! `palisade import`: configuration and policies from what people have, and a report of every line.
//!
//! Exit status: 0 if everything carried over; 1 if something is left for the user, with the files written all the same;
//! 2 if nothing was written.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use palisade_import::{Import as Imported, ImportError, Options, Report, agentgateway, apollo, casbin};
use palisade_model::ResourceName;
use palisade_policy::{SourceFile, format};
use serde::Serialize;

use crate::{
    Outcome,
    commands::terminal::{complain, printable_lines},
};

/// Turn what you have into configuration and policies, and say what did not carry over.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palisade import apollo mcp.yaml --name graph --output palisade")]
pub(crate) struct Import {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apollo MCP Server's mcp.yaml.
    #[command(after_help = "Example:\n  palisade import apollo mcp.yaml --name graph --output palisade")]
    Apollo {
        #[command(flatten)]
        common: Common,
    },
    /// agentgateway's configuration: the rules of mcpAuthorization, and who issues tokens.
    #[command(
        after_help = "Example:\n  palisade import agentgateway config.yaml --identifier https://mcp.example.com/mcp"
    )]
    Agentgateway {
        #[command(flatten)]
        common: Common,
    },
    /// A Casbin RBAC policy (CSV).
    #[command(
        after_help = "Example:\n  palisade import casbin policy.csv --model model.conf --kind http --name orders \\\n    --identifier https://api.example.com/ --issuer https://login.example.com"
    )]
    Casbin {
        #[command(flatten)]
        common: Common,
        /// The model; default: the standard RBAC model.
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
        /// What the policy's objects are.
        #[arg(long, value_enum, default_value_t = Kind::Mcp)]
        kind: Kind,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Tools (action `call`), resources (`read`) and prompts (`get`) of an MCP server.
    Mcp,
    /// Paths of an HTTP service; actions are methods, or `read` and `write`.
    Http,
}

#[derive(Debug, Args)]
struct Common {
    /// The file to import.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The folder for palisade.yaml and policies/.
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// The name of the resource.
    #[arg(long, value_name = "RESOURCE", default_value = "mcp")]
    name: ResourceName,
    /// The resource's identifier, where the file has none.
    #[arg(long, value_name = "URL")]
    identifier: Option<String>,
    /// The issuer of tokens, where the file has none.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Overwrite files that are there.
    #[arg(long)]
    force: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// The report and where the files are.
#[derive(Debug, Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    report: &'a Report,
    complete: bool,
    files: Vec<String>,
}

impl Import {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let imported = match &self.command {
            Command::Apollo { common } => common.text().map(|text| apollo::import(&text, &common.options())),
            Command::Agentgateway { common } => {
                common.text().map(|text| agentgateway::import(&text, &common.options()))
            }
            Command::Casbin { common, model, kind } => common
                .text()
                .and_then(|text| Ok((text, model.as_deref().map(named).transpose()?)))
                .map(|(text, model)| import_casbin(&text, model.as_ref(), *kind, common)),
        };
        let common = match &self.command {
            Command::Apollo { common }
            | Command::Agentgateway { common }
            | Command::Casbin { common, .. } => common,
        };
        let outcome = imported.and_then(|imported| common.write(&imported?));
        outcome.or_else(|error| {
            complain(&anyhow::anyhow!("{error:#}; nothing was written"));
            Ok(Outcome::Misuse)
        })
    }
}

fn import_casbin(
    text: &str,
    model: Option<&(String, String)>,
    kind: Kind,
    common: &Common,
) -> Result<Imported, ImportError> {
    let model = model.map(|(file, text)| casbin::ModelFile { file, text });
    let kind = match kind {
        Kind::Mcp => casbin::Kind::Mcp,
        Kind::Http => casbin::Kind::Http,
    };
    casbin::import(text, model, kind, &common.options())
}

/// A file's name and text.
fn named(path: &Path) -> anyhow::Result<(String, String)> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| file.clone())?;
    Ok((file, text))
}

impl Common {
    fn text(&self) -> anyhow::Result<String> {
        Ok(named(&self.file)?.1)
    }

    fn options(&self) -> Options {
        Options {
            file: self.file.display().to_string(),
            name: self.name.clone(),
            identifier: self.identifier.clone(),
            issuer: self.issuer.clone(),
        }
    }

    /// Writes the files, all or, where one is there already, none; then says what became of the source.
    fn write(&self, imported: &Imported) -> anyhow::Result<Outcome> {
        let policies = PathBuf::from("policies");
        let source = SourceFile {
            path: policies.join(format!("{}.cedar", self.name)).display().to_string(),
            text: imported.policies.clone(),
        };
        // Laying out parses: what is no Cedar is never written.
        let laid_out = format(&source).map_err(|diagnostic| anyhow::anyhow!("{diagnostic}"))?;
        let mut files = vec![
            (self.output.join("palisade.yaml"), &imported.config),
            (self.output.join(&source.path), &laid_out),
        ];
        if let Some(entities) = &imported.entities {
            files.push((self.output.join(policies.join("entities.json")), entities));
        }
        if let Some((path, _)) = files.iter().find(|(path, _)| path.exists() && !self.force) {
            anyhow::bail!(
                "{} is there already: give --force to overwrite it, or another --output",
                path.display()
            );
        }
        let folder = self.output.join(&policies);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        for (path, text) in &files {
            std::fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        self.tell(&imported.report, files.iter().map(|(path, _)| path.display().to_string()).collect())
    }

    fn tell(&self, report: &Report, files: Vec<String>) -> anyhow::Result<Outcome> {
        let complete = report.is_complete();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&Written { report, complete, files })?);
        } else {
            print!("{}", printable_lines(&report.to_string()));
            files.iter().for_each(|file| println!("wrote {file}"));
        }
        Ok(if complete { Outcome::Yes } else { Outcome::No })
    }
}
