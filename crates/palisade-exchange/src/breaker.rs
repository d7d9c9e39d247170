//! Whether a provider may be asked now.
//!
//! After some failures in a row that are the provider's own, nobody asks it for a while; then one request tries, and the
//! pause is doubled if it fails, too. A provider that says when to come back is not asked before.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many failures in a row open it.
const FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest that a provider can send us away for.
const LONGEST_AWAY: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    pause: Duration,
    /// Nobody asks before; afterwards one does.
    closed_until: Option<Instant>,
    /// Whether one is trying after a pause.
    trying: bool,
}

impl Breaker {
    /// Whether the provider may be asked.
    ///
    /// # Errors
    /// For how long not.
    pub(crate) fn enter(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state();
        let Some(until) = state.closed_until else { return Ok(()) };
        if now < until {
            return Err(until - now);
        }
        if state.trying {
            return Err(FIRST_PAUSE);
        }
        state.trying = true;
        Ok(())
    }

    /// The provider answered, whatever it was.
    pub(crate) fn answered(&self) {
        *self.state() = State::default();
    }

    /// The provider did not answer, or not so that it could be read.
    pub(crate) fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        state.trying = false;
        if state.failures >= FAILURES {
            state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            state.closed_until = Some(now + state.pause);
        }
    }

    /// The provider says when to come back.
    pub(crate) fn sent_away(&self, now: Instant, retry_after: Duration) {
        let mut state = self.state();
        state.trying = false;
        state.closed_until = Some(now + retry_after.min(LONGEST_AWAY));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_five_failures_nobody_asks_and_then_one_tries() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..5 {
            breaker.enter(now).unwrap();
            breaker.failed(now);
        }
        assert_eq!(breaker.enter(now), Err(FIRST_PAUSE));
        let later = now + FIRST_PAUSE;
        breaker.enter(later).unwrap();
        assert!(breaker.enter(later).is_err(), "one tries, not all");
        breaker.failed(later);
        assert_eq!(breaker.enter(later), Err(FIRST_PAUSE * 2), "the pause is doubled");
        let later = later + FIRST_PAUSE * 2;
        breaker.enter(later).unwrap();
        breaker.answered();
        breaker.enter(later).unwrap();
        breaker.enter(later).unwrap();
    }

    #[test]
    fn who_is_sent_away_comes_back_when_it_is_told_but_not_later_than_that() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.sent_away(now, Duration::from_secs(7));
        assert_eq!(breaker.enter(now), Err(Duration::from_secs(7)));
        let later = now + Duration::from_secs(7);
        breaker.enter(later).unwrap();
        breaker.sent_away(later, Duration::from_secs(1_000_000));
        assert_eq!(breaker.enter(later), Err(LONGEST_AWAY));
    }
}
