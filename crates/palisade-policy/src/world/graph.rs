//! A GraphQL schema as policies see it: a graph with its types, fields and labels, and the names of `@policy`.
//!
//! Whoever reads the schema fills it; nothing here knows the language of schemas.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The types and fields of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorldGraph {
    /// Types and fields by their coordinates, `Type` and `Type.field`, with their labels. The type of a field that is listed need not
    /// be.
    #[serde(default)]
    pub elements: BTreeMap<String, BTreeSet<String>>,
    /// The names of `@policy`.
    #[serde(default)]
    pub policies: BTreeSet<String>,
    /// By label and by the place that it stands on: what is this, or returns it, and does not have the label. No policy sees it.
    #[serde(skip)]
    pub unlabelled: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// Type and id of an entity.
pub(crate) type Id = (&'static str, String);

impl WorldGraph {
    /// Every entity of the graph but itself, with what it is in.
    pub(crate) fn ids(&self, graph: &str) -> Vec<(Id, Vec<Id>)> {
        let of = |type_name, name: &str| (type_name, format!("{graph}/{name}"));
        let itself = || ("Graphql::Graph", graph.to_owned());
        let labels: BTreeSet<&String> = self.elements.values().flatten().collect();
        let mut ids: Vec<(Id, Vec<Id>)> =
            labels.into_iter().map(|label| (of("Graphql::Label", label), vec![itself()])).collect();
        let labelled = |coordinate: &str| {
            let labels = self.elements.get(coordinate).into_iter().flatten();
            labels.map(|label| of("Graphql::Label", label)).collect::<Vec<_>>()
        };
        let types: BTreeSet<&str> = self.elements.keys().map(|coordinate| split(coordinate).0).collect();
        for name in types {
            let above = labelled(name).into_iter().chain([itself()]).collect();
            ids.push((of("Graphql::Type", name), above));
        }
        for coordinate in self.fields() {
            let owner = of("Graphql::Type", split(coordinate).0);
            let above = labelled(coordinate).into_iter().chain([owner]).collect();
            ids.push((of("Graphql::Field", coordinate), above));
        }
        ids.extend(self.policies.iter().map(|name| (of("Graphql::Policy", name), vec![itself()])));
        ids
    }

    /// The coordinates of the fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &String> {
        self.elements.keys().filter(|coordinate| split(coordinate).1.is_some())
    }

    /// The same as entities in Cedar's JSON form.
    pub(super) fn entities(&self, graph: &str) -> impl Iterator<Item = Value> {
        let graph = graph.to_owned();
        let entity = |(type_name, id): &Id| json!({ "type": type_name, "id": id });
        self.ids(&graph).into_iter().map(move |(id, above)| {
            let name = id.1.get(graph.len() + 1..).unwrap_or_default();
            let attributes = match id.0 {
                "Graphql::Label" => json!({}),
                "Graphql::Field" => {
                    let name = split(name).1.unwrap_or(name);
                    json!({ "name": name, "graph": entity(&("Graphql::Graph", graph.clone())) })
                }
                _ => json!({ "name": name, "graph": entity(&("Graphql::Graph", graph.clone())) }),
            };
            let parents: Vec<Value> = above.iter().map(entity).collect();
            json!({ "uid": entity(&id), "attrs": attributes, "parents": parents })
        })
    }
}

/// The type of a coordinate, and its field.
fn split(coordinate: &str) -> (&str, Option<&str>) {
    coordinate.split_once('.').map_or((coordinate, None), |(name, field)| (name, Some(field)))
}
