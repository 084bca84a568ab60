//! Local attention in plain Rust: what every CPU runs, and what the others are compared with.

use super::table::{Family, kernels};
use super::tiles::Simd;
use crate::cpu::Isa;

/// Eight lanes; the compiler makes of them what the baseline of the target has.
pub(super) struct Portable;

impl Portable {
    #[inline(always)]
    fn zip(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

impl Simd for Portable {
    type V = [f32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 8] {
        // SAFETY: the caller vouches for LANES f32.
        unsafe { p.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 8]) {
        // SAFETY: the caller vouches for LANES f32.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 8] {
        [x; 8]
    }

    #[inline(always)]
    unsafe fn mul_add(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        // Not `f32::mul_add`: without the instruction in the target that is a call into libm for each lane.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Portable::zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Portable::zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Portable::zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn max(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Portable::zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn keep(mask: [f32; 8], a: [f32; 8]) -> [f32; 8] {
        Portable::zip(mask, a, |mask, a| if mask.to_bits() != 0 { a } else { f32::NEG_INFINITY })
    }

    #[inline(always)]
    unsafe fn scale_by_power(p: [f32; 8], t: [f32; 8]) -> [f32; 8] {
        Portable::zip(p, t, |p, t| f32::from_bits(p.to_bits().wrapping_add(t.to_bits() << 23)))
    }
}

/// What serves this instruction set.
pub(super) static FAMILY: Family = Family { name: "portable", isa: Isa::Portable, wide: &KERNELS, narrow: None };

kernels!(Portable, [], rows: 2, offsets: [1: [1 2 3 4 5] 2: [1 2 3 4 5]], channels: [1 2 3 4 5 6]);
