//! What has to be held of names, when several places each ask for one of several sets.
//!
//! The places are kept apart and not multiplied out, which could be exponentially many sets: what all of them need is taken
//! out, and of what is left each place needs one set.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// The names that have to be held: all of some, and of each place one set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Required {
    /// All of these.
    pub all: BTreeSet<String>,
    /// And of each of these one set.
    pub each: Vec<Vec<BTreeSet<String>>>,
}

impl Required {
    /// From the places, each with its sets as the directive has them: none, or an empty one among them, asks for nothing.
    #[must_use]
    pub fn new(places: impl IntoIterator<Item = Vec<BTreeSet<String>>>) -> Self {
        let mut required = Self { all: BTreeSet::new(), each: places.into_iter().collect() };
        // A place with one set left asks for all of it, which may take from the sets of the others.
        loop {
            let all = required.all.clone();
            let mut left: Vec<Vec<BTreeSet<String>>> = Vec::new();
            for sets in std::mem::take(&mut required.each) {
                match weakest(&sets, &all).as_slice() {
                    [] => {}
                    [only] => required.all.extend(only.iter().cloned()),
                    several if left.iter().any(|known| known.as_slice() == several) => {}
                    several => left.push(several.to_vec()),
                }
            }
            required.each = left;
            if required.all == all {
                return required;
            }
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.each.is_empty()
    }

    /// Whether who has these names has enough.
    #[must_use]
    pub fn held(&self, held: &BTreeSet<String>) -> bool {
        self.all.is_subset(held) && self.each.iter().all(|sets| sets.iter().any(|set| set.is_subset(held)))
    }

    /// Every name, perhaps more than once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().chain(self.each.iter().flatten().flatten()).map(String::as_str)
    }
}

/// What the sets ask for beside `all`, without those that hold another; nothing if one of them asks for no more.
fn weakest(sets: &[BTreeSet<String>], all: &BTreeSet<String>) -> Vec<BTreeSet<String>> {
    let rest: BTreeSet<BTreeSet<String>> = sets.iter().map(|set| set - all).collect();
    if rest.first().is_none_or(BTreeSet::is_empty) {
        return Vec::new();
    }
    let holds_another =
        |set: &BTreeSet<String>| rest.iter().any(|other| other != set && other.is_subset(set));
    rest.iter().filter(|set| !holds_another(set)).cloned().collect()
}

impl fmt::Display for Required {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" and ");
        let alternatives = |sets: &Vec<BTreeSet<String>>| {
            let sets: Vec<String> = sets.iter().map(joined).collect();
            format!("({})", sets.join(" or "))
        };
        let all = (!self.all.is_empty()).then(|| joined(&self.all));
        let parts: Vec<String> = all.into_iter().chain(self.each.iter().map(alternatives)).collect();
        formatter.write_str(&parts.join(" and "))
    }
}
