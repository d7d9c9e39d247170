//! Who can do what: of subject, action and target two are given, and all of the third are found.
//!
//! [`Search::targets`], [`Search::actions`] and [`Search::subjects`] ask about everything that is known, in order of
//! name, and give back one page after another. A page says where the next begins; one that would take more questions
//! than its bound is an error. So an answer is complete, or says that it is not.
//!
//! Known are: the targets of the configuration, its catalogues and the entity files; the actions of the schema; and as
//! subjects those whom the caller has prepared, because most principals come with their tokens.
//! [`Policies::principals`] are those that entity files know. A tool that nothing lists is not found, though a policy may
//! let it be called.
//!
//! What is found is permitted now: with the arguments that are given, or with some, as in a [`Listing`]. Nothing is let
//! in by it.

use std::collections::BTreeMap;

use palisade_model::{Action, Arguments, Circumstances, ResourceName, Subject, SubjectKind, Target};
use thiserror::Error;

use crate::{About, Asking, Listing, Policies, PreparedSubject, Reach, query::belongs};

/// A search, and how far it goes.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The policies that are asked.
    pub policies: &'a Policies,
    /// What holds for the request as a whole.
    pub circumstances: &'a Circumstances,
    /// What is known of the arguments.
    pub inputs: Inputs<'a>,
    /// Where the page begins: behind this name.
    pub after: Option<&'a str>,
    /// How many are found at most on a page; none are as good as one.
    pub page: usize,
    /// How many questions a page may ask.
    pub most: usize,
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
    /// Behind which name the next page begins; nothing where this is the last.
    pub next: Option<String>,
}

/// Why a search has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SearchError {
    /// A page could not be filled within its bound.
    #[error("more than {most} questions would have to be asked")]
    TooMany {
        /// The bound.
        most: usize,
    },
    /// The schema has no such action.
    #[error("the action `{0}` is not in the vocabulary")]
    Action(String),
    /// Nobody can ask as this subject: another policy set prepared it, or it could not be prepared.
    #[error("the subject cannot be asked for: {0}")]
    Subject(String),
}

impl Search<'_> {
    /// The known targets of a resource that the subject may do this to.
    ///
    /// # Errors
    /// For an action that the schema does not have, for a subject that cannot be asked for, and past the bound.
    pub fn targets(
        &self,
        subject: &PreparedSubject,
        action: &Action,
        resource: &ResourceName,
    ) -> Result<Found<Target>, SearchError> {
        let act = self.policies.vocabulary().action(action);
        let act = act.ok_or_else(|| SearchError::Action(action.entity()))?;
        let known = act.resources.iter().flat_map(|type_name| {
            let ids = self.policies.store().ids(type_name);
            ids.map(|id| Target { type_name: type_name.clone(), id: id.to_owned() })
        });
        let known = known.filter(|target| belongs(target, resource));
        let asking = self.ask(subject)?;
        let mut list = asking.list(None);
        self.page(known.map(|target| (target.entity(), target)).collect(), |target| {
            self.permits(&asking, &mut list, action, target, resource)
        })
    }

    /// What the subject may do to a target of this resource.
    ///
    /// # Errors
    /// For a subject that cannot be asked for, and past the bound.
    pub fn actions(
        &self,
        subject: &PreparedSubject,
        target: &Target,
        resource: &ResourceName,
    ) -> Result<Found<Action>, SearchError> {
        let known = self.policies.vocabulary().actions_on(&target.type_name).into_iter();
        let asking = self.ask(subject)?;
        let mut list = asking.list(None);
        self.page(known.map(|action| (action.entity(), action)).collect(), |action| {
            self.permits(&asking, &mut list, action, target, resource)
        })
    }

    /// Who of these subjects, each by a name, may do this to a target of this resource.
    ///
    /// # Errors
    /// For an action that the schema does not have, for a subject that cannot be asked for, and past the bound.
    pub fn subjects<'s>(
        &self,
        subjects: &'s BTreeMap<String, PreparedSubject>,
        action: &Action,
        target: &Target,
        resource: &ResourceName,
    ) -> Result<Found<&'s str>, SearchError> {
        if self.policies.vocabulary().action(action).is_none() {
            return Err(SearchError::Action(action.entity()));
        }
        // One that cannot be asked for is an error wherever it stands, not a gap in some page.
        let asked =
            subjects.iter().map(|(name, subject)| Ok((name.clone(), (name.as_str(), self.ask(subject)?))));
        let found = self.page(asked.collect::<Result<_, _>>()?, |(_, asking)| {
            self.permits(asking, &mut asking.list(None), action, target, resource)
        })?;
        Ok(Found { items: found.items.into_iter().map(|(name, _)| name).collect(), next: found.next })
    }

    fn ask<'s>(&'s self, subject: &'s PreparedSubject) -> Result<Asking<'s>, SearchError> {
        let asking = self.policies.ask(subject, self.circumstances);
        asking.can_ask().map_err(|error| SearchError::Subject(error.to_string()))?;
        Ok(asking)
    }

    fn permits(
        &self,
        asking: &Asking<'_>,
        list: &mut Listing<'_>,
        action: &Action,
        target: &Target,
        resource: &ResourceName,
    ) -> bool {
        match self.inputs {
            Inputs::Any => list.reach(action, target, resource) == Reach::Permitted,
            Inputs::Given(arguments) => {
                // As the service does it: what the catalogue refuses, no policy is asked about.
                arguments.is_none_or(|arguments| self.policies.accepts(target, arguments))
                    && asking.about(&About { action, target, resource, arguments }).permits()
            }
        }
    }

    /// The first of what is known, from where the page begins, that is found by asking.
    fn page<T>(
        &self,
        known: BTreeMap<String, T>,
        mut is_found: impl FnMut(&T) -> bool,
    ) -> Result<Found<T>, SearchError> {
        let mut found = Found { items: Vec::new(), next: None };
        let begins = |name: &String| self.after.is_none_or(|after| name.as_str() > after);
        let mut left = known.into_iter().filter(|(name, _)| begins(name)).enumerate().peekable();
        while let Some((asked, (name, item))) = left.next() {
            if asked == self.most {
                return Err(SearchError::TooMany { most: self.most });
            }
            if is_found(&item) {
                found.items.push(item);
                if found.items.len() >= self.page {
                    found.next = left.peek().map(|_| name);
                    break;
                }
            }
        }
        Ok(found)
    }
}

impl Policies {
    /// The users and clients that entity files know, in order. The files say what they are in; what comes with a token
    /// alone, such as scopes, is for the caller to add.
    #[must_use]
    pub fn principals(&self) -> Vec<Subject> {
        let of = |kind: SubjectKind| {
            let mut ids: Vec<String> = self.store().ids(kind.type_name()).map(str::to_owned).collect();
            ids.sort();
            ids.into_iter().map(move |id| Subject { kind, id, ..Subject::anonymous() })
        };
        [SubjectKind::Client, SubjectKind::User].into_iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests;
