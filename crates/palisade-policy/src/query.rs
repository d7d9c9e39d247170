//! One question in the model's words, turned into a Cedar request and the entities it can look at.
//!
//! The request is validated against the schema, so that no policy ever sees a context it was not checked with. What
//! cannot be turned into a valid request has an error here, and every error is a denial.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy::{Context, Entities, Entity, EntityUid, EvalResult, Request, RestrictedExpression};
use palisade_model::{
    Action, Arguments, Authority, Circumstances, Reason, ResourceName, Scopes, Subject, SubjectKind, Target,
    Timestamp,
};
use thiserror::Error;

use crate::{
    store::Store,
    vocabulary::{Act, Carries, Vocabulary},
};

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
    /// What holds for the request as a whole.
    pub circumstances: &'a Circumstances,
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
#[derive(Debug, Error)]
pub(crate) enum RequestError {
    #[error("the action `{0}` is not in the vocabulary")]
    Method(String),
    #[error("`{action}` is not done to a `{target}`")]
    Applies { action: String, target: String },
    #[error("`{target}` is no target of the resource `{resource}`")]
    Target { target: String, resource: String },
    #[error("`{action}` is not done by a `{principal}`")]
    Principal { action: String, principal: &'static str },
    #[error("the schema has no entity type `{0}`")]
    Type(String),
    #[error("the {0} cannot be built")]
    Build(&'static str),
    #[error("the request does not fit the schema")]
    Invalid,
}

impl RequestError {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Method(_) => Reason::MethodUnknown,
            Self::Applies { .. } | Self::Target { .. } => Reason::TargetUnknown,
            Self::Principal { .. } => Reason::NoPermit,
            Self::Type(_) | Self::Build(_) | Self::Invalid => Reason::InternalError,
        }
    }
}

/// A question in Cedar's words.
pub(crate) struct Question {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
}

impl Question {
    /// `always` are entities that policies look at without naming them through the request.
    pub(crate) fn new(
        query: &Query<'_>,
        vocabulary: &Vocabulary,
        store: &Store,
        always: &[EntityUid],
    ) -> Result<Self, RequestError> {
        let act = act(query, vocabulary)?;
        let build = Build { query, vocabulary, store };
        let target = build.target()?;
        let resource = target.uid();
        let principal = build.principal()?;
        let subject = principal.uid();
        let mut own = vec![target];
        own.extend(build.clients(&subject)?);
        own.push(principal);
        let mut pairs = build.context()?;
        if act.carries == Carries::Arguments {
            let arguments = build.arguments(&mut own)?;
            pairs.push(("args".to_owned(), RestrictedExpression::new_entity_uid(arguments)));
        }
        let context = Context::from_pairs(pairs).map_err(|_| RequestError::Build("context"))?;
        let request = Request::new(subject, act.uid.clone(), resource, context, Some(&vocabulary.schema))
            .map_err(|_| RequestError::Invalid)?;
        let also = always.iter().cloned().chain([act.uid.clone()]);
        let entities = store.slice(own, also).map_err(|_| RequestError::Build("entities"))?;
        Ok(Self { request, entities })
    }
}

/// The action, if the subject and the target are of kinds it applies to.
fn act<'a>(query: &Query<'_>, vocabulary: &'a Vocabulary) -> Result<&'a Act, RequestError> {
    let action = || query.action.entity();
    let act = vocabulary.action(query.action).ok_or_else(|| RequestError::Method(action()))?;
    if !act.resources.contains(&query.target.type_name) {
        return Err(RequestError::Applies { action: action(), target: query.target.type_name.clone() });
    }
    let principal = query.subject.kind.type_name();
    if !act.principals.contains(principal) {
        return Err(RequestError::Principal { action: action(), principal });
    }
    Ok(act)
}

struct Build<'a> {
    query: &'a Query<'a>,
    vocabulary: &'a Vocabulary,
    store: &'a Store,
}

type Attributes = Vec<(String, RestrictedExpression)>;

impl Build<'_> {
    /// The subject: parents of token and entity files together, tags of the token alone.
    fn principal(&self) -> Result<Entity, RequestError> {
        let subject = self.query.subject;
        let uid = self.vocabulary.uid(subject.kind.type_name(), &subject.id)?;
        if subject.kind == SubjectKind::Anonymous {
            return Ok(Entity::with_uid(uid));
        }
        let mut parents: HashSet<EntityUid> = self.store.ancestors(&uid).cloned().collect();
        let named = (subject.roles.iter().map(|id| ("Role", id)))
            .chain(subject.groups.iter().map(|id| ("Group", id)))
            .chain(subject.tenant.iter().map(|id| ("Tenant", id)));
        for (type_name, id) in named {
            let parent = self.vocabulary.uid(type_name, id)?;
            parents.extend(self.store.ancestors(&parent).cloned());
            parents.insert(parent);
        }
        let tenant = match &subject.tenant {
            Some(tenant) => Some(self.vocabulary.uid("Tenant", tenant)?),
            None => self.store.get(&uid).and_then(tenant_of),
        };
        let tags = subject.tags.iter().map(|(name, values)| (name.clone(), texts(values)));
        Entity::new_with_tags(uid, tenant.map(reference("tenant")), parents, tags)
            .map_err(|_| RequestError::Build("principal"))
    }

    /// The client and the actors, as far as entity files know more of them than their id.
    fn clients(&self, subject: &EntityUid) -> Result<Vec<Entity>, RequestError> {
        let Some(authority) = self.query.authority else { return Ok(Vec::new()) };
        let ids: BTreeSet<&String> = authority.client.iter().chain(&authority.actors).collect();
        let mut clients = Vec::new();
        for id in ids {
            let uid = self.vocabulary.uid("Client", id)?;
            if uid == *subject {
                continue;
            }
            if let Some(stored) = self.store.get(&uid) {
                let parents: HashSet<EntityUid> = self.store.ancestors(&uid).cloned().collect();
                let attributes = tenant_of(stored).map(reference("tenant"));
                let client = Entity::new_with_tags(uid, attributes, parents, [])
                    .map_err(|_| RequestError::Build("client"))?;
                clients.push(client);
            }
        }
        Ok(clients)
    }

    /// The target as the store has it, or for kinds of things no configuration can list in full, made from its id.
    fn target(&self) -> Result<Entity, RequestError> {
        let (target, resource) = (self.query.target, self.query.resource);
        let unknown = || RequestError::Target { target: target.entity(), resource: resource.to_string() };
        // A target of another resource is a defect of the caller, not a question.
        if !belongs(target, resource) {
            return Err(unknown());
        }
        let uid = self.vocabulary.uid(&target.type_name, &target.id)?;
        if let Some(stored) = self.store.get(&uid) {
            return Ok(stored.clone());
        }
        let name = target.id.strip_prefix(resource.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Err(unknown()) };
        let text = RestrictedExpression::new_string;
        let flag = |name: &str, value: bool| (name.to_owned(), RestrictedExpression::new_bool(value));
        let mut attributes: Attributes = match target.type_name.as_str() {
            "Mcp::Tool" => vec![
                ("name".to_owned(), text(name.to_owned())),
                flag("listed", false),
                flag("read_only", false),
                flag("destructive", true),
                flag("idempotent", false),
                flag("open_world", true),
            ],
            "Mcp::Prompt" => vec![("name".to_owned(), text(name.to_owned()))],
            "Mcp::Resource" => vec![("uri".to_owned(), text(name.to_owned()))],
            _ => return Err(unknown()),
        };
        let server = self.vocabulary.uid("Mcp::Server", resource.as_str())?;
        let stored = self.store.get(&server).ok_or_else(unknown)?;
        attributes.extend(tenant_of(stored).map(reference("tenant")));
        attributes.push(reference("server")(server.clone()));
        let parents = self.store.ancestors(&server).cloned().chain([server.clone()]);
        Entity::new_with_tags(uid, attributes, parents, []).map_err(|_| RequestError::Build("target"))
    }

    /// What every context holds.
    fn context(&self) -> Result<Attributes, RequestError> {
        let Query { strength, circumstances, authority, .. } = self.query;
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let time = |time: Timestamp| RestrictedExpression::new_datetime(time.to_string());
        let client =
            |id: &String| Ok(RestrictedExpression::new_entity_uid(self.vocabulary.uid("Client", id)?));
        let actors = authority.map(|authority| authority.actors.as_slice()).unwrap_or_default();
        let mut pairs = vec![
            ("scopes", texts(strength.scopes.iter().map(palisade_model::Scope::as_str))),
            ("issuer", text(authority.map_or("", |authority| authority.issuer.as_str()))),
            (
                "audience",
                texts(
                    authority
                        .iter()
                        .flat_map(|authority| &authority.audience)
                        .map(palisade_model::Audience::as_str),
                ),
            ),
            ("actors", set(actors.iter().map(client).collect::<Result<Vec<_>, RequestError>>()?)),
            (
                "delegation_depth",
                RestrictedExpression::new_long(i64::try_from(actors.len()).unwrap_or(i64::MAX)),
            ),
            ("amr", texts(authority.iter().flat_map(|authority| &authority.amr))),
            ("now", time(circumstances.now)),
            ("surface", text(circumstances.surface.as_str())),
            (
                "groups_complete",
                RestrictedExpression::new_bool(authority.is_none_or(|authority| authority.groups_complete)),
            ),
            ("asserted", RestrictedExpression::new_bool(circumstances.asserted)),
        ];
        if let Some(id) = authority.and_then(|authority| authority.client.as_ref()) {
            pairs.push(("client", client(id)?));
        }
        if let Some(id) = actors.first() {
            pairs.push(("actor", client(id)?));
        }
        let optional = [
            ("acr", strength.acr.map(text)),
            ("auth_time", strength.auth_time.map(time)),
            ("ip", circumstances.ip.map(|ip| RestrictedExpression::new_ip(ip.to_string()))),
            ("host", circumstances.host.as_deref().map(text)),
            ("path", circumstances.path.as_deref().map(text)),
        ];
        pairs.extend(optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The arguments and their bags, added to `entities`; gives the entity that stands for them all.
    fn arguments(&self, entities: &mut Vec<Entity>) -> Result<EntityUid, RequestError> {
        let none = Arguments::from_json(&serde_json::json!({})).unwrap_or_default();
        let arguments = self.query.arguments.unwrap_or(&none);
        let text = |text: &String| RestrictedExpression::new_string(text.clone());
        let bags = [
            ("text", "Palisade::Text", bag(&arguments.text, text)),
            (
                "number",
                "Palisade::Number",
                bag(&arguments.number, |number| RestrictedExpression::new_long(*number)),
            ),
            ("fraction", "Palisade::Fraction", bag(&arguments.fraction, RestrictedExpression::new_decimal)),
            ("flag", "Palisade::Flag", bag(&arguments.flag, |flag| RestrictedExpression::new_bool(*flag))),
            ("list", "Palisade::List", bag(&arguments.list, texts)),
        ];
        let mut attributes: Attributes = vec![
            ("paths".to_owned(), texts(&arguments.paths)),
            ("unmapped".to_owned(), texts(&arguments.unmapped)),
            ("digest".to_owned(), text(&arguments.digest)),
        ];
        for (name, type_name, tags) in bags {
            let uid = self.vocabulary.uid(type_name, "args")?;
            attributes.push(reference(name)(uid.clone()));
            let entity =
                Entity::new_with_tags(uid, [], [], tags).map_err(|_| RequestError::Build("arguments"))?;
            entities.push(entity);
        }
        let uid = self.vocabulary.uid("Palisade::Arguments", "args")?;
        let entity = Entity::new_with_tags(uid.clone(), attributes, [], [])
            .map_err(|_| RequestError::Build("arguments"))?;
        entities.push(entity);
        Ok(uid)
    }
}

/// Whether a target of a protocol's namespace is one of the resource: its id is the resource's name, or begins with it
/// and a slash. Targets of a deployment's own namespaces have ids of their own.
fn belongs(target: &Target, resource: &ResourceName) -> bool {
    let of_protocol =
        ["Mcp::", "Http::", "Graphql::"].iter().any(|namespace| target.type_name.starts_with(namespace));
    let rest = target.id.strip_prefix(resource.as_str());
    !of_protocol || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn tenant_of(entity: &Entity) -> Option<EntityUid> {
    match entity.attr("tenant")?.ok()? {
        EvalResult::EntityUid(uid) => Some(uid),
        EvalResult::Bool(_)
        | EvalResult::Long(_)
        | EvalResult::String(_)
        | EvalResult::Set(_)
        | EvalResult::Record(_)
        | EvalResult::ExtensionValue(_) => None,
    }
}

/// An attribute that names an entity.
fn reference(name: &'static str) -> impl Fn(EntityUid) -> (String, RestrictedExpression) {
    move |uid| (name.to_owned(), RestrictedExpression::new_entity_uid(uid))
}

fn set(values: Vec<RestrictedExpression>) -> RestrictedExpression {
    RestrictedExpression::new_set(values)
}

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> RestrictedExpression {
    set(values.into_iter().map(|value| RestrictedExpression::new_string(value.as_ref().to_owned())).collect())
}

fn bag<'a, V>(
    values: &'a BTreeMap<String, V>,
    expression: impl Fn(&'a V) -> RestrictedExpression,
) -> Vec<(String, RestrictedExpression)> {
    values.iter().map(|(pointer, value)| (pointer.clone(), expression(value))).collect()
}
