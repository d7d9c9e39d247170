//! Verifying the chain: every segment holds the hash of the one before.
//!
//! What this finds: a segment that was changed, removed from the middle, or put in. What it cannot find: a change to
//! the newest segment, which no other vouches for yet, and a chain that was rewritten whole. Against those the
//! exported records stand.

use std::{fs, path::Path};

use aws_lc_rs::digest::{SHA256, digest};

use super::QueryError;
use crate::{
    record::{Record, SegmentHeader},
    segment::{SeriesName, list},
};

/// What verifying found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// The segments whose content the segment behind them vouches for.
    pub vouched: u64,
    /// The segments that no other vouches for: the newest of each series.
    pub newest: u64,
    /// What is wrong.
    pub flaws: Vec<Flaw>,
}

/// What is wrong with a segment, named by its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Its content is not what the segment behind it vouches for.
    Changed(String),
    /// It is missing between others.
    Missing(String),
    /// Its first line is not the header it must have.
    Header(String),
}

/// Verifies the chains of a folder.
///
/// # Errors
/// When the folder or a segment cannot be read.
pub fn verify(folder: &Path) -> Result<Verification, QueryError> {
    let mut found = Verification::default();
    for series in SeriesName::ALL {
        let name = |sequence| {
            let path = series.path(folder, sequence);
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        let mut before: Option<(u64, String)> = None;
        for segment in list(folder, series).map_err(|error| QueryError::new(folder, error))? {
            let path = series.path(folder, segment.sequence);
            let content = fs::read(&path).map_err(|error| QueryError::new(&path, error))?;
            let header = header(&content)
                .filter(|header| header.sequence == segment.sequence && header.series == series.as_str());
            match (header, before) {
                (None, _) => found.flaws.push(Flaw::Header(name(segment.sequence))),
                (Some(_), None) => {}
                (Some(header), Some((sequence, hash))) => {
                    let missing = (sequence + 1)..segment.sequence;
                    if missing.is_empty() && header.previous_sha256 == Some(hash) {
                        found.vouched += 1;
                    } else if missing.is_empty() {
                        found.flaws.push(Flaw::Changed(name(sequence)));
                    }
                    found.flaws.extend(missing.map(|sequence| Flaw::Missing(name(sequence))));
                }
            }
            before = Some((segment.sequence, hex::encode(digest(&SHA256, &content))));
        }
        found.newest += u64::from(before.is_some());
    }
    Ok(found)
}

fn header(content: &[u8]) -> Option<SegmentHeader> {
    match serde_json::from_slice(content.split(|byte| *byte == b'\n').next()?) {
        Ok(Record::Segment(header)) => Some(header),
        Ok(Record::Decision(_) | Record::Event(_)) | Err(_) => None,
    }
}
