//! Numbers from many measurements: percentiles of latencies, medians over rounds, and how far the rounds lie apart.

use std::time::Duration;

use serde_json::{Value, json};

/// Latencies, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The latency that this many in a thousand stay below.
    pub(crate) fn at(&self, thousandths: usize) -> Duration {
        let index = self.0.len() * thousandths / 1_000;
        self.0.get(index.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    pub(crate) fn merged(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::new(parts.into_iter().flat_map(|part| part.0).collect())
    }
}

/// What several rounds measured of one thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rounds {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Rounds {
    pub(crate) fn of(measured: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = measured.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (middle, last) = (sorted.len() / 2, sorted.len().saturating_sub(1));
        let median = if sorted.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        };
        Self { median, lowest: at(0), highest: at(last) }
    }

    pub(crate) fn report(&self) -> Value {
        json!({ "median": self.median, "lowest": self.lowest, "highest": self.highest })
    }
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A count as a floating number; counts here are far below where that loses anything.
#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_medians_are_those_of_the_sorted_values() {
        let latencies = Latencies::new((1..=1_000).rev().map(Duration::from_micros).collect());
        assert_eq!(latencies.at(500), Duration::from_micros(501));
        assert_eq!(latencies.at(990), Duration::from_micros(991));
        assert_eq!(latencies.at(1_000), Duration::from_micros(1_000));
        assert_eq!(Latencies::default().at(500), Duration::ZERO);
        let both = Latencies::merged([latencies.clone(), Latencies::new(vec![Duration::from_secs(1)])]);
        assert_eq!((both.len(), both.at(1_000)), (1_001, Duration::from_secs(1)));
        assert_eq!(Rounds::of([3.0, 1.0, 2.0]), Rounds { median: 2.0, lowest: 1.0, highest: 3.0 });
        assert_eq!(Rounds::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert!(Rounds::of([]).median.is_nan());
    }
}
