//! What runs on every frame allocates nothing once warm: one file a room.
//!
//! A program of its own, because it counts with the global allocator. It counts by thread, so that tests may run side by
//! side and the other end of a socket may do what it likes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod pipeline;
mod publish;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The counts by the kernel's number of a thread, for threads that somebody else started. Two threads whose numbers are
/// this far apart would share a place.
static BY_THREAD: [AtomicU64; 8192] = [const { AtomicU64::new(0) }; 8192];

thread_local! {
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How often a thread has asked for memory so far.
pub fn by_thread(thread: usize) -> u64 {
    BY_THREAD[thread % BY_THREAD.len()].load(Ordering::Relaxed)
}

fn count() {
    COUNT.with(|count| count.set(count.get() + 1));
    let place = PLACE.with(|place| {
        place.get().unwrap_or_else(|| {
            let number = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs() as usize % BY_THREAD.len();
            place.set(Some(number));
            number
        })
    });
    BY_THREAD[place].fetch_add(1, Ordering::Relaxed);
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting is a thread's own constant-initialised cell
// without a destructor, which neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout, as all of ours do.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `pointer` came from `System` with this layout; the caller's promise about `size` is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread asked for memory while `work` ran.
pub fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(10)))), 1);
    assert_eq!(allocations(|| ()), 0);
}
