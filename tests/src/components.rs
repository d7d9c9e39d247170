//! The real components as child processes on loopback: Envoy and other proxies, an identity provider, an OpenTelemetry
//! Collector, MCP servers and a GraphQL router.
//!
//! `tests/components/install` puts the programs below `target/components`; each type here starts one,
//! returns when it answers, and ends it by its process id when dropped. What a child prints goes to a
//! file below `target/test-logs`, so that a failed run can be read.
//!
//! This module must not decide anything about Palisade: it knows the components and nothing of the
//! service, except for the ports and names that it puts into the Envoy samples of `deploy/`.

mod certificates;
mod collector;
mod debian;
mod envoy;
mod graphql_js;
mod hive;
mod jose;
mod mcp_others;
mod mcp_server;
mod oidc_provider;
mod process;
mod proxy;
mod redis;
#[cfg(test)]
mod tests;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use collector::Collector;
pub use envoy::{Envoy, EnvoyPorts, EnvoySample, egress_proxy, with_key};
pub use graphql_js::{client_schema, introspection_query};
pub use hive::{HiveGateway, Subgraph};
pub use jose::verify_with_jose;
pub use mcp_others::{conformance, inspector, python_script, python_skipped};
pub use mcp_server::{McpServer, header_values};
pub use oidc_provider::OidcProvider;
pub use process::{Process, eventually};
pub use proxy::{Proxy, ProxyKind};
pub use redis::Redis;

/// The folder of this repository.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// The folder that the components are installed in.
///
/// # Errors
/// If they are not installed; the message says how.
pub fn components_dir() -> Result<PathBuf> {
    let dir = repository().join("target/components");
    let installed = dir.join("envoy.stamp").exists() && dir.join("npm.stamp").exists();
    ensure!(installed, "the real components are not installed: run tests/run (or tests/components/install)");
    Ok(dir)
}

/// A TCP port of 127.0.0.1 that nobody listened on a moment ago, for components that cannot choose one. None is given twice, and
/// none is of the range that the system takes the ports of outgoing connections from: so a component that is killed can
/// be started again at its own.
///
/// # Errors
/// If the system has no port left.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another process begins elsewhere.
    let first = std::process::id().wrapping_mul(97);
    for _ in 0..PORTS {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(LOWEST_PORT + offset)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port on 127.0.0.1")
}

/// The ports that [`free_port`] gives out: Linux takes those of connections from 32768 on.
const LOWEST_PORT: u32 = 20_000;
const PORTS: u32 = 12_000;

/// The Node program and the arguments under which a script of `tests/components` finds its packages.
///
/// # Errors
/// If the components are not installed.
pub fn node_script(script: &str) -> Result<std::process::Command> {
    let npm = components_dir()?.join("npm");
    let mut command = std::process::Command::new(npm.join("node"));
    command.args(["--preserve-symlinks", "--preserve-symlinks-main"]);
    command.arg(npm.join("src").join(script));
    Ok(command)
}

/// The body of a response as JSON, or an error with the status and the text.
async fn json_body(response: reqwest::Response) -> Result<Value> {
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "status {status}: {text}");
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
}
