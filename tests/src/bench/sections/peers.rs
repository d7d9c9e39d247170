//! What a decision costs over ext_authz, between the server that decides nothing and what else one could take.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::bench::{
    Run,
    calls::Form,
    cedar,
    compare::{self, Contender, Runs},
    latency::{Rounds, float, micros},
    load::Call,
    matrix::{Matrix, Question, SUBJECTS},
    peers,
    progress::Progress,
    report::{Bound, Table},
    roles::Role,
    sides::{self, Recording, Side},
    tokens::Algorithm,
    world::World,
};

/// How many new tokens there are for the rounds of one algorithm.
const COLD: usize = 60_000;
const COLD_QUICK: usize = 12_000;
/// What each level of load is, of a side's own peak.
const LEVELS: [f64; 2] = [0.5, 0.85];

/// Every server, and what was left out.
struct Sides {
    all: Vec<Side>,
    skipped: Vec<(&'static str, String)>,
    _sink: crate::components::Process,
}

async fn start(run: &Run, world: &World, matrix: &Matrix) -> Result<Sides> {
    let (sink, port) = sides::own(Role::Sink, None).await?;
    let otlp = format!("http://127.0.0.1:{port}");
    let full = || Recording::Full { otlp: &otlp };
    let cores = &run.cores;
    let large = Matrix::new(10_000);
    let mut all = vec![
        Side::null(cores).await?,
        Side::palisade(cores, "Palisade", world, (matrix, 0), full()).await?,
        Side::palisade(cores, "Palisade, 10,000 policies", world, (&large, 0), full()).await?,
        Side::palisade(cores, "Palisade, written, no OTLP", world, (matrix, 0), Recording::Written).await?,
        Side::palisade(cores, "Palisade, queued, no OTLP", world, (matrix, 0), Recording::Least).await?,
        Side::palisade(cores, "Palisade, new tokens", world, (matrix, 0), full()).await?,
    ];
    let mut skipped = Vec::new();
    let held = cores.for_server()?;
    match peers::cerbos(world, matrix).await? {
        Ok(peer) => all.push(Side::peer("Cerbos", Form::Cerbos, peer)),
        Err(why) => skipped.push(("Cerbos", why)),
    }
    match peers::opa(world, matrix).await? {
        Ok(peer) => all.push(Side::peer("OPA", Form::ExtAuthz, peer)),
        Err(why) => skipped.push(("OPA", why)),
    }
    drop(held);
    for side in &all {
        let rules = if side.name.contains("10,000") { &large } else { matrix };
        let compared = side.compare(world, rules).await?;
        ensure!(compared > 0, "nothing was compared");
    }
    Ok(Sides { all, skipped, _sink: sink })
}

/// Starts every side and compares the answers.
pub(in crate::bench) async fn check(run: &mut Run) -> Result<()> {
    let (world, matrix) = (World::new()?, Matrix::new(100));
    let sides = start(run, &world, &matrix).await?;
    for (name, why) in &sides.skipped {
        run.report.untried(name, why)?;
    }
    let names: Vec<&str> = sides.all.iter().map(|side| side.name.as_str()).collect();
    run.report.line(&format!("the same answers: {}", names.join("; ")))
}

/// Palisade under full load, for a profiler.
pub(in crate::bench) async fn profile(
    run: &mut Run,
    policies: usize,
    length: std::time::Duration,
) -> Result<()> {
    let (world, matrix) = (World::new()?, Matrix::new(policies));
    let (_sink, port) = sides::own(Role::Sink, None).await?;
    let otlp = format!("http://127.0.0.1:{port}");
    let recording = Recording::Full { otlp: &otlp };
    let side = Side::palisade(&run.cores, "Palisade", &world, (&matrix, 0), recording).await?;
    run.report.line(&format!("process {}", side.pid()?))?;
    let calls = side.form.warm(&world.issuer, &matrix, &matrix.load())?;
    let contenders = [Contender::warm(&side.name, &side, calls)];
    let effort = compare::Effort { rounds: 1, length };
    let peaks = compare::peaks(&contenders, effort, &run.cores, &Progress::new("profile", 2))?;
    print_peaks(&contenders, &peaks)?;
    print_threads(run, &contenders, &peaks)
}

/// New tokens of many subjects for one question each.
fn new_tokens(
    world: &World,
    matrix: &Matrix,
    load: &[Question],
    algorithm: Algorithm,
    count: usize,
) -> Result<Vec<Call>> {
    let numbered = load.iter().cycle().enumerate().take(count);
    let one = |(number, question): (usize, &Question)| {
        let holder = matrix.holder(question.subject);
        Form::ExtAuthz.call(&world.issuer.token(algorithm, &holder, SUBJECTS + number)?, question)
    };
    numbered.map(one).collect()
}

fn contenders<'a>(run: &Run, world: &World, matrix: &Matrix, sides: &'a Sides) -> Result<Vec<Contender<'a>>> {
    let (load, large) = (matrix.load(), Matrix::new(10_000));
    let of_large = large.load();
    let mut all = Vec::new();
    for side in &sides.all {
        if side.name.contains("new tokens") {
            let rounds = run.effort().rounds + 1;
            let count = if run.quick { COLD_QUICK } else { COLD };
            for (name, algorithm, count) in [
                ("Palisade, new ES256 tokens", Algorithm::Es256, count),
                ("Palisade, new RS256 tokens", Algorithm::Rs256, count / 3),
            ] {
                let calls = new_tokens(world, matrix, &load, algorithm, count)?;
                all.push(Contender::cold(name, side, calls, rounds));
            }
            continue;
        }
        let (rules, asked) = if side.name.contains("10,000") { (&large, &of_large) } else { (matrix, &load) };
        all.push(Contender::warm(&side.name, side, side.form.warm(&world.issuer, rules, asked)?));
    }
    Ok(all)
}

/// Measures and prints everything.
pub(in crate::bench) async fn run(run: &mut Run) -> Result<()> {
    run.report.heading("peers: a decision over ext_authz, 100 policies, 1,000 subjects, 5 % denied")?;
    let (world, matrix) = (World::new()?, Matrix::new(100));
    let sides = start(run, &world, &matrix).await?;
    for (name, why) in &sides.skipped {
        run.report.untried(name, why)?;
    }
    run.report.line("the same answers on every side; new tokens are measured at their peak only")?;
    let contenders = contenders(run, &world, &matrix, &sides)?;
    let effort = run.effort();
    let progress = Progress::new("peers", compare::steps(contenders.len(), effort, 1 + LEVELS.len()));
    let peaks = compare::peaks(&contenders, effort, &run.cores, &progress)?;
    let mut levels = Vec::new();
    for part in LEVELS {
        levels.push(compare::at_part(part, &peaks, &contenders, effort, &run.cores, &progress)?);
    }
    drop(progress);
    print_peaks(&contenders, &peaks)?;
    for (part, runs) in LEVELS.iter().zip(&levels) {
        print_level(run, *part, &contenders, runs)?;
    }
    print_threads(run, &contenders, &peaks)?;
    let alone = cedar::measure(&matrix, &matrix.load(), effort.rounds, effort.length)?;
    run.report.line(&format!(
        "Cedar's authorizer in process, no token, no record: {:.1} us a decision ({:.1} to {:.1})",
        alone.median, alone.lowest, alone.highest
    ))?;
    targets(run, &contenders, &peaks, levels.last());
    let measured = contenders.iter().zip(&peaks).enumerate().map(|(index, (contender, peak))| {
        let at = |level: &Vec<Runs>| level.get(index).map(latencies);
        json!({
            "side": contender.name, "peak_per_s": peak.peak().report(), "cpu_us": peak.cost().report(),
            "latencies_us": LEVELS.iter().zip(&levels).map(|(part, level)| json!({ "at": part, "of": at(level) })).collect::<Vec<_>>(),
            "resident_mib": contender.side.memory().ok().map(|memory| memory.resident),
        })
    });
    let measured: Vec<Value> = measured.collect();
    run.report.keep("peers", json!({ "sides": measured, "cedar_us": alone.report() }));
    Ok(())
}

fn latencies(runs: &Runs) -> Value {
    let of = |thousandths| runs.latency(thousandths).report();
    json!({ "p50": of(500), "p99": of(990), "p999": of(999) })
}

fn spread(rounds: Rounds) -> String {
    format!("{:.0} to {:.0}", rounds.lowest, rounds.highest)
}

fn print_peaks(contenders: &[Contender<'_>], peaks: &[Runs]) -> Result<()> {
    let Some(null) = peaks.first() else { return Ok(()) };
    let mut table = Table::new([
        "at its peak",
        "per s",
        "rounds",
        "of null",
        "us CPU",
        "of null",
        "MiB",
        "late",
        "load's CPU",
    ]);
    for (contender, runs) in contenders.iter().zip(peaks) {
        let (peak, cost) = (runs.peak(), runs.cost());
        table.row([
            contender.name.clone(),
            format!("{:.0}", peak.median),
            spread(peak),
            format!("{:.2}", runs.throughput_ratio(null).median),
            format!("{:.1}", cost.median),
            format!("{:.2}", cost.median / null.cost().median),
            format!("{:.0}", contender.side.memory()?.resident),
            runs.late(),
            runs.generator(),
        ]);
    }
    table.print()
}

fn print_level(run: &Run, part: f64, contenders: &[Contender<'_>], level: &[Runs]) -> Result<()> {
    let Some(null) = level.first() else { return Ok(()) };
    run.report.line("")?;
    let heading = format!("at {:.0} % of its peak", part * 100.0);
    let mut table =
        Table::new([&heading, "p50 us", "p99 us", "p99.9 us", "p99 rounds", "p99 of null", "us CPU"]);
    for (contender, runs) in contenders.iter().zip(level).filter(|(_, runs)| !runs.latencies.is_empty()) {
        let at = |thousandths| format!("{:.0}", runs.latency(thousandths).median);
        table.row([
            contender.name.clone(),
            at(500),
            at(990),
            at(999),
            spread(runs.latency(990)),
            format!("{:.2}", runs.latency_ratio(null, 990).median),
            format!("{:.1}", runs.cost().median),
        ]);
    }
    table.print()
}

/// Where the processor time goes, for Palisade alone.
fn print_threads(run: &Run, contenders: &[Contender<'_>], peaks: &[Runs]) -> Result<()> {
    run.report.line("")?;
    for (contender, runs) in contenders.iter().zip(peaks).filter(|(one, _)| one.name.starts_with("Palisade"))
    {
        let each = |(name, time): (&str, std::time::Duration)| {
            let cost = micros(time) / float(runs.answered.max(1));
            (cost >= 0.05).then(|| format!("{name} {cost:.1}"))
        };
        let threads: Vec<String> = runs.threads.by_thread().filter_map(each).collect();
        run.report.line(&format!("{}, us CPU by thread: {}", contender.name, threads.join(", ")))?;
    }
    Ok(())
}

fn targets(run: &mut Run, contenders: &[Contender<'_>], peaks: &[Runs], full: Option<&Vec<Runs>>) {
    let find = |runs: &[Runs], name: &str| {
        contenders
            .iter()
            .zip(runs)
            .find(|(contender, _)| contender.name == name)
            .map(|(_, runs)| runs.clone())
    };
    let report = &mut run.report;
    let (Some(null), Some(own)) = (find(peaks, "null"), find(peaks, "Palisade")) else { return };
    let peak = own.throughput_ratio(&null).median;
    report.target("peak against the null server", peak, Bound::AtLeast(0.7), "");
    if let Some((null, own)) = full.and_then(|full| Some((find(full, "null")?, find(full, "Palisade")?))) {
        let tail = own.latency_ratio(&null, 990).median;
        report.target("p99 at 85 % of the peak against the null server", tail, Bound::Below(1.5), "");
    }
    for peer in ["Cerbos", "OPA"] {
        if let Some(theirs) = find(peaks, peer) {
            let ratio = own.throughput_ratio(&theirs).median;
            report.target(&format!("peak against {peer}"), ratio, Bound::AtLeast(5.0), "");
        }
    }
    if let Some(least) = find(peaks, "Palisade, queued, no OTLP") {
        let lost = (1.0 - own.throughput_ratio(&least).median) * 100.0;
        report.target("throughput lost to audit and OTLP", lost, Bound::Below(10.0), " %");
    }
    let own = contenders.iter().find(|contender| contender.name == "Palisade");
    if let Some(memory) = own.and_then(|own| own.side.memory().ok()) {
        report.target("resident memory, 100 policies", memory.resident, Bound::Below(60.0), " MiB");
    }
}
