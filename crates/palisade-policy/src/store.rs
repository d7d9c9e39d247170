//! The entities that stand still between reloads: the configuration's resources and the entity files, merged.
//!
//! A request never changes the store and never copies it: what one evaluation can look at is put together from shared
//! entities, by [`Store::around`].

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use cedar_policy_core::{
    ast::{Eid, Entity, EntityType, EntityUID, PartialValue},
    entities::{Dereference, Entities, NoEntitiesSchema, TCComputation},
    extensions::Extensions,
};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Map, Value, json};

use crate::{
    Diagnostic, SourceFile, World,
    diagnostic::nearest,
    query::RequestError,
    vocabulary::Vocabulary,
    world::{place_of, read_json},
};

#[derive(Debug)]
pub(crate) struct Store {
    types: FxHashMap<EntityType, OfType>,
}

/// The entities of a type. To compare whole names of entities means to look for the name of the type in memory for each of
/// them.
#[derive(Debug, Default)]
struct OfType {
    entities: FxHashMap<Eid, Stored>,
    /// In order.
    ids: Vec<Eid>,
}

#[derive(Debug)]
struct Stored {
    entity: Arc<Entity>,
    /// The entities that the attributes and tags name.
    references: Box<[EntityUID]>,
}

impl Store {
    pub(crate) fn load(
        world: &World,
        files: &[SourceFile],
        vocabulary: &Vocabulary,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut drafts = Drafts::default();
        for value in world.entities() {
            drafts.add(&value, None);
        }
        for file in files {
            drafts.add_file(file);
        }
        drafts.inherit_tenants();
        let mut entities = Vec::new();
        for (uid, draft) in &drafts.entities {
            match cedar_policy::Entity::from_json_value(draft.to_json(uid), Some(&vocabulary.schema)) {
                Ok(entity) => {
                    let other = references(entity.as_ref()).find(is_of_a_call);
                    drafts.errors.extend(other.map(|other| draft.refers_to_a_call(uid, &other)));
                    entities.push(entity);
                }
                Err(error) => drafts.errors.push(draft.complain(uid, with_causes(&error))),
            }
        }
        if !drafts.errors.is_empty() {
            return Err(drafts.errors);
        }
        let entities = cedar_policy::Entities::from_entities(entities, Some(&vocabulary.schema));
        let entities = entities.map_err(|error| {
            let path = files.first().map_or("the configuration", |file| file.path.as_str());
            vec![Diagnostic::error(path, with_causes(&error))]
        })?;
        Ok((Self::new(entities.iter().map(|entity| entity.as_ref().clone())), drafts.warnings))
    }

    fn new(entities: impl Iterator<Item = Entity>) -> Self {
        let mut types: FxHashMap<EntityType, OfType> = FxHashMap::default();
        for entity in entities {
            let (of_type, id) = (entity.uid().entity_type().clone(), entity.uid().eid().clone());
            let references = references(&entity).collect();
            let of_type = types.entry(of_type).or_default();
            of_type.ids.push(id.clone());
            of_type.entities.insert(id, Stored { entity: Arc::new(entity), references });
        }
        for of_type in types.values_mut() {
            of_type.ids.sort_unstable();
        }
        Self { types }
    }

    pub(crate) fn get(&self, uid: &EntityUID) -> Option<&Arc<Entity>> {
        self.stored(uid).map(|stored| &stored.entity)
    }

    fn stored(&self, uid: &EntityUID) -> Option<&Stored> {
        self.types.get(uid.entity_type())?.entities.get(uid.eid())
    }

    /// The ids of all entities of a type, in order.
    pub(crate) fn ids(&self, type_name: &str) -> impl Iterator<Item = &str> {
        let wanted: Option<EntityType> = type_name.parse().ok();
        let of_type = wanted.and_then(|wanted| self.types.get(&wanted));
        of_type.into_iter().flat_map(|of_type| &of_type.ids).map(AsRef::as_ref)
    }

    /// Everything the entity is in, however far up.
    pub(crate) fn ancestors(&self, uid: &EntityUID) -> impl Iterator<Item = &EntityUID> {
        self.get(uid).into_iter().flat_map(|entity| entity.ancestors())
    }

    /// Every entity there is, to test slices against.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Entity>> {
        self.types.values().flat_map(|of_type| of_type.entities.values()).map(|stored| &stored.entity)
    }

    /// Adds to `there` the entities of a request: its `own`, and of the store those that `also` names and those that
    /// can be reached from these by attributes. What is there already stays as it is. What an entity is *in* is part of
    /// the entity itself, so its ancestors need not be there.
    ///
    /// INVARIANT: whatever the attributes of `own` name is in `own` itself, or in `also`.
    pub(crate) fn around<'t, 'a>(
        &'a self,
        there: &'t Entities,
        own: &'a [Arc<Entity>],
        also: impl IntoIterator<Item = &'a EntityUID>,
    ) -> Result<Cow<'t, Entities>, RequestError> {
        let mut added = Vec::new();
        let mut seen: FxHashSet<&EntityUID> = own.iter().map(|entity| entity.uid()).collect();
        let mut wanted: Vec<&EntityUID> = also.into_iter().collect();
        while let Some(uid) = wanted.pop() {
            let is_there = matches!(there.entity(uid), Dereference::Data(_));
            let Some(stored) = self.stored(uid).filter(|_| !is_there) else { continue };
            if seen.insert(uid) {
                added.push(Arc::clone(&stored.entity));
                wanted.extend(&stored.references);
            }
        }
        added.extend(own.iter().cloned());
        if added.is_empty() {
            return Ok(Cow::Borrowed(there));
        }
        // Whatever is in the store has its ancestors in full, and so has what requests bring.
        let closed = TCComputation::AssumeAlreadyComputed;
        let all = there.clone();
        all.add_entities(added, None::<&NoEntitiesSchema>, closed, Extensions::all_available())
            .map(Cow::Owned)
            .map_err(|_| RequestError::Build("entities"))
    }
}

/// Whether an entity is made for each call of its arguments. Lists leave these open, and see only conditions that name
/// them.
pub(crate) fn is_of_a_call(uid: &EntityUID) -> bool {
    uid.entity_type().name().as_ref().namespace() == "Palisade"
}

/// The entities that the attributes and tags of an entity name.
pub(crate) fn references(entity: &Entity) -> impl Iterator<Item = EntityUID> {
    let values = entity.attrs().chain(entity.tags()).filter_map(|(_, value)| match value {
        PartialValue::Value(value) => Some(value),
        PartialValue::Residual(_) => None,
    });
    values.flat_map(cedar_policy_core::ast::Value::all_literal_uids)
}

/// Type and id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Uid(String, String);

impl Uid {
    /// Reads `{"type": .., "id": ..}`, also inside `{"__entity": ..}`.
    fn from_json(value: &Value) -> Option<Self> {
        let value = value.get("__entity").unwrap_or(value);
        let text = |member: &str| value.get(member)?.as_str().map(str::to_owned);
        Some(Self(text("type")?, text("id")?))
    }

    fn to_json(&self) -> Value {
        json!({ "type": self.0, "id": self.1 })
    }

    fn is_principal(&self) -> bool {
        matches!(self.0.as_str(), "User" | "Client")
    }

    /// Entities that the service itself builds, or that the schema fixes.
    fn is_ours(&self) -> bool {
        self.0.starts_with("Palisade::")
            || self.0 == "Anonymous"
            || self.0 == "Action"
            || self.0.ends_with("::Action")
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}::\"{}\"", self.0, self.1.escape_debug())
    }
}

/// An entity while it is put together from the configuration and at most one entry of an entity file.
#[derive(Debug, Default)]
struct Draft<'a> {
    attributes: Map<String, Value>,
    tags: Map<String, Value>,
    parents: Vec<Value>,
    file: Option<&'a SourceFile>,
}

impl Draft<'_> {
    fn to_json(&self, uid: &Uid) -> Value {
        json!({ "uid": uid.to_json(), "attrs": self.attributes, "parents": self.parents, "tags": self.tags })
    }

    fn refers_to_a_call(&self, uid: &Uid, other: &EntityUID) -> Diagnostic {
        let help = "write conditions on `context.args`; no entity may lead there";
        self.complain(uid, format!("refers to `{other}`, which every call has for itself")).help(help)
    }

    fn complain(&self, uid: &Uid, error: impl fmt::Display) -> Diagnostic {
        let message = format!("`{uid}`: {error}");
        match self.file {
            Some(file) => Diagnostic::error(&file.path, message).at(place_of(&file.text, &uid.1)),
            None => Diagnostic::error("the configuration", message),
        }
    }
}

#[derive(Default)]
struct Drafts<'a> {
    entities: BTreeMap<Uid, Draft<'a>>,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'a> Drafts<'a> {
    fn add_file(&mut self, file: &'a SourceFile) {
        let value = match read_json(file) {
            Ok(value) => value,
            Err(error) => return self.errors.push(error),
        };
        let Some(entries) = value.as_array() else {
            let error = Diagnostic::error(&file.path, "is no list of entities");
            return self.errors.push(
                error.help("write `[{\"uid\": {\"type\": .., \"id\": ..}, \"attrs\": {}, \"parents\": []}]`"),
            );
        };
        for entry in entries {
            self.add(entry, Some(file));
        }
    }

    /// Adds an entry. An entity file wins over the configuration, attribute by attribute and tag by tag.
    fn add(&mut self, entry: &Value, file: Option<&'a SourceFile>) {
        let path = file.map_or("the configuration", |file| file.path.as_str());
        let Some(uid) = entry.get("uid").and_then(Uid::from_json) else {
            return self.errors.push(Diagnostic::error(path, "an entity has no `uid` with `type` and `id`"));
        };
        // Found where it is told only: to look through the file for every entry takes a minute for 10,000 of them.
        let place = || file.map_or((0, 0), |file| place_of(&file.text, &uid.1));
        if let Some(error) = self.refusal(entry, &uid, path) {
            return self.errors.push(error.at(place()));
        }
        let parents = entry.get("parents").and_then(Value::as_array).into_iter().flatten();
        // Written anew: what is looked at here and what Cedar reads is the same then.
        let parents: Option<Vec<Value>> =
            parents.map(|parent| Uid::from_json(parent).map(|parent| parent.to_json())).collect();
        let Some(parents) = parents else {
            let error = Diagnostic::error(path, format!("a parent of `{uid}` has no `type` and `id`"));
            return self.errors.push(error.at(place()));
        };
        if let Some(principal) = parents.iter().filter_map(Uid::from_json).find(Uid::is_principal) {
            let error = Diagnostic::error(path, format!("`{uid}` is put below `{principal}`")).at(place());
            let help = "what a principal is in comes with its token, so that nothing can be below one: name it in an attribute";
            return self.errors.push(error.help(help));
        }
        let draft = self.entities.entry(uid.clone()).or_default();
        if file.is_some() {
            draft.file = file;
        }
        let members = |name: &str| entry.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        draft.attributes.extend(members("attrs"));
        draft.parents.extend(parents);
        let tags = members("tags");
        if uid.is_principal() && !tags.is_empty() {
            let warning =
                Diagnostic::error(path, format!("the tags of `{uid}` are left out")).warning().at(place());
            self.warnings
                .push(warning.help("tags of principals come from the token alone; use a group or a role"));
        } else {
            draft.tags.extend(tags);
        }
    }

    fn refusal(&self, entry: &Value, uid: &Uid, path: &str) -> Option<Diagnostic> {
        const MEMBERS: [&str; 4] = ["uid", "attrs", "parents", "tags"];
        if let Some(twin) = self.entities.get(uid).and_then(|draft| draft.file) {
            let message = format!("`{uid}` is given twice; it is also in {}", twin.path);
            return Some(Diagnostic::error(path, message).help("merge the two entries"));
        }
        if uid.is_ours() {
            return Some(Diagnostic::error(
                path,
                format!("`{uid}` is made by the service, not by entity files"),
            ));
        }
        let members = entry.as_object()?;
        let unknown = members.keys().find(|member| !MEMBERS.contains(&member.as_str()));
        if let Some(unknown) = unknown {
            let known = nearest(unknown, MEMBERS).unwrap_or("attrs");
            return Some(
                Diagnostic::error(path, format!("`{uid}` has the unknown member `{unknown}`"))
                    .help(format!("did you mean `{known}`?")),
            );
        }
        let wrong =
            |name: &str, fits: fn(&Value) -> bool| members.get(name).is_some_and(|value| !fits(value));
        if wrong("attrs", Value::is_object)
            || wrong("tags", Value::is_object)
            || wrong("parents", Value::is_array)
        {
            let message = format!("`{uid}`: `attrs` and `tags` are objects, `parents` is a list");
            return Some(Diagnostic::error(path, message));
        }
        None
    }

    /// What belongs to a server belongs to its tenant, unless an entity file says otherwise. Without this a tenant
    /// rule would have to be repeated for every tool.
    fn inherit_tenants(&mut self) {
        let tenants: HashMap<String, Value> = self
            .entities
            .iter()
            .filter(|(uid, _)| uid.0 == "Mcp::Server")
            .filter_map(|(uid, draft)| Some((uid.1.clone(), draft.attributes.get("tenant")?.clone())))
            .collect();
        for (uid, draft) in &mut self.entities {
            if matches!(uid.0.as_str(), "Mcp::Tool" | "Mcp::Prompt" | "Mcp::Resource")
                && let Some(server) = draft.attributes.get("server").and_then(Uid::from_json)
                && let Some(tenant) = tenants.get(&server.1)
            {
                draft.attributes.entry("tenant").or_insert_with(|| tenant.clone());
            }
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let next = source.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = source.source();
    }
    text
}
