//! The numbers behind metrics: a counter, a gauge and a histogram over atomics. An update never locks and never allocates.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use metrics::{CounterFn, GaugeFn, HistogramFn};

/// Only grows.
#[derive(Debug, Default)]
pub struct CounterCell(AtomicU64);

impl CounterCell {
    /// The count. Whoever sees an increment sees what happened before it, other counters' increments included.
    pub fn value(&self) -> u64 {
        self.0.load(Acquire)
    }
}

impl CounterFn for CounterCell {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Release);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Release);
    }
}

/// An f64, kept as its bits.
#[derive(Debug, Default)]
pub struct GaugeCell(AtomicU64);

impl GaugeCell {
    /// The value.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    fn add(&self, value: f64) {
        // Relaxed is enough: each number stands for itself.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + value).to_bits()));
    }
}

impl GaugeFn for GaugeCell {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }
}

/// Counts by fixed upper bounds, and the sum of all values.
#[derive(Debug)]
pub struct HistogramCell {
    bounds: &'static [f64],
    /// One more than bounds: the last is +Inf.
    counts: Box<[AtomicU64]>,
    sum: GaugeCell,
}

impl HistogramCell {
    /// A histogram with these upper bounds, ascending; +Inf is added.
    pub fn new(bounds: &'static [f64]) -> HistogramCell {
        HistogramCell {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: GaugeCell::default(),
        }
    }

    /// Upper bound and cumulative count by bucket; the last is +Inf, whose count is the number of values.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut total = 0;
        bounds.zip(&self.counts).map(move |(bound, count)| {
            total += count.load(Relaxed);
            (bound, total)
        })
    }

    /// The sum of the values.
    pub fn sum(&self) -> f64 {
        self.sum.value()
    }
}

impl HistogramFn for HistogramCell {
    fn record(&self, value: f64) {
        // A value that is no number says nothing and would spoil the sum for good.
        if value.is_nan() {
            return;
        }
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
            self.sum.add(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_its_bucket_and_one_beyond_all_to_infinity() {
        let cell = HistogramCell::new(&[1.0, 2.0]);
        for value in [1.0, 1.5, 2.0, 3.0, f64::NAN] {
            cell.record(value);
        }
        assert_eq!(cell.cumulative().collect::<Vec<_>>(), [(1.0, 1), (2.0, 3), (f64::INFINITY, 4)]);
        assert_eq!(cell.sum(), 7.5);
    }

    #[test]
    fn sums_from_many_threads_lose_nothing() {
        let cell = HistogramCell::new(&[1.0]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| cell.record(0.5)));
            }
        });
        assert_eq!(cell.sum(), 20_000.0);
        assert_eq!(cell.cumulative().last(), Some((f64::INFINITY, 40_000)));
    }
}
