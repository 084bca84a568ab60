//! One clip through the networks in one mode, and what its answers are worth.
//!
//! Scored are the frames for which the schedule has a keyframe in force, in every mode, so that modes of one interval and
//! latency are compared on the same frames.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use milad_client::Named;
use milad_kernels::pixel::Resize;
use milad_scene::Truth;
use rustix::time::{ClockId, clock_gettime};

use super::Mode;
use super::clips::{Kinds, OpenClip};
use super::confusion::Confusion;
use super::consistency::{Follower, View};
use super::scores::{Scores, Target, Targets};
use crate::capture::Frame;
use crate::model::engine::{blank, pixels};
use crate::model::{Fast, Image, Networks, Prediction, Spec};
use crate::prepare::{Prepare, PrepareOptions};
use crate::publish::Digest;
use crate::publish::plane::{Plane, Values};
use crate::sequence::{AtAgeZero, Schedule, Sequence};
use crate::stop::Stop;

/// Everything that is learned of clips.
#[derive(Debug, Clone, Default)]
pub struct ClipResult {
    /// Frames played, scored or not.
    pub frames: u64,
    /// All scored frames.
    pub all: Scores,
    /// Those that are no keyframes.
    pub non_key: Scores,
    /// Answers against the truth of the moment at which they came out.
    pub streaming: Scores,
    /// By age of the keyframe in force.
    pub by_age: BTreeMap<u64, Scores>,
    /// For each task: classes predicted for the same piece of the world in one frame (row) and the next (column).
    pub consistency: Vec<Option<Confusion>>,
    /// What it took.
    pub cost: Cost,
}

/// What the networks took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Runs of the fast network.
    pub fast_runs: u64,
    /// Runs of the slow network.
    pub slow_runs: u64,
    /// Runs of what depends on memory alone.
    pub prelude_runs: u64,
    /// Wall time in the networks, seconds.
    pub wall_s: f64,
    /// Processor time in the networks, seconds.
    pub cpu_s: f64,
}

impl ClipResult {
    /// Adds another clip's.
    pub fn merge(&mut self, other: &ClipResult) {
        self.frames += other.frames;
        self.all.merge(&other.all);
        self.non_key.merge(&other.non_key);
        self.streaming.merge(&other.streaming);
        for (age, scores) in &other.by_age {
            self.by_age.entry(*age).or_default().merge(scores);
        }
        for (sum, other) in self.consistency.iter_mut().zip(&other.consistency) {
            if let (Some(sum), Some(other)) = (sum, other) {
                sum.merge(other);
            }
        }
        let (cost, other) = (&mut self.cost, &other.cost);
        cost.fast_runs += other.fast_runs;
        cost.slow_runs += other.slow_runs;
        cost.prelude_runs += other.prelude_runs;
        cost.wall_s += other.wall_s;
        cost.cpu_s += other.cpu_s;
    }
}

/// The frame whose answer is there at the moment of frame `moment`; frames that do not exist yet are `None`.
///
/// What is computed of a picture is there in the next frame at the earliest; what is kept from a keyframe is there at once.
/// There is one slow network: on every frame it can start no sooner than it is done with the frame before.
pub fn answer_at(mode: Mode, schedule: Schedule, moment: u64) -> Option<u64> {
    let busy = schedule.latency().max(1);
    match mode {
        Mode::Mila | Mode::Fast => moment.checked_sub(1),
        Mode::Slow => moment.checked_sub(busy).map(|started| started - started % busy),
        Mode::Copy if schedule.latency() == 0 => moment.checked_sub(1),
        Mode::Copy => Some(moment),
    }
}

/// The first moment that streaming quality is scored at, in every mode: from there on each has the answer to a scored frame.
pub fn first_streaming(schedule: Schedule) -> u64 {
    schedule.latency() + schedule.latency().max(1)
}

/// Runs clips in one mode.
pub struct Runner<'a> {
    mode: Mode,
    schedule: Schedule,
    targets: &'a Targets,
    sequence: Sequence,
    /// The slow network's answers in [`Mode::Copy`], with the frame from which each is in force.
    coming: VecDeque<(u64, Prediction)>,
    held: Option<Prediction>,
    follower: Follower,
}

/// What is kept from the frame before.
struct Before {
    planes: Vec<Plane>,
    truth: Truth,
}

impl<'a> Runner<'a> {
    /// For clips of one kind.
    pub fn new(networks: Networks, mode: Mode, schedule: Schedule, targets: &'a Targets) -> Runner<'a> {
        let interval_ns = networks.spec.frame_interval_s * 1e9;
        let sequence = Sequence::new(networks, schedule, interval_ns);
        let (coming, held, follower) = (VecDeque::new(), None, Follower::default());
        Runner { mode, schedule, targets, sequence, coming, held, follower }
    }

    /// Plays one clip from its start.
    pub fn run(&mut self, clip: &mut OpenClip, stop: &Stop, progress: &ProgressBar) -> anyhow::Result<ClipResult> {
        self.sequence.restart();
        self.coming.clear();
        self.held = None;
        let spec = self.sequence.networks.spec.clone();
        let (width, height) = (clip.camera.format.width, clip.camera.format.height);
        check_shape(&spec, width, height)?;
        let mut prepare =
            Prepare::new(&clip.camera, &spec.input, &PrepareOptions::default()).map_err(anyhow::Error::msg)?;
        let mut digest = Digest::new(&published_at(&spec, width, height));
        let mut statistics = Named::default();
        // Answers that have come out, or are still to.
        let mut answers: VecDeque<(u64, Vec<Plane>)> = VecDeque::new();
        let mut result = ClipResult { consistency: self.no_consistency(clip.kinds), ..ClipResult::default() };
        let mut before: Option<Before> = None;
        let mut truth = Truth::default();
        while let Some(raw) = clip.next(stop, &mut truth)? {
            let number = result.frames;
            let frame = Frame { sequence: number, epoch: 0, camera: clip.camera.clone(), raw };
            let image = prepared(&mut prepare, &frame, &spec).with_context(|| format!("frame {number}"))?;
            drop(frame);
            let answer = self.timed(number, &image, &mut result.cost).with_context(|| format!("frame {number}"))?;
            result.frames += 1;
            progress.inc(1);
            let (Some(keyframe), Some(answer)) = (self.schedule.in_force(number), answer) else { continue };
            digest.run(&answer, &mut statistics).with_context(|| format!("frame {number}"))?;
            let planes = digest.planes();

            let scores = Scores::of_frame(planes, &truth, clip.kinds, self.targets);
            result.all.merge(&scores);
            if !self.schedule.is_keyframe(number) {
                result.non_key.merge(&scores);
            }
            result.by_age.entry(number - keyframe).or_default().merge(&scores);

            answers.push_back((number, planes.to_vec()));
            let wanted =
                answer_at(self.mode, self.schedule, number).filter(|_| number >= first_streaming(self.schedule));
            if let Some(wanted) = wanted {
                while answers.front().is_some_and(|(frame, _)| *frame < wanted) {
                    answers.pop_front();
                }
                if let Some((_, planes)) = answers.front() {
                    result.streaming.merge(&Scores::of_frame(planes, &truth, clip.kinds, self.targets));
                }
            }
            if let Some(before) = &before {
                self.follow(before, (planes, &truth), width, &mut result.consistency);
            }
            let (mut kept, mut buffers) = match before.take() {
                Some(Before { planes, truth }) => (truth, planes),
                None => Default::default(),
            };
            std::mem::swap(&mut kept, &mut truth);
            buffers.clear();
            buffers.extend_from_slice(planes);
            before = Some(Before { planes: buffers, truth: kept });
        }
        Ok(result)
    }

    fn timed(&mut self, number: u64, image: &Image, cost: &mut Cost) -> anyhow::Result<Option<Prediction>> {
        let (wall, cpu) = (Instant::now(), thread_seconds());
        let answer = self.answer(number, image, cost)?;
        cost.wall_s += wall.elapsed().as_secs_f64();
        cost.cpu_s += thread_seconds() - cpu;
        Ok(answer)
    }

    fn answer(&mut self, number: u64, image: &Image, cost: &mut Cost) -> anyhow::Result<Option<Prediction>> {
        let networks = &mut self.sequence.networks;
        match self.mode {
            Mode::Mila => {
                let before = self.sequence.runs();
                let step = self.sequence.step(image, AtAgeZero::Keys)?;
                let now = self.sequence.runs();
                cost.fast_runs += now.fast - before.fast;
                cost.slow_runs += now.slow - before.slow;
                cost.prelude_runs += now.slow - before.slow;
                Ok(Some(self.sequence.answer(&step)?))
            }
            Mode::Slow => {
                cost.slow_runs += 1;
                Ok(Some(networks.slow.predict(image)?))
            }
            Mode::Fast => {
                cost.fast_runs += 1;
                // Without a keyframe there is no age: the time means nothing.
                Ok(Some(networks.fast.run(image, &networks.initial, 0)?.prediction))
            }
            Mode::Copy => {
                if self.schedule.is_keyframe(number) {
                    cost.slow_runs += 1;
                    let prediction = networks.slow.predict(image)?;
                    self.coming.push_back((number + self.schedule.latency(), prediction));
                }
                while self.coming.front().is_some_and(|(from, _)| *from <= number) {
                    self.held = self.coming.pop_front().map(|(_, prediction)| prediction);
                }
                Ok(self.held.clone())
            }
        }
    }

    /// A confusion for each segmentation, where the truth tells enough to follow pixels.
    fn no_consistency(&self, kinds: Kinds) -> Vec<Option<Confusion>> {
        let follows = kinds.class && kinds.depth && kinds.flow;
        let confusion =
            |target: &Target| target.classes().filter(|_| follows).map(|classes| Confusion::new(classes.names.len()));
        self.targets.0.iter().map(confusion).collect()
    }

    fn follow(
        &mut self,
        before: &Before,
        (planes, truth): (&[Plane], &Truth),
        width: usize,
        consistency: &mut [Option<Confusion>],
    ) {
        let view = |truth| {
            let Truth { class, depth, flow, .. }: &Truth = truth;
            View { width, class, depth, flow }
        };
        for ((earlier, later), confusion) in before.planes.iter().zip(planes).zip(consistency) {
            if let (Values::U8(earlier), Values::U8(later), Some(confusion)) =
                (&earlier.values, &later.values, confusion)
            {
                self.follower.compare((earlier, view(&before.truth)), (later, view(truth)), confusion);
            }
        }
    }
}

/// Maps are published as large as the truth, so that pixels are compared with pixels.
fn published_at(spec: &Spec, width: usize, height: usize) -> Spec {
    let mut spec = spec.clone();
    for task in &mut spec.tasks {
        (task.width, task.height) = (width, height);
    }
    spec
}

/// Where a part of the picture is cut off, or bars are added, maps do not lie on the picture.
fn check_shape(spec: &Spec, width: usize, height: usize) -> anyhow::Result<()> {
    let input = &spec.input;
    let fits = input.resize == Resize::Stretch || width * input.height == height * input.width;
    ensure!(
        fits,
        "expected pictures of the shape of the bundle's input ({}×{}), which is not stretched to them, found {width}×{height}; \
         bring the clip to that shape first",
        input.width,
        input.height
    );
    Ok(())
}

fn prepared(prepare: &mut Prepare, frame: &Frame, spec: &Spec) -> anyhow::Result<Image> {
    let (mut image, mut prepared) = (blank(&spec.input)?, Ok(()));
    pixels(&mut image, |pixels| prepared = prepare.run(frame, pixels))?;
    prepared?;
    Ok(Image::from(image))
}

/// Processor time of this thread; the networks run on it alone.
fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_computed_is_there_before_the_next_frame() {
        let at = |mode, latency| [6, 7, 8, 9].map(|moment| answer_at(mode, Schedule::new(5, latency), moment));
        let frames = |frames: [u64; 4]| frames.map(Some);
        for latency in [0, 1, 4] {
            assert_eq!(at(Mode::Mila, latency), frames([5, 6, 7, 8]));
            assert_eq!(at(Mode::Fast, latency), frames([5, 6, 7, 8]));
        }
        assert_eq!(at(Mode::Copy, 0), frames([5, 6, 7, 8]));
        assert_eq!(at(Mode::Copy, 4), frames([6, 7, 8, 9]));
        assert_eq!(at(Mode::Slow, 0), frames([5, 6, 7, 8]));
        // Started at 0, 4, 8 …, each there 4 frames later.
        assert_eq!(at(Mode::Slow, 4), frames([0, 0, 4, 4]));
    }

    #[test]
    fn streaming_starts_where_every_mode_has_an_answer_to_a_scored_frame() {
        for latency in 0..12 {
            let schedule = Schedule::new(5, latency);
            for mode in [Mode::Mila, Mode::Fast, Mode::Slow, Mode::Copy] {
                for moment in first_streaming(schedule)..60 {
                    let frame = answer_at(mode, schedule, moment).unwrap();
                    assert!(schedule.in_force(frame).is_some(), "{mode:?} {latency} {moment}");
                }
            }
        }
    }
}
