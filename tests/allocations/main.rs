//! What runs on every frame allocates nothing once warm: one file a room.
//!
//! A program of its own, because it counts with the global allocator. It counts by thread, so that tests may run side by
//! side and the other end of a socket may do what it likes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod networks;
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

/// How often this thread has asked for memory so far.
pub fn by_this_thread() -> u64 {
    COUNT.with(Cell::get)
}

/// Runs a window of frames again and again until there is one in which `count`'s answer stays the same. Pools grow while other
/// processes fall further behind than ever before, at times that the machine's load decides, but only up to their limits;
/// what is asked for by every frame, or by every hundredth, is in every window.
pub fn settles<T: PartialEq + std::fmt::Debug>(mut count: impl FnMut() -> T, mut window: impl FnMut()) {
    let mut counts = vec![count()];
    while counts.len() < 20 {
        window();
        counts.push(count());
        if matches!(counts.as_slice(), [.., before, after] if before == after) {
            return;
        }
    }
    panic!("memory was asked for in every window: {counts:#?}");
}

#[test]
fn the_counter_counts() {
    let before = by_this_thread();
    drop(std::hint::black_box(Vec::<u8>::with_capacity(10)));
    assert_eq!(by_this_thread(), before + 1);
    settles(by_this_thread, || ());
}

#[test]
#[should_panic(expected = "in every window")]
fn a_rare_allocation_does_not_pass_for_none() {
    let mut frame = 0;
    settles(by_this_thread, || {
        for _ in 0..300 {
            frame += 1;
            if frame % 100 == 0 {
                drop(std::hint::black_box(Vec::<u8>::with_capacity(10)));
            }
        }
    });
}
