//! Who is in which role, and which object in which group: the `g` and `g2` lines.
//!
//! INVARIANT: the links form no cycle, and no chain is longer than Casbin follows, so that Cedar's unlimited hierarchy
//! means the same.

use std::collections::{BTreeMap, BTreeSet};

/// How many links Casbin follows.
const LONGEST: usize = 10;

/// Links from a member to what it is in.
#[derive(Debug, Default)]
pub(super) struct Hierarchy {
    above: BTreeMap<String, BTreeSet<String>>,
    below: BTreeMap<String, BTreeSet<String>>,
}

/// Why a link cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// A name is always in itself.
    Itself,
    /// It would close a cycle.
    Cycle,
    /// It would make a chain longer than Casbin follows.
    TooLong,
}

impl Hierarchy {
    pub(super) fn add(&mut self, member: &str, group: &str) -> Result<(), Refused> {
        if member == group {
            return Err(Refused::Itself);
        }
        if reachable(&self.above, group).contains(member) {
            return Err(Refused::Cycle);
        }
        if longest(&self.below, member, LONGEST) + 1 + longest(&self.above, group, LONGEST) > LONGEST {
            return Err(Refused::TooLong);
        }
        self.above.entry(member.to_owned()).or_default().insert(group.to_owned());
        self.below.entry(group.to_owned()).or_default().insert(member.to_owned());
        Ok(())
    }

    /// Whether something is in this name.
    pub(super) fn is_group(&self, name: &str) -> bool {
        self.below.contains_key(name)
    }

    /// The name and all that is in it.
    pub(super) fn members(&self, name: &str) -> BTreeSet<String> {
        let mut members = reachable(&self.below, name);
        members.insert(name.to_owned());
        members
    }

    /// Every name with what it is directly in.
    pub(super) fn links(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let names: BTreeSet<&String> = self.above.keys().chain(self.below.keys()).collect();
        names.into_iter().map(|name| {
            (name.as_str(), self.above.get(name).into_iter().flatten().map(String::as_str).collect())
        })
    }
}

fn reachable(links: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        for next in links.get(&name).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    found
}

/// The length of the longest chain from a name, at most `limit`: level by level, as long as a level has names.
fn longest(links: &BTreeMap<String, BTreeSet<String>>, from: &str, limit: usize) -> usize {
    let mut level = BTreeSet::from([from]);
    for length in 0..limit {
        level = level.iter().filter_map(|name| links.get(*name)).flatten().map(String::as_str).collect();
        if level.is_empty() {
            return length;
        }
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_form_no_cycle_and_no_chain_that_casbin_would_not_follow() {
        let mut roles = Hierarchy::default();
        assert_eq!(roles.add("a", "a"), Err(Refused::Itself));
        assert_eq!(roles.add("a", "b"), Ok(()));
        assert_eq!(roles.add("b", "c"), Ok(()));
        assert_eq!(roles.add("c", "a"), Err(Refused::Cycle));
        assert_eq!(roles.members("c"), ["a", "b", "c"].map(str::to_owned).into());
        for number in 0..8 {
            assert_eq!(roles.add(&format!("c{number}"), &format!("c{}", number + 1)), Ok(()));
        }
        assert_eq!(roles.add("c", "c0"), Err(Refused::TooLong));
        assert_eq!(roles.add("b", "c0"), Ok(()));
    }
}
