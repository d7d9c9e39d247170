//! Denials in JSON-RPC: an error object a request (JSON-RPC 2.0 section 5.1).
//!
//! A denied tool is answered like one that does not exist, so that nobody can find out which do. So are arguments
//! that no policy has seen: told apart, they would show that the tool exists and what it takes.

use palisade_model::Reason;
use serde_json::{Value, json};

/// A request that an answer addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The action's name: the method.
    pub action: String,
    /// The raw JSON of the `id`; none for notifications and responses, which get no answer.
    pub id: Option<String>,
}

/// The JSON-RPC answer to a denial: one error object, an array of them for a batch, `null` where no message wants an
/// answer.
#[must_use]
pub fn denial(reason: Reason, replies: &[Reply], batch: bool) -> Value {
    let mut errors = replies.iter().filter_map(|reply| {
        let id: Value = serde_json::from_str(reply.id.as_deref()?).ok()?;
        let (code, message) = error(reason, &reply.action);
        Some(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }))
    });
    if batch {
        let errors: Vec<Value> = errors.collect();
        if errors.is_empty() { Value::Null } else { Value::Array(errors) }
    } else {
        errors.next().unwrap_or_default()
    }
}

fn error(reason: Reason, action: &str) -> (i32, &'static str) {
    if matches!(reason, Reason::MethodUnknown) {
        return (-32_601, "Method not found");
    }
    if matches!(reason, Reason::HeaderMismatch) {
        return (-32_020, "Header mismatch");
    }
    match action {
        // A handle that is another's, or nobody's.
        "tasks/get" | "tasks/update" | "tasks/cancel" | "tasks/result" | "subscriptions/listen"
            if matches!(reason, Reason::SessionMismatch) =>
        {
            (-32_602, "Unknown task")
        }
        "tools/call" => (-32_602, "Unknown tool"),
        "prompts/get" => (-32_602, "Unknown prompt"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => (-32_002, "Resource not found"),
        _ => (403, "Not permitted"),
    }
}
