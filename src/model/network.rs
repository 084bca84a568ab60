//! The fast and the slow network of a bundle, as the pipeline runs them. They share nothing but the [`Memory`] that passes between them.

use std::collections::VecDeque;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::engine::{Fast, FastRun, Image, Keys, Memory, Prediction, RunError, Slow, SlowRun, Values};
use super::hoist::Source;
use super::kept::{Kept, slice_mut};
use super::plan::Plan;
use super::wiring::{Giver, Wiring};

/// The network that runs on every frame.
#[derive(Debug)]
pub struct FastNetwork {
    pub(crate) plan: Plan,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) frame_interval_s: f64,
    pub(crate) output_names: Vec<String>,
    /// The inputs `age` and `valid`.
    pub(crate) slots: Kept,
}

impl FastNetwork {
    /// Names of all outputs, in the order of [`FastNetwork::run_all`].
    pub fn output_names(&self) -> &[String] {
        &self.output_names
    }

    /// Whether it gives memory of its own, so that a keyframe needs its answer too.
    pub fn gives_keys(&self) -> bool {
        !self.wiring.keys.is_empty()
    }

    /// All outputs as the network gives them.
    pub fn run_all(&mut self, image: &Image, memory: &Memory, captured_ns: u64) -> Result<Values, RunError> {
        let inputs = self.inputs(image, memory, captured_ns)?;
        self.plan.run(inputs)
    }

    /// As [`FastNetwork::run_all`], telling `observe` of each node and the seconds that it took.
    pub(crate) fn run_timed(
        &mut self,
        image: &Image,
        memory: &Memory,
        captured_ns: u64,
        observe: super::plan::Observe,
    ) -> Result<Values, RunError> {
        let inputs = self.inputs(image, memory, captured_ns)?;
        self.plan.run_timed(inputs, observe)
    }

    fn inputs(&mut self, image: &Image, memory: &Memory, captured_ns: u64) -> Result<Values, RunError> {
        let keyframes = self.wiring.keyframes;
        let frame_interval_s = self.frame_interval_s;
        let age = |slot: usize| match memory.captured_ns.get(slot) {
            // A keyframe is never newer than the frame; clocks that disagree count as no age.
            Some(&keyframe) => (captured_ns.saturating_sub(keyframe) as f64 / 1e9 / frame_interval_s) as f32,
            None => -1.0,
        };
        let valid = |slot: usize| f32::from(u8::from(slot < memory.captured_ns.len()));
        let mut write = || {
            self.slots.refresh(2, |_| Ok(f32::fact([keyframes])))?;
            let mut tensors = self.slots.tensors();
            let mut fill = |number: &dyn Fn(usize) -> f32| -> TractResult<()> {
                let numbers = slice_mut::<f32>(tensors.next().context("no room")??)?;
                numbers.iter_mut().enumerate().for_each(|(slot, to)| *to = number(slot));
                Ok(())
            };
            fill(&age)?;
            fill(&valid)
        };
        let written: TractResult<()> = write();
        written.map_err(|error| RunError { network: "fast", reason: error.to_string() })?;
        let given = self.slots.values().into_iter().zip([self.wiring.age, self.wiring.valid]);
        let mut inputs = Values::new();
        inputs.push(image.clone().into_tvalue());
        inputs.extend(given.filter(|(_, wanted)| *wanted).map(|(value, _)| value));
        inputs.extend(memory.values.iter().cloned());
        Ok(inputs)
    }

    /// Sorts the outputs of [`FastNetwork::run_all`] by what they are for.
    pub fn sort(&self, outputs: &[TValue]) -> Result<FastRun, RunError> {
        Ok(FastRun {
            prediction: Prediction { tasks: pick("fast", outputs, &self.wiring.fast_tasks)? },
            keys: Keys(pick("fast", outputs, &self.wiring.keys)?),
            confidence: mean(&pick("fast", outputs, &self.wiring.confidence)?),
        })
    }
}

impl Fast for FastNetwork {
    fn run(&mut self, image: &Image, memory: &Memory, captured_ns: u64) -> Result<FastRun, RunError> {
        let outputs = self.run_all(image, memory, captured_ns)?;
        self.sort(&outputs)
    }
}

/// What a keyframe left behind: one tensor a memory input.
#[derive(Debug, Clone)]
struct Keyframe {
    values: TVec<TValue>,
    captured_ns: u64,
}

/// The network that runs on keyframes, with the newest keyframes it has finished.
#[derive(Debug)]
pub struct SlowNetwork {
    pub(crate) plan: Plan,
    /// What the fast network makes of memory alone, and which memory inputs it reads.
    pub(crate) prelude: Option<(Plan, Vec<usize>)>,
    pub(crate) frontier: Vec<Source>,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) output_names: Vec<String>,
    /// The newest first, at most T.
    history: VecDeque<Keyframe>,
}

impl SlowNetwork {
    pub(crate) fn new(
        plan: Plan,
        prelude: Option<(Plan, Vec<usize>)>,
        frontier: Vec<Source>,
        wiring: Arc<Wiring>,
        output_names: Vec<String>,
    ) -> SlowNetwork {
        SlowNetwork { plan, prelude, frontier, wiring, output_names, history: VecDeque::new() }
    }

    /// Names of all outputs, in the order of [`SlowNetwork::run_all`].
    pub fn output_names(&self) -> &[String] {
        &self.output_names
    }

    /// All outputs as the network gives them, and the memory with this keyframe in front.
    pub fn run_all(&mut self, image: &Image, keys: Keys, captured_ns: u64) -> Result<(Values, Memory), RunError> {
        let outputs = self.plan.run(Values::from_iter([image.clone().into_tvalue()]))?;
        let memory = self.remember(&outputs, keys, captured_ns)?;
        Ok((outputs, memory))
    }

    /// Sorts out the predictions among the outputs of [`SlowNetwork::run_all`].
    pub fn sort(&self, outputs: &[TValue]) -> Result<Prediction, RunError> {
        Ok(Prediction { tasks: pick("slow", outputs, &self.wiring.slow_tasks)? })
    }

    /// Its predictions alone: no memory is made, and none is kept.
    pub fn predict(&mut self, image: &Image) -> Result<Prediction, RunError> {
        let outputs = self.plan.run(Values::from_iter([image.clone().into_tvalue()]))?;
        self.sort(&outputs)
    }

    /// As [`SlowNetwork::run_all`], telling `observe` of each node of the slow network and the seconds that it took.
    pub(crate) fn run_timed(
        &mut self,
        image: &Image,
        keys: Keys,
        captured_ns: u64,
        observe: super::plan::Observe,
    ) -> Result<Memory, RunError> {
        let outputs = self.plan.run_timed(Values::from_iter([image.clone().into_tvalue()]), observe)?;
        self.remember(&outputs, keys, captured_ns)
    }

    /// The memory of a network that has seen nothing: zeros, and no keyframe.
    pub(crate) fn initial(&mut self) -> Result<Memory, RunError> {
        self.history.clear();
        self.memory()
    }

    fn remember(&mut self, outputs: &[TValue], keys: Keys, captured_ns: u64) -> Result<Memory, RunError> {
        let given = self.wiring.memory.iter().map(|memory| match memory.giver {
            Giver::Slow(index) => outputs.get(index),
            Giver::Fast(index) => keys.0.get(index),
        });
        let values = given.map(|value| value.cloned()).collect::<Option<TVec<_>>>();
        let values = values.ok_or_else(|| failed("the keyframe's memory is incomplete"))?;
        let oldest = if self.history.len() >= self.wiring.keyframes { self.history.pop_back() } else { None };
        self.history.push_front(Keyframe { values, captured_ns });
        let memory = self.memory();
        if memory.is_err() {
            // The earlier keyframes stay in place.
            self.history.pop_front();
            self.history.extend(oldest);
        }
        memory
    }

    /// Of the keyframes that are known.
    fn memory(&mut self) -> Result<Memory, RunError> {
        let stacked = (0..self.wiring.memory.len()).map(|index| self.stack(index));
        let stacked = stacked.collect::<Result<TVec<TValue>, RunError>>()?;
        let projected = match &mut self.prelude {
            Some((plan, reads)) => plan.run(reads.iter().filter_map(|&index| stacked.get(index).cloned()).collect())?,
            None => Values::new(),
        };
        let values = self.frontier.iter().map(|source| match *source {
            Source::Memory(index) => stacked.get(index).cloned(),
            Source::Prelude(index) => projected.get(index).cloned(),
        });
        let values = values.collect::<Option<_>>().ok_or_else(|| failed("the memory's projection is incomplete"))?;
        Ok(Memory { values, captured_ns: self.history.iter().map(|keyframe| keyframe.captured_ns).collect() })
    }

    /// One memory input: the keyframes on its leading axis, the newest first, zeros where there is none.
    fn stack(&self, index: usize) -> Result<TValue, RunError> {
        let shape = self.wiring.memory.get(index).map(|memory| memory.shape.as_slice()).unwrap_or_default();
        let engine = |error: TractError| failed(error.to_string());
        if let ([1, ..], Some(value)) = (shape, self.history.front().and_then(|keyframe| keyframe.values.get(index))) {
            return Ok(value.clone());
        }
        let mut stacked = Tensor::zero::<f32>(shape).map_err(engine)?;
        let slot: usize = shape.iter().skip(1).product();
        let mut view = stacked.to_plain_array_view_mut::<f32>().map_err(engine)?;
        let slots = view.as_slice_mut().ok_or_else(|| failed("memory is not dense"))?.chunks_exact_mut(slot.max(1));
        for (slot, keyframe) in slots.zip(&self.history) {
            let value = keyframe.values.get(index).ok_or_else(|| failed("the keyframe's memory is incomplete"))?;
            let value = value.try_as_plain_ram().and_then(|plain| plain.as_slice::<f32>()).map_err(engine)?;
            if value.len() != slot.len() {
                return Err(failed(format!("memory: expected {} numbers, found {}", slot.len(), value.len())));
            }
            slot.copy_from_slice(value);
        }
        Ok(stacked.into_tvalue())
    }
}

impl Slow for SlowNetwork {
    fn run(&mut self, image: &Image, keys: Keys, captured_ns: u64) -> Result<SlowRun, RunError> {
        let (outputs, memory) = self.run_all(image, keys, captured_ns)?;
        Ok(SlowRun { prediction: self.sort(&outputs)?, memory })
    }

    fn reset(&mut self) {
        self.history.clear();
    }
}

fn failed(reason: impl Into<String>) -> RunError {
    RunError { network: "slow", reason: reason.into() }
}

fn pick(network: &'static str, outputs: &[TValue], wanted: &[usize]) -> Result<TVec<TValue>, RunError> {
    let picked = wanted.iter().map(|&index| outputs.get(index).cloned()).collect::<Option<_>>();
    picked.ok_or_else(|| RunError { network, reason: format!("expected more than {} outputs", outputs.len()) })
}

/// Mean over all numbers of all `signals`, in float64 so that the order does not matter much.
fn mean(signals: &[TValue]) -> Option<f32> {
    let (mut sum, mut count) = (0.0f64, 0usize);
    for signal in signals {
        let plain = signal.try_as_plain_ram().ok()?;
        let numbers = plain.as_slice::<f32>().ok()?;
        sum += numbers.iter().map(|&number| f64::from(number)).sum::<f64>();
        count += numbers.len();
    }
    (count > 0).then(|| (sum / count as f64) as f32)
}
