//! Envoy with a configuration of `deploy/`, on ports of its own choice.
//!
//! The samples that operators copy are the ones that the tests run: [`EnvoySample::fill`] changes ports
//! and the resource's name in their text and nothing else.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;
use super::{components_dir, json_body, repository};

/// A running Envoy. Its listener and its admin interface have ports that the system chose.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: String,
    port: u16,
    _files: TempDir,
}

/// Which sample of `deploy/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvoySample {
    /// `envoy.yaml`: ext_authz over gRPC.
    ExtAuthz,
    /// `envoy-mcp.yaml`: Envoy's MCP filter before it.
    Mcp,
    /// `envoy-ext-proc.yaml`: ext_authz, and ext_proc for lists.
    ExtProc,
    /// `envoy.yaml` with the route that its comment gives for `kind: http`.
    Http,
    /// `envoy-http.yaml`: ext_authz over HTTP.
    OverHttp,
    /// `envoy-http.yaml` with the route that its comment gives for `kind: http`.
    HttpOverHttp,
}

/// Where the filled sample sends requests, all on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct EnvoyPorts {
    /// Palisade's decision listener.
    pub decision: u16,
    /// Palisade's public listener.
    pub public: u16,
    /// The upstream that the resource stands for.
    pub upstream: u16,
}

impl EnvoySample {
    /// The sample's text for a resource of this name: `palisade.resource` or the end of `path_prefix`, the path
    /// `/<name>` and the cluster are called by it. The ports of Envoy itself become 0.
    ///
    /// # Errors
    /// If the sample no longer has what is to be replaced.
    pub fn fill(self, resource: &str, ports: EnvoyPorts) -> Result<String> {
        let by_route = format!("palisade.resource: {resource}");
        let by_path = format!("path_prefix: /authz/{resource}");
        let (file, named, name) = match self {
            Self::ExtAuthz | Self::Http => ("envoy.yaml", "palisade.resource: files", by_route),
            Self::Mcp => ("envoy-mcp.yaml", "palisade.resource: files", by_route),
            Self::ExtProc => ("envoy-ext-proc.yaml", "palisade.resource: files", by_route),
            Self::OverHttp | Self::HttpOverHttp => ("envoy-http.yaml", "path_prefix: /authz/files", by_path),
        };
        let mut text = fs::read_to_string(repository().join("deploy").join(file))?;
        let changes = [
            ("port_value: 9901}".to_owned(), "port_value: 0}".to_owned()),
            ("port_value: 10000}".to_owned(), "port_value: 0}".to_owned()),
            ("port_value: 7254}".to_owned(), format!("port_value: {}}}", ports.decision)),
            ("port_value: 7255}".to_owned(), format!("port_value: {}}}", ports.public)),
            ("port_value: 3001}".to_owned(), format!("port_value: {}}}", ports.upstream)),
            (named.to_owned(), name),
            ("match: {path: /files}".to_owned(), format!("match: {{path: /{resource}}}")),
            ("cluster: files".to_owned(), format!("cluster: {resource}")),
            ("- name: files".to_owned(), format!("- name: {resource}")),
            ("cluster_name: files".to_owned(), format!("cluster_name: {resource}")),
        ];
        for (from, to) in changes {
            ensure!(text.matches(&from).count() == 1, "deploy/{file} should have `{from}` once");
            text = text.replace(&from, &to);
        }
        match self {
            Self::Http | Self::HttpOverHttp => as_its_comment_says(&text, resource),
            Self::ExtProc => {
                const NAMED: &str = "key: palisade-resource, value: files}";
                ensure!(
                    text.matches(NAMED).count() == 1,
                    "deploy/{file} should name the resource to ext_proc"
                );
                Ok(text.replace(NAMED, &format!("key: palisade-resource, value: {resource}}}")))
            }
            Self::ExtAuthz | Self::Mcp | Self::OverHttp => Ok(text),
        }
    }
}

/// A sample that asks over gRPC, with a key to ask by, as the guide has it.
///
/// # Errors
/// If the sample has no such call.
pub fn with_key(sample: &str, key: &str) -> Result<String> {
    const CALL: &str = "envoy_grpc: {cluster_name: palisade_decision}\n";
    ensure!(sample.matches(CALL).count() == 1, "the sample asks over gRPC once");
    let metadata = format!("                initial_metadata: [{{key: x-palisade-key, value: \"{key}\"}}]\n");
    Ok(sample.replace(CALL, &format!("{CALL}{metadata}")))
}

/// The sample with the lines in force that a comment gives for `kind: http`, and those out that these stand for.
fn as_its_comment_says(text: &str, resource: &str) -> Result<String> {
    let text =
        text.replace("path_separated_prefix: /files}", &format!("path_separated_prefix: /{resource}}}"));
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(line) = line.split_once("# http: ").map(|(indent, rest)| format!("{indent}{rest}")) {
            lines.push(line);
        } else if !line.ends_with("# mcp only") {
            lines.push(line.to_owned());
        }
    }
    ensure!(lines.len() < text.lines().count(), "deploy/envoy.yaml should have lines for `kind: mcp` only");
    Ok(lines.join("\n"))
}

/// An Envoy that tunnels to `port` on 127.0.0.1, whatever name a CONNECT asks for: an egress proxy.
///
/// # Errors
/// As [`Envoy::start`].
pub async fn egress_proxy(port: u16) -> Result<Envoy> {
    let file = repository().join("tests/components/egress-proxy.yaml");
    Envoy::start(&fs::read_to_string(file)?.replace("PORT", &port.to_string())).await
}

impl Envoy {
    /// Starts Envoy with this configuration and waits until it is live. The configuration has a listener
    /// called `ingress`; it and the admin interface had best have port 0.
    ///
    /// # Errors
    /// If Envoy refuses the configuration or does not become live.
    pub async fn start(configuration: &str) -> Result<Self> {
        Self::start_with(configuration, &[]).await
    }

    /// As [`Self::start`], with these variables in its environment.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(configuration: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let files = TempDir::new()?;
        let file = files.path().join("envoy.yaml");
        let admin_file = files.path().join("admin");
        fs::write(&file, configuration)?;
        let mut command = Command::new(components_dir()?.join("venv/bin/envoy"));
        command.arg("-c").arg(&file).arg("--admin-address-path").arg(&admin_file);
        command.args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"]);
        command.args(["--file-flush-interval-msec", "50", "--drain-time-s", "1"]);
        command.envs(environment.iter().copied());
        let mut process = Process::start("envoy", command)?;

        let admin = process
            .wait_until("its admin address", async |_| {
                Ok(fs::read_to_string(&admin_file).ok().filter(|address| !address.is_empty()))
            })
            .await?;
        process
            .wait_until("it to be live", async |_| {
                let ready = reqwest::get(format!("http://{admin}/ready")).await;
                Ok(ready.ok().filter(|answer| answer.status().is_success()))
            })
            .await?;
        let port = ingress_port(&admin).await?;
        Ok(Self { process, admin, port, _files: files })
    }

    /// The port of the listener `ingress` on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a path, which begins with `/`, on the listener `ingress`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What the admin interface answers to a GET, such as `/stats?filter=ext_authz`.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn admin(&self, path: &str) -> Result<String> {
        Ok(reqwest::get(format!("http://{}{path}", self.admin)).await?.text().await?)
    }

    /// The access log so far, oldest first; a line appears some 50 ms after its request.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn access_log(&self) -> Result<Vec<Value>> {
        Ok(self.process.log()?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

async fn ingress_port(admin: &str) -> Result<u16> {
    let listeners = json_body(reqwest::get(format!("http://{admin}/listeners?format=json")).await?).await?;
    let statuses =
        listeners.get("listener_statuses").and_then(Value::as_array).context("Envoy names no listener")?;
    let ingress = statuses.iter().find(|status| status.get("name").is_some_and(|name| name == "ingress"));
    let port = ingress.and_then(|status| status.pointer("/local_address/socket_address/port_value"));
    Ok(u16::try_from(port.and_then(Value::as_u64).context("Envoy has no listener `ingress`")?)?)
}
