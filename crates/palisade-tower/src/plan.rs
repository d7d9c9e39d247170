//! What of an answer has to be changed on its way to the client, by what was asked.
//!
//! A request has been decided on before it is looked at here, and has one reading only. Where nothing has to be changed an
//! answer goes by as it comes, whatever its size.

use palisade_mcp::{Listing, Subscribed};
use palisade_model::{Handle, HandleKind};
use serde_json::Value;

/// The extension of clients that take tasks (MCP 2026-07-28).
const TASKS: &str = "io.modelcontextprotocol/tasks";
/// Where a request says what its client can do (MCP 2026-07-28).
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// What may have to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// A list was asked for.
    pub(crate) lists: bool,
    /// A list may come although none was asked for: on a stream that repeats answers to earlier requests.
    pub(crate) any_list: bool,
    /// Handles of tasks may come.
    pub(crate) tasks: bool,
    /// Which tool makes, or has made, the tasks in the result of which request.
    pub(crate) made_by: Vec<(Value, String)>,
    /// Tasks that the client listens for, by the server's own handles, and the tools that made them.
    pub(crate) listened: Vec<(String, String)>,
    /// Of which resources changes may be told.
    pub(crate) updates: Updates,
}

/// Of which resources a stream may tell that they have changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Updates {
    /// Nothing is listened for: such a message is no more than part of an answer.
    #[default]
    Unheard,
    /// Of those that the subscription names, which were decided on.
    Named(Vec<String>),
    /// Of those that its client may read: what was subscribed before, the stream does not say.
    Readable,
}

impl Plan {
    /// What may have to be changed in the answers to the messages of a body: anything, where there is no reading it. It is read as
    /// it was when it was decided on.
    pub(crate) fn of_post(body: &[u8]) -> Self {
        let mut plan = Self::default();
        let Ok(body) = palisade_mcp::read_body(body) else { return Self::of_stream() };
        for message in body.as_array().map_or(std::slice::from_ref(&body), Vec::as_slice) {
            plan.add(message);
        }
        plan
    }

    /// The same for a stream that a client opens beside its requests.
    pub(crate) fn of_stream() -> Self {
        Self { any_list: true, tasks: true, updates: Updates::Readable, ..Self::default() }
    }

    fn add(&mut self, message: &Value) {
        let Some(method) = message.get("method").and_then(Value::as_str) else { return };
        let params = message.get("params").unwrap_or(&Value::Null);
        self.lists |= Listing::of(method).is_some();
        let text = |member: &str| params.get(member).and_then(Value::as_str).unwrap_or_default();
        let tool = match method {
            "tools/call" if takes_tasks(params) => Some(text("name").to_owned()),
            "subscriptions/listen" => {
                self.listen(params);
                None
            }
            "tasks/list" => None,
            // The handle that the client has says it, and was proven.
            _ if method.starts_with("tasks/") => {
                Handle::parse(HandleKind::Task, text("taskId")).map(|handle| handle.tool)
            }
            _ => return,
        };
        self.tasks = true;
        let id = message.get("id").filter(|id| !id.is_null());
        if let (Some(id), Some(tool)) = (id, tool.filter(|tool| !tool.is_empty())) {
            self.made_by.push((id.clone(), tool));
        }
    }

    /// Adds what a subscription names. Its handles say their tools, and were proven.
    fn listen(&mut self, params: &Value) {
        let subscribed =
            params.as_object().and_then(|params| Subscribed::read(params).ok()).unwrap_or_default();
        let handles = subscribed.tasks.into_iter().filter_map(|text| Handle::parse(HandleKind::Task, text));
        self.listened.extend(handles.map(|handle| (handle.id, handle.tool)));
        let resources = subscribed.resources.into_iter().map(str::to_owned);
        match &mut self.updates {
            Updates::Named(named) => named.extend(resources),
            Updates::Unheard | Updates::Readable => self.updates = Updates::Named(resources.collect()),
        }
    }

    /// The tool whose tasks are in the result of a request.
    pub(crate) fn tool_of(&self, id: Option<&Value>) -> Option<&str> {
        let (_, tool) = self.made_by.iter().find(|(asked, _)| Some(asked) == id)?;
        Some(tool)
    }

    /// The tool that made a task which the client listens for.
    pub(crate) fn tool_of_listened(&self, task: &str) -> Option<&str> {
        let (_, tool) = self.listened.iter().find(|(id, _)| id == task)?;
        Some(tool)
    }

    /// Whether lists may come.
    pub(crate) fn has_lists(&self) -> bool {
        self.lists || self.any_list
    }

    /// Whether something is listened for that comes when it comes.
    pub(crate) fn listens(&self) -> bool {
        self.updates != Updates::Unheard
    }

    /// Whether nothing has to be changed.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_lists() && !self.tasks && !self.listens()
    }
}

/// Whether a call may be answered with a task: its client says that it takes them.
fn takes_tasks(params: &Value) -> bool {
    let says = |meta: &Value| {
        let extensions = meta.get(CAPABILITIES)?.get("extensions")?;
        extensions.get(TASKS).map(|_| ())
    };
    params.get("task").is_some() || params.get("_meta").and_then(says).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(body: &Value) -> Plan {
        Plan::of_post(body.to_string().as_bytes())
    }

    #[test]
    fn a_call_is_left_alone_and_a_list_is_not() {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "t" } });
        assert!(plan(&call).is_empty());
        let list = json!({ "jsonrpc": "2.0", "id": "a", "method": "tools/list" });
        assert!(plan(&list).lists && plan(&json!([call, list])).lists);
    }

    #[test]
    fn what_cannot_be_read_in_one_way_may_be_answered_with_anything() {
        for params in [
            r#"{"$serde_json::private::RawValue":"!"}"#,
            r#"{"$serde_json::private::RawValue":"{}","cursor":"x"}"#,
            r#"{"cursor":"x","cursor":"y"}"#,
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{params}}}"#);
            assert_eq!(Plan::of_post(body.as_bytes()), Plan::of_stream(), "{body}");
        }
    }

    #[test]
    fn a_call_whose_client_takes_tasks_may_be_answered_with_one() {
        let call = |params: Value| plan(&json!({ "id": 1, "method": "tools/call", "params": params }));
        assert_eq!(call(json!({ "name": "t", "task": {} })).tool_of(Some(&json!(1))), Some("t"));
        let meta = json!({ CAPABILITIES: { "extensions": { TASKS: {} } } });
        assert_eq!(call(json!({ "name": "t", "_meta": meta })).tool_of(Some(&json!(1))), Some("t"));
        assert!(call(json!({ "name": "t", "_meta": {} })).is_empty());
    }

    #[test]
    fn a_subscription_names_whose_changes_are_told_and_a_stream_beside_does_not() {
        let listen = |filter: Value| json!({ "id": 1, "method": "subscriptions/listen", "params": { "notifications": filter } });
        let one = listen(json!({ "resourceSubscriptions": ["file:///a"] }));
        let two = listen(json!({ "resourceSubscriptions": ["file:///b"] }));
        assert_eq!(
            plan(&json!([one, two])).updates,
            Updates::Named(vec!["file:///a".to_owned(), "file:///b".to_owned()])
        );
        assert_eq!(plan(&listen(json!({}))).updates, Updates::Named(Vec::new()));
        assert!(Plan::of_stream().listens() && Plan::of_stream().updates == Updates::Readable);
    }

    #[test]
    fn each_request_of_a_batch_has_the_tasks_of_its_own_tool_and_no_list_says_whose_they_are() {
        let call = |name: &str| json!({ "method": "tools/call", "id": name, "params": { "name": name, "task": {} } });
        let both = plan(&json!([call("a"), call("b")]));
        assert_eq!(
            (both.tool_of(Some(&json!("a"))), both.tool_of(Some(&json!("b")))),
            (Some("a"), Some("b"))
        );
        assert_eq!((both.tool_of(Some(&json!("c"))), both.tool_of(None)), (None, None));
        let handle = format!("{}.{}.x", "0".repeat(32), "6f74686572");
        let list = plan(&json!({ "method": "tasks/list", "id": 1, "params": { "taskId": handle } }));
        assert!(list.tasks && list.tool_of(Some(&json!(1))).is_none());
    }
}
