//! The slow stage, asynchronous: runs the slow network on nominated frames and hands over the memory, whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milad_handover::Putter;

use super::account::Account;
use super::fast::{Nomination, Swap};
use super::link::LinkReceiver;
use super::throttle::Throttle;
use crate::clock::monotonic_ns;
use crate::model::Slow;
use crate::stop::Stop;
use crate::telemetry::Stage;

/// The slow thread's state.
pub struct SlowStage {
    /// The network.
    pub network: Box<dyn Slow>,
    /// Frames from the fast stage.
    pub nominations: LinkReceiver<Nomination>,
    /// Finished keyframes.
    pub memories: Putter<Swap>,
    /// Cleared when this stage is idle again.
    pub busy: Arc<AtomicBool>,
    /// Where times go.
    pub account: Arc<Account>,
    /// No keyframe is started after it is set.
    pub stop: Stop,
}

impl SlowStage {
    /// Runs until the fast stage ends.
    pub fn run(mut self) {
        let mut epoch = None;
        let mut failures = Throttle::default();
        while let Some(nomination) = self.nominations.receive() {
            if self.stop.is_set() {
                continue;
            }
            if epoch != Some(nomination.epoch) {
                epoch = Some(nomination.epoch);
                self.network.reset();
            }
            self.run_keyframe(nomination, &mut failures);
            self.busy.store(false, Ordering::Release);
        }
    }

    /// A failure leaves the memory in force as it is; the next nomination tries again.
    fn run_keyframe(&mut self, nomination: Nomination, failures: &mut Throttle) {
        let Nomination { epoch, mark, image, keys } = nomination;
        let started = monotonic_ns();
        match self.network.run(&image, keys, mark.captured_ns) {
            Ok(run) => {
                let took = monotonic_ns().saturating_sub(started);
                self.account.metrics().stage(Stage::Slow, took as f64 * 1e-9);
                self.account.metrics().keyframe_done();
                // A memory that the fast stage never looked at is replaced by a newer one: nothing is lost.
                drop(self.memories.put(Swap { epoch, mark, memory: run.memory }));
            }
            Err(error) => {
                failures.say(|held| log::error!("keyframe {}: {error}{held}", mark.sequence));
                self.account.metrics().keyframe_failed();
            }
        }
    }
}
