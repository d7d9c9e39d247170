//! What an operation comes to, counted before anything is expanded.
//!
//! Each fragment is measured once and its measure added wherever it is spread, so a bomb of fragments costs as much as
//! its text is long. What is counted is what execution would select. Everything in the document is measured, also
//! operations that are not asked for: the validation after this goes through all of them.

use std::collections::HashMap;

use apollo_compiler::Node;
use apollo_compiler::ast::{
    Definition, DirectiveList, Document, FragmentDefinition, FragmentSpread, Selection,
};

use crate::Limits;
use crate::error::{Limit, OperationError, place};
use crate::limits::NESTING;

/// What an operation, or a part of one, comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    /// Levels of fields.
    pub depth: usize,
    /// Fields.
    pub fields: usize,
    /// Aliases.
    pub aliases: usize,
    /// Selections: fields, spreads and inline fragments.
    pub selections: usize,
    pub(crate) directives: usize,
    nesting: usize,
}

impl Measure {
    fn beside(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            nesting: self.nesting.max(other.nesting),
            fields: self.fields.saturating_add(other.fields),
            aliases: self.aliases.saturating_add(other.aliases),
            selections: self.selections.saturating_add(other.selections),
            directives: self.directives.saturating_add(other.directives),
        }
    }

    fn within(self, limits: &Limits) -> Result<Self, OperationError> {
        let bounds = [
            (self.nesting, NESTING, Limit::Nesting),
            (self.depth, limits.depth, Limit::Depth),
            (self.selections, limits.fields, Limit::Fields),
            (self.aliases, limits.aliases, Limit::Aliases),
            (self.directives, limits.directives, Limit::Directives),
        ];
        match bounds.into_iter().find(|(is, most, _)| is > most) {
            Some((_, most, limit)) => Err(OperationError::TooMuch { limit, most }),
            None => Ok(self),
        }
    }
}

/// Measures everything in a document, and the operation of this name alone.
pub(crate) fn measure(
    document: &Document,
    operation: Option<&str>,
    limits: &Limits,
) -> Result<Measure, OperationError> {
    let mut measuring = Measuring { fragments: HashMap::new(), document, limits };
    for definition in &document.definitions {
        if let Some(fragment) = definition.as_fragment_definition() {
            measuring.fragments.insert(fragment.name.as_str(), Fragment::Unmeasured(fragment));
        }
    }
    if measuring.fragments.len() > limits.fragments {
        return Err(OperationError::TooMuch { limit: Limit::Fragments, most: limits.fragments });
    }
    let (mut all, mut asked) = (Measure::default(), Measure::default());
    for definition in document.definitions.iter().filter_map(Definition::as_operation_definition) {
        let own = measuring.selections(&definition.selection_set, 0)?;
        let own = own.beside(of_directives(&definition.directives));
        if operation.is_none() || operation == definition.name.as_ref().map(|name| name.as_str()) {
            asked = own;
        }
        all = all.beside(own).within(limits)?;
    }
    Ok(asked)
}

enum Fragment<'a> {
    Unmeasured(&'a Node<FragmentDefinition>),
    Measuring,
    Measured(Measure),
}

struct Measuring<'a> {
    fragments: HashMap<&'a str, Fragment<'a>>,
    document: &'a Document,
    limits: &'a Limits,
}

impl<'a> Measuring<'a> {
    /// The measure of a selection set that stands `level` levels down.
    fn selections(&mut self, selections: &'a [Selection], level: usize) -> Result<Measure, OperationError> {
        if level > NESTING {
            return Err(OperationError::TooMuch { limit: Limit::Nesting, most: NESTING });
        }
        let mut sum = Measure::default();
        for selection in selections {
            // Checked at each step: a sum that is beyond a bound is not worth another one.
            sum = sum.beside(self.selection(selection, level)?).within(self.limits)?;
        }
        Ok(sum)
    }

    fn selection(&mut self, selection: &'a Selection, level: usize) -> Result<Measure, OperationError> {
        let (below, directives) = match selection {
            Selection::Field(field) => {
                let below = self.selections(&field.selection_set, level + 1)?;
                let aliases = below.aliases.saturating_add(usize::from(field.alias.is_some()));
                let fields = below.fields.saturating_add(1);
                (Measure { depth: below.depth + 1, aliases, fields, ..below }, &field.directives)
            }
            Selection::InlineFragment(inline) => {
                (self.selections(&inline.selection_set, level + 1)?, &inline.directives)
            }
            Selection::FragmentSpread(spread) => (self.fragment(spread, level + 1)?, &spread.directives),
        };
        let selections = below.selections.saturating_add(1);
        let measure = Measure { selections, nesting: below.nesting + 1, ..below };
        Ok(measure.beside(of_directives(directives)))
    }

    fn fragment(
        &mut self,
        spread: &'a Node<FragmentSpread>,
        level: usize,
    ) -> Result<Measure, OperationError> {
        let name = spread.fragment_name.as_str();
        let fragment = match self.fragments.get_mut(name) {
            // Validation says that it is missing.
            None => return Ok(Measure::default()),
            Some(Fragment::Measured(measure)) => return Ok(*measure),
            Some(Fragment::Measuring) => {
                let at = place(spread.location(), &self.document.sources);
                return Err(OperationError::FragmentCycle(at));
            }
            Some(unmeasured @ Fragment::Unmeasured(_)) => std::mem::replace(unmeasured, Fragment::Measuring),
        };
        let Fragment::Unmeasured(fragment) = fragment else { return Ok(Measure::default()) };
        let below = self.selections(&fragment.selection_set, level)?;
        let measure = below.beside(of_directives(&fragment.directives));
        self.fragments.insert(name, Fragment::Measured(measure));
        Ok(measure)
    }
}

fn of_directives(directives: &DirectiveList) -> Measure {
    Measure { directives: directives.len(), ..Measure::default() }
}
