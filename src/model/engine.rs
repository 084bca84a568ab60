//! The two networks as the pipeline sees them: an image and a memory in, predictions and the next memory out.

use std::sync::Arc;

use tract_onnx::prelude::{TValue, TVec, Tensor, TractResult};
use tract_onnx::tract_hir::internal::tract_smallvec::SmallVec;

use super::spec::InputSpec;

/// A prepared picture, u8 `[H, W, 4]`, RGBX. Shared between the fast and the slow network, never copied.
pub type Image = Arc<Tensor>;

/// All inputs or outputs of a network; up to eight take no memory of their own.
pub type Values = SmallVec<[TValue; 8]>;

/// A black picture, to be filled.
pub fn blank(input: &InputSpec) -> TractResult<Tensor> {
    Tensor::zero::<u8>(&[input.height, input.width, 4])
}

/// The bytes of a picture that nobody else reads yet.
pub fn pixels(image: &mut Tensor, fill: impl FnOnce(&mut [u8])) -> TractResult<()> {
    fill(image.try_as_plain_ram_mut()?.as_slice_mut::<u8>()?);
    Ok(())
}

/// What a network predicted: one tensor a task, in the order of [`super::Spec::tasks`].
#[derive(Debug, Clone, Default)]
pub struct Prediction {
    /// `task.<name>`, float32 `[1, C, h, w]`.
    pub tasks: TVec<TValue>,
}

/// What the fast network made of a frame for the case that it becomes a keyframe: its own memory outputs (`key.*`).
/// Opaque: it only goes back into [`Slow::run`].
#[derive(Debug, Clone, Default)]
pub struct Keys(pub(crate) TVec<TValue>);

/// What the fast network reads of the past: the newest keyframe(s), ready to use. Swapped whole.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The fast network's memory inputs, in its own order, already projected and stacked.
    pub(crate) values: TVec<TValue>,
    /// Capture times of the keyframes in it, the newest first; fewer than T until T keyframes are done.
    pub(crate) captured_ns: TVec<u64>,
}

impl Memory {
    /// Capture time of its newest keyframe, `CLOCK_MONOTONIC` nanoseconds; `None` before the first.
    pub fn newest_ns(&self) -> Option<u64> {
        self.captured_ns.first().copied()
    }
}

/// The fast network's answer to a frame.
#[derive(Debug, Clone, Default)]
pub struct FastRun {
    /// The predictions.
    pub prediction: Prediction,
    /// What to keep if this frame becomes a keyframe.
    pub keys: Keys,
    /// Mean of the outputs `confidence` and `confidence.*`, where the network has them: the share of attention that found something, 0…1.
    pub confidence: Option<f32>,
}

/// The slow network's answer to a keyframe.
#[derive(Debug, Clone, Default)]
pub struct SlowRun {
    /// Its own predictions for the keyframe.
    pub prediction: Prediction,
    /// The memory with this keyframe in front.
    pub memory: Memory,
}

/// A network failed on a frame. The frame is lost and counted, the daemon goes on.
#[derive(Debug, thiserror::Error)]
#[error("{network} network failed: {reason}")]
pub struct RunError {
    /// `fast` or `slow`.
    pub network: &'static str,
    /// The engine's own words.
    pub reason: String,
}

/// The network that runs on every frame.
pub trait Fast: Send {
    /// Predicts `image` (captured at `captured_ns`) with the help of `memory`.
    fn run(&mut self, image: &Image, memory: &Memory, captured_ns: u64) -> Result<FastRun, RunError>;
}

/// The network that runs on keyframes.
pub trait Slow: Send {
    /// Predicts `image` and makes the memory of which it is the newest keyframe. `keys` is what the fast network kept of the same image.
    /// A failure leaves the earlier keyframes in place.
    fn run(&mut self, image: &Image, keys: Keys, captured_ns: u64) -> Result<SlowRun, RunError>;

    /// Forgets the earlier keyframes: they are of another camera, or of the same one before it was lost.
    fn reset(&mut self);
}
