//! One answer of a server, changed for its client: lists are cut, handles of tasks are bound.
//!
//! Whatever cannot be decided is not told: an answer becomes a JSON-RPC error, and a message that holds a handle which
//! cannot be bound is left out.

use std::sync::Arc;

use palisade_client::{Bind, GatewayPoint, Incoming, List, Listed, NoAnswer, Passage, Told};
use palisade_mcp::Listing;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::{plan::Plan, tools::Tools};

/// The member of `_meta` that says which task a message belongs to (MCP 2025-11-25, tasks).
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// Internal error (JSON-RPC 2.0 section 5.1).
const INTERNAL: i32 = -32_603;

/// What the answers to one request are changed by.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) point: Arc<dyn GatewayPoint>,
    pub(crate) resource: String,
    pub(crate) request: Incoming,
    /// What let the request by: whose answers they are.
    pub(crate) passage: Passage,
    pub(crate) plan: Plan,
    /// Which tool made which task.
    pub(crate) tools: Arc<Tools>,
}

/// Why an answer may not be told.
#[derive(Debug, Error)]
pub(crate) enum Withheld {
    /// The client is told this instead.
    #[error("it is denied")]
    Told(Box<Told>),
    /// There is no decision.
    #[error(transparent)]
    NoAnswer(NoAnswer),
    /// A handle cannot be bound.
    #[error("the handle of a task cannot be bound")]
    Unbound,
    /// Where a list may come, something came that cannot be read.
    #[error("it cannot be read")]
    Unreadable,
}

impl Change {
    /// Changes a message of the server, or several in one. Nothing where it stays as it is.
    pub(crate) async fn change(&self, message: &[u8]) -> Result<Option<Vec<u8>>, Withheld> {
        if !self.may_concern(message) {
            return Ok(None);
        }
        // What cannot be read here could be a list or a task all the same to a client that is less strict. Nothing at all is none: the
        // first event of a stream has an id and no data.
        let Ok(mut value) = serde_json::from_slice::<Value>(message) else {
            let blank = message.iter().all(u8::is_ascii_whitespace);
            return if blank { Ok(None) } else { Err(Withheld::Unreadable) };
        };
        let mut changed = false;
        if let Value::Array(messages) = &mut value {
            for message in messages {
                changed |= self.change_one(message).await?;
            }
        } else {
            changed = self.change_one(&mut value).await?;
        }
        Ok(changed.then(|| value.to_string().into_bytes()))
    }

    /// The same where only the answer itself can be told, as an event of a stream: what may not be told becomes an error, or
    /// nothing.
    pub(crate) async fn change_event(&self, message: &[u8]) -> Option<Option<Vec<u8>>> {
        match self.change(message).await {
            Ok(changed) => Some(changed),
            Err(withheld) => {
                tracing::warn!(%withheld, "an answer is withheld");
                let value: Value = serde_json::from_slice(message).unwrap_or_default();
                let id = value.get("id").filter(|id| id.is_string() || id.is_number())?;
                let error = json!({ "code": INTERNAL, "message": "no decision can be made now" });
                let error = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                Some(Some(error.to_string().into_bytes()))
            }
        }
    }

    /// Whether there may be something to change, without reading it all.
    fn may_concern(&self, message: &[u8]) -> bool {
        let holds = |what: &str| memchr::memmem::find(message, what.as_bytes()).is_some();
        // An escape could spell a member's name.
        self.plan.has_lists() || (self.plan.tasks && (holds("task") || holds("\\u")))
    }

    async fn change_one(&self, message: &mut Value) -> Result<bool, Withheld> {
        let cut = self.cut(message).await?;
        let bound = self.bind(message).await?;
        Ok(cut || bound)
    }

    /// Cuts a list to what its reader may see.
    async fn cut(&self, message: &mut Value) -> Result<bool, Withheld> {
        if !self.plan.has_lists() {
            return Ok(false);
        }
        let Some(result) = message.get_mut("result") else { return Ok(false) };
        // Whatever has the form of a list is one: an id may come back spelt otherwise, or stand for two requests.
        let mut cut = false;
        for listing in Listing::ALL {
            cut |= self.cut_list(listing, result).await?;
        }
        Ok(cut)
    }

    async fn cut_list(&self, listing: Listing, result: &mut Value) -> Result<bool, Withheld> {
        let Some(names) = listing.names(result) else { return Ok(false) };
        let entries = names.into_iter().map(str::to_owned).collect();
        let list = List::new(self.resource.clone(), self.request.clone(), listing.method(), entries);
        match self.point.list(&list).await.map_err(Withheld::NoAnswer)? {
            Listed::Refused(told) => Err(Withheld::Told(Box::new(told))),
            Listed::Shown(shown) => {
                listing.keep(result, shown);
                Ok(true)
            }
        }
    }

    /// Binds the handles of tasks in a message.
    async fn bind(&self, message: &mut Value) -> Result<bool, Withheld> {
        if !self.plan.tasks {
            return Ok(false);
        }
        // Only the result of a request that is known says which tool has made its tasks.
        let tool = self.plan.tool_of(message.get("id").filter(|_| message.get("result").is_some()));
        let tool = tool.map(str::to_owned);
        let mut changed = false;
        for (part, tool) in [("result", tool.as_deref()), ("params", None)] {
            let Some(part) = message.get_mut(part).and_then(Value::as_object_mut) else { continue };
            // Whose they are is not known: nobody's tasks are told.
            if let Some(Value::Array(tasks)) = part.get_mut("tasks") {
                changed |= !tasks.is_empty();
                tasks.clear();
            }
            changed |= self.bind_in(part, tool).await?;
            if let Some(Value::Object(task)) = part.get_mut("task") {
                changed |= self.bind_in(task, tool).await?;
            }
            let named = part.get_mut("notifications").and_then(|filter| filter.get_mut("taskIds"));
            if let Some(Value::Array(ids)) = named {
                changed |= self.bind_named(ids).await?;
            }
            let meta = part.get_mut("_meta").and_then(|meta| meta.get_mut(RELATED_TASK));
            if let Some(Value::Object(related)) = meta {
                changed |= self.bind_in(related, tool).await?;
            }
        }
        Ok(changed)
    }

    async fn bind_in(&self, members: &mut Map<String, Value>, tool: Option<&str>) -> Result<bool, Withheld> {
        let Some(Value::String(id)) = members.get_mut("taskId") else { return Ok(false) };
        *id = self.bound(id, tool).await?;
        Ok(true)
    }

    /// Binds the tasks that a subscription is said to hold. What cannot be bound is left out.
    async fn bind_named(&self, ids: &mut Vec<Value>) -> Result<bool, Withheld> {
        let mut bound = Vec::with_capacity(ids.len());
        for id in ids.iter().filter_map(Value::as_str) {
            match self.bound(id, None).await {
                Ok(id) => bound.push(Value::String(id)),
                Err(Withheld::Unbound) => {}
                Err(withheld @ (Withheld::NoAnswer(_) | Withheld::Told(_) | Withheld::Unreadable)) => {
                    return Err(withheld);
                }
            }
        }
        *ids = bound;
        Ok(true)
    }

    /// The handle that the client has, or gets, for one of the server's.
    async fn bound(&self, id: &str, tool: Option<&str>) -> Result<String, Withheld> {
        let subject = self.passage.subject();
        let known = tool.or_else(|| self.plan.tool_of_listened(id)).map(str::to_owned);
        let tool = known.or_else(|| self.tools.of(subject, id)).ok_or(Withheld::Unbound)?;
        let bind = Bind::task(self.resource.clone(), &self.passage, &tool, id.to_owned());
        let bound = self.point.bind(&bind).await.map_err(Withheld::NoAnswer)?.ok_or(Withheld::Unbound)?;
        self.tools.note(subject, id, &tool);
        Ok(bound)
    }
}
