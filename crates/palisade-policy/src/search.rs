//! Who can do what: of subject, action and target two are given, and all of the third are found.
//!
//! [`Search::targets`], [`Search::actions`] and [`Search::subjects`] ask about everything that is known, in order of
//! name, and give back one page after another. A page ends when it is full, when it has asked as many questions as it
//! may, or when its time is over; unless nothing is left, it says where the next begins. So the pages together are
//! complete, and none is cut in silence.
//!
//! Known are: the targets of the configuration, its catalogues and the entity files; the actions of the schema; and the
//! subjects that entity files know, because most principals come with their tokens. A tool that nothing lists is not
//! found, though a policy may let it be called.
//!
//! What is found is permitted now: with the arguments that are given, or with some, as in a [`Listing`]. Nothing is let
//! in by it.

use palisade_model::{
    Action, Arguments, Circumstances, Properties, ResourceName, Subject, SubjectKind, Target,
};
use thiserror::Error;

use crate::{About, Asking, Listing, Policies, PreparedSubject, Reach, query::belongs};

/// After so many questions a page looks whether its time is over. What is found among a few does not hang on the clock.
const BETWEEN_LOOKS: usize = 32;

/// A search, and how far it goes.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// The policies that are asked.
    pub policies: &'a Policies,
    /// What holds for the request as a whole.
    pub circumstances: &'a Circumstances,
    /// What is known of the arguments.
    pub inputs: Inputs<'a>,
    /// What the caller supplies of the target, where it is given.
    pub supplied: Option<&'a Properties>,
    /// Where the page begins: how many of what is known were asked about before.
    pub from: usize,
    /// How many are found at most on a page; none are as good as one.
    pub page: usize,
    /// How many questions a page may ask.
    pub most: usize,
    /// Whether there is time for more questions.
    pub has_time: &'a dyn Fn() -> bool,
}

/// The arguments that a search speaks of.
#[derive(Debug, Clone, Copy)]
pub enum Inputs<'a> {
    /// Any: what is found may be let in with the right ones.
    Any,
    /// These; none are the same as empty ones.
    Given(Option<&'a Arguments>),
}

/// A page of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// In order of name. The name of a target and of an action is its entity, such as `Mcp::Tool::"files/read"`.
    pub items: Vec<T>,
    /// Where the next page begins; nothing where this is the last.
    pub next: Option<usize>,
}

impl<T> Found<T> {
    /// Nothing is found, and there is nothing more.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

/// Why a search has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SearchError {
    /// The schema has no such action.
    #[error("the action `{0}` is not in the vocabulary")]
    Action(String),
    /// Nobody can ask as this subject: another policy set prepared it, or it could not be prepared.
    #[error("the subject cannot be asked for: {0}")]
    Subject(String),
}

impl Search<'_> {
    /// The known targets of a resource that the subject may do this to: of this type, or of every type that the action is
    /// done to.
    ///
    /// # Errors
    /// For an action that the schema does not have, and for a subject that cannot be asked for.
    pub fn targets(
        &self,
        subject: &PreparedSubject,
        action: &Action,
        type_name: Option<&str>,
        resource: &ResourceName,
    ) -> Result<Found<Target>, SearchError> {
        let act = self.policies.vocabulary().action(action);
        let act = act.ok_or_else(|| SearchError::Action(action.entity()))?;
        let mut types: Vec<&String> = act
            .resources
            .iter()
            .filter(|name| type_name.is_none_or(|wanted| wanted == name.as_str()))
            .collect();
        types.sort();
        // Nothing is made of an entity before it is asked about: there may be many, and a page is short.
        let known = types.into_iter().flat_map(|type_name| {
            let ids = self.policies.store().ids(type_name).filter(|id| belongs(type_name, id, resource));
            ids.map(|id| Target { type_name: type_name.clone(), id: id.to_owned() })
        });
        let asking = self.ask(subject)?;
        let mut list = asking.list(None);
        Ok(self.page(known, |target| {
            let about = About { action, target, resource, arguments: None, supplied: None };
            self.permits(&asking, &mut list, &about)
        }))
    }

    /// What the subject may do to a target of this resource.
    ///
    /// # Errors
    /// For a subject that cannot be asked for.
    pub fn actions(
        &self,
        subject: &PreparedSubject,
        target: &Target,
        resource: &ResourceName,
    ) -> Result<Found<Action>, SearchError> {
        let known = self.policies.vocabulary().actions_on(&target.type_name);
        let asking = self.ask(subject)?;
        let mut list = asking.list(None);
        Ok(self.page(known, |action| {
            let about = About { action, target, resource, arguments: None, supplied: self.supplied };
            self.permits(&asking, &mut list, &about)
        }))
    }

    /// Who of a kind may do this to a target of this resource, of those that entity files know. `prepare` makes of each what
    /// the policies are asked with; one that cannot be asked for, may not.
    ///
    /// # Errors
    /// For an action that the schema does not have.
    pub fn subjects(
        &self,
        kind: &SubjectKind,
        prepare: impl Fn(&Subject) -> PreparedSubject,
        action: &Action,
        target: &Target,
        resource: &ResourceName,
    ) -> Result<Found<Subject>, SearchError> {
        if self.policies.vocabulary().action(action).is_none() {
            return Err(SearchError::Action(action.entity()));
        }
        let known = self.policies.store().ids(kind.type_name());
        let known = known.map(|id| Subject { kind: kind.clone(), id: id.to_owned(), ..Subject::anonymous() });
        Ok(self.page(known, |subject| {
            let prepared = prepare(subject);
            let Ok(asking) = self.ask(&prepared) else { return false };
            let about = About { action, target, resource, arguments: None, supplied: self.supplied };
            self.permits(&asking, &mut asking.list(None), &about)
        }))
    }

    fn ask<'s>(&'s self, subject: &'s PreparedSubject) -> Result<Asking<'s>, SearchError> {
        let asking = self.policies.ask(subject, self.circumstances);
        asking.can_ask().map_err(|error| SearchError::Subject(error.to_string()))?;
        Ok(asking)
    }

    fn permits(&self, asking: &Asking<'_>, list: &mut Listing<'_>, about: &About<'_>) -> bool {
        match self.inputs {
            Inputs::Any => list.reach(&About { supplied: None, ..*about }) == Reach::Permitted,
            Inputs::Given(arguments) => {
                // As the service does it: what the catalogue refuses, no policy is asked about.
                arguments.is_none_or(|arguments| self.policies.accepts(about.target, arguments))
                    && asking.about(&About { arguments, ..*about }).permits()
            }
        }
    }

    /// The first of what is known, from where the page begins, that is found by asking.
    fn page<T>(&self, known: impl IntoIterator<Item = T>, mut is_found: impl FnMut(&T) -> bool) -> Found<T> {
        let mut found = Found::nothing();
        let mut known = known.into_iter().skip(self.from).peekable();
        let mut asked = 0;
        while let Some(item) = known.next() {
            asked += 1;
            if is_found(&item) {
                found.items.push(item);
            }
            let late = asked % BETWEEN_LOOKS == 0 && !(self.has_time)();
            let over = found.items.len() >= self.page.max(1) || asked >= self.most || late;
            if over {
                found.next = known.peek().and_then(|_| self.from.checked_add(asked));
                break;
            }
        }
        found
    }
}

impl std::fmt::Debug for Search<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, page, most, inputs, .. } = self;
        write!(formatter, "Search {{ from: {from}, page: {page}, most: {most}, inputs: {inputs:?} }}")
    }
}

#[cfg(test)]
mod tests;
