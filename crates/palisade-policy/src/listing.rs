//! What a list shows: for many items of one subject, whether a call could be let in with any arguments.
//!
//! [`Asking::list`] begins a [`Listing`]; [`Listing::reach`] answers for one item after another. An item is put
//! together once, for arguments that nobody knows and with every policy that a stronger token could bring in. Its
//! policies are evaluated with the arguments open (`outcomes`). Where that does not permit it, the scopes, then the
//! login, are left open as well, and only what may then be permitted is searched, by the [`Ladder`] that calls go by.
//! A policy whose condition does not look at the item is evaluated once for all items.
//!
//! This is partial evaluation in three values, not Cedar's type-aware one (feature `tpe`, 4.14.1). That one builds a
//! validated request and entities and checks the types of every policy anew at each question: measured, 28 us a tool and
//! 15 us a policy, where a list of a thousand tools has 10 us a tool. And it keeps `open && false` as a residual, because
//! the open part could err, so that a permit that asks for an argument before it asks for a scope would show its tools
//! to everybody. Types would add nothing: strict validation has refused what they could decide.
//!
//! What the answers are worth:
//!
//! - Nothing is hidden that a call could reach: if a call with some arguments is permitted, or denied with a challenge
//!   that would turn it into a permit, the item is not [`Reach::Never`].
//! - Where no policy about the item mentions arguments, the answer is that of its call: the same policies, the same
//!   stronger tokens, the same bounds. Only the time that a call's search may take has no like here.
//! - Where some do, an item may be shown that no call reaches: conditions that contradict each other, in one policy or
//!   in a permit and a forbid, or that no arguments fulfil that the tool's schema lets by. The call decides.
//!
//! It lets nothing in: no verdict comes out of it.

mod outcomes;

use std::sync::Arc;

use cedar_policy_core::{
    ast::{Context, Effect, Policy, Request},
    entities::Entities,
    evaluator::Evaluator,
    extensions::Extensions,
};
use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use self::outcomes::{Outcomes, Pass};
use crate::{
    About, Asking, Offer, OnError, PreparedSubject, Strength,
    asking::Put,
    engine::{Atom, Mentions, needed_scopes},
    step_up::{Ladder, MAX_EVALUATIONS},
    values::Record,
};

/// What a list says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// A call with some arguments is permitted, as far as can be told without them.
    Permitted,
    /// A call with some arguments would be, with a token that a challenge asks for.
    StepUp,
    /// No call is permitted, nor challenged.
    Never,
    /// A bound was met before all stronger tokens were tried; such a call is denied without a challenge.
    Exhausted,
}

impl Reach {
    /// Whether a list of what is reachable shows the entry.
    #[must_use]
    pub const fn is_reachable(self) -> bool {
        match self {
            Self::Permitted | Self::StepUp => true,
            Self::Never | Self::Exhausted => false,
        }
    }
}

/// The items of one list, asked about one after another. What they share is kept from one to the next.
#[derive(Debug)]
pub struct Listing<'a> {
    asking: &'a Asking<'a>,
    /// None where nothing is offered.
    ladder: Option<Ladder<'a>>,
    /// What policies demand of a context, and it fulfils with all scopes that the token has or may get.
    demands: Option<Arc<[Atom]>>,
    held: Memo,
    scopes_open: Memo,
    login_open: Memo,
    all: Stronger,
    choices: Vec<Stronger>,
    /// Which of the choices have a scope, a bit for each; found when it is first asked for.
    having: Option<FxHashMap<SmolStr, Choices>>,
    logins: Vec<Stronger>,
    /// The choice that helped an item before: it is likely to help the next.
    helpful: usize,
}

/// What came of the policies whose condition does not look at the item.
type Memo = FxHashMap<u32, Outcomes>;

/// Some of the choices, a bit for each.
type Choices = u64;
// A ladder has no more of them.
const _: () = assert!(MAX_EVALUATIONS <= Choices::BITS as usize);

/// A stronger token, as far as it has been tried.
#[derive(Debug, Default)]
struct Stronger {
    contexts: Option<Contexts>,
    memo: Memo,
}

/// What a token and the circumstances put into the contexts of actions without and with arguments.
type Contexts = [Arc<Record>; 2];

/// An item with what came of its policies for the token as it is.
struct Item<'i> {
    put: &'i Put<'i>,
    rules: Vec<Judged<'i>>,
    on_error: OnError,
}

struct Judged<'i> {
    number: u32,
    policy: &'i Policy,
    mentions: Mentions,
    outcomes: Outcomes,
}

/// Whether a call would be permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    No,
    /// With some arguments, as far as can be told.
    Perhaps,
    Yes,
}

impl<'a> Asking<'a> {
    /// Begins a list. With an `offer` it finds what is reachable, without one what is permitted.
    #[must_use]
    pub fn list(&'a self, offer: Option<&'a Offer<'a>>) -> Listing<'a> {
        let held = self.subject().strength();
        let offer = offer.filter(|_| self.subject().proven);
        let ladder = offer.map(|offer| Ladder::new(held, offer, self.circumstances().now));
        let mut demands = self.demands().ok();
        let mut all = Stronger::default();
        if let Some(ladder) = &ladder {
            let strength = Strength { scopes: &ladder.all(), ..held };
            let subject = self.subject().with(strength, self.policies().engine().index());
            all.contexts = self.contexts(&subject);
            demands = Asking::new(self.policies(), &subject, self.circumstances()).demands().ok();
        }
        let untried = |count: usize| (0..count).map(|_| Stronger::default()).collect();
        Listing {
            asking: self,
            demands,
            held: Memo::default(),
            scopes_open: Memo::default(),
            login_open: Memo::default(),
            all,
            choices: untried(ladder.as_ref().map_or(0, Ladder::choices)),
            having: None,
            logins: untried(ladder.as_ref().map_or(0, Ladder::logins)),
            ladder,
            helpful: 0,
        }
    }

    fn contexts_with(&self, strength: Strength<'_>) -> Option<Contexts> {
        self.contexts(&self.subject().with(strength, self.policies().engine().index()))
    }

    fn contexts(&self, subject: &PreparedSubject) -> Option<Contexts> {
        let asking = Asking::new(self.policies(), subject, self.circumstances());
        Some([asking.context(false).ok()?, asking.context(true).ok()?])
    }
}

impl Listing<'_> {
    /// Answers for the calls of one item, with whatever arguments. Total: what cannot be put to the policies is never permitted.
    pub fn reach(&mut self, about: &About<'_>) -> Reach {
        let about = About { arguments: None, ..*about };
        let Ok(put) = self.asking.put_open(&about, self.demands.as_deref()) else { return Reach::Never };
        let item = self.item(&put);
        if item.judge(|rule| rule.outcomes) != Answer::No {
            return Reach::Permitted;
        }
        // As with a call: nothing is offered for a target that nothing lists.
        if self.ladder.is_none() || !self.asking.policies().knows_target(about.target) {
            return Reach::Never;
        }
        self.step_up(&item)
    }

    /// Evaluates the policies of an item for the token as it is.
    fn item<'i>(&mut self, put: &'i Put<'_>) -> Item<'i>
    where
        Self: 'i,
    {
        let evaluator = evaluator(put.request.clone(), &put.entities);
        let pass = Pass { open: Mentions::ARGUMENTS, evaluator: &evaluator, most: None };
        let policies = self.asking.policies();
        let judged = policies.engine().described(&put.candidates).map(|(number, policy, mentions)| {
            let mut rule = Judged { number, policy, mentions, outcomes: Outcomes::default() };
            rule.outcomes = rule.remembered(&mut self.held, &pass);
            rule
        });
        Item { put, rules: judged.collect(), on_error: policies.on_error() }
    }

    /// Looks for a stronger token that a call's search would find, too.
    fn step_up(&mut self, item: &Item<'_>) -> Reach {
        let (choices, logins) = (self.choices.len(), self.logins.len());
        let (mut tried, mut questions) = (0, 0);
        if choices > 0 {
            let (least, most) = self.bounds(item);
            // A search first asks for all scopes together.
            tried = choices.min(most - 1);
            questions = 1 + choices.min(least - 1);
        }
        let scopes_may_help = self.scopes_may_help(item);
        if scopes_may_help && self.some_choice_helps(item, tried) {
            return Reach::StepUp;
        }
        let tried_logins = logins.min(MAX_EVALUATIONS - questions);
        let login_may_help = self.login_may_help(item);
        if login_may_help && (0..tried_logins).any(|login| self.login_helps(item, login)) {
            return Reach::StepUp;
        }
        let left = (scopes_may_help && tried < choices) || (login_may_help && tried_logins < logins);
        if left { Reach::Exhausted } else { Reach::Never }
    }

    /// The least and the most questions that calls of the item ask before they leave scopes to the login. They differ
    /// where all scopes together help with some arguments and not with others.
    fn bounds(&mut self, item: &Item<'_>) -> (usize, usize) {
        let Some(ladder) = &self.ladder else { return (MAX_EVALUATIONS, MAX_EVALUATIONS) };
        let (helped, not_helped) = (ladder.bound(true), ladder.bound(false));
        if self.choices.len() < not_helped {
            return (not_helped, not_helped);
        }
        match self.all.answer(item, Mentions::SCOPES, || None) {
            Answer::Yes => (helped, helped),
            Answer::Perhaps => (not_helped, helped),
            Answer::No => (not_helped, not_helped),
        }
    }

    /// Whether any scopes between those of the token and all that are on offer could help.
    fn scopes_may_help(&mut self, item: &Item<'_>) -> bool {
        let Some(contexts) = self.all.contexts.as_ref().filter(|_| !self.choices.is_empty()) else {
            return false;
        };
        let held = evaluator(item.put.request.clone(), &item.put.entities);
        let most = evaluator(item.request(contexts), &item.put.entities);
        let open = Mentions::ARGUMENTS.and(Mentions::SCOPES);
        let pass = Pass { open, evaluator: &held, most: Some(&most) };
        item.changed(Mentions::SCOPES, &pass, &mut self.scopes_open) != Answer::No
    }

    /// Whether any login could help.
    fn login_may_help(&mut self, item: &Item<'_>) -> bool {
        if self.logins.is_empty() {
            return false;
        }
        let held = evaluator(item.put.request.clone(), &item.put.entities);
        let open = Mentions::ARGUMENTS.and(Mentions::LOGIN);
        let pass = Pass { open, evaluator: &held, most: None };
        item.changed(Mentions::LOGIN, &pass, &mut self.login_open) != Answer::No
    }

    fn some_choice_helps(&mut self, item: &Item<'_>, tried: usize) -> bool {
        let could_help = self.choices_that_could_help(item);
        let first = self.helpful.min(tried.saturating_sub(1));
        let rest = (0..tried).filter(|choice| *choice != first);
        let mut worth_it = std::iter::once(first).chain(rest).filter(|choice| could_help & bit(*choice) != 0);
        let found = worth_it.find(|choice| self.choice_helps(item, *choice));
        self.helpful = found.unwrap_or(self.helpful);
        found.is_some()
    }

    /// The choices with which some permit of the item has every scope that it needs. Without such a permit nothing can
    /// be permitted, and nothing has to be evaluated to say so.
    fn choices_that_could_help(&mut self, item: &Item<'_>) -> Choices {
        let Some(ladder) = &self.ladder else { return 0 };
        let having = self.having.get_or_insert_with(|| having(ladder));
        let with_all_it_needs = |rule: &Judged<'_>| {
            if rule.policy.effect() == Effect::Forbid {
                return 0;
            }
            if !rule.mentions.any_of(Mentions::SCOPES) {
                return if rule.outcomes.holds { Choices::MAX } else { 0 };
            }
            let needed = rule.policy.non_scope_constraints().into_iter().flat_map(needed_scopes);
            needed.fold(Choices::MAX, |all, scope| all & having.get(scope).copied().unwrap_or_default())
        };
        item.rules.iter().map(with_all_it_needs).fold(0, |all, of_rule| all | of_rule)
    }

    fn choice_helps(&mut self, item: &Item<'_>, choice: usize) -> bool {
        let (asking, ladder) = (self.asking, &self.ladder);
        let (Some(ladder), Some(stronger)) = (ladder, self.choices.get_mut(choice)) else { return false };
        let with = || {
            asking.contexts_with(Strength { scopes: &ladder.scopes(choice), ..asking.subject().strength() })
        };
        stronger.answer(item, Mentions::SCOPES, with) != Answer::No
    }

    fn login_helps(&mut self, item: &Item<'_>, login: usize) -> bool {
        let (asking, ladder) = (self.asking, &self.ladder);
        let (Some(ladder), Some(stronger)) = (ladder, self.logins.get_mut(login)) else { return false };
        let with = || asking.contexts_with(ladder.after(login, asking.circumstances().now));
        stronger.answer(item, Mentions::LOGIN, with) != Answer::No
    }
}

impl Stronger {
    /// What calls of an item would be answered with this token, which differs in what is `changed` from the one at hand.
    fn answer(
        &mut self,
        item: &Item<'_>,
        changed: Mentions,
        contexts: impl FnOnce() -> Option<Contexts>,
    ) -> Answer {
        if self.contexts.is_none() {
            self.contexts = contexts();
        }
        let Some(contexts) = &self.contexts else { return Answer::No };
        let evaluator = evaluator(item.request(contexts), &item.put.entities);
        let pass = Pass { open: Mentions::ARGUMENTS, evaluator: &evaluator, most: None };
        item.changed(changed, &pass, &mut self.memo)
    }
}

impl Item<'_> {
    /// The request with another context; what a context has of a typed tool stays.
    fn request(&self, [plain, call]: &Contexts) -> Request {
        let request = &self.put.request;
        let member = |name: &str| match request.context() {
            Some(Context::Value(record)) => record.get(name),
            Some(Context::RestrictedResidual(_)) | None => None,
        };
        let mut context = Arc::clone(if member("args").is_some() { call } else { plain });
        if let Some(input) = member("input") {
            Arc::make_mut(&mut context).insert(SmolStr::new_static("input"), input.clone());
        }
        let (principal, action, resource) = (request.principal(), request.action(), request.resource());
        Request::new_unchecked(
            principal.clone(),
            action.clone(),
            resource.clone(),
            Some(Context::Value(context)),
        )
    }

    /// The answer when only what mentions something that is `changed` is evaluated anew.
    fn changed(&self, changed: Mentions, pass: &Pass<'_>, memo: &mut Memo) -> Answer {
        self.judge(
            |rule| {
                if rule.mentions.any_of(changed) { rule.remembered(memo, pass) } else { rule.outcomes }
            },
        )
    }

    /// Joins what may come of the policies, as [`Policies`](crate::Policies) joins what came of them.
    ///
    /// INVARIANT: with one outcome a policy it is what the verdict says. With more it is not `No` unless every verdict
    /// that these could lead to denies.
    fn judge(&self, mut outcomes: impl FnMut(&Judged<'_>) -> Outcomes) -> Answer {
        let (mut permitted, mut denied, mut known) = (false, false, true);
        for rule in &self.rules {
            let outcomes = outcomes(rule);
            known &= outcomes.is_known();
            let (holds, fails) = (outcomes.holds, outcomes.fails);
            match (rule.policy.effect(), self.on_error) {
                (Effect::Permit, OnError::Forbid | OnError::Skip) => permitted |= holds,
                (Effect::Permit, OnError::Any) => {
                    permitted |= holds;
                    denied |= !holds && !fails;
                }
                (Effect::Forbid, OnError::Forbid | OnError::Any) => denied |= !fails,
                (Effect::Forbid, OnError::Skip) => denied |= !fails && !outcomes.errs,
            }
        }
        match (permitted && !denied, known) {
            (false, _) => Answer::No,
            (true, true) => Answer::Yes,
            (true, false) => Answer::Perhaps,
        }
    }
}

impl Judged<'_> {
    /// What may come of the policy; where it does not look at the item, as it came before.
    fn remembered(&self, memo: &mut Memo, pass: &Pass<'_>) -> Outcomes {
        let evaluate = || pass.outcomes(self.policy.non_scope_constraints(), self.mentions);
        if self.mentions.any_of(Mentions::ITEM) {
            return evaluate();
        }
        *memo.entry(self.number).or_insert_with(evaluate)
    }
}

/// Which choices have a scope, for every scope that any of them has.
fn having(ladder: &Ladder<'_>) -> FxHashMap<SmolStr, Choices> {
    let mut having: FxHashMap<SmolStr, Choices> = FxHashMap::default();
    for choice in 0..ladder.choices() {
        for scope in ladder.scopes(choice) {
            *having.entry(SmolStr::from(scope.as_str())).or_default() |= bit(choice);
        }
    }
    having
}

fn bit(choice: usize) -> Choices {
    u32::try_from(choice).ok().and_then(|choice| Choices::from(1_u8).checked_shl(choice)).unwrap_or_default()
}

fn evaluator(request: Request, entities: &Entities) -> Evaluator<'_> {
    Evaluator::new(request, entities, Extensions::all_available())
}

#[cfg(test)]
mod tests;
