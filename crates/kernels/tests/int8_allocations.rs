//! Integer convolution allocates when it is made, and never again. In a program of its own, for it replaces the allocator.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use milad_kernels::int8::{Conv, ConvSpec, Kernel, Layout as Tensor, Output, Plane, PlaneMut, Quantisation, Residual};

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
fn runs_allocate_nothing() {
    let scale = Quantisation::new(0.1, 100).unwrap();
    let residual = Some(Residual { input: scale, leads: false, output: scale, low: 0, high: 255 });
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available()) {
        for groups in [1, 20] {
            let weights = vec![3; 20 * 20 / groups * 9];
            let spec = ConvSpec {
                input_channels: 20,
                output_channels: 20,
                kernel: [3; 2],
                stride: [1; 2],
                dilation: [1; 2],
                pads: [1; 4],
                groups,
                input: scale,
                weights: &weights,
                weight_scales: &[0.01],
                bias: None,
                output: Output::Codes { quantisation: scale, low: 0, high: 255, residual },
            };
            let conv = Conv::new(kernel, &spec).unwrap();
            let real = Output::Real { low: 0.0, high: f32::INFINITY };
            let to_real = Conv::new(kernel, &ConvSpec { output: real, ..spec }).unwrap();
            let layout = Tensor::new(9, 17, 20, 1).unwrap();
            let (input, mut output) = (vec![1; layout.bytes()], vec![0; layout.bytes()]);
            let (plane, mut numbers) = (Plane::new(layout, &input).unwrap(), vec![0.0; 20 * 9 * 17]);
            let before = ALLOCATIONS.get();
            assert_ne!(before, 0, "the allocator is not in use");
            conv.run(plane, Some(plane), &mut PlaneMut::new(layout, &mut output).unwrap()).unwrap();
            to_real.run_real(plane, &mut numbers).unwrap();
            assert_eq!(ALLOCATIONS.get(), before, "{kernel}, {groups} groups");
        }
    }
}
