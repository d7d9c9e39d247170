//! MCP: the gateway against the server behind it alone, the filter of a list of 1,000 tools, and the adapter with a decision
//! point in its process against a service beside it.
//!
//! In the timed part everything that is asked is permitted, and nothing but the result itself is an answer: one refusal makes the
//! run fail. So that none comes for want of time where more is asked than a processor answers, decisions may take long.
//!
//! Clients speak HTTP/1.1. Whatever an answer takes runs on the servers' processor, the MCP server itself with it: against
//! one that does as little as one can, what is added looks as large as it can.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    bench::{
        Run,
        calls::{self, Form},
        compare::{self, Contender, Runs},
        load::Call,
        matrix::{Matrix, TOOLS, tool_name},
        progress::Progress,
        report::Table,
        roles::Role,
        sides::{self, Side},
        tokens::{Algorithm, Holder},
        world::World,
    },
    components::{Process, free_port},
    service::Palisade,
};

/// How many clients wait for an answer at once.
const CLIENTS: usize = 16;
/// The same of lists, each of which is a few hundred kilobytes.
const LIST_CLIENTS: usize = 4;
/// At which part of the lowest peak latencies are compared.
const PART: f64 = 0.5;
/// Who may call every tool.
const EVERYBODY: &str = "everything";
/// How many subjects' lists are compared.
const COMPARED: usize = 10;

/// How long a decision may take.
const PATIENT: &str = "limits: {deadline: 2s}\n";

/// Beside the rules about tools: everybody may ask for the list, and one may call everything.
const MORE_POLICIES: &str = r#"
@id("list") permit (principal is User, action == Mcp::Action::"tools/list", resource == Mcp::Server::"demo");
@id("everything") permit (principal == User::"corp/everything", action in Mcp::Action::"tools/call", resource in Mcp::Server::"demo");
"#;

/// Every server: all answer the same clients with the same MCP server.
struct Sides {
    direct: Side,
    gateway: Side,
    in_process: Side,
    remote: Side,
    // What the others ask, and what they export to.
    _service: Palisade,
    _sink: Process,
}

impl Sides {
    async fn start(run: &Run, world: &World, matrix: &Matrix) -> Result<Self> {
        let policies = world.policies(matrix, 0)?;
        fs::write(policies.join("more.cedar"), MORE_POLICIES)?;
        let (sink, otlp) = sides::own(Role::Sink, None).await?;
        let configuration = world.configuration(&policies, Some(&format!("http://127.0.0.1:{otlp}")));
        let configuration = format!("{PATIENT}{configuration}");
        let cores = &run.cores;
        let direct = Side::mcp(cores, "the server alone", None).await?;
        let port = free_port()?;
        let behind = format!(
            "{configuration}gateway:\n  address: 127.0.0.1:{port}\n  upstreams: {{demo: {{url: \"http://127.0.0.1:{}/mcp\"}}}}\n",
            direct.port
        );
        let gateway = Side::gateway(cores, "behind the gateway", &behind, port, &direct).await?;
        let own = own_configuration(world, &configuration)?;
        let in_process = Side::mcp(cores, "adapter, decided in the process", Some(&own)).await?;
        let service = sides::service(cores, &configuration, "").await?;
        let url = format!("http://127.0.0.1:{}", service.decision);
        let remote = Side::mcp(cores, "adapter, decided by a service", Some(&url)).await?;
        let remote = remote.with(service.pid().context("it does not run")?);
        Ok(Self { direct, gateway, in_process, remote, _service: service, _sink: sink })
    }

    fn all(&self) -> [&Side; 4] {
        [&self.direct, &self.gateway, &self.in_process, &self.remote]
    }

    /// Asks all the same, and holds the answers against the rules and against each other.
    async fn compare(&self, world: &World, matrix: &Matrix) -> Result<()> {
        let permitted: Vec<_> =
            matrix.questions(0..COMPARED).into_iter().filter(|question| question.permitted).collect();
        let permitted = Form::Client.warm(&world.issuer, matrix, &permitted)?;
        let plain = self.direct.answers(&permitted).await?;
        for side in self.all() {
            side.compare(world, matrix).await?;
            ensure!(side.answers(&permitted).await? == plain, "{} answers otherwise", side.name);
            for subject in 0..COMPARED {
                let list = calls::list(&token(world, &matrix.holder(subject))?)?;
                let sees = |tool: &usize| side.name == self.direct.name || matrix.permits(subject, *tool);
                compare_list(side, list, (0..TOOLS).filter(sees)).await?;
            }
            compare_list(side, calls::list(&token(world, &everybody())?)?, 0..TOOLS).await?;
        }
        Ok(())
    }
}

/// The configuration file of a decision point inside another program.
fn own_configuration(world: &World, configuration: &str) -> Result<String> {
    let folder = world.folder("adapter")?;
    let file = folder.join("palisade.yaml");
    let text = format!(
        "version: 1\nlisten:\n  decision: {{address: 127.0.0.1:0}}\n  public: {{address: 127.0.0.1:0}}\n  admin: {{address: 127.0.0.1:0}}\n\
         audit: {{path: audit}}\n{configuration}"
    );
    fs::write(&file, text)?;
    Ok(file.to_str().context("a path that is no text")?.to_owned())
}

fn everybody() -> Holder {
    Holder { subject: EVERYBODY.to_owned(), roles: Vec::new(), scopes: Vec::new() }
}

fn token(world: &World, holder: &Holder) -> Result<String> {
    world.issuer.token(Algorithm::Es256, holder, 0)
}

/// Holds a list against the tools that it has to show, in their order.
async fn compare_list(side: &Side, list: Call, expected: impl Iterator<Item = usize>) -> Result<()> {
    let answers = side.answers(&[list]).await?;
    let (permitted, body) = answers.first().context("no answer")?;
    ensure!(*permitted, "{} denies a list: {}", side.name, String::from_utf8_lossy(body));
    let message: Value = serde_json::from_slice(body)?;
    let tools = message.pointer("/result/tools").and_then(Value::as_array).context("no list")?;
    let shown: Vec<&str> = tools.iter().filter_map(|tool| tool.get("name")?.as_str()).collect();
    let expected: Vec<String> = expected.map(tool_name).collect();
    ensure!(shown == expected, "{} shows {shown:?} in place of {expected:?}", side.name);
    Ok(())
}

/// Starts every side and compares the answers.
pub(in crate::bench) async fn check(run: &mut Run) -> Result<()> {
    let (world, matrix) = (World::new()?, Matrix::new(100));
    let sides = Sides::start(run, &world, &matrix).await?;
    sides.compare(&world, &matrix).await?;
    let names = sides.all().map(|side| side.name.as_str());
    run.report.line(&format!("the same MCP answers: {}", names.join("; ")))
}

/// Measures and prints everything.
pub(in crate::bench) async fn run(run: &mut Run) -> Result<()> {
    run.report
        .heading("gateway: MCP over HTTP/1.1, 100 policies, all that an answer takes on one processor")?;
    let (world, matrix) = (World::new()?, Matrix::new(100));
    let sides = Sides::start(run, &world, &matrix).await?;
    sides.compare(&world, &matrix).await?;
    let permitted: Vec<_> = matrix.load().into_iter().filter(|question| question.permitted).collect();
    let calls = Form::Client.warm(&world.issuer, &matrix, &permitted)?;
    let some = |subject| calls::list(&token(&world, &matrix.holder(subject))?);
    let few = (0..100).map(some).collect::<Result<Vec<_>>>()?;
    let all = vec![calls::list(&token(&world, &everybody())?)?];
    let Sides { direct, gateway, in_process, remote, .. } = &sides;
    let behind = [direct, gateway];
    let adapters = [direct, in_process, remote];
    for (key, what, clients, calls, sides) in [
        ("calls", "tools/call", CLIENTS, &calls, behind.as_slice()),
        ("list_few", "tools/list of 1,000 tools, of which at most 5 are shown", LIST_CLIENTS, &few, &behind),
        ("list_all", "tools/list of 1,000 tools, all of which are shown", LIST_CLIENTS, &all, &behind),
        ("adapter_calls", "tools/call", CLIENTS, &calls, &adapters),
        (
            "adapter_list_few",
            "tools/list of 1,000 tools, of which at most 5 are shown",
            LIST_CLIENTS,
            &few,
            &adapters,
        ),
    ] {
        measure(run, (key, what), clients, calls, sides)?;
    }
    Ok(())
}

/// One kind of request, asked of several sides in turns.
fn measure<'a>(
    run: &mut Run,
    (key, what): (&str, &str),
    clients: usize,
    calls: &[Call],
    sides: &[&'a Side],
) -> Result<()> {
    let contender =
        |side: &&'a Side| Contender::warm(&side.name, side, calls.to_vec()).over(clients, 1).strict();
    let contenders: Vec<Contender<'a>> = sides.iter().map(contender).collect();
    let effort = run.effort();
    let progress = Progress::new(key, compare::steps(contenders.len(), effort, 2));
    let peaks = compare::peaks(&contenders, effort, &run.cores, &progress)?;
    let lowest = peaks.iter().map(|runs| runs.peak().median).fold(f64::INFINITY, f64::min);
    let rate = lowest * PART;
    let level = compare::at_rate(rate, &contenders, effort, &run.cores, &progress)?;
    drop(progress);
    print(run, (key, what), rate, &contenders, &peaks, &level)
}

fn print(
    run: &mut Run,
    (key, what): (&str, &str),
    rate: f64,
    contenders: &[Contender<'_>],
    peaks: &[Runs],
    level: &[Runs],
) -> Result<()> {
    let (Some(bare), Some(calm)) = (peaks.first(), level.first()) else { return Ok(()) };
    run.report.line(&format!(
        "\n{what}: latencies at {rate:.0} a second for all; `of` and `added` are against the server alone, round by round"
    ))?;
    let heading = [
        "",
        "peak per s",
        "rounds",
        "of",
        "us of processor",
        "p50 us",
        "added",
        "p99 us",
        "added",
        "load's processor: at peak, then",
    ];
    let (mut table, mut rows) = (Table::new(heading), Vec::new());
    for ((contender, runs), at) in contenders.iter().zip(peaks).zip(level) {
        let (peak, ratio, cost) = (runs.peak(), runs.throughput_ratio(bare), runs.cost());
        let added = |thousandths| at.latency_added(calm, thousandths);
        table.row([
            contender.name.clone(),
            format!("{:.0}", peak.median),
            format!("{:.0} to {:.0}", peak.lowest, peak.highest),
            format!("{:.2}", ratio.median),
            format!("{:.0}", cost.median),
            format!("{:.0}", at.latency(500).median),
            format!("{:+.0}", added(500).median),
            format!("{:.0}", at.latency(990).median),
            format!("{:+.0}", added(990).median),
            format!("{}, {}", runs.generator(), at.generator()),
        ]);
        rows.push(json!({
            "what": contender.name, "peak_per_s": peak.report(), "of_server_alone": ratio.report(), "cost_us": cost.report(),
            "p50_us": at.latency(500).report(), "p99_us": at.latency(990).report(),
            "added_p50_us": added(500).report(), "added_p99_us": added(990).report(), "answered": runs.answered, "refused": runs.late + at.late,
        }));
    }
    table.print()?;
    run.report.keep(
        &format!("gateway_{key}"),
        json!({ "what": what, "rate_per_s": rate, "sides": Value::Array(rows) }),
    );
    Ok(())
}
