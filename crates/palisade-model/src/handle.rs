//! Handles of a server that a gateway has bound to a subject: ids of sessions and tasks.
//!
//! A bound handle is `<seal>.<tool>.<id>`: 32 lower-case hex digits, the tool that made a task in hex or nothing, and the
//! server's own handle. Whether the seal is one is for the decision point to say.

/// The most bytes of a server's own handle.
const MOST_OF_ID: usize = 512;
/// The most bytes of a tool's name.
const MOST_OF_TOOL: usize = 256;
/// The hex digits of a seal.
pub const SEAL: usize = 32;

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandleKind {
    /// A session (MCP 2025-11-25, Streamable HTTP, session management).
    Session,
    /// A task.
    Task,
}

impl HandleKind {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Task => "task",
        }
    }
}

/// A handle that a client sent, taken apart. Nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// What it stands for.
    pub kind: HandleKind,
    /// What is to prove the rest.
    pub seal: String,
    /// The tool that made the task; empty for none.
    pub tool: String,
    /// The server's own handle.
    pub id: String,
}

impl Handle {
    /// Takes a bound handle apart; nothing for a text that is none.
    #[must_use]
    pub fn parse(kind: HandleKind, text: &str) -> Option<Self> {
        let (seal, rest) = text.split_once('.')?;
        let (tool, id) = rest.split_once('.')?;
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_seal = seal.len() == SEAL && is_hex(seal) && is_hex(tool);
        let tool = String::from_utf8(hex::decode(tool).ok()?).ok()?;
        (is_seal && Self::may_be_bound(id, &tool)).then(|| Self {
            kind,
            seal: seal.to_owned(),
            tool,
            id: id.to_owned(),
        })
    }

    /// Whether a server's handle and the tool that made it can be bound: visible ASCII that stands in JSON as it is.
    #[must_use]
    pub fn may_be_bound(id: &str, tool: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        !id.is_empty() && id.len() <= MOST_OF_ID && tool.len() <= MOST_OF_TOOL && id.bytes().all(plain)
    }

    /// The handle as the client has it.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { kind: _, seal, tool, id } = self;
        format!("{seal}.{}.{id}", hex::encode(tool))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_put_together_is_taken_apart() {
        let handle = Handle {
            kind: HandleKind::Task,
            seal: "0123456789abcdef0123456789abcdef".to_owned(),
            tool: "delete file".to_owned(),
            id: "a.b.c".to_owned(),
        };
        assert_eq!(Handle::parse(HandleKind::Task, &handle.text()), Some(handle));
    }

    #[test]
    fn what_is_no_handle_is_none() {
        let seal = "0123456789abcdef0123456789abcdef";
        for text in [
            "",
            ".",
            "..",
            "a..b",
            seal,
            &format!("{seal}.."),
            &format!("{seal}..a b"),
            &format!("{seal}..a\"b"),
            &format!("{seal}.!.a"),
            &format!("{}..a", seal.to_uppercase()),
            &format!("{seal}0..a"),
            &format!("{seal}..{}", "a".repeat(513)),
        ] {
            assert_eq!(Handle::parse(HandleKind::Session, text), None, "{text}");
        }
        assert!(Handle::parse(HandleKind::Session, &format!("{seal}..a")).is_some());
    }

    proptest! {
        #[test]
        fn a_text_has_one_reading(text in "[0-9a-f]{0,34}\\.{0,2}[a-zA-Z0-9_=-]{0,8}\\.{0,2}[ -~]{0,8}") {
            if let Some(handle) = Handle::parse(HandleKind::Task, &text) {
                prop_assert_eq!(handle.text(), text);
            }
        }
    }
}
