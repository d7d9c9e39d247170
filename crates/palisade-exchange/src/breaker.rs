//! Whether a provider may be asked now.
//!
//! After some failures in a row that are the provider's own, nobody asks it for a while; then one request tries, and the
//! pause is doubled if it fails, too. A provider that says when to come back is not asked before.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::failure::LONGEST_AWAY;

/// How many failures in a row open it.
const FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
    /// How often it was closed. What was sent before that says nothing of the provider now.
    closings: u64,
}

/// The leave to ask once, to be handed back with how it went.
#[derive(Debug, Clone, Copy)]
#[must_use = "the breaker waits for how it went"]
pub(crate) struct Leave {
    closings: u64,
}

/// What an answer says of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// That it answers, whatever it was.
    Answers,
    /// That it does not answer, or not so that it could be read.
    Fails,
    /// That it answers this request no more for now. So many users can be told so that it is the provider's own state.
    Throttles(Duration),
    /// That nobody is to come back before.
    SendsAway(Duration),
}

impl Breaker {
    /// Whether the provider may be asked.
    ///
    /// # Errors
    /// For how long not.
    pub(crate) fn enter(&self, now: Instant) -> Result<Leave, Duration> {
        let mut state = self.state();
        let leave = Leave { closings: state.closings };
        let Some(until) = state.closed_until else { return Ok(leave) };
        if now < until {
            return Err(until - now);
        }
        if state.trying {
            return Err(FIRST_PAUSE);
        }
        state.trying = true;
        Ok(leave)
    }

    /// How it went.
    pub(crate) fn went(&self, leave: Leave, now: Instant, health: Health) {
        let mut state = self.state();
        if leave.closings != state.closings {
            return;
        }
        match health {
            Health::Answers => *state = State { closings: state.closings, ..State::default() },
            Health::Fails => state.count(now, Duration::ZERO),
            Health::Throttles(pause) => state.count(now, pause.min(LONGEST_AWAY)),
            Health::SendsAway(pause) => state.close(now, pause.min(LONGEST_AWAY)),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a failure. After enough of them, and after each trial that fails, nobody asks for a while.
    fn count(&mut self, now: Instant, at_least: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.trying = false;
        if self.failures >= FAILURES {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.close(now, self.pause.max(at_least));
        }
    }

    fn close(&mut self, now: Instant, pause: Duration) {
        self.trying = false;
        self.closed_until = Some(now + pause);
        self.closings += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_five_failures_nobody_asks_and_then_one_tries() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..5 {
            let leave = breaker.enter(now).unwrap();
            breaker.went(leave, now, Health::Fails);
        }
        assert_eq!(breaker.enter(now).unwrap_err(), FIRST_PAUSE);
        let later = now + FIRST_PAUSE;
        let trial = breaker.enter(later).unwrap();
        assert!(breaker.enter(later).is_err(), "one tries, not all");
        breaker.went(trial, later, Health::Fails);
        assert_eq!(breaker.enter(later).unwrap_err(), FIRST_PAUSE * 2, "the pause is doubled");
        let later = later + FIRST_PAUSE * 2;
        let trial = breaker.enter(later).unwrap();
        breaker.went(trial, later, Health::Answers);
        let _first = breaker.enter(later).unwrap();
        let _second = breaker.enter(later).unwrap();
    }

    #[test]
    fn who_is_sent_away_comes_back_when_it_is_told_but_not_later_than_that() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let leave = breaker.enter(now).unwrap();
        breaker.went(leave, now, Health::SendsAway(Duration::from_secs(7)));
        assert_eq!(breaker.enter(now).unwrap_err(), Duration::from_secs(7));
        let later = now + Duration::from_secs(7);
        let leave = breaker.enter(later).unwrap();
        breaker.went(leave, later, Health::SendsAway(Duration::from_secs(1_000_000)));
        assert_eq!(breaker.enter(later).unwrap_err(), LONGEST_AWAY);
    }

    #[test]
    fn those_under_way_together_count_as_one_outage() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let leaves: Vec<Leave> = (0..50).map(|_| breaker.enter(now).unwrap()).collect();
        for leave in &leaves[..40] {
            breaker.went(*leave, now, Health::Fails);
        }
        assert_eq!(breaker.enter(now).unwrap_err(), FIRST_PAUSE);
        // Nor does what was sent before open it again.
        for leave in &leaves[40..] {
            breaker.went(*leave, now, Health::Answers);
        }
        assert_eq!(breaker.enter(now).unwrap_err(), FIRST_PAUSE);
    }

    #[test]
    fn one_who_is_throttled_keeps_nobody_else_away_and_many_do() {
        let (breaker, now, pause) = (Breaker::default(), Instant::now(), Duration::from_secs(90));
        for _ in 0..4 {
            let leave = breaker.enter(now).unwrap();
            breaker.went(leave, now, Health::Throttles(pause));
        }
        let leave = breaker.enter(now).unwrap();
        breaker.went(leave, now, Health::Throttles(pause));
        assert_eq!(breaker.enter(now).unwrap_err(), pause);
    }
}
