//! The benchmark of the whole: Palisade against the limit and against what else one could take, in one run.
//!
//! Every section starts its servers as processes of their own, asks all of them the same and holds the answers against
//! each other before it takes any time, measures in turns, and prints ratios: they hold on a machine that others use.
//! Nothing here is part of the service.

mod answer;
mod calls;
mod cedar;
mod compare;
mod cores;
mod envoy;
mod latency;
mod load;
mod matrix;
mod mcp;
mod peers;
mod progress;
mod report;
mod roles;
mod sections;
mod sides;
mod tokens;
mod usage;
mod world;

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use compare::Effort;
use cores::Cores;
use report::Report;
use roles::Role;

/// Measures `palisade serve` against a server that decides nothing, and against Cerbos, OPA, Cedar and Envoy's own
/// filters.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Example:\n  cargo run --release -p palisade-tests --bin bench -- --only peers --quick"
)]
struct Options {
    /// Shorter and fewer rounds, and no more than 10,000 policies.
    #[arg(long)]
    quick: bool,
    /// Run this section only; may be given several times.
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Section>,
    /// Write everything that was measured to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Let the system choose the processors of servers and load.
    #[arg(long)]
    unpinned: bool,
    /// Start every side of the sections `peers`, `gateway` and `graphql`, hold their answers against each other, and measure nothing.
    #[arg(long)]
    check: bool,
    /// Put Palisade under full load for so long, print its process id, and measure nothing: for a profiler.
    #[arg(long, value_name = "SECONDS")]
    profile: Option<u64>,
    /// With so many policies.
    #[arg(long, value_name = "NUMBER", requires = "profile", default_value_t = 100)]
    policies: usize,
    #[arg(long, hide = true, value_enum)]
    role: Option<Role>,
    /// What the server of a role is given.
    #[arg(long, hide = true, requires = "role")]
    given: Option<String>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Throughput, latency, processor time and memory against the null server, Cerbos, OPA and Cedar.
    Peers,
    /// The cost as policies, entities, scopes and connections grow by tens.
    Growth,
    /// Through Envoy: no filter, the null server, Palisade, Envoy's own JWT and RBAC filters.
    Envoy,
    /// The MCP gateway against its upstream alone; lists of 1,000 tools; the adapter in the process against a service beside.
    Gateway,
    /// GraphQL: operations of 10, 100 and 1,000 fields against a call of one tool; a router that asks against one that judges by itself.
    Graphql,
    /// A reload of many policies under load.
    Reload,
    /// From the start until ready.
    Startup,
}

/// What every section is given.
#[derive(Debug)]
struct Run {
    cores: Cores,
    quick: bool,
    report: Report,
}

impl Run {
    /// How long and how often is measured.
    fn effort(&self) -> Effort {
        if self.quick {
            Effort { rounds: 3, length: Duration::from_millis(500) }
        } else {
            Effort { rounds: 7, length: Duration::from_secs(1) }
        }
    }

    /// The largest policy set.
    fn most_policies(&self) -> usize {
        if self.quick { 10_000 } else { 100_000 }
    }
}

/// Runs what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.role {
        Some(role) => role.serve(options.given.as_deref()),
        None => measure(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Builds what is measured, where cargo runs this.
fn build() -> Result<()> {
    let Some(cargo) = env::var_os("CARGO") else { return Ok(()) };
    let release: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let built = Command::new(cargo)
        .args(["build", "--locked", "--quiet", "-p", "palisade"])
        .args(release)
        .status()?;
    ensure!(built.success(), "palisade cannot be built");
    Ok(())
}

fn measure(options: &Options) -> Result<()> {
    build()?;
    let cores = if options.unpinned { Cores::shared() } else { Cores::apart()? };
    cores.take_generators()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut run = Run { cores, quick: options.quick, report: Report::default() };
    if options.check {
        return runtime.block_on(async {
            sections::peers::check(&mut run).await?;
            sections::gateway::check(&mut run).await?;
            sections::graphql::check(&mut run).await
        });
    }
    run.report.line(&format!("{cores}"))?;
    if cfg!(debug_assertions) {
        run.report.line("a debug build: what it measures says nothing")?;
    }
    if let Some(seconds) = options.profile {
        let length = Duration::from_secs(seconds);
        return runtime.block_on(sections::peers::profile(&mut run, options.policies, length));
    }
    let wanted = |section: &&Section| options.only.is_empty() || options.only.contains(section);
    let mut failed = Vec::new();
    for section in Section::value_variants().iter().filter(wanted) {
        let measured = runtime.block_on(async {
            match section {
                Section::Peers => sections::peers::run(&mut run).await,
                Section::Growth => sections::growth::run(&mut run).await,
                Section::Envoy => sections::envoy::run(&mut run).await,
                Section::Gateway => sections::gateway::run(&mut run).await,
                Section::Graphql => sections::graphql::run(&mut run).await,
                Section::Reload => sections::reload::run(&mut run).await,
                Section::Startup => sections::startup::run(&mut run).await,
            }
        });
        // What the others measure is not lost with it.
        if let Err(error) = measured {
            run.report.line(&format!("{section:?} failed: {error:#}"))?;
            failed.push(format!("{section:?}"));
        }
    }
    let measured = run.report.finish()?;
    if let Some(file) = &options.json {
        fs::write(file, format!("{measured:#}\n")).with_context(|| file.display().to_string())?;
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}
