//! The argmax of a row whose cells are alike (see `axis`): lanes are neighbouring cells, and each of a cell's pixels has registers of its own.
//!
//! The same arithmetic as everywhere in `maps`, so the same classes; written out for each instruction set because compilers leave the largest value
//! and its class in memory.

#![allow(
    clippy::needless_range_loop,
    reason = "several arrays side by side; closures are not always inlined where they must be"
)]

use crate::int8::Kernel;

/// Pixels of a cell that are computed together: as many bytes as a word has.
pub(super) const TOGETHER: usize = 4;

/// A row to classify.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    /// `[classes][width]`, and behind the last class as much as whole vectors read: see [`Row::count`].
    pub values: &'a [f32],
    pub classes: usize,
    pub width: usize,
    /// How far each of up to [`TOGETHER`] pixels is from a cell's left to its right.
    pub fractions: [f32; TOGETHER],
}

impl Row<'_> {
    /// Cells that are computed: a multiple of all vectors' lanes.
    pub fn count(width: usize) -> usize {
        width.next_multiple_of(super::BLOCK)
    }

    /// What is read of `values`.
    pub fn extent(classes: usize, width: usize) -> usize {
        (classes - 1) * width + Row::count(width) + 1
    }
}

/// Writes a word a cell: the classes of its first `SIZE` pixels, the first in the lowest byte. Of equal values the lowest class wins, NaN never.
#[inline(always)]
pub(super) fn label<const SIZE: usize>(kernel: Kernel, row: Row, words: &mut [u32]) {
    assert!(
        row.classes > 0
            && row.values.len() >= Row::extent(row.classes, row.width)
            && words.len() == Row::count(row.width)
    );
    // SAFETY: the slices are as long as asked for above, and a kernel is only selected on a CPU that has it.
    unsafe {
        match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => x86::avx512::<SIZE>(row, words),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => x86::avx2::<SIZE>(row, words),
            #[cfg(target_arch = "aarch64")]
            _ => cells::<neon::Neon, SIZE>(row, words),
            #[cfg(not(target_arch = "aarch64"))]
            _ => cells::<Single, SIZE>(row, words),
        }
    }
}

/// What the loop needs of an instruction set.
trait Simd {
    type V: Copy;
    /// Classes, 32 bits each.
    type L: Copy;
    /// Divides [`super::BLOCK`].
    const LANES: usize;
    /// # Safety
    /// All of this trait: the instruction set is enabled where these are inlined, and pointers hold `LANES` elements.
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn class(class: u32) -> Self::L;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a + b·c`, both rounded.
    unsafe fn along(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of `best` and `value` and its class; `best` where they are equal or unordered.
    unsafe fn better(best: (Self::V, Self::L), value: Self::V, class: Self::L) -> (Self::V, Self::L);
    /// `a·256 + b`
    unsafe fn join(a: Self::L, b: Self::L) -> Self::L;
    unsafe fn store(to: *mut u32, words: Self::L);
}

/// # Safety
/// `row.values` and `words` are as long as [`Row::extent`] and [`Row::count`] say, and S is enabled.
#[inline(always)]
unsafe fn cells<S: Simd, const SIZE: usize>(row: Row, words: &mut [u32]) {
    let Row { values, classes, width, fractions: plain } = row;
    // SAFETY: S is enabled.
    let mut fractions = unsafe { [S::splat(0.0); SIZE] };
    for place in 0..SIZE {
        // SAFETY: as above.
        fractions[place] = unsafe { S::splat(plain[place]) };
    }
    for first in (0..words.len()).step_by(S::LANES) {
        // SAFETY: the last vector of the last class ends one behind `count`, which `values` reaches; words are `count`.
        unsafe {
            let mut best = [(S::splat(f32::NEG_INFINITY), S::class(0)); SIZE];
            for class in 0..classes {
                let at = values.as_ptr().add(class * width + first);
                let left = S::load(at);
                let slope = S::sub(S::load(at.add(1)), left);
                let class = S::class(class as u32);
                for place in 0..SIZE {
                    best[place] = S::better(best[place], S::along(left, slope, fractions[place]), class);
                }
            }
            let mut word = best[SIZE - 1].1;
            for place in (0..SIZE - 1).rev() {
                word = S::join(word, best[place].1);
            }
            S::store(words.as_mut_ptr().add(first), word);
        }
    }
}

/// One lane: what is left where there is nothing better.
#[cfg(not(target_arch = "aarch64"))]
struct Single;

#[cfg(not(target_arch = "aarch64"))]
impl Simd for Single {
    type V = f32;
    type L = u32;
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> f32 {
        // SAFETY: the caller's.
        unsafe { *from }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    unsafe fn class(class: u32) -> u32 {
        class
    }

    #[inline(always)]
    unsafe fn sub(a: f32, b: f32) -> f32 {
        a - b
    }

    #[inline(always)]
    unsafe fn along(a: f32, b: f32, c: f32) -> f32 {
        a + b * c
    }

    #[inline(always)]
    unsafe fn better(best: (f32, u32), value: f32, class: u32) -> (f32, u32) {
        if value > best.0 { (value, class) } else { best }
    }

    #[inline(always)]
    unsafe fn join(a: u32, b: u32) -> u32 {
        a << 8 | b
    }

    #[inline(always)]
    unsafe fn store(to: *mut u32, word: u32) {
        // SAFETY: the caller's.
        unsafe { *to = word }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Row, Simd, cells};

    /// # Safety
    /// As [`cells`]; the CPU has AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn avx512<const SIZE: usize>(row: Row, words: &mut [u32]) {
        // SAFETY: the caller's.
        unsafe { cells::<Zmm, SIZE>(row, words) }
    }

    /// # Safety
    /// As [`cells`]; the CPU has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2<const SIZE: usize>(row: Row, words: &mut [u32]) {
        // SAFETY: the caller's.
        unsafe { cells::<Ymm, SIZE>(row, words) }
    }

    /// An implementation for registers of one width: the intrinsics' prefix and suffix differ, and how a comparison selects.
    macro_rules! simd {
        ($name:ident, $lanes:literal, $v:ty, $l:ty, $load:ident, $set:ident, $class:ident, $sub:ident, $add:ident, $mul:ident, $shift:ident, $or:ident,
         $store:ident, |$best:ident, $value:ident, $of:ident| $better:expr) => {
            struct $name;

            impl Simd for $name {
                type V = $v;
                type L = $l;
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn load(from: *const f32) -> $v {
                    // SAFETY: the caller's.
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn splat(x: f32) -> $v {
                    // SAFETY: the caller's.
                    unsafe { $set(x) }
                }

                #[inline(always)]
                unsafe fn class(class: u32) -> $l {
                    // SAFETY: the caller's.
                    unsafe { $class(class as i32) }
                }

                #[inline(always)]
                unsafe fn sub(a: $v, b: $v) -> $v {
                    // SAFETY: the caller's.
                    unsafe { $sub(a, b) }
                }

                #[inline(always)]
                unsafe fn along(a: $v, b: $v, c: $v) -> $v {
                    // SAFETY: the caller's.
                    unsafe { $add(a, $mul(b, c)) }
                }

                #[inline(always)]
                unsafe fn better($best: ($v, $l), $value: $v, $of: $l) -> ($v, $l) {
                    // SAFETY: the caller's.
                    unsafe { $better }
                }

                #[inline(always)]
                unsafe fn join(a: $l, b: $l) -> $l {
                    // SAFETY: the caller's.
                    unsafe { $or($shift::<8>(a), b) }
                }

                #[inline(always)]
                unsafe fn store(to: *mut u32, words: $l) {
                    // SAFETY: the caller's.
                    unsafe { $store(to.cast(), words) }
                }
            }
        };
    }

    simd!(
        Zmm,
        16,
        __m512,
        __m512i,
        _mm512_loadu_ps,
        _mm512_set1_ps,
        _mm512_set1_epi32,
        _mm512_sub_ps,
        _mm512_add_ps,
        _mm512_mul_ps,
        _mm512_slli_epi32,
        _mm512_or_si512,
        _mm512_storeu_si512,
        |best, value, class| {
            let wins = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, best.0);
            (_mm512_mask_blend_ps(wins, best.0, value), _mm512_mask_blend_epi32(wins, best.1, class))
        }
    );
    simd!(
        Ymm,
        8,
        __m256,
        __m256i,
        _mm256_loadu_ps,
        _mm256_set1_ps,
        _mm256_set1_epi32,
        _mm256_sub_ps,
        _mm256_add_ps,
        _mm256_mul_ps,
        _mm256_slli_epi32,
        _mm256_or_si256,
        _mm256_storeu_si256,
        |best, value, class| {
            let wins = _mm256_cmp_ps::<_CMP_GT_OQ>(value, best.0);
            (_mm256_blendv_ps(best.0, value, wins), _mm256_blendv_epi8(best.1, class, _mm256_castps_si256(wins)))
        }
    );
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::Simd;

    /// NEON is part of the target.
    pub(super) struct Neon;

    impl Simd for Neon {
        type V = float32x4_t;
        type L = uint32x4_t;
        const LANES: usize = 4;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            // SAFETY: the caller's.
            unsafe { vld1q_f32(from) }
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> float32x4_t {
            // SAFETY: the caller's.
            unsafe { vdupq_n_f32(x) }
        }

        #[inline(always)]
        unsafe fn class(class: u32) -> uint32x4_t {
            // SAFETY: the caller's.
            unsafe { vdupq_n_u32(class) }
        }

        #[inline(always)]
        unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            // SAFETY: the caller's.
            unsafe { vsubq_f32(a, b) }
        }

        #[inline(always)]
        unsafe fn along(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            // SAFETY: the caller's.
            unsafe { vaddq_f32(a, vmulq_f32(b, c)) }
        }

        #[inline(always)]
        unsafe fn better(
            best: (float32x4_t, uint32x4_t),
            value: float32x4_t,
            class: uint32x4_t,
        ) -> (float32x4_t, uint32x4_t) {
            // SAFETY: the caller's.
            unsafe {
                let wins = vcgtq_f32(value, best.0);
                (vbslq_f32(wins, value, best.0), vbslq_u32(wins, class, best.1))
            }
        }

        #[inline(always)]
        unsafe fn join(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
            // SAFETY: the caller's.
            unsafe { vorrq_u32(vshlq_n_u32::<8>(a), b) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut u32, words: uint32x4_t) {
            // SAFETY: the caller's.
            unsafe { vst1q_u32(to, words) }
        }
    }
}
