//! Whether the daemon is alive and ready, told by the pipeline and asked by whoever watches.
//!
//! It never reports an old result as fresh: readiness is computed from times when it is asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// No network in order takes this long for a frame, on the slowest board.
const HANG: Duration = Duration::from_secs(60);

/// What the pipeline last did; shared by `Arc`. Whatever changes with a frame is an atomic.
#[derive(Debug)]
pub struct Health {
    /// Times are `CLOCK_MONOTONIC` nanoseconds; 0: never.
    progress_ns: AtomicU64,
    published_ns: AtomicU64,
    keyframe_ns: AtomicU64,
    frame_limit_ns: AtomicU64,
    keyframe_limit_ns: AtomicU64,
    camera: Mutex<CameraState>,
    on_camera: OnceLock<fn(&CameraState)>,
}

/// Whether the source is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CameraState {
    /// Nothing is known of it yet.
    #[default]
    Unknown,
    /// It is there: its name, format and size.
    Up(String),
    /// It is not, and this is why.
    Lost(String),
}

/// Why the daemon is not ready.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NotReady {
    /// A stage hangs, or the pipeline ended.
    #[error("the pipeline has made no progress for {0} s")]
    Dead(u64),
    /// Nothing was published yet.
    #[error("no frame published yet")]
    NoFrame,
    /// The newest published frame is too old.
    #[error("newest frame published {age_s:.1} s ago, expected within {limit_s:.1} s")]
    StaleFrame {
        /// Seconds since.
        age_s: f64,
        /// Seconds allowed.
        limit_s: f64,
    },
    /// No keyframe is done yet.
    #[error("no keyframe finished yet")]
    NoKeyframe,
    /// The newest keyframe is too old.
    #[error("newest keyframe captured {age_s:.1} s ago, expected within {limit_s:.1} s")]
    StaleKeyframe {
        /// Seconds since.
        age_s: f64,
        /// Seconds allowed.
        limit_s: f64,
    },
}

/// Limits until a camera's rate is known: a second for a frame, five for a keyframe.
impl Default for Health {
    fn default() -> Self {
        Health::new(Duration::from_secs(1), Duration::from_secs(5))
    }
}

impl Health {
    /// Alive, not ready; ready needs a frame published within `frame_limit` and a keyframe captured within `keyframe_limit`.
    pub fn new(frame_limit: Duration, keyframe_limit: Duration) -> Health {
        let health = Health {
            progress_ns: AtomicU64::new(crate::clock::monotonic_ns()),
            published_ns: AtomicU64::new(0),
            keyframe_ns: AtomicU64::new(0),
            frame_limit_ns: AtomicU64::new(0),
            keyframe_limit_ns: AtomicU64::new(0),
            camera: Mutex::new(CameraState::Unknown),
            on_camera: OnceLock::new(),
        };
        health.set_limits(frame_limit, keyframe_limit);
        health
    }

    /// Other limits, say because the keyframe interval changed.
    pub fn set_limits(&self, frame_limit: Duration, keyframe_limit: Duration) {
        let ns = |limit: Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.frame_limit_ns.store(ns(frame_limit), Relaxed);
        self.keyframe_limit_ns.store(ns(keyframe_limit), Relaxed);
    }

    /// The pipeline got a frame done at this time, or has none to do.
    pub fn progress(&self, now_ns: u64) {
        self.progress_ns.store(now_ns, Relaxed);
    }

    /// A result was published at this time.
    pub fn published(&self, published_ns: u64) {
        self.published_ns.store(published_ns, Relaxed);
    }

    /// The keyframe in force was captured at this time.
    pub fn keyframe(&self, captured_ns: u64) {
        self.keyframe_ns.store(captured_ns, Relaxed);
    }

    /// Whom to tell at once that the source came or went; the first to ask is told.
    pub fn on_camera(&self, tell: fn(&CameraState)) {
        let _ = self.on_camera.set(tell);
    }

    /// The source came or went.
    pub fn set_camera(&self, state: CameraState) {
        if let Some(tell) = self.on_camera.get() {
            tell(&state);
        }
        *self.camera.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Whether the source is there.
    pub fn camera(&self) -> CameraState {
        self.camera.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How old the keyframe in force is, in seconds; `None` before the first.
    pub fn keyframe_age_s(&self, now_ns: u64) -> Option<f64> {
        match self.keyframe_ns.load(Relaxed) {
            0 => None,
            captured_ns => Some(now_ns.saturating_sub(captured_ns) as f64 * 1e-9),
        }
    }

    /// Whether the pipeline makes progress: waiting for a camera is progress too, a frame that nobody gets done is not.
    pub fn alive(&self, now_ns: u64) -> bool {
        self.stalled_ns(now_ns) <= HANG.as_nanos() as u64
    }

    /// How long ago the pipeline last made progress, in nanoseconds.
    pub fn stalled_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.progress_ns.load(Relaxed))
    }

    /// Whether what clients get now is fresh.
    pub fn ready(&self, now_ns: u64) -> Result<(), NotReady> {
        if !self.alive(now_ns) {
            return Err(NotReady::Dead(HANG.as_secs()));
        }
        let overdue = |since: &AtomicU64, limit: &AtomicU64| match since.load(Relaxed) {
            0 => Some(None),
            since => {
                let (age, limit) = (now_ns.saturating_sub(since), limit.load(Relaxed));
                (age > limit).then_some(Some((age as f64 * 1e-9, limit as f64 * 1e-9)))
            }
        };
        match overdue(&self.published_ns, &self.frame_limit_ns) {
            Some(None) => return Err(NotReady::NoFrame),
            Some(Some((age_s, limit_s))) => return Err(NotReady::StaleFrame { age_s, limit_s }),
            None => {}
        }
        match overdue(&self.keyframe_ns, &self.keyframe_limit_ns) {
            Some(None) => Err(NotReady::NoKeyframe),
            Some(Some((age_s, limit_s))) => Err(NotReady::StaleKeyframe { age_s, limit_s }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_hangs_is_not_alive_and_not_ready() {
        let health = Health::new(Duration::from_secs(1), Duration::from_secs(5));
        let now = crate::clock::monotonic_ns();
        health.progress(now);
        health.published(now);
        health.keyframe(now);
        let later = now + 61_000_000_000;
        assert!(health.alive(now) && !health.alive(later));
        assert_eq!(health.ready(now), Ok(()));
        assert_eq!(health.ready(later), Err(NotReady::Dead(60)));
    }

    #[test]
    fn ready_needs_a_fresh_frame_and_a_fresh_keyframe() {
        const S: u64 = 1_000_000_000;
        let health = Health::new(Duration::from_secs(1), Duration::from_secs(5));
        assert_eq!(health.ready(10 * S), Err(NotReady::NoFrame));
        health.published(10 * S);
        assert_eq!(health.ready(10 * S), Err(NotReady::NoKeyframe));
        health.keyframe(9 * S);
        assert_eq!(health.ready(11 * S), Ok(()));
        assert_eq!(health.ready(12 * S), Err(NotReady::StaleFrame { age_s: 2.0, limit_s: 1.0 }));
        health.published(15 * S);
        assert_eq!(health.ready(15 * S), Err(NotReady::StaleKeyframe { age_s: 6.0, limit_s: 5.0 }));
    }
}
