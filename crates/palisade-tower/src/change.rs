//! One answer of a server, changed for its client: lists are cut, handles of tasks are bound, and of changed resources only those are
//! told of that may be.
//!
//! Whatever cannot be decided is not told: an answer becomes a JSON-RPC error, and a message that holds a handle which
//! cannot be bound is left out. Of several messages in one, each is told or not for itself.

use std::sync::Arc;

use http::StatusCode;
use palisade_client::{Bind, GatewayPoint, Incoming, List, Listed, NoAnswer, Passage, Told};
use palisade_mcp::{Listing, Lists};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::{
    plan::{Plan, Updates},
    readable::Readable,
    tools::Tools,
};

/// The member of `_meta` that says which task a message belongs to (MCP 2025-11-25, tasks).
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// What says that a subscription has begun, and of what (MCP 2026-07-28).
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// What the names of notifications about resources begin with.
const OF_RESOURCES: &str = "notifications/resources/";
/// That resources have come or gone: which, it need not say.
const LIST_CHANGED: &str = "notifications/resources/list_changed";
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
    /// Which resources the client may read, as far as that was asked.
    pub(crate) readable: Arc<Readable>,
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
    /// More resources have changed than are asked about.
    #[error("it tells of one more resource than is asked about at once")]
    TooMuch,
    /// A resource has changed that its client may not hear of.
    #[error("it tells of a resource that is not listened for")]
    Unheard,
    /// Where a list may come, something came that cannot be read.
    #[error("it cannot be read, or in two ways")]
    Unreadable,
}

impl Withheld {
    /// Whether nobody has decided about it: such a message is not denied, but missed.
    fn is_missed(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::TooMuch => true,
            Self::Told(told) => told.status.is_server_error() || told.status == StatusCode::TOO_MANY_REQUESTS,
            Self::Unbound | Self::Unheard | Self::Unreadable => false,
        }
    }
}

/// What becomes of an event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is told as it came.
    AsItCame,
    /// It is told with this as its data.
    Changed(Vec<u8>),
    /// It is not told.
    LeftOut,
    /// Neither it nor anything after it is told: its client would wait for what it has missed.
    Ends,
}

impl Event {
    fn of(part: Result<Part, Withheld>, message: &Value) -> Self {
        match part {
            Ok(Part::AsItCame) => Self::AsItCame,
            Ok(Part::Changed) => Self::Changed(message.to_string().into_bytes()),
            Ok(Part::LeftOut) => Self::LeftOut,
            Err(withheld) => {
                tracing::warn!(%withheld, "a stream is ended");
                Self::Ends
            }
        }
    }
}

/// What becomes of one message of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    AsItCame,
    Changed,
    LeftOut,
}

impl Change {
    /// Changes a message of the server, or several in one. Nothing where it stays as it is.
    pub(crate) async fn change(&self, message: &[u8]) -> Result<Option<Vec<u8>>, Withheld> {
        if let Some(lists) = self.lists(message) {
            return self.cut_lists(&lists).await;
        }
        let Some(mut value) = self.concerning(message)? else { return Ok(None) };
        let changed = match value.as_array_mut() {
            Some(messages) => self.change_each(messages).await?,
            None => self.change_one(&mut value).await?,
        };
        Ok(changed.then(|| value.to_string().into_bytes()))
    }

    /// The same where only the answer itself can be told, as an event of a stream: what may not be told becomes an error, or
    /// nothing.
    pub(crate) async fn change_event(&self, message: &[u8]) -> Event {
        if let Some(lists) = self.lists(message) {
            return match self.cut_lists(&lists).await {
                Ok(changed) => changed.map_or(Event::AsItCame, Event::Changed),
                Err(withheld) => {
                    let mut envelope = lists.envelope();
                    let part = self.in_place_of(&mut envelope, withheld);
                    Event::of(part, &envelope)
                }
            };
        }
        let mut value = match self.concerning(message) {
            Ok(Some(value)) => value,
            Ok(None) => return Event::AsItCame,
            // Who listens would wait for what it may have said.
            Err(withheld) if self.plan.listens() => return Event::of(Err(withheld), &Value::Null),
            Err(withheld) => {
                tracing::warn!(%withheld, "an event is left out");
                return Event::LeftOut;
            }
        };
        let part = match value.as_array_mut() {
            Some(messages) => match self.change_each(messages).await {
                Ok(_) if messages.is_empty() => Ok(Part::LeftOut),
                Ok(true) => Ok(Part::Changed),
                Ok(false) => Ok(Part::AsItCame),
                Err(withheld) => Err(withheld),
            },
            None => self.tell(&mut value).await,
        };
        Event::of(part, &value)
    }

    /// The lists of a message in which nothing else could have to be changed, where they can be cut as they came.
    fn lists<'m>(&self, message: &'m [u8]) -> Option<Lists<'m>> {
        let only_lists = self.plan.has_lists() && !self.plan.tasks && !self.plan.listens();
        if only_lists { Lists::read(message) } else { None }
    }

    async fn cut_lists(&self, lists: &Lists<'_>) -> Result<Option<Vec<u8>>, Withheld> {
        let mut shown = Vec::new();
        for (listing, names) in lists.names() {
            shown.push(self.shown(listing, names).await?);
        }
        Ok((!shown.is_empty()).then(|| lists.cut(&shown)))
    }

    /// What came, where something of it may have to be changed.
    fn concerning(&self, message: &[u8]) -> Result<Option<Value>, Withheld> {
        if !self.may_concern(message) {
            return Ok(None);
        }
        // What cannot be read here, or in two ways, could be a list or a task all the same to a client that reads otherwise. So what has
        // nothing in it to be changed may go on as it came. Nothing at all is none: the first event of a stream has an id and no data.
        match palisade_mcp::read_message(message) {
            Ok(value) => Ok(Some(value)),
            Err(_) if message.iter().all(u8::is_ascii_whitespace) => Ok(None),
            Err(_) => Err(Withheld::Unreadable),
        }
    }

    /// Whether there may be something to change, without reading it all.
    fn may_concern(&self, message: &[u8]) -> bool {
        let holds = |what: &str| memchr::memmem::find(message, what.as_bytes()).is_some();
        // An escape could spell a member's name.
        let may_hold = |what: &str| holds(what) || holds("\\u");
        self.plan.has_lists()
            || (self.plan.tasks && may_hold("task"))
            || (self.plan.listens() && may_hold("resource"))
    }

    /// Changes several messages in one: each is told or not for itself.
    async fn change_each(&self, messages: &mut Vec<Value>) -> Result<bool, Withheld> {
        let mut changed = false;
        let mut told = Vec::with_capacity(messages.len());
        for mut message in std::mem::take(messages) {
            let part = self.tell(&mut message).await?;
            changed |= part != Part::AsItCame;
            if part != Part::LeftOut {
                told.push(message);
            }
        }
        *messages = told;
        Ok(changed)
    }

    /// Changes one message of several, or of a stream.
    async fn tell(&self, message: &mut Value) -> Result<Part, Withheld> {
        // Several within several are no message, and nobody would look into them.
        if !message.is_object() {
            return Ok(Part::LeftOut);
        }
        match self.change_one(message).await {
            Ok(true) => Ok(Part::Changed),
            Ok(false) => Ok(Part::AsItCame),
            Err(withheld) => self.in_place_of(message, withheld),
        }
    }

    /// Where a message may not be told and is an answer, it becomes an error. A request of the server has no answer that could be
    /// given in its place, nor has a notification. It fails where nothing can follow.
    fn in_place_of(&self, message: &mut Value, withheld: Withheld) -> Result<Part, Withheld> {
        let method = message.get("method");
        let id = message.get("id").filter(|id| id.is_string() || id.is_number());
        let is_acknowledgement = method.and_then(Value::as_str) == Some(ACKNOWLEDGED);
        let is_lost = method.is_some() && self.plan.listens() && withheld.is_missed();
        if is_acknowledgement || is_lost {
            return Err(withheld);
        }
        tracing::warn!(%withheld, "a message is withheld");
        match (method, id) {
            (None, Some(id)) => {
                let error = json!({ "code": INTERNAL, "message": "no decision can be made now" });
                *message = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                Ok(Part::Changed)
            }
            (Some(_), _) | (None, None) => Ok(Part::LeftOut),
        }
    }

    async fn change_one(&self, message: &mut Value) -> Result<bool, Withheld> {
        let heard = self.hear(message).await?;
        let cut = self.cut(message).await?;
        let bound = self.bind(message).await?;
        Ok(heard || cut || bound)
    }

    /// Lets by what tells that a resource has changed, where its client may hear of that resource.
    async fn hear(&self, message: &Value) -> Result<bool, Withheld> {
        let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
        if !self.plan.listens() || !method.starts_with(OF_RESOURCES) {
            return Ok(false);
        }
        match message.get("params").and_then(|params| params.get("uri")) {
            Some(Value::String(uri)) if self.may_hear_of(uri).await? => Ok(true),
            None if method == LIST_CHANGED => Ok(false),
            Some(_) | None => Err(Withheld::Unheard),
        }
    }

    async fn may_hear_of(&self, uri: &str) -> Result<bool, Withheld> {
        match &self.plan.updates {
            Updates::Named(named) => Ok(named.iter().any(|name| name == uri)),
            Updates::Unheard => Ok(false),
            Updates::Readable => {
                if let Some(known) = self.readable.known(uri) {
                    return Ok(known);
                }
                // A server that tells much does not fill the log of decisions.
                if !self.readable.may_ask() {
                    return Err(Withheld::TooMuch);
                }
                let reads = List::reads(self.resource.clone(), self.request.clone(), vec![uri.to_owned()]);
                let may = self.ask(&reads).await?.first() == Some(&true);
                self.readable.note(uri, may);
                Ok(may)
            }
        }
    }

    /// For each entry of a list with these names whether its reader may see it.
    async fn shown(&self, listing: Listing, names: Vec<String>) -> Result<Vec<bool>, Withheld> {
        let list = List::new(self.resource.clone(), self.request.clone(), listing.method(), names);
        self.ask(&list).await
    }

    async fn ask(&self, list: &List) -> Result<Vec<bool>, Withheld> {
        match self.point.list(list).await.map_err(Withheld::NoAnswer)? {
            Listed::Shown(shown) => Ok(shown),
            Listed::Refused(told) => Err(Withheld::Told(Box::new(told))),
        }
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
        let names = names.into_iter().map(str::to_owned).collect();
        listing.keep(result, self.shown(listing, names).await?);
        Ok(true)
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
            if let Some(Value::Object(filter)) = part.get_mut("notifications") {
                changed |= self.bind_subscribed(filter).await?;
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

    /// Binds the tasks that a subscription is said to hold, and leaves it the resources that it named. A task that nobody listens for
    /// and that cannot be bound is left out.
    async fn bind_subscribed(&self, filter: &mut Map<String, Value>) -> Result<bool, Withheld> {
        let mut changed = false;
        if let (Some(Value::Array(uris)), Updates::Named(named)) =
            (filter.get_mut("resourceSubscriptions"), &self.plan.updates)
        {
            let before = uris.len();
            uris.retain(|uri| named.iter().any(|name| uri == name));
            changed = uris.len() != before;
        }
        let Some(Value::Array(ids)) = filter.get_mut("taskIds") else { return Ok(changed) };
        let mut bound = Vec::with_capacity(ids.len());
        for id in ids.iter().filter_map(Value::as_str) {
            match self.bound(id, None).await {
                Ok(id) => bound.push(Value::String(id)),
                Err(Withheld::Unbound) if self.plan.tool_of_listened(id).is_none() => {}
                Err(withheld) => return Err(withheld),
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
