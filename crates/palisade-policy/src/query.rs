//! One question in the model's words, and why it may be none.
//!
//! A [`Query`] holds everything at once; [`Asking`](crate::Asking) takes it in three parts, of which the longer-lived
//! are prepared once. What cannot be turned into a valid request has an error here, and every error is a denial.

use std::time::Duration;

use palisade_model::{
    Action, Arguments, Authority, Circumstances, Properties, Reason, ResourceName, Scopes, Subject,
    SubjectKind, Target, Timestamp,
};
use thiserror::Error;

use crate::vocabulary::{Act, Vocabulary};

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Whose authority is used.
    pub subject: &'a Subject,
    /// What the token says beside; none without a token.
    pub authority: Option<&'a Authority>,
    /// What a step-up could change. What `authority` says of it is not looked at.
    pub strength: Strength<'a>,
    /// What is to be done.
    pub action: &'a Action,
    /// What it is done to.
    pub target: &'a Target,
    /// The protected resource the target belongs to.
    pub resource: &'a ResourceName,
    /// The arguments, for actions that have any; none are the same as empty ones.
    pub arguments: Option<&'a Arguments>,
    /// What the caller supplies of the target's attributes.
    pub supplied: Option<&'a Properties>,
    /// What holds for the request as a whole.
    pub circumstances: &'a Circumstances,
}

impl<'a> Query<'a> {
    /// The part that differs from item to item of a batch.
    #[must_use]
    pub fn about(&self) -> About<'a> {
        let Self { action, target, resource, arguments, supplied, .. } = *self;
        About { action, target, resource, arguments, supplied }
    }
}

/// What is to be done to what: the part of a question that differs from item to item of a batch.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// What is to be done.
    pub action: &'a Action,
    /// What it is done to.
    pub target: &'a Target,
    /// The protected resource the target belongs to.
    pub resource: &'a ResourceName,
    /// The arguments, for actions that have any; none are the same as empty ones.
    pub arguments: Option<&'a Arguments>,
    /// What the caller supplies of the target's attributes: it fills what is declared and absent.
    pub supplied: Option<&'a Properties>,
}

/// What an exchange asks for: the part of a question that no other action has (RFC 8693).
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The scopes of the token that is asked for.
    pub scopes: &'a Scopes,
    /// For how long the token is handed out.
    pub lifetime: Duration,
    /// `<issuer>/<client_id>` of the client that asks for it.
    pub requester: &'a str,
}

/// What a stronger token would have more of.
#[derive(Debug, Clone, Copy)]
pub struct Strength<'a> {
    /// The scopes, with the implied ones.
    pub scopes: &'a Scopes,
    /// The authentication context class.
    pub acr: Option<&'a str>,
    /// When the user authenticated.
    pub auth_time: Option<Timestamp>,
}

/// Why a question could not be put to the policies. The messages hold no value of the request.
#[derive(Debug, Clone, Error)]
pub(crate) enum RequestError {
    #[error("the action `{0}` is not in the vocabulary")]
    Method(String),
    #[error("`{action}` is not done to a `{target}`")]
    Applies { action: String, target: String },
    #[error("`{target}` is no target of the resource `{resource}`")]
    Target { target: String, resource: String },
    #[error("`{action}` is not done by a `{principal}`")]
    Principal { action: String, principal: String },
    #[error("the schema has no entity type `{0}`")]
    Type(String),
    #[error("{0}")]
    Arguments(String),
    #[error("what is supplied of `{0}` has another type than the schema declares")]
    Supplied(String),
    #[error("a `{0}` needs more than is known of this one")]
    Incomplete(String),
    #[error("subject and target are the same `{0}`, and what is supplied of the two differs")]
    Twofold(String),
    #[error("the subject: {0}")]
    Subject(Box<RequestError>),
    #[error("the {0} cannot be built")]
    Build(&'static str),
    #[error("the subject was prepared for another policy set")]
    Foreign,
}

impl RequestError {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Method(_) => Reason::MethodUnknown,
            Self::Applies { .. } | Self::Target { .. } => Reason::TargetUnknown,
            Self::Principal { .. } => Reason::NoPermit,
            Self::Arguments(_) | Self::Supplied(_) | Self::Twofold(_) => Reason::ArgumentsInvalid,
            Self::Incomplete(_) => Reason::TargetUnknown,
            Self::Subject(error) if matches!(**error, Self::Type(_) | Self::Incomplete(_)) => {
                Reason::SubjectUnknown
            }
            Self::Subject(error) => error.reason(),
            Self::Type(_) | Self::Build(_) | Self::Foreign => Reason::InternalError,
        }
    }
}

/// The action, if the subject and the target are of kinds it applies to.
pub(crate) fn act<'a>(
    about: &About<'_>,
    subject: &SubjectKind,
    vocabulary: &'a Vocabulary,
) -> Result<&'a Act, RequestError> {
    let action = || about.action.entity();
    let act = vocabulary.action(about.action).ok_or_else(|| RequestError::Method(action()))?;
    if !act.resources.contains(&about.target.type_name) {
        return Err(RequestError::Applies { action: action(), target: about.target.type_name.clone() });
    }
    let principal = subject.type_name();
    if !act.principals.contains(principal) {
        return Err(RequestError::Principal { action: action(), principal: principal.to_owned() });
    }
    Ok(act)
}

/// Whether a target of a protocol's namespace is one of the resource: its id is the resource's name, or begins with it
/// and a slash. Targets of a deployment's own namespaces have ids of their own.
pub(crate) fn belongs(type_name: &str, id: &str, resource: &ResourceName) -> bool {
    let rest = id.strip_prefix(resource.as_str());
    !is_of_protocol(type_name) || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a type is one of a protocol's namespace.
pub(crate) fn is_of_protocol(type_name: &str) -> bool {
    ["Mcp::", "Http::", "Graphql::"].iter().any(|namespace| type_name.starts_with(namespace))
}
