//! What of a list its reader may see: one decision for the whole list, with one record.
//!
//! The steps are those of a decision, in the same order and for the same reasons: who calls and what it may ask about, who
//! is asked for, whether one may list at all, then each entry, then the record, then the answer. An entry is shown by the
//! decision on its own call ([`Asking::list`](palisade_policy::Asking::list)), so that a list and a call never disagree;
//! nothing is let in by it. What of a schema somebody is shown is such a list, of its fields: who has read the schema takes from
//! what the policies permit what its directives do not grant.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use palisade_audit::{DecisionRecord, ItemRecord, Outcome as Recorded};
use palisade_model::{AccessRequest, DecisionId, Item, Reason, Refusal, Scopes, Timestamp};
use palisade_policy::{Offer, Reach};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::{
    Denial, Granted, MOST_PARTS, Pdp, Remedy, Reply, Resource, Snapshot,
    operation::stands_alone,
    principal::{self, Principal},
    question::{Question, about, believed, circumstances, permitted_resource, readable},
    record,
};

/// The most entries of a list. One that is longer is not answered.
pub const MOST_ENTRIES: usize = 10_000;
/// How many entries a record names.
const MOST_RECORDED: usize = 500;
/// How many entries are asked about before other work gets its turn.
const A_TURN: usize = 16;

/// What a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListMode {
    /// What is permitted, or would be after a step-up, with some arguments.
    #[default]
    Reachable,
    /// What is permitted with some arguments.
    Permitted,
}

/// A list that somebody asked for.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// Who asked, and for what: one item, such as `tools/list`, or the items of an operation.
    pub access: AccessRequest,
    /// The calls of the entries, in the list's order: with their arguments, or without, for whatever arguments.
    pub entries: Vec<Item>,
    /// What is listed.
    pub of: ListOf,
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOf {
    /// What a server has answered. The list itself has to be permitted; what is shown is for the resource to say ([`ListMode`]).
    Entries,
    /// There is no list: only each entry's own call is asked about, as it would be decided now, with no stronger token.
    Calls,
    /// A schema: what is permitted of it now. The operation that asks has to be permitted.
    Fields,
}

/// Says from what the policies permit which entries are shown: whoever has read more of them than the policies know. What was not
/// permitted it cannot show.
pub type Narrowing<'a> = dyn Fn(&Granted<'_>) -> Vec<bool> + Send + Sync + 'a;

/// How the question came out.
#[derive(Debug)]
pub enum Listed {
    /// What of the list may be seen, which is on the record.
    Shown {
        /// The id of the record.
        id: DecisionId,
        /// For each entry whether it is shown.
        shown: Vec<bool>,
        /// Whether everything is shown because the resource is under observation.
        observed: bool,
    },
    /// Nothing of it may be seen.
    Refused(Denial),
}

/// What the steps found out, for the record.
#[derive(Debug, Default)]
struct Account {
    resource: Option<Arc<Resource>>,
    principal: Option<Principal>,
    scopes: Scopes,
    /// Whether policy denials are let by.
    observed: bool,
    /// Whether the list itself is denied.
    denied: bool,
    exhausted: usize,
}

impl Pdp {
    /// Says what of a list may be seen. Always answers, within the deadline and what a last record takes.
    pub async fn list(&self, snapshot: &Arc<Snapshot>, request: &ListRequest, patience: Duration) -> Listed {
        self.list_read(snapshot, request, None, patience).await
    }

    /// The same, with what its reader takes away.
    pub async fn list_read(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &ListRequest,
        narrowing: Option<&Narrowing<'_>>,
        patience: Duration,
    ) -> Listed {
        let started = self.now();
        let deadline = Instant::now() + patience.min(snapshot.limits.deadline);
        let mut account = Account::default();
        // Held until the record is written, as for a decision.
        let admitted = self.admit();
        let found = if admitted.is_some() {
            let steps = self.steps_of_list(snapshot, request, narrowing, started, deadline, &mut account);
            match timeout_at(deadline, AssertUnwindSafe(steps).catch_unwind()).await {
                Ok(Ok(found)) => found,
                Ok(Err(_panic)) => Err(Refusal::new(Reason::InternalError, "the decision panicked")),
                Err(_elapsed) => Err(too_late()),
            }
        } else {
            Err(Refusal::new(Reason::Overloaded, "too much is under way"))
        };
        for _ in 0..account.exhausted {
            self.metrics().step_up_exhausted();
        }
        self.conclude_list(snapshot, request, &account, found, started, deadline).await
    }

    async fn steps_of_list(
        &self,
        snapshot: &Snapshot,
        request: &ListRequest,
        narrowing: Option<&Narrowing<'_>>,
        now: Timestamp,
        deadline: Instant,
        account: &mut Account,
    ) -> Result<Vec<bool>, Refusal> {
        let access = &request.access;
        let resource = permitted_resource(snapshot, access)?;
        account.resource = Some(Arc::clone(&resource));
        let principal = principal::authenticate(snapshot, &resource, access, now).await?;
        let asker = snapshot.askers.get(&snapshot.policies, &resource, &principal);
        account.scopes.clone_from(asker.subject.scopes());
        account.principal = Some(principal.clone());
        let asked = believed(snapshot, access, readable(access, request.of.most_items())?, Some(&principal));
        if request.entries.len() > MOST_ENTRIES {
            return Err(Refusal::new(Reason::RequestMalformed, "the list has too many entries"));
        }
        let circumstances = circumstances(access, now);
        let asking = snapshot.policies.ask(&asker.subject, &circumstances);
        let question = Question { resource: &resource, principal: &principal, asking };
        account.observed = resource.observe_until.is_some_and(|until| now < until);
        let own = asked.items().filter(|item| request.of.is_asked_for() && stands_alone(item));
        for item in own {
            let verdict = question.asking.about(&about(item, &resource));
            account.denied |= !verdict.permits();
            if account.denied && !account.observed {
                return Err(Refusal::new(verdict.reason(), "the policies do not permit the list itself"));
            }
        }
        let offer = Offer {
            step_up: &resource.scopes.step_up,
            implies: &resource.scopes.implies,
            acr_values: &resource.acr_values,
            max_age: &resource.max_age,
        };
        let offered = request.of.offers() && resource.step_up && resource.list == ListMode::Reachable;
        let mut list = question.asking.list(offered.then_some(&offer));
        let mut shown = Vec::with_capacity(request.entries.len());
        for (number, entry) in request.entries.iter().enumerate() {
            if number % A_TURN == A_TURN - 1 {
                tokio::task::yield_now().await;
                if Instant::now() >= deadline {
                    return Err(too_late());
                }
            }
            let about = about(entry, &resource);
            let is_shown = if !may_be_asked(entry, &principal, &resource) {
                false
            } else if entry.arguments.is_some() {
                question.asking.about(&about).permits()
            } else {
                let reach = list.reach(&about);
                account.exhausted += usize::from(reach == Reach::Exhausted);
                reach.is_reachable()
            };
            shown.push(is_shown);
        }
        if let Some(narrowing) = narrowing {
            let authenticated = principal.is_known();
            let granted = Granted { authenticated, scopes: &account.scopes, items: &shown };
            let narrowed = narrowing(&granted);
            // INVARIANT: nothing is shown that the policies do not permit, nor what was not spoken of.
            let spoken_of = narrowed.into_iter().chain(std::iter::repeat(false));
            shown = shown.into_iter().zip(spoken_of).map(|(permitted, shown)| permitted && shown).collect();
        }
        if Instant::now() >= deadline { Err(too_late()) } else { Ok(shown) }
    }

    /// Records the list and answers.
    async fn conclude_list(
        &self,
        snapshot: &Snapshot,
        request: &ListRequest,
        account: &Account,
        found: Result<Vec<bool>, Refusal>,
        started: Timestamp,
        deadline: Instant,
    ) -> Listed {
        let id = DecisionId::new(started);
        let duration = self.now().since(started);
        let record = record_of(id, snapshot, request, account, &found, started, duration);
        let receipt = self.record_by(record, deadline).await;
        let id = receipt.as_ref().map_or(id, palisade_audit::AuditReceipt::id);
        let refused = |reason| Listed::Refused(denial(id, reason, request, account));
        let (listed, reason) = match (found, receipt) {
            (Ok(_), Some(_recorded)) if account.observed => (
                Listed::Shown { id, shown: vec![true; request.entries.len()], observed: true },
                Reason::Permitted,
            ),
            (Ok(shown), Some(_recorded)) => (Listed::Shown { id, shown, observed: false }, Reason::Permitted),
            (Ok(_), None) => (refused(Reason::AuditUnavailable), Reason::AuditUnavailable),
            (Err(refusal), _) => (refused(refusal.reason), refusal.reason),
        };
        let resource = account.resource.as_ref().map(|resource| resource.name.as_str());
        self.metrics().listed(request.access.surface, resource, reason, duration);
        listed
    }
}

/// Whether it reaches the policies at all: an operation of nobody does where the resource lets it.
fn may_be_asked(entry: &Item, principal: &Principal, resource: &Resource) -> bool {
    principal.is_known() || !entry.action.is_operation() || resource.anonymous.contains(&entry.action.name)
}

fn too_late() -> Refusal {
    Refusal::new(Reason::DeadlineExceeded, "the deadline passed")
}

fn denial(id: DecisionId, reason: Reason, request: &ListRequest, account: &Account) -> Denial {
    let asked = request.access.asked.as_ref().ok();
    let reply = |item: &Item| Reply { action: item.action.name.clone(), id: item.reply_to.clone() };
    Denial {
        id,
        reason,
        resource: account.resource.clone(),
        remedy: Remedy::None,
        retry_after: None,
        policy_code: None,
        replies: asked.map(|asked| asked.items.iter().map(reply).collect()).unwrap_or_default(),
        batch: false,
        told: None,
    }
}

fn record_of(
    id: DecisionId,
    snapshot: &Snapshot,
    request: &ListRequest,
    account: &Account,
    found: &Result<Vec<bool>, Refusal>,
    time: Timestamp,
    duration: Duration,
) -> DecisionRecord {
    let mut record = DecisionRecord::new(id, time);
    record.duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    record.resource = account.resource.as_ref().map(|resource| resource.name.clone());
    record.policy_revision = Some(snapshot.revision.clone());
    record.policy_source = Some(snapshot.source.clone());
    if let Some(principal) = &account.principal {
        record::add_principal(&mut record, principal, &account.scopes);
    }
    record::add_request(&mut record, &request.access);
    if let Some(item) = request.access.asked.as_ref().ok().and_then(|asked| asked.items.first()) {
        record.action = Some(item.action.entity());
        record.target = Some(item.target.entity());
    }
    match found {
        Err(refusal) => {
            record.reason = refusal.reason;
            record.detail = Some(format!("{}: {}", request.of.told(), refusal.detail));
        }
        Ok(shown) => {
            let count = shown.iter().filter(|shown| **shown).count();
            let (decision, reason) = match account.observed && (account.denied || count < shown.len()) {
                true => (Recorded::Observed, Reason::Observed),
                false => (Recorded::Permit, Reason::Permitted),
            };
            (record.decision, record.reason) = (decision, reason);
            record.detail = Some(format!("{}: {count} of {} entries", request.of.told(), shown.len()));
            let entries = request.entries.iter().zip(shown).filter(|(_, shown)| **shown);
            record.items = entries.take(MOST_RECORDED).map(|(item, _)| entry(item)).collect();
            record.found = u64::try_from(count).ok();
        }
    }
    record
}

impl ListOf {
    /// The most items by which it is asked for.
    const fn most_items(self) -> usize {
        match self {
            Self::Entries | Self::Calls => 1,
            Self::Fields => MOST_PARTS,
        }
    }

    /// Whether it is asked for by what has to be permitted itself.
    const fn is_asked_for(self) -> bool {
        match self {
            Self::Entries | Self::Fields => true,
            Self::Calls => false,
        }
    }

    /// Whether what a stronger token would permit may be shown.
    const fn offers(self) -> bool {
        match self {
            Self::Entries => true,
            Self::Calls | Self::Fields => false,
        }
    }

    const fn told(self) -> &'static str {
        match self {
            Self::Entries | Self::Calls => "a list",
            Self::Fields => "a schema",
        }
    }
}

fn entry(item: &Item) -> ItemRecord {
    ItemRecord {
        principal: None,
        action: item.action.entity(),
        target: item.target.entity(),
        decision: Recorded::Permit,
        reason: Reason::Permitted,
        determining_policies: Vec::new(),
    }
}
