//! What is limited, and whose it is.

use std::time::Duration;

/// So much in any time of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How much.
    pub most: u32,
    /// In what time.
    pub within: Duration,
}

/// After how many failures somebody is blocked, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The failures, the last of which blocks.
    pub failures: Budget,
    /// For how long.
    pub lasts: Duration,
}

/// Whose a budget is. No two have the same text: every part has its length before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder(String);

impl Holder {
    /// The holder that these parts name together.
    #[must_use]
    pub fn new(parts: &[&str]) -> Self {
        let mut text = String::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            text.push_str(&part.len().to_string());
            text.push(':');
            text.push_str(part);
        }
        Self(text)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// What somebody wants of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// Whose budget.
    pub holder: Holder,
    /// The budget.
    pub budget: Budget,
    /// How much of it.
    pub count: u32,
}

/// A budget that does not hold as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// The place among the draws.
    pub which: usize,
    /// When it may hold as much.
    pub wait: Duration,
}
