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
    /// What the client is told of what was taken: a JSON array.
    pub told: String,
}

impl std::fmt::Debug for Left {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Left({} items, ..)", self.items.len())
    }
}

/// Whether what is left may go on.
///
/// INVARIANT: of what is left every item is permitted but names; and it is one operation, of which nothing but fields and the names
/// that they ask for is taken out.
pub(super) fn is_granted(left: &Left, asked: &Asked, verdicts: &[Verdict]) -> bool {
    let one = !asked.batch && asked.items.iter().filter(|item| item.action.is_operation()).count() == 1;
    let begins = asked.items.first().is_some_and(|first| first.action.is_operation());
    let granted = |item: &Item, verdict: &Verdict| verdict.permits() || !stands_alone(item);
    let is_left = |place: &usize| {
        let (item, verdict) = (asked.items.get(*place), verdicts.get(*place));
        item.zip(verdict).is_some_and(|(item, verdict)| granted(item, verdict))
    };
    let can_go = |item: &Item| item.action.is_part_of_operation() && item.action.name != "introspect";
    let mut stays = asked.items.iter().enumerate().filter(|(_, item)| !can_go(item));
    let complete = asked.items.len() == verdicts.len();
    one && begins
        && complete
        && left.items.iter().all(is_left)
        && stays.all(|(place, _)| left.items.contains(&place) && is_left(&place))
}
