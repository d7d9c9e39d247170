//! How much an operation may ask for.
//!
//! Fragments multiply: thirty of them, each of which spreads the next one twice, are a billion fields in a kilobyte.
//! So what an operation comes to is counted before anything is expanded, a fragment once ([`crate::measure`]), and
//! everything after that may go through the operation spread by spread.

/// The bounds of an operation. All counts are of what its execution selects: a fragment counts at every spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of the document.
    pub tokens: usize,
    /// Levels of fields.
    pub depth: usize,
    /// Aliases.
    pub aliases: usize,
    /// Selections: fields, spreads and inline fragments.
    pub fields: usize,
    /// Definitions of fragments.
    pub fragments: usize,
    /// Applications of directives.
    pub directives: usize,
    /// Bytes of all variables and arguments together: of each question's, also about an interface's implementers.
    pub arguments: usize,
    /// Different questions about fields, with those that an interface's implementers bring.
    pub questions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tokens: 15_000,
            depth: 32,
            aliases: 500,
            fields: 5_000,
            fragments: 200,
            directives: 500,
            arguments: 1024 * 1024,
            questions: 5_000,
        }
    }
}

/// The most levels of syntax, and of selection sets with those of fragments. What goes through a document goes down
/// this far at most, on any thread's stack.
pub(crate) const NESTING: usize = 100;
