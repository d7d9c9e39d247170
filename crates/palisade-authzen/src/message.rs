//! The messages of the API, as they were sent.
//!
//! Unknown members are left alone wherever they stand; what is known has to be what it must be, or the message is
//! malformed. The errors name the member that is wrong, and no value of it.

use palisade_model::{Arguments, Properties};
use serde_json::{Map, Value};

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 32;
/// The longest type, id or name, in bytes.
const MAX_NAME: usize = 2_048;

/// What is wrong with a message, in words for its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

/// A subject or a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entity {
    pub(crate) type_name: String,
    pub(crate) id: String,
    pub(crate) properties: Properties,
}

/// An action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Action {
    pub(crate) name: String,
    /// Its properties, which are the arguments of the call.
    pub(crate) arguments: Option<Arguments>,
}

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Evaluation {
    pub(crate) subject: Entity,
    pub(crate) action: Action,
    pub(crate) resource: Entity,
    pub(crate) context: Option<Arguments>,
}

/// The questions of `evaluations`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Evaluations {
    /// There is no list, or an empty one: this is `evaluation`.
    One(Box<Evaluation>),
    /// In order; an item that is no question is an answer of its own.
    Several(Vec<Result<Evaluation, Malformed>>, Semantic),
}

/// Where the evaluation of several questions ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Semantic {
    /// With the last one.
    ExecuteAll,
    /// With the first that is denied.
    DenyOnFirstDeny,
    /// With the first that is permitted.
    PermitOnFirstPermit,
}

/// A search for one of the three.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    pub(crate) sought: Sought,
    pub(crate) context: Option<Arguments>,
    pub(crate) page: Option<Page>,
}

/// What is sought, and what is given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sought {
    Subjects { type_name: String, action: Action, resource: Entity },
    Resources { subject: Entity, action: Action, type_name: String },
    Actions { subject: Entity, resource: Entity },
}

/// Which of the three an entry searches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Subject,
    Resource,
    Action,
}

/// Which part of what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Page {
    pub(crate) token: Option<String>,
    pub(crate) limit: Option<usize>,
}

impl Evaluation {
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        Self::of(&object(body)?)
    }

    fn of(members: &Map<String, Value>) -> Result<Self, Malformed> {
        Ok(Self {
            subject: Entity::of(members, "subject")?,
            action: Action::of(members)?,
            resource: Entity::of(members, "resource")?,
            context: context(members)?,
        })
    }
}

impl Evaluations {
    /// Reads a batch of at most `most` items.
    pub(crate) fn read(body: &[u8], most: usize) -> Result<Self, Malformed> {
        let members = object(body)?;
        let semantic = semantic(&members)?;
        let items = match members.get("evaluations") {
            None | Some(Value::Null) => return Evaluation::of(&members).map(|one| Self::One(Box::new(one))),
            Some(Value::Array(items)) if items.is_empty() => {
                return Evaluation::of(&members).map(|one| Self::One(Box::new(one)));
            }
            Some(Value::Array(items)) => items,
            Some(_) => return Err(Malformed("`evaluations` is no array".to_owned())),
        };
        if items.len() > most {
            return Err(Malformed(format!("`evaluations` has more than {most} items")));
        }
        for name in MEMBERS {
            if members.get(name).is_some_and(|value| !value.is_object() && !value.is_null()) {
                return Err(Malformed(format!("`{name}` is no object")));
            }
        }
        let item = |item: &Value| {
            let own = item.as_object();
            let own = own.ok_or_else(|| Malformed("an item of `evaluations` is no object".to_owned()))?;
            Ok(with_defaults(own, &members))
        };
        let items = items.iter().map(item).collect::<Result<Vec<_>, Malformed>>()?;
        Ok(Self::Several(items.iter().map(Evaluation::of).collect(), semantic))
    }
}

/// The members of a question.
const MEMBERS: [&str; 4] = ["subject", "action", "resource", "context"];

/// An item of a batch with what stands beside the batch for what it leaves out. A member of the item replaces the default
/// whole. One that lacks what it must have takes that from the default, and nothing else.
fn with_defaults(own: &Map<String, Value>, defaults: &Map<String, Value>) -> Map<String, Value> {
    let mut whole = Map::new();
    for (name, required) in [
        ("subject", &["type", "id"][..]),
        ("action", &["name"][..]),
        ("resource", &["type", "id"][..]),
        ("context", &[][..]),
    ] {
        let default = defaults.get(name).filter(|value| !value.is_null());
        let value = match (own.get(name).filter(|value| !value.is_null()), default) {
            (None, None) => continue,
            (None, Some(default)) => default.clone(),
            (Some(own), default) => completed(own, default, required),
        };
        whole.insert(name.to_owned(), value);
    }
    whole
}

fn completed(own: &Value, default: Option<&Value>, required: &[&str]) -> Value {
    let mut own = own.clone();
    if let Value::Object(members) = &mut own {
        for name in required {
            let missing = !members.contains_key(*name);
            let default = default.and_then(|default| default.get(name)).filter(|_| missing);
            if let Some(default) = default {
                members.insert((*name).to_owned(), default.clone());
            }
        }
    }
    own
}

fn semantic(members: &Map<String, Value>) -> Result<Semantic, Malformed> {
    let options = match members.get("options") {
        None | Some(Value::Null) => return Ok(Semantic::ExecuteAll),
        Some(Value::Object(options)) => options,
        Some(_) => return Err(Malformed("`options` is no object".to_owned())),
    };
    match options.get("evaluations_semantic") {
        None | Some(Value::Null) => Ok(Semantic::ExecuteAll),
        Some(Value::String(name)) => match name.as_str() {
            "execute_all" => Ok(Semantic::ExecuteAll),
            "deny_on_first_deny" => Ok(Semantic::DenyOnFirstDeny),
            "permit_on_first_permit" => Ok(Semantic::PermitOnFirstPermit),
            _unknown => Err(Malformed("`evaluations_semantic` is none of the three".to_owned())),
        },
        Some(_) => Err(Malformed("`evaluations_semantic` is no string".to_owned())),
    }
}

impl Search {
    pub(crate) fn read(body: &[u8], kind: Kind) -> Result<Self, Malformed> {
        let members = object(body)?;
        let sought = match kind {
            Kind::Subject => Sought::Subjects {
                type_name: type_of(&members, "subject")?,
                action: Action::of(&members)?,
                resource: Entity::of(&members, "resource")?,
            },
            Kind::Resource => Sought::Resources {
                subject: Entity::of(&members, "subject")?,
                action: Action::of(&members)?,
                type_name: type_of(&members, "resource")?,
            },
            Kind::Action => Sought::Actions {
                subject: Entity::of(&members, "subject")?,
                resource: Entity::of(&members, "resource")?,
            },
        };
        Ok(Self { sought, context: context(&members)?, page: Page::of(&members)? })
    }
}

impl Page {
    fn of(members: &Map<String, Value>) -> Result<Option<Self>, Malformed> {
        let page = match members.get("page") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(page)) => page,
            Some(_) => return Err(Malformed("`page` is no object".to_owned())),
        };
        let token = match page.get("token") {
            None | Some(Value::Null) => None,
            Some(Value::String(token)) => Some(token.clone()),
            Some(_) => return Err(Malformed("`page.token` is no string".to_owned())),
        };
        let limit = match page.get("limit") {
            None | Some(Value::Null) => None,
            Some(limit) => {
                let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
                let wrong = || Malformed("`page.limit` is no non-negative integer".to_owned());
                Some(limit.ok_or_else(wrong)?)
            }
        };
        Ok(Some(Self { token, limit }))
    }
}

impl Entity {
    fn of(members: &Map<String, Value>, name: &str) -> Result<Self, Malformed> {
        let entity = member(members, name)?;
        Ok(Self {
            type_name: text(entity, name, "type")?,
            id: text(entity, name, "id")?,
            properties: properties(entity, name)?
                .map(|found| Properties::new(found.clone()))
                .unwrap_or_default(),
        })
    }
}

/// The type of what is sought. An id beside it, and properties, are not looked at.
fn type_of(members: &Map<String, Value>, name: &str) -> Result<String, Malformed> {
    text(member(members, name)?, name, "type")
}

impl Action {
    fn of(members: &Map<String, Value>) -> Result<Self, Malformed> {
        let action = member(members, "action")?;
        let arguments = properties(action, "action")?.map(|found| arguments(found, "action.properties"));
        Ok(Self { name: text(action, "action", "name")?, arguments: arguments.transpose()? })
    }
}

fn context(members: &Map<String, Value>) -> Result<Option<Arguments>, Malformed> {
    match members.get("context") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(context)) => arguments(context, "context").map(Some),
        Some(_) => Err(Malformed("`context` is no object".to_owned())),
    }
}

fn arguments(members: &Map<String, Value>, name: &str) -> Result<Arguments, Malformed> {
    Arguments::from_json(&Value::Object(members.clone()))
        .map_err(|_limit| Malformed(format!("`{name}` is larger or deeper than it may be")))
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Malformed> {
    match palisade_json::read(body, MAX_DEPTH) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Malformed("the body is no JSON object".to_owned())),
        Err(error) => Err(Malformed(format!("the body: {error}"))),
    }
}

fn member<'m>(members: &'m Map<String, Value>, name: &str) -> Result<&'m Map<String, Value>, Malformed> {
    match members.get(name) {
        None | Some(Value::Null) => Err(Malformed(format!("`{name}` is missing"))),
        Some(Value::Object(found)) => Ok(found),
        Some(_) => Err(Malformed(format!("`{name}` is no object"))),
    }
}

fn properties<'m>(
    members: &'m Map<String, Value>,
    of: &str,
) -> Result<Option<&'m Map<String, Value>>, Malformed> {
    match members.get("properties") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(found)) => Ok(Some(found)),
        Some(_) => Err(Malformed(format!("`{of}.properties` is no object"))),
    }
}

fn text(members: &Map<String, Value>, of: &str, name: &str) -> Result<String, Malformed> {
    match members.get(name) {
        None | Some(Value::Null) => Err(Malformed(format!("`{of}.{name}` is missing"))),
        Some(Value::String(text)) if text.is_empty() => Err(Malformed(format!("`{of}.{name}` is empty"))),
        Some(Value::String(text)) if text.len() > MAX_NAME => {
            Err(Malformed(format!("`{of}.{name}` is longer than it may be")))
        }
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Malformed(format!("`{of}.{name}` is no string"))),
    }
}

#[cfg(test)]
mod tests;
