//! What a decision costs as policies, stored entities, scopes in tokens and connections grow by tens.

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::{
    Run,
    compare::{self, Contender, Effort, Runs},
    load::{CONNECTIONS, IN_FLIGHT},
    matrix::Matrix,
    progress::Progress,
    report::{Bound, Table},
    roles::Role,
    sides::{self, Recording, Side},
    world::World,
};

const POLICIES: usize = 100;
const SCOPES: [usize; 3] = [10, 100, 1_000];
const CONNECTED: [usize; 4] = [1, 10, 100, 1_000];

/// Measures and prints everything.
pub(in crate::bench) async fn run(run: &mut Run) -> Result<()> {
    let (_sink, port) = sides::own(Role::Sink, None).await?;
    let otlp = format!("http://127.0.0.1:{port}");
    run.report.heading("growth: Palisade, audit written, OTLP on, at its peak")?;
    policies(run, &otlp).await?;
    entities(run, &otlp).await?;
    let world = World::new()?;
    let matrix = Matrix::new(POLICIES);
    let recording = Recording::Full { otlp: &otlp };
    let side = Side::palisade(&run.cores, "Palisade", &world, (&matrix, 0), recording).await?;
    scopes(run, &world, &side)?;
    connections(run, &world, &matrix, &side).await
}

/// Sizes by tens up to the largest.
fn tens(from: usize, to: usize) -> Vec<usize> {
    std::iter::successors(Some(from), |size| Some(size * 10)).take_while(|size| *size <= to).collect()
}

async fn policies(run: &mut Run, otlp: &str) -> Result<()> {
    let (world, sizes) = (World::new()?, tens(POLICIES, run.most_policies()));
    let mut all = Vec::new();
    for size in &sizes {
        let matrix = Matrix::new(*size);
        let name = format!("{size} policies");
        let side = Side::palisade(&run.cores, &name, &world, (&matrix, 0), Recording::Full { otlp }).await?;
        // The right answers of the largest sets take long to find out, and are found out for all others.
        if *size <= 10_000 {
            side.compare(&world, &matrix).await?;
        }
        let calls = side.form.warm(&world.issuer, &matrix, &matrix.load())?;
        all.push((side, calls));
    }
    let contenders: Vec<_> =
        all.iter().map(|(side, calls)| Contender::warm(&side.name, side, calls.clone())).collect();
    let peaks = measure(run, "policies", &contenders)?;
    if let (Some(first), Some(last), Some((largest, _))) = (peaks.first(), peaks.last(), all.last()) {
        let lost = (1.0 - last.throughput_ratio(first).median) * 100.0;
        let what = format!("throughput lost from 100 to {}", largest.name);
        run.report.target(&what, lost, Bound::Below(10.0), " %");
        if sizes.contains(&100_000) {
            let resident = largest.memory()?.resident;
            run.report.target("resident memory, 100,000 policies", resident, Bound::Below(500.0), " MiB");
        }
    }
    Ok(())
}

async fn entities(run: &mut Run, otlp: &str) -> Result<()> {
    let (world, matrix) = (World::new()?, Matrix::new(POLICIES));
    let mut all = Vec::new();
    for size in [0].into_iter().chain(tens(1_000, run.most_policies())) {
        let name = format!("{size} stored entities");
        let recording = Recording::Full { otlp };
        let side = Side::palisade(&run.cores, &name, &world, (&matrix, size), recording).await?;
        side.compare(&world, &matrix).await?;
        all.push(side);
    }
    let mut contenders = Vec::new();
    for side in &all {
        let calls = side.form.warm(&world.issuer, &matrix, &matrix.load())?;
        contenders.push(Contender::warm(&side.name, side, calls));
    }
    measure(run, "entities", &contenders).map(drop)
}

fn scopes(run: &mut Run, world: &World, side: &Side) -> Result<()> {
    let mut contenders = Vec::new();
    for scopes in SCOPES {
        let matrix = Matrix::with_scopes(POLICIES, scopes);
        let calls = side.form.warm(&world.issuer, &matrix, &matrix.load())?;
        contenders.push(Contender::warm(&format!("tokens of {scopes} scopes"), side, calls));
    }
    measure(run, "scopes", &contenders).map(drop)
}

async fn connections(run: &mut Run, world: &World, matrix: &Matrix, side: &Side) -> Result<()> {
    let null = Side::null(&run.cores).await?;
    let calls = side.form.warm(&world.issuer, matrix, &matrix.load())?;
    let mut contenders = Vec::new();
    for connections in CONNECTED {
        // The same number of requests is out over all of them, and at least one on each.
        let in_flight = (CONNECTIONS * IN_FLIGHT / connections).max(1);
        for side in [side, &null] {
            let name = format!("{} over {connections} connections", side.name);
            contenders.push(Contender::warm(&name, side, calls.clone()).over(connections, in_flight));
        }
    }
    measure(run, "connections", &contenders).map(drop)
}

fn measure(run: &mut Run, what: &str, contenders: &[Contender<'_>]) -> Result<Vec<Runs>> {
    let effort = Effort { rounds: run.effort().rounds.min(5), ..run.effort() };
    let progress = Progress::new(what, compare::steps(contenders.len(), effort, 1));
    let peaks = compare::peaks(contenders, effort, &run.cores, &progress)?;
    drop(progress);
    run.report.line("")?;
    let mut table = Table::new([what, "per s", "rounds", "of the first", "us CPU", "p99 us", "MiB", "late"]);
    let Some(first) = peaks.first() else { return Ok(peaks) };
    let mut rows = Vec::new();
    for (contender, runs) in contenders.iter().zip(&peaks) {
        let (peak, cost, resident) = (runs.peak(), runs.cost(), contender.side.memory()?.resident);
        let ratio = runs.throughput_ratio(first);
        table.row([
            contender.name.clone(),
            format!("{:.0}", peak.median),
            format!("{:.0} to {:.0}", peak.lowest, peak.highest),
            format!("{:.2}", ratio.median),
            format!("{:.1}", cost.median),
            format!("{:.0}", runs.latency(990).median),
            format!("{resident:.0}"),
            runs.late(),
        ]);
        rows.push(json!({
            "what": contender.name, "peak_per_s": peak.report(), "of_first": ratio.report(),
            "cpu_us": cost.report(), "resident_mib": resident,
        }));
    }
    table.print()?;
    run.report.keep(what, Value::Array(rows));
    Ok(peaks)
}
