//! The text of an operation, before anything else reads it.

/// How deep brackets may stand in each other. Whatever reads deeper ones calls itself for each, and the schema's own bounds come after that.
const DEEPEST: usize = 128;

/// Why a text is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Its brackets stand too deep in each other.
    Deep,
    /// It has a block string: what its indentation and its line ends come to is not the same for all who read it.
    Block,
}

impl Unreadable {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Deep => "the operation is nested too deeply",
            Self::Block => "block strings have more than one reading: say them as strings, or as variables",
        }
    }
}

/// Goes over the tokens of a text that may be any (GraphQL, section 2.1). What is no GraphQL is left to the parser.
pub(crate) fn read(text: &str) -> Result<(), Unreadable> {
    let mut depth = 0_usize;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '#' => {
                rest.find(|character| matches!(character, '\n' | '\r'));
            }
            '"' if rest.as_str().starts_with("\"\"") => return Err(Unreadable::Block),
            '"' => end_of_string(&mut rest),
            '{' | '[' | '(' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(Unreadable::Deep);
                }
            }
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Goes on to where a string ends, which is in its line.
fn end_of_string(rest: &mut std::str::Chars<'_>) {
    while let Some(character) = rest.next() {
        match character {
            '"' | '\n' | '\r' => return,
            '\\' => {
                rest.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
