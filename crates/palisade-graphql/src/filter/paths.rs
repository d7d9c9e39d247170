//! Places in a response.

use std::collections::BTreeSet;

use apollo_compiler::Name;
use apollo_compiler::ast::Type;

/// One step into a response.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The member of this name: an alias, or the field's name.
    Key(String),
    /// Every item of a list.
    Item,
    /// Only in objects of this type.
    On(String),
}

/// One step down an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Field { key: Name, name: Name, ty: Type },
    On(Name),
}

/// The response's path of something selected, as far into the lists of each field as `of` says, from its type.
fn segments(path: &[Part], items: impl Fn(usize, &Type) -> usize) -> Vec<Segment> {
    let mut segments = Vec::new();
    for (index, part) in path.iter().enumerate() {
        match part {
            Part::Field { key, ty, .. } => {
                segments.push(Segment::Key(key.as_str().to_owned()));
                segments.extend(std::iter::repeat_n(Segment::Item, items(index, ty)));
            }
            Part::On(condition) => segments.push(Segment::On(condition.as_str().to_owned())),
        }
    }
    segments
}

/// Where something that is selected stands in the response.
pub(super) fn place_of(path: &[Part]) -> Vec<Segment> {
    up_to(path, path.len().saturating_sub(1), 0)
}

/// Where the response is null when these are not in it.
pub(super) fn nulled(removed: &[Vec<Part>]) -> Vec<Vec<Segment>> {
    let nulled: BTreeSet<Vec<Segment>> = removed.iter().map(|path| null_of(path)).collect();
    nulled.into_iter().collect()
}

/// Where the response is null when the field at the end of a path is (GraphQL, section 6.4.4): a field that may not be
/// null takes the object with it, the object the item or the list that it stands in, and so on up.
fn null_of(path: &[Part]) -> Vec<Segment> {
    let mut fields = path.iter().enumerate().rev().filter_map(|(index, part)| match part {
        Part::Field { ty, .. } => Some((index, ty)),
        Part::On(_) => None,
    });
    let Some((index, ty)) = fields.next() else { return Vec::new() };
    if !ty.is_non_null() {
        return up_to(path, index, 0);
    }
    for (index, ty) in fields {
        let nullable = nullable_levels(ty);
        if let Some(items) = nullable.iter().rposition(|nullable| *nullable) {
            return up_to(path, index, items);
        }
    }
    Vec::new()
}

/// The path of the field at `last`, `items` lists down into it.
fn up_to(path: &[Part], last: usize, items: usize) -> Vec<Segment> {
    let path: Vec<Part> = path.iter().take(last + 1).cloned().collect();
    segments(&path, |index, ty| if index == last { items } else { nullable_levels(ty).len() - 1 })
}

/// Which level of a type may be null: the field itself, its items, theirs.
fn nullable_levels(ty: &Type) -> Vec<bool> {
    let mut levels = vec![!ty.is_non_null()];
    let mut ty = ty;
    while let Type::List(item) | Type::NonNullList(item) = ty {
        levels.push(!item.is_non_null());
        ty = item;
    }
    levels
}
