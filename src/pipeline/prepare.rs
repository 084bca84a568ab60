//! The preparation stage: camera pixels become the networks' input, and the camera's buffer goes home.

use std::sync::Arc;

use super::account::Account;
use super::frame::{Meta, Prepared};
use super::images::{ImageError, Images};
use super::link::{LinkReceiver, LinkSender, Sent};
use super::throttle::Throttle;
use crate::capture::{Camera, Frame};
use crate::clock::monotonic_ns;
use crate::model::InputSpec;
use crate::prepare::{Prepare, PrepareOptions};
use crate::stop::Stop;
use crate::telemetry::{Cause, Stage};

/// The preparation thread's state.
pub struct PrepareStage {
    /// What the networks want.
    pub input: InputSpec,
    /// How the user wants the picture turned.
    pub options: PrepareOptions,
    /// Frames from capture.
    pub frames: LinkReceiver<Frame>,
    /// Images for the networks.
    pub output: LinkSender<Prepared>,
    /// Where frames went.
    pub account: Arc<Account>,
    /// Lets what is still on its way fall.
    pub stop: Stop,
}

impl PrepareStage {
    /// Runs until capture ends.
    pub fn run(mut self) {
        let mut images = Images::new(self.input.width, self.input.height);
        // What fits a camera as negotiated; made anew with each epoch. `Err` was told once and holds for the epoch.
        let mut current: Option<(Arc<Camera>, Result<Prepare, String>)> = None;
        let mut failures = Throttle::default();
        while let Some(frame) = self.frames.receive() {
            if self.stop.is_set() {
                self.account.dropped(Stage::Prepare, Cause::Stopped);
                continue;
            }
            let started = monotonic_ns();
            let known = current.as_ref().is_some_and(|(camera, _)| Arc::ptr_eq(camera, &frame.camera));
            if !known {
                let prepare = Prepare::new(&frame.camera, &self.input, &self.options);
                if let Err(reason) = &prepare {
                    log::error!("frames of {} can't be prepared: {reason}", frame.camera.name);
                }
                current = Some((frame.camera.clone(), prepare));
            }
            let Some((_, Ok(prepare))) = &mut current else {
                self.account.dropped(Stage::Prepare, Cause::Failed);
                continue;
            };
            match images.fill(|pixels| prepare.run(&frame, pixels)) {
                Ok(image) => {
                    let prepare_ns = monotonic_ns().saturating_sub(started);
                    self.account.metrics().stage(Stage::Prepare, prepare_ns as f64 * 1e-9);
                    let meta = Meta {
                        sequence: frame.sequence,
                        driver_sequence: frame.raw.driver_sequence,
                        epoch: frame.epoch,
                        captured_ns: frame.raw.captured_ns,
                        prepare_ns,
                        network_ns: 0,
                        camera: frame.camera.clone(),
                    };
                    // The buffer goes back to the driver before anything else happens.
                    drop(frame);
                    self.hand_on(Prepared { meta, image });
                }
                Err(ImageError::Fill(bad)) => {
                    failures.say(|held| log::warn!("frame {} is not used: {bad}{held}", frame.sequence));
                    self.account.metrics().bad_frame();
                    self.account.dropped(Stage::Prepare, Cause::Corrupt);
                }
                Err(ImageError::Engine(reason)) => {
                    failures.say(|held| log::error!("no input image for frame {}: {reason}{held}", frame.sequence));
                    self.account.dropped(Stage::Prepare, Cause::Failed);
                }
            }
        }
    }

    fn hand_on(&mut self, prepared: Prepared) {
        match self.output.send(prepared) {
            Sent::Delivered => {}
            Sent::Replaced(_) => self.account.dropped(Stage::Fast, Cause::Replaced),
            Sent::Refused(_) => self.account.dropped(Stage::Prepare, Cause::Stopped),
        }
    }
}
