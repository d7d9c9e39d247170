//! Bodies that are still coming, of clients that nobody knows yet.
//!
//! A body is read before it is decided who sends it, and whoever sends slowly holds what a request holds. So at most so many are
//! coming at once, and for one more one is given up: of the sender that has most of them, the one that has made no progress for
//! longest. Who sends much so loses what it has begun to itself, and who sends steadily loses nothing to who is silent. A body
//! that is there at once takes no place.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    pin::pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::FutureExt;
use tokio::sync::oneshot;

use crate::body::NotWhole;

/// What is the network of one client of an IPv6 address (RFC 4291 section 2.5.4).
const NETWORK: u128 = u128::MAX << 64;

/// Who sends a body, as far as that is known before it is decided: an address, or the network that one client has. Those whose address
/// is not known are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Whose(Option<IpAddr>);

impl Whose {
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
        }))
    }
}

/// The bodies that are coming.
#[derive(Debug)]
pub(crate) struct Coming {
    most: usize,
    state: Mutex<State>,
}

/// The bodies of one sender, each by the moment of its last progress. Dropped, one is given up.
type Bodies = BTreeMap<u64, oneshot::Sender<()>>;
/// How many bodies a sender has, and the moment of the one that has made no progress for longest. Of the greatest one is given up.
type Rank = (usize, Reverse<u64>, Whose);

#[derive(Debug, Default)]
struct State {
    /// Counts what happens.
    moment: u64,
    count: usize,
    all: HashMap<Whose, Bodies>,
    /// One for each sender.
    ranks: BTreeSet<Rank>,
}

impl State {
    fn next(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Changes the bodies of a sender, and keeps count.
    fn change<R>(&mut self, whose: Whose, change: impl FnOnce(&mut Bodies) -> R) -> R {
        let bodies = self.all.entry(whose).or_default();
        if let Some(rank) = rank(whose, bodies) {
            self.ranks.remove(&rank);
        }
        let before = bodies.len();
        let result = change(bodies);
        self.count = (self.count + bodies.len()).saturating_sub(before);
        match rank(whose, bodies) {
            Some(rank) => {
                self.ranks.insert(rank);
            }
            None => {
                self.all.remove(&whose);
            }
        }
        result
    }

    fn give_up_one(&mut self) -> bool {
        let Some((_, _, whose)) = self.ranks.last().copied() else { return false };
        self.change(whose, Bodies::pop_first).is_some()
    }
}

fn rank(whose: Whose, bodies: &Bodies) -> Option<Rank> {
    let (oldest, _) = bodies.first_key_value()?;
    Some((bodies.len(), Reverse(*oldest), whose))
}

/// The place of one of them, which is taken when it has to be waited for.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    coming: &'a Coming,
    whose: Whose,
    /// When it made progress; 0 where no place is taken.
    moment: AtomicU64,
}

impl Coming {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// A place for a body, which is not taken yet.
    pub(crate) fn place(&self, whose: Whose) -> Place<'_> {
        Place { coming: self, whose, moment: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Waits for a body, until it is given up.
    pub(crate) async fn wait_for<T>(
        &self,
        body: impl Future<Output = Result<T, NotWhole>>,
    ) -> Result<T, NotWhole> {
        let mut body = pin!(body);
        if let Some(whole) = body.as_mut().now_or_never() {
            return whole;
        }
        let given_up = self.take();
        tokio::select! {
            biased;
            whole = body => whole,
            _dropped = given_up => Err(NotWhole::NoRoom),
        }
    }

    fn take(&self) -> oneshot::Receiver<()> {
        let (held, given_up) = oneshot::channel();
        let mut state = self.coming.state();
        let now = state.next();
        state.change(self.whose, |bodies| bodies.insert(now, held));
        self.moment.store(now, Ordering::Relaxed);
        // It counts itself, so that who begins most loses most; and it is the last of its sender's to be given up.
        while state.count > self.coming.most.max(1) && state.give_up_one() {}
        given_up
    }

    /// Some of the body has come.
    pub(crate) fn progressed(&self) {
        let before = self.moment.load(Ordering::Relaxed);
        if before == 0 {
            return;
        }
        let mut state = self.coming.state();
        let now = state.next();
        let is_held = state.change(self.whose, |bodies| {
            let held = bodies.remove(&before);
            held.map(|held| bodies.insert(now, held)).is_some()
        });
        if is_held {
            self.moment.store(now, Ordering::Relaxed);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let moment = self.moment.load(Ordering::Relaxed);
        if moment != 0 {
            self.coming.state().change(self.whose, |bodies| bodies.remove(&moment));
        }
    }
}

#[cfg(test)]
mod tests;
