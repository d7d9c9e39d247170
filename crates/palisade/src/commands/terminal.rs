//! What text from outside looks like on a terminal.

/// A text without control characters: a name in a record must not move the cursor of who reads it.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_default());
            let plain = (!character.is_control()).then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{9b}d é"), "a\\u{1b}[31mb\\nc\\u{9b}d é");
    }
}
