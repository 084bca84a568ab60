//! The buffer loop: takes filled buffers from the driver, checks what it says about them, lends them out, gives back
//! those that came home.
//!
//! It never queues a buffer that the driver or a lease still has: each buffer's whereabouts are known at all times, so
//! a time-out needs no guess. Nothing is allocated per frame, but for the words of a bad one.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use v4l::v4l_sys as sys;

use super::super::pool::Pool;
use super::super::{Next, Payload, RawFrame, SourceError};
use super::buffers::{Lease, Mapping};
use super::device::Device;
use super::negotiate::Granted;
use super::time::{Counter, Stamp, stamp_source};
use super::{errors, ioctl};
use crate::clock::monotonic_ns;
use crate::pulse::rest_during;
use crate::stop::Stop;

/// The driver needs one buffer to fill and one to go on with.
const WITH_DRIVER: usize = 2;
/// Frames that may be out as copies, when the driver granted too few buffers to lend them.
const COPIES: usize = 4;
/// A camera may be this slow to start (exposure, USB bandwidth), and a busy machine this late to look.
const FIRST_FRAME: Duration = Duration::from_secs(5);
/// No camera in order is silent for longer, and for longer than [`INTERVALS`] of its own.
const SILENCE: Duration = Duration::from_secs(2);
/// How often the end is looked for while every buffer is lent out.
const RETURN: Duration = Duration::from_millis(50);
/// Automatic exposure in the dark stretches the interval several times.
const INTERVALS: u32 = 20;

/// A running stream. Dropping it stops the camera; leases stay readable.
pub struct Stream {
    device: Device,
    buffer_type: u32,
    granted: Granted,
    mapping: Arc<Mapping>,
    home: Sender<u32>,
    returned: Receiver<u32>,
    copies: Pool,
    /// By buffer: whether the driver has it.
    with_driver: Vec<bool>,
    counter: Counter,
    started_ns: u64,
    frames: u64,
    told_stamp: bool,
    told_count: bool,
    told_copy: bool,
}

/// Why a wait ended.
#[derive(PartialEq, Eq)]
enum Ready {
    /// Something may be there, or time or a signal ended it: look again.
    Again,
    /// The driver flagged an error.
    Failed,
}

impl Stream {
    /// Maps the buffers, queues them and starts the camera.
    pub fn start(device: Device, buffer_type: u32, granted: Granted) -> Result<Stream, SourceError> {
        let mapping = Arc::new(Mapping::new(&device, buffer_type, granted.format.memory_planes)?);
        let count = mapping.count();
        for plane in 0..granted.format.memory_planes {
            let length = (0..count as u32).filter_map(|index| mapping.plane_length(index, plane)).min().unwrap_or(0);
            let needed = granted.needed[plane];
            if length < needed {
                return Err(SourceError::Lost(format!(
                    "{}: the driver's buffers have {length} bytes, a frame takes {needed}",
                    device.path.display()
                )));
            }
        }
        let (home, returned) = bounded(count);
        let bytes = (0..3).map(|plane| copy_length(&mapping, &granted, plane)).sum();
        let mut stream = Stream {
            device,
            buffer_type,
            granted,
            mapping,
            home,
            returned,
            // Reserved, not touched: without a shortage of buffers they cost no memory.
            copies: Pool::new(COPIES, bytes),
            with_driver: vec![false; count],
            counter: Counter::default(),
            started_ns: 0,
            frames: 0,
            told_stamp: false,
            told_count: false,
            told_copy: false,
        };
        for index in 0..count as u32 {
            stream.queue(index)?;
        }
        stream.started_ns = monotonic_ns();
        let started = ioctl::stream_on(stream.device.fd(), buffer_type);
        started.map_err(|e| errors::refused(&stream.device.path, "VIDIOC_STREAMON", &e))?;
        Ok(stream)
    }

    /// Waits for a frame, for the deadline, or for `stop`.
    pub fn next(&mut self, stop: &Stop) -> Result<Next, SourceError> {
        // Counted from here and not from the last frame: while nobody asked, nothing was missed.
        let mut since_ns = monotonic_ns();
        loop {
            if stop.is_set() {
                return Ok(Next::Stopped);
            }
            while let Ok(index) = self.returned.try_recv() {
                self.queue(index)?;
            }
            if !self.with_driver.contains(&true) {
                // Everything is lent out: nothing can come, and that is no fault of the camera.
                if let Ok(index) = rest_during(Some(RETURN), || self.returned.recv_timeout(RETURN)) {
                    self.queue(index)?;
                }
                since_ns = monotonic_ns();
                continue;
            }
            if let Some(buffer) = self.look()? {
                return self.take(&buffer);
            }
            if self.wait(stop, since_ns)? == Ready::Failed {
                // The driver's last word is in DQBUF: ENODEV after an unplug, EIO after a fatal error.
                return match self.look()? {
                    Some(buffer) => self.take(&buffer),
                    None => Err(self.lost("the driver gave up the stream (POLLERR)")),
                };
            }
        }
    }

    /// A filled buffer, if there is one.
    fn look(&mut self) -> Result<Option<ioctl::Buffer>, SourceError> {
        let mut buffer = ioctl::Buffer::new(self.buffer_type, 0);
        match buffer.dequeue(self.device.fd()) {
            Ok(()) => Ok(Some(buffer)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => Ok(None),
                Some(libc::EPIPE) => Err(self.lost("the driver ended the stream")),
                Some(libc::EIO) => {
                    Err(self.lost("the driver reports an input/output error (a loose cable, a lost signal)"))
                }
                _ => Err(errors::refused(&self.device.path, "VIDIOC_DQBUF", &error)),
            },
        }
    }

    /// Until the driver has something to say, or the deadline is over.
    fn wait(&mut self, stop: &Stop, since_ns: u64) -> Result<Ready, SourceError> {
        let silent = Duration::from_nanos(monotonic_ns().saturating_sub(since_ns));
        let limit = self.deadline();
        let Some(left) = limit.checked_sub(silent).filter(|left| !left.is_zero()) else {
            return Err(self.lost(&format!(
                "no frame for {:.1} s (frames were to come every {:.0} ms); check cable and power",
                silent.as_secs_f64(),
                self.granted.interval_ns as f64 / 1e6
            )));
        };
        // Rounded up, so that the deadline is over after it.
        let timeout = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        let pollfd = |fd, events| libc::pollfd { fd, events, revents: 0 };
        let mut fds = [pollfd(self.device.fd(), libc::POLLIN), pollfd(stop.fd().as_fd().as_raw_fd(), libc::POLLIN)];
        // SAFETY: two pollfds that live as long as the call. libc's and not rustix's poll: see `ioctl.rs`.
        let ready =
            rest_during(Some(left), || unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) });
        if ready < 0 {
            let error = std::io::Error::last_os_error();
            return match error.kind() {
                std::io::ErrorKind::Interrupted => Ok(Ready::Again),
                _ => Err(errors::refused(&self.device.path, "poll", &error)),
            };
        }
        if fds[0].revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 {
            return Ok(Ready::Failed);
        }
        Ok(Ready::Again)
    }

    fn deadline(&self) -> Duration {
        let interval = Duration::from_nanos(self.granted.interval_ns.min(60_000_000_000)) * INTERVALS;
        interval.max(if self.frames == 0 || self.granted.interval_ns == 0 { FIRST_FRAME } else { SILENCE })
    }

    /// Makes a frame of a buffer that the driver gave, or says why it is none.
    fn take(&mut self, buffer: &ioctl::Buffer) -> Result<Next, SourceError> {
        let raw = &buffer.raw;
        match self.with_driver.get_mut(raw.index as usize) {
            Some(with_driver) if *with_driver => *with_driver = false,
            // Going on would lend out memory that somebody else holds.
            _ => return Err(self.lost(&format!("the driver gave buffer {}, which it does not have", raw.index))),
        }
        let now_ns = monotonic_ns();
        // `timeval` is the kernel's for this word size: see crates/v4l2-sys-mit.
        #[allow(clippy::useless_conversion)]
        let (seconds, microseconds) = (raw.timestamp.tv_sec.into(), raw.timestamp.tv_usec.into());
        let stamp = Stamp::new(raw.flags, seconds, microseconds, self.started_ns, now_ns);
        let step = self.counter.step(raw.sequence);
        self.tell(raw.flags, stamp, step.repaired);
        self.frames += 1;
        match self.spans(buffer) {
            Ok(spans) => {
                let payload = self.lend(raw.index, spans)?;
                Ok(Next::Frame(RawFrame { driver_sequence: step.sequence, captured_ns: stamp.ns(), payload }))
            }
            Err(reason) => {
                self.queue(raw.index)?;
                Ok(Next::Bad { driver_sequence: step.sequence, reason })
            }
        }
    }

    /// Where the picture lies in the buffer's planes, if all of it is there.
    fn spans(&self, buffer: &ioctl::Buffer) -> Result<[(usize, usize); 3], String> {
        if buffer.raw.flags & sys::V4L2_BUF_FLAG_ERROR != 0 {
            return Err("the driver marked the frame as damaged".to_owned());
        }
        let planes = self.granted.format.memory_planes;
        if buffer.is_multi_planar() && buffer.raw.length as usize != planes {
            return Err(format!("the driver gave {} planes, expected {planes}", buffer.raw.length));
        }
        let mut spans = [(0, 0); 3];
        for (i, span) in spans.iter_mut().enumerate().take(planes) {
            let (used, start) = match buffer.planes.get(i) {
                // `bytesused` counts from the plane's first byte, `data_offset` included.
                Some(plane) if buffer.is_multi_planar() => (plane.bytesused as usize, plane.data_offset as usize),
                _ => (buffer.raw.bytesused as usize, 0),
            };
            let mapped = self.mapping.plane_length(buffer.raw.index, i).unwrap_or(0);
            let length = used.saturating_sub(start);
            let needed = self.granted.needed[i];
            if used > mapped {
                return Err(format!("the driver says {used} bytes in a buffer of {mapped}"));
            }
            if length < needed {
                return Err(format!("incomplete frame: {length} bytes, expected {needed}"));
            }
            *span = (start, length);
        }
        Ok(spans)
    }

    /// The buffer itself while the driver has enough others, else a copy of it. Without room for a copy the buffer is
    /// lent all the same: then the driver may lose frames, which its count shows.
    fn lend(&mut self, index: u32, spans: [(usize, usize); 3]) -> Result<Payload, SourceError> {
        let lease = Lease::new(&self.mapping, index, spans, &self.home)
            .ok_or_else(|| self.lost(&format!("buffer {index} is shorter than the driver said")))?;
        let enough = self.with_driver.iter().filter(|with| **with).count() >= WITH_DRIVER;
        if enough {
            return Ok(Payload::Driver(lease));
        }
        let Some(mut copy) = self.copies.take() else { return Ok(Payload::Driver(lease)) };
        if !self.told_copy {
            self.told_copy = true;
            log::info!(
                "{}: {} buffers are too few to lend them all: some frames are copied",
                self.device.path.display(),
                self.mapping.count()
            );
        }
        for (plane, bytes) in lease.memory_planes().into_iter().enumerate() {
            let whole = copy_length(&self.mapping, &self.granted, plane);
            let bytes = bytes.get(..whole).unwrap_or(bytes);
            let end = copy.len() + whole;
            copy.extend_from_slice(bytes);
            if self.granted.format.memory_planes > 1 {
                // In one buffer a plane starts after the full last row of the one before.
                copy.resize(end, 0);
            }
        }
        // Back to the driver at once.
        drop(lease);
        while let Ok(index) = self.returned.try_recv() {
            self.queue(index)?;
        }
        Ok(Payload::Pooled(copy))
    }

    fn queue(&mut self, index: u32) -> Result<(), SourceError> {
        let mut buffer = ioctl::Buffer::new(self.buffer_type, index);
        buffer.queue(self.device.fd()).map_err(|e| errors::refused(&self.device.path, "VIDIOC_QBUF", &e))?;
        if let Some(with_driver) = self.with_driver.get_mut(index as usize) {
            *with_driver = true;
        }
        Ok(())
    }

    /// Says once per stream what is odd about the driver's clock and count.
    fn tell(&mut self, flags: u32, stamp: Stamp, repaired: bool) {
        let path = self.device.path.display();
        if self.frames == 0 {
            log::debug!("{path}: frames are stamped at the {}", stamp_source(flags));
        }
        if let (Stamp::Dequeued(_, why), false) = (stamp, self.told_stamp) {
            self.told_stamp = true;
            log::warn!("{path}: {why}: frames get the time at which they arrive");
        }
        if repaired && !self.told_count {
            self.told_count = true;
            log::warn!("{path}: the driver's count stood still or went back: frames that it loses may go unseen");
        }
    }

    fn lost(&self, words: &str) -> SourceError {
        SourceError::Lost(format!("{}: {words}", self.device.path.display()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A camera that is gone can't be stopped, and need not be.
        let _ = ioctl::stream_off(self.device.fd(), self.buffer_type);
    }
}

/// How many bytes of a memory plane a copy takes: up to the full last row where planes are laid behind each other.
fn copy_length(mapping: &Mapping, granted: &Granted, plane: usize) -> usize {
    if plane >= granted.format.memory_planes {
        return 0;
    }
    let mapped = mapping.plane_length(0, plane).unwrap_or(0);
    if granted.format.memory_planes == 1 {
        return mapped;
    }
    granted.whole_planes()[plane]
}
