//! An action and a target in the words of a resource's protocol, as the item that the wire would ask about.
//!
//! Of MCP the message is composed that a client would send, and read as it would be; of HTTP the path takes its route; of
//! GraphQL the parts of operations are asked about, and no whole one.
//! So there is no second mapping that could differ from the first. What the protocol would not look at is refused: a
//! question that says more than is asked would be answered for something else than was meant.

use std::sync::Arc;

use palisade_mcp::{Mirrors, Post};
use palisade_model::{Action, Arguments, Item, Properties, Reason, Refusal, Target};
use palisade_pdp::{Kind, Resource, location::Location};
use serde_json::{Value, json};

/// What is asked, in the words of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Wording<'a> {
    /// The method: `tools/call`, `GET`.
    pub action: &'a str,
    /// The name of the tool or prompt, the URI of the MCP resource, the path.
    pub target: Option<&'a str>,
    /// The arguments, a JSON object.
    pub arguments: Option<&'a Value>,
}

/// The same, as it is decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Worded {
    /// The item.
    pub item: Item,
    /// The path of an HTTP request, without its query.
    pub path: Option<String>,
}

impl Wording<'_> {
    /// The item of a resource that these words mean.
    ///
    /// # Errors
    /// With what the wire would be refused with, and `request_malformed` for a target or arguments where the action has
    /// none.
    pub fn read(&self, resource: &Resource) -> Result<Worded, Refusal> {
        match resource.kind {
            Kind::Mcp => Ok(Worded { item: self.mcp(resource)?, path: None }),
            Kind::Http => self.http(resource),
            Kind::Graphql => Ok(Worded { item: self.graphql(resource)?, path: None }),
        }
    }

    fn mcp(&self, resource: &Resource) -> Result<Item, Refusal> {
        let server = Target::mcp_server(&resource.name);
        let [item] = match (self.action, self.target) {
            // Of these the wire has no message.
            ("stream/open", None) => palisade_mcp::stream_open(&resource.name).items,
            ("session/delete", None) => palisade_mcp::session_delete(&resource.name).items,
            _ => self.message(resource)?,
        }
        .try_into()
        .map_err(|_| Refusal::new(Reason::InternalError, "one message is not one item"))?;
        if self.target.is_some() && item.target == server {
            return Err(malformed("the action has no target"));
        }
        if self.arguments.is_some() && item.arguments.is_none() {
            return Err(malformed("the action has no arguments"));
        }
        // Nothing is addressed to the id of a message that nobody sent.
        Ok(Item { reply_to: None, ..item })
    }

    /// The message that a client would send, read as it would be.
    fn message(&self, resource: &Resource) -> Result<Vec<Item>, Refusal> {
        let params = match (self.target, self.arguments) {
            (Some(uri), _) if self.action.starts_with("resources/") => json!({ "uri": uri }),
            (Some(name), None) => json!({ "name": name }),
            (Some(name), Some(arguments)) => json!({ "name": name, "arguments": arguments }),
            (None, _) => json!({}),
        };
        let mut message = json!({ "jsonrpc": "2.0", "method": self.action, "params": params });
        if !self.action.starts_with("notifications/")
            && let Some(members) = message.as_object_mut()
        {
            members.insert("id".to_owned(), json!(1));
        }
        let body = message.to_string();
        let post = Post {
            body: body.as_bytes(),
            content_type: Some("application/json"),
            content_encoding: None,
            mirrors: &Mirrors::default(),
            max_batch: 1,
        };
        let asked = palisade_mcp::read(&post, &resource.name).map_err(|unread| unread.refusal)?;
        Ok(asked.items)
    }

    /// A part of an operation, or introspection. An operation itself is decided as the request that it comes by, with all its parts.
    fn graphql(&self, resource: &Resource) -> Result<Item, Refusal> {
        let target = match (self.action, self.target) {
            ("introspect", None) => Target::graphql_graph(&resource.name),
            ("field", Some(coordinate)) => Target::graphql_element(&resource.name, coordinate),
            ("policy", Some(name)) => Target::graphql_policy(&resource.name, name),
            ("introspect", Some(_)) => return Err(malformed("the action has no target")),
            ("field" | "policy", None) => return Err(malformed("the action has a target")),
            _ => {
                let detail = "of an operation only its fields, its names of `@policy` and introspection can be asked about";
                return Err(Refusal::new(Reason::MethodUnknown, detail));
            }
        };
        let arguments = match (self.action, self.arguments) {
            (_, None) => None,
            ("field", Some(arguments)) => Some(
                Arguments::from_json(arguments)
                    .map_err(|error| Refusal::new(Reason::ArgumentsInvalid, error.to_string()))?,
            ),
            (_, Some(_)) => return Err(malformed("the action has no arguments")),
        };
        Ok(Item {
            action: Action::graphql(self.action),
            target,
            arguments: arguments.map(Arc::new),
            supplied: Properties::default(),
            known: Properties::default(),
            reply_to: None,
        })
    }

    fn http(&self, resource: &Resource) -> Result<Worded, Refusal> {
        let path = self.target.ok_or_else(|| malformed("an HTTP request has a path"))?;
        if self.arguments.is_some() {
            return Err(malformed("the arguments of an HTTP request are in its path"));
        }
        let location = Location::parse(path)?;
        if location.token_in_query {
            return Err(malformed("an access token is in the query"));
        }
        let item = resource.http_item(self.action, &location.path)?;
        Ok(Worded { item, path: Some(location.path) })
    }
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(Reason::RequestMalformed, detail)
}

#[cfg(test)]
mod tests;
