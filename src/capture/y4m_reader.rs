//! Y4M from a descriptor, frame by frame, without ever waiting beyond a deadline or a stop.
//!
//! A reader that ran out of time remembers where it was, mid-line or mid-frame, and goes on there. It reads no byte that
//! it does not keep, and keeps no more than one frame and [`MAX_LINE`] bytes.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::pool::{Pool, PooledBuffer};
use super::y4m::{FRAME, Header, MAGIC, MAX_LINE, excerpt};
use crate::clock::monotonic_ns;
use crate::pulse::rest_during;
use crate::stop::Stop;

/// How far a call got.
#[derive(Debug)]
pub enum Step<T> {
    /// As far as was asked for.
    Done(T),
    /// A header where a frame was expected: the writer started anew. The header is in force from now on.
    Restarted,
    /// The end, where an end may be.
    End,
    /// The end within a frame.
    CutOff {
        /// Bytes of the frame that came.
        found: usize,
        /// Bytes that a frame has.
        expected: usize,
    },
    /// The deadline passed.
    Silent,
    /// [`Stop`] was set.
    Stopped,
}

/// A complete frame.
#[derive(Debug)]
pub struct Y4mFrame {
    /// Its planes, one after the other.
    pub buffer: PooledBuffer,
    /// When its first bytes were there, `CLOCK_MONOTONIC`.
    pub arrived_ns: u64,
}

/// Where a Y4M stream is being read.
#[derive(Debug)]
pub struct Y4mReader {
    input: OwnedFd,
    /// Bytes read and not yet used: part of a line, and what came with it.
    pending: Vec<u8>,
    header: Option<Header>,
    /// A frame on its way, and how much of it is there.
    partial: Option<(Y4mFrame, usize)>,
}

impl Y4mReader {
    /// Reads nothing yet.
    pub fn new(input: OwnedFd) -> Y4mReader {
        Y4mReader { input, pending: Vec::with_capacity(MAX_LINE), header: None, partial: None }
    }

    /// The header in force, once there was one.
    pub fn known_header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The descriptor, for a clip that starts again.
    pub fn input(&self) -> &OwnedFd {
        &self.input
    }

    /// Forgets all: what comes next is a stream's first byte.
    pub fn restart(&mut self) {
        self.pending.clear();
        self.header = None;
        self.partial = None;
    }

    /// Waits until there is something to read, or the end. Reads nothing: it may belong to a frame half read.
    pub fn wait(&mut self, stop: &Stop, deadline: Instant) -> Result<Step<()>, String> {
        if self.pending.is_empty() { ready(&self.input, stop, deadline) } else { Ok(Step::Done(())) }
    }

    /// Reads the header that a stream starts with.
    pub fn header(&mut self, stop: &Stop, deadline: Instant) -> Result<Step<()>, String> {
        let length = match self.line(stop, deadline, &[MAGIC])? {
            Step::Done(length) => length,
            Step::End if self.pending.is_empty() => return Err("ended before a Y4M header".to_owned()),
            Step::End => return Err(format!("ended within its header: {}", excerpt(&self.pending))),
            other => return Ok(other.without_value()),
        };
        self.header = Some(Header::parse(&self.pending[..length])?);
        self.pending.drain(..=length);
        Ok(Step::Done(()))
    }

    /// Reads the next frame into a buffer of `pool`, whose buffers have room for one. Needs a header first.
    pub fn frame(&mut self, stop: &Stop, deadline: Instant, pool: &Pool) -> Result<Step<Y4mFrame>, String> {
        let Some(expected) = self.header.as_ref().map(Header::frame_bytes) else {
            return Err("no Y4M header was read".to_owned());
        };
        if self.partial.is_none() {
            let length = match self.line(stop, deadline, &[FRAME, MAGIC])? {
                Step::Done(length) => length,
                Step::End if self.pending.is_empty() => return Ok(Step::End),
                Step::End => return Ok(Step::CutOff { found: 0, expected }),
                other => return Ok(other.without_value()),
            };
            if self.pending.starts_with(MAGIC) {
                self.header = Some(Header::parse(&self.pending[..length])?);
                self.pending.drain(..=length);
                return Ok(Step::Restarted);
            }
            let Some(mut buffer) = take(pool, stop, deadline) else {
                return Ok(if stop.is_set() { Step::Stopped } else { Step::Silent });
            };
            self.pending.drain(..=length);
            let found = expected.min(self.pending.len());
            buffer.extend(self.pending.drain(..found));
            buffer.resize(expected, 0);
            self.partial = Some((Y4mFrame { buffer, arrived_ns: monotonic_ns() }, found));
        }
        while let Some((frame, found)) = &mut self.partial {
            if *found == expected {
                break;
            }
            match ready(&self.input, stop, deadline)? {
                Step::Done(()) => {}
                other => return Ok(other.without_value()),
            }
            match rustix::io::read(&self.input, &mut frame.buffer[*found..]) {
                Ok(0) => {
                    let found = *found;
                    self.partial = None;
                    return Ok(Step::CutOff { found, expected });
                }
                Ok(count) => *found += count,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(format!("can't be read: {error}")),
            }
        }
        match self.partial.take() {
            Some((frame, _)) => Ok(Step::Done(frame)),
            None => Err("no frame was begun".to_owned()),
        }
    }

    /// Reads until there is a whole line in `pending` that starts with one of `starts`; gives its length without the newline.
    fn line(&mut self, stop: &Stop, deadline: Instant, starts: &[&[u8]]) -> Result<Step<usize>, String> {
        loop {
            let possible = starts.iter().any(|start| {
                let length = start.len().min(self.pending.len());
                self.pending[..length] == start[..length]
            });
            if !possible {
                let expected = String::from_utf8_lossy(starts[0]).into_owned();
                return Err(format!("not Y4M: expected {expected}, found {}", excerpt(&self.pending)));
            }
            if let Some(length) = self.pending.iter().position(|byte| *byte == b'\n') {
                return Ok(Step::Done(length));
            }
            if self.pending.len() >= MAX_LINE {
                return Err(format!("not Y4M: a header of more than {MAX_LINE} bytes: {}", excerpt(&self.pending)));
            }
            match self.fill(stop, deadline)? {
                Step::Done(()) => {}
                other => return Ok(other.without_value()),
            }
        }
    }

    /// Reads what is there into `pending`, up to [`MAX_LINE`] bytes.
    fn fill(&mut self, stop: &Stop, deadline: Instant) -> Result<Step<()>, String> {
        loop {
            match ready(&self.input, stop, deadline)? {
                Step::Done(()) => {}
                other => return Ok(other),
            }
            let held = self.pending.len();
            self.pending.resize(MAX_LINE, 0);
            let read = rustix::io::read(&self.input, &mut self.pending[held..]);
            self.pending.truncate(held + read.unwrap_or(0));
            match read {
                Ok(0) => return Ok(Step::End),
                Ok(_) => return Ok(Step::Done(())),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(format!("can't be read: {error}")),
            }
        }
    }
}

impl<T> Step<T> {
    /// The same step for a caller that expects another value. [`Step::Done`] is for the caller to handle.
    fn without_value<U>(self) -> Step<U> {
        match self {
            Step::Restarted => Step::Restarted,
            Step::End => Step::End,
            Step::CutOff { found, expected } => Step::CutOff { found, expected },
            Step::Stopped => Step::Stopped,
            Step::Done(_) | Step::Silent => Step::Silent,
        }
    }
}

/// Waits until `input` can be read (or has ended).
fn ready(input: &OwnedFd, stop: &Stop, deadline: Instant) -> Result<Step<()>, String> {
    loop {
        if stop.is_set() {
            return Ok(Step::Stopped);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| "the deadline is too far away".to_owned())?;
        let stop_fd = stop.fd();
        let mut fds = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN), PollFd::new(&stop_fd, PollFlags::IN)];
        match rest_during(Some(left), || poll(&mut fds, Some(&timeout))) {
            Ok(0) => return Ok(Step::Silent),
            Ok(_) if fds[0].revents().contains(PollFlags::NVAL) => return Err("is closed".to_owned()),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(Step::Done(())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("can't be waited for: {error}")),
        }
    }
}

/// A buffer of `pool`, as soon as one comes home.
pub fn take(pool: &Pool, stop: &Stop, deadline: Instant) -> Option<PooledBuffer> {
    loop {
        if let Some(buffer) = pool.take() {
            return Some(buffer);
        }
        if Instant::now() >= deadline || stop.wait(Duration::from_millis(1)) {
            return None;
        }
    }
}
