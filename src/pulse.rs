//! What each stage is doing right now, for the watchdog: at work since when, or waiting on purpose.
//!
//! A stage that waits on purpose, for another stage or for its camera, is well, however long that takes: every such wait goes
//! through [`rest_during`]. One that has been at work without a wait for much longer than any piece of work takes is stuck.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::monotonic_ns;
use crate::telemetry::Stage;

/// What a cell holds instead of the time at which work began, or will begin when a wait with an end is over.
const RESTING: u64 = 0;

thread_local! {
    /// Of the stage that runs on this thread, if any does.
    static OWN: RefCell<Option<StagePulse>> = const { RefCell::new(None) };
}

/// Runs `wait`, in which the calling thread has nothing to do, for `at_most` so long: a wait that should be over and is not is
/// work that does not end. Threads that are no stage may call it, too.
pub fn rest_during<T>(at_most: Option<Duration>, wait: impl FnOnce() -> T) -> T {
    OWN.with_borrow(|own| own.iter().for_each(|pulse| pulse.rest(at_most)));
    let result = wait();
    OWN.with_borrow(|own| own.iter().for_each(StagePulse::begin));
    result
}

/// The pulses of all stages. Clones look at the same stages.
#[derive(Debug, Clone, Default)]
pub struct Pulses(Arc<[AtomicU64; Stage::ALL.len()]>);

/// One stage's own end. Dropped, the stage has ended, which is not being stuck.
#[derive(Debug)]
struct StagePulse {
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
    /// From now on the calling thread is at work as `stage`, until it waits or ends.
    pub fn keep(&self, stage: Stage) {
        let pulse = StagePulse { pulses: self.clone(), stage };
        pulse.begin();
        OWN.set(Some(pulse));
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
    fn begin(&self) {
        self.pulses.cell(self.stage).store(monotonic_ns().max(1), Ordering::Relaxed);
    }

    fn rest(&self, at_most: Option<Duration>) {
        let back = match at_most.and_then(|at_most| u64::try_from(at_most.as_nanos()).ok()) {
            Some(at_most) => monotonic_ns().saturating_add(at_most),
            None => RESTING,
        };
        self.pulses.cell(self.stage).store(back, Ordering::Relaxed);
    }
}

impl Drop for StagePulse {
    fn drop(&mut self) {
        self.rest(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_stage_at_work_is_stuck_after_the_limit_and_one_that_waits_never_is() {
        let pulses = Pulses::default();
        pulses.keep(Stage::Fast);
        std::thread::sleep(Duration::from_millis(3));
        assert_eq!(pulses.stuck(Duration::from_secs(60)), None);
        assert_eq!(pulses.stuck(Duration::from_millis(1)).map(|stuck| stuck.stage), Some(Stage::Fast));
        rest_during(None, || {
            std::thread::sleep(Duration::from_millis(600));
            assert_eq!(pulses.stuck(Duration::ZERO), None);
        });
        assert_eq!(pulses.stuck(Duration::from_millis(500)), None, "it has only just taken up its work again");
    }

    #[test]
    fn a_wait_that_does_not_end_in_time_is_being_stuck() {
        let pulses = Pulses::default();
        pulses.keep(Stage::Capture);
        rest_during(Some(Duration::from_millis(500)), || {
            assert_eq!(pulses.stuck(Duration::ZERO), None);
            std::thread::sleep(Duration::from_millis(600));
            assert_eq!(pulses.stuck(Duration::from_secs(60)), None);
            assert_eq!(pulses.stuck(Duration::from_millis(10)).map(|stuck| stuck.stage), Some(Stage::Capture));
        });
    }

    #[test]
    fn the_stage_that_began_first_is_named_and_one_that_ended_is_not_stuck() {
        let pulses = Pulses::default();
        let (end, ended) = channel::<()>();
        let (begun, begins) = channel();
        let publish = pulses.clone();
        let thread = std::thread::spawn(move || {
            publish.keep(Stage::Publish);
            begun.send(()).unwrap();
            ended.recv().unwrap_err();
        });
        begins.recv().unwrap();
        std::thread::sleep(Duration::from_millis(2));
        pulses.keep(Stage::Capture);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(pulses.stuck(Duration::ZERO).map(|stuck| stuck.stage), Some(Stage::Publish));
        drop(end);
        thread.join().unwrap();
        assert_eq!(pulses.stuck(Duration::ZERO).map(|stuck| stuck.stage), Some(Stage::Capture));
    }
}
