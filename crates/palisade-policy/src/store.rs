//! The entities that stand still between reloads: the configuration's resources and the entity files, merged.
//!
//! A request never changes the store and never copies it: [`Store::slice`] puts together the few entities that the
//! evaluation of one request can look at.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use cedar_policy::{Entities, Entity, EntityUid, EvalResult, entities_errors::EntitiesError};
use serde_json::{Map, Value, json};

use crate::{
    Diagnostic, SourceFile, World,
    diagnostic::nearest,
    vocabulary::Vocabulary,
    world::{place_of, read_json},
};

#[derive(Debug)]
pub(crate) struct Store {
    entities: Entities,
    /// The entities that an entity's attributes and tags name.
    references: HashMap<EntityUid, Vec<EntityUid>>,
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
            match Entity::from_json_value(draft.to_json(uid), Some(&vocabulary.schema)) {
                Ok(entity) => entities.push(entity),
                Err(error) => drafts.errors.push(draft.complain(uid, &error)),
            }
        }
        if !drafts.errors.is_empty() {
            return Err(drafts.errors);
        }
        let entities = Entities::from_entities(entities, Some(&vocabulary.schema)).map_err(|error| {
            let path = files.first().map_or("the configuration", |file| file.path.as_str());
            vec![Diagnostic::error(path, with_causes(&error))]
        })?;
        let references = entities
            .iter()
            .map(|entity| (entity.uid(), references(entity)))
            .filter(|(_, named)| !named.is_empty())
            .collect();
        Ok((Self { entities, references }, drafts.warnings))
    }

    pub(crate) fn get(&self, uid: &EntityUid) -> Option<&Entity> {
        self.entities.get(uid)
    }

    /// Everything the entity is in, however far up.
    pub(crate) fn ancestors(&self, uid: &EntityUid) -> impl Iterator<Item = &EntityUid> {
        self.entities.ancestors(uid).into_iter().flatten()
    }

    /// Every entity there is, to test slices against.
    #[cfg(test)]
    pub(crate) fn uids(&self) -> Vec<EntityUid> {
        self.entities.iter().map(Entity::uid).collect()
    }

    /// The entities of one request: its own, and of the store those that `also` names or that can be reached by
    /// attributes. What an entity is *in* is part of the entity itself, so its ancestors need not be there.
    pub(crate) fn slice(
        &self,
        own: Vec<Entity>,
        also: impl IntoIterator<Item = EntityUid>,
    ) -> Result<Entities, Box<EntitiesError>> {
        let mut seen: HashSet<EntityUid> = own.iter().map(Entity::uid).collect();
        let mut wanted: Vec<EntityUid> = own.iter().flat_map(references).chain(also).collect();
        let mut slice = own;
        while let Some(uid) = wanted.pop() {
            if let Some(entity) = self.entities.get(&uid).filter(|_| !seen.contains(&uid)) {
                slice.push(entity.clone());
                wanted.extend(self.references.get(&uid).into_iter().flatten().cloned());
                seen.insert(uid);
            }
        }
        Entities::from_entities(slice, None).map_err(Box::new)
    }
}

/// The entities that the attributes and tags of an entity name.
fn references(entity: &Entity) -> Vec<EntityUid> {
    let mut found = Vec::new();
    let attributes = entity.attrs().filter_map(|(_, value)| value.ok());
    for value in attributes.chain(entity.tags().filter_map(|(_, value)| value.ok())) {
        collect(&value, &mut found);
    }
    found
}

fn collect(value: &EvalResult, found: &mut Vec<EntityUid>) {
    match value {
        EvalResult::EntityUid(uid) => found.push(uid.clone()),
        EvalResult::Set(set) => set.iter().for_each(|element| collect(element, found)),
        EvalResult::Record(record) => record.iter().for_each(|(_, element)| collect(element, found)),
        EvalResult::Bool(_) | EvalResult::Long(_) | EvalResult::String(_) | EvalResult::ExtensionValue(_) => {
        }
    }
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

    fn complain(&self, uid: &Uid, error: &EntitiesError) -> Diagnostic {
        let message = format!("`{uid}`: {}", with_causes(error));
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
        let place = file.map_or((0, 0), |file| place_of(&file.text, &uid.1));
        if let Some(error) = self.refusal(entry, &uid, path) {
            return self.errors.push(error.at(place));
        }
        let draft = self.entities.entry(uid.clone()).or_default();
        if file.is_some() {
            draft.file = file;
        }
        let members = |name: &str| entry.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        draft.attributes.extend(members("attrs"));
        draft.parents.extend(entry.get("parents").and_then(Value::as_array).into_iter().flatten().cloned());
        let tags = members("tags");
        if uid.is_principal() && !tags.is_empty() {
            let warning =
                Diagnostic::error(path, format!("the tags of `{uid}` are left out")).warning().at(place);
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
