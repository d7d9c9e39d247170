//! Refusals before a subject is known: counted for a second, then one record a kind.
//!
//! Who has no credential can cause as many of these as he likes, so their number costs counting and nothing else. A
//! kind is (reason, resource, PEP, address prefix). The kinds under way are a bounded table in memory, and slot by
//! slot in the file `pending`, so that a count that a caller was answered on outlives the process:
//!
//! `<count, 10 digits> <record as JSON, padded with spaces><line feed>`
//!
//! The record of the first refusal of a kind is written once; afterwards only the digits change, which no crash can
//! tear. When the records are in the segment, the counts are set to zero; a crash in between leaves a count whose
//! record id is already in the segment, and `recover` leaves it out.
//!
//! A decision whose own record could not be written is counted here too, without its subject: so every decision that
//! was answered is in the log, if only as a number.

mod table;

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use palisade_model::DecisionId;

use crate::{
    folder, line,
    record::{DecisionRecord, Record},
    shorten,
};

pub(crate) use table::Table;
use table::{Lacks, SLOTS, prefix};

/// The length of a slot: two fit a page, none lies across two.
const SLOT_BYTES: usize = 2_048;
const DIGITS: usize = 10;
/// What a slot can hold beside the count, the space after it and the line feed.
const LONGEST_RECORD: usize = SLOT_BYTES - DIGITS - 2;

/// The refusals under way.
#[derive(Debug)]
pub(crate) struct Refusals {
    file: File,
    table: Table,
    /// How many slots of the file may hold a count that is already a record.
    stale: usize,
    sync: bool,
}

/// What a process that died left: the records of the counts that are in no segment.
pub(crate) struct Recovered {
    pub(crate) refusals: Refusals,
    pub(crate) records: Vec<DecisionRecord>,
}

impl Refusals {
    /// Opens the file of pending counts. `newest` is the newest segment of the series.
    pub(crate) fn recover(folder: &Path, newest: &[u8], sync: bool) -> io::Result<Recovered> {
        let path = folder.join("pending");
        let file = folder::private().read(true).write(true).create(true).truncate(false).open(&path)?;
        let size = (SLOTS * SLOT_BYTES) as u64;
        if file.metadata()?.len() != size {
            file.set_len(size)?;
            if sync {
                file.sync_all()?;
                folder::sync(folder)?;
            }
        }
        let mut content = vec![0; SLOTS * SLOT_BYTES];
        file.read_exact_at(&mut content, 0)?;
        let mut records = Vec::new();
        for (at, slot) in content.chunks_exact(SLOT_BYTES).enumerate() {
            match read_slot(slot) {
                // Cleared before anything is written: after that, another segment may be the newest.
                Some(record) if holds(newest, record.id) => zero(&file, at)?,
                Some(record) => records.push(with_prefix(record)),
                None => {}
            }
        }
        if sync {
            file.sync_data()?;
        }
        let refusals = Self { file, table: Table::default(), stale: SLOTS, sync };
        Ok(Recovered { refusals, records })
    }

    /// Counts a refusal. Returns the id of the record that will hold it.
    pub(crate) fn count(&mut self, record: DecisionRecord) -> DecisionId {
        self.table.count(record)
    }

    /// Counts what another table has counted.
    pub(crate) fn merge(&mut self, table: Table) {
        self.table.merge(table);
    }

    /// Brings the file up to what was counted: after this an answer may leave.
    pub(crate) fn store(&mut self) -> io::Result<()> {
        self.clear_stale()?;
        let mut stored = false;
        let slots = self.table.slots.iter_mut().enumerate();
        for (at, slot) in slots.filter(|(_, slot)| slot.lacks != Lacks::Nothing) {
            let offset = (at * SLOT_BYTES) as u64;
            let digits = format!("{:0DIGITS$}", slot.record.count);
            match slot.lacks {
                Lacks::Nothing => {}
                Lacks::Count => self.file.write_all_at(digits.as_bytes(), offset)?,
                Lacks::Record => {
                    if !fits(&slot.record)? {
                        slot.record = shorten::kind(&slot.record);
                    }
                    let mut text = format!("{digits} ").into_bytes();
                    text.extend(encode(&slot.record)?);
                    text.resize(SLOT_BYTES - 1, b' ');
                    text.push(b'\n');
                    self.file.write_all_at(&text, offset)?;
                }
            }
            slot.lacks = Lacks::Nothing;
            stored = true;
        }
        if stored && self.sync {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// The records of what was counted.
    pub(crate) fn records(&self) -> Vec<DecisionRecord> {
        self.table.records()
    }

    /// Forgets what was counted, because the records are in a segment.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.stale = self.stale.max(self.table.slots.len());
        self.table.clear();
        self.clear_stale()?;
        if self.sync { self.file.sync_data() } else { Ok(()) }
    }

    fn clear_stale(&mut self) -> io::Result<()> {
        // From the first slot on: a slot that is cleared twice costs nothing, one that is left would count twice.
        for at in 0..self.stale {
            // A slot that is in use again was overwritten, or is about to be.
            if self.table.slots.get(at).is_none_or(|slot| slot.lacks == Lacks::Record) {
                zero(&self.file, at)?;
            }
        }
        self.stale = 0;
        Ok(())
    }
}

/// Sets the count of a slot to zero.
fn zero(file: &File, slot: usize) -> io::Result<()> {
    file.write_all_at(&[b'0'; DIGITS], (slot * SLOT_BYTES) as u64)
}

fn encode(record: &DecisionRecord) -> io::Result<Vec<u8>> {
    let mut text = line::encode(&Record::Decision(Box::new(record.clone())))?;
    text.pop();
    Ok(text)
}

/// Whether a slot can hold the record.
fn fits(record: &DecisionRecord) -> io::Result<bool> {
    Ok(encode(record)?.len() <= LONGEST_RECORD)
}

/// The record of a slot that holds a count.
fn read_slot(slot: &[u8]) -> Option<DecisionRecord> {
    let (digits, text) = slot.split_at_checked(DIGITS)?;
    let count = std::str::from_utf8(digits).ok()?.parse().ok().filter(|count| *count > 0)?;
    match Record::read(text.trim_ascii()) {
        Ok(Record::Decision(record)) => Some(DecisionRecord { count, ..*record }),
        Ok(Record::Event(_) | Record::Segment(_)) => None,
        Err(error) => {
            // A slot is written whole before its first count is answered on, so nothing that was promised is here.
            tracing::warn!(%error, "a slot of pending refusals cannot be read");
            None
        }
    }
}

/// The refusal that stands for a decision whose line could not be written; `None` for an event.
pub(crate) fn unrecorded(line: &[u8]) -> Option<DecisionRecord> {
    match Record::read(line) {
        Ok(Record::Decision(record)) => {
            let mut kind = shorten::kind(&record.without_receipt());
            kind.detail = Some("counted, because its own record could not be written".to_owned());
            Some(kind)
        }
        Ok(Record::Event(_) | Record::Segment(_)) => None,
        Err(error) => {
            tracing::error!(%error, "a record that could not be written cannot be read");
            None
        }
    }
}

fn with_prefix(mut record: DecisionRecord) -> DecisionRecord {
    if record.count > 1
        && let Some(prefix) = record.client_ip.as_deref().and_then(prefix)
    {
        record.client_ip = Some(prefix);
    }
    record
}

fn holds(segment: &[u8], id: DecisionId) -> bool {
    memchr::memmem::find(segment, format!("\"id\":\"{id}\"").as_bytes()).is_some()
}

#[cfg(test)]
mod tests;
