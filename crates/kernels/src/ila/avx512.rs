//! Local attention for x86-64 with AVX-512.

use std::arch::x86_64::*;

use super::table::{Family, kernels};
use super::tiles::Simd;
use crate::cpu::Isa;

/// Sixteen lanes of a zmm register.
pub(super) struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: AVX-512 is enabled in the caller, who vouches for LANES f32.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: AVX-512 is enabled in the caller, who vouches for LANES f32.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: AVX-512 is enabled in the caller.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: AVX-512 is enabled in the caller.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: AVX-512 is enabled in the caller.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: AVX-512 is enabled in the caller.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: AVX-512 is enabled in the caller.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // VMAXPS gives its second operand where either is NaN.
        // SAFETY: AVX-512 is enabled in the caller.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn keep(mask: __m512, a: __m512) -> __m512 {
        // SAFETY: AVX-512 is enabled in the caller.
        unsafe {
            let inside = _mm512_movepi32_mask(_mm512_castps_si512(mask));
            _mm512_mask_blend_ps(inside, _mm512_set1_ps(f32::NEG_INFINITY), a)
        }
    }

    #[inline(always)]
    unsafe fn scale_by_power(p: __m512, t: __m512) -> __m512 {
        // SAFETY: AVX-512 is enabled in the caller.
        unsafe {
            let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(t));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), power))
        }
    }

    #[inline(always)]
    unsafe fn exp2(x: __m512) -> __m512 {
        // VREDUCEPS takes the fraction, 0 for −∞, and VSCALEFPS multiplies with 2^⌊x⌋, 0 for −∞: no rounding trick and no clamp.
        // SAFETY: AVX-512 is enabled in the caller.
        unsafe {
            let f = _mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(x);
            let mut p = _mm512_set1_ps(EXP2_OF_FRACTION[5]);
            for i in (0..5).rev() {
                p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(EXP2_OF_FRACTION[i]));
            }
            p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0));
            _mm512_scalef_ps(p, x)
        }
    }
}

/// (2^f − 1)/f on \[0, 1), lowest power first; fitted as `tiles::EXP2` is, with 2e-9 as the largest relative error of 2^f.
const EXP2_OF_FRACTION: [f32; 6] =
    [6.931_470_4e-1, 2.402_293_1e-1, 5.548_528_1e-2, 9.675_452e-3, 1.246_784_6e-3, 2.161_291_5e-4];

/// What serves this instruction set.
pub(super) static FAMILY: Family =
    Family { name: "avx512", isa: Isa::Avx512, wide: &KERNELS, narrow: Some(&super::avx512_half::KERNELS) };

kernels!(Avx512, [target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")], rows: 4, offsets: [1: [1 2 3 4 5 6 7 8 9] 2: [1 2 3 4 5 6 7 8 9] 3: [1 2 3 4 5 6 7] 4: [1 2 3 4 5]], channels: [1 2 3 4 5 6]);
