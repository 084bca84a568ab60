//! The synchronous order of work without a clock: which frames are keyframes, and when a keyframe's memory comes into force.
//!
//! `infer` and `eval` share it, so that what is measured is what was compared with other engines. What comes out depends
//! on the pictures alone, never on time. docs/BUNDLE.md ("When a keyframe comes into force") is its specification.

use std::collections::VecDeque;

use crate::model::engine::Values;
use crate::model::{FastNetwork, Image, Keys, Memory, Networks, Prediction, RunError, Slow};

/// Which frames are keyframes, and from when on each is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    period: u64,
    latency: u64,
}

impl Schedule {
    /// Keyframes every `interval` frames, each in force `latency` frames later. There is one slow network, and it takes
    /// `latency` frames: keyframes are at least so far apart.
    pub fn new(interval: u32, latency: u32) -> Schedule {
        Schedule { period: u64::from(interval.max(latency).max(1)), latency: u64::from(latency) }
    }

    /// Frames from keyframe to keyframe.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// Frames from a keyframe to the first frame that it is in force for.
    pub fn latency(&self) -> u64 {
        self.latency
    }

    /// Whether the slow network starts on this frame.
    pub fn is_keyframe(&self, frame: u64) -> bool {
        frame.is_multiple_of(self.period)
    }

    /// The newest keyframe in force for `frame`; `None` before the first.
    pub fn in_force(&self, frame: u64) -> Option<u64> {
        let newest = frame.checked_sub(self.latency)?;
        Some(newest - newest % self.period)
    }
}

/// What one frame brought.
#[derive(Debug)]
pub struct Step {
    /// The frame's number.
    pub number: u64,
    /// All outputs of the slow network, on a keyframe.
    pub slow: Option<Values>,
    /// All outputs of the fast network.
    pub fast: Values,
}

/// What the fast network is asked on a keyframe that is in force at once (latency 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtAgeZero {
    /// Only for its keys, as in the daemon: the slow network's own prediction is the answer.
    Keys,
    /// Once more, for its predictions with that keyframe's memory.
    Predictions,
}

/// How often each network ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// The fast network.
    pub fast: u64,
    /// The slow network, and with it the part of the fast network that depends on memory alone.
    pub slow: u64,
}

/// Frames one after the other, and the memory between them.
#[derive(Debug)]
pub struct Sequence {
    /// The networks.
    pub networks: Networks,
    schedule: Schedule,
    interval_ns: f64,
    memory: Memory,
    /// Memories that come into force at a later frame.
    coming: VecDeque<(u64, Memory)>,
    frames: u64,
    runs: Runs,
}

impl Sequence {
    /// A sequence whose frames are `interval_ns` nanoseconds apart.
    pub fn new(networks: Networks, schedule: Schedule, interval_ns: f64) -> Sequence {
        let memory = networks.initial.clone();
        let (coming, frames, runs) = (VecDeque::new(), 0, Runs::default());
        Sequence { networks, schedule, interval_ns, memory, coming, frames, runs }
    }

    /// Forgets everything: the next frame is the first of another clip.
    pub fn restart(&mut self) {
        self.networks.slow.reset();
        self.memory = self.networks.initial.clone();
        self.coming.clear();
        (self.frames, self.runs) = (0, Runs::default());
    }

    /// Frames since the start.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// How often each network ran since the start.
    pub fn runs(&self) -> Runs {
        self.runs
    }

    /// The next frame, through the fast network, and on keyframes through the slow one.
    pub fn step(&mut self, image: &Image, at_age_zero: AtAgeZero) -> Result<Step, RunError> {
        let number = self.frames;
        let captured_ns = (number as f64 * self.interval_ns).round() as u64;
        let networks = &mut self.networks;
        while self.coming.front().is_some_and(|(from, _)| *from <= number) {
            let Some((_, memory)) = self.coming.pop_front() else { break };
            self.memory = memory;
        }
        let is_keyframe = self.schedule.is_keyframe(number);
        let again = is_keyframe && self.schedule.latency == 0 && at_age_zero == AtAgeZero::Predictions;
        let mut run_fast = |fast: &mut FastNetwork, memory: &Memory| {
            self.runs.fast += 1;
            fast.run_all(image, memory, captured_ns)
        };
        let mut fast = Values::new();
        if !again || networks.fast.gives_keys() {
            fast = run_fast(&mut networks.fast, &self.memory)?;
        }
        let mut slow = None;
        if is_keyframe {
            // What the fast network leaves behind for a keyframe does not depend on the memory that it saw.
            let keys = match networks.fast.gives_keys() {
                true => networks.fast.sort(&fast)?.keys,
                false => Keys::default(),
            };
            let (outputs, memory) = networks.slow.run_all(image, keys, captured_ns)?;
            slow = Some(outputs);
            match self.schedule.latency {
                0 => self.memory = memory,
                latency => self.coming.push_back((number + latency, memory)),
            }
        }
        if again {
            fast = run_fast(&mut networks.fast, &self.memory)?;
        }
        self.runs.slow += u64::from(is_keyframe);
        self.frames += 1;
        Ok(Step { number, slow, fast })
    }

    /// What is published for a frame: the slow network's prediction where its keyframe is in force at once, else the fast
    /// network's.
    pub fn answer(&self, step: &Step) -> Result<Prediction, RunError> {
        match &step.slow {
            Some(outputs) if self.schedule.latency == 0 => self.networks.slow.sort(outputs),
            _ => Ok(self.networks.fast.sort(&step.fast)?.prediction),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_come_every_period_and_into_force_a_latency_later() {
        for (interval, latency) in [(1, 0), (5, 0), (5, 2), (3, 3), (2, 7), (10, 4)] {
            let schedule = Schedule::new(interval, latency);
            let period = u64::from(interval.max(latency).max(1));
            assert_eq!(schedule.period(), period);
            for frame in 0..60u64 {
                assert_eq!(schedule.is_keyframe(frame), frame % period == 0);
                let naive = (0..=frame).rev().find(|k| k % period == 0 && k + u64::from(latency) <= frame);
                assert_eq!(schedule.in_force(frame), naive, "{interval} {latency} {frame}");
            }
        }
    }
}
