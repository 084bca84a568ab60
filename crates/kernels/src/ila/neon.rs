//! Local attention for aarch64, which always has NEON.

use std::arch::aarch64::*;

use super::table::{Family, kernels};
use super::tiles::Simd;
use crate::cpu::Isa;

/// Four lanes of a vector register.
pub(super) struct Neon;

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        // SAFETY: the caller vouches for LANES f32.
        unsafe { vld1q_f32(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: float32x4_t) {
        // SAFETY: the caller vouches for LANES f32.
        unsafe { vst1q_f32(p, v) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        // SAFETY: NEON is part of the target.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: NEON is part of the target.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: NEON is part of the target.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: NEON is part of the target.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: NEON is part of the target.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // FMAX gives NaN where either is: the NaN in `a` can only come from an earlier `b`.
        // SAFETY: NEON is part of the target.
        unsafe { vmaxq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn keep(mask: float32x4_t, a: float32x4_t) -> float32x4_t {
        // SAFETY: NEON is part of the target.
        unsafe { vbslq_f32(vreinterpretq_u32_f32(mask), a, vdupq_n_f32(f32::NEG_INFINITY)) }
    }

    #[inline(always)]
    unsafe fn scale_by_power(p: float32x4_t, t: float32x4_t) -> float32x4_t {
        // SAFETY: NEON is part of the target.
        unsafe {
            let power = vshlq_n_s32::<23>(vreinterpretq_s32_f32(t));
            vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), power))
        }
    }
}

/// What serves this instruction set.
pub(super) static FAMILY: Family = Family { name: "neon", isa: Isa::Neon, wide: &KERNELS, narrow: None };

kernels!(Neon, [target_feature(enable = "neon")], rows: 4, offsets: [1: [1 2 3 4 5 6 7 8 9] 2: [1 2 3 4 5 6 7 8 9] 3: [1 2 3 4 5 6 7] 4: [1 2 3 4 5]], channels: [1 2 3 4 5]);
