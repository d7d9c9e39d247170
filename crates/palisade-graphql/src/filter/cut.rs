//! Taking out of an operation what is not granted.
//!
//! What a field or a fragment asks for depends on nothing above it, so a named fragment is cut once, and what was
//! taken from it is told at each of its spreads, from there. How often that is has been bounded by the measure. What is
//! selected many times at one place is told once: places are compared by a hash of the way to them, before a path is copied.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use apollo_compiler::ast::{Argument, Directive, Value};
use apollo_compiler::executable::{
    Field, Fragment, FragmentSpread, InlineFragment, Operation, OperationMap, Selection, SelectionSet,
};
use apollo_compiler::{ExecutableDocument, Name, Node};

use super::paths::{self, Part};
use super::used::Used;
use super::{Denied, Dialect};
use crate::analysis::executes;
use crate::requirements::{of_field, of_type};
use crate::rule::Why;
use crate::{Analysis, Coordinate, Decisions, Rule, Schema};

/// What is left, and what is not.
pub(super) struct Cut {
    /// Nothing where nothing is left.
    pub(super) document: Option<(ExecutableDocument, Node<Operation>)>,
    pub(super) changed: bool,
    pub(super) denials: Vec<Denial>,
    /// The fields that are gone, the uppermost of each branch.
    pub(super) removed: Vec<Vec<Part>>,
}

/// Something that is not granted.
#[derive(Debug, Clone)]
pub(super) struct Denial {
    pub(super) coordinate: Coordinate,
    pub(super) because: Coordinate,
    pub(super) why: Why,
    pub(super) path: Vec<Part>,
}

/// Which part of a rule does not hold, and whose.
type Refused = (Coordinate, Why);

impl Denial {
    pub(super) fn told(self) -> Denied {
        let path = paths::place_of(&self.path);
        Denied { coordinate: self.coordinate, because: self.because, why: self.why, path }
    }
}

/// Says of each part of an operation whether it is granted.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) schema: &'a Schema,
    pub(super) analysis: &'a Analysis,
    pub(super) decisions: &'a Decisions,
    pub(super) dialect: Dialect,
}

impl Judge<'_> {
    fn field(&self, coordinate: &Coordinate, field: &Node<Field>) -> Option<Refused> {
        if field.name == "__typename" {
            return None;
        }
        if field.name.starts_with("__") {
            return (!self.decisions.may_introspect()).then(|| (coordinate.clone(), Why::Introspection));
        }
        let rules = of_field(self.schema, self.dialect, coordinate.type_name(), field);
        self.unmet(rules).or_else(|| {
            let Some(mut asks) = self.analysis.asks_about(field) else {
                return Some((coordinate.clone(), Why::Undecided));
            };
            let denied = asks.find(|ask| !self.decisions.permits(ask))?;
            Some((denied.coordinate.clone(), Why::Undecided))
        })
    }

    fn condition(&self, condition: &Name, set: &SelectionSet) -> Option<Refused> {
        self.unmet(of_type(self.schema, self.dialect, condition.as_str(), set))
    }

    fn unmet(&self, rules: Vec<(Coordinate, &Rule)>) -> Option<Refused> {
        let scopes_authenticate = self.dialect.scopes_authenticate();
        rules.into_iter().find_map(|(of, rule)| Some((of, rule.unmet(self.decisions, scopes_authenticate)?)))
    }

    /// Whether a selection counts: where the dialect evaluates conditions, only if they let it be executed.
    fn counts(&self, selection: &Selection) -> bool {
        !self.dialect.evaluates_conditions() || executes(selection.directives(), &self.analysis.variables)
    }
}

/// Cuts an operation.
pub(super) fn operation(judge: Judge<'_>) -> Cut {
    let operation = &judge.analysis.operation;
    let mut cutter = Cutter::new(judge);
    let root = Coordinate::of_type(operation.object_type().as_str());
    let rule = judge.schema.type_rule(root.type_name());
    let left = match judge.unmet(rule.map(|rule| (root.clone(), rule)).into_iter().collect()) {
        Some(refused) => {
            cutter.deny(&root, refused, true);
            None
        }
        None => cutter.set(&operation.selection_set, true),
    };
    let document = left.map(|set| assemble(judge.analysis, &cutter.fragments, set));
    let denials = cutter.denials.into_iter().map(|(_, denial)| denial).collect();
    let removed = cutter.removed.into_iter().map(|(_, path)| path).collect();
    Cut { document, changed: cutter.changed, denials, removed }
}

/// The document of what is left: one operation, with the fragments and variables that it still uses.
fn assemble(
    analysis: &Analysis,
    fragments: &HashMap<Name, Rc<CutFragment>>,
    set: SelectionSet,
) -> (ExecutableDocument, Node<Operation>) {
    let mut document = ExecutableDocument::new();
    for (name, fragment) in &analysis.document.fragments {
        let Some(set) = fragments.get(name).and_then(|cut| cut.set.clone()) else { continue };
        let directives = fragment.directives.clone();
        let left = Fragment { name: name.clone(), directives, selection_set: set };
        document.fragments.insert(name.clone(), Node::new(left));
    }
    let mut operation = Operation::clone(&analysis.operation);
    operation.selection_set = set;
    let used = Used::by(&document, &operation);
    operation.variables.retain(|variable| used.variables.contains(variable.name.as_str()));
    document.fragments.retain(|name, _| used.fragments.contains(name.as_str()));
    let operation = Node::new(operation);
    document.operations = OperationMap::from_one(operation.clone());
    (document, operation)
}

/// What is left of a named fragment, and what was taken from it, by the path from its spread.
struct CutFragment {
    set: Option<SelectionSet>,
    told: usize,
    denials: Vec<(Mark, Denial)>,
    removed: Vec<(Mark, Vec<Part>)>,
}

/// A hash of the way to a place, for a denial with what is denied there.
type Mark = u64;

fn mark(of: impl Hash) -> Mark {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

struct Cutter<'a> {
    judge: Judge<'a>,
    fragments: HashMap<Name, Rc<CutFragment>>,
    /// Where the cutter is, from the operation or the fragment that it is in.
    path: Vec<Part>,
    /// The mark of each place on the path, after that of where it begins.
    marks: Vec<Mark>,
    /// How often something was denied that counts, also where it is told already.
    told: usize,
    denials: Vec<(Mark, Denial)>,
    removed: Vec<(Mark, Vec<Part>)>,
    /// The marks of the denials, and of what is removed.
    denied: HashSet<Mark>,
    gone: HashSet<Mark>,
    changed: bool,
}

impl<'a> Cutter<'a> {
    fn new(judge: Judge<'a>) -> Self {
        Self {
            judge,
            fragments: HashMap::new(),
            path: Vec::new(),
            marks: vec![0],
            told: 0,
            denials: Vec::new(),
            removed: Vec::new(),
            denied: HashSet::new(),
            gone: HashSet::new(),
            changed: false,
        }
    }

    /// What is left of a selection set; `counts` says whether what is taken is told.
    fn set(&mut self, set: &SelectionSet, counts: bool) -> Option<SelectionSet> {
        let told = self.told;
        let mut left = SelectionSet::new(set.ty.clone());
        for selection in &set.selections {
            let counts = counts && self.judge.counts(selection);
            let selection = match selection {
                Selection::Field(field) => self.field(&set.ty, field, counts).map(Selection::Field),
                Selection::InlineFragment(inline) => {
                    self.inline(inline, counts).map(Selection::InlineFragment)
                }
                Selection::FragmentSpread(spread) => {
                    self.spread(spread, counts).map(Selection::FragmentSpread)
                }
            };
            left.selections.extend(selection);
        }
        if !left.is_empty() {
            return Some(left);
        }
        // Only what would not have been executed is gone: the object stays, with nothing in it.
        (counts && told == self.told).then(|| self.nothing(left)).flatten()
    }

    /// A selection set that selects nothing.
    fn nothing(&self, mut set: SelectionSet) -> Option<SelectionSet> {
        let mut skip = Directive::new(Name::new("skip").ok()?);
        let (name, value) = (Name::new("if").ok()?, Node::new(Value::Boolean(true)));
        skip.arguments.push(Node::new(Argument { name, value }));
        let field = set.new_field(&self.judge.schema.valid, Name::new("__typename").ok()?).ok()?;
        set.push(field.with_directive(skip));
        Some(set)
    }

    fn field(&mut self, parent: &Name, field: &Node<Field>, counts: bool) -> Option<Node<Field>> {
        let (key, name, ty) = (field.response_key().clone(), field.name.clone(), field.ty().clone());
        self.enter(Part::Field { key, name, ty });
        let left = self.field_here(parent, field, counts);
        self.leave();
        left
    }

    fn field_here(&mut self, parent: &Name, field: &Node<Field>, counts: bool) -> Option<Node<Field>> {
        let coordinate = Coordinate::of_field(parent.as_str(), field.name.as_str());
        if let Some(refused) = self.judge.field(&coordinate, field) {
            self.deny(&coordinate, refused, counts);
            self.remove(counts);
            return None;
        }
        // What is below introspection has no rules.
        if field.selection_set.is_empty() || field.name.starts_with("__") {
            return Some(field.clone());
        }
        let before = self.removed.len();
        let Some(set) = self.set(&field.selection_set, counts) else {
            for (mark, _) in self.removed.drain(before..) {
                self.gone.remove(&mark);
            }
            self.remove(counts);
            return None;
        };
        let mut left = field.clone();
        left.make_mut().selection_set = set;
        Some(left)
    }

    fn inline(&mut self, inline: &Node<InlineFragment>, counts: bool) -> Option<Node<InlineFragment>> {
        let set = match &inline.type_condition {
            None => self.set(&inline.selection_set, counts),
            Some(condition) => self.under(condition, &inline.selection_set, counts),
        };
        let mut left = inline.clone();
        left.make_mut().selection_set = set?;
        Some(left)
    }

    /// What is left of what is selected under a type condition.
    fn under(&mut self, condition: &Name, set: &SelectionSet, counts: bool) -> Option<SelectionSet> {
        self.enter(Part::On(condition.clone()));
        let left = match self.judge.condition(condition, set) {
            Some(refused) => {
                self.deny(&Coordinate::of_type(condition.as_str()), refused, counts);
                None
            }
            None => self.set(set, counts),
        };
        self.leave();
        left
    }

    fn spread(&mut self, spread: &Node<FragmentSpread>, counts: bool) -> Option<Node<FragmentSpread>> {
        let cut = self.fragment(&spread.fragment_name)?;
        if counts {
            self.told += cut.told;
            let here = self.here();
            for (there, denial) in &cut.denials {
                let mark = mark((here, there));
                if self.denied.insert(mark) {
                    let path = [&*self.path, &*denial.path].concat();
                    self.denials.push((mark, Denial { path, ..denial.clone() }));
                }
            }
            for (there, path) in &cut.removed {
                let mark = mark((here, there));
                if self.gone.insert(mark) {
                    self.removed.push((mark, [&*self.path, &**path].concat()));
                }
            }
        }
        cut.set.is_some().then(|| spread.clone())
    }

    fn fragment(&mut self, name: &Name) -> Option<Rc<CutFragment>> {
        if let Some(cut) = self.fragments.get(name) {
            return Some(Rc::clone(cut));
        }
        let analysis = self.judge.analysis;
        let fragment = analysis.document.fragments.get(name)?;
        let path = std::mem::take(&mut self.path);
        let marks = std::mem::replace(&mut self.marks, vec![mark(name.as_str())]);
        let told = std::mem::take(&mut self.told);
        let denials = std::mem::take(&mut self.denials);
        let removed = std::mem::take(&mut self.removed);
        let set = self.under(fragment.type_condition(), &fragment.selection_set, true);
        self.path = path;
        self.marks = marks;
        let cut = CutFragment {
            set,
            told: std::mem::replace(&mut self.told, told),
            denials: std::mem::replace(&mut self.denials, denials),
            removed: std::mem::replace(&mut self.removed, removed),
        };
        let cut = Rc::new(cut);
        self.fragments.insert(name.clone(), Rc::clone(&cut));
        Some(cut)
    }

    fn enter(&mut self, part: Part) {
        self.marks.push(mark((self.here(), &part)));
        self.path.push(part);
    }

    fn leave(&mut self) {
        self.marks.pop();
        self.path.pop();
    }

    fn here(&self) -> Mark {
        self.marks.last().copied().unwrap_or_default()
    }

    fn deny(&mut self, coordinate: &Coordinate, (because, why): Refused, counts: bool) {
        self.changed = true;
        if !counts {
            return;
        }
        self.told += 1;
        let mark = mark((self.here(), coordinate));
        if self.denied.insert(mark) {
            let (coordinate, path) = (coordinate.clone(), self.path.clone());
            self.denials.push((mark, Denial { coordinate, because, why, path }));
        }
    }

    fn remove(&mut self, counts: bool) {
        let mark = self.here();
        if counts && self.gone.insert(mark) {
            self.removed.push((mark, self.path.clone()));
        }
    }
}
