//! Who waits for the providers of exchanges, and the places that they take.
//!
//! To wait costs memory and no processor. So whoever waits gives back their place among the decisions under way and takes one
//! here, and a slow provider keeps nobody from a decision. There are so many places for each exchange, so that those of one
//! provider are not taken by those who wait for another; and so many of these for each subject, so that nobody takes
//! everybody's. Of those who ask the same at once all but the first only wait, so the places are many: how many requests
//! are made of a provider, and for whom, is for its exchanger to bound.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use palisade_model::ExchangeName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// How many wait for one exchange, for each decision that may be under way.
const EACH: usize = 4;

/// The places of all exchanges.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// For one subject.
    most_of_one: usize,
    shares: Mutex<HashMap<ExchangeName, Arc<Share>>>,
}

/// The places of one exchange.
#[derive(Debug)]
struct Share {
    places: Arc<Semaphore>,
    /// How many of them each subject has.
    subjects: Mutex<HashMap<String, usize>>,
}

/// A place, as long as it is held.
#[derive(Debug)]
pub(crate) struct Waits {
    share: Arc<Share>,
    subject: String,
    _place: OwnedSemaphorePermit,
}

/// The place of one request: among the decisions under way, or among those who wait for a provider.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    admitted: Option<SemaphorePermit<'a>>,
    waits: Option<Waits>,
}

impl<'a> Place<'a> {
    pub(crate) fn new(admitted: SemaphorePermit<'a>) -> Self {
        Self { admitted: Some(admitted), waits: None }
    }

    /// Goes to wait. What is left to do afterwards is a record, so the first place is not taken again.
    pub(crate) fn aside(&mut self, waits: Waits) {
        // INVARIANT: held in one way or the other until the record is written, so that the end of the service waits for it.
        self.waits = Some(waits);
        self.admitted = None;
    }
}

impl Waiting {
    /// For a decision point with so many decisions under way at once.
    pub(crate) fn new(most_concurrent: usize) -> Self {
        Self { most_of_one: most_concurrent.max(1), shares: Mutex::default() }
    }

    /// A place for this subject, if there is one.
    pub(crate) fn enter(&self, exchange: &ExchangeName, subject: String) -> Option<Waits> {
        let share = self.share(exchange);
        let place = Arc::clone(&share.places).try_acquire_owned().ok()?;
        {
            let mut subjects = share.subjects();
            let taken = subjects.get(&subject).copied().unwrap_or_default();
            if taken >= self.most_of_one {
                return None;
            }
            subjects.insert(subject.clone(), taken + 1);
        }
        Some(Waits { share, subject, _place: place })
    }

    /// Waits until nobody does.
    pub(crate) async fn settled(&self) {
        let shares: Vec<Arc<Share>> = self.shares().values().cloned().collect();
        let all = u32::try_from(self.most_of_one * EACH).unwrap_or(u32::MAX);
        for share in shares {
            drop(share.places.acquire_many(all).await);
        }
    }

    fn share(&self, exchange: &ExchangeName) -> Arc<Share> {
        let mut shares = self.shares();
        let share = shares.entry(exchange.clone()).or_insert_with(|| {
            let places = Arc::new(Semaphore::new(self.most_of_one * EACH));
            Arc::new(Share { places, subjects: Mutex::default() })
        });
        Arc::clone(share)
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<ExchangeName, Arc<Share>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn subjects(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut subjects = self.share.subjects();
        match subjects.get_mut(&self.subject) {
            Some(taken) if *taken > 1 => *taken -= 1,
            Some(_) | None => drop(subjects.remove(&self.subject)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(text: &str) -> ExchangeName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn nobody_takes_the_places_of_others_nor_those_of_another_exchange() {
        let waiting = Waiting::new(8);
        let enter = |exchange: &str, subject: &str| waiting.enter(&name(exchange), subject.to_owned());
        let mut alices: Vec<Waits> = (0..8).map(|_| enter("orders", "alice").unwrap()).collect();
        assert!(enter("orders", "alice").is_none());
        let others: Vec<Waits> =
            (0..24).map(|number| enter("orders", &format!("user {}", number / 8)).unwrap()).collect();
        assert!(enter("orders", "bob").is_none(), "there are four times as many as one can have");
        let elsewhere = enter("ledger", "alice").unwrap();
        let settled =
            async || tokio::time::timeout(Duration::from_millis(20), waiting.settled()).await.is_ok();
        assert!(!settled().await);
        drop(alices.pop());
        assert!(enter("orders", "alice").is_some());
        drop((alices, others));
        assert!(!settled().await);
        drop(elsewhere);
        assert!(settled().await);
        assert!(waiting.shares().values().all(|share| share.subjects().is_empty()));
    }
}
