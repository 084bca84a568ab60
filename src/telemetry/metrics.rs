//! The handles that the rooms of the daemon update: one method a fact, no names and no labels at the call.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};

use super::families::{self, Cause, Stage};
use super::process;
use super::registry::{Registry, header, sample};
use crate::clock;

/// Every number that the daemon tells about itself. Cheap to clone, shared by all threads.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    registry: Arc<Registry>,
    captured: Counter,
    driver_gaps: Counter,
    bad: Counter,
    dropped: [[Counter; Cause::ALL.len()]; Stage::ALL.len()],
    published: Counter,
    stages: [Histogram; Stage::ALL.len()],
    latency: Histogram,
    keyframe_age: Histogram,
    last_frame: Gauge,
    camera_up: Gauge,
    reconnects: Counter,
    clients: Gauge,
    connections: Counter,
    refused: Counter,
    expelled: Counter,
    lost: Counter,
    keyframes: Counter,
    keyframes_failed: Counter,
    interval: Gauge,
    float_nodes: Gauge,
    http_refused: Counter,
    reloads: [Counter; 2],
    model: Mutex<String>,
}

static METADATA: Metadata<'static> = Metadata::new("milad", Level::INFO, None);

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All series at zero.
    pub fn new() -> Metrics {
        let registry = Arc::new(Registry::default());
        let key = |name: &'static str, labels: &[(&'static str, &'static str)]| {
            Key::from_parts(name, labels.iter().map(|(k, v)| Label::from_static_parts(k, v)).collect::<Vec<_>>())
        };
        let counter = |name, labels: &[_]| registry.register_counter(&key(name, labels), &METADATA);
        let gauge = |name| registry.register_gauge(&key(name, &[]), &METADATA);
        let histogram = |name, labels: &[_]| registry.register_histogram(&key(name, labels), &METADATA);
        let dropped = Stage::ALL.map(|stage| {
            Cause::ALL.map(|cause| counter(families::DROPPED, &[("stage", stage.name()), ("cause", cause.name())]))
        });
        let metrics = Metrics(Arc::new(Handles {
            captured: counter(families::CAPTURED, &[]),
            driver_gaps: counter(families::DRIVER_GAPS, &[]),
            bad: counter(families::BAD, &[]),
            dropped,
            published: counter(families::PUBLISHED, &[]),
            stages: Stage::ALL.map(|stage| histogram(families::STAGE, &[("stage", stage.name())])),
            latency: histogram(families::LATENCY, &[]),
            keyframe_age: histogram(families::KEYFRAME_AGE, &[]),
            last_frame: gauge(families::LAST_FRAME),
            camera_up: gauge(families::CAMERA_UP),
            reconnects: counter(families::RECONNECTS, &[]),
            clients: gauge(families::CLIENTS),
            connections: counter(families::CONNECTIONS, &[]),
            refused: counter(families::REFUSED, &[]),
            expelled: counter(families::EXPELLED, &[]),
            lost: counter(families::LOST, &[]),
            keyframes: counter(families::KEYFRAMES, &[]),
            keyframes_failed: counter(families::KEYFRAMES_FAILED, &[]),
            interval: gauge(families::INTERVAL),
            float_nodes: gauge(families::FLOAT_NODES),
            http_refused: counter(families::HTTP_REFUSED, &[]),
            reloads: ["applied", "refused"].map(|result| counter(families::RELOADS, &[("result", result)])),
            model: Mutex::new(String::new()),
            registry,
        }));
        metrics.model_info("", "");
        metrics
    }

    /// The recorder behind it, for `metrics::set_global_recorder`: the macros of the `metrics` crate then reach the same
    /// series, and no others.
    pub fn registry(&self) -> Arc<Registry> {
        self.0.registry.clone()
    }

    /// The source gave a frame (a bad one too).
    pub fn captured(&self) {
        self.0.captured.increment(1);
    }

    /// The driver counted `frames` that it did not give.
    pub fn driver_gap(&self, frames: u64) {
        self.0.driver_gaps.increment(frames);
    }

    /// A captured frame was flagged by the driver or incomplete. Tell [`Metrics::dropped`] too.
    pub fn bad_frame(&self) {
        self.0.bad.increment(1);
    }

    /// A captured frame will not be published.
    pub fn dropped(&self, stage: Stage, cause: Cause) {
        // Discriminants count from 0 in the order of ALL.
        if let Some(counter) = self.0.dropped.get(stage as usize).and_then(|causes| causes.get(cause as usize)) {
            counter.increment(1);
        }
    }

    /// A stage worked on a frame for so long.
    pub fn stage(&self, stage: Stage, seconds: f64) {
        if let Some(histogram) = self.0.stages.get(stage as usize) {
            histogram.record(seconds);
        }
    }

    /// A result was published so long after its frame's capture.
    pub fn latency(&self, seconds: f64) {
        self.0.latency.record(seconds);
    }

    /// A published result rests on a keyframe of this age.
    pub fn keyframe_age(&self, seconds: f64) {
        self.0.keyframe_age.record(seconds);
    }

    /// A frame captured then (`CLOCK_MONOTONIC`) was published.
    pub fn published(&self, captured_ns: u64) {
        self.0.published.increment(1);
        self.0.last_frame.set((captured_ns as i64).saturating_add(clock::realtime_offset_ns()) as f64 * 1e-9);
    }

    /// The source is open, or lost.
    pub fn camera_up(&self, up: bool) {
        self.0.camera_up.set(f64::from(u8::from(up)));
    }

    /// A lost source was found again.
    pub fn reconnect(&self) {
        self.0.reconnects.increment(1);
    }

    /// So many clients are connected.
    pub fn clients(&self, clients: usize) {
        self.0.clients.set(clients as f64);
    }

    /// Somebody connected to the results socket.
    pub fn client_connected(&self) {
        self.0.connections.increment(1);
    }

    /// There was no room for a client.
    pub fn client_refused(&self) {
        self.0.refused.increment(1);
    }

    /// A client was disconnected for what it did or left undone.
    pub fn client_expelled(&self) {
        self.0.expelled.increment(1);
    }

    /// A slow client lost messages.
    pub fn client_lost(&self, messages: u64) {
        self.0.lost.increment(messages);
    }

    /// Every so many frames one becomes a keyframe.
    pub fn keyframe_interval(&self, frames: u32) {
        self.0.interval.set(f64::from(frames));
    }

    /// The slow network finished a keyframe.
    pub fn keyframe_done(&self) {
        self.0.keyframes.increment(1);
    }

    /// The slow network failed on a keyframe.
    pub fn keyframe_failed(&self) {
        self.0.keyframes_failed.increment(1);
    }

    /// An HTTP request was refused.
    pub fn http_refused(&self) {
        self.0.http_refused.increment(1);
    }

    /// A reload of the configuration was applied, or refused as a whole.
    pub fn reload(&self, applied: bool) {
        let [ok, refused] = &self.0.reloads;
        if applied { ok } else { refused }.increment(1);
    }

    /// So many quantised operators of the networks in force run in float.
    pub fn float_nodes(&self, count: usize) {
        self.0.float_nodes.set(count as f64);
    }

    /// These networks are in force.
    pub fn model_info(&self, name: &str, sha256: &str) {
        let labels = format!("name=\"{}\",sha256=\"{}\"", Escaped(name), Escaped(sha256));
        *self.0.model.lock().unwrap_or_else(PoisonError::into_inner) = labels;
    }

    /// Appends everything in Prometheus' text format 0.0.4, with what is only read when asked: process and temperature.
    pub fn render(&self, out: &mut String) {
        self.0.registry.render(out);
        header(out, "milad_model_info", "The bundle in force; the labels are empty before it is loaded.", "gauge");
        let model = self.0.model.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sample(out, "milad_model_info", &model, 1);
        header(out, "milad_build_info", "The program.", "gauge");
        let build = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
        let _ = writeln!(out, "milad_build_info{{{build},arch=\"{}\"}} 1", std::env::consts::ARCH);
        process::render(out);
    }
}

/// A label's value with what Prometheus wants escaped.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(metrics: &Metrics, series: &str) -> String {
        let mut out = String::new();
        metrics.render(&mut out);
        let line = out.lines().find(|l| l.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("no series {series}")).rsplit(' ').next().unwrap().to_owned()
    }

    #[test]
    fn every_method_moves_its_own_series() {
        type Step = fn(&Metrics);
        let table: &[(Step, &str, &str)] = &[
            (|m| m.captured(), "milad_frames_captured_total", "1"),
            (|m| m.driver_gap(3), "milad_driver_gap_frames_total", "3"),
            (|m| m.bad_frame(), "milad_frames_bad_total", "1"),
            (|m| m.latency(0.5), "milad_latency_seconds_sum", "0.5"),
            (|m| m.latency(0.02), "milad_latency_seconds_bucket{le=\"0.02\"}", "1"),
            (|m| m.keyframe_age(0.0), "milad_keyframe_age_seconds_bucket{le=\"0\"}", "1"),
            (|m| m.published(1), "milad_frames_published_total", "1"),
            (|m| m.camera_up(true), "milad_camera_up", "1"),
            (|m| m.reconnect(), "milad_camera_reconnects_total", "1"),
            (|m| m.clients(7), "milad_clients", "7"),
            (|m| m.client_connected(), "milad_client_connections_total", "1"),
            (|m| m.client_refused(), "milad_client_refusals_total", "1"),
            (|m| m.client_expelled(), "milad_client_expulsions_total", "1"),
            (|m| m.client_lost(4), "milad_client_messages_lost_total", "4"),
            (|m| m.keyframe_interval(5), "milad_keyframe_interval_frames", "5"),
            (|m| m.float_nodes(3), "milad_model_float_nodes", "3"),
            (|m| m.keyframe_done(), "milad_keyframes_total", "1"),
            (|m| m.keyframe_failed(), "milad_keyframes_failed_total", "1"),
            (|m| m.reload(true), "milad_reloads_total{result=\"applied\"}", "1"),
            (|m| m.reload(false), "milad_reloads_total{result=\"refused\"}", "1"),
        ];
        for (step, series, expected) in table {
            let metrics = Metrics::new();
            step(&metrics);
            assert_eq!(value(&metrics, series), *expected, "{series}");
        }
    }

    #[test]
    fn frames_in_flight_are_what_was_captured_and_went_nowhere_yet() {
        let metrics = Metrics::new();
        (0..5).for_each(|_| metrics.captured());
        metrics.published(1);
        metrics.dropped(Stage::Fast, Cause::Failed);
        metrics.dropped(Stage::Publish, Cause::Replaced);
        assert_eq!(value(&metrics, "milad_frames_in_flight"), "2");
    }

    #[test]
    fn every_stage_and_cause_has_its_own_counter() {
        let metrics = Metrics::new();
        for (i, stage) in Stage::ALL.into_iter().enumerate() {
            metrics.stage(stage, i as f64);
            for (j, cause) in Cause::ALL.into_iter().enumerate() {
                (0..=i * 4 + j).for_each(|_| metrics.dropped(stage, cause));
            }
        }
        for (i, stage) in Stage::ALL.into_iter().enumerate() {
            let sum = format!("milad_stage_duration_seconds_sum{{stage=\"{}\"}}", stage.name());
            assert_eq!(value(&metrics, &sum), i.to_string());
            for (j, cause) in Cause::ALL.into_iter().enumerate() {
                let name =
                    format!("milad_frames_dropped_total{{stage=\"{}\",cause=\"{}\"}}", stage.name(), cause.name());
                assert_eq!(value(&metrics, &name), (i * 4 + j + 1).to_string());
            }
        }
    }

    #[test]
    fn the_last_frames_time_is_the_time_of_day_of_its_capture() {
        let metrics = Metrics::new();
        metrics.published(clock::monotonic_ns());
        let told: f64 = value(&metrics, "milad_last_frame_timestamp_seconds").parse().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - told).abs() < 60.0, "{told} against {now}");
    }

    #[test]
    fn the_macros_of_the_metrics_crate_reach_the_same_series_and_make_no_new_ones() {
        let metrics = Metrics::new();
        metrics::with_local_recorder(&*metrics.registry(), || {
            metrics::counter!("milad_frames_captured_total").increment(2);
            metrics::counter!("milad_invented_total").increment(1);
        });
        assert_eq!(value(&metrics, "milad_frames_captured_total"), "2");
        let mut out = String::new();
        metrics.render(&mut out);
        assert!(!out.contains("invented"));
    }

    #[test]
    fn a_bundles_name_is_escaped() {
        let metrics = Metrics::new();
        metrics.model_info("a\"b\\c\nd", "00");
        assert_eq!(value(&metrics, "milad_model_info{name=\"a\\\"b\\\\c\\nd\",sha256=\"00\"}"), "1");
    }
}
