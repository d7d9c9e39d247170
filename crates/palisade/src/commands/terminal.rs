//! What text from outside looks like on a terminal.

/// A text on one line, without characters that a terminal obeys: a name in a record must neither move the cursor of who
/// reads it nor turn the line around.
pub(crate) fn printable(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || turns_or_breaks(character) {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// The same with its lines left as they are, for a report or an error as a whole.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Says on standard error why something was not done.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("palisade: {}", printable_lines(&format!("{error:#}")));
}

/// Whether a character changes the direction of text or begins a line without being a control character.
fn turns_or_breaks(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        for (text, plain) in [
            ("a\u{1b}[31mb\nc\u{9b}d é", "a\\u{1b}[31mb\\nc\\u{9b}d é"),
            ("\u{202a}\u{202e}\u{2066}\u{2069}", "\\u{202a}\\u{202e}\\u{2066}\\u{2069}"),
            ("\u{200e}\u{200f}\u{61c}\u{2028}", "\\u{200e}\\u{200f}\\u{61c}\\u{2028}"),
        ] {
            assert_eq!(printable(text), plain);
            assert_eq!(printable(plain), plain, "once is as good as twice");
        }
        assert_eq!(printable_lines("a\u{1b}\n\n  b\r\n"), "a\\u{1b}\n\n  b\\r\n");
    }
}
