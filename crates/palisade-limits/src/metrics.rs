//! What is counted of the counting.

use std::fmt;

use opentelemetry::{KeyValue, metrics::Counter};

/// The instruments.
pub(crate) struct Metrics {
    shared: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("palisade");
        Self {
            shared: meter
                .u64_counter("palisade_rate_limit_store_total")
                .with_description(
                    "Questions to the server by which replicas share their limits, by whether it answered",
                )
                .build(),
        }
    }

    /// The shared server was asked.
    pub(crate) fn asked(&self, answered: bool) {
        let result = if answered { "answered" } else { "failed" };
        self.shared.add(1, &[KeyValue::new("result", result)]);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics(..)")
    }
}
