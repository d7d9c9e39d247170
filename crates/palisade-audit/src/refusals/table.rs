//! The kinds of refusals under way, and how many there are of each.
//!
//! INVARIANT: at most [`SLOTS`] kinds are under way. The address is the first to give way, then resource and PEP;
//! what is left has as many kinds as there are reasons.

use std::{collections::HashMap, net::IpAddr};

use palisade_model::{DecisionId, PepName, Reason, ResourceName};

use crate::record::DecisionRecord;

/// How many kinds can be under way.
pub(crate) const SLOTS: usize = 1_024;
/// Up to here a kind has its address prefix.
const WITH_ADDRESS: usize = 704;
/// Up to here a kind has its resource and PEP. The rest is enough for every reason.
pub(super) const WITH_PLACE: usize = 960;
/// The most that the digits of a slot can say.
const LARGEST_COUNT: u64 = 9_999_999_999;
pub(super) const OTHER: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    reason: Reason,
    resource: Option<ResourceName>,
    pep: Option<PepName>,
    /// The client of a token request.
    requester: Option<String>,
    prefix: Option<String>,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) record: DecisionRecord,
    prefix: Option<String>,
    /// What the slot in the file still lacks.
    pub(super) lacks: Lacks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacks {
    Nothing,
    Count,
    Record,
}

/// The kinds under way, each in its slot.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(super) slots: Vec<Slot>,
    kinds: HashMap<Kind, usize>,
}

impl Table {
    /// Counts a refusal. Returns the id of the record that will hold it.
    pub(crate) fn count(&mut self, record: DecisionRecord) -> DecisionId {
        let address = record.client_ip.as_deref();
        let prefix = address.map(|address| prefix(address).unwrap_or_else(|| OTHER.to_owned()));
        self.count_with(record, prefix)
    }

    /// Counts what another table has counted.
    pub(super) fn merge(&mut self, other: Self) {
        for slot in other.slots {
            self.count_with(slot.record, slot.prefix);
        }
    }

    fn count_with(&mut self, record: DecisionRecord, prefix: Option<String>) -> DecisionId {
        let (reason, refused) = (record.reason, record.count.max(1));
        let requester = record.exchange.as_ref().and_then(|exchange| exchange.requester.clone());
        let kind =
            Kind { reason, resource: record.resource.clone(), pep: record.pep.clone(), requester, prefix };
        let kind = self.coarse(kind);
        if let Some(slot) = self.kinds.get(&kind).and_then(|at| self.slots.get_mut(*at)) {
            slot.record.count = slot.record.count.saturating_add(refused).min(LARGEST_COUNT);
            if slot.lacks == Lacks::Nothing {
                slot.lacks = Lacks::Count;
            }
            return slot.record.id;
        }
        let id = record.id;
        let other = kind.prefix.as_deref() == Some(OTHER);
        let record = DecisionRecord {
            resource: kind.resource.clone(),
            pep: kind.pep.clone(),
            client_ip: if other { kind.prefix.clone() } else { record.client_ip },
            count: refused.min(LARGEST_COUNT),
            // What stands for several is nobody's own.
            exchange: record.exchange.filter(|exchange| exchange.requester == kind.requester),
            ..record
        };
        self.slots.push(Slot { record, prefix: kind.prefix.clone(), lacks: Lacks::Record });
        self.kinds.insert(kind, self.slots.len() - 1);
        id
    }

    /// The kind that one is counted under: where the table fills up, kinds become coarser.
    fn coarse(&self, mut kind: Kind) -> Kind {
        if self.slots.len() >= WITH_ADDRESS && !self.kinds.contains_key(&kind) {
            kind.prefix = Some(OTHER.to_owned());
        }
        if self.slots.len() >= WITH_PLACE && !self.kinds.contains_key(&kind) {
            kind = Kind { resource: None, pep: None, requester: None, ..kind };
        }
        kind
    }

    /// The records of what was counted.
    pub(super) fn records(&self) -> Vec<DecisionRecord> {
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

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.kinds.clear();
    }
}

/// The /24 of an IPv4 address, the /48 of an IPv6 address.
pub(super) fn prefix(address: &str) -> Option<String> {
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
