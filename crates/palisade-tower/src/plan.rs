//! What of an answer has to be changed on its way to the client, by what was asked.
//!
//! A request has been decided on before it is looked at here, and has one reading only. Where nothing has to be changed an
//! answer goes by as it comes, whatever its size.

use palisade_mcp::Listing;
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
    /// Which handles of tasks an answer may hold.
    pub(crate) tasks: Tasks,
}

/// Whose tasks' handles may be in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Tasks {
    /// None are.
    #[default]
    None,
    /// Those of the tool with this name, which may be empty where the handle of the request says none.
    Of(String),
    /// Those of any tool: which it is, is only known of tasks whose beginning was seen.
    Any,
}

impl Plan {
    /// What may have to be changed in the answers to the messages of a body.
    pub(crate) fn of_post(body: &[u8]) -> Self {
        let mut plan = Self::default();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        for message in body.as_array().map_or(std::slice::from_ref(&body), Vec::as_slice) {
            plan.add(message);
        }
        plan
    }

    /// The same for a stream that a client opens beside its requests.
    pub(crate) fn of_stream() -> Self {
        Self { lists: false, any_list: true, tasks: Tasks::Any }
    }

    fn add(&mut self, message: &Value) {
        let Some(method) = message.get("method").and_then(Value::as_str) else { return };
        let params = message.get("params").unwrap_or(&Value::Null);
        self.lists |= Listing::of(method).is_some();
        let tool = || params.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        match method {
            "tools/call" if takes_tasks(params) => self.add_tasks(Tasks::Of(tool())),
            "subscriptions/listen" => self.add_tasks(Tasks::Any),
            _ if method.starts_with("tasks/") => {
                // The handle that the client has says it, and was proven.
                let bound = params.get("taskId").and_then(Value::as_str).unwrap_or_default();
                let handle = palisade_model::Handle::parse(palisade_model::HandleKind::Task, bound);
                self.add_tasks(Tasks::Of(handle.map(|handle| handle.tool).unwrap_or_default()));
            }
            _ => {}
        }
    }

    /// In a batch nothing says whose the tasks in an answer are.
    fn add_tasks(&mut self, tasks: Tasks) {
        let is_same = self.tasks == Tasks::None || self.tasks == tasks;
        self.tasks = if is_same { tasks } else { Tasks::Any };
    }

    /// Whether handles of tasks may come.
    pub(crate) fn has_tasks(&self) -> bool {
        self.tasks != Tasks::None
    }

    /// Whether lists may come.
    pub(crate) fn has_lists(&self) -> bool {
        self.lists || self.any_list
    }

    /// Whether nothing has to be changed.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_lists() && !self.has_tasks()
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
    fn a_call_whose_client_takes_tasks_may_be_answered_with_one() {
        let call = |params: Value| plan(&json!({ "id": 1, "method": "tools/call", "params": params }));
        assert_eq!(call(json!({ "name": "t", "task": {} })).tasks, Tasks::Of("t".to_owned()));
        let meta = json!({ CAPABILITIES: { "extensions": { TASKS: {} } } });
        assert_eq!(call(json!({ "name": "t", "_meta": meta })).tasks, Tasks::Of("t".to_owned()));
        assert_eq!(call(json!({ "name": "t", "_meta": {} })).tasks, Tasks::None);
    }

    #[test]
    fn of_two_tools_in_one_batch_nothing_says_whose_a_task_is() {
        let call = |name: &str| json!({ "method": "tools/call", "id": name, "params": { "name": name, "task": {} } });
        assert_eq!(plan(&json!([call("a"), call("a")])).tasks, Tasks::Of("a".to_owned()));
        assert_eq!(plan(&json!([call("a"), call("b")])).tasks, Tasks::Any);
        assert_eq!(plan(&json!([call("a"), call("b"), call("b")])).tasks, Tasks::Any);
    }
}
