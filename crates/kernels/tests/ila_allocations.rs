//! Local attention allocates when it is made, and never again. In a program of its own, for it replaces the allocator.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use milad_kernels::cpu::Isa;
use milad_kernels::ila::{Attention, Shape};

struct Counting;

thread_local! {
    /// Of this thread: the test harness allocates on its own one whenever it likes.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's layout, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn packing_and_running_allocate_nothing() {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
        let shape =
            Shape { heads: 2, query_channels: 6, value_channels: 10, height: 9, width: 37, keyframes: 2, radius: 3 };
        let mut attention = Attention::new(isa, shape, None).unwrap();
        let map = vec![0.5; 10 * 9 * 37];
        let (mut y, mut confidence, mut border) = (map.clone(), vec![0.0; 2 * 9 * 37], vec![0.0; 2 * 9 * 37]);
        let (bias, null, valid) = (vec![0.1; 2 * 49], [0.3; 2], [1.0, 0.0]);
        let before = ALLOCATIONS.get();
        assert_ne!(before, 0, "the allocator is not in use");
        for t in 0..2 {
            attention.pack(t, &map[..6 * 9 * 37], &map).unwrap();
        }
        let q = &map[..6 * 9 * 37];
        attention.run(q, None, None, None, &mut y, None, None).unwrap();
        attention
            .run(q, Some(&bias), Some(&null), Some(&valid), &mut y, Some(&mut confidence), Some(&mut border))
            .unwrap();
        assert_eq!(ALLOCATIONS.get(), before, "{isa}");
    }
}
