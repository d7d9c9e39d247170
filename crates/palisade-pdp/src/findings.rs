//! What the policies said of each item, beside the decision: for callers that may know why.
//!
//! A decision says what to do. Findings say how it came about, and how each item of a batch came out. They come from
//! [`Pdp::decide_and_explain`](crate::Pdp::decide_and_explain) alone, so that an entry that calls [`Pdp::decide`](crate::Pdp::decide)
//! has nothing to give away.

use palisade_model::Scopes;
use palisade_policy::{NearPermit, Verdict};

use crate::{
    Decision, Parted,
    decide::{Judgement, Outcome},
    principal::{Principal, Proven},
};

/// What the policies said of the items of one request.
#[derive(Debug, Default)]
pub struct Findings {
    detail: Option<String>,
    missing_scopes: Scopes,
    nearest: Vec<NearPermit>,
    verdicts: Vec<Verdict>,
    proven: Option<Proven>,
    /// Whether an item may be let by; `None` where none may, whatever its verdict.
    passage: Option<Passage>,
}

/// How items are let by that a verdict lets by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// The permitted ones are, and no others.
    Enforced,
    /// The denied ones are, too, because the resource is under observation.
    Observed,
}

/// How an item came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemOutcome {
    /// The policies permit it.
    Permit,
    /// The policies deny it, and it is let by because the resource is under observation.
    Observed,
    /// It is denied.
    Deny,
}

/// What the policies said of one item.
#[derive(Debug, Clone, Copy)]
pub struct Finding<'a> {
    /// How it came out.
    pub outcome: ItemOutcome,
    /// What the policies said.
    pub verdict: &'a Verdict,
}

impl Findings {
    /// What a judgement found, once its decision is made.
    pub(crate) fn new(judgement: Judgement, decided: &Parted, recorded: bool) -> Self {
        // INVARIANT: no item is let by that is not on the record, was decided too late, or of a request that was denied
        // for more than what the policies say. Denials of anonymous callers are counted, not written one by one.
        let passage = match (decided, judgement.outcome) {
            (Parted::Whole(Decision::Permit(_)), _) => Some(Passage::Enforced),
            (Parted::Whole(Decision::Observed(_)), _) => Some(Passage::Observed),
            // What goes on is in the permit, and nowhere else.
            (Parted::InPart(_), _) => None,
            (Parted::Whole(Decision::Deny(denial)), Outcome::Deny(reason)) => {
                let known = judgement.principal.as_ref().is_some_and(Principal::is_known);
                let stands = recorded && known && judgement.in_time && denial.reason == reason;
                stands.then_some(Passage::Enforced)
            }
            (Parted::Whole(Decision::Deny(_)), Outcome::Permit | Outcome::InPart | Outcome::Observe(_)) => {
                None
            }
        };
        let proven = judgement.principal.as_ref().filter(|_| passage.is_some());
        Self {
            passage,
            proven: proven.and_then(|principal| Proven::of(principal, &judgement.scopes)),
            detail: judgement.detail,
            missing_scopes: judgement.missing_scopes,
            nearest: judgement.nearest,
            verdicts: judgement.verdicts,
        }
    }

    /// What was found of each item, in the order of the request. Nothing where no item may be let by, whatever the
    /// policies say of it: then every item is denied, for the reason of the decision.
    pub fn items(&self) -> impl Iterator<Item = Finding<'_>> {
        self.passage.into_iter().flat_map(|passage| {
            self.verdicts.iter().map(move |verdict| {
                let outcome = match (verdict.permits(), passage) {
                    (true, _) => ItemOutcome::Permit,
                    (false, Passage::Observed) => ItemOutcome::Observed,
                    (false, Passage::Enforced) => ItemOutcome::Deny,
                };
                Finding { outcome, verdict }
            })
        })
    }

    /// Who was proven to ask. Nobody where no item may be let by.
    #[must_use]
    pub fn proven(&self) -> Option<&Proven> {
        self.proven.as_ref()
    }

    /// What was found of the item that decided: the first that is not permitted, else the first.
    #[must_use]
    pub fn deciding(&self) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| !verdict.permits()).or_else(|| self.verdicts.first())
    }

    /// Why the policies were not asked, where they were not; holds no value of the request.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref().or_else(|| self.deciding().and_then(Verdict::detail))
    }

    /// The permits that came nearest to permitting the item that decided, the nearest first.
    #[must_use]
    pub fn nearest(&self) -> &[NearPermit] {
        &self.nearest
    }

    /// The scopes that would have turned the denial into a permit, without those the token has.
    #[must_use]
    pub fn missing_scopes(&self) -> &Scopes {
        &self.missing_scopes
    }
}
