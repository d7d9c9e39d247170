//! MCP as others speak it: the SDK and FastMCP in Python, the Inspector, the conformance suite.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use super::{components_dir, repository};

/// Why there is no Python for this on the machine, if it was left out when the components were installed.
///
/// # Errors
/// If the components are not installed.
pub fn python_skipped() -> Result<Option<String>> {
    Ok(fs::read_to_string(components_dir()?.join("mcp-python.skipped")).ok())
}

/// A script of `tests/components/mcp-python`, with the packages beside it.
///
/// # Errors
/// If the components are not installed.
pub fn python_script(script: &str) -> Result<Command> {
    let python = components_dir()?.join("mcp-python/bin/python");
    ensure!(python.exists(), "the MCP SDK for Python is not installed: run tests/components/install");
    let mut command = Command::new(python);
    // No compiled files beside the sources, and nobody's packages but those that are pinned.
    command.args(["-I", "-B"]).arg(repository().join("tests/components/mcp-python").join(script));
    Ok(command)
}

/// The Inspector's command line.
///
/// # Errors
/// If the components are not installed.
pub fn inspector() -> Result<Command> {
    let mut command = node_package("@modelcontextprotocol/inspector/clients/launcher/build/index.js")?;
    command.arg("--cli");
    Ok(command)
}

/// The conformance suite.
///
/// # Errors
/// If the components are not installed.
pub fn conformance() -> Result<Command> {
    node_package("@modelcontextprotocol/conformance/dist/index.js")
}

/// A script of a package of `mcp-npm`, run by the Node that is pinned.
fn node_package(script: &str) -> Result<Command> {
    let mut command = Command::new(components_dir()?.join("npm/node"));
    command.arg(package(script)?);
    Ok(command)
}

/// A file of a package of `mcp-npm`.
pub(super) fn package(file: &str) -> Result<PathBuf> {
    let file = components_dir()?.join("mcp-npm/node_modules").join(file);
    ensure!(file.exists(), "{} is not installed: run tests/components/install", file.display());
    Ok(file)
}
