//! Bodies that are still coming, of clients that nobody knows yet.
//!
//! A body is read before it is decided who sends it, and whoever sends slowly holds what a request holds. So at most so many are
//! coming at once, and for one more the one that has been coming for longest is given up: a slow sender loses its place to who
//! sends at all, and holds up nobody. A body that is there at once takes none.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::FutureExt;
use tokio::sync::oneshot;

use crate::body::NotWhole;

/// The bodies that are coming.
#[derive(Debug)]
pub(crate) struct Coming {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Each by its number, the oldest first. Dropped, it is given up.
    all: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The place of one of them.
struct Place<'a> {
    coming: &'a Coming,
    number: u64,
}

impl Coming {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// Waits for a body, until it is given up.
    pub(crate) async fn wait_for<T>(
        &self,
        body: impl Future<Output = Result<T, NotWhole>>,
    ) -> Result<T, NotWhole> {
        let mut body = pin!(body);
        if let Some(whole) = body.as_mut().now_or_never() {
            return whole;
        }
        let (_place, given_up) = self.enter();
        tokio::select! {
            biased;
            whole = body => whole,
            _dropped = given_up => Err(NotWhole::NoRoom),
        }
    }

    fn enter(&self) -> (Place<'_>, oneshot::Receiver<()>) {
        let (held, given_up) = oneshot::channel();
        let mut state = self.state();
        while state.all.len() >= self.most.max(1) && state.all.pop_first().is_some() {}
        let number = state.next;
        state.next += 1;
        state.all.insert(number, held);
        (Place { coming: self, number }, given_up)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.coming.state().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn the_one_that_has_been_coming_for_longest_is_given_up_for_one_more() {
        let coming = Coming::new(2);
        let slow = || coming.wait_for(pending::<Result<(), NotWhole>>());
        let (mut first, mut second, mut third) = (Box::pin(slow()), Box::pin(slow()), Box::pin(slow()));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        // What is there takes nobody's place.
        assert_eq!(coming.wait_for(ready(Ok(7))).await.unwrap(), 7);
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        assert!(matches!(first.await, Err(NotWhole::NoRoom)));
        assert!((&mut second).now_or_never().is_none() && coming.state().all.len() == 2);
        // Who goes away leaves no place behind.
        drop((second, third));
        assert!(coming.state().all.is_empty());
    }
}
