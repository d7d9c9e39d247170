//! What a policy set takes in memory, measured in a process of its own: what stays resident, and the peak.

use std::{
    env, fs,
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use cedar_policy::PolicySet;
use palisade_policy::{OnError, Policies};
use serde::Serialize;

use crate::{
    Failure, question_to_verdict, questions,
    sets::{self, Shape},
    turn_by_turn,
};

/// Bytes that a set adds to an empty process.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    /// What stays.
    pub(crate) resident: u64,
    /// The most there was at once, while it was loaded.
    pub(crate) peak: u64,
    /// What a question takes there, where the process answers any.
    #[serde(skip)]
    pub(crate) nanoseconds: f64,
}

/// Has another process load the set.
pub(crate) fn measure(side: &str, shape: Shape, size: usize) -> Result<Memory, Failure> {
    let what = format!("{side}:{}:{size}", shape.name());
    let output = Command::new(env::current_exe()?).args(["--memory-of", &what]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match *numbers {
        [resident, peak, picoseconds] => {
            #[expect(clippy::cast_precision_loss, reason = "far below where a float loses anything")]
            let nanoseconds = picoseconds as f64 / 1e3;
            Ok(Memory { resident, peak, nanoseconds })
        }
        _ => Err(format!(
            "the memory of {what} could not be measured: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}

/// Loads the set and says what that has taken.
pub(crate) fn measure_here(what: &str) -> Result<(), Failure> {
    let mut parts = what.split(':');
    let (side, shape, size) = (parts.next(), parts.next(), parts.next());
    let shape = Shape::ALL.into_iter().find(|known| shape == Some(known.name())).ok_or("no such set")?;
    let size: usize = size.ok_or("no size")?.parse()?;
    let before = status("VmRSS:")?;
    let (resident, peak, nanoseconds) = if side == Some("cedar") {
        let set: PolicySet = sets::policies(shape, size).parse()?;
        let after = (status("VmRSS:")?, status("VmHWM:")?);
        drop(set);
        (after.0, after.1, 0.0)
    } else {
        let policies = Policies::load(&sets::sources(shape, size, 1), &sets::world()?, OnError::Forbid)
            .map_err(|errors| format!("{errors:?}"))?;
        let (asked, subjects) = questions(&policies, shape, size)?;
        let mut side = |turn| question_to_verdict(&policies, &asked, &subjects, turn);
        let [nanoseconds] = turn_by_turn([&mut side]);
        // An allocator gives back what is free after a while, and in passing.
        std::thread::sleep(Duration::from_millis(200));
        turn_by_turn([&mut side]);
        (status("VmRSS:")?, status("VmHWM:")?, nanoseconds)
    };
    let (resident, peak) = (resident.saturating_sub(before), peak.saturating_sub(before));
    writeln!(std::io::stdout(), "{resident} {peak} {:.0}", nanoseconds * 1e3)?;
    Ok(())
}

/// Asks a million questions of a set: something for a profiler to look at.
pub(crate) fn ask(what: &str) -> Result<(), Failure> {
    const ROUNDS: usize = 1_000;
    const QUESTIONS: usize = 1_000;
    let (shape, size) = what.split_once(':').ok_or("no size")?;
    let shape = Shape::ALL.into_iter().find(|known| known.name() == shape).ok_or("no such set")?;
    let size = size.parse()?;
    let policies = Policies::load(&sets::sources(shape, size, 1), &sets::world()?, OnError::Forbid)
        .map_err(|errors| format!("{errors:?}"))?;
    let (asked, subjects) = questions(&policies, shape, size)?;
    let mut rounds: Vec<Duration> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for turn in 0..QUESTIONS {
            std::hint::black_box(question_to_verdict(&policies, &asked, &subjects, turn));
        }
        rounds.push(begin.elapsed());
    }
    rounds.sort_unstable();
    let of = |at: usize| rounds.get(at).map_or(0, Duration::as_nanos) / QUESTIONS as u128;
    writeln!(std::io::stdout(), "fastest {} ns, median {} ns", of(0), of(ROUNDS / 2))?;
    Ok(())
}

/// A figure of this process in bytes.
fn status(name: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1_024)
}
