//! Where every frame went: exact counts, in one place, for the metrics and for the closing line.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};

use crate::telemetry::{Cause, Metrics, Stage};

/// Counts frames from capture to socket. `captured = published + Σ dropped + in flight`, at any moment.
#[derive(Debug)]
pub struct Account {
    metrics: Metrics,
    captured: AtomicU64,
    published: AtomicU64,
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
        self.captured.fetch_add(1, Release);
        self.driver_gaps.fetch_add(gap, Release);
        self.driver_span.fetch_add(gap + 1, Release);
        self.metrics.captured();
        if gap > 0 {
            self.metrics.driver_gap(gap);
        }
    }

    /// A frame went no further than `stage`.
    pub fn dropped(&self, stage: Stage, cause: Cause) {
        self.dropped[stage as usize][cause as usize].fetch_add(1, Release);
        self.metrics.dropped(stage, cause);
    }

    /// A frame was published.
    pub fn published(&self, captured_ns: u64) {
        self.published.fetch_add(1, Release);
        self.metrics.published(captured_ns);
    }

    /// The few counts that tell whether there is progress. Allocates nothing.
    pub fn counts(&self) -> Counts {
        let dropped = |cause: Cause| self.dropped.iter().map(|stage| stage[cause as usize].load(Acquire)).sum::<u64>();
        let replaced = dropped(Cause::Replaced);
        let others: u64 = Cause::ALL.into_iter().filter(|cause| *cause != Cause::Replaced).map(dropped).sum();
        let answered = self.published.load(Acquire) + others;
        Counts { answered, replaced, captured: self.captured.load(Acquire) }
    }

    /// All counts as they stand.
    pub fn summary(&self) -> Summary {
        // What a frame comes to later is read first: no frame is seen published that is not seen captured.
        let published = self.published.load(Acquire);
        let mut dropped = Vec::new();
        for stage in Stage::ALL {
            for cause in Cause::ALL {
                let count = self.dropped[stage as usize][cause as usize].load(Acquire);
                if count > 0 {
                    dropped.push((stage, cause, count));
                }
            }
        }
        Summary {
            captured: self.captured.load(Acquire),
            published,
            dropped,
            driver_gaps: self.driver_gaps.load(Acquire),
            driver_span: self.driver_span.load(Acquire),
        }
    }
}

/// Frames by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// They came from the source.
    pub captured: u64,
    /// A newer one took their place while they waited.
    pub replaced: u64,
    /// A stage came to an end with them, well or badly.
    pub answered: u64,
}

impl Counts {
    /// Frames that are on their way.
    pub fn in_flight(&self) -> u64 {
        self.captured.saturating_sub(self.answered + self.replaced)
    }
}

/// The counts of an [`Account`], by stage and cause.
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
