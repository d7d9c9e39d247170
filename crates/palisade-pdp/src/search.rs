//! Who can do what: a search, answered page by page, each page one decision on the record.
//!
//! The steps are those of a decision, in the same order and for the same reasons: who calls and what it may ask about,
//! who is asked for, then the policies, then the record, then the answer. What is found is what an evaluation would
//! permit at the same moment; nothing is let in by it.
//!
//! A page says where the next begins by a token. It holds a position and no name, since a name between two results is
//! one that the caller may not see, and it is good for the same question of the same caller under the same revision:
//! whatever else comes with it is refused, so that pages of different questions are never put together.

mod seal;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use palisade_audit::{DecisionRecord, ItemRecord, Outcome as Recorded};
use palisade_model::{
    AccessRequest, Action, Circumstances, Credential, DecisionId, Item, Reason, Refusal, Scopes, Subject,
    SubjectKind, Surface, Target, Timestamp,
};
use palisade_policy::{Found, Inputs, Search, SearchError, Strength};
use tokio::time::{Instant, timeout_at};

use self::seal::Seal;
use crate::{
    Pdp, Resource, Snapshot,
    askers::Asker,
    principal::{self, Principal},
    question::{believed, circumstances, permitted},
    record,
};

/// How many a page holds where the caller does not say.
const DEFAULT_PAGE: usize = 100;
/// How many a page may hold.
const MOST_ON_A_PAGE: usize = 500;
/// How many questions a page may ask the policies.
const MOST_QUESTIONS: usize = 2_000;
/// How long a page may take of a processor. A search does not wait for anything, so that nothing else runs there
/// meanwhile; and one search at a time asks the policies, so that decisions have the other processors.
const ON_A_PROCESSOR: Duration = Duration::from_millis(20);

/// A search.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// Who asks, for whom, and about what: one item, or why it could not be read. What is sought is not looked at: the
    /// credential where subjects are sought, the target's id, or the action's name. The surface is that of the
    /// evaluations whose answers are sought.
    pub access: AccessRequest,
    /// What is sought.
    pub sought: Sought,
    /// Whether what is permitted with some arguments is found, and not only what is with those that are given.
    pub any_arguments: bool,
    /// The most that are found on a page.
    pub limit: Option<usize>,
    /// Where the page begins, as the page before it said.
    pub token: Option<String>,
}

/// What a search is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// The subjects of a kind.
    Subjects(SubjectKind),
    /// The targets of a type, or of every type that the action is done to.
    Targets(Option<String>),
    /// The actions.
    Actions,
}

/// How a search came out.
#[derive(Debug)]
pub enum Searched {
    /// A page, which is on the record.
    Found(Page),
    /// The caller gets no answer, for this reason.
    Refused(DecisionId, Reason),
}

/// A page of what was found.
#[derive(Debug)]
pub struct Page {
    /// The id of the record.
    pub id: DecisionId,
    /// What was found, in order.
    pub results: Results,
    /// Where the next page begins; nothing where this is the last.
    pub next: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Results {
    /// Subjects.
    Subjects(Vec<Subject>),
    /// Targets.
    Targets(Vec<Target>),
    /// Actions.
    Actions(Vec<Action>),
}

/// What the steps found out, for the record.
#[derive(Debug, Default)]
struct Account {
    resource: Option<Arc<Resource>>,
    principal: Option<Principal>,
    scopes: Scopes,
}

impl Pdp {
    /// Searches. Always answers, within the deadline and what a last record takes.
    pub async fn search(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &SearchRequest,
        patience: Duration,
    ) -> Searched {
        let started = self.now();
        let deadline = Instant::now() + patience.min(snapshot.limits.deadline);
        let mut account = Account::default();
        // Held until the record is written, as for a decision.
        let admitted = self.admit();
        let found = if admitted.is_some() {
            let steps = self.steps_of_search(snapshot, request, started, deadline, &mut account);
            match timeout_at(deadline, AssertUnwindSafe(steps).catch_unwind()).await {
                // A search on the processor alone cannot be interrupted; it is none when it comes too late.
                Ok(Ok(Ok(_))) if Instant::now() >= deadline => Err(too_late()),
                Ok(Ok(found)) => found,
                Ok(Err(_panic)) => Err(Refusal::new(Reason::InternalError, "the search panicked")),
                Err(_elapsed) => Err(too_late()),
            }
        } else {
            Err(Refusal::new(Reason::Overloaded, "too much is under way"))
        };
        self.conclude_search(snapshot, request, &account, found, started, deadline).await
    }

    async fn steps_of_search(
        &self,
        snapshot: &Snapshot,
        request: &SearchRequest,
        now: Timestamp,
        deadline: Instant,
        account: &mut Account,
    ) -> Result<(Results, Option<String>), Refusal> {
        let access = &request.access;
        let Some(resource) = resource_of(snapshot, access)? else {
            return Ok((request.sought.nothing(), None));
        };
        account.resource = Some(Arc::clone(&resource));
        if !knows_types(snapshot, request) {
            return Ok((request.sought.nothing(), None));
        }
        let principal = match &request.sought {
            Sought::Subjects(kind) => {
                principal::may_assert(snapshot, access, kind)?;
                None
            }
            Sought::Targets(_) | Sought::Actions => {
                Some(principal::authenticate(snapshot, &resource, access, now).await?)
            }
        };
        account.principal.clone_from(&principal);
        let asked = access.asked.as_ref().map_err(Clone::clone)?;
        let asked = believed(snapshot, access, asked, principal.as_ref());
        let Some(item) = asked.only() else {
            return Err(Refusal::new(Reason::RequestMalformed, "a search is about one item"));
        };
        let seal = Seal { pdp: self, snapshot, request, item, principal: principal.as_ref() };
        let (from, limit) = seal.open()?;
        if limit == 0 {
            return Ok((request.sought.nothing(), Some(seal.token(from, limit))));
        }
        let _turn = self.searching.acquire().await.map_err(|_closed| too_late())?;
        let half = deadline.saturating_duration_since(Instant::now()) / 2;
        let until = Instant::now() + half.min(ON_A_PROCESSOR);
        let given = Given {
            resource: &resource,
            item,
            circumstances: circumstances(access, now),
            // A list knows targets as they are stored.
            any_arguments: request.any_arguments && item.supplied.is_empty(),
        };
        let bounds = Bounds { from, page: limit.min(MOST_ON_A_PAGE), has_time: &|| Instant::now() < until };
        let (results, next) = match &principal {
            Some(principal) => {
                let asker = snapshot.askers.get(&snapshot.policies, &resource, principal);
                account.scopes.clone_from(asker.subject.scopes());
                given.by(&asker, snapshot, &request.sought, &bounds)
            }
            None => given.subjects(snapshot, &request.sought, &bounds),
        };
        Ok((results, next.map(|next| seal.token(next, limit))))
    }

    /// Records the search and answers.
    async fn conclude_search(
        &self,
        snapshot: &Snapshot,
        request: &SearchRequest,
        account: &Account,
        found: Result<(Results, Option<String>), Refusal>,
        started: Timestamp,
        deadline: Instant,
    ) -> Searched {
        let id = DecisionId::new(started);
        let duration = self.now().since(started);
        let record = record_of(id, snapshot, request, account, &found, started, duration);
        let receipt = self.record_by(record, deadline).await;
        let id = receipt.as_ref().map_or(id, palisade_audit::AuditReceipt::id);
        let searched = match (found, receipt) {
            (Ok((results, next)), Some(_recorded)) => Searched::Found(Page { id, results, next }),
            (Ok(_), None) => Searched::Refused(id, Reason::AuditUnavailable),
            (Err(refusal), _) => Searched::Refused(id, refusal.reason),
        };
        let reason = match &searched {
            Searched::Found(_) => Reason::Permitted,
            Searched::Refused(_, reason) => *reason,
        };
        let resource = account.resource.as_ref().map(|resource| resource.name.as_str());
        self.metrics().searched(resource, reason, duration);
        searched
    }
}

/// The resource that is searched, if the caller may. Of one that nobody knows AuthZEN finds nothing (1.0, section 8), where
/// our own API refuses.
fn resource_of(snapshot: &Snapshot, access: &AccessRequest) -> Result<Option<Arc<Resource>>, Refusal> {
    let at = |surface| permitted(snapshot, access.pep.as_ref(), access.resource.as_ref(), surface);
    if access.surface != Surface::Authzen {
        return at(Surface::Search).map(Some);
    }
    let or_none = |found: Result<Arc<Resource>, Refusal>| match found {
        Err(refusal) if refusal.reason == Reason::ResourceUnknown => Ok(None),
        Ok(_) | Err(_) => found.map(Some),
    };
    Ok(or_none(at(Surface::Authzen))?.and(or_none(at(Surface::Search))?))
}

fn too_late() -> Refusal {
    Refusal::new(Reason::DeadlineExceeded, "the deadline passed")
}

/// What is sought of a type that the schema does not have, or for somebody of one, is nothing; and nobody learns by a
/// refusal which types there are.
fn knows_types(snapshot: &Snapshot, request: &SearchRequest) -> bool {
    let known = |name: &str| snapshot.policies.has_type(name);
    match (&request.sought, &request.access.credential) {
        (Sought::Subjects(kind), _) => known(kind.type_name()),
        (Sought::Targets(Some(type_name)), _) if !known(type_name) => false,
        (Sought::Targets(_) | Sought::Actions, Credential::AssertedByPep(subject)) => {
            known(subject.kind.type_name())
        }
        (
            Sought::Targets(_) | Sought::Actions,
            Credential::Absent | Credential::Token(_) | Credential::Static(_) | Credential::Unusable(_),
        ) => true,
    }
}

/// What is given in a search.
struct Given<'a> {
    resource: &'a Resource,
    item: &'a Item,
    circumstances: Circumstances,
    any_arguments: bool,
}

/// How far a page goes.
struct Bounds<'a> {
    from: usize,
    page: usize,
    has_time: &'a dyn Fn() -> bool,
}

impl Given<'_> {
    fn search<'s>(&'s self, snapshot: &'s Snapshot, bounds: &'s Bounds<'_>) -> Search<'s> {
        Search {
            policies: &snapshot.policies,
            circumstances: &self.circumstances,
            inputs: match self.any_arguments {
                true => Inputs::Any,
                false => Inputs::Given(self.item.arguments.as_deref()),
            },
            supplied: Some(&self.item.supplied),
            from: bounds.from,
            page: bounds.page,
            most: MOST_QUESTIONS,
            has_time: bounds.has_time,
        }
    }

    /// What a subject can do, or to what.
    fn by(
        &self,
        asker: &Asker,
        snapshot: &Snapshot,
        sought: &Sought,
        bounds: &Bounds<'_>,
    ) -> (Results, Option<usize>) {
        let search = self.search(snapshot, bounds);
        let (Item { action, target, .. }, resource) = (self.item, &self.resource.name);
        match sought {
            Sought::Subjects(_) => (sought.nothing(), None),
            Sought::Targets(type_name) => {
                let found = search.targets(&asker.subject, action, type_name.as_deref(), resource);
                let found = or_nothing(found);
                (Results::Targets(found.items), found.next)
            }
            Sought::Actions => {
                let found = or_nothing(search.actions(&asker.subject, target, resource));
                (Results::Actions(found.items), found.next)
            }
        }
    }

    /// Who of a kind can do it.
    fn subjects(
        &self,
        snapshot: &Snapshot,
        sought: &Sought,
        bounds: &Bounds<'_>,
    ) -> (Results, Option<usize>) {
        let Sought::Subjects(kind) = sought else { return (sought.nothing(), None) };
        let given =
            Given { circumstances: Circumstances { asserted: true, ..self.circumstances.clone() }, ..*self };
        let search = given.search(snapshot, bounds);
        let scopes = Scopes::new();
        let strength = Strength { scopes: &scopes, acr: None, auth_time: None };
        let prepare = |subject: &Subject| snapshot.policies.prepare(subject, None, strength);
        let Item { action, target, .. } = self.item;
        let found = or_nothing(search.subjects(kind, prepare, action, target, &self.resource.name));
        (Results::Subjects(found.items), found.next)
    }
}

/// What nobody can be asked about, nobody may do.
fn or_nothing<T>(found: Result<Found<T>, SearchError>) -> Found<T> {
    match found {
        Ok(found) => found,
        Err(SearchError::Action(_) | SearchError::Subject(_)) => Found::nothing(),
    }
}

impl Sought {
    const fn nothing(&self) -> Results {
        match self {
            Self::Subjects(_) => Results::Subjects(Vec::new()),
            Self::Targets(_) => Results::Targets(Vec::new()),
            Self::Actions => Results::Actions(Vec::new()),
        }
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Subjects(_) => "a search for subjects",
            Self::Targets(_) => "a search for targets",
            Self::Actions => "a search for actions",
        }
    }
}

fn record_of(
    id: DecisionId,
    snapshot: &Snapshot,
    request: &SearchRequest,
    account: &Account,
    found: &Result<(Results, Option<String>), Refusal>,
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
    record.surface = Some(Surface::Search);
    record.ignored = record::ignored(snapshot, &request.access);
    let item = request.access.asked.as_ref().ok().and_then(|asked| asked.items.first());
    if let Some(item) = item {
        record.action = (request.sought != Sought::Actions).then(|| item.action.entity());
        record.target = (!matches!(request.sought, Sought::Targets(_))).then(|| item.target.entity());
    }
    match found {
        Err(refusal) => {
            record.reason = refusal.reason;
            record.detail = Some(format!("{}: {}", request.sought.as_str(), refusal.detail));
        }
        Ok((results, next)) => {
            (record.decision, record.reason) = (Recorded::Permit, Reason::Permitted);
            let more = if next.is_some() { ", more follow" } else { "" };
            record.detail = Some(format!("{}{more}", request.sought.as_str()));
            record.items = item.map(|item| found_items(results, item)).unwrap_or_default();
            record.found = u64::try_from(record.items.len()).ok();
        }
    }
    record
}

fn found_items(results: &Results, item: &Item) -> Vec<ItemRecord> {
    let found = |principal: Option<String>, action: String, target: String| ItemRecord {
        principal,
        action,
        target,
        decision: Recorded::Permit,
        reason: Reason::Permitted,
        determining_policies: Vec::new(),
    };
    let (action, target) = (item.action.entity(), item.target.entity());
    match results {
        Results::Subjects(all) => {
            all.iter().map(|subject| found(Some(subject.entity()), action.clone(), target.clone())).collect()
        }
        Results::Targets(all) => {
            all.iter().map(|target| found(None, action.clone(), target.entity())).collect()
        }
        Results::Actions(all) => {
            all.iter().map(|action| found(None, action.entity(), target.clone())).collect()
        }
    }
}
