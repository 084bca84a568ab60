//! What passes from stage to stage.

use std::sync::Arc;

use crate::capture::Camera;
use crate::model::Prediction;
use crate::model::engine::Image;

/// Which frame this is about, and what it cost so far.
#[derive(Debug, Clone)]
pub struct Meta {
    /// The daemon's own count.
    pub sequence: u64,
    /// The driver's count.
    pub driver_sequence: u64,
    /// Grows with every reconnect or model change.
    pub epoch: u64,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub captured_ns: u64,
    /// Nanoseconds that preparation took.
    pub prepare_ns: u64,
    /// Nanoseconds that the network took whose prediction is published.
    pub network_ns: u64,
    /// The camera as negotiated in this epoch.
    pub camera: Arc<Camera>,
}

/// A frame as the networks want it.
#[derive(Debug)]
pub struct Prepared {
    /// Which frame.
    pub meta: Meta,
    /// RGB of the networks' size.
    pub image: Image,
}

/// A keyframe: which frame the memory is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyframeMark {
    /// The frame's sequence.
    pub sequence: u64,
    /// The frame's capture time, `CLOCK_MONOTONIC` nanoseconds.
    pub captured_ns: u64,
}

/// An answered frame, ready to be published.
#[derive(Debug)]
pub struct Outcome {
    /// Which frame.
    pub meta: Meta,
    /// What the networks saw.
    pub image: Image,
    /// What the network says of it.
    pub prediction: Prediction,
    /// The keyframe that helped; `None` before the first is done.
    pub keyframe: Option<KeyframeMark>,
    /// Share of attention that found something, where the network tells.
    pub confidence: Option<f32>,
    /// Whether the slow network was running when this frame was answered.
    pub slow_running: bool,
}
