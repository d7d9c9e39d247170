//! One request for all who ask the same at the same time, and not too many for anybody.
//!
//! A request is a task of its own: who waits for it can go away, and what it brings is in store for the next one. Those who
//! ask the same meanwhile wait for the same task.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use palisade_audit::ExchangeSource;
use palisade_pdp::{ExchangeFailure, Exchanged, FailureKind, Issued};

use crate::{failure::failure, key::Key};

/// The most requests that are under way for one exchange.
const MOST: usize = 256;
/// The most of them for one subject: whoever asks for ever something else leaves room for others.
pub(crate) const MOST_OF_ONE: usize = MOST / 8;

/// What a request came to.
pub(crate) type Outcome = Result<Arc<Issued>, ExchangeFailure>;

/// A request under way.
pub(crate) type Flight = Shared<BoxFuture<'static, Exchanged>>;

/// The requests under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    flights: HashMap<Key, Flight>,
    /// How many are for each subject.
    subjects: HashMap<String, usize>,
}

/// How somebody came to wait.
pub(crate) enum Boarded {
    /// For a request that was under way.
    Joined(Flight),
    /// For a request of its own.
    Began(Flight),
    /// Not at all: it was answered meanwhile.
    Answered(Outcome),
    /// Not at all: another request may not be made now.
    Withheld(ExchangeFailure),
}

impl Flights {
    /// Joins the request of this key, or begins one. `answered` is asked first where none is under way: one may have ended
    /// a moment ago. `may_begin` says whether another may be made.
    pub(crate) fn board<Leave, F: Future<Output = Exchanged> + Send + 'static>(
        &self,
        (key, subject): (Key, String),
        answered: impl FnOnce() -> Option<Outcome>,
        may_begin: impl FnOnce() -> Result<Leave, ExchangeFailure>,
        work: impl FnOnce(Leave) -> F,
    ) -> Boarded {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.flights.get(&key) {
            return Boarded::Joined(flight.clone());
        }
        if let Some(outcome) = answered() {
            return Boarded::Answered(outcome);
        }
        let of_subject = under_way.subjects.get(&subject).copied().unwrap_or_default();
        if under_way.flights.len() >= MOST || of_subject >= MOST_OF_ONE {
            let busy = failure(FailureKind::Pending, "too many exchanges are under way");
            return Boarded::Withheld(busy);
        }
        let work = match may_begin() {
            Ok(leave) => work(leave),
            Err(failure) => return Boarded::Withheld(failure),
        };
        let (flights, of_landing) = (self.clone(), subject.clone());
        let task = tokio::spawn(async move {
            // Made in here: a runtime that has ended drops what is given to it at once, and the list is locked now.
            let _landing = Landing { flights, key, subject: of_landing };
            work.await
        });
        let flight = task
            .map(|ended| {
                ended.unwrap_or_else(|_| {
                    let ended = failure(FailureKind::Unavailable, "the exchange did not come to its end");
                    Exchanged { source: ExchangeSource::Provider, result: Err(ended) }
                })
            })
            .boxed()
            .shared();
        under_way.flights.insert(key, flight.clone());
        under_way.subjects.insert(subject, of_subject + 1);
        Boarded::Began(flight)
    }
}

/// Takes a request off the list when it has ended, also by a panic.
struct Landing {
    flights: Flights,
    key: Key,
    subject: String,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut under_way = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.flights.remove(&self.key);
        match under_way.subjects.get_mut(&self.subject) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(under_way.subjects.remove(&self.subject)),
        }
    }
}

#[cfg(test)]
mod tests {
    use palisade_model::Reason;

    use super::*;

    #[tokio::test]
    async fn a_request_that_panics_is_an_outage_for_all_who_wait_and_is_under_way_no_more() {
        let flights = Flights::default();
        let key = crate::tests::a_key();
        let board = || {
            let nothing = || None;
            let work = |()| async { panic!("a defect") };
            flights.board((key, "alice".to_owned()), nothing, || Ok(()), work)
        };
        let (Boarded::Began(first), Boarded::Joined(second)) = (board(), board()) else {
            panic!("one request")
        };
        for flight in [first, second] {
            let failure = flight.await.result.unwrap_err();
            assert_eq!(failure.kind.reason(), Reason::ExchangeUnavailable);
        }
        let under_way = flights.0.lock().unwrap();
        assert!(under_way.flights.is_empty() && under_way.subjects.is_empty());
    }
}
