//! Which resources a stream's client may read, as it was decided a moment ago.
//!
//! A resource that changes often would be asked about as often. What was decided is known for no longer than it takes until an
//! open stream is itself asked about again, and no more is asked about in that time than a bound.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use crate::lease::RECHECK;

/// How many are asked about in that time.
pub(crate) const MOST: usize = 64;

/// What is known for one stream.
#[derive(Debug, Default)]
pub(crate) struct Readable(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What was decided, by the resource's URI.
    decided: HashMap<String, (Instant, bool)>,
    /// How many were asked about since when.
    asked: Option<(Instant, usize)>,
}

impl Readable {
    pub(crate) fn known(&self, uri: &str) -> Option<bool> {
        self.known_at(uri, Instant::now())
    }

    fn known_at(&self, uri: &str, now: Instant) -> Option<bool> {
        let known = self.known_now();
        known.decided.get(uri).filter(|(since, _)| now.duration_since(*since) < RECHECK).map(|(_, may)| *may)
    }

    pub(crate) fn note(&self, uri: &str, may: bool) {
        let (mut known, now) = (self.known_now(), Instant::now());
        known.decided.retain(|_, (since, _)| now.duration_since(*since) < RECHECK);
        known.decided.insert(uri.to_owned(), (now, may));
    }

    /// Whether one more may be asked about, which counts.
    pub(crate) fn may_ask(&self) -> bool {
        self.may_ask_at(Instant::now())
    }

    fn may_ask_at(&self, now: Instant) -> bool {
        let mut known = self.known_now();
        let asked = known.asked.filter(|(since, _)| now.duration_since(*since) < RECHECK);
        let (since, count) = asked.unwrap_or((now, 0));
        known.asked = Some((since, count.saturating_add(1)));
        count < MOST
    }

    fn known_now(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_is_known_for_a_moment_and_in_bounds() {
        let readable = Readable::default();
        readable.note("file:///a", true);
        readable.note("file:///b", false);
        assert_eq!((readable.known("file:///a"), readable.known("file:///b")), (Some(true), Some(false)));
        assert_eq!(readable.known_at("file:///a", Instant::now() + RECHECK), None);
    }

    #[test]
    fn no_more_is_asked_about_in_a_moment_than_a_bound() {
        let (readable, now) = (Readable::default(), Instant::now());
        assert!((0..MOST).all(|_| readable.may_ask_at(now)));
        assert!(!readable.may_ask_at(now) && !readable.may_ask_at(now + RECHECK / 2));
        assert!(readable.may_ask_at(now + RECHECK));
    }
}
