//! What capture hands on: frames with their time, their place in the driver's count, and a lease on their bytes.

use std::sync::Arc;

use milad_kernels::pixel::{Colour, Picture, PixelFormat, plane_sizes};

use super::pool::PooledBuffer;

/// How a stream's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Pixels as they are.
    Raw(PixelFormat),
    /// A JPEG picture a frame.
    Mjpeg,
}

/// What the source granted: read back after negotiation, never assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFormat {
    /// Raw pixels, or JPEG.
    pub encoding: Encoding,
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from row to row, by plane; without meaning for [`Encoding::Mjpeg`].
    pub strides: [usize; 3],
    /// What the driver's colour space and quantisation say, or the default of the format.
    pub colour: Colour,
}

/// A source of frames as it is described to people and to clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    /// A name for people: the driver's card name, or the file's.
    pub name: String,
    /// The four letters (or the name) of the format: `YUYV`, `NM12`, `MJPG`, `C420`, `PNG` …
    pub format_name: String,
    /// What was granted.
    pub format: StreamFormat,
    /// Nanoseconds from frame to frame as negotiated; 0 when the source does not say.
    pub interval_ns: u64,
    /// Whether frames come at the world's pace, so that a late reader must skip some.
    pub live: bool,
    /// Whether `driver_sequence` is the driver's own count, so that its gaps are frames that the driver lost.
    pub counts: bool,
    /// Pinhole intrinsics `[fx, fy, cx, cy]` in pixels of its picture, where the source knows them.
    pub intrinsics: Option<[f64; 4]>,
}

/// The bytes of one frame, given back to their owner when dropped.
#[derive(Debug)]
pub enum Payload {
    /// One of a [`super::pool::Pool`]'s buffers: all planes one after the other.
    Pooled(PooledBuffer),
    /// A buffer of the driver, mapped into memory; one slice per memory plane.
    Driver(super::v4l2::Lease),
}

impl Payload {
    /// The bytes by memory plane: one slice where all planes lie in one buffer. Unused ones are empty.
    pub fn memory_planes(&self) -> [&[u8]; 3] {
        match self {
            Payload::Pooled(buffer) => [buffer, &[], &[]],
            Payload::Driver(lease) => lease.memory_planes(),
        }
    }
}

/// One frame as a source gives it.
#[derive(Debug)]
pub struct RawFrame {
    /// The driver's count, widened so that it never wraps; counted by us where the source does not count.
    pub driver_sequence: u64,
    /// `CLOCK_MONOTONIC` nanoseconds at capture.
    pub captured_ns: u64,
    /// The bytes.
    pub payload: Payload,
}

/// One frame on its way through the pipeline.
#[derive(Debug)]
pub struct Frame {
    /// The daemon's own count: from 0, never repeats.
    pub sequence: u64,
    /// Grows with every reconnect or model change.
    pub epoch: u64,
    /// The source it came from, as negotiated in this epoch.
    pub camera: Arc<Camera>,
    /// The frame itself.
    pub raw: RawFrame,
}

impl StreamFormat {
    /// Sees `payload` as a picture in this format. `None` for JPEG, and where a plane is shorter than the format says
    /// (a truncated frame).
    pub fn picture<'a>(&self, payload: &'a Payload) -> Option<Picture<'a>> {
        let Encoding::Raw(format) = self.encoding else { return None };
        let (sizes, count) = plane_sizes(format, self.width, self.height);
        let memory = payload.memory_planes();
        let mut planes: [&[u8]; 3] = [&[]; 3];
        let mut rest = memory[0];
        for i in 0..count {
            let (row, rows) = sizes[i];
            let needed = self.strides[i].checked_mul(rows.checked_sub(1)?)?.checked_add(row)?;
            if i > 0 && !memory[i].is_empty() {
                rest = memory[i];
            }
            planes[i] = rest.get(..needed)?;
            // In one buffer the next plane starts after the full stride of the last row.
            rest = rest.get(self.strides[i] * rows..).unwrap_or(&[]);
        }
        Some(Picture {
            format,
            colour: self.colour,
            width: self.width,
            height: self.height,
            planes,
            strides: self.strides,
        })
    }
}
