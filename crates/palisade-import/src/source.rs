//! A YAML source with the line of every key and value.
//!
//! The flow: [`read`] gives a tree of [`Node`]s; an importer goes through it by [`Section`]s and takes the keys it knows;
//! [`Section::rest`] reports the others. Nothing is dropped in silence because nothing else leaves a section.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use crate::{ImportError, report::Report};

/// A value and the line it is on, from 1.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: u64,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) line: u64,
    pub(crate) name: String,
}

/// A value of the source and its path.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) path: String,
    /// The line of its key; for an element of a list, its own.
    pub(crate) line: u64,
    pub(crate) node: &'a Node,
}

/// A mapping whose keys are taken one by one.
#[derive(Debug, Default)]
pub(crate) struct Section<'a> {
    path: String,
    entries: Vec<(&'a Key, &'a Node)>,
}

/// Reads a YAML document whose root is a mapping.
pub(crate) fn read(text: &str) -> Result<Node, ImportError> {
    // The programs that these files are for read `y` and `off` as texts (YAML 1.2).
    let options = serde_saphyr::options! { strict_booleans: true };
    let node: Node = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ImportError::Yaml(error.to_string()))?;
    match node.value {
        Value::Map(_) => Ok(node),
        Value::Null | Value::Bool(_) | Value::Number | Value::Text(_) | Value::List(_) => {
            Err(ImportError::NotAMapping)
        }
    }
}

impl<'a> Entry<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self { path: String::new(), line: 1, node }
    }

    pub(crate) fn place(&self) -> (u64, &str) {
        (self.line, &self.path)
    }

    /// The mapping, or `None` and a finding. An empty one is a finding, too: nothing else will speak of its key.
    pub(crate) fn section(&self, report: &mut Report) -> Option<Section<'a>> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.iter().map(|(key, node)| (key, node)).collect(),
            Value::Null => Vec::new(),
            Value::Bool(_) | Value::Number | Value::Text(_) | Value::List(_) => {
                report.left(self.line, &self.path, "not a mapping");
                return None;
            }
        };
        self.say_if_empty(entries.is_empty(), report);
        Some(Section { path: self.path.clone(), entries })
    }

    /// The elements of a list; `None` and a finding for anything else.
    pub(crate) fn elements(&self, report: &mut Report) -> Option<Vec<Entry<'a>>> {
        let nodes: &'a [Node] = match &self.node.value {
            Value::List(nodes) => nodes,
            Value::Null => &[],
            Value::Bool(_) | Value::Number | Value::Text(_) | Value::Map(_) => {
                report.left(self.line, &self.path, "not a list");
                return None;
            }
        };
        self.say_if_empty(nodes.is_empty(), report);
        let element = |(index, node): (usize, &'a Node)| Entry {
            path: format!("{}[{index}]", self.path),
            line: node.line,
            node,
        };
        Some(nodes.iter().enumerate().map(element).collect())
    }

    fn say_if_empty(&self, empty: bool, report: &mut Report) {
        if empty && !self.path.is_empty() {
            report.not_needed(self.line, &self.path, "empty");
        }
    }

    /// The text, where it is one that stands for itself: a value that comes from the environment does not.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) if !text.contains('$') => Some(text),
            Value::Text(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number
            | Value::List(_)
            | Value::Map(_) => None,
        }
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            Value::Null | Value::Text(_) | Value::Number | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The text, or `None` and a finding.
    pub(crate) fn plain_text(&self, report: &mut Report) -> Option<&'a str> {
        let text = self.text();
        if text.is_none() {
            report.left(self.line, &self.path, UNREADABLE);
        }
        text
    }

    /// The texts of a list: those that are readable, and whether all are. What is not is a finding.
    pub(crate) fn texts(&self, report: &mut Report) -> (Vec<Entry<'a>>, bool) {
        let Some(elements) = self.elements(report) else { return (Vec::new(), false) };
        let count = elements.len();
        let readable: Vec<Entry<'a>> =
            elements.into_iter().filter(|entry| entry.plain_text(report).is_some()).collect();
        let complete = readable.len() == count;
        (readable, complete)
    }
}

/// Why a value cannot be used.
pub(crate) const UNREADABLE: &str = "no plain text: a value from the environment or of another type is not guessed; write it out and import again";

impl<'a> Section<'a> {
    pub(crate) fn take(&mut self, name: &str) -> Option<Entry<'a>> {
        let at = self.entries.iter().position(|(key, _)| key.name == name)?;
        let (key, node) = self.entries.remove(at);
        Some(Entry { path: self.path_of(name), line: key.line, node })
    }

    /// Whether one of these keys is there.
    pub(crate) fn has(&self, names: &[&str]) -> bool {
        self.entries.iter().any(|(key, _)| names.contains(&key.name.as_str()))
    }

    /// Takes a key's mapping. A key that is not there is an empty mapping; one that is no mapping is a finding.
    pub(crate) fn take_section(&mut self, name: &str, report: &mut Report) -> Option<Section<'a>> {
        self.take(name)?.section(report)
    }

    /// Takes every key that is left.
    pub(crate) fn take_all(&mut self) -> Vec<(String, Entry<'a>)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .map(|(key, node)| {
                (key.name.clone(), Entry { path: self.path_of(&key.name), line: key.line, node })
            })
            .collect()
    }

    /// Reports keys that need nothing.
    pub(crate) fn not_needed(&mut self, names: &[&str], why: &str, report: &mut Report) {
        for name in names {
            if let Some(entry) = self.take(name) {
                report.not_needed(entry.line, &entry.path, why);
            }
        }
    }

    /// Reports keys that have no counterpart.
    pub(crate) fn left(&mut self, names: &[&str], why: &str, report: &mut Report) {
        for name in names {
            if let Some(entry) = self.take(name) {
                report.left(entry.line, &entry.path, why);
            }
        }
    }

    /// Reports what nobody took.
    pub(crate) fn rest(mut self, report: &mut Report) {
        for (_, entry) in self.take_all() {
            report.left(entry.line, &entry.path, "not a key that the import knows: look at it by hand");
        }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), name: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = elements.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        while let Some((key, node)) = members.next_entry::<Key, Node>()? {
            if entries.iter().any(|(known, _)| known.name == key.name) {
                return Err(de::Error::custom(format!("line {}: `{}` is there twice", key.line, key.name)));
            }
            entries.push((key, node));
        }
        Ok(Value::Map(entries))
    }
}
