//! A reload of many policies under load: what it costs those who ask meanwhile, and in memory.
//!
//! Here nothing is pinned: the thread that builds what comes runs beside the decisions, as it does on any machine of more
//! than one processor.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::{
    bench::{
        Run,
        answer::Reading,
        calls::Form,
        cores::Cores,
        latency::{Latencies, micros},
        load::{CONNECTIONS, Load, Pace},
        matrix::Matrix,
        progress::Progress,
        usage::Memory,
        world::World,
    },
    service::Palisade,
};

const RELOADS: usize = 3;
const RATE: f64 = 300.0;
/// The longest that a reload may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures and prints everything.
pub(in crate::bench) async fn run(run: &mut Run) -> Result<()> {
    let size = run.most_policies();
    run.report.heading(&format!("reload: {size} policies under {RATE:.0} requests/s, not pinned"))?;
    let (world, matrix) = (World::new()?, Matrix::new(size));
    let policies = world.policies(&matrix, 0)?;
    let progress = Progress::new("reload", 2 + RELOADS);
    let _free = run.cores.lifted()?;
    progress.step("start");
    let mut palisade = Palisade::start(&world.configuration(&policies, None), "").await?;
    palisade.wait_for_readiness(200).await?;
    let pid = palisade.process()?.pid();
    let load = Load {
        strict: false,
        port: palisade.decision,
        over: Form::ExtAuthz.over(),
        calls: Form::ExtAuthz.warm(&world.issuer, &matrix, &matrix.load())?.into(),
        reading: Reading::ExtAuthz,
        connections: CONNECTIONS,
        pace: Pace::Open(RATE),
        length: Duration::from_secs(if run.quick { 4 } else { 15 }),
        once: false,
    };
    Load { length: Duration::from_secs(4), ..load.clone() }.run(&Cores::shared())?;
    progress.step("without a reload");
    let quiet = load.run(&Cores::shared())?.latencies;
    let steady = Memory::of(pid)?;
    let mut took = Vec::new();
    let mut busy = Vec::new();
    for round in 0..RELOADS {
        progress.step("with a reload");
        let (latencies, reload) = reloaded(&palisade, &policies, &load, round).await?;
        busy.push(latencies);
        took.push(reload.as_secs_f64());
    }
    let busy = Latencies::merged(busy);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = Memory::of(pid)?;
    drop(progress);
    let at =
        |latencies: &Latencies| [500, 990, 999].map(|thousandths| micros(latencies.at(thousandths)).round());
    let ratio = micros(busy.at(990)) / micros(quiet.at(990));
    run.report.line(&format!("a reload takes {took:.2?} s"))?;
    run.report.line(&format!(
        "p50, p99, p99.9: {:?} us without, {:?} us with a reload; p99 ratio {ratio:.2}",
        at(&quiet),
        at(&busy)
    ))?;
    run.report.line(&format!(
        "resident: {:.0} MiB before, {:.0} MiB after the reloads, {:.0} MiB at most during them",
        steady.resident, after.resident, after.peak
    ))?;
    run.report.keep(
        "reload",
        json!({
            "policies": size, "reload_s": took, "p99_ratio": ratio,
            "without_us": at(&quiet), "with_us": at(&busy), "requests": [quiet.len(), busy.len()],
            "resident_mib": { "steady": steady.resident, "after_reloads": after.resident, "peak": after.peak },
        }),
    );
    Ok(())
}

/// Changes the policies, and loads the service until the change is in force.
async fn reloaded(
    palisade: &Palisade,
    folder: &Path,
    load: &Load,
    round: usize,
) -> Result<(Latencies, Duration)> {
    let before = revision(palisade).await?;
    let policy =
        format!("@id(\"round\") forbid (principal in Role::\"corp/nobody{round}\", action, resource);\n");
    let over = Arc::new(AtomicBool::new(false));
    let second = Load { length: Duration::from_secs(1), ..load.clone() };
    let asked = Arc::clone(&over);
    let asking = thread::spawn(move || {
        let mut parts = Vec::new();
        while !asked.load(Ordering::Relaxed) {
            parts.push(second.run(&Cores::shared())?.latencies);
        }
        anyhow::Ok(Latencies::merged(parts))
    });
    fs::write(folder.join("round.cedar"), policy)?;
    let began = Instant::now();
    while revision(palisade).await? == before {
        ensure!(began.elapsed() < PATIENCE, "the reload takes longer than {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    let latencies = asking.join().map_err(|_| anyhow!("the load panicked"))??;
    Ok((latencies, took))
}

async fn revision(palisade: &Palisade) -> Result<String> {
    let detail: Value = serde_json::from_str(&palisade.admin("/readyz").await?)?;
    Ok(detail.get("revision").and_then(Value::as_str).context("no revision in /readyz")?.to_owned())
}
