//! The messages of the daemon, one JSON line each, and what greets a client.

use serde::{Deserialize, Serialize};

use crate::maps::MapsMessage;
use crate::result::{Dtype, ResultMessage};

/// The protocol's version. It would change only if a field had to be taken away or to change its meaning.
pub const PROTOCOL: u32 = 1;

/// A line from the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// The first line of a connection. A client for whom there is no room gets a [`Message::Error`] instead.
    Hello(Hello),
    /// The answer to one frame.
    Result(ResultMessage),
    /// The camera went or came back.
    Camera(CameraMessage),
    /// Another bundle is in force.
    Model(ModelMessage),
    /// Shared memory for maps; its descriptors come with it. Results name slots in it from now on.
    Maps(MapsMessage),
    /// Where frames went, once a second for those who ask.
    Account(AccountMessage),
    /// The last request was accepted.
    Ok,
    /// The last request was refused, or the connection will be closed.
    Error {
        /// What was expected, what was found, what to do.
        message: String,
    },
    /// The daemon closes this connection.
    Bye {
        /// Why.
        reason: String,
    },
    /// A type that this reader does not know yet: skip it.
    #[serde(other)]
    Unknown,
}

/// Who is talking, and what its results mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The daemon's version.
    pub milad: String,
    /// The networks in use.
    pub bundle: BundleInfo,
    /// The clock of all times: `monotonic`, Linux' `CLOCK_MONOTONIC`.
    pub clock: String,
    /// Nanoseconds to add to a time for the time of day (`CLOCK_REALTIME`), measured when this line was written.
    pub realtime_offset_ns: i64,
    /// Names this boot of the machine: times of different boots do not compare.
    pub boot_id: String,
    /// The camera; `None` while there is none.
    pub camera: Option<CameraInfo>,
    /// What is predicted, in the order of results.
    pub tasks: Vec<TaskInfo>,
}

/// A bundle of networks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BundleInfo {
    /// Its name.
    pub name: String,
    /// SHA-256 over its files, hexadecimal.
    pub sha256: String,
    /// What it was trained on, in a few words.
    pub trained_on: String,
}

/// A source of frames as it was negotiated.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CameraInfo {
    /// A name for people.
    pub name: String,
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `YUYV`, `MJPG` …
    pub format: String,
    /// Nanoseconds from frame to frame; 0 when the source does not say.
    pub interval_ns: u64,
    /// Pinhole intrinsics `[fx, fy, cx, cy]` in the camera's pixels, where they are known.
    pub intrinsics: Option<[f64; 4]>,
}

/// What one task's maps are. The map's pixels cover the camera's picture as the network saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskInfo {
    /// Its name.
    pub name: String,
    /// What the numbers mean.
    pub kind: TaskKind,
    /// Pixels a row of the map.
    pub width: u32,
    /// Rows of the map.
    pub height: u32,
    /// The type of the map's numbers.
    pub dtype: Dtype,
    /// How many numbers a pixel has; left out where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// A map's number divided by this is the value; left out where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<u32>,
    /// `m` for depth; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The classes of a segmentation, by the number in the map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassInfo>,
}

/// What a task's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// A class a pixel.
    Segmentation,
    /// Metres along the optical axis.
    Depth,
    /// Unit vectors in camera axes: x right, y down, z forward.
    Normals,
    /// Whatever the network gives.
    Raw,
    /// A kind that this reader does not know yet.
    #[serde(other)]
    Unknown,
}

/// A class of a segmentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassInfo {
    /// Its name.
    pub name: String,
    /// Its colour for people, `#rrggbb`.
    pub color: String,
}

/// The camera went or came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraMessage {
    /// Which of the two.
    pub state: CameraState,
    /// The epoch that began, or the one that ended.
    pub epoch: u64,
    /// Why it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was negotiated when it came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraInfo>,
}

/// Whether there is a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CameraState {
    /// Frames come.
    Up,
    /// None come; the daemon looks for it.
    Lost,
    /// A state that this reader does not know yet.
    #[serde(other)]
    Unknown,
}

/// Another bundle is in force from this epoch on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelMessage {
    /// The epoch that began.
    pub epoch: u64,
    /// The bundle.
    pub bundle: BundleInfo,
    /// What is predicted now, as in [`Hello::tasks`].
    #[serde(default)]
    pub tasks: Vec<TaskInfo>,
}

/// Where all frames went since the daemon started: captured = published + Σ dropped + in flight.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountMessage {
    /// Frames that the source gave.
    pub captured: u64,
    /// Frames whose result was published.
    pub published: u64,
    /// Frames on their way.
    pub in_flight: u64,
    /// Frames that the driver counted but did not give.
    pub driver_gaps: u64,
    /// Frames that were not published; only what happened.
    #[serde(default)]
    pub dropped: Vec<Dropped>,
}

/// Frames that went no further than a stage, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// `capture`, `prepare`, `fast`, `slow` or `publish`.
    pub stage: String,
    /// `replaced`, `corrupt`, `failed` or `stopped`.
    pub cause: String,
    /// How many.
    pub frames: u64,
}
