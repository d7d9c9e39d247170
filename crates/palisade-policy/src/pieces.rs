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
    fn where_no_statement_ends_with_its_line_there_is_one_piece() {
        let text = "permit (principal, action, resource); ".repeat(5_000);
        assert_eq!(of(&text).len(), 1);
    }
}
