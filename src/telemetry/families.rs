//! The table of every metric: name, kind, help and labels. Nothing that is not here is ever exported.

/// Where in the pipeline something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From the source.
    Capture,
    /// Making the network's input.
    Prepare,
    /// The fast network.
    Fast,
    /// The slow network.
    Slow,
    /// Maps, statistics and sockets.
    Publish,
}

impl Stage {
    /// All of them, in the order of the way of a frame.
    pub const ALL: [Stage; 5] = [Stage::Capture, Stage::Prepare, Stage::Fast, Stage::Slow, Stage::Publish];

    /// As in the label `stage`.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Capture => "capture",
            Stage::Prepare => "prepare",
            Stage::Fast => "fast",
            Stage::Slow => "slow",
            Stage::Publish => "publish",
        }
    }
}

/// Why a frame was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A newer one took its place while it waited.
    Replaced,
    /// Its bytes could not be read.
    Corrupt,
    /// A network failed on it.
    Failed,
    /// The daemon or the camera stopped.
    Stopped,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 4] = [Cause::Replaced, Cause::Corrupt, Cause::Failed, Cause::Stopped];

    /// As in the label `cause`.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Replaced => "replaced",
            Cause::Corrupt => "corrupt",
            Cause::Failed => "failed",
            Cause::Stopped => "stopped",
        }
    }
}

/// What a family's numbers are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
    /// A gauge that is computed when it is read: captured − published − Σ dropped.
    InFlight,
}

/// Which labels a family's series carry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Labels {
    None,
    Stage,
    StageAndCause,
    Reload,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub labels: Labels,
}

const DURATIONS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];
const LATENCIES: &[f64] =
    &[0.002_5, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0];
const AGES: &[f64] = &[0.0, 0.035, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0];

macro_rules! families {
    ($($constant:ident $name:literal $kind:expr, $labels:ident, $help:literal;)*) => {
        $(#[allow(dead_code, reason = "a series that is computed when it is read has no handle")]
        pub(super) const $constant: &str = $name;)*
        pub(super) const FAMILIES: &[Family] =
            &[$(Family { name: $name, help: $help, kind: $kind, labels: Labels::$labels }),*];
    };
}

use Kind::{Counter, Gauge, Histogram, InFlight};

families! {
    CAPTURED "milad_frames_captured_total" Counter, None, "Frames that the source gave, bad ones included.";
    DRIVER_GAPS "milad_driver_gap_frames_total" Counter, None, "Frames that the driver counted but did not give.";
    BAD "milad_frames_bad_total" Counter, None, "Frames that the driver flagged or that came incomplete; also in dropped frames as capture, corrupt. Pictures that can't be decoded are dropped as prepare, corrupt, and not counted here.";
    DROPPED "milad_frames_dropped_total" Counter, StageAndCause, "Captured frames that were not published, by where and why.";
    PUBLISHED "milad_frames_published_total" Counter, None, "Frames whose result was published.";
    IN_FLIGHT "milad_frames_in_flight" InFlight, None, "Frames captured, but neither published nor dropped yet.";
    STAGE "milad_stage_duration_seconds" Histogram(DURATIONS), Stage, "Time that a stage worked on a frame, waiting excluded.";
    LATENCY "milad_latency_seconds" Histogram(LATENCIES), None, "Time from a frame's capture to its result's publication.";
    KEYFRAME_AGE "milad_keyframe_age_seconds" Histogram(AGES), None, "Age of the keyframe that a published result rests on, by capture time.";
    LAST_FRAME "milad_last_frame_timestamp_seconds" Gauge, None, "Capture time of the newest published frame, since the epoch; 0 before the first.";
    CAMERA_UP "milad_camera_up" Gauge, None, "1 while the source is open, 0 while it is lost.";
    RECONNECTS "milad_camera_reconnects_total" Counter, None, "Times that a lost source was found again.";
    CLIENTS "milad_clients" Gauge, None, "Clients connected to the results socket.";
    CONNECTIONS "milad_client_connections_total" Counter, None, "Connections to the results socket, refused ones included.";
    REFUSED "milad_client_refusals_total" Counter, None, "Connections refused because too many clients were there.";
    EXPELLED "milad_client_expulsions_total" Counter, None, "Clients disconnected because they read too slowly or sent a line that was too long.";
    LOST "milad_client_messages_lost_total" Counter, None, "Messages that slow clients lost, summed over clients.";
    KEYFRAMES "milad_keyframes_total" Counter, None, "Keyframes that the slow network finished.";
    KEYFRAMES_FAILED "milad_keyframes_failed_total" Counter, None, "Keyframes on which the slow network failed.";
    INTERVAL "milad_keyframe_interval_frames" Gauge, None, "Frames from keyframe to keyframe in force.";
    FLOAT_NODES "milad_model_float_nodes" Gauge, None, "Operators of the bundle in force that run in float though they are quantised; `milad bench` names them.";
    HTTP_REFUSED "milad_http_refusals_total" Counter, None, "HTTP requests that were refused: malformed, too long, too slow, from strangers, for what is not there.";
    RELOADS "milad_reloads_total" Counter, Reload, "Configuration reloads, by result.";
}

/// The labels of each series of a family, as they are written between the braces.
pub(super) fn label_sets(labels: Labels) -> Vec<String> {
    match labels {
        Labels::None => vec![String::new()],
        Labels::Stage => Stage::ALL.iter().map(|s| format!("stage=\"{}\"", s.name())).collect(),
        Labels::StageAndCause => Stage::ALL
            .iter()
            .flat_map(|s| Cause::ALL.iter().map(move |c| format!("stage=\"{}\",cause=\"{}\"", s.name(), c.name())))
            .collect(),
        Labels::Reload => vec!["result=\"applied\"".into(), "result=\"refused\"".into()],
    }
}
