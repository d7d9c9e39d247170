//! What a configuration and a server's own list say of the form of calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The member of a schema that names the header which mirrors an argument (MCP 2026-07-28, Streamable HTTP).
const HEADER: &str = "x-mcp-header";
/// The deepest properties of a schema that are looked at: as deep as a body may be.
const MAX_DEPTH: usize = 32;

/// Forms of calls, by the tool's name.
pub type ToolForms = BTreeMap<String, ToolForm>;

/// What is known of the form of calls of one tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolForm {
    /// The arguments that headers mirror.
    pub mirrored: Vec<Mirrored>,
    /// Where its arguments say which other tool it is to call, for one that calls others.
    pub calls: Option<InnerCall>,
}

/// An argument that a header mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// What comes behind `Mcp-Param-` in the header's name; case does not matter.
    pub header: String,
    /// The argument, as a JSON pointer (RFC 6901).
    pub pointer: String,
}

/// Where the arguments of a tool that calls others say which, and with what: JSON pointers (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InnerCall {
    /// The name of the other tool, of the same server: `/name`.
    pub name: String,
    /// Its arguments, an object: `/arguments`. Without it they count as unread.
    #[serde(default)]
    pub arguments: Option<String>,
}

impl Mirrored {
    /// The arguments that headers mirror, by the input schema of a tool: those that properties lead to.
    #[must_use]
    pub fn of_schema(schema: &Value) -> Vec<Self> {
        let mut found = Vec::new();
        collect(schema, "", MAX_DEPTH, &mut found);
        found
    }
}

fn collect(schema: &Value, pointer: &str, depth: usize, found: &mut Vec<Mirrored>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let Some(depth) = depth.checked_sub(1) else { return };
    for (name, property) in properties.into_iter().flatten() {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        let is_scalar = |kind: &Value| ["string", "integer", "boolean"].iter().any(|scalar| kind == scalar);
        let header = property.get(HEADER).and_then(Value::as_str).filter(|header| {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte);
            !header.is_empty() && header.bytes().all(is_token) && property.get("type").is_some_and(is_scalar)
        });
        if let Some(header) = header {
            found.push(Mirrored { header: header.to_owned(), pointer: pointer.clone() });
        }
        collect(property, &pointer, depth, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_headers_mirror_is_found_at_any_depth_of_properties_and_nowhere_else() {
        let schema = json!({
            "properties": {
                "region": { "type": "string", "x-mcp-header": "Region" },
                "a/b": { "properties": { "c~d": { "type": "integer", "x-mcp-header": "Deep" } } },
                "list": { "items": { "properties": { "e": { "x-mcp-header": "Not" } } } },
                "wrong": { "x-mcp-header": 1 },
            },
            "anyOf": [{ "properties": { "f": { "x-mcp-header": "Nor" } } }],
        });
        let mirrored =
            |header: &str, pointer: &str| Mirrored { header: header.into(), pointer: pointer.into() };
        let mut found = Mirrored::of_schema(&schema);
        found.sort_by(|one, other| one.header.cmp(&other.header));
        assert_eq!(found, [mirrored("Deep", "/a~1b/c~0d"), mirrored("Region", "/region")]);
        let called = json!({ "a/b": { "c~d": 7 } });
        assert_eq!(called.pointer(&found[0].pointer), Some(&json!(7)));
    }
}
