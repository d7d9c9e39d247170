//! What a subscription names beside the server (MCP 2026-07-28, `subscriptions/listen`): resources whose changes are told, and
//! tasks whose states are (its extension for tasks).
//!
//! Each is asked about as the request that would ask for it alone: `resources/subscribe`, `tasks/get`. What a filter holds that is
//! not known here could name something else, and is refused.

use palisade_model::{Action, Item, Properties, Refusal, ResourceName, Target};
use serde_json::{Map, Value};

use crate::{lookalikes, malformed, method, on_server};

/// The request that subscribes.
pub(crate) const LISTEN: &str = "subscriptions/listen";
/// The filter of a subscription.
const FILTER: &str = "notifications";
/// Changes of a server's lists, which every reader of them may hear of.
const LISTS: [&str; 3] = ["toolsListChanged", "promptsListChanged", "resourcesListChanged"];
const RESOURCES: &str = "resourceSubscriptions";
const TASKS: &str = "taskIds";

/// What a subscription names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscribed<'a> {
    /// URIs of resources.
    pub resources: Vec<&'a str>,
    /// Handles of tasks.
    pub tasks: Vec<&'a str>,
}

impl<'a> Subscribed<'a> {
    /// What the parameters of a subscription name.
    ///
    /// # Errors
    /// `request_malformed` for a filter that has not the protocol's form.
    pub fn read(params: &'a Map<String, Value>) -> Result<Self, Refusal> {
        let filter = match params.get(FILTER) {
            None => return Ok(Self::default()),
            Some(Value::Object(filter)) => filter,
            Some(_) => return Err(malformed("`notifications` is not an object")),
        };
        lookalikes::none_of_protocol_names(filter)?;
        let mut subscribed = Self::default();
        for (member, value) in filter {
            match member.as_str() {
                RESOURCES => subscribed.resources = texts(value)?,
                TASKS => subscribed.tasks = texts(value)?,
                list if LISTS.contains(&list) && value.is_boolean() => {}
                _ => return Err(malformed("`notifications` holds something that is not the protocol's")),
            }
        }
        Ok(subscribed)
    }
}

fn texts(value: &Value) -> Result<Vec<&str>, Refusal> {
    let texts = value.as_array().and_then(|all| all.iter().map(Value::as_str).collect());
    texts.ok_or_else(|| malformed("`notifications` names something that is no string"))
}

/// What a subscription names, as items: the resources, then the tasks, each in their order.
pub(crate) fn items(params: &Map<String, Value>, resource: &ResourceName) -> Result<Vec<Item>, Refusal> {
    let subscribed = Subscribed::read(params)?;
    let resources = subscribed.resources.into_iter().map(|uri| {
        Ok(Item {
            action: Action::mcp("resources/subscribe"),
            target: Target::mcp_resource(resource, method::usable_uri(uri)?),
            arguments: None,
            supplied: Properties::default(),
            known: Properties::default(),
            reply_to: None,
        })
    });
    let tasks = subscribed.tasks.into_iter().map(|_| Ok(on_server("tasks/get", resource)));
    resources.chain(tasks).collect()
}
