//! On which terms the policies permit an exchange: which scopes, for how long.
//!
//! Policies do not answer with scopes or lifetimes. They are asked about an exchange with certain ones, and permit it or do
//! not; so narrowing is asking again for less. What is asked for in the end was asked about as a whole and permitted, so
//! nothing is put together that no policy has seen.
//!
//! The order: all scopes; without those that the policies do not permit by themselves; then the same for shorter
//! lifetimes. Nothing at all is no less of something: an exchange that asks for scopes is not narrowed to none.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use palisade_model::{Action, Scopes, Target};
use palisade_policy::{About, Terms, Verdict};

use super::Exchange;
use crate::question::Question;

/// Lifetimes to try where the policies do not permit the configured one.
const SHORTER: [Duration; 3] =
    [Duration::from_secs(15 * 60), Duration::from_secs(5 * 60), Duration::from_secs(60)];

/// What may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) scopes: Arc<Scopes>,
    pub(crate) lifetime: Duration,
}

/// Asks the policies for the most that they permit. Without anything that they permit, the verdict is the one about all
/// that was wanted. Nothing where the time is over before that is known.
pub(crate) fn settle(
    question: &Question<'_>,
    exchange: &Exchange,
    wanted: &Arc<Scopes>,
    in_time: impl Fn() -> bool,
) -> Option<(Option<Settled>, Verdict)> {
    static ACTION: LazyLock<Action> = LazyLock::new(Action::exchange);
    let target = Target::audience(&exchange.name);
    let resource = &question.resource.name;
    let about = About { action: &ACTION, target: &target, resource, arguments: None, supplied: None };
    let ask = |scopes: &Scopes, lifetime: Duration| {
        let terms = Terms { scopes, lifetime, requester: &exchange.requester };
        permitting(question.asking.about_exchange(&about, &terms))
    };
    narrow(ask, wanted, exchange.lifetime, in_time)
}

/// A verdict, and whether it permits.
pub(crate) fn permitting(verdict: Verdict) -> (Verdict, bool) {
    let permits = verdict.permits();
    (verdict, permits)
}

/// The same for whatever asks the policies. They may be asked some hundreds of times, and cannot be interrupted.
pub(crate) fn narrow<V>(
    ask: impl Fn(&Scopes, Duration) -> (V, bool),
    wanted: &Arc<Scopes>,
    longest: Duration,
    in_time: impl Fn() -> bool,
) -> Option<(Option<Settled>, V)> {
    let ask = |scopes: &Scopes, lifetime| in_time().then(|| ask(scopes, lifetime));
    let (whole, permitted) = ask(wanted, longest)?;
    if permitted {
        return Some((Some(Settled { scopes: Arc::clone(wanted), lifetime: longest }), whole));
    }
    let shorter = SHORTER.into_iter().filter(|shorter| *shorter < longest);
    for lifetime in std::iter::once(longest).chain(shorter) {
        if lifetime < longest {
            let (verdict, permitted) = ask(wanted, lifetime)?;
            if permitted {
                return Some((Some(Settled { scopes: Arc::clone(wanted), lifetime }), verdict));
            }
        }
        let mut scopes = Scopes::new();
        for scope in wanted.iter() {
            let (_, permitted) = ask(&[scope.clone()].into(), lifetime)?;
            if permitted {
                scopes.insert(scope.clone());
            }
        }
        if scopes.is_empty() || scopes == **wanted {
            continue;
        }
        let (verdict, permitted) = ask(&scopes, lifetime)?;
        if permitted {
            return Some((Some(Settled { scopes: Arc::new(scopes), lifetime }), verdict));
        }
    }
    Some((None, whole))
}

#[cfg(test)]
mod tests;
