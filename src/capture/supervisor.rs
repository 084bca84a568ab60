//! Keeps a source alive: tells of a loss once, waits with back-off, finds the camera again by its stable name and
//! negotiates from zero.
//!
//! It never gives a frame of an old stream after [`Event::Lost`], and it never falls back to whatever camera has taken a
//! lost one's number.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::source_spec::{CameraName, Request, SourceSpec};
use super::v4l2::find::{Identity, Places};
use super::{Camera, Next, RawFrame, Source, SourceError};
use crate::stop::Stop;

/// What happened to the source.
#[derive(Debug)]
pub enum Event {
    /// The source is there, newly negotiated: a new epoch.
    Up(Arc<Camera>),
    /// A frame.
    Frame(RawFrame),
    /// A frame that cannot be used; see [`Next::Bad`].
    Bad {
        /// Its place in the driver's count.
        driver_sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The source is gone, or was not there at the start. Told once; then [`Event::Waiting`] until it is up.
    Lost {
        /// What was expected, what was found, what to do.
        reason: String,
    },
    /// Still waiting for it: nothing to do but to feed the watchdog.
    Waiting,
    /// The source is over, as it should be.
    Ended,
    /// [`Stop`] was set.
    Stopped,
    /// It cannot work by waiting: a wrong name, no capture device, no common format. Final.
    Unusable(String),
}

/// First pause before a lost source is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Pauses double up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The caller hears [`Event::Waiting`] at least this often, and a camera that was gone is looked for.
const BREATH: Duration = Duration::from_secs(1);
/// A source that gave so many good frames, or was good for so long, works: its next loss is a new one. One that merely opens
/// and fails again is waited for longer and longer.
const SETTLED_FRAMES: u32 = 30;
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Opens a source; [`super::open`] outside tests.
type Opener = Box<dyn FnMut(&SourceSpec, &Request, &Stop) -> Result<Box<dyn Source>, SourceError> + Send>;

/// A source that comes back.
pub struct Supervisor {
    spec: SourceSpec,
    request: Request,
    places: Places,
    open: Opener,
    identity: Option<Identity>,
    state: State,
    was_up: bool,
}

enum State {
    /// To be opened at `at`; `pause` is the next pause, `told` the reason last told of, if any.
    Waiting {
        at: Instant,
        pause: Duration,
        told: Option<String>,
        /// Whether it was not even there at the last look.
        absent: bool,
    },
    Up(Stream),
    Ended,
    Unusable(String),
}

/// An open source.
struct Stream {
    source: Box<dyn Source>,
    /// The camera's node, where it is known by one.
    path: Option<PathBuf>,
    opened: Instant,
    good_frames: u32,
    /// The pause when this is lost, unless it settles.
    pause: Duration,
}

impl Supervisor {
    /// Opens nothing yet: the first [`Supervisor::next`] does.
    pub fn new(spec: SourceSpec, request: Request) -> Supervisor {
        Supervisor::with(spec, request, Places::system(), Box::new(super::open))
    }

    fn with(spec: SourceSpec, request: Request, places: Places, open: Opener) -> Supervisor {
        let state = State::Waiting { at: Instant::now(), pause: FIRST_PAUSE, told: None, absent: false };
        Supervisor { spec, request, places, open, identity: None, state, was_up: false }
    }

    /// What the user asked for.
    pub fn spec(&self) -> &SourceSpec {
        &self.spec
    }

    /// Waits for what happens next: about a frame's time while the source is up, a second at most while it is lost.
    pub fn next(&mut self, stop: &Stop) -> Event {
        if stop.is_set() {
            return Event::Stopped;
        }
        match &mut self.state {
            State::Ended => Event::Ended,
            State::Unusable(reason) => Event::Unusable(reason.clone()),
            State::Up(stream) => match stream.source.next(stop) {
                Ok(Next::Frame(frame)) => {
                    stream.good_frames = stream.good_frames.saturating_add(1);
                    if stream.good_frames >= SETTLED_FRAMES || stream.opened.elapsed() >= SETTLED_AFTER {
                        stream.pause = FIRST_PAUSE;
                    }
                    if stream.good_frames == 1 {
                        // By now udev has made its links.
                        let path = stream.path.take();
                        self.remember(path.as_deref());
                    }
                    Event::Frame(frame)
                }
                Ok(Next::Bad { driver_sequence, reason }) => Event::Bad { driver_sequence, reason },
                Ok(Next::Stopped) | Err(SourceError::Stopped) => Event::Stopped,
                // Whatever failed while the end was asked for.
                Err(_) if stop.is_set() => Event::Stopped,
                Ok(Next::End) => {
                    self.state = State::Ended;
                    Event::Ended
                }
                Err(SourceError::Unusable(reason)) => {
                    self.state = State::Unusable(reason.clone());
                    Event::Unusable(reason)
                }
                Err(SourceError::Lost(reason)) => {
                    // Replacing the state closes the source: a driver can free the camera only then.
                    let (at, pause) = (Instant::now() + stream.pause, longer(stream.pause));
                    self.state = State::Waiting { at, pause, told: Some(reason.clone()), absent: false };
                    Event::Lost { reason }
                }
            },
            State::Waiting { at, .. } => {
                let left = at.saturating_duration_since(Instant::now());
                if stop.wait(left.min(BREATH)) {
                    return Event::Stopped;
                }
                if left > BREATH && !self.came_back() {
                    return Event::Waiting;
                }
                self.try_open(stop)
            }
        }
    }

    /// Whether a camera that was not there is there now: that is no time to go on waiting. It may take a moment until it can be
    /// opened; the pause after that is the first again.
    fn came_back(&mut self) -> bool {
        let there = self.is_there();
        let State::Waiting { pause, absent, .. } = &mut self.state else { return false };
        let came = *absent && there;
        *absent = !there;
        if came {
            *pause = FIRST_PAUSE;
        }
        came
    }

    /// Whether there is a node for it; of sources that have none, nothing is known.
    fn is_there(&self) -> bool {
        match self.target() {
            Ok(SourceSpec::Camera(name)) => self.places.locate(&name).is_ok_and(|path| path.exists()),
            Ok(_) => true,
            Err(_) => false,
        }
    }

    fn try_open(&mut self, stop: &Stop) -> Event {
        let opened = self.target().and_then(|target| Ok(((self.open)(&target, &self.request, stop)?, target)));
        let reason = match opened {
            Ok((source, target)) => {
                let camera = source.camera();
                let path = match target {
                    SourceSpec::Camera(CameraName::Path(path)) => Some(path),
                    _ => None,
                };
                self.remember(path.as_deref());
                let pause = match self.state {
                    State::Waiting { pause, .. } if self.was_up => pause,
                    _ => FIRST_PAUSE,
                };
                self.state = State::Up(Stream { source, path, opened: Instant::now(), good_frames: 0, pause });
                self.was_up = true;
                return Event::Up(camera);
            }
            Err(SourceError::Stopped) => return Event::Stopped,
            Err(_) if stop.is_set() => return Event::Stopped,
            Err(SourceError::Lost(reason)) => reason,
            // It worked before with these settings, so what is wrong is what came back, and that may change again.
            Err(SourceError::Unusable(reason)) if self.was_up => reason,
            Err(SourceError::Unusable(reason)) => {
                self.state = State::Unusable(reason.clone());
                return Event::Unusable(reason);
            }
        };
        let there = self.is_there();
        let State::Waiting { at, pause, told, absent } = &mut self.state else { return Event::Waiting };
        *absent = !there;
        *at = Instant::now() + *pause;
        *pause = longer(*pause);
        let first = told.is_none();
        if !first && told.as_ref() != Some(&reason) {
            log::info!("still waiting for {}: {reason}", self.spec);
        }
        *told = Some(reason.clone());
        if first { Event::Lost { reason } } else { Event::Waiting }
    }

    /// Learns what the camera at `path` can be found again by, anew at each success: it may have been moved to another port.
    /// What is known already is kept where nothing is found: the camera may be gone again.
    fn remember(&mut self, path: Option<&Path>) {
        if let Some(found) = path.and_then(|path| self.places.identity(path)) {
            self.identity = Some(match self.identity.take() {
                Some(earlier) => found.or(earlier),
                None => found,
            });
        }
    }

    /// Where the source is now: `/dev/videoN`, or what was the first camera, is followed by what the camera behind it is, not by its number.
    fn target(&self) -> Result<SourceSpec, SourceError> {
        match (&self.spec, &self.identity) {
            (SourceSpec::Camera(CameraName::Path(_) | CameraName::First), Some(identity)) => {
                Ok(SourceSpec::Camera(CameraName::Path(self.places.find_again(identity)?)))
            }
            // By its path, so that it is remembered.
            (SourceSpec::Camera(name @ CameraName::First), None) => {
                Ok(SourceSpec::Camera(CameraName::Path(self.places.locate(name)?)))
            }
            (spec, _) => Ok(spec.clone()),
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
