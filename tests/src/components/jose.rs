//! `jose`, a JWT library that has nothing of ours: what it says of a token is what another's resource server would say.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::components_dir;

const SCRIPT: &str = include_str!("../../components/jose/verify.mjs");

/// Verifies an access token by its issuer's metadata and keys, and returns its claims.
///
/// # Errors
/// When the token is not accepted, with what `jose` says.
pub fn verify_with_jose(issuer: &str, audience: &str, token: &str) -> Result<Value> {
    let npm = components_dir()?.join("npm");
    let mut command = Command::new(npm.join("node"));
    // A script that is given as text finds its packages from the working folder.
    command.args(["--input-type=module", "-e", SCRIPT, issuer, audience]).current_dir(npm);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("it has no input")?.write_all(token.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
