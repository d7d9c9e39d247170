//! What is wrong with a file, where, and what to do about it.
//!
//! Everything that reads files in this crate answers with these; Cedar's own errors are carried over with their
//! position and advice. A diagnostic never holds more of a file than the name it complains about.

use std::fmt;

use serde::Serialize;

use crate::{SourceFile, lints::Lint};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The files cannot be used.
    Error,
    /// The files can be used, and probably do not say what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One finding. Printed as `file:line:column: warning[lint]: message`, with the fix on a second line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The lint that found it; none for what loading finds.
    pub lint: Option<Lint>,
    /// The path of the file.
    pub file: String,
    /// The line, from 1; 0 where the finding is about the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 where the finding is about the file as a whole.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error about a whole file.
    #[must_use]
    pub fn error(file: impl Into<String>, message: impl Into<String>) -> Self {
        let (file, message) = (file.into(), message.into());
        Self { severity: Severity::Error, lint: None, file, line: 0, column: 0, message, help: None }
    }

    pub(crate) fn at(mut self, (line, column): (usize, usize)) -> Self {
        (self.line, self.column) = (line, column);
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// A warning by a lint.
    pub(crate) fn of(lint: Lint, file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, lint: Some(lint), ..Self::error(file, message) }
    }

    /// What Cedar says about a file. Where it gives no position, `fallback` is one.
    pub(crate) fn from_cedar(
        error: &dyn miette::Diagnostic,
        file: &SourceFile,
        fallback: (usize, usize),
    ) -> Self {
        let mut labels = error.labels().into_iter().flatten();
        let label = labels.next();
        let place = label.as_ref().map_or(fallback, |label| position(&file.text, label.offset()));
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            let text = source.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = source.source();
        }
        if let Some(note) =
            label.as_ref().and_then(|label| label.label()).filter(|note| !message.contains(note))
        {
            message = format!("{message}: {note}");
        }
        let mut diagnostic = Self::error(&file.path, message).at(place);
        diagnostic.help = error.help().map(|help| help.to_string());
        diagnostic
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if self.line > 0 {
            write!(formatter, ":{}:{}", self.line, self.column)?;
        }
        write!(formatter, ": {}", self.severity)?;
        if let Some(lint) = self.lint {
            write!(formatter, "[{lint}]")?;
        }
        write!(formatter, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(formatter, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// The line and column, from 1, of a byte offset; past the end it is the end.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    Lines::of(text).position(offset)
}

/// Where the lines of a text begin, for whoever asks for many positions.
pub(crate) struct Lines<'a> {
    text: &'a str,
    begins: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, begins: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// The line and column, from 1, of a byte offset; past the end it is the end.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.begins.partition_point(|begin| *begin <= offset);
        let begin = self.begins.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let rest = self.text.get(begin..).unwrap_or_default();
        let column = rest.char_indices().take_while(|(at, _)| begin + at < offset).count();
        (line, column + 1)
    }
}

/// The known name that is nearest to an unknown one, if any is near.
pub(crate) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ab\nçd\n";
        for (offset, place) in [(0, (1, 1)), (1, (1, 2)), (3, (2, 1)), (5, (2, 2)), (99, (3, 1))] {
            assert_eq!(position(text, offset), place, "{offset}");
        }
    }

    #[test]
    fn a_finding_names_file_line_and_fix() {
        let finding = Diagnostic::error("a.cedar", "no such thing").at((3, 7)).help("use another");
        assert_eq!(finding.to_string(), "a.cedar:3:7: error: no such thing\n  help: use another");
        assert_eq!(Diagnostic::error("b", "gone").warning().to_string(), "b: warning: gone");
        let lint = Diagnostic::of(Lint::MissingId, "b", "has no name");
        assert_eq!(lint.to_string(), "b: warning[missing-id]: has no name");
    }

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("actoin", ["action", "target"]), Some("action"));
        assert_eq!(nearest("zzz", ["action", "target"]), None);
    }
}
