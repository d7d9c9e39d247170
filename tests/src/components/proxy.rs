//! nginx, HAProxy and Caddy with their configurations of `deploy/`, on ports of their own choice.
//!
//! As with Envoy, the samples that operators copy are the ones that the tests run: ports and the place of files change in
//! their text, and nothing else. Each asks Palisade as the PEP whose key it is given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::debian::{self, program};
use super::process::Process;
use super::{EnvoyPorts, free_port, repository};

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    port: u16,
    _files: TempDir,
}

/// Which proxy, with which sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// `nginx.conf`: `/orders`, `kind: http`.
    Nginx,
    /// `haproxy.cfg` and `palisade.lua`: `/files`, `kind: mcp`, and `/orders`, `kind: http`.
    Haproxy,
    /// `Caddyfile`: `/orders`, `kind: http`.
    Caddy,
}

impl Proxy {
    /// Why there are no proxies of Debian on this machine, if they were left out when the components were installed.
    ///
    /// # Errors
    /// If the components are not installed.
    pub fn skipped() -> Result<Option<String>> {
        debian::skipped()
    }

    /// Starts a proxy with its sample, which sends this key, and waits until it answers.
    ///
    /// # Errors
    /// If it is not installed, refuses its configuration or does not answer.
    pub async fn start(kind: ProxyKind, ports: EnvoyPorts, key: &str) -> Result<Self> {
        if let Some(reason) = Self::skipped()? {
            bail!("no proxy: {}", reason.trim());
        }
        let files = TempDir::new()?;
        let port = free_port()?;
        let mut command = match kind {
            ProxyKind::Nginx => nginx(files.path(), port, ports, key)?,
            ProxyKind::Haproxy => haproxy(files.path(), port, ports)?,
            ProxyKind::Caddy => caddy(files.path(), port, ports)?,
        };
        command.env("PALISADE_KEY", key).current_dir(files.path());
        let mut process = Process::start(kind.name(), command)?;
        let url = format!("http://127.0.0.1:{port}/");
        process.wait_until("an answer", async |_| Ok(reqwest::get(&url).await.is_ok().then_some(()))).await?;
        Ok(Self { process, port, _files: files })
    }

    /// The URL of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl ProxyKind {
    /// The name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }
}

fn nginx(files: &Path, port: u16, ports: EnvoyPorts, key: &str) -> Result<Command> {
    // Where a package of Debian keeps what this process could not write.
    let kept =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path temp;"));
    let http = format!("http {{\n    access_log off;\n    {}\n", kept.join("\n    "));
    let changes = [
        ("THE KEY OF peps.nginx", key.to_owned()),
        ("http {\n", http),
        ("worker_processes auto", "worker_processes 1".to_owned()),
    ];
    let file = fill("nginx.conf", files, port, ports, &changes)?;
    fs::create_dir(files.join("temp"))?;
    let mut command = program("sbin/nginx")?;
    command.arg("-p").arg(files).arg("-c").arg(file).args(["-e", "stderr"]);
    // One process: the workers of a killed master would live on.
    command.arg("-g").arg(format!("daemon off; master_process off; pid {};", files.join("pid").display()));
    Ok(command)
}

fn haproxy(files: &Path, port: u16, ports: EnvoyPorts) -> Result<Command> {
    let script = fs::read_to_string(repository().join("deploy/palisade.lua"))?;
    let decision = "127.0.0.1:7254";
    ensure!(script.matches(decision).count() == 1, "deploy/palisade.lua should have `{decision}` once");
    fs::write(
        files.join("palisade.lua"),
        script.replace(decision, &format!("127.0.0.1:{}", ports.decision)),
    )?;
    let other = ("127.0.0.1:3002", format!("127.0.0.1:{}", ports.upstream));
    let file = fill("haproxy.cfg", files, port, ports, &[other])?;
    let mut command = program("sbin/haproxy")?;
    command.args(["-db", "-f"]).arg(file);
    Ok(command)
}

fn caddy(files: &Path, port: u16, ports: EnvoyPorts) -> Result<Command> {
    let bind = ("\n:10000 {", format!("\n:{port} {{"));
    let file = fill("Caddyfile", files, port, ports, &[bind])?;
    let mut command = program("bin/caddy")?;
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("HOME", files).env("XDG_CONFIG_HOME", files).env("XDG_DATA_HOME", files);
    Ok(command)
}

/// A sample of `deploy/` with these ports and changes, as a file in the folder.
fn fill(
    sample: &str,
    files: &Path,
    port: u16,
    ports: EnvoyPorts,
    changes: &[(&str, String)],
) -> Result<PathBuf> {
    let mut text = fs::read_to_string(repository().join("deploy").join(sample))?;
    for (from, to) in changes {
        ensure!(text.matches(from).count() == 1, "deploy/{sample} should have `{from}` once");
        text = text.replace(from, to);
    }
    for (from, to) in [(10000, port), (7254, ports.decision), (7255, ports.public), (3001, ports.upstream)] {
        text = text.replace(&format!("127.0.0.1:{from}"), &format!("127.0.0.1:{to}"));
    }
    let file = files.join(Path::new(sample).file_name().context("the sample has no name")?);
    fs::write(&file, text)?;
    Ok(file)
}
