//! What is left of an operation of which something is not granted: for an entry that sends on what is left, and tells what is
//! not.
//!
//! Only who asks with a [`Cutting`] gets any of it ([`Pdp::decide_in_part`](crate::Pdp::decide_in_part)). Fields can be taken
//! out, and nothing else: an operation that may not be done as what it is, is denied whole.

use palisade_model::{Asked, Item};
use palisade_policy::Verdict;

use super::{Granted, stands_alone};

/// Takes from an operation what is not granted; nothing where that cannot be done.
pub type Cutting<'a> = dyn Fn(&Granted<'_>) -> Option<Left> + Send + Sync + 'a;

/// What is left of an operation. Nobody here looks into its body, nor into what is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Left {
    /// The body that is sent on in place of the one that came; nothing where nothing is left.
    pub body: Option<Vec<u8>>,
    /// Which items are about what is left, by their places. Whatever denies one of them denies all.
    pub items: Vec<usize>,
    /// How many places of it were taken out.
    pub taken: usize,
    /// What the client is told of what was taken: a JSON array.
    pub told: String,
}

impl std::fmt::Debug for Left {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Left({} items, ..)", self.items.len())
    }
}

/// Whether anything may be left: of one operation that is granted itself, and its introspection with it. That costs less than to
/// take out what is denied.
pub(super) fn may_be_left(asked: &Asked, verdicts: &[Verdict]) -> bool {
    let one = !asked.batch && asked.items.iter().filter(|item| item.action.is_operation()).count() == 1;
    let begins = asked.items.first().is_some_and(|first| first.action.is_operation());
    let complete = asked.items.len() == verdicts.len();
    let granted = |place: usize| is_granted_at(place, asked, verdicts);
    one && begins && complete && stays(asked).all(granted)
}

/// Whether what is left may go on.
///
/// INVARIANT: of what is left every item is permitted but names; and it is one operation, of which nothing but fields and the names
/// that they ask for is taken out.
pub(super) fn is_granted(left: &Left, asked: &Asked, verdicts: &[Verdict]) -> bool {
    may_be_left(asked, verdicts)
        && left.items.iter().all(|place| is_granted_at(*place, asked, verdicts))
        && stays(asked).all(|place| left.items.contains(&place))
}

fn is_granted_at(place: usize, asked: &Asked, verdicts: &[Verdict]) -> bool {
    let granted = |(item, verdict): (&Item, &Verdict)| verdict.permits() || !stands_alone(item);
    asked.items.get(place).zip(verdicts.get(place)).is_some_and(granted)
}

/// The places of what cannot be taken out.
fn stays(asked: &Asked) -> impl Iterator<Item = usize> {
    let can_go = |item: &Item| item.action.is_part_of_operation() && item.action.name != "introspect";
    asked.items.iter().enumerate().filter(move |(_, item)| !can_go(item)).map(|(place, _)| place)
}
