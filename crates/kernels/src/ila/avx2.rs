//! Local attention for x86-64 with AVX2 and FMA.

use std::arch::x86_64::*;

use super::table::{Family, kernels};
use super::tiles::Simd;
use crate::cpu::Isa;

/// Eight lanes of a ymm register.
pub(super) struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: AVX2 is enabled in the caller, who vouches for LANES f32.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: AVX2 is enabled in the caller, who vouches for LANES f32.
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: AVX2 is enabled in the caller.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: FMA is enabled in the caller.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: AVX2 is enabled in the caller.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: AVX2 is enabled in the caller.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: AVX2 is enabled in the caller.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        // VMAXPS gives its second operand where either is NaN.
        // SAFETY: AVX2 is enabled in the caller.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn keep(mask: __m256, a: __m256) -> __m256 {
        // SAFETY: AVX2 is enabled in the caller.
        unsafe { _mm256_blendv_ps(_mm256_set1_ps(f32::NEG_INFINITY), a, mask) }
    }

    #[inline(always)]
    unsafe fn scale_by_power(p: __m256, t: __m256) -> __m256 {
        // SAFETY: AVX2 is enabled in the caller.
        unsafe {
            let power = _mm256_slli_epi32::<23>(_mm256_castps_si256(t));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), power))
        }
    }
}

/// What serves this instruction set.
pub(super) static FAMILY: Family = Family { name: "avx2", isa: Isa::Avx2, wide: &KERNELS, narrow: None };

kernels!(Avx2, [target_feature(enable = "avx2,fma")], rows: 3, offsets: [1: [1 2 3 4 5 6 7 8 9] 2: [1 2 3 4 5] 3: [1 2 3 4]], channels: [1 2 3 4]);
