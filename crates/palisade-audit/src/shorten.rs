//! What is left of a record that is too long: for a line, or for a slot of counted refusals.
//!
//! A decision that leaves no record would be a denial with no trace of why, so there is always something short enough:
//! first the lists are cut, then all goes but who did what to what, and how it came out.

use crate::{
    line,
    record::{DecisionRecord, Record},
};

/// The longest line of a record.
pub(crate) const LONGEST_LINE: usize = 256 * 1024;
/// How many entries a list keeps where the record is too long.
const KEPT: usize = 20;

/// The line of a decision, no longer than [`LONGEST_LINE`].
pub(crate) fn line_of(record: DecisionRecord) -> Result<Vec<u8>, serde_json::Error> {
    let whole = Record::Decision(Box::new(record));
    let line = line::encode(&whole)?;
    match whole {
        Record::Decision(record) if line.len() > LONGEST_LINE => {
            let record = with_short_lists(*record);
            let line = line::encode(&Record::Decision(Box::new(record.clone())))?;
            if line.len() <= LONGEST_LINE {
                return Ok(line);
            }
            line::encode(&Record::Decision(Box::new(essentials(&record))))
        }
        Record::Decision(_) | Record::Event(_) | Record::Segment(_) => Ok(line),
    }
}

/// The record with the first entries of each list, and a note of it in `detail`.
fn with_short_lists(mut record: DecisionRecord) -> DecisionRecord {
    let mut cut = Vec::new();
    let mut note = |name: &'static str, length: usize| {
        if length > KEPT {
            cut.push(name);
        }
    };
    note("items", record.items.len());
    note("determining_policies", record.determining_policies.len());
    note("policy_errors", record.policy_errors.len());
    note("principal_in", record.principal_in.len());
    note("ignored", record.ignored.len());
    record.ignored.truncate(KEPT);
    record.principal_in.truncate(KEPT);
    record.items.truncate(KEPT);
    record.determining_policies.truncate(KEPT);
    record.policy_errors.truncate(KEPT);
    if let Some(exchange) = &mut record.exchange {
        note("exchange.determining_policies", exchange.determining_policies.len());
        note("exchange.policy_errors", exchange.policy_errors.len());
        exchange.determining_policies.truncate(KEPT);
        exchange.policy_errors.truncate(KEPT);
    }
    for item in &mut record.items {
        note("items.determining_policies", item.determining_policies.len());
        item.determining_policies.truncate(KEPT);
    }
    cut.dedup();
    if !cut.is_empty() {
        add_detail(&mut record, &format!("{} cut", cut.join(", ")));
    }
    record
}

/// Who did what to what and how it came out. INVARIANT: no field of it can grow beyond what `line` keeps of a string.
fn essentials(record: &DecisionRecord) -> DecisionRecord {
    let mut essentials = DecisionRecord {
        policy_code: record.policy_code.clone(),
        detail: record.detail.clone(),
        principal: record.principal.clone(),
        asserted: record.asserted,
        found: record.found,
        client: record.client.clone(),
        issuer: record.issuer.clone(),
        token_id: record.token_id.clone(),
        action: record.action.clone(),
        target: record.target.clone(),
        policy_revision: record.policy_revision.clone(),
        policy_source: record.policy_source.clone(),
        candidates: record.candidates,
        request_id: record.request_id.clone(),
        trace_id: record.trace_id.clone(),
        span_id: record.span_id.clone(),
        path: record.path.clone(),
        input_digest: record.input_digest.clone(),
        ..kind(record)
    };
    add_detail(&mut essentials, "cut to the essentials");
    essentials
}

/// No more than what makes the kind of a refusal, without a word of the subject: for counting.
pub(crate) fn kind(record: &DecisionRecord) -> DecisionRecord {
    let mut kind = DecisionRecord::new(record.id, record.time);
    kind.duration_us = record.duration_us;
    kind.decision = record.decision;
    kind.reason = record.reason;
    kind.resource.clone_from(&record.resource);
    kind.pep.clone_from(&record.pep);
    kind.surface = record.surface;
    kind.client_ip.clone_from(&record.client_ip);
    kind.count = record.count;
    kind
}

/// The note comes first: the end of a long detail is cut.
fn add_detail(record: &mut DecisionRecord, note: &str) {
    record.detail = Some(match record.detail.take() {
        Some(detail) => format!("{note}; {detail}"),
        None => note.to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use palisade_model::{DecisionId, Reason, Timestamp};

    use super::*;
    use crate::record::{ItemRecord, Outcome, PolicyFailure, PolicyRef};

    fn read(record: DecisionRecord) -> DecisionRecord {
        let line = line_of(record).unwrap();
        assert!(line.len() <= LONGEST_LINE);
        match serde_json::from_slice(&line).unwrap() {
            Record::Decision(record) => *record,
            Record::Event(_) | Record::Segment(_) => panic!("a decision is read back"),
        }
    }

    fn record(text: &str, entries: usize) -> DecisionRecord {
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let mut record = DecisionRecord::new(DecisionId::new(now), now);
        let policy = PolicyRef { id: text.to_owned(), file: text.to_owned(), line: 1 };
        let item = ItemRecord {
            principal: None,
            action: text.to_owned(),
            target: text.to_owned(),
            decision: Outcome::Permit,
            reason: Reason::Permitted,
            determining_policies: vec![policy.clone(); entries],
        };
        let failure =
            PolicyFailure { id: text.to_owned(), file: text.to_owned(), line: 1, message: text.to_owned() };
        record.decision = Outcome::Permit;
        record.reason = Reason::Permitted;
        record.principal = Some("User::\"corp/alice\"".to_owned());
        record.detail = Some("as before".to_owned());
        record.items = vec![item; entries];
        record.determining_policies = vec![policy; entries];
        record.policy_errors = vec![failure; entries];
        record
    }

    #[test]
    fn a_record_that_fits_is_left_alone() {
        let record = record("short", 30);
        assert_eq!(read(record.clone()), record);
    }

    #[test]
    fn lists_are_cut_before_anything_else() {
        let long = record("a long name of a policy", 300);
        let read = read(long.clone());
        let lists = [read.items.len(), read.determining_policies.len(), read.policy_errors.len()];
        assert_eq!(lists, [KEPT; 3]);
        assert_eq!(read.items[0].determining_policies.len(), KEPT);
        assert_eq!(
            read.detail.as_deref(),
            Some("items, determining_policies, policy_errors, items.determining_policies cut; as before")
        );
        assert_eq!((read.id, read.decision, read.principal), (long.id, long.decision, long.principal));
    }

    #[test]
    fn whatever_comes_something_is_left() {
        let text = "\u{1}".repeat(300);
        let mut worst = record(&text, 50);
        worst.actors = vec![text.clone(); 2_000];
        for field in [
            &mut worst.policy_code,
            &mut worst.detail,
            &mut worst.client,
            &mut worst.token_id,
            &mut worst.action,
            &mut worst.target,
            &mut worst.policy_source,
            &mut worst.request_id,
            &mut worst.trace_id,
            &mut worst.span_id,
            &mut worst.path,
            &mut worst.input_digest,
            &mut worst.client_ip,
        ] {
            *field = Some(text.clone());
        }
        let read = read(worst.clone());
        assert!(read.detail.unwrap().starts_with("cut to the essentials; items"));
        assert_eq!((read.id, read.decision, read.principal), (worst.id, worst.decision, worst.principal));
        assert!(read.items.is_empty() && read.actors.is_empty());
    }
}
