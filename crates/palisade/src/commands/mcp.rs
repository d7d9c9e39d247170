//! `palisade mcp gateway`: the service with a reverse proxy in front of MCP servers in any language.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use palisade_model::ResourceName;
use palisade_server::config::{
    self,
    types::{Config, Gateway as Section, Upstream},
    values::ListenAddress,
};

use crate::{Outcome, commands::serve};

/// Put the decision service in front of MCP servers.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  palisade mcp gateway --config palisade.yaml --upstream http://127.0.0.1:3001/mcp"
)]
pub(crate) struct Mcp {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Gateway(Gateway),
}

/// Run the service with a reverse proxy in front of MCP servers: over HTTP, or as child processes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  palisade mcp gateway --config palisade.yaml --upstream http://127.0.0.1:3001/mcp\n  \
    palisade mcp gateway --config palisade.yaml --resource files --stdio \"mcp-server-filesystem /srv\"\n\n\
    Clients find a resource at the path of its identifier. Several servers are named under `gateway.upstreams` of the \
    configuration; then neither --upstream nor --stdio is needed."
)]
struct Gateway {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The URL of a server's MCP endpoint.
    #[arg(long, value_name = "URL", conflicts_with = "stdio")]
    upstream: Option<String>,
    /// A command: a server that speaks over its standard input and output, started for each session.
    #[arg(long, value_name = "COMMAND")]
    stdio: Option<String>,
    /// A variable of the environment that the command gets; may be given several times.
    #[arg(long, value_name = "NAME", requires = "stdio")]
    env: Vec<String>,
    /// The resource that the server is. Default: the only one of the configuration.
    #[arg(long, value_name = "NAME")]
    resource: Option<ResourceName>,
    /// Where to listen: `host:port`. Default: `gateway.address`, or 127.0.0.1:7257.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Mcp {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Gateway(gateway) => gateway.run(),
        }
    }
}

impl Gateway {
    fn run(self) -> anyhow::Result<Outcome> {
        let mut loaded = config::load::read(&self.config)?;
        let section = self.section(&loaded.config)?;
        loaded.config.gateway = Some(section);
        serve::run(loaded)
    }

    /// What the configuration says of the gateway, with what the command line says beside.
    fn section(self, config: &Config) -> anyhow::Result<Section> {
        let mut section = config.gateway.clone().unwrap_or_default();
        section.address = self.listen.map_or(section.address, ListenAddress::Tcp);
        if self.upstream.is_some() || self.stdio.is_some() {
            let resource = match self.resource {
                Some(resource) => resource,
                None => only(config)?,
            };
            let upstream = Upstream {
                url: self.upstream,
                stdio: self.stdio,
                environment: self.env,
                ..Upstream::default()
            };
            section.upstreams.insert(resource, upstream);
        }
        if section.upstreams.is_empty() {
            bail!(
                "there is no server to stand in front of: give --upstream or --stdio, or name servers under `gateway.upstreams`"
            );
        }
        Ok(section)
    }
}

/// The only resource of a configuration.
fn only(config: &Config) -> anyhow::Result<ResourceName> {
    let mut names = config.resources.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        (_, _) => {
            let known: Vec<&str> = config.resources.keys().map(ResourceName::as_str).collect();
            Err(anyhow!("which resource is the server? Give --resource: one of {}", known.join(", ")))
        }
    }
}
