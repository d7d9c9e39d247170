//! Reading the decision log: filter, count, verify. Works on the folder alone, while a service writes to it or not.
//!
//! A segment whose times cannot match is not opened. Of the rest, a line is looked at as bytes first: it has to hold
//! every wanted value in its JSON form. Only what passes is parsed. A last line without its line feed is still being
//! written, and is left alone.
//!
//! Nothing here prints: what a record looks like on a terminal is for the caller.

mod scan;
mod verify;

use std::{borrow::Cow, collections::HashMap, io, ops::ControlFlow, path::Path, path::PathBuf};

use memchr::memmem::Finder;
use palisade_model::{DecisionId, Reason, Timestamp};
use serde::Deserialize;
use thiserror::Error;

use crate::{
    line,
    record::{Outcome, Record},
};

pub use verify::{Flaw, Verification, verify};

/// Which records are wanted: those for which everything that is set holds. Records of events are among them only where
/// nothing but times and `id` is set.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// The principal, `User::"corp/alice"` or `corp/alice`.
    pub principal: Option<String>,
    /// The resource.
    pub resource: Option<String>,
    /// The action, of the decision or of one of its items: `Mcp::Action::"tools/call"` or `tools/call`.
    pub action: Option<String>,
    /// How it came out.
    pub decision: Option<Outcome>,
    /// Why it came out so.
    pub reason: Option<Reason>,
    /// A policy that decided or failed, for the decision or for one of its items.
    pub policy: Option<String>,
    /// The id of the record.
    pub id: Option<DecisionId>,
    /// The name of an event: then there are events only, and of this name.
    pub event: Option<String>,
    /// Which come first.
    pub order: Order,
}

/// Which records come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The newest.
    #[default]
    NewestFirst,
    /// The oldest.
    OldestFirst,
}

/// What to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountBy {
    /// How it came out.
    Decision,
    /// Why it came out so.
    Reason,
    /// The principal.
    Principal,
    /// The resource.
    Resource,
    /// The action.
    Action,
    /// The target.
    Target,
    /// The caller of the decision service.
    Pep,
    /// The client's address.
    ClientIp,
    /// Each policy that decided.
    Policy,
}

/// What a query went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// The records that were visited.
    pub records: u64,
    /// The decisions they stand for.
    pub decisions: u64,
    /// The segments that were read.
    pub segments_read: u64,
    /// The segments that were left out because of their times.
    pub segments_skipped: u64,
    /// The bytes that were read.
    pub bytes_read: u64,
    /// The lines that are no records.
    pub unreadable: u64,
}

/// Why a query failed.
#[derive(Debug, Error)]
#[error("cannot read the decision log `{path}`")]
pub struct QueryError {
    /// The folder or file.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

impl QueryError {
    fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }
}

/// Visits the wanted records, in order of time, until the visitor breaks off.
///
/// # Errors
/// When the folder or a segment cannot be read.
pub fn run(
    path: &Path,
    filter: &Filter,
    mut visit: impl FnMut(Record) -> ControlFlow<()>,
) -> Result<Summary, QueryError> {
    scan::scan(path, &Plan::new(filter), |line, summary| match Record::read(line) {
        Ok(record) => {
            summary.records += 1;
            summary.decisions += match &record {
                Record::Decision(record) => record.count,
                Record::Event(_) | Record::Segment(_) => 0,
            };
            visit(record)
        }
        Err(_) => {
            summary.unreadable += 1;
            ControlFlow::Continue(())
        }
    })
}

/// Counts the wanted decisions, most first. What has no value is counted under `-`.
///
/// # Errors
/// When the folder or a segment cannot be read.
pub fn count_by(
    path: &Path,
    filter: &Filter,
    by: CountBy,
) -> Result<(Vec<(String, u64)>, Summary), QueryError> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    let summary = scan::scan(path, &Plan::new(filter), |line, summary| {
        match serde_json::from_slice::<Row<'_>>(line) {
            Ok(row) if row.kind.is("palisade.decision") => {
                let count = row.count.unwrap_or(1);
                summary.records += 1;
                summary.decisions += count;
                row.values(by, |value| match counts.get_mut(value) {
                    Some(counted) => *counted += count,
                    None => drop(counts.insert(value.to_owned(), count)),
                });
            }
            Ok(_) => {}
            Err(_) => summary.unreadable += 1,
        }
        ControlFlow::Continue(())
    })?;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(name, count), (other, more)| more.cmp(count).then_with(|| name.cmp(other)));
    Ok((counts, summary))
}

/// A filter, prepared.
struct Plan<'f> {
    filter: &'f Filter,
    /// What every wanted line holds.
    needles: Vec<Finder<'static>>,
    /// The bounds in the form of the records, which sorts as the times do.
    since: Option<String>,
    until: Option<String>,
    time: Finder<'static>,
    /// Whether lines that hold the needles still have to be looked at field by field.
    by_field: bool,
}

impl<'f> Plan<'f> {
    fn new(filter: &'f Filter) -> Self {
        let member = |name: &str, value: &str| format!("\"{name}\":\"{}\"", escaped(value));
        let needles = [
            filter.principal.as_deref().map(escaped),
            filter.action.as_deref().map(escaped),
            filter.resource.as_deref().map(|name| member("resource", name)),
            filter.decision.map(|decision| member("decision", decision.as_str())),
            filter.reason.map(|reason| member("reason", reason.as_str())),
            filter.policy.as_deref().map(|id| member("id", id)),
            filter.id.map(|id| member("id", &id.to_string())),
            filter.event.as_deref().map(|name| member("name", name)),
        ];
        let needles: Vec<_> =
            needles.iter().flatten().map(|needle| Finder::new(needle).into_owned()).collect();
        Self {
            filter,
            by_field: !needles.is_empty(),
            needles,
            since: filter.since.map(|time| time.to_string()),
            until: filter.until.map(|time| time.to_string()),
            time: Finder::new("\"time\":\"").into_owned(),
        }
    }

    /// Whether a line is wanted.
    fn wants(&self, line: &[u8]) -> bool {
        if line.starts_with(br#"{"type":"palisade.segment""#) {
            return false;
        }
        let time = self.time_of(line);
        self.since.as_ref().is_none_or(|since| time >= since.as_bytes())
            && self.until.as_ref().is_none_or(|until| time < until.as_bytes())
            && self.needles.iter().all(|needle| needle.find(line).is_some())
            // A line that cannot be parsed is passed on, to be counted as unreadable.
            && (!self.by_field || serde_json::from_slice::<Row<'_>>(line).map_or(true, |row| row.fits(self.filter)))
    }

    /// The time of a line, as text. A member name in quotes cannot stand inside a JSON string.
    fn time_of<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        let begin = self.time.find(line).map_or(line.len(), |at| at + self.time.needle().len());
        let text = line.get(begin..).unwrap_or_default();
        text.get(..memchr::memchr(b'"', text).unwrap_or(0)).unwrap_or_default()
    }
}

/// A text as it stands in a line, without its quotes: cut and escaped.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(line::cut(text)).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// A text that is borrowed from the line where it has no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Text<'l>(#[serde(borrow)] Cow<'l, str>);

impl Text<'_> {
    fn is(&self, text: &str) -> bool {
        self.0 == text
    }

    /// Whether this is the entity `wanted`, given whole or as its id.
    fn is_entity(&self, wanted: &str) -> bool {
        let id = self.0.split_once("::\"").and_then(|(_, id)| id.strip_suffix('"'));
        self.0 == line::cut(wanted) || id == Some(wanted)
    }
}

/// The fields of a decision that can be filtered and counted.
#[derive(Debug, Deserialize)]
struct Row<'l> {
    #[serde(borrow, rename = "type")]
    kind: Text<'l>,
    #[serde(borrow)]
    id: Text<'l>,
    #[serde(borrow, default)]
    decision: Option<Text<'l>>,
    #[serde(borrow, default)]
    reason: Option<Text<'l>>,
    #[serde(borrow, default)]
    principal: Option<Text<'l>>,
    #[serde(borrow, default)]
    resource: Option<Text<'l>>,
    #[serde(borrow, default)]
    action: Option<Text<'l>>,
    #[serde(borrow, default)]
    target: Option<Text<'l>>,
    #[serde(borrow, default)]
    pep: Option<Text<'l>>,
    #[serde(borrow, default)]
    client_ip: Option<Text<'l>>,
    #[serde(default)]
    count: Option<u64>,
    #[serde(borrow, default)]
    determining_policies: Vec<Policy<'l>>,
    #[serde(borrow, default)]
    policy_errors: Vec<Policy<'l>>,
    #[serde(borrow, default)]
    items: Vec<ItemRow<'l>>,
    #[serde(borrow, default)]
    event: Option<EventRow<'l>>,
}

#[derive(Debug, Deserialize)]
struct EventRow<'l> {
    #[serde(borrow)]
    name: Text<'l>,
}

#[derive(Debug, Deserialize)]
struct Policy<'l> {
    #[serde(borrow)]
    id: Text<'l>,
}

#[derive(Debug, Deserialize)]
struct ItemRow<'l> {
    #[serde(borrow)]
    action: Text<'l>,
    #[serde(borrow, default)]
    determining_policies: Vec<Policy<'l>>,
}

impl Row<'_> {
    fn fits(&self, filter: &Filter) -> bool {
        let is = |field: &Option<Text<'_>>, wanted: &str| field.as_ref().is_some_and(|text| text.is(wanted));
        filter.id.is_none_or(|id| self.id.is(&id.to_string()))
            && filter.decision.is_none_or(|decision| is(&self.decision, decision.as_str()))
            && filter.reason.is_none_or(|reason| is(&self.reason, reason.as_str()))
            && filter.resource.as_ref().is_none_or(|name| is(&self.resource, name))
            && filter.principal.as_ref().is_none_or(|wanted| {
                self.principal.as_ref().is_some_and(|principal| principal.is_entity(wanted))
            })
            && filter
                .action
                .as_ref()
                .is_none_or(|wanted| self.actions().any(|action| action.is_entity(wanted)))
            && filter
                .event
                .as_ref()
                .is_none_or(|wanted| self.event.as_ref().is_some_and(|event| event.name.is(wanted)))
            && filter.policy.as_ref().is_none_or(|wanted| self.policies().any(|id| id.is(line::cut(wanted))))
    }

    fn actions(&self) -> impl Iterator<Item = &Text<'_>> {
        self.action.iter().chain(self.items.iter().map(|item| &item.action))
    }

    fn policies(&self) -> impl Iterator<Item = &Text<'_>> {
        let items = self.items.iter().flat_map(|item| &item.determining_policies);
        self.determining_policies.iter().chain(&self.policy_errors).chain(items).map(|policy| &policy.id)
    }

    /// Gives the values to count by.
    fn values(&self, by: CountBy, mut each: impl FnMut(&str)) {
        let field = match by {
            CountBy::Decision => &self.decision,
            CountBy::Reason => &self.reason,
            CountBy::Principal => &self.principal,
            CountBy::Resource => &self.resource,
            CountBy::Action => &self.action,
            CountBy::Target => &self.target,
            CountBy::Pep => &self.pep,
            CountBy::ClientIp => &self.client_ip,
            CountBy::Policy => {
                self.determining_policies.iter().for_each(|policy| each(&policy.id.0));
                if self.determining_policies.is_empty() {
                    each("-");
                }
                return;
            }
        };
        each(field.as_ref().map_or("-", |text| &text.0));
    }
}

#[cfg(test)]
mod tests;
