//! One request for all who ask the same at the same time.
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

/// What a request came to.
pub(crate) type Outcome = Result<Arc<Issued>, ExchangeFailure>;

/// A request under way.
pub(crate) type Flight = Shared<BoxFuture<'static, Exchanged>>;

/// The requests under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<Key, Flight>>>);

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
        key: Key,
        answered: impl FnOnce() -> Option<Outcome>,
        may_begin: impl FnOnce() -> Result<Leave, ExchangeFailure>,
        work: impl FnOnce(Leave) -> F,
    ) -> Boarded {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key) {
            return Boarded::Joined(flight.clone());
        }
        if let Some(outcome) = answered() {
            return Boarded::Answered(outcome);
        }
        if flights.len() >= MOST {
            let busy = failure(FailureKind::Pending, "too many exchanges are under way");
            return Boarded::Withheld(busy);
        }
        let work = match may_begin() {
            Ok(leave) => work(leave),
            Err(failure) => return Boarded::Withheld(failure),
        };
        let flights_of_task = self.clone();
        let task = tokio::spawn(async move {
            // Made in here: a runtime that has ended drops what is given to it at once, and the list is locked now.
            let _landing = Landing { flights: flights_of_task, key };
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
        flights.insert(key, flight.clone());
        Boarded::Began(flight)
    }
}

/// Takes a request off the list when it has ended, also by a panic.
struct Landing {
    flights: Flights,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
