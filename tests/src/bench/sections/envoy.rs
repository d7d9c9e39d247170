//! Through Envoy: what a request costs with nobody asked, with the null server, with Palisade, and with Envoy's own JWT
//! and RBAC filters. Envoy and the server it asks share the servers' processor, as a sidecar and its proxy do.

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::{
    Run,
    compare::{self, Contender, Runs},
    envoy::{Decider, configuration},
    load::CONNECTIONS,
    matrix::Matrix,
    progress::Progress,
    report::Table,
    roles::Role,
    sides::{self, Recording, Side},
    world::World,
};

/// How many requests are out on a connection. Two servers share a processor here, and more than this would wait in queues for
/// longer than Envoy waits for an answer.
const IN_FLIGHT: usize = 4;
/// At which part of the lowest peak latencies are compared.
const PART: f64 = 0.5;

/// Measures and prints everything.
pub(in crate::bench) async fn run(run: &mut Run) -> Result<()> {
    run.report.heading("envoy: through Envoy, 100 policies, Envoy and what it asks on one processor")?;
    let (world, matrix) = (World::new()?, Matrix::new(100));
    let (_sink, sink) = sides::own(Role::Sink, None).await?;
    let otlp = format!("http://127.0.0.1:{sink}");
    let cores = &run.cores;
    let null = Side::null(cores).await?;
    let recording = Recording::Full { otlp: &otlp };
    let palisade = Side::palisade(cores, "Palisade", &world, (&matrix, 0), recording).await?;
    let mut sides = Vec::new();
    for (name, decider) in [
        ("no filter", Decider::Nobody),
        ("the null server", Decider::ExtAuthz(null.port)),
        ("Palisade", Decider::ExtAuthz(palisade.port)),
        ("Envoy's jwt_authn and rbac", Decider::Own(&matrix)),
    ] {
        let decides = name == "Palisade" || matches!(decider, Decider::Own(_));
        let side = Side::envoy(cores, name, &configuration(&world, decider, sink)?, decides).await?;
        side.compare(&world, &matrix).await?;
        sides.push(side);
    }
    let mut contenders = Vec::new();
    for side in &sides {
        let calls = side.form.warm(&world.issuer, &matrix, &matrix.load())?;
        contenders.push(Contender::warm(&side.name, side, calls).over(CONNECTIONS, IN_FLIGHT));
    }
    let effort = run.effort();
    let progress = Progress::new("envoy", compare::steps(contenders.len(), effort, 2));
    let peaks = compare::peaks(&contenders, effort, cores, &progress)?;
    let lowest = peaks.iter().map(|runs| runs.peak().median).fold(f64::INFINITY, f64::min);
    let rate = lowest * PART;
    let level = compare::at_rate(rate, &contenders, effort, cores, &progress)?;
    drop(progress);
    print(run, rate, &contenders, &peaks, &level)
}

fn print(
    run: &mut Run,
    rate: f64,
    contenders: &[Contender<'_>],
    peaks: &[Runs],
    level: &[Runs],
) -> Result<()> {
    let (Some(bare), Some(calm)) = (peaks.first(), level.first()) else { return Ok(()) };
    run.report.line(&format!(
        "latencies at {rate:.0} a second for all; `added` is against no filter, round by round"
    ))?;
    let mut table = Table::new([
        "",
        "peak per s",
        "rounds",
        "of no filter",
        "p50 us",
        "added",
        "p99 us",
        "added",
        "late",
    ]);
    let mut rows = Vec::new();
    for ((contender, runs), at) in contenders.iter().zip(peaks).zip(level) {
        let (peak, ratio) = (runs.peak(), runs.throughput_ratio(bare));
        let added = |thousandths| at.latency_added(calm, thousandths);
        table.row([
            contender.name.clone(),
            format!("{:.0}", peak.median),
            format!("{:.0} to {:.0}", peak.lowest, peak.highest),
            format!("{:.2}", ratio.median),
            format!("{:.0}", at.latency(500).median),
            format!("{:+.0}", added(500).median),
            format!("{:.0}", at.latency(990).median),
            format!("{:+.0}", added(990).median),
            runs.late(),
        ]);
        rows.push(json!({
            "what": contender.name, "peak_per_s": peak.report(), "of_no_filter": ratio.report(),
            "p50_us": at.latency(500).report(), "p99_us": at.latency(990).report(),
            "added_p50_us": added(500).report(), "added_p99_us": added(990).report(),
        }));
    }
    table.print()?;
    run.report.keep("envoy", json!({ "rate_per_s": rate, "sides": Value::Array(rows) }));
    Ok(())
}
