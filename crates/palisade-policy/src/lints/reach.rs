//! What lies in what: the entities that are known before anything is asked, and the actions.
//!
//! A head is wider than another if it admits all that the other admits, as far as this can tell; where it cannot, it
//! is not.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::Entity;
use serde_json::Value;

use super::statement::{Actions, Bound, Statement, Uid};
use crate::{Deployment, Kind, Policies, Sources, world::read_json};

/// The types whose entities a deployment lists in full.
const LISTED: [&str; 10] = [
    "Mcp::Server",
    "Mcp::ToolGroup",
    "Mcp::Tool",
    "Http::Service",
    "Http::Route",
    "Graphql::Graph",
    "Graphql::Label",
    "Graphql::Type",
    "Graphql::Field",
    "Graphql::Policy",
];

#[derive(Debug)]
pub(super) struct Reach {
    parents: HashMap<Uid, Vec<Uid>>,
    /// What every action is in.
    actions: HashMap<Uid, HashSet<Uid>>,
    /// The resources with a catalogue, with routes or with a schema.
    catalogued: BTreeSet<String>,
    complete: bool,
}

impl Reach {
    pub(super) fn new(policies: &Policies, sources: &Sources, deployment: &Deployment) -> Self {
        let mut reach = Self {
            parents: HashMap::new(),
            actions: actions(policies),
            catalogued: BTreeSet::new(),
            complete: deployment.complete,
        };
        for resource in &deployment.world.resources {
            let name = resource.name.as_str();
            match resource.kind {
                Kind::Mcp => {
                    let server = Uid::new("Mcp::Server", name);
                    reach.add(server.clone(), []);
                    for tool in &resource.tools {
                        let groups = tool
                            .groups
                            .iter()
                            .map(|group| Uid::new("Mcp::ToolGroup", format!("{name}/{group}")));
                        let groups: Vec<Uid> = groups.collect();
                        for group in &groups {
                            reach.add(group.clone(), [server.clone()]);
                        }
                        let tool = Uid::new("Mcp::Tool", format!("{name}/{}", tool.name));
                        reach.add(tool, groups.into_iter().chain([server.clone()]));
                        reach.catalogued.insert(name.to_owned());
                    }
                }
                Kind::Http => {
                    let service = Uid::new("Http::Service", name);
                    reach.add(service.clone(), []);
                    for template in &resource.routes {
                        reach.add(Uid::new("Http::Route", format!("{name}{template}")), [service.clone()]);
                        reach.catalogued.insert(name.to_owned());
                    }
                }
                Kind::Graphql => {
                    reach.add(Uid::new("Graphql::Graph", name), []);
                    if let Some(graph) = &resource.graph {
                        for ((type_name, id), above) in graph.ids(name) {
                            let above = above.into_iter().map(|(type_name, id)| Uid::new(type_name, id));
                            reach.add(Uid::new(type_name, id), above);
                        }
                        reach.catalogued.insert(name.to_owned());
                    }
                }
            }
        }
        for file in &sources.entities {
            for entry in read_json(file).ok().as_ref().and_then(Value::as_array).into_iter().flatten() {
                let parents = entry.get("parents").and_then(Value::as_array).into_iter().flatten();
                if let Some(uid) = entry.get("uid").and_then(uid) {
                    reach.add(uid, parents.filter_map(self::uid));
                }
            }
        }
        reach
    }

    fn add(&mut self, uid: Uid, parents: impl IntoIterator<Item = Uid>) {
        self.parents.entry(uid).or_default().extend(parents);
    }

    /// Whether the entity is of a kind that the deployment lists, and is not listed.
    pub(super) fn misses(&self, uid: &Uid) -> bool {
        let resource = uid.id.split('/').next().unwrap_or_default();
        // Without a catalogue nobody knows which tools there are.
        let listed = self.catalogued.contains(resource) || !self.knows_resource(uid) || !uid.id.contains('/');
        self.complete && LISTED.contains(&uid.type_name.as_str()) && listed && !self.parents.contains_key(uid)
    }

    /// Whether the resource that the entity belongs to is there.
    pub(super) fn knows_resource(&self, uid: &Uid) -> bool {
        let name = uid.id.split('/').next().unwrap_or_default();
        ["Mcp::Server", "Http::Service", "Graphql::Graph"]
            .into_iter()
            .any(|type_name| self.parents.contains_key(&Uid::new(type_name, name)))
    }

    /// The ids of the known entities of a type.
    pub(super) fn known<'a>(&'a self, type_name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parents.keys().filter(move |uid| uid.type_name == type_name).map(|uid| uid.id.as_str())
    }

    /// The entity and everything that it is in.
    pub(super) fn upwards(&self, uid: &Uid) -> HashSet<Uid> {
        let mut found = HashSet::new();
        let mut next = vec![uid.clone()];
        while let Some(uid) = next.pop() {
            // What nothing describes is asked about as a thing of its server. What an entity file describes is in what
            // that file says, and in nothing else.
            let owner = match uid.type_name.as_str() {
                "Mcp::Tool" | "Mcp::Prompt" | "Mcp::Resource" if !self.parents.contains_key(&uid) => {
                    Some("Mcp::Server")
                }
                _ => None,
            };
            let resource = uid.id.split('/').next().unwrap_or_default();
            next.extend(owner.map(|owner| Uid::new(owner, resource)).filter(|above| !found.contains(above)));
            next.extend(
                self.parents.get(&uid).into_iter().flatten().filter(|up| !found.contains(*up)).cloned(),
            );
            found.insert(uid);
        }
        found
    }

    /// The bounds that admit all that this one admits, itself among them.
    pub(super) fn wider(&self, bound: &Bound) -> Vec<Bound> {
        let mut wider = vec![Bound::Any];
        match bound {
            Bound::Any => {}
            Bound::Is(_) => wider.push(bound.clone()),
            Bound::In(uid) => wider.extend(self.upwards(uid).into_iter().map(Bound::In)),
            Bound::IsIn(type_name, uid) => {
                wider.push(Bound::Is(type_name.clone()));
                for above in self.upwards(uid) {
                    wider.extend([Bound::In(above.clone()), Bound::IsIn(type_name.clone(), above)]);
                }
            }
            Bound::Equals(uid) => {
                wider.extend([bound.clone(), Bound::Is(uid.type_name.clone())]);
                for above in self.upwards(uid) {
                    wider.extend([Bound::In(above.clone()), Bound::IsIn(uid.type_name.clone(), above)]);
                }
            }
        }
        wider
    }

    /// Whether every action of the one is an action of the other.
    pub(super) fn wider_actions(&self, wide: &Statement<'_>, narrow: &Statement<'_>) -> bool {
        let within = |action: &Uid, groups: &[Uid]| {
            let above = self.actions.get(action);
            groups.contains(action)
                || groups.iter().any(|group| above.is_some_and(|above| above.contains(group)))
        };
        match (&wide.actions, &narrow.actions) {
            (Actions::Any, _) => true,
            (Actions::Equals(wide), Actions::Equals(narrow)) => wide == narrow,
            (Actions::In(wide), Actions::Equals(narrow)) => within(narrow, wide),
            (Actions::In(wide), Actions::In(narrow)) => narrow.iter().all(|action| within(action, wide)),
            // Actions that are in another one may come with the next catalogue: `==` passes them by.
            (Actions::Equals(_), Actions::In(_)) | (Actions::Equals(_) | Actions::In(_), Actions::Any) => {
                false
            }
        }
    }

    /// Whether one head admits all that the other admits.
    pub(super) fn wider_head(&self, wide: &Statement<'_>, narrow: &Statement<'_>) -> bool {
        self.wider_actions(wide, narrow)
            && self.wider(&narrow.principal).contains(&wide.principal)
            && self.wider(&narrow.resource).contains(&wide.resource)
    }
}

fn actions(policies: &Policies) -> HashMap<Uid, HashSet<Uid>> {
    let Ok(entities) = policies.vocabulary().schema.action_entities() else { return HashMap::new() };
    let with_ancestors = |action: &Entity| {
        let uid = action.uid();
        let ancestors = entities.ancestors(&uid).into_iter().flatten().map(Uid::from).collect();
        (Uid::from(&uid), ancestors)
    };
    entities.iter().map(with_ancestors).collect()
}

/// `{"type": .., "id": ..}`, also inside `{"__entity": ..}`.
fn uid(value: &Value) -> Option<Uid> {
    let value = value.get("__entity").unwrap_or(value);
    Some(Uid::new(value.get("type")?.as_str()?, value.get("id")?.as_str()?))
}
