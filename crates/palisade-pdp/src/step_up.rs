//! How often a subject is shown a challenge, so that no client loops through consent screens and nobody probes the
//! policies: after 5 equal or 30 differing challenges within a minute, denials are plain.

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
const MOST_SUBJECTS: u64 = 100_000;

/// The challenges of the last minute, by subject.
#[derive(Debug)]
pub(crate) struct Challenges(Cache<String, Arc<Mutex<Shown>>>);

#[derive(Debug)]
struct Shown {
    since: Timestamp,
    times: HashMap<String, u32>,
}

impl Challenges {
    pub(crate) fn new() -> Self {
        Self(Cache::builder().max_capacity(MOST_SUBJECTS).time_to_live(WINDOW).build())
    }

    /// Whether this challenge may be shown to this subject once more; counts it if so.
    pub(crate) fn may_show(&self, subject: &str, remedy: &Remedy, now: Timestamp) -> bool {
        let shown = self.0.get_with(subject.to_owned(), || {
            Arc::new(Mutex::new(Shown { since: now, times: HashMap::new() }))
        });
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(shown.since) >= WINDOW {
            *shown = Shown { since: now, times: HashMap::new() };
        }
        let challenge = format!("{remedy:?}");
        let is_new = !shown.times.contains_key(&challenge);
        if is_new && shown.times.len() >= MOST_DIFFERING {
            return false;
        }
        let times = shown.times.entry(challenge).or_insert(0);
        *times = times.saturating_add(1);
        *times <= MOST_EQUAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acr(value: &str) -> Remedy {
        Remedy::Authentication { acr_values: vec![value.to_owned()], max_age: None }
    }

    #[test]
    fn the_sixth_equal_challenge_of_a_minute_is_plain() {
        let challenges = Challenges::new();
        let now = Timestamp::from_unix_seconds(1_000);
        for _ in 0..5 {
            assert!(challenges.may_show("a", &acr("x"), now));
        }
        assert!(!challenges.may_show("a", &acr("x"), now));
        assert!(challenges.may_show("b", &acr("x"), now));
        assert!(challenges.may_show("a", &acr("x"), now.plus(WINDOW)));
    }

    #[test]
    fn the_thirty_first_differing_challenge_of_a_minute_is_plain() {
        let challenges = Challenges::new();
        let now = Timestamp::from_unix_seconds(1_000);
        for number in 0..30 {
            assert!(challenges.may_show("a", &acr(&number.to_string()), now));
        }
        assert!(!challenges.may_show("a", &acr("one more"), now));
    }
}
