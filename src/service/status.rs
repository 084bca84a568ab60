//! The line of `systemctl status`: which camera, how fast, how fresh; or what is waited for.
//!
//! It never calls results fresh that are not: it asks [`Health`] whenever it is made.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::clock::monotonic_ns;
use crate::pipeline::Account;
use crate::telemetry::{CameraState, Health};

/// Makes the line anew whenever it is asked for.
#[derive(Debug)]
pub struct Status {
    account: Arc<Account>,
    health: Arc<Health>,
    /// When the last line was made, and how many frames had been published by then.
    last: (u64, u64),
}

impl Status {
    /// Rates are counted from now on.
    pub fn new(account: Arc<Account>, health: Arc<Health>) -> Status {
        let published = account.summary().published;
        Status { account, health, last: (monotonic_ns(), published) }
    }

    /// One line; the rate is that since the last one.
    pub fn line(&mut self) -> String {
        let (now, summary) = (monotonic_ns(), self.account.summary());
        let (before, published) = std::mem::replace(&mut self.last, (now, summary.published));
        let seconds = now.saturating_sub(before) as f64 * 1e-9;
        let rate = if seconds > 0.0 { summary.published.saturating_sub(published) as f64 / seconds } else { 0.0 };
        let mut line = describe(&self.health, now, rate);
        // Writing to a String does not fail.
        let _ = write!(
            line,
            "; captured {}, published {}, driver gaps {}",
            summary.captured, summary.published, summary.driver_gaps
        );
        line
    }
}

/// The line for a source that came or went this moment: a loss may be over before the next [`Status::line`] is due.
pub fn of_camera(state: &CameraState) -> String {
    match state {
        CameraState::Unknown => "waiting for the first frame".to_owned(),
        CameraState::Lost(reason) => format!("waiting for the camera: {reason}"),
        CameraState::Up(camera) => format!("{camera}: waiting for its first frame"),
    }
}

fn describe(health: &Health, now_ns: u64, rate: f64) -> String {
    match health.camera() {
        state @ (CameraState::Unknown | CameraState::Lost(_)) => of_camera(&state),
        CameraState::Up(camera) => match (health.ready(now_ns), health.keyframe_age_s(now_ns)) {
            (Ok(()), Some(age_s)) => format!("{camera}: {rate:.1} frames/s, keyframe {age_s:.1} s old"),
            (Ok(()), None) => format!("{camera}: {rate:.1} frames/s"),
            (Err(reason), _) => format!("{camera}: {reason}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const S: u64 = 1_000_000_000;

    #[test]
    fn the_line_tells_of_the_camera_and_of_what_is_fresh() {
        let health = Health::new(Duration::from_secs(1), Duration::from_secs(5));
        let now = monotonic_ns() + 100 * S;
        health.progress(now);
        assert_eq!(describe(&health, now, 0.0), "waiting for the first frame");
        health.set_camera(CameraState::Lost("/dev/video0 is not there".to_owned()));
        assert_eq!(describe(&health, now, 0.0), "waiting for the camera: /dev/video0 is not there");
        health.set_camera(CameraState::Up("vivid (YUYV 640×360)".to_owned()));
        assert_eq!(describe(&health, now, 0.0), "vivid (YUYV 640×360): no frame published yet");
        health.published(now);
        health.keyframe(now - S / 5);
        assert_eq!(describe(&health, now, 24.96), "vivid (YUYV 640×360): 25.0 frames/s, keyframe 0.2 s old");
        let stale = describe(&health, now + 3 * S, 0.0);
        assert!(stale.starts_with("vivid (YUYV 640×360): newest frame published 3.0 s ago"), "{stale}");
    }
}
