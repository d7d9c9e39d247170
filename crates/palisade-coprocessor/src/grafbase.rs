//! What Grafbase's `policy` extension asks: `{"policies": ["a", "b"]}`, answered by `{"granted": [true, false]}` in the same order.
//!
//! The client's token is the one that the request itself comes with.

use palisade_model::Refusal;
use serde_json::{Map, Value, json};

use crate::message::malformed;

/// The member by which such a message is known.
pub(crate) const NAMES: &str = "policies";

/// Reads the names.
///
/// # Errors
/// `request_malformed` for anything else than one list of texts, and for an empty one: to it every answer would be a yes.
pub(crate) fn read(mut members: Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let unreadable = || malformed("the message is not one list of names of policies");
    let names = members.remove(NAMES).filter(|_| members.is_empty());
    let Some(Value::Array(names)) = names else { return Err(unreadable()) };
    let text = |name: Value| match name {
        Value::String(name) => Ok(name),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(unreadable())
        }
    };
    if names.is_empty() {
        return Err(unreadable());
    }
    names.into_iter().map(text).collect()
}

/// The answer, in the order of the names.
pub(crate) fn answer(granted: &[bool]) -> Value {
    json!({ "granted": granted })
}
