//! What a message names, in the policies' words.
//!
//! A type is an entity type of the schema as it is named: `user` is `user`, `Own::Person` is `Own::Person`, `Mcp::Tool` is
//! `Mcp::Tool`. An action is the action of that name which is done to the resource's type. Where the schema has no type of
//! that name, those of the MCP profile of AuthZEN mean what they mean there, at a resource of kind mcp: `tool`, `prompt`
//! and `resource` by the name or URI that they have on the server, `mcp_server` by its identifier, `task` as what the
//! server keeps, and `identity` as the user of the resource's only issuer.
//!
//! Nothing is believed here: whom the caller may assert, what it may supply and what it may ask about is for the
//! decision point to say.

use std::sync::Arc;

use palisade_model::{Action, IssuerName, Item, Properties, Subject, SubjectKind, Target};
use palisade_pdp::{Kind, Pep, Resource, Snapshot};

use crate::message;

/// The types of the MCP profile that are done something to.
const PROFILE: [&str; 5] = ["tool", "prompt", "resource", "task", "mcp_server"];

/// The words of one snapshot for one caller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) pep: Option<&'a Pep>,
}

impl<'a> Words<'a> {
    /// The protected resource that a named entity belongs to: the one whose name its id begins with, else the caller's only
    /// one.
    pub(crate) fn resource(&self, type_name: &str, id: &str) -> Option<&'a Arc<Resource>> {
        let resources = &self.snapshot.resources;
        let of_protocol = ["Mcp::", "Http::", "Graphql::"].iter().any(|space| type_name.starts_with(space));
        if of_protocol {
            return resources.by_name(id.split('/').next().unwrap_or(id));
        }
        if self.is_of_profile(type_name) && type_name == "mcp_server" {
            return resources.iter().find(|resource| resource.identifier == id);
        }
        self.only_resource()
    }

    /// The caller's only resource.
    pub(crate) fn only_resource(&self) -> Option<&'a Arc<Resource>> {
        self.pep?.only_resource(&self.snapshot.resources)
    }

    /// Whether a type is one of the MCP profile and none of the schema.
    fn is_of_profile(&self, type_name: &str) -> bool {
        PROFILE.contains(&type_name) && !self.snapshot.policies.has_type(type_name)
    }

    /// The entity type that a resource's type means.
    pub(crate) fn target_type(&self, type_name: &str, resource: Option<&Resource>) -> String {
        let is_mcp = resource.is_some_and(|resource| resource.kind == Kind::Mcp);
        let profiled = match type_name {
            "tool" => "Mcp::Tool",
            "prompt" => "Mcp::Prompt",
            "resource" => "Mcp::Resource",
            "task" | "mcp_server" => "Mcp::Server",
            _own => type_name,
        };
        if is_mcp && self.is_of_profile(type_name) { profiled.to_owned() } else { type_name.to_owned() }
    }

    fn target(&self, entity: &message::Entity, resource: Option<&Resource>) -> Target {
        let type_name = self.target_type(&entity.type_name, resource);
        let name = resource.map(|resource| &resource.name);
        match (name, type_name == entity.type_name, type_name.as_str()) {
            (Some(name), false, "Mcp::Server") => Target::mcp_server(name),
            (Some(name), false, "Mcp::Tool" | "Mcp::Prompt" | "Mcp::Resource") => {
                Target { type_name, id: format!("{name}/{}", entity.id) }
            }
            (Some(_) | None, _, _) => Target { type_name, id: entity.id.clone() },
        }
    }

    /// An action on a type, or one that nobody knows.
    pub(crate) fn action(&self, name: &str, target_type: &str) -> Action {
        let known = self.snapshot.policies.action_named(name, target_type);
        known.unwrap_or_else(|| Action { namespace: String::new(), name: name.to_owned() })
    }

    pub(crate) fn item(
        &self,
        action: Option<&message::Action>,
        entity: &message::Entity,
        resource: Option<&Resource>,
    ) -> Item {
        let target = self.target(entity, resource);
        let told = action.and_then(|action| action.arguments.clone());
        let action = self.action(action.map_or("", |action| &action.name), &target.type_name);
        // A call of MCP has arguments, also where the caller does not tell them.
        let untold = action.namespace == "Mcp" && self.snapshot.policies.takes_arguments(&action);
        Item {
            arguments: told.or_else(|| untold.then(palisade_mcp::unread)).map(Arc::new),
            action,
            supplied: entity.properties.clone(),
            target,
            known: Properties::default(),
            reply_to: None,
        }
    }

    /// The subject, named and with what the caller supplies.
    pub(crate) fn subject(&self, entity: &message::Entity, resource: Option<&Resource>) -> Subject {
        let named = match self.issuer_of_identities(&entity.type_name, resource) {
            Some(issuer) => Subject::named("User", format!("{issuer}/{}", entity.id)),
            None => Subject::named(&entity.type_name, entity.id.clone()),
        };
        Subject { supplied: entity.properties.clone(), ..named }
    }

    /// The kind of subject that a type means.
    pub(crate) fn subject_kind(&self, type_name: &str, resource: Option<&Resource>) -> SubjectKind {
        match self.issuer_of_identities(type_name, resource) {
            Some(_) => SubjectKind::User,
            None => SubjectKind::of(type_name),
        }
    }

    /// The issuer whose subjects `identity` means: the only one of the resource.
    pub(crate) fn issuer_of_identities<'r>(
        &self,
        type_name: &str,
        resource: Option<&'r Resource>,
    ) -> Option<&'r IssuerName> {
        let is_profiled = type_name == "identity" && !self.snapshot.policies.has_type(type_name);
        match resource.filter(|_| is_profiled)?.issuers.as_slice() {
            [only] => Some(only),
            [] | [_, _, ..] => None,
        }
    }
}

/// What stands for an entity that is sought: its type and nothing more.
pub(crate) fn placeholder(type_name: &str) -> message::Entity {
    message::Entity { type_name: type_name.to_owned(), id: String::new(), properties: Properties::default() }
}
