//! The publish stage: predictions become maps, statistics and messages, and go out to the clients.
//!
//! One event loop serves the pipeline and the sockets (docs/adr/0002): nothing here ever waits for a client.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use milad_client::{CameraMessage, CameraState, Keyframe, Latency, Message, ResultMessage};

use super::account::Account;
use super::frame::Outcome;
use super::link::{Event, LinkReceiver, Received};
use super::throttle::Throttle;
use crate::capture::Camera;
use crate::clock::monotonic_ns;
use crate::model::Spec;
use crate::publish::{Digest, Server, camera_info, greeting};
use crate::stop::Stop;
use crate::telemetry::{Cause, Health, Stage};

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

/// What is used again from frame to frame.
struct Desk {
    digest: Digest,
    message: ResultMessage,
    failures: Throttle,
}

impl PublishStage {
    /// Runs until the networks end.
    pub fn run(mut self) {
        let mut desk =
            Desk { digest: Digest::new(&self.spec), message: ResultMessage::default(), failures: Throttle::default() };
        self.greet(None);
        while !self.stop.is_set() {
            if let Err(error) = self.publisher.server.wait(self.event.fd(), self.stop.fd(), None) {
                log::error!("the results socket can't be waited for: {error}");
                break;
            }
            self.event.clear();
            while let Ok(notice) = self.notices.try_recv() {
                self.tell(notice);
            }
            if !self.publish_waiting(&mut desk) {
                break;
            }
        }
        let reason = if self.stop.is_set() { "the daemon stops" } else { "the source ended" };
        self.stop.set();
        while self.outcomes.receive().is_some() {
            self.account.dropped(Stage::Publish, Cause::Stopped);
        }
        self.publisher.server.close(reason);
    }

    /// Publishes what has come. Returns whether more may come.
    fn publish_waiting(&mut self, desk: &mut Desk) -> bool {
        loop {
            match self.outcomes.try_receive() {
                Received::Value(outcome) => self.publish(&outcome, desk),
                Received::Empty => return true,
                Received::Closed => return false,
            }
        }
    }

    fn publish(&mut self, outcome: &Outcome, desk: &mut Desk) {
        let started = monotonic_ns();
        let meta = &outcome.meta;
        if let Err(error) = desk.digest.run(&outcome.prediction, &mut desk.message.tasks) {
            desk.failures.say(|held| log::error!("frame {}: {error}{held}", meta.sequence));
            self.account.dropped(Stage::Publish, Cause::Failed);
            return;
        }
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
        self.publisher.server.publish(message, desk.digest.planes());

        let metrics = self.account.metrics();
        metrics.stage(Stage::Publish, publish_ns as f64 * 1e-9);
        metrics.latency(latency_ns as f64 * 1e-9);
        if let Some(keyframe) = outcome.keyframe {
            metrics.keyframe_age(meta.captured_ns.saturating_sub(keyframe.captured_ns) as f64 * 1e-9);
            self.publisher.health.keyframe(keyframe.captured_ns);
        }
        self.publisher.health.published(published_ns);
        self.account.published(meta.captured_ns);
    }

    fn greet(&mut self, camera: Option<&Camera>) {
        self.publisher.server.hello(greeting(&self.spec, camera, self.publisher.intrinsics));
    }

    fn tell(&mut self, notice: Notice) {
        let message = match notice {
            Notice::CameraUp { camera, epoch } => {
                log::info!(
                    "camera {} is up: {} {}×{}, epoch {epoch}",
                    camera.name,
                    camera.format_name,
                    camera.format.width,
                    camera.format.height
                );
                self.greet(Some(&camera));
                let camera = Some(camera_info(&camera, self.publisher.intrinsics));
                CameraMessage { state: CameraState::Up, epoch, reason: None, camera }
            }
            Notice::CameraLost { reason, epoch } => {
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
