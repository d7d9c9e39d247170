//! The rows, for people.

use std::io::{Write as _, stdout};

use serde::Serialize;

use crate::{Failure, memory::Memory};

/// Nanoseconds of one decision.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Times {
    pub(crate) cedar: f64,
    pub(crate) engine: f64,
    pub(crate) cedar_whole: f64,
    pub(crate) palisade: f64,
    pub(crate) new_token: f64,
    pub(crate) alone: f64,
}

/// One set.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) shape: &'static str,
    pub(crate) size: usize,
    #[serde(rename = "nanoseconds")]
    pub(crate) times: Times,
    pub(crate) candidates: f64,
    pub(crate) parse_ms: f64,
    /// Cedar's validator by itself; nothing for large sets.
    pub(crate) validate_ms: Option<f64>,
    pub(crate) index_ms: f64,
    pub(crate) load_ms: f64,
    pub(crate) load_split_ms: f64,
    pub(crate) cedar_memory: Memory,
    pub(crate) memory: Memory,
}

pub(crate) fn heading() -> Result<(), Failure> {
    writeln!(
        stdout(),
        "{:<9} {:>7} | {:>10} {:>10} {:>8} | {:>10} {:>10} {:>8} {:>10} {:>8} | {:>10} | {:>8} {:>8} {:>7} {:>8} {:>8} | {:>8} {:>8} {:>8} {:>8}",
        "set",
        "size",
        "cedar us",
        "engine us",
        "ratio",
        "cedar+ us",
        "palisade",
        "ratio",
        "new token",
        "alone",
        "candidates",
        "parse ms",
        "valid ms",
        "index",
        "load ms",
        "100 files",
        "cedar MB",
        "ours MB",
        "B/policy",
        "peak MB",
    )?;
    Ok(())
}

pub(crate) fn line(row: &Row) -> Result<(), Failure> {
    let Times { cedar, engine, cedar_whole, palisade, new_token, alone } = row.times;
    writeln!(
        stdout(),
        "{:<9} {:>7} | {:>10.2} {:>10.2} {:>8.1} | {:>10.2} {:>10.2} {:>8.1} {:>10.2} {:>8.2} | {:>10.1} | {:>8.1} {:>8} {:>7.1} {:>8.1} {:>8.1} | {:>8.1} {:>8.1} {:>8.0} {:>8.1}",
        row.shape,
        row.size,
        cedar / 1e3,
        engine / 1e3,
        cedar / engine,
        cedar_whole / 1e3,
        palisade / 1e3,
        cedar_whole / palisade,
        new_token / 1e3,
        alone / 1e3,
        row.candidates,
        row.parse_ms,
        row.validate_ms.map_or("-".to_owned(), |took| format!("{took:.1}")),
        row.index_ms,
        row.load_ms,
        row.load_split_ms,
        megabytes(row.cedar_memory.resident),
        megabytes(row.memory.resident),
        per_policy(row),
        megabytes(row.memory.peak),
    )?;
    Ok(())
}

/// How much longer a decision takes with a thousand times the policies.
pub(crate) fn ratios(rows: &[Row]) -> Result<(), Failure> {
    writeln!(stdout(), "\nquestion to verdict, alone, the largest set against that of 100:")?;
    for row in rows.iter().filter(|row| row.size == 100) {
        let same = rows.iter().filter(|other| other.shape == row.shape);
        let Some(largest) = same.max_by_key(|other| other.size) else { continue };
        writeln!(
            stdout(),
            "{:<9} {:>8.2} us -> {:>8.2} us at {:>6}: {:.2} (Cedar: {:.0})",
            row.shape,
            row.times.alone / 1e3,
            largest.times.alone / 1e3,
            largest.size,
            largest.times.alone / row.times.alone,
            largest.times.cedar_whole / row.times.cedar_whole,
        )?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / (1_024.0 * 1_024.0)
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn per_policy(row: &Row) -> f64 {
    row.memory.resident as f64 / row.size as f64
}
