//! Who can do what.

use palisade_model::{DecisionId, PolicyRevision, RawToken};

use crate::{ReasonCode, question::Beside};

/// An entity, as policies name it: `Mcp::Tool` and `files/read`, `User` and `corp/alice`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Entity {
    /// The type of the schema.
    pub type_name: String,
    /// The id.
    pub id: String,
    /// What the caller supplies of its attributes where none is stored: the text of one JSON object. It counts as far as
    /// the caller's `properties` say. Nothing in what is found.
    pub properties: Option<String>,
}

impl Entity {
    /// The entity of this type and id.
    #[must_use]
    pub fn new(type_name: impl Into<String>, id: impl Into<String>) -> Self {
        Self { type_name: type_name.into(), id: id.into(), properties: None }
    }

    /// Any entity of a type: what is sought.
    #[must_use]
    pub fn any(type_name: impl Into<String>) -> Self {
        Self::new(type_name, "")
    }
}

/// What is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sought {
    /// Who may do it, of those whom entity files know.
    Subjects,
    /// What it may be done to, of what configuration, catalogues and entity files know.
    Targets,
    /// What may be done to it.
    Actions,
}

/// Who asks, in a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asker {
    Nobody,
    Holder(RawToken),
    Named(Entity),
}

/// A page of an answer to who can do what.
///
/// The same questions without an end: [`Search::after`] with the `next` of a [`Page`] asks for the page that follows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Search {
    /// The resource's name in the configuration. Empty: the only resource that the caller may ask about.
    pub resource: String,
    /// What is sought.
    pub sought: Sought,
    /// What is done: `tools/call`, or `Own::Action::"read"`. Not looked at where actions are sought.
    pub action: String,
    /// What it is done to. Where targets are sought, its type says of which; none, they are of every type that the action
    /// is done to.
    pub target: Option<Entity>,
    /// The arguments: the text of one JSON object. None: with some arguments, as far as can be told without them.
    pub arguments: Option<String>,
    /// The most that is found on a page, at most 1000; else 100.
    pub page_size: Option<u32>,
    pub(crate) asker: Asker,
    pub(crate) page_token: String,
    pub(crate) beside: Beside,
}
crate::question::beside!(Search);

impl Search {
    /// Who of this type may do this to that?
    #[must_use]
    pub fn subjects(
        resource: impl Into<String>,
        type_name: impl Into<String>,
        action: impl Into<String>,
        target: Entity,
    ) -> Self {
        let asker = Asker::Named(Entity::any(type_name));
        Self { target: Some(target), asker, ..Self::of(resource.into(), Sought::Subjects, action.into()) }
    }

    /// To what may it be done?
    #[must_use]
    pub fn targets(resource: impl Into<String>, action: impl Into<String>) -> Self {
        Self::of(resource.into(), Sought::Targets, action.into())
    }

    /// What may be done to it?
    #[must_use]
    pub fn actions(resource: impl Into<String>, target: Entity) -> Self {
        Self { target: Some(target), ..Self::of(resource.into(), Sought::Actions, String::new()) }
    }

    fn of(resource: String, sought: Sought, action: String) -> Self {
        Self {
            resource,
            sought,
            action,
            target: None,
            arguments: None,
            page_size: None,
            asker: Asker::Nobody,
            page_token: String::new(),
            beside: Beside::default(),
        }
    }

    /// The same, asked by the holder of a token. Not where subjects are sought.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { asker: Asker::Holder(RawToken::new(token)), ..self }
    }

    /// The same, asked by somebody without a token, of a type that the caller may assert.
    #[must_use]
    pub fn subject(self, subject: Entity) -> Self {
        Self { asker: Asker::Named(subject), ..self }
    }

    /// The same about entities of one type alone. For targets.
    #[must_use]
    pub fn of_type(self, type_name: impl Into<String>) -> Self {
        Self { target: Some(Entity::any(type_name)), ..self }
    }

    /// The same with these arguments.
    #[must_use]
    pub fn with(self, arguments: impl Into<String>) -> Self {
        Self { arguments: Some(arguments.into()), ..self }
    }

    /// The same, from where a page ended. All else must be as it was then.
    #[must_use]
    pub fn after(self, next: impl Into<String>) -> Self {
        Self { page_token: next.into(), ..self }
    }
}

/// The values of arguments are nobody's business.
impl std::fmt::Debug for Search {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resource, sought, action, target, .. } = self;
        write!(formatter, "Search({resource:?}, {sought:?}, {action:?}, {target:?}, ..)")
    }
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a search that is refused has found nothing, which is not the same as that there is nothing"]
pub enum Searched {
    /// A page of what there is. It lets nobody in: a call is decided when it comes.
    Found(Page),
    /// There is no answer.
    Refused {
        /// Why.
        reason: ReasonCode,
        /// The id of the decision and of its record; none where the service failed before there was one.
        id: Option<DecisionId>,
    },
}

/// A page of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What was found, in order.
    pub found: Found,
    /// Where the next page begins; none: this was the last. A page may hold fewer than asked for, or none, and not be the
    /// last.
    pub next: Option<String>,
    /// The id of the decision and of its record.
    pub id: DecisionId,
    /// The revision of the policies and the configuration that answered.
    pub policy_revision: Option<PolicyRevision>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The subjects.
    Subjects(Vec<Entity>),
    /// The targets.
    Targets(Vec<Entity>),
    /// The actions, as policies name them: `Mcp::Action::"tools/call"`.
    Actions(Vec<String>),
}
