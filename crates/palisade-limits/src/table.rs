//! What is counted of each holder, in memory that is bounded.
//!
//! A holder is found by a digest that no two processes make alike: nobody can choose a name that shares another's budget, and
//! a long name takes no more room than a short one. Where there are more holders than room, who drew nothing for longest is
//! forgotten first.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moka::{policy::EvictionPolicy, sync::Cache};

use crate::Holder;

/// What is counted of each holder.
pub(crate) struct Table<T> {
    all: Cache<[u64; 2], Arc<Mutex<T>>>,
    digests: [RandomState; 2],
}

impl<T: Default + Send + 'static> Table<T> {
    pub(crate) fn new(most: u64) -> Self {
        Self {
            all: Cache::builder().max_capacity(most).eviction_policy(EvictionPolicy::lru()).build(),
            digests: [RandomState::new(), RandomState::new()],
        }
    }

    /// What is counted of a holder; nothing yet, where it is new.
    pub(crate) fn of(&self, holder: &Holder) -> Arc<Mutex<T>> {
        self.all.get_with(self.key(holder), Arc::default)
    }

    /// The same, where something was counted.
    pub(crate) fn known(&self, holder: &Holder) -> Option<Arc<Mutex<T>>> {
        self.all.get(&self.key(holder))
    }

    fn key(&self, holder: &Holder) -> [u64; 2] {
        self.digests.each_ref().map(|digest| digest.hash_one(holder.text()))
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Table({})", self.all.entry_count())
    }
}

/// What a lock guards, also where who held it has panicked: it is whole at every moment.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
