//! The engine: the one place where policies meet a request.
//!
//! [`Engine::candidates`] finds the policies whose scope holds for a request, without looking at the others;
//! [`Engine::answer`] evaluates their conditions and comes to the decision, the determining policies and the errors
//! that Cedar's own authorizer comes to over the whole set. Everything that can be done once is done when the engine
//! is built; nothing of a request is kept.

mod demands;
mod index;
mod looks;
mod mentions;

use std::{collections::HashMap, fmt, sync::Arc};

use cedar_policy::EvaluationError;
use cedar_policy_core::{
    ast::{
        Effect, EntityUID, Expr, Literal, Policy, PrincipalOrResourceConstraint, Request, SlotEnv, Template,
        ValueKind,
    },
    entities::Entities,
    evaluator::Evaluator,
    extensions::Extensions,
};

pub(crate) use self::index::{Atom, Index, Truths};
use self::looks::looked_into;
pub(crate) use self::{
    demands::{is_scopes, needed_scopes},
    mentions::Mentions,
};

pub(crate) struct Engine {
    /// In order of id; the index has them by their place here.
    rules: Vec<Rule>,
    index: Index,
}

/// A policy, with what its evaluation needs taken out of it once.
struct Rule {
    policy: Policy,
    /// What of it is evaluated for a request, and what follows: to reach it through the policy costs two more looks into
    /// memory.
    condition: Option<Arc<Expr>>,
    effect: Effect,
    width: Width,
    /// Entities that the condition looks into by name.
    looks_into: Box<[EntityUID]>,
    /// What the condition hangs on.
    mentions: Mentions,
}

/// How many targets a policy is about, by its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Width {
    OneTarget,
    SomeTargets,
    AnyTarget,
}

impl Width {
    fn of(policy: &Policy) -> Self {
        match policy.template().resource_constraint().as_inner() {
            PrincipalOrResourceConstraint::Eq(_) => Self::OneTarget,
            PrincipalOrResourceConstraint::In(_) | PrincipalOrResourceConstraint::IsIn(..) => {
                Self::SomeTargets
            }
            PrincipalOrResourceConstraint::Is(_) | PrincipalOrResourceConstraint::Any => Self::AnyTarget,
        }
    }
}

/// What Cedar says, with numbers in place of policies: their places in order of id.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) allowed: bool,
    /// The permits, or where there are any the forbids, that hold.
    pub(crate) determining: Vec<u32>,
    /// The policies that could not be evaluated, and why.
    pub(crate) errors: Vec<(u32, EvaluationError)>,
    /// How many policies were evaluated.
    pub(crate) candidates: usize,
}

impl Engine {
    /// Of policies with ids of their own; links of templates are policies, too.
    pub(crate) fn new<'a>(policies: impl IntoIterator<Item = &'a cedar_policy::Policy>) -> Self {
        let mut sorted: Vec<&cedar_policy::Policy> = policies.into_iter().collect();
        sorted.sort_by(|left, right| left.id().cmp(right.id()));
        let index = Index::new((0..).zip(sorted.iter().copied()));
        let rules = sorted.into_iter().map(|policy| Rule::new(policy.as_ref())).collect();
        Self { rules, index }
    }

    /// The id of every policy, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.policy.id().as_ref())
    }

    /// What is known of the policies' scopes, to be held against entities.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// The policies whose scope holds, each once, in order.
    pub(crate) fn candidates(&self, truths: &Truths<'_>) -> Vec<u32> {
        self.index.candidates(truths)
    }

    /// The policies that are about this action and target, whoever asks in whatever context, and whether their scope
    /// holds for who asks, too.
    pub(crate) fn whoever_asks(&self, truths: &Truths<'_>) -> Vec<(u32, bool)> {
        const MOST_FOUND: usize = 2_048;
        self.index.whoever_asks(truths, MOST_FOUND)
    }

    /// The permits of them; at most so many.
    pub(crate) fn near(&self, truths: &Truths<'_>, most: usize) -> Vec<(u32, bool)> {
        let permits =
            |(number, _): &(u32, bool)| self.rule(*number).is_some_and(|rule| rule.effect == Effect::Permit);
        self.whoever_asks(truths).into_iter().filter(permits).take(most).collect()
    }

    /// One of the policies.
    pub(crate) fn policy(&self, number: u32) -> Option<&Policy> {
        self.rule(number).map(|rule| &rule.policy)
    }

    /// How many targets it is about.
    pub(crate) fn width(&self, number: u32) -> Option<Width> {
        self.rule(number).map(|rule| rule.width)
    }

    pub(crate) fn policies<'a>(&'a self, numbers: &'a [u32]) -> impl Iterator<Item = (u32, &'a Policy)> {
        self.rules_of(numbers).map(|(number, rule)| (number, &rule.policy))
    }

    /// The same with what each policy's condition mentions.
    pub(crate) fn described<'a>(
        &'a self,
        numbers: &'a [u32],
    ) -> impl Iterator<Item = (u32, &'a Policy, Mentions)> {
        self.rules_of(numbers).map(|(number, rule)| (number, &rule.policy, rule.mentions))
    }

    /// What the conditions of these policies mention, all together.
    pub(crate) fn mentions(&self, candidates: &[u32]) -> Mentions {
        self.rules_of(candidates).fold(Mentions::default(), |all, (_, rule)| all.and(rule.mentions))
    }

    /// The entities that the conditions of these policies look into by name.
    pub(crate) fn looked_into<'a>(&'a self, candidates: &'a [u32]) -> impl Iterator<Item = &'a EntityUID> {
        self.rules_of(candidates).flat_map(|(_, rule)| &rule.looks_into)
    }

    /// The policies that are evaluated for every request, or for every one with certain types: no index holds them.
    pub(crate) fn unnarrowed(&self) -> impl Iterator<Item = &str> {
        let rules = self.index.unnarrowed().filter_map(|number| self.rule(number));
        rules.map(|rule| rule.policy.id().as_ref())
    }

    /// Evaluates the conditions of the candidates, and nothing else.
    pub(crate) fn answer(&self, candidates: &[u32], request: Request, entities: &Entities) -> Answer {
        let evaluator = Evaluator::new(request, entities, Extensions::all_available());
        let (mut permits, mut forbids, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for (number, rule) in self.rules_of(candidates) {
            match rule.holds(&evaluator) {
                Ok(true) => match rule.effect {
                    Effect::Permit => permits.push(number),
                    Effect::Forbid => forbids.push(number),
                },
                Ok(false) => {}
                Err(error) => errors.push((number, *error)),
            }
        }
        let allowed = forbids.is_empty() && !permits.is_empty();
        let determining = if allowed { permits } else { forbids };
        Answer { allowed, determining, errors, candidates: candidates.len() }
    }

    /// Answers a request that was put together elsewhere, as Cedar's authorizer does.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn answer_alone(&self, request: &Request, entities: &Entities) -> Answer {
        use cedar_policy_core::{ast::Context, entities::Dereference};

        let of = |axis: &index::Axis, entry: &cedar_policy_core::ast::EntityUIDEntry| match entry.uid() {
            None => Vec::new(),
            Some(uid) => match entities.entity(uid) {
                Dereference::Data(entity) => axis.truths(uid, entity.ancestors()),
                Dereference::NoSuchEntity | Dereference::Residual(_) => axis.truths(uid, []),
            },
        };
        let demands = match request.context() {
            Some(Context::Value(record)) => {
                let mut truths = self.index.demands().of_token(record);
                self.index.demands().add_rest(record, record, &mut truths);
                Some(truths)
            }
            Some(Context::RestrictedResidual(_)) | None => None,
        };
        let truths = Truths {
            action: &of(self.index.actions(), request.action()),
            resource: &of(self.index.resources(), request.resource()),
            principal: Some(&of(self.index.principals(), request.principal())),
            context: demands.as_deref(),
        };
        self.answer(&self.candidates(&truths), request.clone(), entities)
    }

    fn rules_of<'a>(&'a self, numbers: &'a [u32]) -> impl Iterator<Item = (u32, &'a Rule)> {
        numbers.iter().filter_map(|number| Some((*number, self.rule(*number)?)))
    }

    fn rule(&self, number: u32) -> Option<&Rule> {
        self.rules.get(usize::try_from(number).ok()?)
    }
}

impl Rule {
    fn new(policy: &Policy) -> Self {
        let condition = policy.non_scope_constraints_arc().cloned();
        Self {
            effect: policy.effect(),
            width: Width::of(policy),
            looks_into: condition.as_deref().map(looked_into).unwrap_or_default().into_boxed_slice(),
            mentions: condition.as_deref().map(Mentions::of).unwrap_or_default(),
            condition,
            policy: policy.clone(),
        }
    }

    /// Whether the policy holds, for a request for which its scope does.
    fn holds(&self, evaluator: &Evaluator<'_>) -> Result<bool, Box<EvaluationError>> {
        let Some(condition) = self.condition.as_deref() else { return Ok(true) };
        // A slot stands in a scope only, so that conditions need none.
        let slots: SlotEnv = HashMap::new();
        if let ValueKind::Lit(Literal::Bool(holds)) = evaluator.interpret(condition, &slots)?.value {
            return Ok(holds);
        }
        // Not a truth value: an error, and Cedar has the words for it.
        evaluator.interpret(&Expr::and(Expr::val(true), condition.clone()), &slots)?;
        Ok(false)
    }
}

/// A policy as evaluation knows it. Its annotations and its text take more memory than the policy itself. A template is
/// shared by its links and stays as it is.
pub(crate) fn without_annotations(policy: &cedar_policy::Policy) -> cedar_policy::Policy {
    let core: &Policy = policy.as_ref();
    if !core.is_static() {
        return policy.clone();
    }
    let template = Template::new_shared(
        core.id().clone(),
        core.loc().cloned(),
        Arc::default(),
        core.effect(),
        core.principal_constraint(),
        core.action_constraint().clone(),
        core.resource_constraint(),
        core.non_scope_constraints_arc().cloned(),
    );
    Template::try_as_policy(Arc::new(template)).map_or_else(|_| policy.clone(), Into::into)
}

/// The cause of an error, for a record. Messages of arithmetic and of extension functions quote values of the request,
/// which no record may hold.
pub(crate) fn told(error: &EvaluationError) -> String {
    if matches!(error, EvaluationError::IntegerOverflow(_)) {
        "integer overflow".to_owned()
    } else if matches!(error, EvaluationError::FailedExtensionFunctionExecution(_)) {
        "an extension function refused its argument".to_owned()
    } else {
        error.to_string()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Engine({} policies)", self.rules.len())
    }
}

#[cfg(test)]
mod tests;
