//! The resources of the configuration, as far as policies see them: servers with the tools of their catalogue, services
//! with their routes, and graphs with the types and fields of their schema.
//!
//! Whoever reads the configuration fills a [`World`]; loading turns it into entities and, for typed tools, into a part
//! of the schema. Nothing here looks at a policy.

mod graph;

use std::collections::{BTreeMap, BTreeSet};

use palisade_model::{ExchangeName, ResourceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Diagnostic, InputType, SourceFile, Sources};

pub use graph::WorldGraph;

/// The resources of the configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct World {
    /// Every resource.
    pub resources: Vec<WorldResource>,
    /// Every token exchange.
    pub exchanges: Vec<WorldExchange>,
}

/// One token exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorldExchange {
    /// The name in the configuration.
    pub name: ExchangeName,
    /// What its tokens are for.
    pub audience: String,
    /// The resources whose calls leave with such a token.
    pub resources: BTreeSet<ResourceName>,
}

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An MCP server.
    Mcp,
    /// An HTTP service.
    Http,
    /// A GraphQL API.
    Graphql,
}

/// One protected resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorldResource {
    /// The name in the configuration.
    pub name: ResourceName,
    /// What it is.
    pub kind: Kind,
    /// The RFC 8707 identifier.
    pub identifier: String,
    /// The tools of its catalogue; empty for anything but an MCP server.
    pub tools: Vec<Tool>,
    /// The templates of its routes, each with a leading slash; empty for anything but an HTTP service.
    pub routes: Vec<String>,
    /// What its schema has, of a GraphQL API whose schema is known.
    pub graph: Option<WorldGraph>,
}

/// One tool of a catalogue.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Tool {
    /// The name.
    pub name: String,
    /// The groups it is in; ours.
    pub groups: Vec<String>,
    /// The hint `readOnlyHint`.
    pub read_only: Option<bool>,
    /// The hint `destructiveHint`.
    pub destructive: Option<bool>,
    /// The hint `idempotentHint`.
    pub idempotent: Option<bool>,
    /// The hint `openWorldHint`.
    pub open_world: Option<bool>,
    /// Labels; ours.
    pub tags: BTreeMap<String, BTreeSet<String>>,
    /// The JSON Schema of its arguments.
    pub input_schema: Option<Value>,
    /// The exact type of its arguments, for a tool that the configuration lists as typed: see
    /// [`with_types`](crate::with_types).
    pub input: Option<InputType>,
}

impl Tool {
    /// The tool as an attribute record of the vocabulary. Absent hints have MCP's own defaults.
    fn attributes(&self, server: &str) -> Value {
        json!({
            "name": self.name,
            "server": { "type": "Mcp::Server", "id": server },
            "listed": true,
            "read_only": self.read_only.unwrap_or(false),
            "destructive": self.destructive.unwrap_or(true),
            "idempotent": self.idempotent.unwrap_or(false),
            "open_world": self.open_world.unwrap_or(true),
        })
    }
}

impl World {
    /// The servers, tools, services, routes and graphs that entity files add to: what a check assumes that is given no
    /// configuration. Files that cannot be read add nothing; loading them says why.
    #[must_use]
    pub fn assumed_by(sources: &Sources) -> Self {
        let mut resources: BTreeMap<ResourceName, WorldResource> = BTreeMap::new();
        let files = sources.entities.iter().filter_map(|file| read_json(file).ok());
        for uid in files
            .flat_map(|file| file.as_array().cloned().unwrap_or_default())
            .filter_map(|entry| entry.get("uid").and_then(uid_of))
        {
            let (type_name, id) = uid;
            let (name, rest) = id.split_at(id.find('/').unwrap_or(id.len()));
            let kind = match type_name.as_str() {
                "Mcp::Server" | "Mcp::Tool" => Kind::Mcp,
                "Http::Service" | "Http::Route" => Kind::Http,
                "Graphql::Graph" | "Graphql::Label" | "Graphql::Type" | "Graphql::Field"
                | "Graphql::Policy" => Kind::Graphql,
                _ => continue,
            };
            let Ok(name) = name.parse::<ResourceName>() else { continue };
            let resource = resources.entry(name.clone()).or_insert_with(|| WorldResource {
                name,
                kind,
                identifier: String::new(),
                tools: Vec::new(),
                routes: Vec::new(),
                graph: None,
            });
            match (kind, rest.strip_prefix('/')) {
                (Kind::Mcp, Some(tool)) => {
                    resource.tools.push(Tool { name: tool.to_owned(), ..Tool::default() });
                }
                (Kind::Http, Some(_)) => resource.routes.push(rest.to_owned()),
                (Kind::Graphql, Some(name)) => {
                    let graph = resource.graph.get_or_insert_default();
                    match type_name.as_str() {
                        "Graphql::Policy" => drop(graph.policies.insert(name.to_owned())),
                        "Graphql::Label" => {}
                        _ => drop(graph.elements.entry(name.to_owned()).or_default()),
                    }
                }
                (Kind::Mcp | Kind::Http | Kind::Graphql, None) => {}
            }
        }
        Self { resources: resources.into_values().collect(), exchanges: Vec::new() }
    }

    /// The resources, tools, groups, routes and exchanges as entities in Cedar's JSON form.
    pub(crate) fn entities(&self) -> Vec<Value> {
        let exchanges = self.exchanges.iter().map(WorldExchange::entity);
        self.resources.iter().flat_map(WorldResource::entities).chain(exchanges).collect()
    }
}

impl WorldExchange {
    fn entity(&self) -> Value {
        json!({
            "uid": { "type": "OAuth::Audience", "id": self.name },
            "attrs": { "audience": self.audience },
            "parents": [],
        })
    }
}

impl WorldResource {
    fn entities(&self) -> Vec<Value> {
        let name = self.name.as_str();
        match self.kind {
            Kind::Mcp => {
                let server = json!({ "type": "Mcp::Server", "id": name });
                let groups: BTreeSet<&String> = self.tools.iter().flat_map(|tool| &tool.groups).collect();
                let group_uid =
                    |group: &str| json!({ "type": "Mcp::ToolGroup", "id": format!("{name}/{group}") });
                let mut entities =
                    vec![json!({ "uid": server, "attrs": { "identifier": self.identifier }, "parents": [] })];
                entities.extend(
                    groups
                        .iter()
                        .map(|group| json!({ "uid": group_uid(group), "attrs": {}, "parents": [server] })),
                );
                entities.extend(self.tools.iter().map(|tool| {
                    let mut parents = vec![server.clone()];
                    parents.extend(tool.groups.iter().map(|group| group_uid(group)));
                    json!({
                        "uid": { "type": "Mcp::Tool", "id": format!("{name}/{}", tool.name) },
                        "attrs": tool.attributes(name),
                        "parents": parents,
                        "tags": tool.tags,
                    })
                }));
                entities
            }
            Kind::Http => {
                let service = json!({ "type": "Http::Service", "id": name });
                let mut entities = vec![json!({ "uid": service, "attrs": {}, "parents": [] })];
                entities.extend(self.routes.iter().map(|template| {
                    json!({
                        "uid": { "type": "Http::Route", "id": format!("{name}{template}") },
                        "attrs": { "template": template, "service": service },
                        "parents": [service],
                    })
                }));
                entities
            }
            Kind::Graphql => {
                let uid = json!({ "type": "Graphql::Graph", "id": name });
                let itself = json!({ "uid": uid, "attrs": { "identifier": self.identifier }, "parents": [] });
                let parts = self.graph.iter().flat_map(|graph| graph.entities(name));
                std::iter::once(itself).chain(parts).collect()
            }
        }
    }
}

/// Reads strict JSON, deep enough for input schemas.
pub(crate) fn read_json(file: &SourceFile) -> Result<Value, Diagnostic> {
    palisade_json::read(file.text.as_bytes(), 64).map_err(|error| {
        let place = match error {
            palisade_json::JsonError::Syntax { line, column } => (line, column),
            palisade_json::JsonError::Encoding
            | palisade_json::JsonError::DuplicateMember
            | palisade_json::JsonError::PrivateMember
            | palisade_json::JsonError::TooDeep(_) => (0, 0),
        };
        Diagnostic::error(&file.path, error.to_string()).at(place)
    })
}

/// Where a JSON text last holds a string; the file as a whole if it is not found.
pub(crate) fn place_of(text: &str, string: &str) -> (usize, usize) {
    let quoted = Value::String(string.to_owned()).to_string();
    text.rfind(&quoted).map_or((0, 0), |offset| crate::diagnostic::position(text, offset))
}

/// Type and id of an entity in Cedar's JSON form: `{"type": .., "id": ..}`, also inside `{"__entity": ..}`.
pub(crate) fn uid_of(value: &Value) -> Option<(String, String)> {
    let uid = value.get("__entity").unwrap_or(value);
    Some((uid.get("type")?.as_str()?.to_owned(), uid.get("id")?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_without_configuration_assumes_what_entity_files_add_to() {
        let entities = r#"[
            {"uid": {"type": "Mcp::Tool", "id": "demo/a/b"}}, {"uid": {"type": "Mcp::Server", "id": "demo"}},
            {"uid": {"__entity": {"type": "Http::Route", "id": "orders/v1"}}}, {"uid": {"type": "Role", "id": "r"}},
            {"uid": {"type": "Mcp::Server", "id": "Not A Name"}}, {}
        ]"#;
        let sources =
            Sources { entities: vec![SourceFile::new("entities.json", entities)], ..Sources::default() };
        let world = World::assumed_by(&sources);
        let [demo, orders] = &world.resources[..] else { panic!("{world:?}") };
        assert_eq!((demo.name.as_str(), demo.kind, demo.tools[0].name.as_str()), ("demo", Kind::Mcp, "a/b"));
        assert_eq!(
            (orders.name.as_str(), orders.kind, &orders.routes[..]),
            ("orders", Kind::Http, &["/v1".to_owned()][..])
        );
    }

    #[test]
    fn absent_hints_have_the_defaults_of_the_protocol() {
        let attributes = Tool { name: "t".to_owned(), ..Tool::default() }.attributes("demo");
        assert_eq!(attributes["read_only"], false);
        assert_eq!(attributes["destructive"], true);
        assert_eq!(attributes["idempotent"], false);
        assert_eq!(attributes["open_world"], true);
        assert_eq!(attributes["listed"], true);
    }
}
