//! What each stage is doing right now, for the watchdog: at work since when, or waiting on purpose.
//!
//! A stage that waits for the stage before it is well, however long that takes. One that has been at the same piece of work
//! for much longer than any piece takes is stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::monotonic_ns;
use crate::telemetry::Stage;

/// `0`: waiting on purpose.
const RESTING: u64 = 0;

/// The pulses of all stages. Clones look at the same stages.
#[derive(Debug, Clone, Default)]
pub struct Pulses(Arc<[AtomicU64; Stage::ALL.len()]>);

/// One stage's own end. Dropped, the stage has ended, which is not being stuck.
#[derive(Debug)]
pub struct StagePulse {
    pulses: Pulses,
    stage: Stage,
}

/// A stage that has been at one piece of work for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// Which one.
    pub stage: Stage,
    /// For how long.
    pub since: Duration,
}

impl Pulses {
    /// The pulse that `stage` keeps.
    pub fn of(&self, stage: Stage) -> StagePulse {
        StagePulse { pulses: self.clone(), stage }
    }

    /// The stage that has been at one piece of work the longest, where that is longer than `limit`. Where stages wait for each
    /// other with work in hand, the one that holds up the others began first.
    pub fn stuck(&self, limit: Duration) -> Option<Stuck> {
        let now = monotonic_ns();
        let began = |stage: Stage| match self.cell(stage).load(Ordering::Relaxed) {
            RESTING => None,
            began => Some(Stuck { stage, since: Duration::from_nanos(now.saturating_sub(began)) }),
        };
        let longest = Stage::ALL.into_iter().filter_map(began).max_by_key(|stuck| stuck.since)?;
        (longest.since > limit).then_some(longest)
    }

    fn cell(&self, stage: Stage) -> &AtomicU64 {
        let [capture, prepare, fast, slow, publish] = &*self.0;
        match stage {
            Stage::Capture => capture,
            Stage::Prepare => prepare,
            Stage::Fast => fast,
            Stage::Slow => slow,
            Stage::Publish => publish,
        }
    }
}

impl StagePulse {
    /// The stage takes up a piece of work, or its next one.
    pub fn begin(&self) {
        self.pulses.cell(self.stage).store(monotonic_ns().max(1), Ordering::Relaxed);
    }

    /// The stage has nothing to do until something comes.
    pub fn rest(&self) {
        self.pulses.cell(self.stage).store(RESTING, Ordering::Relaxed);
    }
}

impl Drop for StagePulse {
    fn drop(&mut self) {
        self.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_at_work_is_stuck_after_the_limit_and_one_that_rests_never_is() {
        let pulses = Pulses::default();
        let (fast, slow) = (pulses.of(Stage::Fast), pulses.of(Stage::Slow));
        fast.begin();
        slow.rest();
        std::thread::sleep(Duration::from_millis(3));
        assert_eq!(pulses.stuck(Duration::from_secs(60)), None);
        assert_eq!(pulses.stuck(Duration::from_millis(1)).unwrap().stage, Stage::Fast);
        fast.rest();
        assert_eq!(pulses.stuck(Duration::ZERO), None);
    }

    #[test]
    fn the_stage_that_began_first_is_named() {
        let pulses = Pulses::default();
        let (publish, capture) = (pulses.of(Stage::Publish), pulses.of(Stage::Capture));
        publish.begin();
        std::thread::sleep(Duration::from_millis(2));
        capture.begin();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(pulses.stuck(Duration::ZERO).unwrap().stage, Stage::Publish);
        drop(publish);
        assert_eq!(pulses.stuck(Duration::ZERO).unwrap().stage, Stage::Capture);
    }
}
