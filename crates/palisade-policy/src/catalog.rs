//! Tool catalogues: what an MCP server says of its tools, as a file.
//!
//! [`read_catalog`] reads one for the service: leniently where the protocol leaves room (unknown members belong to the
//! protocol) and strictly where a decision hangs on it: names, hints, and that a schema is still the one its digest was
//! made of. [`Catalog`] is the file itself, for whoever writes it anew from a server's list and wants to know what
//! changed. What a server says never becomes a group or a tag: those are ours, and policies trust them.

pub(crate) mod schema;

use std::collections::{BTreeMap, BTreeSet};

use palisade_model::canonical_json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{Diagnostic, SourceFile, Tool, diagnostic::position, world::place_of, world::read_json};

/// A catalogue: tools by name, each once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    tools: BTreeMap<String, Entry>,
}

/// What became of the tools from one catalogue to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CatalogChanges {
    /// The names of tools that are new.
    pub added: Vec<String>,
    /// The names of tools that are gone.
    pub removed: Vec<String>,
    /// Tools that are another than before.
    pub changed: Vec<ToolChange>,
    /// How many tools are the same as before.
    pub unchanged: usize,
}

/// What is another at a tool than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolChange {
    /// The name of the tool.
    pub tool: String,
    /// The members that differ, by their names in MCP: `title`, `description`, `annotations`, `inputSchema`.
    pub members: Vec<&'static str>,
    /// The digest of the input schema before, where the schema differs and there was one.
    pub digest_before: Option<String>,
    /// The digest of the input schema now, where the schema differs and there is one.
    pub digest_after: Option<String>,
}

/// One tool of a file. MCP defines more members, and unknown ones are left alone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    annotations: Map<String, Value>,
    #[serde(default)]
    input_schema: Option<Value>,
    #[serde(default)]
    input_schema_digest: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    tags: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Hints {
    read_only_hint: Option<bool>,
    destructive_hint: Option<bool>,
    idempotent_hint: Option<bool>,
    open_world_hint: Option<bool>,
}

/// Reads a catalogue: an MCP `tools/list` result (`{"tools": [..]}`) or its bare array. A tool may carry three members
/// of ours: `groups`, names of tool groups, `tags`, sets of strings, and `inputSchemaDigest`, which must be that of the
/// input schema: `sha256:` and the hex digits of the SHA-256 of its canonical form.
///
/// # Errors
/// When the file is not strict JSON, is no such list, names a tool twice, or holds a schema that is not the one its
/// digest was made of.
pub fn read_catalog(file: &SourceFile) -> Result<Vec<Tool>, Diagnostic> {
    let entries = entries(listed(file)?).map_err(|(message, name)| {
        let place = name.map_or((0, 0), |name| place_of_tool(&file.text, &name));
        Diagnostic::error(&file.path, message).at(place)
    })?;
    entries.iter().try_for_each(|entry| entry.verify(file))?;
    Ok(entries.into_iter().map(Entry::into_tool).collect())
}

impl Catalog {
    /// Reads a catalogue file to compare with. Its digests are not verified, so that a file whose schemas were edited
    /// can be written anew.
    ///
    /// # Errors
    /// When the file is not strict JSON, is no list of tools, or names a tool twice.
    pub fn read(file: &SourceFile) -> Result<Self, Diagnostic> {
        let entries =
            entries(listed(file)?).map_err(|(message, _)| Diagnostic::error(&file.path, message))?;
        Ok(Self::of(entries))
    }

    /// Takes the tools that a server lists. Members that only we give (`groups`, `tags`, digests) are left out,
    /// whatever the server says.
    ///
    /// # Errors
    /// Says which tool of the list is none, has a name that is empty or taken, or an input schema that the service would
    /// refuse to load.
    pub fn listed(tools: Vec<Value>) -> Result<Self, String> {
        let mut entries = entries(tools).map_err(|(message, _)| message)?;
        for entry in &mut entries {
            if let Some(Err(error)) = entry.input_schema.as_ref().map(schema::compile) {
                return Err(format!("the input schema of tool `{}` {error}; {}", entry.name, schema::FIX));
            }
            entry.groups.clear();
            entry.tags.clear();
        }
        Ok(Self::of(entries))
    }

    fn of(entries: Vec<Entry>) -> Self {
        Self { tools: entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect() }
    }

    /// Gives the tools the `groups` and `tags` that `known` has for them.
    #[must_use]
    pub fn with_labels_of(mut self, known: &Self) -> Self {
        for (name, entry) in &mut self.tools {
            if let Some(known) = known.tools.get(name) {
                entry.groups.clone_from(&known.groups);
                entry.tags.clone_from(&known.tags);
            }
        }
        self
    }

    /// What became of the tools since `before`.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> CatalogChanges {
        let mut changes = CatalogChanges::default();
        for (name, entry) in &self.tools {
            match before.tools.get(name).map(|known| entry.change_since(known)) {
                None => changes.added.push(name.clone()),
                Some(None) => changes.unchanged += 1,
                Some(Some(change)) => changes.changed.push(change),
            }
        }
        changes.removed =
            before.tools.keys().filter(|name| !self.tools.contains_key(*name)).cloned().collect();
        changes
    }

    /// How many tools there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether there is no tool.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// The text of the file: tools by name, members in one order, and the digest of every input schema. The same tools
    /// always give the same text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let tools: Vec<Value> = self.tools.values().map(Entry::to_json).collect();
        format!("{:#}\n", json!({ "tools": tools }))
    }
}

impl CatalogChanges {
    /// Whether no tool was added, removed or changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Entry {
    fn digest(&self) -> Option<String> {
        let schema = self.input_schema.as_ref()?;
        Some(format!("sha256:{}", hex::encode(Sha256::digest(canonical_json(schema).as_bytes()))))
    }

    /// A schema that is not the one its digest was made of was changed by hand, or by somebody.
    fn verify(&self, file: &SourceFile) -> Result<(), Diagnostic> {
        let Some(recorded) = &self.input_schema_digest else { return Ok(()) };
        if self.digest().as_ref() == Some(recorded) {
            return Ok(());
        }
        let message =
            format!("the input schema of tool `{}` is not the one its digest was made of", self.name);
        let place = match place_of(&file.text, recorded) {
            (0, 0) => place_of_tool(&file.text, &self.name),
            place => place,
        };
        Err(Diagnostic::error(&file.path, message).at(place).help(
            "run `palisade tools fetch` and read what changed; for a schema of your own delete `inputSchemaDigest`",
        ))
    }

    fn change_since(&self, before: &Self) -> Option<ToolChange> {
        let schema_differs = self.digest() != before.digest();
        let members: Vec<&'static str> = [
            ("title", self.title != before.title),
            ("description", self.description != before.description),
            ("annotations", sorted_map(&self.annotations) != sorted_map(&before.annotations)),
            ("inputSchema", schema_differs),
        ]
        .into_iter()
        .filter_map(|(member, differs)| differs.then_some(member))
        .collect();
        let digest = |entry: &Self| entry.digest().filter(|_| schema_differs);
        (!members.is_empty()).then(|| ToolChange {
            tool: self.name.clone(),
            members,
            digest_before: digest(before),
            digest_after: digest(self),
        })
    }

    /// The tool as the file has it, without what it has nothing of.
    fn to_json(&self) -> Value {
        let filled =
            |value: Value| Some(value).filter(|value| value.as_object().is_none_or(|map| !map.is_empty()));
        let groups = (!self.groups.is_empty()).then(|| json!(self.groups));
        let members = [
            ("name", Some(json!(self.name))),
            ("title", self.title.as_ref().map(|title| json!(title))),
            ("description", self.description.as_ref().map(|description| json!(description))),
            ("annotations", filled(Value::Object(sorted_map(&self.annotations)))),
            ("inputSchema", self.input_schema.as_ref().map(sorted)),
            ("inputSchemaDigest", self.digest().map(Value::String)),
            ("groups", groups),
            ("tags", filled(json!(self.tags))),
        ];
        Value::Object(
            members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        )
    }

    fn into_tool(self) -> Tool {
        // `entries` has read the hints once.
        let hints = hints(&self.annotations).unwrap_or_default();
        Tool {
            name: self.name,
            groups: self.groups,
            read_only: hints.read_only_hint,
            destructive: hints.destructive_hint,
            idempotent: hints.idempotent_hint,
            open_world: hints.open_world_hint,
            tags: self.tags,
            input_schema: self.input_schema,
            input: None,
        }
    }
}

/// The array of a file.
fn listed(file: &SourceFile) -> Result<Vec<Value>, Diagnostic> {
    match read_json(file)? {
        Value::Array(tools) => Ok(tools),
        Value::Object(mut result) => match result.remove("tools") {
            Some(Value::Array(tools)) => Ok(tools),
            Some(_) | None => Err(not_a_catalog(file)),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(not_a_catalog(file)),
    }
}

/// Every tool of a list; or what is wrong with one, and its name where that is the matter.
fn entries(listed: Vec<Value>) -> Result<Vec<Entry>, (String, Option<String>)> {
    let mut entries: Vec<Entry> = Vec::with_capacity(listed.len());
    let mut names = BTreeSet::new();
    for (at, value) in listed.into_iter().enumerate() {
        let wrong = |why: &dyn std::fmt::Display| format!("tool {} of the list: {why}", at + 1);
        let entry: Entry = serde_json::from_value(value).map_err(|error| (wrong(&error), None))?;
        let name = || Some(entry.name.clone());
        hints(&entry.annotations).map_err(|error| (wrong(&error), name()))?;
        if entry.name.is_empty() || !names.insert(entry.name.clone()) {
            return Err((wrong(&format!("the name `{}` is empty or taken", entry.name)), name()));
        }
        if entry.input_schema.as_ref().is_some_and(|schema| !schema.is_object()) {
            return Err((wrong(&format!("the input schema of `{}` is no object", entry.name)), name()));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn hints(annotations: &Map<String, Value>) -> Result<Hints, serde_json::Error> {
    Hints::deserialize(annotations)
}

/// The value with the members of every object in order of their names.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(sorted_map(members)),
        Value::Array(elements) => Value::Array(elements.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn sorted_map(members: &Map<String, Value>) -> Map<String, Value> {
    let sorted: BTreeMap<String, Value> =
        members.iter().map(|(name, value)| (name.clone(), self::sorted(value))).collect();
    sorted.into_iter().collect()
}

/// Where the member `name` of a tool is written; the file as a whole if it is not found.
pub(crate) fn place_of_tool(text: &str, name: &str) -> (usize, usize) {
    let quoted = Value::String(name.to_owned()).to_string();
    let is_name = |offset: &usize| {
        let before = text.get(..*offset).unwrap_or_default().trim_end();
        before.strip_suffix(':').is_some_and(|before| before.trim_end().ends_with("\"name\""))
    };
    let mut places = text.match_indices(&quoted).map(|(offset, _)| offset);
    places.find(is_name).map_or((0, 0), |offset| position(text, offset))
}

fn not_a_catalog(file: &SourceFile) -> Diagnostic {
    Diagnostic::error(&file.path, "is no tool catalogue").help(
        "write one with `palisade tools fetch`, or save the result of the server's `tools/list`: an object with the \
         member `tools`, or the array itself",
    )
}

#[cfg(test)]
mod tests;
