//! The parameters of a GET (GraphQL over HTTP, section 5.3).
//!
//! Decoders differ in what they make of a broken escape, of bytes that are no UTF-8, and of a name that stands twice. Each
//! is refused.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{DEPTH, RequestError};

/// The parameters as the members of a body.
pub(super) fn read(query: &str) -> Result<Map<String, Value>, RequestError> {
    // To some decoders `;` stands between parameters as `&` does, and `#` ends them.
    if query.contains([';', '#']) || !is_escaped_well(query) {
        return Err(RequestError::Parameters);
    }
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(RequestError::Parameters);
        }
        let value = match &*name {
            "query" | "operationName" => Value::String(value.into_owned()),
            "variables" | "extensions" => palisade_json::read(value.as_bytes(), DEPTH)?,
            _ => return Err(RequestError::Shape),
        };
        if members.insert(name.into_owned(), value).is_some() {
            return Err(RequestError::Parameters);
        }
    }
    Ok(members)
}

/// Whether each `%` begins an escape.
fn is_escaped_well(query: &str) -> bool {
    query.split('%').skip(1).all(|rest| {
        let mut bytes = rest.bytes();
        let digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        digit(bytes.next()) && digit(bytes.next())
    })
}
