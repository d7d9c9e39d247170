//! What the threads of the log know of each other, and what it shows to operators.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use palisade_model::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;

use crate::{
    checkpoint::{Checkpoint, Position},
    health::Health,
    refusals::Table,
    segment::{SegmentInfo, SeriesName},
};

/// The state of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditStatus {
    /// Bytes of records that the OTLP receiver has not acknowledged. Zero without a receiver.
    pub backlog_bytes: u64,
    /// Bytes of all segments.
    pub used_bytes: u64,
    /// The quota in bytes.
    pub quota_bytes: u64,
    /// When the quota will be used up if the backlog keeps growing as it did in the last minutes. `None` where it does
    /// not grow.
    pub seconds_until_full: Option<u64>,
    /// Why the last export failed; `None` when the series it belongs to is exported again.
    pub last_export_error: Option<String>,
    /// Why nothing can be written; `None` as soon as something can be written again. A full log with `on_full: drop`
    /// is no error: it shows in `dropped`.
    pub last_write_error: Option<String>,
    /// Decisions whose record was dropped, since the start.
    pub dropped: u64,
    /// Records that the receiver has acknowledged, since the start.
    pub exported: u64,
    /// Records that the receiver refused for good, since the start. They stay in the local log.
    pub rejected: u64,
}

/// Shared by the handle, the writer and the exporter.
#[derive(Debug)]
pub(crate) struct Shared {
    decisions: SeriesState,
    refusals: SeriesState,
    /// What the receiver has acknowledged.
    pub(crate) checkpoint: Mutex<Checkpoint>,
    /// Decisions that were answered before there was room in the queue for their record, by kind.
    pub(crate) unqueued: Mutex<Table>,
    pub(crate) dropped: AtomicU64,
    pub(crate) exported: AtomicU64,
    pub(crate) rejected: AtomicU64,
    growth: Mutex<Growth>,
    quota: u64,
    exports: bool,
}

/// What is shared of a series.
#[derive(Debug, Default)]
pub(crate) struct SeriesState {
    /// Its segments, as far as they are committed.
    pub(crate) segments: Mutex<Vec<SegmentInfo>>,
    /// Whether it can be written.
    pub(crate) health: Health,
    /// Wakes its exporter.
    pub(crate) written: Notify,
    pub(crate) last_export_error: Mutex<Option<String>>,
    /// Segments that made room, exported before or not.
    pub(crate) deleted_exported: AtomicU64,
    pub(crate) deleted_unexported: AtomicU64,
}

/// A lock that a panic elsewhere does not take away: all that is behind these locks is whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(quota: u64, exports: bool, checkpoint: Checkpoint) -> Self {
        Self {
            decisions: SeriesState::default(),
            refusals: SeriesState::default(),
            checkpoint: Mutex::new(checkpoint),
            unqueued: Mutex::default(),
            dropped: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            growth: Mutex::default(),
            quota,
            exports,
        }
    }

    pub(crate) fn of(&self, series: SeriesName) -> &SeriesState {
        match series {
            SeriesName::Decisions => &self.decisions,
            SeriesName::Refusals => &self.refusals,
        }
    }

    pub(crate) fn segments(&self, series: SeriesName) -> MutexGuard<'_, Vec<SegmentInfo>> {
        lock(&self.of(series).segments)
    }

    /// Takes a checkpoint back that is beyond what there is: after a power loss the end of a series can be gone, and
    /// what will be written in its place is not acknowledged. Returns whether it was.
    pub(crate) fn clamp_checkpoint(&self, series: SeriesName) -> bool {
        let mut checkpoint = lock(&self.checkpoint);
        let acknowledged = checkpoint.get(series);
        let clamped = acknowledged.clamped(&self.segments(series));
        checkpoint.set(series, clamped);
        clamped != acknowledged
    }

    pub(crate) fn acknowledged(&self, series: SeriesName) -> Position {
        lock(&self.checkpoint).get(series)
    }

    /// The part of the quota that a series may take.
    pub(crate) fn quota(&self, series: SeriesName) -> u64 {
        let refusals = self.quota / 10;
        match series {
            SeriesName::Decisions => self.quota - refusals,
            SeriesName::Refusals => refusals,
        }
    }

    pub(crate) fn exports(&self) -> bool {
        self.exports
    }

    pub(crate) fn used(&self, series: SeriesName) -> u64 {
        self.segments(series).iter().map(|segment| segment.length).sum()
    }

    fn backlog(&self, series: SeriesName) -> u64 {
        if !self.exports {
            return 0;
        }
        let acknowledged = self.acknowledged(series);
        self.segments(series)
            .iter()
            .map(|segment| segment.length.saturating_sub(acknowledged.within(segment.sequence)))
            .sum()
    }

    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.backlog(SeriesName::Decisions) + self.backlog(SeriesName::Refusals)
    }

    pub(crate) fn seconds_until_full(&self) -> Option<u64> {
        lock(&self.growth).seconds_until(self.quota(SeriesName::Decisions))
    }

    /// Notes how large the backlog is.
    pub(crate) fn sample(&self, now: Timestamp) {
        let backlog = self.backlog(SeriesName::Decisions);
        lock(&self.growth).sample(now, backlog);
    }

    /// What a series has to say; the decisions first.
    fn first(&self, read: impl Fn(&SeriesState) -> Option<String>) -> Option<String> {
        read(&self.decisions).or_else(|| read(&self.refusals))
    }

    pub(crate) fn status(&self) -> AuditStatus {
        AuditStatus {
            backlog_bytes: self.backlog_bytes(),
            used_bytes: self.used(SeriesName::Decisions) + self.used(SeriesName::Refusals),
            quota_bytes: self.quota,
            seconds_until_full: self.seconds_until_full(),
            last_export_error: self.first(|series| lock(&series.last_export_error).clone()),
            last_write_error: self.first(|series| series.health.error()),
            dropped: self.dropped.load(Ordering::Relaxed),
            exported: self.exported.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
        }
    }
}

/// How the backlog grew in the last minutes.
#[derive(Debug, Default)]
struct Growth(VecDeque<(Timestamp, u64)>);

impl Growth {
    const WINDOW: Duration = Duration::from_secs(300);
    const STEP: Duration = Duration::from_secs(5);

    fn sample(&mut self, now: Timestamp, backlog: u64) {
        if self.0.back().is_some_and(|(last, _)| now < last.plus(Self::STEP) && now >= *last) {
            return;
        }
        // A clock that was set back would make the samples lie.
        self.0.retain(|(at, _)| *at <= now && now.since(*at) <= Self::WINDOW);
        self.0.push_back((now, backlog));
    }

    fn seconds_until(&self, limit: u64) -> Option<u64> {
        let ((first, before), (last, after)) = (*self.0.front()?, *self.0.back()?);
        let (grown, seconds) = (after.checked_sub(before)?, last.since(first).as_secs());
        if grown == 0 || seconds == 0 {
            return None;
        }
        let left = u128::from(limit.saturating_sub(after));
        u64::try_from(left * u128::from(seconds) / u128::from(grown)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_until_full_follows_the_growth_of_the_backlog() {
        let at = Timestamp::from_unix_seconds;
        let mut growth = Growth::default();
        assert_eq!(growth.seconds_until(1_000), None);
        growth.sample(at(0), 100);
        assert_eq!(growth.seconds_until(1_000), None);
        growth.sample(at(1), 900);
        assert_eq!(growth.seconds_until(1_000), None, "samples closer than a step are not taken");
        growth.sample(at(10), 200);
        assert_eq!(growth.seconds_until(1_000), Some(80));
        growth.sample(at(20), 2_000);
        assert_eq!(growth.seconds_until(1_000), Some(0));
        growth.sample(at(30), 50);
        assert_eq!(growth.seconds_until(1_000), None);
        growth.sample(at(1_000), 60);
        assert_eq!(growth.0.len(), 1, "old samples go");
        growth.sample(at(10), 70);
        assert_eq!(growth.0.len(), 1, "a clock set back starts anew");
    }
}
