//! `graphql-js`, the reference implementation: what it asks of a schema, and what it makes of the answer, is what clients do.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::components_dir;

const SCRIPT: &str = include_str!("../../components/hive/client-schema.mjs");

/// The introspection query of clients.
///
/// # Errors
/// If it is not installed.
pub fn introspection_query() -> Result<String> {
    run("query", "")
}

/// The schema in the answer to that, as text.
///
/// # Errors
/// When the answer is none, or the schema in it is not valid: with what `graphql-js` says.
pub fn client_schema(answer: &Value) -> Result<String> {
    run("schema", &answer.to_string())
}

fn run(what: &str, input: &str) -> Result<String> {
    let components = components_dir()?;
    let mut command = Command::new(components.join("npm/node"));
    // A script that is given as text finds its packages from the working folder.
    command.args(["--input-type=module", "-e", SCRIPT, what]).current_dir(components.join("hive"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("it has no input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
