//! The capture stage: asks the source for frames, numbers them, and tells of a camera that comes and goes.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::account::Account;
use super::link::{Event as Bell, LinkSender, Sent};
use super::publish::Notice;
use super::throttle::Throttle;
use crate::capture::frame::Frame;
use crate::capture::supervisor::{Event, Supervisor};
use crate::capture::{Camera, RawFrame};
use crate::clock::monotonic_ns;
use crate::stop::Stop;
use crate::telemetry::{Cause, Stage};

/// The capture thread's state.
pub struct CaptureStage {
    /// Keeps the source alive.
    pub supervisor: Supervisor,
    /// Frames for preparation.
    pub output: LinkSender<Frame>,
    /// What clients are told beside results.
    pub notices: Sender<Notice>,
    /// Rung with each notice.
    pub event: Bell,
    /// Where frames went.
    pub account: Arc<Account>,
    /// Ends the stage.
    pub stop: Stop,
    /// Ends the stage after so many frames.
    pub frames: Option<u64>,
}

/// Why the stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The source is over, or as many frames came as were asked for.
    Finished,
    /// The daemon was told to stop.
    Stopped,
    /// The source can't be used.
    Unusable(String),
    /// A stage panicked, or can't go on: a fault of the program or of the machine, which starting it again may heal.
    Failed,
}

/// One run of the driver's count, from a camera that came up to its loss.
struct Epoch {
    number: u64,
    camera: Arc<Camera>,
    last_driver_sequence: Option<u64>,
}

impl Epoch {
    /// How many frames the driver lost before this one.
    fn gap(&mut self, driver_sequence: u64) -> u64 {
        let last = self.last_driver_sequence.replace(driver_sequence);
        match last {
            Some(last) if self.camera.counts => driver_sequence.saturating_sub(last + 1),
            _ => 0,
        }
    }
}

impl CaptureStage {
    /// Runs until the source ends or the daemon stops. Dropping `output` on the way out lets the next stages end.
    pub fn run(mut self) -> Ended {
        let mut epoch: Option<Epoch> = None;
        let mut epochs = 0;
        let mut sequence = 0;
        let mut bad_frames = Throttle::default();
        loop {
            let event = self.supervisor.next(&self.stop);
            match (event, &mut epoch) {
                (Event::Up(camera), _) => {
                    epochs += 1;
                    if epochs > 1 {
                        self.account.metrics().reconnect();
                    }
                    self.account.metrics().camera_up(true);
                    epoch = Some(Epoch { number: epochs, camera: camera.clone(), last_driver_sequence: None });
                    self.notify(Notice::CameraUp { camera, epoch: epochs });
                }
                (Event::Frame(raw), Some(epoch)) => {
                    self.account.captured(epoch.gap(raw.driver_sequence));
                    self.hand_on(raw, epoch, sequence);
                    sequence += 1;
                }
                (Event::Bad { driver_sequence, reason }, Some(epoch)) => {
                    bad_frames
                        .say(|held| log::warn!("frame {driver_sequence} of the driver is not used: {reason}{held}"));
                    self.account.captured(epoch.gap(driver_sequence));
                    self.account.metrics().bad_frame();
                    self.account.dropped(Stage::Capture, Cause::Corrupt);
                    sequence += 1;
                }
                (Event::Frame(_) | Event::Bad { .. }, None) => {
                    log::error!("a frame came before its camera was told of")
                }
                (Event::Lost { reason }, _) => {
                    log::warn!("camera lost: {reason}");
                    self.account.metrics().camera_up(false);
                    epoch = None;
                    self.notify(Notice::CameraLost { reason, epoch: epochs });
                }
                (Event::Waiting, _) => {}
                (Event::Ended, _) => return Ended::Finished,
                (Event::Stopped, _) => return Ended::Stopped,
                (Event::Unusable(reason), _) => return Ended::Unusable(reason),
            }
            if self.frames.is_some_and(|frames| sequence >= frames) {
                return Ended::Finished;
            }
        }
    }

    fn hand_on(&mut self, raw: RawFrame, epoch: &Epoch, sequence: u64) {
        // From the driver's stamp to the hand-over: what waiting for this thread cost.
        let waited_ns = monotonic_ns().saturating_sub(raw.captured_ns);
        self.account.metrics().stage(Stage::Capture, waited_ns as f64 * 1e-9);
        let frame = Frame { sequence, epoch: epoch.number, camera: epoch.camera.clone(), raw };
        match self.output.send(frame) {
            Sent::Delivered => {}
            // Dropping the replaced frame gives its buffer back to the source.
            Sent::Replaced(_) => self.account.dropped(Stage::Prepare, Cause::Replaced),
            Sent::Refused(_) => self.account.dropped(Stage::Capture, Cause::Stopped),
        }
    }

    fn notify(&self, notice: Notice) {
        // The publisher is only gone when the daemon ends.
        let _ = self.notices.send(notice);
        self.event.ring();
    }
}
