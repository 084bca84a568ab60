//! The publish stage: predictions become maps, statistics and messages, and go out to the clients.
//!
//! One event loop serves the pipeline and the sockets (docs/adr/0002): nothing here ever waits for a client.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use milad_client::{AccountMessage, CameraMessage, CameraState, Dropped, Keyframe, Latency, Message, ResultMessage};

use super::account::Account;
use super::frame::Outcome;
use super::link::{Event, LinkReceiver, Received};
use super::throttle::Throttle;
use crate::capture::Camera;
use crate::clock::monotonic_ns;
use crate::model::Spec;
use crate::publish::{Digest, Server, camera_info, greeting};
use crate::stop::Stop;
use crate::telemetry::{self, Cause, Health, Stage};

/// What clients are told beside results.
#[derive(Debug)]
pub enum Notice {
    /// A camera is there, as negotiated.
    CameraUp {
        /// What was negotiated.
        camera: Arc<Camera>,
        /// The epoch that begins.
        epoch: u64,
    },
    /// The camera is gone; the daemon looks for it.
    CameraLost {
        /// Why.
        reason: String,
        /// The epoch that ended.
        epoch: u64,
    },
}

/// The way to the clients.
#[derive(Debug)]
pub struct Publisher {
    /// The results socket and its clients.
    pub server: Server,
    /// Told of every frame and keyframe.
    pub health: Arc<Health>,
    /// The camera's intrinsics, where the user knows them.
    pub intrinsics: Option<[f64; 4]>,
    /// Frames from keyframe to keyframe in force.
    pub interval: Arc<AtomicU32>,
}

/// The publish thread's state.
pub struct PublishStage {
    /// What is predicted.
    pub spec: Arc<Spec>,
    /// The way to the clients.
    pub publisher: Publisher,
    /// Answered frames.
    pub outcomes: LinkReceiver<Outcome>,
    /// What clients are told beside results.
    pub notices: Receiver<Notice>,
    /// Rung for outcomes and notices.
    pub event: Event,
    /// Where frames went.
    pub account: Arc<Account>,
    /// Lets what is still on its way fall. Set by this stage when it ends: nothing is left to do for the daemon then.
    pub stop: Stop,
}

/// How often progress is looked at while nothing comes.
const TICK: Duration = Duration::from_secs(1);
/// Frames may come this many intervals late, and keyframes this many keyframe intervals, before results are not fresh.
const LATE: u32 = 10;
/// What is always granted to a frame and to a keyframe.
const FRAME_GRACE: Duration = Duration::from_secs(1);
const KEYFRAME_GRACE: Duration = Duration::from_secs(5);

/// What is kept from frame to frame.
struct Desk {
    digest: Digest,
    message: ResultMessage,
    failures: Throttle,
    /// The epoch that clients were told of.
    epoch: u64,
    /// The last keyframe that a result rested on, and when it was first used.
    keyframe: Option<(u64, u64)>,
    /// How many frames had been answered at the last look.
    answered: u64,
    /// When clients that want it were last told where frames went.
    told_ns: u64,
}

impl PublishStage {
    /// Runs until the networks end, or clients can't be served any more: an error then, already told, and the daemon is stopped.
    pub fn run(mut self) -> io::Result<()> {
        let mut desk = Desk {
            digest: Digest::new(&self.spec),
            message: ResultMessage::default(),
            failures: Throttle::default(),
            epoch: 0,
            keyframe: None,
            answered: 0,
            told_ns: 0,
        };
        let account = self.account.clone();
        self.publisher.server.courteous(move || account.counts().in_flight() > 0);
        self.greet(None);
        let (mut more, mut ended) = (false, Ok(()));
        while !self.stop.is_set() {
            // Clients have their turn behind every second result at the latest, however fast those come.
            let timeout = if more { Duration::ZERO } else { TICK };
            if let Err(error) = self.publisher.server.wait(self.event.fd(), self.stop.fd(), Some(timeout)) {
                log::error!("the results socket can't be waited for: {error}");
                ended = Err(error);
                break;
            }
            self.event.clear();
            self.tell_notices(&mut desk);
            match self.outcomes.try_receive() {
                Received::Value(outcome) => {
                    self.take(&outcome, &mut desk);
                    more = !self.outcomes.is_idle();
                }
                Received::Empty => more = false,
                Received::Closed => break,
            }
            self.watch_progress(&mut desk);
            self.tell_account(&mut desk);
        }
        let reason = match ended {
            Err(_) => "the daemon can't serve its clients",
            Ok(()) if self.stop.is_set() => "the daemon stops",
            Ok(()) => "the source ended",
        };
        self.stop.set();
        // Goodbye first: a network that is still at work must not keep the clients waiting.
        self.publisher.server.close(reason);
        while self.outcomes.receive().is_some() {
            self.account.dropped(Stage::Publish, Cause::Stopped);
        }
        ended
    }

    fn tell_notices(&mut self, desk: &mut Desk) {
        while let Ok(notice) = self.notices.try_recv() {
            self.tell(notice, desk);
        }
    }

    /// Publishes an outcome in its place among the notices: never before its camera was told of, never after the next one.
    fn take(&mut self, outcome: &Outcome, desk: &mut Desk) {
        if outcome.meta.epoch > desk.epoch {
            // Its notice was sent before it, and may have come since the last look.
            self.tell_notices(desk);
        }
        if outcome.meta.epoch < desk.epoch {
            self.account.dropped(Stage::Publish, Cause::Stopped);
            return;
        }
        self.publish(outcome, desk);
    }

    /// Tells [`Health`] that frames are answered, or that there are none to answer. Frames that only replace each other
    /// in front of a stage that hangs are no progress.
    fn watch_progress(&self, desk: &mut Desk) {
        let counts = self.account.counts();
        if counts.answered != desk.answered || counts.in_flight() == 0 {
            desk.answered = counts.answered;
            self.publisher.health.progress(monotonic_ns());
        }
    }

    /// Tells clients that want it where frames went, once a second.
    fn tell_account(&mut self, desk: &mut Desk) {
        let now = monotonic_ns();
        if now.saturating_sub(desk.told_ns) < TICK.as_nanos() as u64 || !self.publisher.server.wants_account() {
            return;
        }
        desk.told_ns = now;
        let summary = self.account.summary();
        let dropped = summary.dropped.iter().map(|(stage, cause, frames)| Dropped {
            stage: stage.name().to_owned(),
            cause: cause.name().to_owned(),
            frames: *frames,
        });
        self.publisher.server.account(&Message::Account(AccountMessage {
            captured: summary.captured,
            published: summary.published,
            in_flight: summary.in_flight(),
            driver_gaps: summary.driver_gaps,
            dropped: dropped.collect(),
        }));
    }

    /// What counts as fresh follows from the camera's rate and from the keyframe interval in force.
    fn set_freshness(&self, camera: &Camera) {
        let frame = Duration::from_nanos(camera.interval_ns);
        let keyframe = frame.saturating_mul(self.publisher.interval.load(Ordering::Relaxed));
        let health = &self.publisher.health;
        health
            .set_limits(frame.saturating_mul(LATE).max(FRAME_GRACE), keyframe.saturating_mul(LATE).max(KEYFRAME_GRACE));
    }

    fn publish(&mut self, outcome: &Outcome, desk: &mut Desk) {
        let started = monotonic_ns();
        let meta = &outcome.meta;
        desk.digest.with_picture(self.publisher.server.wants().image());
        // Maps that somebody reads in shared memory are made there.
        self.publisher.server.lend(meta.epoch, desk.digest.planes_mut());
        if let Err(error) = desk.digest.run(&outcome.prediction, &mut desk.message.tasks) {
            desk.failures.say(|held| log::error!("frame {}: {error}{held}", meta.sequence));
            self.account.dropped(Stage::Publish, Cause::Failed);
            return;
        }
        desk.digest.picture(&outcome.image);
        let published_ns = monotonic_ns();
        let publish_ns = published_ns.saturating_sub(started);
        let latency_ns = published_ns.saturating_sub(meta.captured_ns);
        let message = &mut desk.message;
        message.sequence = meta.sequence;
        message.driver_sequence = meta.driver_sequence;
        message.epoch = meta.epoch;
        message.captured_ns = meta.captured_ns;
        message.published_ns = published_ns;
        message.latency_ms = Latency {
            total: milliseconds(latency_ns),
            prepare: milliseconds(meta.prepare_ns),
            fast: milliseconds(meta.network_ns),
            publish: milliseconds(publish_ns),
        };
        message.keyframe = outcome.keyframe.map(|keyframe| Keyframe {
            sequence: keyframe.sequence,
            age_frames: meta.sequence.saturating_sub(keyframe.sequence),
            age_ms: milliseconds(meta.captured_ns.saturating_sub(keyframe.captured_ns)),
        });
        message.confidence = outcome.confidence;
        message.slow_running = outcome.slow_running;
        self.publisher.server.publish(message, desk.digest.planes_mut());

        let metrics = self.account.metrics();
        metrics.stage(Stage::Publish, publish_ns as f64 * 1e-9);
        metrics.latency(latency_ns as f64 * 1e-9);
        if let Some(keyframe) = outcome.keyframe {
            metrics.keyframe_age(meta.captured_ns.saturating_sub(keyframe.captured_ns) as f64 * 1e-9);
            let first_used_ns = match desk.keyframe {
                Some((sequence, first_used_ns)) if sequence == keyframe.sequence => first_used_ns,
                _ => published_ns,
            };
            desk.keyframe = Some((keyframe.sequence, first_used_ns));
            // A clip's stamps are not of this moment: there a keyframe is as fresh as its first use.
            self.publisher.health.keyframe(if meta.camera.live { keyframe.captured_ns } else { first_used_ns });
        }
        self.set_freshness(&meta.camera);
        self.publisher.health.published(published_ns);
        self.account.published(meta.captured_ns);
    }

    fn greet(&mut self, camera: Option<&Camera>) {
        self.publisher.server.hello(greeting(&self.spec, camera, self.publisher.intrinsics));
    }

    fn tell(&mut self, notice: Notice, desk: &mut Desk) {
        let message = match notice {
            Notice::CameraUp { camera, epoch } => {
                log::info!(
                    "camera {} is up: {} {}×{}, epoch {epoch}",
                    camera.name,
                    camera.format_name,
                    camera.format.width,
                    camera.format.height
                );
                desk.epoch = epoch;
                let (name, format) = (&camera.name, &camera.format);
                let told = format!("{name} ({} {}×{})", camera.format_name, format.width, format.height);
                self.publisher.health.set_camera(telemetry::CameraState::Up(told));
                self.greet(Some(&camera));
                let camera = Some(camera_info(&camera, self.publisher.intrinsics));
                CameraMessage { state: CameraState::Up, epoch, reason: None, camera }
            }
            Notice::CameraLost { reason, epoch } => {
                self.publisher.health.set_camera(telemetry::CameraState::Lost(reason.clone()));
                self.greet(None);
                CameraMessage { state: CameraState::Lost, epoch, reason: Some(reason), camera: None }
            }
        };
        self.publisher.server.announce(&Message::Camera(message));
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 * 1e-6
}
