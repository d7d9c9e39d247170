//! What a user would pick instead: Cerbos, and OPA behind ext_authz, with the same rules in their languages and the same
//! key set. Both verify tokens, and keep verified ones in the caches that they have for it; neither records anything.
//!
//! `tests/components/bench/install` installs them. What is missing is left out, with a line that says why.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    matrix::{Matrix, Rule},
    tokens::{AUDIENCE, ISSUER},
    world::World,
};
use crate::components::{Process, free_port, repository};

/// A running peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

fn installed(what: &str) -> PathBuf {
    repository().join("target/components/bench").join(what)
}

/// Why this program is not there, or where it is.
fn program(name: &str) -> std::result::Result<PathBuf, String> {
    let path = installed(name);
    if path.is_file() {
        return Ok(path);
    }
    let skipped = fs::read_to_string(installed(&format!("{name}.skipped")));
    Err(skipped.map_or_else(|_| "run tests/components/bench/install".to_owned(), |why| why.trim().to_owned()))
}

/// Cerbos with these rules, or why it is not there.
pub(crate) async fn cerbos(world: &World, matrix: &Matrix) -> Result<std::result::Result<Peer, String>> {
    let binary = match program("cerbos") {
        Ok(binary) => binary,
        Err(why) => return Ok(Err(why)),
    };
    let folder = world.folder("cerbos")?;
    let policies = world.folder("cerbos/policies")?;
    let mut by_tool = std::collections::BTreeMap::<&str, Vec<&Rule>>::new();
    for rule in &matrix.rules {
        by_tool.entry(&rule.tool).or_default().push(rule);
    }
    for (tool, rules) in by_tool {
        fs::write(policies.join(format!("{tool}.json")), cerbos_policy(tool, &rules).to_string())?;
    }
    let (http, grpc) = (free_port()?, free_port()?);
    let configuration = json!({
        "server": { "httpListenAddr": format!("127.0.0.1:{http}"), "grpcListenAddr": format!("127.0.0.1:{grpc}") },
        "auxData": { "jwt": {
            "cacheSize": 100_000,
            "keySets": [{ "id": "corp", "local": { "file": world.key_set_file() } }],
        } },
        "storage": { "driver": "disk", "disk": { "directory": policies, "watchForChanges": false } },
        "telemetry": { "disabled": true },
    });
    let file = folder.join("conf.json");
    fs::write(&file, configuration.to_string())?;
    let mut command = Command::new(binary);
    command.arg("server").arg(format!("--config={}", file.display())).arg("--log-level=warn");
    let mut process = Process::start("cerbos", command)?;
    let health = format!("http://127.0.0.1:{http}/_cerbos/health");
    let answers = async |_: &str| {
        let answer = reqwest::get(&health).await;
        Ok(answer.is_ok_and(|answer| answer.status().is_success()).then_some(()))
    };
    process.wait_until("an answer of its health check", answers).await?;
    Ok(Ok(Peer { process, port: grpc }))
}

fn cerbos_policy(tool: &str, rules: &[&Rule]) -> Value {
    let one = |rule: &&Rule| {
        let role = json!({ "expr": format!("\"{}\" in request.aux_data.jwt.roles", rule.role) });
        let scope =
            json!({ "expr": format!("\"{}\" in request.aux_data.jwt.scope.split(\" \")", rule.scope) });
        let (effect, conditions) =
            if rule.forbids { ("EFFECT_DENY", vec![role]) } else { ("EFFECT_ALLOW", vec![role, scope]) };
        json!({
            "actions": ["call"], "effect": effect, "roles": ["*"],
            "condition": { "match": { "all": { "of": conditions } } },
        })
    };
    let rules: Vec<Value> = rules.iter().map(one).collect();
    json!({
        "apiVersion": "api.cerbos.dev/v1",
        "resourcePolicy": { "resource": tool, "version": "default", "rules": rules },
    })
}

/// OPA with these rules, or why it is not there.
pub(crate) async fn opa(world: &World, matrix: &Matrix) -> Result<std::result::Result<Peer, String>> {
    let binary = match program("opa-ext-authz") {
        Ok(binary) => binary,
        Err(why) => return Ok(Err(why)),
    };
    let file = world.folder("opa")?.join("policy.rego");
    fs::write(&file, rego(matrix, &world.key_set_file())?)?;
    let port = free_port()?;
    let mut command = Command::new(binary);
    command.arg(format!("127.0.0.1:{port}")).arg(&file);
    let mut process = Process::start("opa", command)?;
    process.wait_for_line("ready").await?;
    Ok(Ok(Peer { process, port }))
}

/// The rules begin with what OPA's index of rules can use.
fn rego(matrix: &Matrix, keys: &Path) -> Result<String> {
    let keys = fs::read_to_string(keys)?;
    let quoted = serde_json::to_string(&keys)?;
    let mut text = format!(
        "package authz\n\ndefault allow := false\n\n\
         token := substring(input.attributes.request.http.headers.authorization, 7, -1)\n\n\
         verified := io.jwt.decode_verify(token, {{\"cert\": {quoted}, \"iss\": \"{ISSUER}\", \"aud\": \"{AUDIENCE}\"}})\n\n\
         claims := verified[2] if verified[0]\n\n\
         scopes := split(claims.scope, \" \")\n\n\
         allow if {{\n  input.parsed_body.method == \"tools/call\"\n  permitted\n  not forbidden\n}}\n"
    );
    for Rule { forbids, role, tool, scope, .. } in &matrix.rules {
        let (head, scoped) = if *forbids {
            ("forbidden", String::new())
        } else {
            ("permitted", format!("  \"{scope}\" in scopes\n"))
        };
        write!(
            text,
            "\n{head} if {{\n  input.parsed_body.params.name == \"{tool}\"\n  \"{role}\" in claims.roles\n{scoped}}}\n"
        )
        .context("the rules cannot be written")?;
    }
    Ok(text)
}
