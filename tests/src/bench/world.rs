//! What the servers are given: keys, tools, policies and Palisade's configuration, in one folder.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    matrix::{Matrix, TOOLS, tool_name},
    tokens::{AUDIENCE, ISSUER, TokenIssuer},
};

/// Policies in one file.
const A_FILE: usize = 1_000;

/// The folder, and the issuer whose key set is in it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) issuer: TokenIssuer,
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let (issuer, folder) = (TokenIssuer::generate()?, TempDir::new()?);
        fs::write(folder.path().join("jwks.json"), issuer.key_set()?.to_string())?;
        let tools: Vec<Value> = (0..TOOLS)
            .map(|tool| json!({ "name": tool_name(tool), "inputSchema": {"type": "object"} }))
            .collect();
        fs::write(folder.path().join("tools.json"), json!({ "tools": tools }).to_string())?;
        Ok(Self { issuer, folder })
    }

    pub(crate) fn key_set_file(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    /// A new folder of this name below the world's.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }

    /// The rules as Cedar policies, with as many stored entities as told: roles, each of them in a team.
    pub(crate) fn policies(&self, matrix: &Matrix, entities: usize) -> Result<PathBuf> {
        let folder = self.folder(&format!("policies-{}-{entities}", matrix.rules.len()))?;
        for (number, rules) in matrix.rules.chunks(A_FILE).enumerate() {
            let mut text = String::new();
            for rule in rules {
                writeln!(text, "{}", super::cedar::policy(rule))?;
            }
            fs::write(folder.join(format!("part{number:05}.cedar")), text)?;
        }
        if entities > 0 {
            let role = |number: usize| {
                let team = json!({ "type": "Role", "id": format!("team{}", number % 100) });
                json!({ "uid": { "type": "Role", "id": format!("corp/r{number}") }, "attrs": {}, "parents": [team] })
            };
            let teams = (0..100).map(|team| {
                json!({ "uid": { "type": "Role", "id": format!("team{team}") }, "attrs": {}, "parents": [] })
            });
            let all: Vec<Value> = teams.chain((0..entities).map(role)).collect();
            fs::write(folder.join("entities.json"), Value::Array(all).to_string())?;
        }
        Ok(folder)
    }

    /// Palisade's configuration, with the collector's endpoint for traces and metrics.
    pub(crate) fn configuration(&self, policies: &Path, otlp: Option<&str>) -> String {
        let telemetry = otlp
            .map(|endpoint| format!("telemetry: {{otlp: {{endpoint: \"{endpoint}\"}}}}\n"))
            .unwrap_or_default();
        format!(
            "{telemetry}policies: {{path: {policies}}}\n\
             issuers:\n  corp: {{issuer: \"{ISSUER}\", jwks: {{file: {keys}}}, claims: {{roles: [roles]}}}}\n\
             resources:\n  demo: {{identifier: {AUDIENCE}, kind: mcp, issuers: [corp], tools: {{catalog: {folder}/tools.json}}, rate_limits: off}}\n",
            policies = policies.display(),
            keys = self.key_set_file().display(),
            folder = self.folder.path().display(),
        )
    }
}
