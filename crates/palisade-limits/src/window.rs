//! What was let by in the last while, in slots.
//!
//! A time is cut into [`SLOTS`] slots. What is in the slot of now and in the [`SLOTS`] before it counts: all of the last while,
//! and at most one slot more. So a budget holds for any time of its length, not only for those that a clock begins; what that
//! costs is one slot more to wait. Who draws nothing for a while has nothing here.

use std::{collections::VecDeque, time::Duration};

use palisade_model::Timestamp;

use crate::Budget;

/// Into how many slots a time is cut.
pub(crate) const SLOTS: u32 = 20;

/// What was let by lately.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// How long a slot is, in microseconds.
    length: i64,
    /// The slots that hold something, the oldest first.
    slots: VecDeque<(i64, u32)>,
    total: u32,
}

impl Window {
    /// Takes so much of a budget, or says how long to wait. What is given back names the slot.
    pub(crate) fn take(&mut self, now: Timestamp, budget: Budget, count: u32) -> Result<i64, Duration> {
        let slot = self.forget(now, budget.within);
        if self.total.saturating_add(count) > budget.most {
            return Err(self.wait(now, budget, count));
        }
        self.put(slot, count);
        Ok(slot)
    }

    /// Counts what somebody else has let by, whatever the budget says.
    pub(crate) fn add(&mut self, now: Timestamp, within: Duration, count: u32) -> u32 {
        let slot = self.forget(now, within);
        self.put(slot, count);
        self.total
    }

    /// Takes back what was taken and not used.
    pub(crate) fn give_back(&mut self, slot: i64, count: u32) {
        if let Some((_, held)) = self.slots.iter_mut().find(|(own, _)| *own == slot) {
            let back = count.min(*held);
            *held -= back;
            self.total = self.total.saturating_sub(back);
        }
    }

    /// Forgets what is too long ago. Gives the slot of now, or the newest where a clock was set back a little.
    fn forget(&mut self, now: Timestamp, within: Duration) -> i64 {
        let length = slot_length(within);
        let slot = now.unix_micros().div_euclid(length);
        let newest = self.slots.back().map_or(slot, |(newest, _)| *newest);
        // Another length, or a clock that was set back by more than the time itself: nothing here means anything.
        if length != self.length || newest > slot.saturating_add(i64::from(SLOTS)) {
            *self = Self { length, ..Self::default() };
            return slot;
        }
        let slot = slot.max(newest);
        while let Some((oldest, count)) = self.slots.front().copied() {
            if oldest >= slot.saturating_sub(i64::from(SLOTS)) {
                break;
            }
            self.slots.pop_front();
            self.total = self.total.saturating_sub(count);
        }
        slot
    }

    fn put(&mut self, slot: i64, count: u32) {
        self.total = self.total.saturating_add(count);
        match self.slots.back_mut() {
            Some((newest, held)) if *newest == slot => *held = held.saturating_add(count),
            Some(_) | None => self.slots.push_back((slot, count)),
        }
    }

    /// How long until a budget holds as much again, if nobody draws meanwhile.
    fn wait(&self, now: Timestamp, budget: Budget, count: u32) -> Duration {
        let mut left = self.total;
        for (slot, held) in &self.slots {
            left = left.saturating_sub(*held);
            if left.saturating_add(count) <= budget.most {
                let gone = slot.saturating_add(i64::from(SLOTS) + 1).saturating_mul(self.length);
                return Timestamp::from_unix_micros(gone).since(now);
            }
        }
        // More than it ever holds.
        budget.within
    }
}

/// How long a slot is, in microseconds: so many of them are never shorter than the whole.
fn slot_length(within: Duration) -> i64 {
    i64::try_from(within.as_micros().div_ceil(u128::from(SLOTS))).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests;
