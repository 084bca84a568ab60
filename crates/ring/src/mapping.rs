//! Memory of a file descriptor, shared with other processes. The only `unsafe` of this crate.
//!
//! A mapping for reading is handed out as atomic words only, for another process writes there. In a mapping for writing nobody else
//! can write (the memfd's seals see to that), so a slot of it may be lent as plain numbers: one at a time, to one owner.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::slot::{WORD, Word};

/// Where the bell is: behind the generation of the first slot.
pub const BELL: usize = 4;

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
    access: Access,
    /// A [`Stretch`] of it is somebody's.
    lent: AtomicBool,
}

// SAFETY: the memory belongs to no thread; what is handed out of it are atomics, and one stretch that has one owner.
unsafe impl Send for Mapping {}
// SAFETY: as above: atomics may be used by many threads at once, and the stretch's owner is found by an atomic.
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
        Ok(Mapping { start, bytes, access, lent: AtomicBool::new(false) })
    }

    /// The 32-bit number at an offset that is a multiple of 4; `None` beyond the end, and in a mapping for writing.
    pub fn number(&self, offset: usize) -> Option<&AtomicU32> {
        if self.access == Access::Write || !offset.is_multiple_of(4) || offset.checked_add(4)? > self.bytes {
            return None;
        }
        // SAFETY: inside the mapping, which lives as long as `self`; aligned, since the start is to a page; any bytes are a
        // number; only atomics are ever made of this memory here, and other processes are no part of this program's model.
        Some(unsafe { self.start.add(offset).cast::<AtomicU32>().as_ref() })
    }

    /// The number at [`BELL`], where nothing else ever is; `None` beyond the end.
    pub fn bell(&self) -> Option<&AtomicU32> {
        if self.bytes < BELL + 4 {
            return None;
        }
        // SAFETY: as in `number`; and `Stretch::take` gives no data out that begin before the end of these four bytes.
        Some(unsafe { self.start.add(BELL).cast::<AtomicU32>().as_ref() })
    }

    /// The words at an offset that is a multiple of [`WORD`]; `None` beyond the end, and in a mapping for writing.
    pub fn words(&self, offset: usize, count: usize) -> Option<&[Word]> {
        let end = offset.checked_add(count.checked_mul(WORD)?)?;
        if self.access == Access::Write || !offset.is_multiple_of(WORD) || end > self.bytes {
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

/// What maps are made of: any bytes are such a number.
pub trait Number: Copy + private::Sealed {}

mod private {
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl private::Sealed for $number {}
        impl Number for $number {}
    )*};
}

numbers!(u8, i8, f32);

/// A number at the start and data behind it, in a mapping for writing, and nobody else's in this program.
#[derive(Debug)]
pub struct Stretch {
    mapping: Arc<Mapping>,
    start: usize,
    data: usize,
    bytes: usize,
}

impl Stretch {
    /// The number at `start`, and `bytes` of data from `data` on. `None` where that is not in the mapping, or not aligned as any
    /// [`Number`] needs it, or while another stretch of it is out.
    pub fn take(mapping: &Arc<Mapping>, start: usize, data: usize, bytes: usize) -> Option<Stretch> {
        let aligned = start.is_multiple_of(4) && data.is_multiple_of(4);
        let inside = start.max(BELL).checked_add(4)? <= data && data.checked_add(bytes)? <= mapping.bytes;
        if mapping.access != Access::Write || !aligned || !inside || mapping.lent.swap(true, Ordering::Acquire) {
            return None;
        }
        Some(Stretch { mapping: mapping.clone(), start, data, bytes })
    }

    /// The number.
    pub fn number(&self) -> &AtomicU32 {
        // SAFETY: `take` saw that it is inside and aligned, the mapping lives as long as `self`, and of these four bytes nothing but
        // this atomic is ever made: `data` lies behind them, and `Mapping::number` gives nothing of a mapping for writing.
        unsafe { self.mapping.start.add(self.start).cast::<AtomicU32>().as_ref() }
    }

    /// The data.
    pub fn data<T: Number>(&self) -> &[T] {
        // SAFETY: `take` saw that it is inside and aligned for a `T`, and that no other stretch exists, which holds until this one is
        // dropped; the mapping gives out nothing else. Any bytes are a `T`. No other process can write here: only its maker maps a
        // memfd for writing, and before its descriptor goes to anybody, it is sealed against new mappings for writing.
        unsafe {
            let start = self.mapping.start.add(self.data).cast::<T>();
            std::slice::from_raw_parts(start.as_ptr(), self.bytes / size_of::<T>())
        }
    }

    /// The data, to be written.
    pub fn data_mut<T: Number>(&mut self) -> &mut [T] {
        // SAFETY: as in `data`; and `self` is borrowed exclusively.
        unsafe {
            let start = self.mapping.start.add(self.data).cast::<T>();
            std::slice::from_raw_parts_mut(start.as_ptr(), self.bytes / size_of::<T>())
        }
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        self.mapping.lent.store(false, Ordering::Release);
    }
}
