//! A whole operation, such as one of GraphQL: many items of which not every one has to be permitted.
//!
//! The policies are asked about each item, as about those of a batch. What then follows for the operation only who has read
//! it knows: a schema may ask for scopes, for somebody who is authenticated, or for one of several names of which the policies
//! permit some. So the reader brings [`Directives`] along, which say from the answers what is not granted; and an operation of
//! which anything is not granted is denied. The steps, the record and the answer are those of every decision.
//!
//! An entry that sends on what is left of an operation says so with a [`Cutting`], and gets a permit in part where all that is
//! left is granted. To everybody else an operation is permitted whole or not at all.

mod account;
mod left;

use palisade_model::{Action, Asked, Item, Reason, Refusal, Scopes, Target, Timestamp};
use palisade_policy::Verdict;
use tokio::time::Instant;

pub(crate) use self::account::Account;
use self::account::{account, reason_of};
pub use self::left::{Cutting, Left};
use crate::{
    Pdp, Resource, Snapshot,
    decide::{Judgement, Outcome, is_policy_denial, too_late},
    question::{Believed, Question, about},
    remedy::Found,
};

/// The most items of an operation: as many as a reader ever finds, and its own.
pub const MOST_PARTS: usize = 6_000;
/// How many items are asked about before other work gets its turn.
const A_TURN: usize = 16;
/// The most scopes that a directive's set may lack to be offered, as in a step-up.
const MOST_MISSING: usize = 3;

/// Says what of an operation is not granted.
pub type Directives<'a> = dyn Fn(&Granted<'_>) -> Vec<Lack> + Send + Sync + 'a;

/// What was decided of the items of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Granted<'a> {
    /// Whether somebody is authenticated.
    pub authenticated: bool,
    /// The scopes that are held, with those that they imply.
    pub scopes: &'a Scopes,
    /// Whether the policies permit each item, in the order of the request.
    pub items: &'a [bool],
}

/// A part of an operation that is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What was selected.
    pub target: Target,
    /// What it lacks.
    pub why: Lacking,
}

/// What a part of an operation lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lacking {
    /// Somebody who is authenticated.
    Authentication,
    /// One of these sets of scopes.
    Scopes(Vec<Scopes>),
    /// The permits for one of several sets of these names.
    Names(Vec<Target>),
    /// The permit for an item of its own.
    Permit,
}

/// Whether it is lacking because nobody is authenticated: that is not observed away.
fn is_for_want_of_a_token(lack: &Lack, question: &Question<'_>) -> bool {
    match lack.why {
        Lacking::Authentication => true,
        Lacking::Scopes(_) => question.principal.authority().is_none(),
        Lacking::Names(_) | Lacking::Permit => false,
    }
}

/// An operation, and who has read it.
pub(crate) struct Read<'a> {
    pub(crate) asked: &'a Believed<'a>,
    pub(crate) directives: &'a Directives<'a>,
    /// Of an entry that sends on what is left.
    pub(crate) cutting: Option<&'a Cutting<'a>>,
}

/// What an operation is denied for.
struct Denied {
    reason: Reason,
    found: Option<Found>,
}

impl Pdp {
    /// What the policies say of each item of an operation, and what its directives make of it.
    pub(crate) async fn judge_operation(
        &self,
        snapshot: &Snapshot,
        question: &Question<'_>,
        read: &Read<'_>,
        now: Timestamp,
        deadline: Instant,
        judgement: &mut Judgement,
    ) -> Result<Outcome, Refusal> {
        let asked = read.asked;
        for (number, item) in asked.items().enumerate() {
            if number % A_TURN == A_TURN - 1 {
                tokio::task::yield_now().await;
            }
            judgement.verdicts.push(question.asking.about(&about(item, question.resource)));
            if Instant::now() >= deadline {
                return Err(too_late());
            }
        }
        let items: Vec<bool> = judgement.verdicts.iter().map(Verdict::permits).collect();
        let authenticated = question.principal.is_known();
        let granted = Granted { authenticated, scopes: &judgement.scopes, items: &items };
        let lacks = (read.directives)(&granted);
        if Instant::now() >= deadline {
            return Err(too_late());
        }
        let said_by_policies =
            judgement.verdicts.iter().all(|verdict| verdict.permits() || is_policy_denial(verdict.reason()))
                && !lacks.iter().any(|lack| is_for_want_of_a_token(lack, question));
        let observed = question.resource.observe_until.is_some_and(|until| now < until) && said_by_policies;
        let mut account = account(snapshot, asked, &judgement.verdicts, &lacks);
        if read.cutting.is_some() {
            tokio::task::yield_now().await;
        }
        // What is observed goes on whole.
        account.left = if observed { None } else { left_of(read, &granted, &judgement.verdicts, &account) };
        let in_part = account.left.as_ref().is_some_and(|left| left.body.is_some());
        judgement.operation = Some(account);
        if Instant::now() >= deadline {
            return Err(too_late());
        }
        if in_part {
            return Ok(Outcome::InPart);
        }
        let mut denied_items = asked.items().zip(&judgement.verdicts).enumerate();
        let denied_item = denied_items.find(|(_, (item, verdict))| stands_alone(item) && !verdict.permits());
        let denied = match (denied_item, lacks.first()) {
            (None, None) => return Ok(Outcome::Permit),
            (Some((number, (item, verdict))), _) => {
                let reason = verdict.reason();
                judgement.nearest = question.asking.nearest(&about(item, question.resource));
                let found = self.find_remedy(snapshot, question, item, reason, now, deadline);
                self.deciding(judgement, number, None);
                Denied { reason, found }
            }
            (None, Some(lack)) => self.lacking(snapshot, question, asked, lack, now, judgement),
        };
        let reason = match denied.found {
            Some(found) => found.apply(judgement),
            None => denied.reason,
        };
        if observed && is_policy_denial(denied.reason) {
            return Ok(Outcome::Observe(reason));
        }
        // Here and nowhere else: whatever comes between is no word about the parts. Nor is a defect.
        if let Some(account) = &mut judgement.operation {
            account.of_parts = reason != Reason::InternalError;
        }
        Ok(Outcome::Deny(reason))
    }

    fn deciding(&self, judgement: &mut Judgement, number: usize, part: Option<(Action, Target)>) {
        if let Some(account) = &mut judgement.operation {
            (account.deciding, account.part) = (number, part);
        }
    }

    /// Why a directive denies a part.
    fn lacking(
        &self,
        snapshot: &Snapshot,
        question: &Question<'_>,
        asked: &Believed<'_>,
        lack: &Lack,
        now: Timestamp,
        judgement: &mut Judgement,
    ) -> Denied {
        let part = Some((Action::graphql("field"), lack.target.clone()));
        match &lack.why {
            Lacking::Authentication => {
                judgement.detail = Some("the schema asks for somebody who is authenticated".to_owned());
                self.deciding(judgement, 0, part);
                Denied { reason: Reason::NoCredentials, found: None }
            }
            Lacking::Scopes(sets) => {
                judgement.detail = Some("the schema asks for scopes that are not held".to_owned());
                self.deciding(judgement, 0, part);
                // Who is nobody is asked to be somebody first.
                let known = question.principal.is_known();
                let reason = if known { Reason::NoPermit } else { Reason::NoCredentials };
                Denied { reason, found: self.offer(question, sets, now) }
            }
            Lacking::Names(names) => {
                let denied =
                    |(item, verdict): &(&Item, &Verdict)| names.contains(&item.target) && !verdict.permits();
                let mut items = asked.items().zip(&judgement.verdicts).enumerate();
                let found = items.find_map(|(number, pair)| denied(&pair).then_some((number, pair)));
                let Some((number, (item, verdict))) = found else {
                    return Denied { reason: Reason::InternalError, found: None };
                };
                let (reason, detail) = reason_of(snapshot, item, verdict);
                judgement.nearest = question.asking.nearest(&about(item, question.resource));
                judgement.detail = detail.or_else(|| {
                    Some(format!("the schema asks for a name of `@policy` at `{}`", lack.target.entity()))
                });
                self.deciding(judgement, number, None);
                Denied { reason, found: None }
            }
            // The item has its own verdict, and that was looked at first.
            Lacking::Permit => Denied { reason: Reason::InternalError, found: None },
        }
    }

    /// The set of scopes that lacks least, for a proven subject that is told so. What a schema asks for is known exactly.
    fn offer(&self, question: &Question<'_>, sets: &[Scopes], now: Timestamp) -> Option<Found> {
        let resource = question.resource;
        let authority = question.principal.authority().filter(|_| resource.step_up)?;
        let subject = question.principal.subject().entity();
        let held = palisade_policy::with_implied(&authority.scopes, &resource.scopes.implies);
        let missing = sets.iter().map(|set| set - &held).min_by_key(Scopes::len)?;
        if missing.is_empty() || missing.len() > MOST_MISSING || !self.challenges().may_search(&subject, now)
        {
            return None;
        }
        let held = resource.scopes.held_by(&authority.scopes);
        let found = Found::scopes(missing, &held);
        self.challenges().note(&subject, &found.remedy, now);
        Some(found)
    }
}

/// What is left of an operation of which something is denied, where its entry sends that on and all of it is granted.
fn left_of(read: &Read<'_>, granted: &Granted<'_>, verdicts: &[Verdict], account: &Account) -> Option<Left> {
    let asked = read.asked.came();
    let cutting = read.cutting.filter(|_| account.denied > 0 && left::may_be_left(asked, verdicts))?;
    cutting(granted).filter(|left| left::is_granted(left, asked, verdicts))
}

/// Whether a denial of the item alone denies the operation: all but names, of which it may need one of several.
pub(crate) fn stands_alone(item: &Item) -> bool {
    !(item.action.is_part_of_operation() && item.action.name == "policy")
}

/// Whether a judgement that came out as a permit is one.
///
/// INVARIANT: of a permitted operation every item is permitted but names, and its directives lack nothing.
pub(crate) fn is_sound(account: &Account, asked: &Asked, verdicts: &[Verdict]) -> bool {
    let granted = |(item, verdict): (&Item, &Verdict)| verdict.permits() || !stands_alone(item);
    !account.lacks
        && asked.items.len() == verdicts.len()
        && asked.items.first().is_some_and(|first| first.action.is_operation())
        && asked.items.iter().zip(verdicts).all(granted)
}

/// What goes on of an operation that came out as permitted in part, and what is told of the rest.
///
/// INVARIANT: of what goes on every item is permitted but names. Of an operation that is permitted whole nothing is left out.
pub(crate) fn sound_part(
    account: &Account,
    asked: &Asked,
    verdicts: &[Verdict],
) -> Option<(Vec<u8>, String)> {
    let left = account.left.as_ref().filter(|left| left::is_granted(left, asked, verdicts))?;
    Some((left.body.clone()?, left.told.clone()))
}

/// Operations are decided with their directives, and only they. Introspection that is answered with what its caller may see is part of one.
pub(crate) fn fits(
    asked: &Believed<'_>,
    directives: Option<&Directives<'_>>,
    resource: &Resource,
) -> Result<(), Refusal> {
    let introspects = |item: &Item| item.action.namespace == "Graphql" && item.action.name == "introspect";
    let is_alone = directives.is_none() && resource.grammar.answers_introspection();
    if is_alone && asked.items().any(introspects) {
        return Err(Refusal::new(
            Reason::MethodUnknown,
            "introspection of this resource is answered with what its caller may see, to the request that asks for it",
        ));
    }
    let any = asked.items().any(|item| item.action.is_operation());
    match (any, directives) {
        (true, Some(_)) | (false, None) => Ok(()),
        (true, None) => Err(Refusal::new(
            Reason::MethodUnknown,
            "an operation is decided as the request that it comes by",
        )),
        (false, Some(_)) => Err(Refusal::new(Reason::InternalError, "there is no operation")),
    }
}
