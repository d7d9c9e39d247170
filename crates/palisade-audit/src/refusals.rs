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
//! INVARIANT: at most [`SLOTS`] kinds are under way. The address is the first to give way, then resource and PEP;
//! what is left has as many kinds as there are reasons.

use std::{collections::HashMap, fs::File, io, net::IpAddr, os::unix::fs::FileExt, path::Path};

use palisade_model::{DecisionId, PepName, Reason, ResourceName};

use crate::{
    folder, line,
    record::{DecisionRecord, Record},
};

/// How many kinds can be under way.
const SLOTS: usize = 1_024;
/// Up to here a kind has its address prefix.
const WITH_ADDRESS: usize = 704;
/// Up to here a kind has its resource and PEP. The rest is enough for every reason.
const WITH_PLACE: usize = 960;
/// The length of a slot: two fit a page, none lies across two.
const SLOT_BYTES: usize = 2_048;
const DIGITS: usize = 10;
/// What a slot can hold beside the count, the space after it and the line feed.
const LONGEST_RECORD: usize = SLOT_BYTES - DIGITS - 2;
/// The most that the digits can say.
const LARGEST_COUNT: u64 = 9_999_999_999;
const OTHER: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    reason: Reason,
    resource: Option<ResourceName>,
    pep: Option<PepName>,
    prefix: Option<String>,
}

#[derive(Debug)]
struct Slot {
    record: DecisionRecord,
    prefix: Option<String>,
    /// What the slot in the file still lacks.
    lacks: Lacks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacks {
    Nothing,
    Count,
    Record,
}

/// The refusals under way.
#[derive(Debug)]
pub(crate) struct Refusals {
    file: File,
    slots: Vec<Slot>,
    kinds: HashMap<Kind, usize>,
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
        let refusals = Self { file, slots: Vec::new(), kinds: HashMap::new(), stale: SLOTS, sync };
        Ok(Recovered { refusals, records })
    }

    /// Counts a refusal. Returns the id of the record that will hold it.
    pub(crate) fn count(&mut self, record: DecisionRecord) -> DecisionId {
        let kind = self.kind_of(&record);
        let refused = record.count.max(1);
        if let Some(slot) = self.kinds.get(&kind).and_then(|at| self.slots.get_mut(*at)) {
            slot.record.count = slot.record.count.saturating_add(refused).min(LARGEST_COUNT);
            if slot.lacks == Lacks::Nothing {
                slot.lacks = Lacks::Count;
            }
            return slot.record.id;
        }
        let id = record.id;
        let record = DecisionRecord {
            resource: kind.resource.clone(),
            pep: kind.pep.clone(),
            client_ip: if kind.prefix.as_deref() == Some(OTHER) {
                kind.prefix.clone()
            } else {
                record.client_ip
            },
            count: refused.min(LARGEST_COUNT),
            ..record
        };
        self.slots.push(Slot { record, prefix: kind.prefix.clone(), lacks: Lacks::Record });
        self.kinds.insert(kind, self.slots.len() - 1);
        id
    }

    /// The kind a refusal is counted under. Where the table fills up, kinds become coarser.
    fn kind_of(&self, record: &DecisionRecord) -> Kind {
        let mut kind = Kind {
            reason: record.reason,
            resource: record.resource.clone(),
            pep: record.pep.clone(),
            prefix: record
                .client_ip
                .as_deref()
                .map(|address| prefix(address).unwrap_or_else(|| OTHER.to_owned())),
        };
        if self.slots.len() >= WITH_ADDRESS && !self.kinds.contains_key(&kind) {
            kind.prefix = Some(OTHER.to_owned());
        }
        if self.slots.len() >= WITH_PLACE && !self.kinds.contains_key(&kind) {
            kind = Kind { resource: None, pep: None, ..kind };
        }
        kind
    }

    /// Brings the file up to what was counted: after this an answer may leave.
    pub(crate) fn store(&mut self) -> io::Result<()> {
        self.clear_stale()?;
        let mut stored = false;
        for (at, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.lacks != Lacks::Nothing) {
            let offset = (at * SLOT_BYTES) as u64;
            let digits = format!("{:0DIGITS$}", slot.record.count);
            match slot.lacks {
                Lacks::Nothing => {}
                Lacks::Count => self.file.write_all_at(digits.as_bytes(), offset)?,
                Lacks::Record => {
                    if !fits(&slot.record)? {
                        slot.record = reduced(&slot.record);
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
        self.slots
            .iter()
            .map(|slot| {
                let mut record = slot.record.clone();
                if record.count > 1 {
                    record.client_ip.clone_from(&slot.prefix);
                }
                record
            })
            .collect()
    }

    /// Forgets what was counted, because the records are in a segment.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.stale = self.stale.max(self.slots.len());
        self.slots.clear();
        self.kinds.clear();
        self.clear_stale()?;
        if self.sync { self.file.sync_data() } else { Ok(()) }
    }

    fn clear_stale(&mut self) -> io::Result<()> {
        // From the first slot on: a slot that is cleared twice costs nothing, one that is left would count twice.
        for at in 0..self.stale {
            // A slot that is in use again was overwritten, or is about to be.
            if self.slots.get(at).is_none_or(|slot| slot.lacks == Lacks::Record) {
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

/// A record with no more than what makes its kind.
fn reduced(record: &DecisionRecord) -> DecisionRecord {
    let mut reduced = DecisionRecord::new(record.id, record.time);
    reduced.duration_us = record.duration_us;
    reduced.reason = record.reason;
    reduced.resource.clone_from(&record.resource);
    reduced.pep.clone_from(&record.pep);
    reduced.surface = record.surface;
    reduced.client_ip.clone_from(&record.client_ip);
    reduced.count = record.count;
    reduced
}

/// The record of a slot that holds a count.
fn read_slot(slot: &[u8]) -> Option<DecisionRecord> {
    let (digits, text) = slot.split_at_checked(DIGITS)?;
    let count = std::str::from_utf8(digits).ok()?.parse().ok().filter(|count| *count > 0)?;
    match serde_json::from_slice(text.trim_ascii()) {
        Ok(Record::Decision(record)) => Some(DecisionRecord { count, ..*record }),
        Ok(Record::Event(_) | Record::Segment(_)) => None,
        Err(error) => {
            // A slot is written whole before its first count is answered on, so nothing that was promised is here.
            tracing::warn!(%error, "a slot of pending refusals cannot be read");
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

/// The /24 of an IPv4 address, the /48 of an IPv6 address.
fn prefix(address: &str) -> Option<String> {
    match address.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Some(format!("{a}.{b}.{c}.0/24"))
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Some(format!("{}/48", std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)))
        }
    }
}

#[cfg(test)]
mod tests;
