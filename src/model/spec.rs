//! What a bundle says of itself: `bundle.toml`, checked.

use milad_kernels::pixel::Resize;

/// A bundle's description, as the rest of the daemon needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The bundle's name.
    pub name: String,
    /// SHA-256 over the bundle's files, in hexadecimal: which networks made a result.
    pub sha256: String,
    /// What it was trained on, in a few words.
    pub trained_on: String,
    /// Seconds from frame to frame in training: the unit of the networks' `age` input.
    pub frame_interval_s: f64,
    /// Frames from keyframe to keyframe that it was trained for.
    pub keyframe_interval: u32,
    /// Pinhole intrinsics `[fx, fy, cx, cy]` in pixels of the network's input that it was trained with.
    pub intrinsics: Option<[f64; 4]>,
    /// The networks' input.
    pub input: InputSpec,
    /// The tasks in the order of `bundle.toml`: predictions come in this order everywhere.
    pub tasks: Vec<TaskSpec>,
}

/// What `image` is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Subtracted from RGB in 0…1.
    pub mean: [f64; 3],
    /// Divides what is left.
    pub std: [f64; 3],
    /// How a camera picture of another shape becomes one of this shape.
    pub resize: Resize,
}

/// One prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// `task.<name>` in the networks.
    pub name: String,
    /// What its numbers mean.
    pub kind: TaskKind,
    /// Pixels a row of the published map.
    pub width: usize,
    /// Rows of the published map.
    pub height: usize,
}

/// What a task's numbers mean.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskKind {
    /// Logits, one channel a class.
    Segmentation {
        /// By channel.
        classes: Vec<Class>,
    },
    /// One channel.
    Depth {
        /// How metres are made of it.
        encoding: DepthEncoding,
    },
    /// Three channels in camera axes (x right, y down, z forward), not necessarily of unit length.
    Normals,
    /// Any number of channels, published as they are.
    Raw {
        /// How many.
        channels: usize,
    },
}

/// A class of a segmentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its colour for people, `[R, G, B]`.
    pub color: [u8; 3],
}

/// What a depth network gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepthEncoding {
    /// Metres.
    Metres,
    /// The natural logarithm of metres.
    Log,
    /// One over metres.
    Inverse,
}
