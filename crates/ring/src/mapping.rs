//! Memory of a file descriptor, shared with other processes. The only `unsafe` of this crate.
//!
//! Nobody ever gets a plain slice of it: other processes write there, so it is handed out as atomic words only.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::slot::{WORD, Word};

/// What the mapping is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Loads only: a store would fault. Who makes such a mapping hands out no way to store.
    Read,
    /// Loads and stores.
    Write,
}

/// A whole file in memory.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to no thread, and all that is handed out of it are atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above: atomics may be used by many threads at once.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` of `fd`, of which the caller knows that they are there and stay there: a file that shrinks
    /// makes later loads fault.
    pub fn new(fd: impl AsFd, bytes: usize, access: Access) -> io::Result<Mapping> {
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that anybody has.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Mapping { start, bytes })
    }

    /// The 32-bit number at an offset that is a multiple of 4; `None` beyond the end.
    pub fn number(&self, offset: usize) -> Option<&AtomicU32> {
        if !offset.is_multiple_of(4) || offset.checked_add(4)? > self.bytes {
            return None;
        }
        // SAFETY: inside the mapping, which lives as long as `self`; aligned, since the start is to a page; any bytes are a
        // number; only atomics are ever made of this memory here, and other processes are no part of this program's model.
        Some(unsafe { self.start.add(offset).cast::<AtomicU32>().as_ref() })
    }

    /// The words at an offset that is a multiple of [`WORD`]; `None` beyond the end.
    pub fn words(&self, offset: usize, count: usize) -> Option<&[Word]> {
        let end = offset.checked_add(count.checked_mul(WORD)?)?;
        if !offset.is_multiple_of(WORD) || end > self.bytes {
            return None;
        }
        // SAFETY: as in `number`, for all `count` words up to `end`.
        Some(unsafe { std::slice::from_raw_parts(self.start.add(offset).cast::<Word>().as_ptr(), count) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was made by mmap with this size, and nothing that was lent out outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
