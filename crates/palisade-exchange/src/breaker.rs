//! Whether a provider may be asked now, and for whom.
//!
//! After some failures in a row that are the provider's own, nobody asks it for a while; then one request tries, and the
//! pause is doubled if it fails, too. A failure may be one subject's own doing, as with a token that some gateway in front of the
//! provider dislikes: so what counts for all is how many subjects failed in a row, and one whose requests fail again and
//! again is left out alone, in the same way. A provider that says when to come back is not asked before.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use palisade_model::Subject;
use tokio::time::Instant;

use crate::failure::LONGEST_AWAY;

/// How many subjects fail in a row before nobody asks; and how often one does, before that one does not.
const FAILURES: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The most subjects of whom something is known. One that is forgotten may fail as often as in the beginning.
const MOST_SUBJECTS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: Mutex<State>,
    hash: RandomState,
}

#[derive(Debug, Default)]
struct State {
    provider: Circuit,
    /// Who failed since somebody was answered last.
    row: HashSet<Who>,
    /// Of those whose last request failed.
    subjects: HashMap<Who, One>,
}

/// A subject, as one of many. Two that are taken for one share their failures and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Who(u64);

/// One subject.
#[derive(Debug, Default)]
struct One {
    failures: usize,
    circuit: Circuit,
}

/// Whether something is asked.
#[derive(Debug, Default)]
struct Circuit {
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
    who: Who,
    closings: u64,
    own_closings: u64,
}

/// What an answer says of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// That it answers, whatever it was.
    Answers,
    /// Nothing: it was not asked.
    Unasked,
    /// That it does not answer, or not so that it could be read.
    Fails,
    /// That it answers this request no more for now. So many users can be told so that it is the provider's own state.
    Throttles(Duration),
    /// That nobody is to come back before. One such answer is enough, whoever got it: the provider has asked for it, and to do
    /// as it asks is bounded by the longest that anybody is sent away for. It counts as a failure beside, so that one that sends
    /// everybody away for no time at all is left alone as any other that fails.
    SendsAway(Duration),
}

impl Breaker {
    /// Who asks.
    pub(crate) fn who(&self, subject: &Subject) -> Who {
        Who(self.hash.hash_one((subject.kind.type_name(), &subject.id)))
    }

    /// Whether the provider may be asked for this one.
    ///
    /// # Errors
    /// For how long not.
    pub(crate) fn enter(&self, who: Who, now: Instant) -> Result<Leave, Duration> {
        let mut state = self.state();
        let state = &mut *state;
        let mut own = state.subjects.get_mut(&who).map(|one| &mut one.circuit);
        let left = [state.provider.left(now), own.as_ref().and_then(|own| own.left(now))];
        if let Some(left) = left.into_iter().flatten().max() {
            return Err(left);
        }
        let own_closings = own.as_mut().map_or(0, |own| own.enter());
        Ok(Leave { who, closings: state.provider.enter(), own_closings })
    }

    /// How it went.
    pub(crate) fn went(&self, leave: Leave, now: Instant, health: Health) {
        let mut state = self.state();
        let pause = match health {
            Health::Answers => return state.answered(leave),
            Health::Unasked => return state.unasked(leave),
            Health::Fails => Duration::ZERO,
            Health::Throttles(pause) | Health::SendsAway(pause) => pause.min(LONGEST_AWAY),
        };
        state.failed_for(leave, now, pause);
        let everybody = matches!(health, Health::SendsAway(_)).then_some(pause.max(FIRST_PAUSE));
        state.failed(leave, now, (pause, everybody));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whoever comes next may try.
    fn unasked(&mut self, leave: Leave) {
        let own = self.subjects.get_mut(&leave.who).map(|one| &mut one.circuit);
        if let Some(own) = own.filter(|own| own.closings == leave.own_closings) {
            own.trying = false;
        }
        if leave.closings == self.provider.closings {
            self.provider.trying = false;
        }
    }

    fn answered(&mut self, leave: Leave) {
        if self.subjects.get(&leave.who).is_some_and(|one| one.circuit.closings == leave.own_closings) {
            self.subjects.remove(&leave.who);
        }
        if leave.closings == self.provider.closings {
            self.provider.open();
            self.row.clear();
        }
    }

    /// Counts a failure of one subject. After enough of them, and after each trial that fails, nobody asks for it for a while.
    fn failed_for(&mut self, leave: Leave, now: Instant, at_least: Duration) {
        if self.subjects.len() >= MOST_SUBJECTS && !self.subjects.contains_key(&leave.who) {
            self.subjects.clear();
        }
        let one = self.subjects.entry(leave.who).or_default();
        if one.circuit.closings != leave.own_closings {
            return;
        }
        one.failures = one.failures.saturating_add(1);
        one.circuit.trying = false;
        if one.failures >= FAILURES {
            one.circuit.close_longer(now, at_least);
        }
    }

    /// The same of the provider. `everybody` is what it asks of all of us.
    fn failed(&mut self, leave: Leave, now: Instant, (at_least, everybody): (Duration, Option<Duration>)) {
        if leave.closings != self.provider.closings {
            return;
        }
        // Once it is closed for its failures it does not matter who else fails.
        if self.row.len() < FAILURES {
            self.row.insert(leave.who);
        }
        self.provider.trying = false;
        // Whose requests fail again and again says nothing new of the provider by a trial, and could win them all.
        let again = self.subjects.get(&leave.who).is_some_and(|one| one.failures > 1);
        let is_trial = self.provider.closed_until.is_some();
        if self.row.len() >= FAILURES && is_trial && again {
            self.provider.close(now, FIRST_PAUSE);
        } else if self.row.len() >= FAILURES {
            self.provider.close_longer(now, at_least);
        } else if let Some(pause) = everybody {
            self.provider.close(now, pause);
        }
    }
}

impl Circuit {
    /// For how long nobody may ask.
    fn left(&self, now: Instant) -> Option<Duration> {
        let until = self.closed_until?;
        if now < until { Some(until - now) } else { self.trying.then_some(FIRST_PAUSE) }
    }

    /// Lets one ask, where somebody may.
    fn enter(&mut self) -> u64 {
        self.trying = self.closed_until.is_some();
        self.closings
    }

    fn open(&mut self) {
        *self = Self { closings: self.closings, ..Self::default() };
    }

    fn close_longer(&mut self, now: Instant, at_least: Duration) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.close(now, self.pause.max(at_least));
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

    /// As many as are needed to find that it is the provider, each once.
    fn fail(breaker: &Breaker, now: Instant, health: Health) {
        for who in 100..100 + FAILURES as u64 {
            let leave = breaker.enter(Who(who), now).unwrap();
            breaker.went(leave, now, health);
        }
    }

    #[test]
    fn after_five_have_failed_nobody_asks_and_then_one_tries() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        fail(&breaker, now, Health::Fails);
        assert_eq!(breaker.enter(Who(1), now).unwrap_err(), FIRST_PAUSE);
        let later = now + FIRST_PAUSE;
        let trial = breaker.enter(Who(1), later).unwrap();
        assert!(breaker.enter(Who(2), later).is_err(), "one tries, not all");
        breaker.went(trial, later, Health::Fails);
        assert_eq!(breaker.enter(Who(2), later).unwrap_err(), FIRST_PAUSE * 2, "the pause is doubled");
        let later = later + FIRST_PAUSE * 2;
        let trial = breaker.enter(Who(2), later).unwrap();
        breaker.went(trial, later, Health::Answers);
        let _first = breaker.enter(Who(3), later).unwrap();
        let _second = breaker.enter(Who(4), later).unwrap();
    }

    #[test]
    fn a_trial_in_which_nobody_was_asked_says_nothing() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        fail(&breaker, now, Health::Fails);
        let later = now + FIRST_PAUSE;
        for who in [1, 2] {
            let trial = breaker.enter(Who(who), later).unwrap();
            assert!(breaker.enter(Who(3), later).is_err());
            breaker.went(trial, later, Health::Unasked);
        }
        let trial = breaker.enter(Who(4), later).unwrap();
        breaker.went(trial, later, Health::Fails);
        assert_eq!(breaker.enter(Who(4), later).unwrap_err(), FIRST_PAUSE * 2, "it was closed all the time");
    }

    #[test]
    fn one_who_fails_again_and_again_is_left_out_alone() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES {
            let leave = breaker.enter(Who(1), now).unwrap();
            breaker.went(leave, now, Health::Fails);
        }
        assert_eq!(breaker.enter(Who(1), now).unwrap_err(), FIRST_PAUSE);
        let other = breaker.enter(Who(2), now).unwrap();
        breaker.went(other, now, Health::Answers);
        let later = now + FIRST_PAUSE;
        let trial = breaker.enter(Who(1), later).unwrap();
        assert!(breaker.enter(Who(1), later).is_err(), "one of the same tries, not all");
        breaker.went(trial, later, Health::Fails);
        assert_eq!(breaker.enter(Who(1), later).unwrap_err(), FIRST_PAUSE * 2);
        let later = later + FIRST_PAUSE * 2;
        let trial = breaker.enter(Who(1), later).unwrap();
        breaker.went(trial, later, Health::Answers);
        let _again = breaker.enter(Who(1), later).unwrap();
        assert!(breaker.state().subjects.is_empty());
    }

    #[test]
    fn whoever_is_answered_ends_the_row() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for round in 0..10 {
            for who in 0..FAILURES as u64 - 1 {
                let leave = breaker.enter(Who(100 * round + who), now).unwrap();
                breaker.went(leave, now, Health::Fails);
            }
            let answered = breaker.enter(Who(1_000_000), now).unwrap();
            breaker.went(answered, now, Health::Answers);
        }
        assert!(breaker.enter(Who(2_000_000), now).is_ok());
    }

    #[test]
    fn of_many_subjects_only_so_much_is_kept() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for who in 0..2 * MOST_SUBJECTS as u64 {
            breaker.state().failed_for(
                Leave { who: Who(who), closings: 0, own_closings: 0 },
                now,
                FIRST_PAUSE,
            );
        }
        assert!(breaker.state().subjects.len() <= MOST_SUBJECTS);
    }

    #[test]
    fn who_is_sent_away_comes_back_when_it_is_told_but_not_later_than_that() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let leave = breaker.enter(Who(1), now).unwrap();
        breaker.went(leave, now, Health::SendsAway(Duration::from_secs(7)));
        assert_eq!(breaker.enter(Who(2), now).unwrap_err(), Duration::from_secs(7));
        let later = now + Duration::from_secs(7);
        let leave = breaker.enter(Who(2), later).unwrap();
        breaker.went(leave, later, Health::SendsAway(Duration::from_secs(1_000_000)));
        assert_eq!(breaker.enter(Who(1), later).unwrap_err(), LONGEST_AWAY);
    }

    #[test]
    fn who_is_sent_away_for_no_time_is_away_for_a_while_and_longer_each_time() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        let mut pauses = Vec::new();
        for who in 0..8 {
            let leave = breaker.enter(Who(who), now).unwrap();
            breaker.went(leave, now, Health::SendsAway(Duration::ZERO));
            let pause = breaker.enter(Who(100), now).unwrap_err();
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [2, 2, 2, 2, 2, 4, 8, 16]);
    }

    #[test]
    fn those_under_way_together_count_as_one_outage() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let leaves: Vec<Leave> = (0..50).map(|who| breaker.enter(Who(who), now).unwrap()).collect();
        for leave in &leaves[..40] {
            breaker.went(*leave, now, Health::Fails);
        }
        assert_eq!(breaker.enter(Who(100), now).unwrap_err(), FIRST_PAUSE);
        // Nor does what was sent before open it again.
        for leave in &leaves[40..] {
            breaker.went(*leave, now, Health::Answers);
        }
        assert_eq!(breaker.enter(Who(100), now).unwrap_err(), FIRST_PAUSE);
    }

    #[test]
    fn one_who_is_throttled_keeps_nobody_else_away_and_many_do() {
        let (breaker, now, pause) = (Breaker::default(), Instant::now(), Duration::from_secs(90));
        for _ in 0..FAILURES {
            let leave = breaker.enter(Who(1), now).unwrap();
            breaker.went(leave, now, Health::Throttles(pause));
        }
        assert_eq!(breaker.enter(Who(1), now).unwrap_err(), pause);
        assert!(breaker.enter(Who(2), now).is_ok());
        let breaker = Breaker::default();
        fail(&breaker, now, Health::Throttles(pause));
        assert_eq!(breaker.enter(Who(2), now).unwrap_err(), pause);
    }

    #[test]
    fn one_who_always_fails_keeps_nobody_else_away_for_long() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        fail(&breaker, now, Health::Fails);
        now += FIRST_PAUSE;
        // Until it is left alone itself.
        while let Ok(trial) = breaker.enter(Who(100), now) {
            breaker.went(trial, now, Health::Throttles(Duration::from_secs(300)));
            assert_eq!(breaker.enter(Who(1), now).unwrap_err(), FIRST_PAUSE);
            now += FIRST_PAUSE;
        }
        let other = breaker.enter(Who(1), now + FIRST_PAUSE).unwrap();
        breaker.went(other, now + FIRST_PAUSE, Health::Answers);
        let _next = breaker.enter(Who(2), now + FIRST_PAUSE).unwrap();
    }
}
