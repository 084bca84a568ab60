//! `clip:`: a Y4M file, a recording of `milad watch`, or a folder of PNG or JPEG pictures, played in order.
//!
//! No frame of a clip is ever left out or made up: what can't be read is an error that names the file. Frames carry the
//! time at which they are due by the clip's rate (a recording's: by the times at which they were captured), counted from the
//! start, whether or not the player waits for it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{SeekFrom, seek};

use super::pictures::Pictures;
use super::pool::{Pool, PooledBuffer};
use super::recording::Recording;
use super::source_spec::{ClipSpec, Pace};
use super::y4m_reader::{Step, Y4mReader, take};
use super::{Camera, Next, Payload, RawFrame, Source, SourceError};
use crate::clock::monotonic_ns;
use crate::stop::Stop;

/// Frames that can be on their way at once.
const BUFFERS: usize = 4;

/// How long a file's bytes, or a buffer's return, may take before the clip is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The interval of clips that state none: 30 frames/s.
const DEFAULT_INTERVAL_NS: u64 = 33_333_333;

/// The source.
#[derive(Debug)]
pub struct Clip {
    name: String,
    content: Content,
    camera: Arc<Camera>,
    pool: Pool,
    paced: bool,
    repeat: bool,
    /// Whether a recording's own times are in force, rather than a rate.
    own_times: bool,
    /// When the first frame was due; of a recording with its own times, the first of this lap.
    start_ns: u64,
    /// When the last frame was due.
    due_ns: u64,
    sequence: u64,
    /// Frames since the clip began (anew): a clip without any must not start again forever.
    since_start: u64,
    ended: bool,
}

#[derive(Debug)]
enum Content {
    Y4m(Box<Y4mReader>),
    Pictures(Pictures),
    Recording(Recording),
}

impl Clip {
    /// Opens the file, or the folder and its first picture.
    pub fn open(spec: &ClipSpec, stop: &Stop) -> Result<Clip, SourceError> {
        let name = spec.path.display().to_string();
        let (content, mut camera, bytes) = open(&spec.path, stop).map_err(|trouble| match trouble {
            Trouble::Stopped => SourceError::Stopped,
            Trouble::Problem(problem) => SourceError::Unusable(format!("clip {name}: {problem}")),
        })?;
        camera.live = matches!(spec.pace, Pace::Fixed(_));
        let own_times = matches!(content, Content::Recording(_)) && !camera.live;
        camera.interval_ns = match (spec.pace, camera.interval_ns) {
            (Pace::Fixed(rate), _) => (1e9 / rate).round() as u64,
            (_, 0) => DEFAULT_INTERVAL_NS,
            (_, stated) => stated,
        };
        Ok(Clip {
            name,
            content,
            camera: Arc::new(camera),
            pool: Pool::new(BUFFERS, bytes),
            paced: spec.pace != Pace::Max,
            repeat: spec.repeat,
            own_times,
            start_ns: monotonic_ns(),
            due_ns: 0,
            sequence: 0,
            since_start: 0,
            ended: false,
        })
    }

    /// The next frame's bytes; `None` at the end of the clip.
    fn read(&mut self, stop: &Stop) -> Result<Option<PooledBuffer>, Trouble> {
        let until = Instant::now() + PATIENCE;
        let number = self.since_start;
        match &mut self.content {
            Content::Y4m(reader) => match reader.frame(stop, until, &self.pool)? {
                Step::Done(frame) => Ok(Some(frame.buffer)),
                Step::End => Ok(None),
                Step::Stopped => Err(Trouble::Stopped),
                Step::CutOff { found, expected } => {
                    Err(Trouble::Problem(format!("frame {number} is cut off: {found} of {expected} bytes")))
                }
                Step::Restarted => Err(Trouble::Problem(format!("a second Y4M header after {number} frames"))),
                Step::Silent => Err(Trouble::Problem(format!("frame {number} could not be read in a minute"))),
            },
            Content::Recording(recording) => {
                let mut buffer = room(&self.pool, stop, until)?;
                Ok(recording.read(&mut buffer)?.then_some(buffer))
            }
            Content::Pictures(pictures) => {
                if pictures.is_over() {
                    return Ok(None);
                }
                let mut buffer = room(&self.pool, stop, until)?;
                pictures.read(&self.camera.format, &mut buffer)?;
                Ok(Some(buffer))
            }
        }
    }

    fn rewind(&mut self, stop: &Stop) -> Result<(), String> {
        self.since_start = 0;
        match &mut self.content {
            Content::Pictures(pictures) => pictures.rewind(),
            Content::Recording(recording) => {
                recording.rewind()?;
                if self.own_times {
                    self.start_ns = self.due_ns.saturating_add(self.camera.interval_ns);
                }
            }
            Content::Y4m(reader) => {
                seek(reader.input(), SeekFrom::Start(0)).map_err(|e| format!("can't start again: {e}"))?;
                reader.restart();
                reader.header(stop, Instant::now() + PATIENCE)?;
            }
        }
        Ok(())
    }
}

impl Source for Clip {
    fn camera(&self) -> Arc<Camera> {
        self.camera.clone()
    }

    fn next(&mut self, stop: &Stop) -> Result<Next, SourceError> {
        if self.ended {
            return Ok(Next::End);
        }
        let read = match self.read(stop) {
            Ok(None) if self.repeat && self.since_start > 0 => {
                self.rewind(stop).map_err(Trouble::Problem).and_then(|()| self.read(stop))
            }
            other => other,
        };
        let buffer = match read {
            Ok(Some(buffer)) => buffer,
            Ok(None) => {
                self.ended = true;
                return Ok(Next::End);
            }
            Err(Trouble::Stopped) => return Ok(Next::Stopped),
            Err(Trouble::Problem(problem)) => {
                return Err(SourceError::Unusable(format!("clip {}: {problem}", self.name)));
            }
        };
        let driver_sequence = self.sequence;
        let due = self.start_ns.saturating_add(match &self.content {
            Content::Recording(recording) if self.own_times => recording.elapsed_ns(),
            _ => driver_sequence.saturating_mul(self.camera.interval_ns),
        });
        self.due_ns = due;
        if self.paced && stop.wait(Duration::from_nanos(due.saturating_sub(monotonic_ns()))) || stop.is_set() {
            return Ok(Next::Stopped);
        }
        self.sequence += 1;
        self.since_start += 1;
        Ok(Next::Frame(RawFrame { driver_sequence, captured_ns: due, payload: Payload::Pooled(buffer) }))
    }
}

/// An empty buffer, as soon as one came back.
fn room(pool: &Pool, stop: &Stop, until: Instant) -> Result<PooledBuffer, Trouble> {
    take(pool, stop, until).ok_or_else(|| match stop.is_set() {
        true => Trouble::Stopped,
        false => Trouble::Problem("no buffer came back".to_owned()),
    })
}

/// Why there is no frame.
#[derive(Debug)]
enum Trouble {
    Stopped,
    Problem(String),
}

impl From<String> for Trouble {
    fn from(problem: String) -> Trouble {
        Trouble::Problem(problem)
    }
}

/// What is at `path`, how it is described, and the room that its frames need.
fn open(path: &Path, stop: &Stop) -> Result<(Content, Camera, usize), Trouble> {
    let metadata = std::fs::metadata(path).map_err(|e| e.to_string())?;
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    if metadata.is_dir() {
        let pictures = Pictures::open(path)?;
        let (camera, bytes) = pictures.describe(name)?;
        return Ok((Content::Pictures(pictures), camera, bytes));
    }
    if !metadata.is_file() {
        return Err(Trouble::Problem("neither a file nor a folder".to_owned()));
    }
    if let Some((recording, camera, bytes)) = Recording::open(path, name.clone())? {
        return Ok((Content::Recording(recording), camera, bytes));
    }
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut reader = Y4mReader::new(file.into());
    match reader.header(stop, Instant::now() + PATIENCE)? {
        Step::Stopped => return Err(Trouble::Stopped),
        Step::Done(()) => {}
        _ => return Err(Trouble::Problem("its header could not be read in a minute".to_owned())),
    }
    let header = reader.known_header().ok_or_else(|| Trouble::Problem("it has no header".to_owned()))?;
    let (camera, bytes) = (header.camera(name, false), header.frame_bytes());
    Ok((Content::Y4m(Box::new(reader)), camera, bytes))
}

#[cfg(test)]
#[path = "clip_tests.rs"]
mod tests;
