//! The limiter: what is drawn, who is blocked.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use palisade_model::Timestamp;

use crate::{
    Block, Draw, Exceeded, Holder, SharedCounts,
    metrics::Metrics,
    table::{Table, locked},
    window::Window,
};

/// The most holders that are proven to be somebody. Beyond that, who drew nothing for longest is forgotten.
const MOST_KNOWN: u64 = 100_000;
/// The most holders that anybody can be.
const MOST_STRANGERS: u64 = 100_000;

/// Who draws. Each crowd has its own room in memory, so that many of one cannot make another forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// Who is proven to be somebody.
    Known,
    /// Who may be anybody.
    Strangers,
}

/// What is counted of those who fail.
#[derive(Debug, Default)]
struct Failures {
    lately: Window,
    blocked_until: Option<Timestamp>,
}

/// Counts in memory, and with other replicas where they share a server.
#[derive(Debug)]
pub struct Limiter {
    known: Table<Window>,
    strangers: Table<Window>,
    failures: Table<Failures>,
    metrics: Metrics,
    /// Whether the shared server gave no answer when it was last asked.
    alone: AtomicBool,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            known: Table::new(MOST_KNOWN),
            strangers: Table::new(MOST_STRANGERS),
            failures: Table::new(MOST_STRANGERS),
            metrics: Metrics::new(),
            alone: AtomicBool::new(false),
        }
    }
}

impl Limiter {
    /// Takes of every budget, or of none.
    ///
    /// # Errors
    /// The first budget that does not hold as much.
    pub async fn draw(
        &self,
        shared: Option<&SharedCounts>,
        (crowd, draws): (Crowd, &[Draw]),
        now: Timestamp,
        patience: Duration,
    ) -> Result<(), Exceeded> {
        let Some(shared) = shared.filter(|_| !draws.is_empty()) else {
            return self.draw_here(crowd, draws, now);
        };
        match self.answered(shared.draw(draws, patience).await) {
            Some(Ok(())) => {
                // So that this replica knows, should it have to count alone.
                for draw in draws {
                    locked(&self.table(crowd).of(&draw.holder)).add(now, draw.budget.within, draw.count);
                }
                Ok(())
            }
            Some(Err(exceeded)) => Err(exceeded),
            None => self.draw_here(crowd, draws, now),
        }
    }

    /// How long somebody is still blocked.
    pub async fn blocked(
        &self,
        shared: Option<&SharedCounts>,
        holder: &Holder,
        now: Timestamp,
        patience: Duration,
    ) -> Option<Duration> {
        let here = self.failures.known(holder).and_then(|failures| locked(&failures).left(now));
        let Some(shared) = shared.filter(|_| here.is_none()) else { return here };
        let left = self.answered(shared.blocked(holder, patience).await)??;
        self.block(holder, now, left)
    }

    /// Counts a failure, the last of which blocks. Who is blocked already is not blocked for longer.
    pub async fn fail(
        &self,
        shared: Option<&SharedCounts>,
        holder: &Holder,
        block: &Block,
        now: Timestamp,
        patience: Duration,
    ) {
        // Before anybody is waited for: who gives up on the answer has failed, too.
        locked(&self.failures.of(holder)).count(block, now);
        let Some(shared) = shared else { return };
        if let Some(Some(left)) = self.answered(shared.fail(holder, block, patience).await) {
            self.block(holder, now, left);
        }
    }

    fn draw_here(&self, crowd: Crowd, draws: &[Draw], now: Timestamp) -> Result<(), Exceeded> {
        let mut taken = Vec::with_capacity(draws.len());
        for (which, draw) in draws.iter().enumerate() {
            let window = self.table(crowd).of(&draw.holder);
            let drawn = locked(&window).take(now, draw.budget, draw.count);
            match drawn {
                Ok(slot) => taken.push((window, slot, draw.count)),
                Err(wait) => {
                    taken.iter().for_each(|(window, slot, count)| locked(window).give_back(*slot, *count));
                    return Err(Exceeded { which, wait });
                }
            }
        }
        Ok(())
    }

    /// Notes what another replica has found.
    fn block(&self, holder: &Holder, now: Timestamp, left: Duration) -> Option<Duration> {
        if left.is_zero() {
            return None;
        }
        locked(&self.failures.of(holder)).blocked_until = Some(now.plus(left));
        Some(left)
    }

    fn table(&self, crowd: Crowd) -> &Table<Window> {
        match crowd {
            Crowd::Known => &self.known,
            Crowd::Strangers => &self.strangers,
        }
    }

    /// What the shared server answered, if it did. Whether it does is said once when that changes, and counted always.
    fn answered<T>(&self, answer: Result<T, &'static str>) -> Option<T> {
        self.metrics.asked(answer.is_ok());
        match (answer, self.alone.load(Ordering::Relaxed)) {
            (Ok(answer), false) => Some(answer),
            (Ok(answer), true) => {
                self.alone.store(false, Ordering::Relaxed);
                tracing::info!("replicas count their limits together again");
                Some(answer)
            }
            (Err(why), alone) => {
                self.alone.store(true, Ordering::Relaxed);
                if !alone {
                    tracing::warn!(why, "the shared server of limits: each replica counts for itself");
                }
                None
            }
        }
    }
}

impl Failures {
    fn left(&self, now: Timestamp) -> Option<Duration> {
        self.blocked_until.map(|until| until.since(now)).filter(|left| !left.is_zero())
    }

    fn count(&mut self, block: &Block, now: Timestamp) {
        if self.left(now).is_some() {
            return;
        }
        if self.lately.add(now, block.failures.within, 1) >= block.failures.most {
            *self = Self { lately: Window::default(), blocked_until: Some(now.plus(block.lasts)) };
        }
    }
}

#[cfg(test)]
mod tests;
