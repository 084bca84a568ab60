//! The fast and slow stage in one, synchronous: every n-th frame is a keyframe, and its answer is the slow network's own.
//!
//! What comes out depends on the frames alone: not on time, not on threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::account::Account;
use super::frame::{KeyframeMark, Meta, Outcome, Prepared};
use super::link::{LinkReceiver, LinkSender, Sent};
use super::throttle::Throttle;
use crate::clock::monotonic_ns;
use crate::model::engine::Image;
use crate::model::{Fast, Memory, RunError, Slow};
use crate::stop::Stop;
use crate::telemetry::{Cause, Stage};

/// The thread's state.
pub struct SynchronousStage {
    /// The network for every frame.
    pub fast: Box<dyn Fast>,
    /// The network for keyframes.
    pub slow: Box<dyn Slow>,
    /// The memory before the first keyframe.
    pub initial: Memory,
    /// Images from preparation.
    pub images: LinkReceiver<Prepared>,
    /// Answers for publishing.
    pub output: LinkSender<Outcome>,
    /// Frames from keyframe to keyframe. May change while running.
    pub interval: Arc<AtomicU32>,
    /// Where frames went.
    pub account: Arc<Account>,
    /// Lets what is still on its way fall.
    pub stop: Stop,
}

impl SynchronousStage {
    /// Runs until preparation ends.
    pub fn run(mut self) {
        let mut epoch = None;
        let mut memory = self.initial.clone();
        let mut keyframe: Option<KeyframeMark> = None;
        let mut tried: Option<u64> = None;
        let mut failures = Throttle::default();
        while let Some(Prepared { meta, image }) = self.images.receive() {
            if self.stop.is_set() {
                self.account.dropped(Stage::Fast, Cause::Stopped);
                continue;
            }
            if epoch != Some(meta.epoch) {
                epoch = Some(meta.epoch);
                memory = self.initial.clone();
                (keyframe, tried) = (None, None);
                self.slow.reset();
            }
            let interval = u64::from(self.interval.load(Ordering::Relaxed).max(1));
            let sequence = meta.sequence;
            // After a failure, too, an interval passes: as in the asynchronous mode.
            let due = tried.is_none_or(|tried| sequence.saturating_sub(tried) >= interval);
            if due {
                tried = Some(sequence);
            }
            match self.answer(meta, &image, due, &mut memory, &mut keyframe, &mut failures) {
                Ok(outcome) => match self.output.send(outcome) {
                    Sent::Delivered => {}
                    Sent::Replaced(_) => self.account.dropped(Stage::Publish, Cause::Replaced),
                    Sent::Refused(_) => self.account.dropped(Stage::Fast, Cause::Stopped),
                },
                Err(error) => {
                    failures.say(|held| log::error!("frame {sequence}: {error}{held}"));
                    self.account.dropped(Stage::Fast, Cause::Failed);
                }
            }
        }
    }

    /// The slow network's prediction on a keyframe; the fast network's on any other, or where the slow one fails.
    fn answer(
        &mut self,
        mut meta: Meta,
        image: &Image,
        due: bool,
        memory: &mut Memory,
        keyframe: &mut Option<KeyframeMark>,
        failures: &mut Throttle,
    ) -> Result<Outcome, RunError> {
        let started = monotonic_ns();
        let run = self.fast.run(image, memory, meta.captured_ns)?;
        let fast_done = monotonic_ns();
        self.account.metrics().stage(Stage::Fast, fast_done.saturating_sub(started) as f64 * 1e-9);
        let (mut prediction, mut confidence) = (run.prediction, run.confidence);
        if due {
            match self.slow.run(image, run.keys, meta.captured_ns) {
                Ok(slow) => {
                    let took = monotonic_ns().saturating_sub(fast_done);
                    self.account.metrics().stage(Stage::Slow, took as f64 * 1e-9);
                    self.account.metrics().keyframe_done();
                    *memory = slow.memory;
                    *keyframe = Some(KeyframeMark { sequence: meta.sequence, captured_ns: meta.captured_ns });
                    // The slow network looked at this very frame: there is no attention to be sure or unsure of.
                    (prediction, confidence) = (slow.prediction, None);
                }
                Err(error) => {
                    failures.say(|held| log::error!("keyframe {}: {error}{held}", meta.sequence));
                    self.account.metrics().keyframe_failed();
                }
            }
        }
        meta.network_ns = monotonic_ns().saturating_sub(started);
        Ok(Outcome { meta, image: image.clone(), prediction, keyframe: *keyframe, confidence, slow_running: false })
    }
}
