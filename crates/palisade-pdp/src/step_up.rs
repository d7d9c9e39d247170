//! How often a subject is shown a challenge, so that no client loops through consent screens and nobody probes the
//! policies: after 5 equal or 30 differing challenges within a minute, denials are plain, and nothing is searched for.
//! Searches that find nothing cost as much as those that do, so they are bounded as well.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use palisade_model::Timestamp;

use crate::Remedy;

const WINDOW: Duration = Duration::from_secs(60);
const MOST_EQUAL: u32 = 5;
const MOST_DIFFERING: usize = 30;
const MOST_SEARCHES: u32 = 300;
const MOST_SUBJECTS: u64 = 100_000;

/// The challenges of the last minute, by subject.
#[derive(Debug)]
pub(crate) struct Challenges(Cache<String, Arc<Mutex<Shown>>>);

#[derive(Debug)]
struct Shown {
    since: Timestamp,
    searches: u32,
    times: HashMap<String, u32>,
}

impl Shown {
    fn new(since: Timestamp) -> Self {
        Self { since, searches: 0, times: HashMap::new() }
    }

    fn is_exhausted(&self) -> bool {
        self.times.len() >= MOST_DIFFERING || self.times.values().any(|times| *times >= MOST_EQUAL)
    }
}

impl Challenges {
    pub(crate) fn new() -> Self {
        Self(Cache::builder().max_capacity(MOST_SUBJECTS).time_to_live(WINDOW).build())
    }

    /// Whether a remedy may be searched for on behalf of this subject; counts the search.
    pub(crate) fn may_search(&self, subject: &str, now: Timestamp) -> bool {
        self.with(subject, now, |shown| {
            shown.searches = shown.searches.saturating_add(1);
            shown.searches <= MOST_SEARCHES && !shown.is_exhausted()
        })
    }

    /// Notes that this challenge is shown.
    pub(crate) fn note(&self, subject: &str, remedy: &Remedy, now: Timestamp) {
        self.with(subject, now, |shown| {
            let times = shown.times.entry(format!("{remedy:?}")).or_insert(0);
            *times = times.saturating_add(1);
        });
    }

    fn with<T>(&self, subject: &str, now: Timestamp, act: impl FnOnce(&mut Shown) -> T) -> T {
        let shown = self.0.get_with(subject.to_owned(), || Arc::new(Mutex::new(Shown::new(now))));
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(shown.since) >= WINDOW {
            *shown = Shown::new(now);
        }
        act(&mut shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acr(value: &str) -> Remedy {
        Remedy::Authentication { acr_values: vec![value.to_owned()], max_age: None }
    }

    /// What happens to one more denial that this remedy would mend.
    fn shows(challenges: &Challenges, subject: &str, remedy: &Remedy, now: Timestamp) -> bool {
        let may = challenges.may_search(subject, now);
        if may {
            challenges.note(subject, remedy, now);
        }
        may
    }

    #[test]
    fn after_five_equal_challenges_of_a_minute_denials_are_plain() {
        let challenges = Challenges::new();
        let now = Timestamp::from_unix_seconds(1_000);
        for _ in 0..5 {
            assert!(shows(&challenges, "a", &acr("x"), now));
        }
        assert!(!shows(&challenges, "a", &acr("x"), now));
        assert!(!shows(&challenges, "a", &acr("y"), now));
        assert!(shows(&challenges, "b", &acr("x"), now));
        assert!(shows(&challenges, "a", &acr("x"), now.plus(WINDOW)));
    }

    #[test]
    fn after_thirty_differing_challenges_of_a_minute_denials_are_plain() {
        let challenges = Challenges::new();
        let now = Timestamp::from_unix_seconds(1_000);
        for number in 0..30 {
            assert!(shows(&challenges, "a", &acr(&number.to_string()), now));
        }
        assert!(!shows(&challenges, "a", &acr("one more"), now));
    }

    #[test]
    fn searches_that_find_nothing_are_bounded() {
        let challenges = Challenges::new();
        let now = Timestamp::from_unix_seconds(1_000);
        assert!((0..300).all(|_| challenges.may_search("a", now)));
        assert!(!challenges.may_search("a", now));
    }
}
