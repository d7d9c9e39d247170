//! From the start of the process until it is ready to decide.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::{
    bench::{Run, latency::Rounds, matrix::Matrix, progress::Progress, usage::Memory, world::World},
    service::Palisade,
};

const STARTS: usize = 3;

/// Measures and prints everything.
pub(in crate::bench) async fn run(run: &mut Run) -> Result<()> {
    let sizes = [100, run.most_policies()];
    run.report.heading("startup: from the start of the process until ready, all processors")?;
    let world = World::new()?;
    let progress = Progress::new("startup", sizes.len() * STARTS);
    // This thread's place is inherited by what it starts.
    let _free = run.cores.lifted()?;
    let mut all = Vec::new();
    for size in sizes {
        let policies = world.policies(&Matrix::new(size), 0)?;
        let configuration = world.configuration(&policies, None);
        let (mut seconds, mut peak) = (Vec::new(), 0.0_f64);
        for _ in 0..STARTS {
            progress.step(&format!("{size} policies"));
            let began = Instant::now();
            let mut palisade = Palisade::start(&configuration, "").await?;
            palisade.wait_for_readiness(200).await?;
            seconds.push(began.elapsed().as_secs_f64());
            peak = peak.max(Memory::of(palisade.process()?.pid())?.peak);
        }
        all.push((size, Rounds::of(seconds), peak));
    }
    drop(progress);
    for (size, seconds, peak) in &all {
        run.report.line(&format!(
            "{size} policies: {:.2} s ({:.2} to {:.2}), {peak:.0} MiB at most",
            seconds.median, seconds.lowest, seconds.highest
        ))?;
    }
    let rows = all.iter().map(
        |(size, seconds, peak)| json!({ "policies": size, "seconds": seconds.report(), "peak_mib": peak }),
    );
    let rows = rows.collect::<Vec<_>>();
    run.report.keep("startup", rows.into());
    Ok(())
}
