//! Whether a series can be written, and what operators were told of it.
//!
//! The writer notes how every write came out; once a second it lets the next line into the log. Each series has its
//! own health: that a refusal can be counted says nothing about whether a decision can be recorded.
//!
//! It must not say more than one line a second: where a disk is nearly full, writes fail and succeed in turns.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use crate::{segment::SeriesName, status::lock};

/// How a write came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Writing {
    /// It succeeded.
    Written,
    /// It was only tried, and would succeed now.
    Possible,
    /// There was no room, and the operator chose to drop records then.
    Dropped,
    /// It failed.
    Failed(String),
}

/// The health of a series.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    error: Option<String>,
    dropping: bool,
    /// Whether the last line in the log says that there is trouble.
    told: bool,
    /// Whether there was a line in this second.
    spoke: bool,
}

impl Health {
    /// Whether the last write failed. That one would succeed now does not count: with `queued`, the next caller waits
    /// and finds out.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// Why nothing can be written. Dropping is no error: the operator chose it.
    pub(crate) fn error(&self) -> Option<String> {
        lock(&self.state).error.clone()
    }

    /// Whether nothing can be written, for whatever reason.
    pub(crate) fn in_trouble(&self) -> bool {
        let state = lock(&self.state);
        state.dropping || state.error.is_some()
    }

    pub(crate) fn note(&self, series: SeriesName, writing: Writing) {
        let failing = self.is_failing();
        match &writing {
            Writing::Written if !failing => return,
            Writing::Written => self.failing.store(false, Ordering::Release),
            Writing::Possible => {}
            Writing::Dropped | Writing::Failed(_) => self.failing.store(true, Ordering::Release),
        }
        let mut state = lock(&self.state);
        state.dropping = writing == Writing::Dropped;
        state.error = match writing {
            Writing::Failed(error) => Some(error),
            Writing::Written | Writing::Possible | Writing::Dropped => None,
        };
        state.tell(series);
    }

    /// Lets the next line into the log, and catches up with what could not be said.
    pub(crate) fn each_second(&self, series: SeriesName) {
        let mut state = lock(&self.state);
        state.spoke = false;
        state.tell(series);
    }
}

impl State {
    fn tell(&mut self, series: SeriesName) {
        let trouble = self.dropping || self.error.is_some();
        if self.spoke || self.told == trouble {
            return;
        }
        (self.told, self.spoke) = (trouble, true);
        let series = series.as_str();
        match &self.error {
            Some(error) => tracing::error!(error, series, "the decision log cannot be written"),
            None if self.dropping => tracing::error!(series, "the decision log is full: records are dropped"),
            None => tracing::info!(series, "the decision log can be written again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: SeriesName = SeriesName::Decisions;

    #[test]
    fn only_a_write_ends_a_failure_and_only_a_failure_is_an_error() {
        let health = Health::default();
        for (writing, failing, error, trouble) in [
            (Writing::Written, false, None, false),
            (Writing::Failed("a".to_owned()), true, Some("a"), true),
            (Writing::Possible, true, None, false),
            (Writing::Dropped, true, None, true),
            (Writing::Failed("b".to_owned()), true, Some("b"), true),
            (Writing::Written, false, None, false),
        ] {
            health.note(SERIES, writing.clone());
            let seen = (health.is_failing(), health.error(), health.in_trouble());
            assert_eq!(seen, (failing, error.map(str::to_owned), trouble), "{writing:?}");
        }
    }

    #[test]
    fn one_line_a_second_and_the_last_state_is_told() {
        let health = Health::default();
        let told = || {
            let state = lock(&health.state);
            (state.told, state.spoke)
        };
        health.note(SERIES, Writing::Failed("a".to_owned()));
        assert_eq!(told(), (true, true));
        health.note(SERIES, Writing::Written);
        assert_eq!(told(), (true, true), "the second is not over");
        health.each_second(SERIES);
        assert_eq!(told(), (false, true));
        health.each_second(SERIES);
        assert_eq!(told(), (false, false));
    }
}
