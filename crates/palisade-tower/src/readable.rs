//! Which resources a stream's client may read, as it was decided a moment ago.
//!
//! A resource that changes often would be asked about as often. What was decided is known for no longer than it takes until an
//! open stream is itself asked about again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

use crate::stream::RECHECK;

/// How many are known.
const MOST: usize = 256;

/// What was decided, by the resource's URI.
#[derive(Debug, Default)]
pub(crate) struct Readable(Mutex<HashMap<String, (Instant, bool)>>);

impl Readable {
    pub(crate) fn known(&self, uri: &str) -> Option<bool> {
        self.known_at(uri, Instant::now())
    }

    fn known_at(&self, uri: &str, now: Instant) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(uri).filter(|(since, _)| now.duration_since(*since) < RECHECK).map(|(_, may)| *may)
    }

    pub(crate) fn note(&self, uri: &str, may: bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(uri.to_owned(), (Instant::now(), may));
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
        (0..10 * MOST).for_each(|number| readable.note(&format!("file:///{number}"), true));
        assert!(readable.0.lock().unwrap().len() <= MOST);
    }
}
