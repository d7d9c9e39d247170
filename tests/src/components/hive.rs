//! Hive Gateway with its configuration of `deploy/`, and the subgraph behind it, which answers everything that reaches it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;
use super::{components_dir, free_port, json_body, repository};

/// A running router. Its endpoint is `/graphql`.
#[derive(Debug)]
pub struct HiveGateway {
    process: Process,
    port: u16,
    _files: TempDir,
}

/// A running GraphQL server with the types of `policies/graphql-fields` and no authorization.
#[derive(Debug)]
pub struct Subgraph {
    process: Process,
    port: u16,
}

impl HiveGateway {
    /// Starts the router with a supergraph, asking this URL of Palisade, and waits until it answers.
    ///
    /// # Errors
    /// If it is not installed, refuses its configuration or does not answer.
    pub async fn start(supergraph: &str, palisade: &str) -> Result<Self> {
        Self::launch(supergraph, &sample("hive-gateway.config.mjs")?, &[("PALISADE", palisade)]).await
    }

    /// Starts the router with a supergraph, asking nobody: it takes the tokens of this issuer for this audience.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with_scopes(supergraph: &str, issuer: &str, audience: &str) -> Result<Self> {
        let variables = [("ISSUER", issuer), ("AUDIENCE", audience)];
        Self::launch(supergraph, &sample("hive-gateway-scopes.config.mjs")?, &variables).await
    }

    /// The same with the issuer's keys at this URL.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with_keys(
        supergraph: &str,
        (issuer, keys): (&str, &str),
        audience: &str,
    ) -> Result<Self> {
        let variables = [("ISSUER", issuer), ("AUDIENCE", audience), ("JWKS", keys)];
        Self::launch(supergraph, &sample("hive-gateway-scopes.config.mjs")?, &variables).await
    }

    /// Starts the router with a supergraph, executing whatever is asked.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_open(supergraph: &str) -> Result<Self> {
        let nothing = "export const gatewayConfig = { disableWebsockets: true, multipart: false, batching: false, \
                       graphiql: false, landingPage: false };\n";
        Self::launch(supergraph, nothing, &[]).await
    }

    async fn launch(supergraph: &str, configuration: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let files = TempDir::new()?;
        fs::write(files.path().join("supergraph.graphql"), supergraph)?;
        fs::write(files.path().join("gateway.config.mjs"), configuration)?;
        // What a sample imports is found beside it, as where it is installed.
        symlink(installed("node_modules")?, files.path().join("node_modules"))?;
        let port = free_port()?;
        let mut command = Command::new(components_dir()?.join("npm/node"));
        command.arg(installed("node_modules/@graphql-hive/gateway/dist/bin.js")?);
        command.args(["supergraph", "supergraph.graphql", "-c", "gateway.config.mjs", "--host", "127.0.0.1"]);
        command.args(["--port", &port.to_string()]).current_dir(files.path());
        command.envs(variables.iter().copied());
        let mut process = Process::start("hive-gateway", command)?;
        process.wait_for_line("Listening on").await?;
        Ok(Self { process, port, _files: files })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The URL of its endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/graphql", self.port)
    }
}

impl Subgraph {
    /// Starts the server.
    ///
    /// # Errors
    /// If the components are not installed or the server does not start.
    pub async fn start() -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(components_dir()?.join("npm/node"));
        // The script stays where it is; seen through the link it finds the packages beside it.
        command.args(["--preserve-symlinks", "--preserve-symlinks-main"]);
        command.arg(installed("src/subgraph.js")?).arg(port.to_string());
        let mut process = Process::start("subgraph", command)?;
        process.wait_for_line("ready").await?;
        Ok(Self { process, port })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The supergraph with this server behind it.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn supergraph(&self) -> Result<String> {
        let text = fs::read_to_string(repository().join("tests/components/hive/supergraph.graphql"))?;
        ensure!(text.contains(PLACE), "the supergraph has no server at {PLACE}");
        Ok(text.replace(PLACE, &format!("127.0.0.1:{}", self.port)))
    }

    /// The documents that have come since this was asked last.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn reached(&self) -> Result<Vec<String>> {
        let answer: Value =
            json_body(reqwest::get(format!("http://127.0.0.1:{}/reached", self.port)).await?).await?;
        let documents = answer.as_array().context("not an array of documents")?;
        Ok(documents.iter().filter_map(|document| document.as_str().map(str::to_owned)).collect())
    }
}

/// A configuration of `deploy/`.
fn sample(name: &str) -> Result<String> {
    let path = repository().join("deploy").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Where the supergraph has the server.
const PLACE: &str = "127.0.0.1:4001";

/// A file of what is installed for the router.
fn installed(file: &str) -> Result<PathBuf> {
    let path = components_dir()?.join("hive").join(file);
    ensure!(path.exists(), "Hive Gateway is not installed: run tests/components/install");
    Ok(path)
}
