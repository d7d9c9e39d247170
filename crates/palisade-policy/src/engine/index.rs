//! Finds the policies whose scope holds for a request, without looking at the others.
//!
//! A policy is filed under what its scope says of the action, the principal and the resource, and under what its
//! condition begins by demanding of the context. What can be said of an entity, such as `== User::"a"` or
//! `in Role::"b"`, is an [`Atom`]; a request gives, axis by axis, the atoms that are true of it, its entities' ancestors
//! included. The policies are sorted by their four atoms, and a map knows where each beginning of a key lies.
//!
//! INVARIANT: a policy that is not found is one whose scope does not hold, or whose condition is false without an
//! error. A policy that is found has a scope that holds, so that only its condition is left to evaluate.

use std::ops::{ControlFlow, Range};

use cedar_policy::{ActionConstraint, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_core::ast::{Eid, EntityType, EntityUID};
use rustc_hash::FxHashMap;

use super::demands::Demands;

/// Something a policy says of one part of a request.
pub(crate) type Atom = u32;

/// Says nothing: true of every request.
pub(super) const ANY: Atom = 0;
/// Not part of a beginning of a key.
const OPEN: Atom = Atom::MAX;
/// Action, resource, principal, context: in the order in which they narrow most for most sets.
const AXES: usize = 4;
/// So few policies are looked through one by one.
const FEW: usize = 8;

type Key = [Atom; AXES];

/// The atoms that are true of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Truths<'a> {
    pub(crate) action: &'a [Atom],
    pub(crate) resource: &'a [Atom],
    /// None where no policy is left out for the principal it is for.
    pub(crate) principal: Option<&'a [Atom]>,
    /// None where the context is not known: then no policy is left out for what it demands of it.
    pub(crate) context: Option<&'a [Atom]>,
}

/// Where every policy is.
#[derive(Debug, Default)]
pub(crate) struct Index {
    actions: Axis,
    resources: Axis,
    principals: Axis,
    demands: Demands,
    /// Every policy under every one of its keys, sorted.
    entries: Vec<(Key, u32)>,
    /// Where the entries with this beginning lie.
    ranges: FxHashMap<Key, Range<usize>>,
}

/// What policies say of the entity in one place of a request.
#[derive(Debug, Default)]
pub(crate) struct Axis {
    types: FxHashMap<EntityType, OfType>,
    atoms: Atom,
}

/// What policies say of a type, and of its entities. To compare whole names of entities means to look for the name of the
/// type in memory for each of them.
#[derive(Debug, Default)]
struct OfType {
    all: Option<Atom>,
    entities: FxHashMap<Eid, Said>,
}

/// What policies say of one entity.
#[derive(Debug, Default)]
struct Said {
    equal: Option<Atom>,
    within: Option<Atom>,
    /// `is T in E`
    type_within: Vec<(EntityType, Atom)>,
}

impl Index {
    /// Files the policies under their numbers.
    pub(crate) fn new<'a>(policies: impl IntoIterator<Item = (u32, &'a Policy)>) -> Self {
        let mut index = Self::default();
        for (number, policy) in policies {
            for key in index.keys(policy) {
                index.entries.push((key, number));
            }
        }
        index.entries.sort_unstable();
        index.entries.dedup();
        index.entries.shrink_to_fit();
        index.find_ranges([OPEN; AXES], 0, 0..index.entries.len());
        index
    }

    /// The numbers of the policies to evaluate, each once, in order.
    pub(crate) fn candidates(&self, truths: &Truths<'_>) -> Vec<u32> {
        let mut found = Vec::new();
        self.search(truths, |_, number| {
            found.push(number);
            ControlFlow::Continue(())
        });
        in_order(found)
    }

    /// The policies that are about this action and target, whoever asks in whatever context, and whether their scope
    /// holds for who asks, too; with the search broken off when this many are found.
    pub(crate) fn whoever_asks(&self, truths: &Truths<'_>, most: usize) -> Vec<(u32, bool)> {
        let mut found = Vec::new();
        self.search(&Truths { principal: None, context: None, ..*truths }, |[_, _, principal, _], number| {
            found.push((number, truths.principal.is_none_or(|atoms| atoms.contains(principal))));
            if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        in_order(found)
    }

    pub(crate) fn actions(&self) -> &Axis {
        &self.actions
    }

    pub(crate) fn principals(&self) -> &Axis {
        &self.principals
    }

    pub(crate) fn resources(&self) -> &Axis {
        &self.resources
    }

    pub(crate) fn demands(&self) -> &Demands {
        &self.demands
    }

    /// The policies that are candidates whoever does whatever to whatever, but for types.
    pub(crate) fn unnarrowed(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().filter_map(|([action, resource, principal, demand], number)| {
            let wide = *action == ANY
                && self.resources.is_wide(*resource)
                && self.principals.is_wide(*principal)
                && *demand == ANY;
            wide.then_some(*number)
        })
    }

    fn keys(&mut self, policy: &Policy) -> Vec<Key> {
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => vec![ANY],
            ActionConstraint::Eq(action) => vec![self.actions.equal(action.as_ref())],
            ActionConstraint::In(actions) => {
                actions.iter().map(|action| self.actions.within(action.as_ref())).collect()
            }
        };
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => ANY,
            PrincipalConstraint::Eq(uid) => self.principals.equal(uid.as_ref()),
            PrincipalConstraint::In(uid) => self.principals.within(uid.as_ref()),
            PrincipalConstraint::Is(name) => self.principals.of_type(name.as_ref()),
            PrincipalConstraint::IsIn(name, uid) => self.principals.type_within(name.as_ref(), uid.as_ref()),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => ANY,
            ResourceConstraint::Eq(uid) => self.resources.equal(uid.as_ref()),
            ResourceConstraint::In(uid) => self.resources.within(uid.as_ref()),
            ResourceConstraint::Is(name) => self.resources.of_type(name.as_ref()),
            ResourceConstraint::IsIn(name, uid) => self.resources.type_within(name.as_ref(), uid.as_ref()),
        };
        let demands = self.demands.of(policy);
        actions
            .iter()
            .flat_map(|action| demands.iter().map(move |demand| [*action, resource, principal, *demand]))
            .collect()
    }

    /// Notes where the beginnings of keys lie, as far as there are more than a few of each.
    fn find_ranges(&mut self, beginning: Key, axis: usize, range: Range<usize>) {
        let mut from = range.start;
        while let Some(atom) = self.atom_at(from, axis).filter(|_| from < range.end) {
            let rest = self.entries.get(from..range.end).unwrap_or_default();
            let length = rest.partition_point(|(key, _)| key.get(axis).is_some_and(|other| *other <= atom));
            let (key, lies) = (with(beginning, axis, atom), from..from + length);
            if length > FEW && axis + 1 < AXES {
                self.find_ranges(key, axis + 1, lies.clone());
            }
            self.ranges.insert(key, lies);
            from += length;
        }
    }

    fn atom_at(&self, entry: usize, axis: usize) -> Option<Atom> {
        self.entries.get(entry).and_then(|(key, _)| key.get(axis)).copied()
    }

    /// Tells every entry that is true of a request, until it is told to stop.
    fn search(&self, truths: &Truths<'_>, mut found: impl FnMut(&Key, u32) -> ControlFlow<()>) {
        let wanted = [Some(truths.action), Some(truths.resource), truths.principal, truths.context];
        let all = 0..self.entries.len();
        // Whether it was told to stop is for who has told it.
        let (ControlFlow::Continue(()) | ControlFlow::Break(())) =
            self.descend(&wanted, [OPEN; AXES], 0, all, &mut found);
    }

    fn descend(
        &self,
        wanted: &[Option<&[Atom]>; AXES],
        beginning: Key,
        axis: usize,
        range: Range<usize>,
        found: &mut impl FnMut(&Key, u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let entries = self.entries.get(range).unwrap_or_default();
        let Some(Some(atoms)) = wanted.get(axis) else {
            return entries.iter().try_for_each(|(key, number)| found(key, *number));
        };
        if entries.len() <= FEW {
            let holds = |key: &Key| {
                key.iter()
                    .zip(wanted)
                    .skip(axis)
                    .all(|(atom, of)| of.is_none_or(|atoms| atoms.contains(atom)))
            };
            return entries
                .iter()
                .filter(|(key, _)| holds(key))
                .try_for_each(|(key, number)| found(key, *number));
        }
        for atom in *atoms {
            let key = with(beginning, axis, *atom);
            if let Some(range) = self.ranges.get(&key) {
                self.descend(wanted, key, axis + 1, range.clone(), found)?;
            }
        }
        ControlFlow::Continue(())
    }
}

impl Axis {
    /// The atoms that are true of an entity with these ancestors.
    pub(crate) fn truths<'a>(
        &self,
        entity: &EntityUID,
        ancestors: impl IntoIterator<Item = &'a EntityUID>,
    ) -> Vec<Atom> {
        let name = entity.entity_type();
        let mut atoms = vec![ANY];
        if let Some(of_type) = self.types.get(name) {
            atoms.extend(of_type.all);
            if let Some(said) = of_type.entities.get(entity.eid()) {
                atoms.extend(said.equal);
                atoms.extend(said.of_what_is_within(name));
            }
        }
        for ancestor in ancestors {
            let of_type = self.types.get(ancestor.entity_type());
            if let Some(said) = of_type.and_then(|of_type| of_type.entities.get(ancestor.eid())) {
                atoms.extend(said.of_what_is_within(name));
            }
        }
        atoms
    }

    /// Whether the atom is said of all entities, or of all of a type.
    fn is_wide(&self, atom: Atom) -> bool {
        atom == ANY || self.types.values().any(|of_type| of_type.all == Some(atom))
    }

    fn equal(&mut self, entity: &EntityUID) -> Atom {
        let next = self.next();
        *self.said(entity).equal.get_or_insert(next)
    }

    fn within(&mut self, entity: &EntityUID) -> Atom {
        let next = self.next();
        *self.said(entity).within.get_or_insert(next)
    }

    fn of_type(&mut self, name: &EntityType) -> Atom {
        let next = self.next();
        *self.types.entry(name.clone()).or_default().all.get_or_insert(next)
    }

    fn type_within(&mut self, name: &EntityType, entity: &EntityUID) -> Atom {
        let next = self.next();
        let said = &mut self.said(entity).type_within;
        if let Some((_, atom)) = said.iter().find(|(known, _)| known == name) {
            return *atom;
        }
        said.push((name.clone(), next));
        next
    }

    fn said(&mut self, entity: &EntityUID) -> &mut Said {
        let of_type = self.types.entry(entity.entity_type().clone()).or_default();
        of_type.entities.entry(entity.eid().clone()).or_default()
    }

    /// An atom that nobody has.
    fn next(&mut self) -> Atom {
        self.atoms += 1;
        self.atoms
    }
}

impl Said {
    fn of_what_is_within(&self, name: &EntityType) -> impl Iterator<Item = Atom> {
        let of_type = self.type_within.iter().filter(move |(known, _)| known == name).map(|(_, atom)| *atom);
        self.within.into_iter().chain(of_type)
    }
}

/// Each once, in order: a policy on several actions, or with several demands, has several keys.
fn in_order<T: Ord>(mut found: Vec<T>) -> Vec<T> {
    found.sort_unstable();
    found.dedup();
    found
}

fn with(mut key: Key, axis: usize, atom: Atom) -> Key {
    if let Some(place) = key.get_mut(axis) {
        *place = atom;
    }
    key
}
