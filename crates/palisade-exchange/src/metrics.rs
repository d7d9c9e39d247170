//! What is counted of exchanges, by the names of the configuration.

use std::{fmt, sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram},
};

/// The instruments of one exchange.
pub(crate) struct Metrics {
    exchange: KeyValue,
    latency: Histogram<f64>,
    exchanges: Counter<u64>,
    shared: Counter<u64>,
}

/// How an order was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// A token was in store.
    Hit,
    /// A refusal was in store.
    Refusal,
    /// The provider was asked.
    Miss,
    /// By a request of somebody else's that was under way.
    Joined,
    /// Another replica had got a token.
    Shared,
    /// Nobody was asked.
    Withheld,
    /// Nobody waited for the answer: there was no place for it, or the request went away.
    Left,
}

impl Answered {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Refusal => "refusal",
            Self::Miss => "miss",
            Self::Joined => "joined",
            Self::Shared => "shared",
            Self::Withheld => "withheld",
            Self::Left => "left",
        }
    }
}

/// What the shared store had, or did with what it was handed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    /// A token.
    Hit,
    /// Nothing.
    Miss,
    /// No answer, or it is left alone after one that failed.
    Failed,
    /// Something that is none of ours, not for this place, or more than the order permits.
    Unreadable,
    /// It took a token.
    Written,
    /// A token was not handed on: so many others are under way.
    Skipped,
}

impl Shared {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Failed => "failed",
            Self::Unreadable => "unreadable",
            Self::Written => "written",
            Self::Skipped => "skipped",
        }
    }
}

/// Upper bounds of the latency histogram, in milliseconds.
const BOUNDS: [f64; 11] = [5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0];

impl Metrics {
    pub(crate) fn new(exchange: &str) -> Self {
        let meter = opentelemetry::global::meter("palisade");
        Self {
            exchange: KeyValue::new("exchange", Arc::<str>::from(exchange)),
            latency: meter
                .f64_histogram("mcp_obo_exchange_latency_ms")
                .with_description("How long providers take for an exchange, the check of the result included")
                .with_boundaries(BOUNDS.to_vec())
                .build(),
            exchanges: meter
                .u64_counter("palisade_exchanges_total")
                .with_description("Exchanges, by where the answer came from and what it was")
                .build(),
            shared: meter
                .u64_counter("palisade_exchange_cache_total")
                .with_description("Questions to the shared exchange cache, by what it had, and tokens for it, by whether it took them")
                .build(),
        }
    }

    /// The provider was asked, and took so long.
    pub(crate) fn asked(&self, took: Duration, reason: &'static str) {
        let labels = [self.exchange.clone(), KeyValue::new("reason", reason)];
        self.latency.record(took.as_secs_f64() * 1_000.0, &labels);
    }

    /// The shared store was asked, or handed a token.
    pub(crate) fn shared(&self, shared: Shared) {
        self.shared.add(1, &[self.exchange.clone(), KeyValue::new("result", shared.as_str())]);
    }

    /// An order was answered.
    pub(crate) fn answered(&self, answered: Answered, reason: &'static str) {
        let source = KeyValue::new("source", answered.as_str());
        self.exchanges.add(1, &[self.exchange.clone(), source, KeyValue::new("reason", reason)]);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics(..)")
    }
}
