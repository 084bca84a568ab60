//! Preparation and maps allocate when they are made, and never again. In a program of its own: it counts what the whole
//! program allocates.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use milad_kernels::cpu::Isa;
use milad_kernels::maps::{DepthEncoding, Upsampler};
use milad_kernels::pixel::prepare::{Preparer, Target};
use milad_kernels::pixel::{Colour, Picture, PixelFormat, Resize};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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

// One test only: another one's thread would allocate meanwhile.
#[test]
fn preparing_and_upsampling_allocate_nothing() {
    let bytes = vec![99u8; 64 * 48 * 3];
    let mut pixels = vec![0u8; 4 * 32 * 24];
    for (format, strides) in
        [(PixelFormat::Yuyv, [128, 0, 0]), (PixelFormat::Nv12, [64, 64, 0]), (PixelFormat::Rgb24, [192, 0, 0])]
    {
        for (isa, rotate) in Isa::ALL.into_iter().filter(|isa| isa.available()).flat_map(|isa| [(isa, 0), (isa, 1)]) {
            let target = Target {
                width: 32,
                height: 24,
                fill: [128; 3],
                resize: Resize::Letterbox,
                crop: Some([3, 3, 50, 40]),
                flip_horizontal: true,
                flip_vertical: false,
                rotate,
            };
            let colour = Colour::YUV_DEFAULT;
            let mut preparer = Preparer::with_isa(isa, format, colour, 64, 48, &target).unwrap();
            let picture = Picture { format, colour, width: 64, height: 48, planes: [&bytes; 3], strides };
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            assert_ne!(before, 0, "the allocator is not in use");
            preparer.run(&picture, &mut pixels).unwrap();
            preparer.run(&Picture { colour: Colour::FULL_DEFAULT, ..picture }, &mut pixels).unwrap();
            assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before, "{isa} {format:?}");
        }
    }
    let mut out = vec![0f32; 3 * 32 * 24];
    let mut upsampler = Upsampler::new(6, 8, 24, 32).unwrap();
    let (map, mut labels, mut normals) = (vec![0.5f32; 3 * 48], vec![0u8; 768], vec![0i8; 3 * 768]);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    upsampler.segmentation(&map, 3, &mut labels).unwrap();
    upsampler.depth(&map[..48], DepthEncoding::Log, &mut out[..768]).unwrap();
    upsampler.normals(&map, &mut normals).unwrap();
    upsampler.raw(&map, 3, &mut out).unwrap();
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before);
}
