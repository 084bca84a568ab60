//! The answer to one frame.

use serde::{Deserialize, Serialize};

use crate::maps::SharedSlot;
use crate::named::Named;
use crate::number;

/// The answer to one frame.
///
/// The daemon writes its fields in three parts, because the middle one differs by client: what [`ResultHead`] has, then
/// `dropped`, then the rest. Keep the order of the fields the same in both.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ResultMessage {
    /// The daemon's own count of frames; grows, never repeats.
    pub sequence: u64,
    /// The driver's count.
    pub driver_sequence: u64,
    /// Grows with every reconnect or model change.
    pub epoch: u64,
    /// When the frame was captured, nanoseconds of the hello's clock.
    pub captured_ns: u64,
    /// When its result was handed to the sockets.
    pub published_ns: u64,
    /// Where the time went.
    pub latency_ms: Latency,
    /// The keyframe that helped; `None` before the first is done.
    pub keyframe: Option<Keyframe>,
    /// How much of what was looked up in the keyframe was found there, 0…1; `None` where the networks do not tell.
    #[serde(serialize_with = "number::share_or_null")]
    pub confidence: Option<f32>,
    /// Whether the slow network was at work on the next keyframe when this frame was answered.
    #[serde(default)]
    pub slow_running: bool,
    /// Results that this client lost since the one before, because it read too slowly.
    pub dropped: u64,
    /// Statistics by task.
    pub tasks: Named<Statistics>,
    /// The maps in the payload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<MapInfo>,
    /// How many raw bytes follow this line.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub payload_bytes: u64,
    /// Where the maps are in shared memory; left out where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedSlot>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What every client gets alike: the first part of a [`ResultMessage`], borrowed.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "result")]
pub struct ResultHead<'a> {
    sequence: u64,
    driver_sequence: u64,
    epoch: u64,
    captured_ns: u64,
    published_ns: u64,
    latency_ms: &'a Latency,
    keyframe: &'a Option<Keyframe>,
    #[serde(serialize_with = "number::share_or_null")]
    confidence: Option<f32>,
    slow_running: bool,
}

impl ResultMessage {
    /// The part that every client gets alike.
    pub fn head(&self) -> ResultHead<'_> {
        ResultHead {
            sequence: self.sequence,
            driver_sequence: self.driver_sequence,
            epoch: self.epoch,
            captured_ns: self.captured_ns,
            published_ns: self.published_ns,
            latency_ms: &self.latency_ms,
            keyframe: &self.keyframe,
            confidence: self.confidence,
            slow_running: self.slow_running,
        }
    }
}

/// Milliseconds of a frame's way.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// From capture to the sockets, waiting included: `published_ns − captured_ns`.
    #[serde(serialize_with = "number::milliseconds")]
    pub total: f64,
    /// Making the network's input.
    #[serde(serialize_with = "number::milliseconds")]
    pub prepare: f64,
    /// The network that answered: the fast one, or on a synchronous keyframe both.
    #[serde(serialize_with = "number::milliseconds")]
    pub fast: f64,
    /// Making maps and statistics.
    #[serde(serialize_with = "number::milliseconds")]
    pub publish: f64,
}

/// The newest keyframe that a result rests on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Keyframe {
    /// Its sequence.
    pub sequence: u64,
    /// How many frames older it is than the result's own.
    pub age_frames: u64,
    /// How much older, by capture time.
    #[serde(serialize_with = "number::milliseconds")]
    pub age_ms: f64,
}

/// A task's map in a few numbers, computed on the published map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Statistics {
    /// Of a segmentation.
    Segmentation {
        /// Every class's share of the pixels, by name.
        share: Named<Share>,
    },
    /// Of normals.
    Normals {
        /// The share of pixels whose normal points up within 30° (camera axes: y down, so −y).
        #[serde(serialize_with = "number::share", deserialize_with = "number::nan_if_null")]
        up: f32,
    },
    /// Of depth, metres: quantiles of the finite values, each the value of rank ⌊q·(n−1)⌋. `None` without a finite value.
    Depth {
        /// q = 0.05.
        #[serde(serialize_with = "number::metres_or_null", deserialize_with = "number::present")]
        p5: Option<f32>,
        /// q = 0.5.
        #[serde(serialize_with = "number::metres_or_null", deserialize_with = "number::present")]
        p50: Option<f32>,
        /// q = 0.95.
        #[serde(serialize_with = "number::metres_or_null", deserialize_with = "number::present")]
        p95: Option<f32>,
        /// q = 0.001: the nearest thing of more than a few pixels.
        #[serde(serialize_with = "number::metres_or_null", deserialize_with = "number::present")]
        nearest: Option<f32>,
    },
    /// Of a raw task, and of a kind that this reader does not know yet: nothing.
    Raw {},
}

/// A share of all pixels, 0…1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(
    #[serde(serialize_with = "number::share", deserialize_with = "number::nan_if_null")]
    /// The share.
    pub f32,
);

/// A number type of maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
    /// IEEE 754 single precision.
    F32,
    /// A type that this reader does not know yet.
    #[serde(other)]
    Unknown,
}

/// Where a map lies in the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapInfo {
    /// Whose map.
    pub task: String,
    /// Its number type.
    pub dtype: Dtype,
    /// `[height, width]`, or `[channels, height, width]`; the last axis is contiguous.
    pub shape: Vec<u32>,
    /// `little`.
    pub byte_order: String,
    /// From the payload's first byte.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}
