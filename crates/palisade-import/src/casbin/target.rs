//! What a line's object and action are in Palisade's vocabulary.

use palisade_model::ResourceName;

use crate::cedar::uid;

/// What a line allows or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Allow,
    Deny,
    /// Anything else: Casbin takes it for neither.
    Neither,
}

/// The target of a line, and the actions on it.
pub(super) struct Target {
    pub(super) entity: String,
    pub(super) actions: Vec<&'static str>,
}

pub(super) fn mcp_target(
    name: &ResourceName,
    object: &str,
    action: &str,
    word: Word,
) -> Result<Target, &'static str> {
    let (entity, actions): (&str, &[&'static str]) = match action {
        "call" | "tools/call" => ("Mcp::Tool", &["tools/call"]),
        "get" | "prompts/get" => ("Mcp::Prompt", &["prompts/get"]),
        // Who may not read may not subscribe either.
        "read" | "resources/read" if word == Word::Deny => {
            ("Mcp::Resource", &["resources/read", "resources/subscribe", "resources/unsubscribe"])
        }
        "read" | "resources/read" => ("Mcp::Resource", &["resources/read"]),
        _ => return Err("not an action on an MCP server: call (tools), read (resources), get (prompts)"),
    };
    Ok(Target { entity: uid(entity, &format!("{name}/{object}")), actions: actions.to_vec() })
}

pub(super) fn http_action(action: &str) -> Option<&'static str> {
    let known = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "read", "write"];
    known.into_iter().find(|known| *known == action)
}

/// Whether a path can be a route that matches itself and nothing else.
pub(super) fn is_path(path: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-._~".contains(character);
    let good = |segment: &str| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(plain)
    };
    path == "/" || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(good))
}
