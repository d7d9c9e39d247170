//! What the record says of an operation. It has as many parts as an operation may have questions, and names but some: a part
//! that is not named costs a look at its verdict, and no text.

use std::collections::HashSet;

use palisade_audit::{ItemRecord, Outcome as Recorded};
use palisade_model::{Action, Asked, Item, Reason, Target};
use palisade_policy::Verdict;

use super::{Lack, Lacking, Left, stands_alone};
use crate::{Snapshot, decide::Outcome, question::Believed, record};

/// How many items the record names.
const MOST_RECORDED: usize = 500;

/// What is to be recorded of an operation.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// The item whose verdict stands for the decision.
    pub(crate) deciding: usize,
    /// What is denied, where that is not the deciding item.
    pub(crate) part: Option<(Action, Target)>,
    /// Whether anything is not granted.
    pub(crate) lacks: bool,
    /// How many different parts are denied.
    pub(crate) denied: usize,
    /// What the record names, the denied first.
    pub(crate) items: Vec<ItemRecord>,
    /// What is left of it without what is denied, for an entry that sends that on.
    pub(crate) left: Option<Left>,
    /// Whether the denial of the operation is one of its parts. What else denies it is told as it is of every request.
    pub(crate) of_parts: bool,
}

/// What is known of a part.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// The policies were asked about it.
    Asked(&'a Item, &'a Verdict),
    /// A directive denies it.
    Lacking(&'a Target, Reason),
}

impl Account {
    /// How many of how many, for the record.
    pub(crate) fn told(&self, asked: &Asked, outcome: Outcome) -> String {
        let parts = asked.items.len();
        // A name that is denied takes nothing out where another will do.
        match self.left.as_ref().filter(|_| outcome == Outcome::InPart) {
            Some(left) => format!("an operation: {parts} parts, {} denied and taken out", left.taken),
            None => format!("an operation: {parts} parts, {} denied", self.denied),
        }
    }

    /// What the client is told of an operation of which nothing is left.
    pub(crate) fn told_of_nothing(&self) -> Option<&str> {
        let left = self.left.as_ref().filter(|left| self.of_parts && left.body.is_none())?;
        Some(&left.told)
    }
}

/// What the record says of the items: the denied first, those by directives among them. A place that is denied twice, or denied by a
/// directive and permitted by the policies, is told once.
pub(super) fn account(
    snapshot: &Snapshot,
    asked: &Believed<'_>,
    verdicts: &[Verdict],
    lacks: &[Lack],
) -> Account {
    let field = Action::graphql("field");
    let (mut told, mut items, mut denied) = (HashSet::new(), Vec::new(), 0_usize);
    let parts = || asked.items().zip(verdicts).map(|(item, verdict)| Part::Asked(item, verdict));
    let of_policies = parts().filter(|part| !part.is_permitted());
    let of_directives = lacks.iter().filter_map(Part::of);
    for part in of_policies.chain(of_directives).filter(|part| told.insert(part.named(&field))) {
        denied = denied.saturating_add(1);
        if items.len() < MOST_RECORDED {
            items.push(part.record(snapshot, &field));
        }
    }
    let permitted = parts().filter(|part| part.is_permitted() && told.insert(part.named(&field)));
    let room = MOST_RECORDED.saturating_sub(items.len());
    items.extend(permitted.take(room).map(|part| part.record(snapshot, &field)));
    Account { deciding: 0, part: None, lacks: !lacks.is_empty(), denied, items, left: None, of_parts: false }
}

impl<'a> Part<'a> {
    /// What a directive denies, where the policies have not: an item has its own verdict.
    fn of(lack: &'a Lack) -> Option<Self> {
        let reason = match &lack.why {
            Lacking::Authentication => Reason::NoCredentials,
            Lacking::Scopes(_) => Reason::InsufficientScope,
            Lacking::Names(_) => Reason::NoPermit,
            // A field of an interface is denied with that of an implementer, and has a permit of its own.
            Lacking::Permit if lack.target.type_name == "Graphql::Field" => Reason::NoPermit,
            Lacking::Permit => return None,
        };
        Some(Self::Lacking(&lack.target, reason))
    }

    fn is_permitted(&self) -> bool {
        match self {
            Self::Asked(_, verdict) => verdict.permits(),
            Self::Lacking(..) => false,
        }
    }

    /// What it is told by. What a directive stands on are fields.
    fn named(&self, field: &'a Action) -> (&'a Action, &'a Target) {
        match *self {
            Self::Asked(item, _) => (&item.action, &item.target),
            Self::Lacking(target, _) => (field, target),
        }
    }

    fn record(&self, snapshot: &Snapshot, field: &Action) -> ItemRecord {
        match *self {
            Self::Asked(item, verdict) => {
                let (reason, _) = reason_of(snapshot, item, verdict);
                ItemRecord { reason, ..record::item_record(item, verdict) }
            }
            Self::Lacking(target, reason) => ItemRecord {
                principal: None,
                action: field.entity(),
                target: target.entity(),
                decision: Recorded::Deny,
                reason,
                determining_policies: Vec::new(),
            },
        }
    }
}

/// The reason of an item's verdict. A name that no policy is about is not just denied: nobody has decided it.
pub(super) fn reason_of(snapshot: &Snapshot, item: &Item, verdict: &Verdict) -> (Reason, Option<String>) {
    let undecided = !stands_alone(item)
        && verdict.reason() == Reason::NoPermit
        && snapshot.policies.leaves_undecided(&item.target);
    if undecided {
        let detail =
            format!("no policy could ever permit `{}`, which the schema names", item.target.entity());
        return (Reason::PolicyError, Some(detail));
    }
    (verdict.reason(), None)
}
