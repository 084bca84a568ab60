//! The driver's buffers, mapped into memory, and the leases by which they are lent out without a copy.
//!
//! A mapping lives until the stream and the last lease are gone, so a frame can outlive its camera. While a buffer is
//! lent out it is never with the driver; only its lease can send it back.

use std::os::fd::RawFd;
use std::os::raw::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::super::SourceError;
use super::device::Device;
use super::{errors, ioctl};

/// How many buffers are asked for: two with the driver at all times, and one each in capture's hand, in the mailbox, in
/// preparation, and to spare.
pub const WANTED: u32 = 6;

/// One buffer plane in memory.
#[derive(Debug)]
struct Plane {
    start: NonNull<u8>,
    length: usize,
}

/// All buffers of a stream. Unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    buffers: Vec<Vec<Plane>>,
}

// SAFETY: the addresses belong to this value alone until it is dropped, and a `Mapping` only ever hands out shared
// slices of them (through a `Lease`).
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Asks the driver for [`WANTED`] buffers and maps what it grants.
    pub fn new(device: &Device, buffer_type: u32, planes: usize) -> Result<Mapping, SourceError> {
        let fd = device.fd();
        let refused = |call: &str, error: &std::io::Error| errors::refused(&device.path, call, error);
        let mut request = ioctl::buffer_request(buffer_type, WANTED);
        ioctl::request_buffers(fd, &mut request).map_err(|e| refused("VIDIOC_REQBUFS", &e))?;
        if request.count == 0 {
            return Err(SourceError::Lost(format!("{}: the driver granted no buffers", device.path.display())));
        }
        let mut mapping = Mapping { buffers: Vec::new() };
        for index in 0..request.count {
            let mut buffer = ioctl::Buffer::new(buffer_type, index);
            buffer.query(fd).map_err(|e| refused("VIDIOC_QUERYBUF", &e))?;
            let places = places(&buffer, planes)
                .map_err(|words| SourceError::Lost(format!("{}: buffer {index}: {words}", device.path.display())))?;
            mapping.buffers.push(Vec::new());
            for (length, offset) in places {
                let plane = map(fd, length, offset).map_err(|e| refused("mmap of its buffers", &e))?;
                if let Some(buffer) = mapping.buffers.last_mut() {
                    buffer.push(plane);
                }
            }
        }
        Ok(mapping)
    }

    /// How many buffers there are.
    pub fn count(&self) -> usize {
        self.buffers.len()
    }

    /// Bytes of a plane of a buffer.
    pub fn plane_length(&self, index: u32, plane: usize) -> Option<usize> {
        Some(self.buffers.get(index as usize)?.get(plane)?.length)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        for plane in self.buffers.iter().flatten() {
            // SAFETY: mapped by `map` with this length, and nobody holds a slice of it any more: leases keep `self` alive.
            let _ = unsafe { v4l::v4l2::munmap(plane.start.as_ptr().cast::<c_void>(), plane.length) };
        }
    }
}

/// Length and offset of each plane, as the driver told them.
fn places(buffer: &ioctl::Buffer, planes: usize) -> Result<Vec<(usize, u32)>, String> {
    let mut places = Vec::with_capacity(planes);
    if buffer.is_multi_planar() {
        let count = buffer.raw.length as usize;
        if count != planes {
            return Err(format!("the driver says {count} planes, expected {planes}"));
        }
        for plane in &buffer.planes[..planes.min(ioctl::MAX_PLANES)] {
            // SAFETY: the buffer is in driver memory, for which the driver writes `mem_offset`.
            places.push((plane.length as usize, unsafe { plane.m.mem_offset }));
        }
    } else {
        // SAFETY: as above, `offset`.
        places.push((buffer.raw.length as usize, unsafe { buffer.raw.m.offset }));
    }
    match places.iter().any(|(length, _)| *length == 0) {
        true => Err("the driver says it has no bytes".to_owned()),
        false => Ok(places),
    }
}

fn map(fd: RawFd, length: usize, offset: u32) -> std::io::Result<Plane> {
    // V4L2's offsets are cookies below 2 GiB, so they fit 32-bit off_t too.
    #[allow(clippy::unnecessary_fallible_conversions, reason = "off_t has 32 bits on 32-bit targets")]
    let offset = libc::off_t::try_from(offset).map_err(|_| std::io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    let null = std::ptr::null_mut();
    // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
    let start = unsafe { v4l::v4l2::mmap(null, length, libc::PROT_READ, libc::MAP_SHARED, fd, offset)? };
    let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| std::io::Error::from_raw_os_error(libc::ENOMEM))?;
    Ok(Plane { start, length })
}

/// A mapped driver buffer that goes back to the driver when dropped.
#[derive(Debug)]
pub struct Lease {
    mapping: Arc<Mapping>,
    index: u32,
    /// Where the picture lies in each plane: first byte, number of bytes.
    spans: [(usize, usize); 3],
    home: Sender<u32>,
}

impl Lease {
    /// Lends out buffer `index`, which the driver has just given to us. `None` if a span does not lie inside its plane.
    pub fn new(mapping: &Arc<Mapping>, index: u32, spans: [(usize, usize); 3], home: &Sender<u32>) -> Option<Lease> {
        for (plane, (start, length)) in spans.into_iter().enumerate() {
            if length > 0 && start.checked_add(length)? > mapping.plane_length(index, plane)? {
                return None;
            }
        }
        Some(Lease { mapping: Arc::clone(mapping), index, spans, home: home.clone() })
    }

    /// The bytes by memory plane.
    pub fn memory_planes(&self) -> [&[u8]; 3] {
        let planes = self.mapping.buffers.get(self.index as usize);
        std::array::from_fn(|i| {
            let (start, length) = self.spans[i];
            match planes.and_then(|planes| planes.get(i)) {
                // SAFETY: `new` checked that the span lies inside the plane; the mapping lives as long as `self`; and the
                // driver does not write to it before it is queued again, which only dropping `self` brings about.
                Some(plane) if length > 0 => unsafe {
                    std::slice::from_raw_parts(plane.start.as_ptr().add(start), length)
                },
                _ => &[],
            }
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Room for every buffer; a stream that is gone needs none back.
        let _ = self.home.try_send(self.index);
    }
}
