//! The metrics of the log, on the meter `palisade` of the global provider.

use std::sync::{Arc, Weak, atomic::Ordering};

use opentelemetry::{KeyValue, global, metrics::Counter};

use crate::{segment::SeriesName, status::Shared};

/// The counters. The gauges, and the counter of deleted segments, read the state of the log when they are collected.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Decisions and events in the local log; a record of many refusals counts as many.
    pub(crate) records: Counter<u64>,
    /// Decisions whose record was dropped.
    pub(crate) dropped: Counter<u64>,
    /// Records that the OTLP receiver has acknowledged.
    pub(crate) exported: Counter<u64>,
    /// Export calls that failed.
    pub(crate) export_failures: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let meter = global::meter("palisade");
        gauge("palisade_audit_backlog_bytes", shared, |shared| Some(shared.backlog_bytes()));
        gauge("palisade_audit_seconds_until_full", shared, Shared::seconds_until_full);
        deleted_segments(shared);
        Self {
            records: meter.u64_counter("palisade_audit_records_total").build(),
            dropped: meter.u64_counter("palisade_audit_dropped_total").build(),
            exported: meter.u64_counter("palisade_audit_exported_total").build(),
            export_failures: meter.u64_counter("palisade_audit_export_failures_total").build(),
        }
    }
}

/// A gauge that shows nothing where there is nothing to show, and does not keep the log alive.
fn gauge(name: &'static str, shared: &Arc<Shared>, read: fn(&Shared) -> Option<u64>) {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    global::meter("palisade")
        .u64_observable_gauge(name)
        .with_callback(move |observer| {
            if let Some(value) = shared.upgrade().and_then(|shared| read(&shared)) {
                observer.observe(value, &[]);
            }
        })
        .build();
}

/// How many segments made room for new ones, and whether a receiver had acknowledged what they held.
fn deleted_segments(shared: &Arc<Shared>) {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    global::meter("palisade")
        .u64_observable_counter("palisade_audit_deleted_segments_total")
        .with_callback(move |observer| {
            let Some(shared) = shared.upgrade() else { return };
            let (mut exported, mut unexported) = (0, 0);
            for series in SeriesName::ALL.map(|series| shared.of(series)) {
                exported += series.deleted_exported.load(Ordering::Relaxed);
                unexported += series.deleted_unexported.load(Ordering::Relaxed);
            }
            observer.observe(exported, &[KeyValue::new("exported", "true")]);
            observer.observe(unexported, &[KeyValue::new("exported", "false")]);
        })
        .build();
}
