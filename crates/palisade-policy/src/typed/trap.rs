//! The trap that typed tools set: what compares an action with `tools/call` passes them by.

use serde_json::Value;

use crate::world::uid_of;

/// Whether a policy, in Cedar's JSON form, compares with `Mcp::Action::"tools/call"` by anything but `in`.
pub(crate) fn passes_by(policy: &Value) -> bool {
    let scope = policy.get("action").is_some_and(|scope| {
        scope.get("op").is_some_and(|op| op == "==") && scope.get("entity").is_some_and(is_call)
    });
    scope || policy.get("conditions").is_some_and(compares)
}

fn compares(expression: &Value) -> bool {
    match expression {
        Value::Object(members) => members.iter().any(|(operator, operand)| match operator.as_str() {
            "__entity" => is_call(operand),
            // Right of `in`, the entity itself or a set of such, is where it belongs.
            "in" => operand.get("left").is_some_and(compares) || operand.get("right").is_some_and(beside_in),
            _ => compares(operand),
        }),
        Value::Array(elements) => elements.iter().any(compares),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn beside_in(operand: &Value) -> bool {
    let is_literal = |operand: &Value| operand.pointer("/Value/__entity").is_some();
    match operand.get("Set").and_then(Value::as_array) {
        Some(elements) => elements.iter().filter(|element| !is_literal(element)).any(compares),
        None => !is_literal(operand) && compares(operand),
    }
}

fn is_call(entity: &Value) -> bool {
    uid_of(entity).is_some_and(|(name, id)| name == "Mcp::Action" && id == "tools/call")
}
