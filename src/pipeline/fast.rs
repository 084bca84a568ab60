//! The fast stage, asynchronous: every frame is answered at once, with the newest keyframe that is finished.
//!
//! A frame that this stage has itself finished is nominated as the next keyframe when the slow stage is idle and the
//! keyframe interval is over. Its own `key.*` travel with the nomination; the slow stage makes them part of the memory
//! when, and only when, the slow network succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use milad_handover::Taker;

use super::account::Account;
use super::frame::{KeyframeMark, Outcome, Prepared};
use super::link::{LinkReceiver, LinkSender, Sent};
use super::throttle::Throttle;
use crate::clock::monotonic_ns;
use crate::model::engine::Image;
use crate::model::{Fast, Keys, Memory};
use crate::stop::Stop;
use crate::telemetry::{Cause, Stage};

/// A frame on its way to become a keyframe.
#[derive(Debug)]
pub struct Nomination {
    /// The camera's epoch that it belongs to.
    pub epoch: u64,
    /// Which frame it is.
    pub mark: KeyframeMark,
    /// The frame.
    pub image: Image,
    /// What the fast network made of it.
    pub keys: Keys,
}

/// A finished keyframe: the memory, whole.
#[derive(Debug)]
pub struct Swap {
    /// The camera's epoch that it belongs to.
    pub epoch: u64,
    /// Which frame it is.
    pub mark: KeyframeMark,
    /// What the fast network shall see from now on.
    pub memory: Memory,
}

/// The fast thread's state.
pub struct FastStage {
    /// The network.
    pub network: Box<dyn Fast>,
    /// The memory before the first keyframe.
    pub initial: Memory,
    /// Images from preparation.
    pub images: LinkReceiver<Prepared>,
    /// Answers for publishing.
    pub output: LinkSender<Outcome>,
    /// Frames for the slow stage.
    pub nominations: LinkSender<Nomination>,
    /// Finished keyframes.
    pub memories: Taker<Swap>,
    /// Set here with a nomination, cleared by the slow stage when it is idle again.
    pub slow_busy: Arc<AtomicBool>,
    /// Frames from nomination to nomination, at least. May change while running.
    pub interval: Arc<AtomicU32>,
    /// Where frames went.
    pub account: Arc<Account>,
    /// Lets what is still on its way fall.
    pub stop: Stop,
}

impl FastStage {
    /// Runs until preparation ends.
    pub fn run(mut self) {
        let mut epoch = None;
        let mut memory = self.initial.clone();
        let mut keyframe: Option<KeyframeMark> = None;
        let mut nominated: Option<u64> = None;
        let mut failures = Throttle::default();
        while let Some(Prepared { mut meta, image }) = self.images.receive() {
            if self.stop.is_set() {
                self.account.dropped(Stage::Fast, Cause::Stopped);
                continue;
            }
            if epoch != Some(meta.epoch) {
                // Another camera, or another moment in its life: what was remembered is of another scene.
                epoch = Some(meta.epoch);
                memory = self.initial.clone();
                (keyframe, nominated) = (None, None);
            }
            if let Some(swap) = self.memories.take()
                && swap.epoch == meta.epoch
            {
                memory = swap.memory;
                keyframe = Some(swap.mark);
            }
            let slow_running = self.slow_busy.load(Ordering::Acquire);
            let started = monotonic_ns();
            let run = match self.network.run(&image, &memory, meta.captured_ns) {
                Ok(run) => run,
                Err(error) => {
                    failures.say(|held| log::error!("frame {}: {error}{held}", meta.sequence));
                    self.account.dropped(Stage::Fast, Cause::Failed);
                    continue;
                }
            };
            meta.network_ns = monotonic_ns().saturating_sub(started);
            self.account.metrics().stage(Stage::Fast, meta.network_ns as f64 * 1e-9);

            let (sequence, frame_epoch, captured_ns) = (meta.sequence, meta.epoch, meta.captured_ns);
            let outcome = Outcome {
                meta,
                image: image.clone(),
                prediction: run.prediction,
                keyframe,
                confidence: run.confidence,
                slow_running,
            };
            // The answer first: the nomination can wait, the client can't.
            match self.output.send(outcome) {
                Sent::Delivered => {}
                Sent::Replaced(_) => self.account.dropped(Stage::Publish, Cause::Replaced),
                Sent::Refused(_) => self.account.dropped(Stage::Fast, Cause::Stopped),
            }

            let interval = u64::from(self.interval.load(Ordering::Relaxed).max(1));
            let due = nominated.is_none_or(|nominated| sequence.saturating_sub(nominated) >= interval);
            if due && !self.slow_busy.load(Ordering::Acquire) {
                self.slow_busy.store(true, Ordering::Release);
                nominated = Some(sequence);
                let mark = KeyframeMark { sequence, captured_ns };
                let nomination = Nomination { epoch: frame_epoch, mark, image, keys: run.keys };
                // Refused only when the daemon ends; never replaced, since the slow stage is idle.
                let _ = self.nominations.send(nomination);
            }
        }
    }
}
