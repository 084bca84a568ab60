//! `pipe:`: Y4M on standard input, so that `rpicam-vid … | milad run --source pipe:` serves cameras that need libcamera.
//!
//! A pipe can't be opened again: when the source is lost (silent too long, restarted with another size) the reader is
//! parked, and the next [`Pipe::open`] goes on where it was. No byte is lost in between, and none is shown twice.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::pool::Pool;
use super::y4m::Header;
use super::y4m_reader::{Step, Y4mReader};
use super::{Camera, Next, Payload, RawFrame, Source, SourceError};
use crate::stop::Stop;

/// Frames that can be on their way at once: in the mailbox, being prepared, being read, and one to spare.
const BUFFERS: usize = 4;

/// How long an open waits for the writer's first byte before it says that nothing comes.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);

/// Where the reader of a lost pipe waits for the next open.
type Parking = Mutex<Option<Y4mReader>>;

/// Standard input's.
static STDIN: Parking = Mutex::new(None);

/// Y4M frames as they arrive.
#[derive(Debug)]
pub struct Pipe {
    /// There until it is parked.
    reader: Option<Y4mReader>,
    parking: &'static Parking,
    camera: Arc<Camera>,
    pool: Pool,
    deadline: Duration,
    sequence: u64,
    ended: bool,
}

impl Pipe {
    /// Standard input, from where an earlier source left it.
    pub fn open(stop: &Stop) -> Result<Pipe, SourceError> {
        let reader = match take_parked(&STDIN) {
            Some(reader) => reader,
            None => {
                let stdin = std::io::stdin();
                if stdin.is_terminal() {
                    let hint = "write Y4M into it: rpicam-vid --codec yuv420 … | ffmpeg … -f yuv4mpegpipe - | milad run --source pipe:";
                    return Err(SourceError::Unusable(format!("pipe: standard input is a terminal; {hint}")));
                }
                let input = stdin.as_fd().try_clone_to_owned();
                Y4mReader::new(input.map_err(|e| SourceError::Unusable(format!("pipe: no standard input: {e}")))?)
            }
        };
        Pipe::with_reader(reader, &STDIN, OPEN_DEADLINE, stop)
    }

    /// Goes on with `reader`; parks it when nothing comes.
    fn with_reader(
        mut reader: Y4mReader,
        parking: &'static Parking,
        patience: Duration,
        stop: &Stop,
    ) -> Result<Pipe, SourceError> {
        let until = Instant::now() + patience;
        let step = if reader.known_header().is_some() { reader.wait(stop, until) } else { reader.header(stop, until) };
        let error = match (step, reader.known_header()) {
            (Ok(Step::Done(()) | Step::End), Some(header)) => {
                let camera = Arc::new(header.camera("standard input".to_owned(), true));
                let pool = Pool::new(BUFFERS, header.frame_bytes());
                let deadline = deadline(header);
                return Ok(Pipe { reader: Some(reader), parking, camera, pool, deadline, sequence: 0, ended: false });
            }
            (Ok(Step::Stopped), _) => SourceError::Stopped,
            (Ok(_), _) => SourceError::Lost(format!("pipe: nothing came for {} s", patience.as_secs())),
            (Err(problem), _) => SourceError::Unusable(format!("pipe: {problem}")),
        };
        park(parking, reader);
        Err(error)
    }
}

impl Source for Pipe {
    fn camera(&self) -> Arc<Camera> {
        self.camera.clone()
    }

    fn next(&mut self, stop: &Stop) -> Result<Next, SourceError> {
        let Some(reader) = self.reader.as_mut().filter(|_| !self.ended) else { return Ok(Next::End) };
        let step = reader.frame(stop, Instant::now() + self.deadline, &self.pool);
        let driver_sequence = self.sequence;
        match step.map_err(|problem| SourceError::Unusable(format!("pipe: {problem}")))? {
            Step::Done(frame) => {
                self.sequence += 1;
                let payload = Payload::Pooled(frame.buffer);
                Ok(Next::Frame(RawFrame { driver_sequence, captured_ns: frame.arrived_ns, payload }))
            }
            Step::End => {
                self.ended = true;
                Ok(Next::End)
            }
            Step::CutOff { found, expected } => {
                (self.ended, self.sequence) = (true, driver_sequence + 1);
                let reason = format!("pipe: ended within a frame: {found} of {expected} bytes");
                Ok(Next::Bad { driver_sequence, reason })
            }
            Step::Restarted => {
                let now = reader.known_header().map(describe).unwrap_or_default();
                let before = describe_camera(&self.camera);
                Err(SourceError::Lost(format!("pipe: restarted with {now}; it was {before}")))
            }
            Step::Silent => {
                let seconds = self.deadline.as_secs_f64();
                Err(SourceError::Lost(format!(
                    "pipe: no complete frame within {seconds:.1} s; is its writer still running?"
                )))
            }
            Step::Stopped => Ok(Next::Stopped),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            park(self.parking, reader);
        }
    }
}

fn park(parking: &Parking, reader: Y4mReader) {
    *parking.lock().unwrap_or_else(PoisonError::into_inner) = Some(reader);
}

fn take_parked(parking: &Parking) -> Option<Y4mReader> {
    parking.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Ten frame intervals, but not less than two seconds: encoders and cameras pause when they adapt.
fn deadline(header: &Header) -> Duration {
    Duration::from_nanos(header.interval_ns.saturating_mul(10)).clamp(Duration::from_secs(2), Duration::from_secs(60))
}

fn describe(header: &Header) -> String {
    format!("{}×{} {}", header.width, header.height, header.format_name)
}

fn describe_camera(camera: &Camera) -> String {
    format!("{}×{} {}", camera.format.width, camera.format.height, camera.format_name)
}

#[cfg(test)]
#[path = "pipe_tests.rs"]
mod tests;
