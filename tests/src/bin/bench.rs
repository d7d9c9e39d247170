//! Measures the running service: what a reload of many policies costs those who ask meanwhile, and what it costs in
//! memory.
//!
//! ```text
//! cargo build --release -p palisade
//! cargo run --release -p palisade-tests --bin bench -- [--policies 100000] [--rate 300] [--seconds 15] [--json FILE]
//! ```
//!
//! Requests go out at a fixed rate, whether or not earlier ones have been answered, and latencies count from the moment
//! a request was meant to go out, so that a stall is not hidden. Both phases, without and with reloads, are measured in
//! one run, and what is printed of them is a ratio: times of a busy machine say little.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints what it measures")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use palisade_tests::{components::OidcProvider, service::Palisade};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const TOOLS: usize = 1_000;
const ROLES: usize = 5_000;
/// Policies in one file.
const A_FILE: usize = 1_000;
/// Reloads that are measured.
const RELOADS: usize = 3;

struct Settings {
    policies: usize,
    rate: u32,
    seconds: u64,
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let settings = settings()?;
    let folder = tempfile::tempdir()?;
    write_policies(folder.path(), settings.policies)?;
    let provider = provider().await?;
    let began = Instant::now();
    let mut palisade = Palisade::start(&configuration(folder.path(), provider.issuer()), "").await?;
    palisade.wait_for_readiness(200).await?;
    let ready = began.elapsed();
    let pid = palisade.process()?.pid();
    let token = provider.token("bench", "https://mcp.example.com/demo", "").await?;
    let load = Load {
        url: format!("http://127.0.0.1:{}/authz/demo", palisade.decision),
        token,
        rate: settings.rate,
    };
    load.run(Duration::from_secs(3)).await?;

    let quiet = load.run(Duration::from_secs(settings.seconds)).await?;
    let steady = memory(pid)?;
    let (busy, took) = reloads(&palisade, folder.path(), &load).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = memory(pid)?;

    let report = json!({
        "policies": settings.policies,
        "rate_per_s": settings.rate,
        "start_to_ready_s": ready.as_secs_f64(),
        "reload_s": took.iter().map(Duration::as_secs_f64).collect::<Vec<_>>(),
        "without_reload": quiet.report(),
        "during_reloads": busy.report(),
        "p99_ratio": ratio(busy.at(0.99), quiet.at(0.99)),
        "resident_mib": { "steady": steady.resident, "after_reloads": after.resident, "peak": after.peak },
    });
    print(&report)?;
    if let Some(file) = settings.json {
        fs::write(&file, format!("{report:#}\n")).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn settings() -> Result<Settings> {
    let mut settings = Settings { policies: 100_000, rate: 300, seconds: 15, json: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--help" {
            bail!("[--policies 100000] [--rate 300] [--seconds 15] [--json FILE]");
        }
        let value = arguments.next().with_context(|| format!("`{argument}` needs a value; see --help"))?;
        match argument.as_str() {
            "--policies" => settings.policies = value.parse().context("--policies")?,
            "--rate" => settings.rate = value.parse().context("--rate")?,
            "--seconds" => settings.seconds = value.parse().context("--seconds")?,
            "--json" => settings.json = Some(value.into()),
            _ => bail!("there is no option `{argument}`; see --help"),
        }
    }
    ensure!(settings.rate > 0 && settings.policies > 0, "--rate and --policies are at least 1");
    Ok(settings)
}

/// A provider with a user of 5 roles, whose tokens have 20 scopes.
async fn provider() -> Result<OidcProvider> {
    let roles: Vec<String> = (0..5).map(|role| format!("r{role}")).collect();
    let scope: Vec<String> = (0..20).map(|scope| format!("s{scope}")).collect();
    OidcProvider::start_with(&json!({
        "users": { "bench": { "roles": roles, "permissions": scope } },
    }))
    .await
}

/// Most policies by role, tool and scope, some by attribute, a few forbids: what many teams write over time.
fn write_policies(folder: &Path, count: usize) -> Result<()> {
    let mut text = String::new();
    for number in 0..count {
        let (role, tool, scope) = (number % ROLES, number % TOOLS, number % 50);
        let call = "action in Mcp::Action::\"tools/call\"";
        if number % 100 == 99 {
            writeln!(
                text,
                "@id(\"p{number}\") forbid (principal in Role::\"corp/x{role}\", {call}, resource == Mcp::Tool::\"demo/t{tool}\");"
            )?;
        } else {
            writeln!(
                text,
                "@id(\"p{number}\") permit (principal in Role::\"corp/r{role}\", {call}, resource == Mcp::Tool::\"demo/t{tool}\")\n  \
                 when {{ context.scopes.contains(\"s{scope}\") }};"
            )?;
        }
        if (number + 1) % A_FILE == 0 || number + 1 == count {
            fs::write(folder.join(format!("part{:05}.cedar", number / A_FILE)), std::mem::take(&mut text))?;
        }
    }
    let tools: Vec<Value> = (0..TOOLS)
        .map(|tool| json!({ "name": format!("t{tool}"), "inputSchema": {"type": "object"} }))
        .collect();
    fs::write(folder.join("tools.json"), json!({ "tools": tools }).to_string())?;
    Ok(())
}

fn configuration(folder: &Path, issuer: &str) -> String {
    format!(
        "policies: {{path: {folder}}}\nissuers:\n  corp: {{issuer: \"{issuer}\", network: {{private: true}}, claims: {{roles: [roles]}}}}\n\
         resources:\n  demo:\n    identifier: https://mcp.example.com/demo\n    kind: mcp\n    issuers: [corp]\n    tools: {{catalog: {folder}/tools.json}}\n",
        folder = folder.display()
    )
}

/// Changes the policies and loads the service until each change is in force.
async fn reloads(palisade: &Palisade, folder: &Path, load: &Load) -> Result<(Latencies, Vec<Duration>)> {
    let (mut all, mut took) = (Latencies(Vec::new()), Vec::new());
    for round in 0..RELOADS {
        let before = revision(palisade).await?;
        let policy =
            format!("@id(\"round\") forbid (principal in Role::\"corp/nobody{round}\", action, resource);\n");
        fs::write(folder.join("round.cedar"), policy)?;
        let began = Instant::now();
        while revision(palisade).await? == before {
            ensure!(began.elapsed() < Duration::from_secs(120), "the reload takes longer than two minutes");
            all.0.extend(load.run(Duration::from_secs(1)).await?.0);
        }
        took.push(began.elapsed());
    }
    Ok((all, took))
}

async fn revision(palisade: &Palisade) -> Result<String> {
    let detail: Value = serde_json::from_str(&palisade.admin("/readyz").await?)?;
    Ok(detail.get("revision").and_then(Value::as_str).context("no revision in /readyz")?.to_owned())
}

struct Load {
    url: String,
    token: String,
    rate: u32,
}

impl Load {
    /// Sends at the rate for this long. Every answer must be a permit.
    async fn run(&self, length: Duration) -> Result<Latencies> {
        let client = reqwest::Client::builder().pool_max_idle_per_host(64).build()?;
        let begin = Instant::now() + Duration::from_millis(10);
        let mut under_way = JoinSet::new();
        let mut sent = 0_u32;
        while Duration::from_secs(1) * sent / self.rate < length {
            let meant = begin + Duration::from_secs(1) * sent / self.rate;
            tokio::time::sleep_until(meant.into()).await;
            // The tools that a policy permits this user with the roles 0 to 4.
            let body = json!({
                "jsonrpc": "2.0", "id": sent, "method": "tools/call", "params": {"name": format!("t{}", sent % 5), "arguments": {}},
            });
            let request = client
                .post(&self.url)
                .bearer_auth(&self.token)
                .header("content-type", "application/json")
                .body(body.to_string());
            under_way.spawn(async move {
                let answer = request.send().await?;
                ensure!(answer.status() == 200, "{}: {}", answer.status(), answer.text().await?);
                Ok(meant.elapsed())
            });
            sent += 1;
        }
        let answered: Vec<Result<Duration>> = under_way.join_all().await;
        let mut latencies = answered.into_iter().collect::<Result<Vec<_>>>()?;
        latencies.sort_unstable();
        Ok(Latencies(latencies))
    }
}

struct Latencies(Vec<Duration>);

impl Latencies {
    /// The latency that this part of the requests stays below.
    fn at(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a few thousand latencies"
        )]
        let index = (sorted.len() as f64 * part) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn report(&self) -> Value {
        let millis = |part| self.at(part).as_secs_f64() * 1e3;
        json!({ "requests": self.0.len(), "p50_ms": millis(0.5), "p99_ms": millis(0.99), "p999_ms": millis(0.999) })
    }
}

struct Memory {
    resident: u64,
    peak: u64,
}

/// Resident memory in MiB, now and at its highest.
fn memory(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        let kib: u64 = line.split_whitespace().next().context("no number")?.parse()?;
        Ok(kib / 1024)
    };
    Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(1e-9)
}

fn print(report: &Value) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(report)?);
    Ok(())
}
