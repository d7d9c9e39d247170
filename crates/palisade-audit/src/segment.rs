//! A series of segments: append-only files of lines, chained by hashes.
//!
//! `Series::open` repairs what a crash left, `append` adds a batch of lines, `make_room` deletes what may go. The
//! first line of a segment holds the hash of the segment before it.
//!
//! A batch is in the segment whole or not at all: what a failed write left is cut off before anything else is
//! written, because its callers were told that it is not there. Only the writer's thread holds a series; readers see
//! the committed lengths in [`Shared`].

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use palisade_model::Timestamp;

use crate::{
    event::{Event, EventRecord},
    folder, line,
    record::{Record, SCHEMA_VERSION, SegmentHeader},
    status::{Shared, lock},
};

/// A segment is closed at this size, or earlier where the quota is small.
const LARGEST: u64 = 64 * 1024 * 1024;
/// A segment is closed at this age, so that the chain soon covers what it holds.
const OLDEST: Duration = Duration::from_secs(24 * 60 * 60);
/// How many segments a quota holds at least: deleting goes by whole segments.
const PER_QUOTA: u64 = 16;

/// The two series: a flood of refusals cannot push decisions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeriesName {
    /// Decisions about known subjects, and events.
    Decisions,
    /// Refusals before a subject is known.
    Refusals,
}

impl SeriesName {
    pub(crate) const ALL: [Self; 2] = [Self::Decisions, Self::Refusals];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Decisions => "decisions",
            Self::Refusals => "refusals",
        }
    }

    pub(crate) fn path(self, folder: &Path, sequence: u64) -> PathBuf {
        folder.join(format!("{}-{sequence:016}.jsonl", self.as_str()))
    }
}

/// A segment and how much of it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    pub(crate) sequence: u64,
    pub(crate) length: u64,
}

/// The segments of a series in a folder, oldest first.
pub(crate) fn list(folder: &Path, series: SeriesName) -> io::Result<Vec<SegmentInfo>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let sequence = name.to_str().and_then(|name| {
            name.strip_prefix(series.as_str())?.strip_prefix('-')?.strip_suffix(".jsonl")?.parse().ok()
        });
        if let Some(sequence) = sequence {
            segments.push(SegmentInfo { sequence, length: entry.metadata()?.len() });
        }
    }
    segments.sort_by_key(|segment: &SegmentInfo| segment.sequence);
    Ok(segments)
}

#[derive(Debug)]
pub(crate) struct Series {
    name: SeriesName,
    folder: PathBuf,
    shared: Arc<Shared>,
    sync: bool,
    largest: u64,
    active: Option<Active>,
}

/// The segment that is written to.
struct Active {
    file: File,
    sequence: u64,
    opened: Timestamp,
    /// How much is committed. What the file holds beyond it is the rest of a failed write.
    length: u64,
    /// The hash of what is committed.
    hash: Context,
    /// Whether the file may hold more than what is committed.
    overhang: bool,
    /// Whether nothing more may be written to it.
    closed: bool,
}

impl std::fmt::Debug for Active {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Active")
            .field("sequence", &self.sequence)
            .field("length", &self.length)
            .finish()
    }
}

/// A series, and what had to be repaired.
pub(crate) struct Opened {
    pub(crate) series: Series,
    pub(crate) torn: Vec<EventRecord>,
}

impl Series {
    /// Opens a series: cuts a torn end off its newest segment, and goes on with that segment if it was whole.
    pub(crate) fn open(
        name: SeriesName,
        folder: &Path,
        shared: &Arc<Shared>,
        sync: bool,
        now: Timestamp,
    ) -> io::Result<Opened> {
        let mut segments = list(folder, name)?;
        let (mut active, mut torn) = (None, Vec::new());
        while let Some(newest) = segments.last_mut() {
            let path = name.path(folder, newest.sequence);
            let content = fs::read(&path)?;
            let whole = memchr::memrchr(b'\n', &content).map_or(0, |end| end + 1);
            let (kept, rest) = content.split_at(whole);
            if !rest.is_empty() {
                torn.push(set_aside(&path, rest, now)?);
            }
            if kept.is_empty() {
                // Not even its header was written: it is begun again.
                fs::remove_file(&path)?;
                segments.pop();
                continue;
            }
            let file = folder::private().append(true).open(&path)?;
            file.set_len(kept.len() as u64)?;
            newest.length = kept.len() as u64;
            active = Some(Active::resume(file, newest.sequence, kept, !rest.is_empty(), now));
            break;
        }
        *shared.segments(name) = segments;
        let largest = LARGEST.min(shared.quota(name) / PER_QUOTA);
        let series =
            Self { name, folder: folder.to_owned(), shared: Arc::clone(shared), sync, largest, active };
        Ok(Opened { series, torn })
    }

    /// Appends whole lines. When this returns, the operating system has them, or the disk if the series syncs.
    pub(crate) fn append(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        if !self.active.as_ref().is_some_and(|active| active.takes_more(self.largest, now)) {
            self.rotate(now)?;
        }
        let Some(active) = &mut self.active else { return Err(io::ErrorKind::NotFound.into()) };
        active.append(lines, self.sync)?;
        if let Some(info) = self.shared.segments(self.name).last_mut() {
            info.length = active.length;
        }
        Ok(())
    }

    /// Finds out whether so many bytes can be written: writes them behind what is committed, and cuts them off again.
    pub(crate) fn probe(&mut self, bytes: usize, now: Timestamp) -> io::Result<()> {
        if !self.active.as_ref().is_some_and(|active| active.takes_more(self.largest, now)) {
            self.rotate(now)?;
        }
        let Some(active) = &mut self.active else { return Err(io::ErrorKind::NotFound.into()) };
        // No line feed is among them: who reads the file meanwhile takes it for a line that is being written.
        active.attempt(&vec![b' '; bytes], self.sync)?;
        active.cut_overhang()
    }

    /// Deletes what may go, oldest first, until `bytes` more fit the quota. `force` deletes at least one segment.
    /// Returns whether there is room now.
    pub(crate) fn make_room(&mut self, bytes: u64, force: bool) -> io::Result<bool> {
        let mut forced = force;
        loop {
            let used = self.shared.used(self.name);
            if used.saturating_add(bytes) <= self.shared.quota(self.name) && !forced {
                return Ok(true);
            }
            forced = false;
            let oldest = match self.shared.segments(self.name).as_slice() {
                [oldest, _, ..] => *oldest,
                [] | [_] => return Ok(false),
            };
            let acknowledged = self.shared.acknowledged(self.name).within(oldest.sequence) >= oldest.length;
            if self.shared.exports() && !acknowledged && self.name == SeriesName::Decisions {
                return Ok(false);
            }
            self.delete(oldest, acknowledged)?;
        }
    }

    fn delete(&mut self, segment: SegmentInfo, exported: bool) -> io::Result<()> {
        let SegmentInfo { sequence, length: bytes } = segment;
        let path = self.name.path(&self.folder, sequence);
        for path in [torn_path(&path), path] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let state = self.shared.of(self.name);
        lock(&state.segments).retain(|segment| segment.sequence != sequence);
        if exported {
            state.deleted_exported.fetch_add(1, Ordering::Relaxed);
        } else {
            state.deleted_unexported.fetch_add(1, Ordering::Relaxed);
            let series = self.name.as_str();
            tracing::warn!(
                series,
                sequence,
                bytes,
                "a segment made room for new records, and was not exported"
            );
        }
        Ok(())
    }

    /// The content of the newest segment.
    pub(crate) fn newest(&self) -> io::Result<Vec<u8>> {
        match &self.active {
            Some(active) => fs::read(self.name.path(&self.folder, active.sequence)),
            None => Ok(Vec::new()),
        }
    }

    /// Begins a new segment with the hash of the one before.
    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let previous = match &mut self.active {
            Some(active) => {
                active.cut_overhang()?;
                Some(active)
            }
            None => None,
        };
        let sequence = previous.as_ref().map_or(1, |active| active.sequence + 1);
        let header = line::encode(&Record::Segment(SegmentHeader {
            schema_version: SCHEMA_VERSION,
            series: self.name.as_str().to_owned(),
            sequence,
            time: now,
            previous_sha256: previous.map(|active| hex::encode(active.hash.clone().finish())),
        }))?;
        let path = self.name.path(&self.folder, sequence);
        // A file of that name can only be what a failed attempt at this very place left.
        let file = folder::private().append(true).create(true).open(&path)?;
        file.set_len(0)?;
        let mut active = Active::resume(file, sequence, &[], false, now);
        active.append(&header, self.sync)?;
        if self.sync {
            folder::sync(&self.folder)?;
        }
        self.shared.segments(self.name).push(SegmentInfo { sequence, length: active.length });
        self.active = Some(active);
        Ok(())
    }
}

impl Active {
    fn resume(file: File, sequence: u64, content: &[u8], torn: bool, now: Timestamp) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(content);
        let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let opened = match serde_json::from_slice(first) {
            Ok(Record::Segment(header)) => Some(header.time),
            Ok(Record::Decision(_) | Record::Event(_)) | Err(_) => None,
        };
        let closed = torn || (opened.is_none() && !content.is_empty());
        let opened = opened.unwrap_or(now);
        Self { file, sequence, opened, length: content.len() as u64, hash, overhang: false, closed }
    }

    fn takes_more(&self, largest: u64, now: Timestamp) -> bool {
        !self.closed && self.length > 0 && self.length < largest && now.since(self.opened) < OLDEST
    }

    fn append(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        self.attempt(lines, sync)?;
        self.overhang = false;
        self.hash.update(lines);
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Writes behind what is committed. What was written is an overhang until it is counted in.
    fn attempt(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        self.cut_overhang()?;
        self.overhang = true;
        let written = self.file.write_all(lines);
        let synced = if sync && written.is_ok() {
            let synced = self.file.sync_data();
            // After a failed sync the kernel may take lost pages for clean ones: this file is no longer trusted.
            self.closed |= synced.is_err();
            synced
        } else {
            Ok(())
        };
        if let Err(error) = written.and(synced) {
            if let Err(failed) = self.cut_overhang() {
                tracing::error!(error = %failed, "cannot cut off what a failed write left");
            }
            return Err(error);
        }
        Ok(())
    }

    fn cut_overhang(&mut self) -> io::Result<()> {
        if self.overhang {
            self.file.set_len(self.length)?;
            self.overhang = false;
        }
        Ok(())
    }
}

fn torn_path(segment: &Path) -> PathBuf {
    segment.with_extension("jsonl.torn")
}

/// Moves the torn end of a segment beside it.
fn set_aside(segment: &Path, rest: &[u8], now: Timestamp) -> io::Result<EventRecord> {
    let path = torn_path(segment);
    let mut file = folder::private().append(true).create(true).open(&path)?;
    file.write_all(rest)?;
    file.sync_all()?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = rest.len() as u64;
    Ok(EventRecord::new(now, Event::TornLine { segment: name(segment), moved_to: name(&path), bytes }))
}

#[cfg(test)]
mod tests;
