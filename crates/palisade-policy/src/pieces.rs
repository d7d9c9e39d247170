//! A long policy file in pieces that are parsed one after another.
//!
//! Parsing takes many times the memory of the text, so that a file of many megabytes would leave the process several
//! times as large as the policies need. A piece ends where a statement ends and with it the line, which only strings
//! and comments make hard to see.

use std::ops::Range;

/// From here on a piece ends at the next place where it can.
const LONG: usize = 64 * 1024;

/// Where the pieces of a text lie, in bytes. A short text is one piece.
pub(crate) fn of(text: &str) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut state = State::Code;
    for (at, byte) in text.bytes().enumerate() {
        state = state.after(byte);
        if state == State::Between && byte == b'\n' && at - begin >= LONG {
            pieces.push(begin..at + 1);
            begin = at + 1;
        }
    }
    if begin < text.len() || pieces.is_empty() {
        pieces.push(begin..text.len());
    }
    pieces
}

/// The deepest that brackets may nest in a statement.
const DEEPEST: usize = 100;
/// The most operators that may join the parts of a statement: a chain of them nests as deep as it is long.
const MOST_JOINED: usize = 256;
/// The most `else` of a statement.
const MOST_ELSE: usize = 100;

/// Where a statement nests deeper than can be read, validated and evaluated on any thread, and what of it does. Parsers of
/// expressions call themselves, and nothing catches a stack that is used up.
pub(crate) fn too_deep(text: &str) -> Option<(usize, String)> {
    let (mut state, mut nested, mut joined, mut alternatives) = (State::Code, 0_usize, 0, 0);
    let bytes = text.as_bytes();
    for (at, byte) in text.bytes().enumerate() {
        state = state.after(byte);
        match (state, byte) {
            (State::Between, b';') => (nested, joined, alternatives) = (0, 0, 0),
            (State::Code, b'(' | b'[' | b'{') => nested += 1,
            (State::Code, b')' | b']' | b'}') => nested = nested.saturating_sub(1),
            (State::Code, b'&' | b'|' | b'+' | b'-' | b'*') => {
                // `&&` and `||` are two bytes each.
                joined += if matches!(byte, b'&' | b'|') { 1 } else { 2 };
            }
            (State::Code, b'e') if bytes.get(at..at + 4) == Some(b"else") => alternatives += 1,
            (
                State::Code | State::Between | State::Slash | State::Comment | State::Text | State::Escape,
                _,
            ) => {}
        }
        let what = if nested > DEEPEST {
            format!("brackets nest more than {DEEPEST} deep")
        } else if joined > 2 * MOST_JOINED {
            format!("more than {MOST_JOINED} operators join the parts of one policy")
        } else if alternatives > MOST_ELSE {
            format!("one policy has more than {MOST_ELSE} `else`")
        } else {
            continue;
        };
        return Some((at, what));
    }
    None
}

/// What stands before a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A part of a statement.
    Code,
    /// The end of a statement and white space.
    Between,
    /// A slash, which may begin a comment.
    Slash,
    Comment,
    Text,
    /// A backslash in a string.
    Escape,
}

impl State {
    const fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Comment | Self::Slash, b'\n' | b'\r') => Self::Code,
            (Self::Comment, _) | (Self::Slash, b'/') => Self::Comment,
            (Self::Text, b'\\') => Self::Escape,
            (Self::Text, b'"') => Self::Code,
            (Self::Text | Self::Escape, _) | (Self::Code | Self::Between | Self::Slash, b'"') => Self::Text,
            (Self::Code | Self::Between, b'/') => Self::Slash,
            (Self::Code | Self::Slash | Self::Between, b';') => Self::Between,
            (Self::Between, b' ' | b'\t' | b'\r' | b'\n') => Self::Between,
            (Self::Code | Self::Between | Self::Slash, _) => Self::Code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_one_piece() {
        for text in ["", "permit (principal, action, resource);\n"] {
            let pieces = of(text);
            assert_eq!((pieces.len(), pieces[0].clone()), (1, 0..text.len()));
        }
    }

    #[test]
    fn pieces_end_with_a_statement_and_its_line_and_are_the_whole_text() {
        let statement = "// it's; \"open\n@id(\"a;\\\"\n\") permit (principal, action, resource) when { 4 / 2 like \"//;\n\" };  \n";
        let text = statement.repeat(3_000);
        let pieces = of(&text);
        assert!(pieces.len() > 2, "{}", pieces.len());
        let mut end = 0;
        for piece in pieces {
            assert_eq!(piece.start, end);
            assert!((piece.end - piece.start) % statement.len() == 0, "{piece:?}");
            end = piece.end;
        }
        assert_eq!(end, text.len());
    }

    #[test]
    fn what_nests_too_deep_is_found_and_what_only_repeats_is_not() {
        let policy =
            |condition: &str| format!("permit (principal, action, resource) when {{ {condition} }};\n");
        let nested = |deep| policy(&format!("{}true{}", "(".repeat(deep), ")".repeat(deep)));
        let joined = |terms: usize| policy(&vec!["context.a == 1"; terms].join(" || "));
        for fine in [
            nested(90),
            joined(250),
            joined(200).repeat(100),
            policy(&format!("\"{}\" == x", "((&&".repeat(500))),
        ] {
            assert_eq!(too_deep(&fine), None);
        }
        for deep in [
            nested(2_000),
            joined(300),
            policy(&"if a then b else ".repeat(200)),
            policy(&"1 + ".repeat(300)),
        ] {
            assert!(too_deep(&deep).is_some());
        }
    }

    #[test]
    fn where_no_statement_ends_with_its_line_there_is_one_piece() {
        let text = "permit (principal, action, resource); ".repeat(5_000);
        assert_eq!(of(&text).len(), 1);
    }
}
