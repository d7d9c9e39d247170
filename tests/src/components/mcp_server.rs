//! MCP servers as upstreams: one with tools of the test's choice that keeps what reaches it, the reference server
//! `server-everything`, one on FastMCP, and one of files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use super::mcp_others::{package, python_script};
use super::process::Process;
use super::{components_dir, free_port, json_body, node_script};

/// A running MCP server; its endpoint is `/mcp`.
#[derive(Debug)]
pub struct McpServer {
    process: Process,
    port: u16,
    _files: TempDir,
}

impl McpServer {
    /// Starts a server with these tools: an array of MCP tool definitions. Calling one returns its name
    /// and arguments as text.
    ///
    /// # Errors
    /// If the components are not installed or the server does not start.
    pub async fn start(tools: &Value) -> Result<Self> {
        let files = TempDir::new()?;
        let file = files.path().join("tools.json");
        fs::write(&file, tools.to_string())?;
        let mut command = node_script("mcp-server/server.mjs")?;
        command.arg("--tools").arg(file);
        Self::launch("mcp-server", command, files).await
    }

    /// Starts a server with the tools `echo`, `get_user_info`, `list_files`, `delete_file` and
    /// `system_status`.
    ///
    /// # Errors
    /// If the components are not installed or the server does not start.
    pub async fn start_with_sample_tools() -> Result<Self> {
        let command = node_script("mcp-server/server.mjs")?;
        Self::launch("mcp-server", command, TempDir::new()?).await
    }

    /// Starts a server whose tools are GraphQL operations, which it sends to this router: an array of tools, each with its
    /// `operation`, at this port. It keeps no requests.
    ///
    /// # Errors
    /// If the components are not installed or the server does not start.
    pub async fn start_with_operations(tools: &Value, router: &str, port: u16) -> Result<Self> {
        let files = TempDir::new()?;
        let file = files.path().join("tools.json");
        fs::write(&file, tools.to_string())?;
        let mut command = node_script("mcp-graphql/server.mjs")?;
        command.arg("--tools").arg(file).args(["--router", router, "--port", &port.to_string()]);
        Self::launch("mcp-graphql", command, files).await
    }

    /// Starts the reference server. It has sessions, answers as event streams and keeps no requests.
    ///
    /// # Errors
    /// If the components are not installed or the server does not start.
    pub async fn start_everything() -> Result<Self> {
        let npm = components_dir()?.join("npm");
        let port = free_port()?;
        let mut command = std::process::Command::new(npm.join("node"));
        command.arg("--import").arg(npm.join("src/mcp-server/loopback.mjs"));
        command.arg(npm.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js"));
        command.arg("streamableHttp").env("PORT", port.to_string());
        let mut process = Process::start("server-everything", command)?;
        process.wait_for_line("listening on port").await?;
        Ok(Self { process, port, _files: TempDir::new()? })
    }

    /// Starts the server on FastMCP, which speaks all revisions, has tools `say`, `add` and `forget`, and what the conformance
    /// suite asks of a server. It keeps no requests.
    ///
    /// # Errors
    /// If Python's components are not installed or the server does not start.
    pub async fn start_fastmcp() -> Result<Self> {
        Self::launch("mcp-fastmcp", python_script("server.py")?, TempDir::new()?).await
    }

    /// The command of a server of the files of a folder on standard input and output, as it would be written in a shell.
    ///
    /// # Errors
    /// If the components are not installed.
    pub fn files_on_stdio(folder: &Path) -> Result<String> {
        let node = components_dir()?.join("npm/node");
        let script = package("@modelcontextprotocol/server-filesystem/dist/index.js")?;
        Ok(format!("{} {} {}", node.display(), script.display(), folder.display()))
    }

    /// The command of the reference server on standard input and output, as it would be written in a shell.
    ///
    /// # Errors
    /// If the components are not installed.
    pub fn everything_on_stdio() -> Result<String> {
        let npm = components_dir()?.join("npm");
        let script = npm.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
        Ok(format!("{} {} stdio", npm.join("node").display(), script.display()))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// What has reached the server, oldest first: objects with `method`, `url`, `headers` (an array of
    /// pairs, names in lower case) and `body` (text).
    ///
    /// # Errors
    /// If the server does not answer, or is the reference server.
    pub async fn requests(&self) -> Result<Vec<Value>> {
        let answer = json_body(reqwest::get(self.requests_url()).await?).await?;
        Ok(answer.as_array().context("not an array of requests")?.clone())
    }

    /// Forgets what has reached the server.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn forget_requests(&self) -> Result<()> {
        reqwest::Client::new().delete(self.requests_url()).send().await?.error_for_status()?;
        Ok(())
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    async fn launch(name: &str, command: std::process::Command, files: TempDir) -> Result<Self> {
        let mut process = Process::start(name, command)?;
        let ready = process.wait_for_line("ready ").await?;
        let url = ready.strip_prefix("ready ").context("no URL in the ready line")?;
        let port = reqwest::Url::parse(url)?.port().context("no port in the ready line")?;
        Ok(Self { process, port, _files: files })
    }

    fn requests_url(&self) -> String {
        format!("http://127.0.0.1:{}/test/requests", self.port)
    }
}

/// The values of this header, its name in lower case, in one of [`McpServer::requests`].
pub fn header_values<'a>(request: &'a Value, name: &str) -> Vec<&'a str> {
    let pairs = request.get("headers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of_name = pairs.iter().filter(|pair| pair.get(0).is_some_and(|known| known == name));
    of_name.filter_map(|pair| pair.get(1).and_then(Value::as_str)).collect()
}
