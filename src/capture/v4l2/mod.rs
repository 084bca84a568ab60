//! V4L2 cameras, single- and multi-planar: found by name, negotiated from zero, streamed without copies.
//!
//! The v4l crate opens devices and sets controls; its `ioctl` and C structs carry the rest. Its own stream is not used: it
//! knows one plane only, and after a time-out it queues a buffer that the kernel still owns.

mod buffers;
mod choose;
mod colour;
pub mod controls;
pub mod device;
pub mod errors;
pub mod find;
pub mod formats;
mod ioctl;
pub mod menu;
mod negotiate;
mod stream;
mod time;

use std::path::Path;
use std::sync::Arc;

pub use buffers::Lease;

use super::source_spec::Request;
use super::{Camera, Next, Source, SourceError};
use crate::stop::Stop;
use device::Device;
use negotiate::negotiate;
use stream::Stream;

/// A camera that streams.
pub struct V4l2Source {
    camera: Arc<Camera>,
    stream: Stream,
}

impl V4l2Source {
    /// Opens the node, asks for what `request` says, and starts the stream.
    pub fn open(path: &Path, request: &Request) -> Result<V4l2Source, SourceError> {
        let device = Device::open(path)?;
        let buffer_type = device.buffer_type()?;
        let granted = negotiate(&device, request)?;
        // After the format: some drivers reset controls with it.
        controls::set(&device, &request.controls)?;
        let camera = Arc::new(Camera {
            name: device.card.clone(),
            format_name: granted.format.name(),
            format: granted.stream.clone(),
            interval_ns: granted.interval_ns,
            live: true,
            counts: true,
            intrinsics: None,
        });
        let stream = Stream::start(device, buffer_type, granted)?;
        Ok(V4l2Source { camera, stream })
    }
}

impl Source for V4l2Source {
    fn camera(&self) -> Arc<Camera> {
        Arc::clone(&self.camera)
    }

    fn next(&mut self, stop: &Stop) -> Result<Next, SourceError> {
        self.stream.next(stop)
    }
}
