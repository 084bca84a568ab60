//! Where every frame went: exact counts, in one place, for the metrics and for the closing line.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::telemetry::{Cause, Metrics, Stage};

/// Counts frames from capture to socket. `captured = published + Σ dropped + in flight`, at any moment.
#[derive(Debug)]
pub struct Account {
    metrics: Metrics,
    captured: AtomicU64,
    published: AtomicU64,
    in_flight: AtomicU64,
    dropped: [[AtomicU64; Cause::ALL.len()]; Stage::ALL.len()],
    driver_gaps: AtomicU64,
    driver_span: AtomicU64,
}

impl Account {
    /// Nothing counted yet.
    pub fn new(metrics: Metrics) -> Account {
        Account {
            metrics,
            captured: AtomicU64::new(0),
            published: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            dropped: Default::default(),
            driver_gaps: AtomicU64::new(0),
            driver_span: AtomicU64::new(0),
        }
    }

    /// The series that these counts go to, and all others.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A frame came from the source, usable or not, after `gap` frames that the driver lost.
    pub fn captured(&self, gap: u64) {
        self.captured.fetch_add(1, Relaxed);
        self.driver_gaps.fetch_add(gap, Relaxed);
        self.driver_span.fetch_add(gap + 1, Relaxed);
        self.metrics.captured();
        self.metrics.in_flight(self.in_flight.fetch_add(1, Relaxed) + 1);
        if gap > 0 {
            self.metrics.driver_gap(gap);
        }
    }

    /// A frame went no further than `stage`.
    pub fn dropped(&self, stage: Stage, cause: Cause) {
        self.dropped[stage as usize][cause as usize].fetch_add(1, Relaxed);
        self.metrics.dropped(stage, cause);
        self.landed();
    }

    /// A frame was published.
    pub fn published(&self, captured_ns: u64) {
        self.published.fetch_add(1, Relaxed);
        self.metrics.published(captured_ns);
        self.landed();
    }

    /// A frame's way is over, one way or another. Every frame was counted as captured before.
    fn landed(&self) {
        self.metrics.in_flight(self.in_flight.fetch_sub(1, Relaxed).saturating_sub(1));
    }

    /// All counts as they stand.
    pub fn summary(&self) -> Summary {
        let mut dropped = Vec::new();
        for stage in Stage::ALL {
            for cause in Cause::ALL {
                let count = self.dropped[stage as usize][cause as usize].load(Relaxed);
                if count > 0 {
                    dropped.push((stage, cause, count));
                }
            }
        }
        Summary {
            captured: self.captured.load(Relaxed),
            published: self.published.load(Relaxed),
            dropped,
            driver_gaps: self.driver_gaps.load(Relaxed),
            driver_span: self.driver_span.load(Relaxed),
        }
    }
}

/// The counts of an [`Account`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Frames that came from the source, bad ones included.
    pub captured: u64,
    /// Frames that went out as results.
    pub published: u64,
    /// Frames that went nowhere, by stage and cause; only what happened.
    pub dropped: Vec<(Stage, Cause, u64)>,
    /// Frames that the driver itself lost, by its own count.
    pub driver_gaps: u64,
    /// What the driver's count went through, summed over epochs: captured + driver gaps.
    pub driver_span: u64,
}

impl Summary {
    /// Frames that are on their way.
    pub fn in_flight(&self) -> u64 {
        let gone = self.published + self.dropped.iter().map(|(_, _, count)| count).sum::<u64>();
        self.captured.saturating_sub(gone)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "captured={} published={}", self.captured, self.published)?;
        for (stage, cause, count) in &self.dropped {
            write!(f, " dropped{{{},{}}}={count}", stage.name(), cause.name())?;
        }
        write!(f, " in_flight={}", self.in_flight())?;
        write!(f, " driver_span={} driver_gaps={}", self.driver_span, self.driver_gaps)
    }
}
