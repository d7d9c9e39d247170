//! The report: what became of every line of the source.
//!
//! An importer says of each key and rule what became of it: it carried over, nothing is needed, or it is left for the user.
//! What is left says why and what to do. Text of the source is in the report with its control characters escaped, so that
//! a name in a file cannot move the cursor of who reads it.

use std::fmt;

use serde::Serialize;

/// What became of a part of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The written files do what it did.
    Carried,
    /// It is not about authorization, or has no effect: nothing has to be done.
    NotNeeded,
    /// It is not in the written files, or not in force there: the user has to look at it.
    Left,
}

/// What became of one key or rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Its line, from 1; 0 where something is missing from the source.
    pub line: u64,
    /// The key's path, or the rule as the source writes it.
    pub what: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Where it went, or why it is left and what to do.
    pub detail: String,
    /// The resource whose permissions it gives, where it gives any.
    #[serde(skip)]
    permits: Option<String>,
}

/// What became of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The source, as its user named it.
    pub source: String,
    /// In the order of the source.
    pub lines: Vec<Finding>,
    /// What to know before the written files are used.
    pub hints: Vec<String>,
}

impl Report {
    /// Whether everything that matters carried over.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lines.iter().all(|finding| finding.outcome != Outcome::Left)
    }

    pub(crate) fn new(source: &str) -> Self {
        Self { source: printable(source), lines: Vec::new(), hints: Vec::new() }
    }

    /// A finding in another file than the source.
    pub(crate) fn say_of(
        &mut self,
        file: &str,
        line: u64,
        what: &str,
        outcome: Outcome,
        detail: impl AsRef<str>,
    ) {
        let finding = Finding {
            file: printable(file),
            line,
            what: printable(what),
            outcome,
            detail: printable(detail.as_ref()),
            permits: None,
        };
        self.lines.push(finding);
    }

    fn say(&mut self, line: u64, what: &str, outcome: Outcome, detail: impl AsRef<str>) {
        let source = self.source.clone();
        self.say_of(&source, line, what, outcome, detail);
    }

    pub(crate) fn carried(&mut self, line: u64, what: &str, detail: impl AsRef<str>) {
        self.say(line, what, Outcome::Carried, detail);
    }

    pub(crate) fn not_needed(&mut self, line: u64, what: &str, detail: impl AsRef<str>) {
        self.say(line, what, Outcome::NotNeeded, detail);
    }

    pub(crate) fn left(&mut self, line: u64, what: &str, detail: impl AsRef<str>) {
        self.say(line, what, Outcome::Left, detail);
    }

    /// A rule that carried over as permissions of `resource`.
    pub(crate) fn permitted(&mut self, line: u64, what: &str, resource: &str, detail: impl AsRef<str>) {
        self.carried(line, what, detail);
        if let Some(finding) = self.lines.last_mut() {
            finding.permits = Some(resource.to_owned());
        }
    }

    /// The permissions of `resource` are not in force: the lines they come from did not carry over.
    pub(crate) fn suspend(&mut self, resource: &str, reason: &str) {
        let given = |finding: &&mut Finding| finding.permits.as_deref() == Some(resource);
        for finding in self.lines.iter_mut().filter(given) {
            finding.outcome = Outcome::Left;
            finding.detail = format!("written as a comment, not in force: {reason}");
        }
    }

    pub(crate) fn hint(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.hints.contains(&text) {
            self.hints.push(text);
        }
    }

    pub(crate) fn sort(&mut self) {
        let Self { source, lines, .. } = self;
        lines.sort_by_key(|finding| (finding.file == *source, finding.line));
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.lines.iter().filter(|finding| finding.outcome == outcome).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.lines {
            let outcome = match finding.outcome {
                Outcome::Carried => "carried over",
                Outcome::NotNeeded => "not needed",
                Outcome::Left => "LEFT",
            };
            let Finding { file, line, what, detail, .. } = finding;
            writeln!(formatter, "{file}:{line}: {outcome}: {what}: {detail}")?;
        }
        for hint in &self.hints {
            writeln!(formatter, "note: {hint}")?;
        }
        writeln!(
            formatter,
            "{}: {} carried over, {} not needed, {} left",
            self.source,
            self.count(Outcome::Carried),
            self.count(Outcome::NotNeeded),
            self.count(Outcome::Left)
        )
    }
}

/// A text on one line, without control characters.
pub(crate) fn printable(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}
