//! Convolution with AVX2, exact. vpmaddubsw, which multiplies u8 with s8, saturates its sums of two products to 16 bits: it is used only where
//! the weights can't make it do so. Elsewhere activations and weights are widened to 16 bits for vpmaddwd, which can't.

#![allow(
    clippy::needless_range_loop,
    reason = "pixel and vector index several arrays and pointers at once; iterators would hide it"
)]

use std::arch::x86_64::*;

use super::job::{DenseKernels, Packing, Requantise, Tile};

/// A product with weights from memory. With the intrinsics the compiler keeps weights in registers, of which there are not enough.
macro_rules! multiply {
    ($instruction:literal, $codes:expr, $weights:expr) => {{
        let product: __m256i;
        std::arch::asm!(
            concat!($instruction, " {product}, {codes}, ymmword ptr [{weights}]"),
            product = lateout(ymm_reg) product,
            codes = in(ymm_reg) $codes,
            weights = in(reg) $weights,
            options(pure, readonly, nostack, preserves_flags)
        );
        product
    }};
}

/// Any weights.
pub(super) static WIDE: DenseKernels = DenseKernels {
    lanes: 8,
    packing: Packing::WidePairs,
    signed: false,
    tiles: &[
        &[
            wide::<1, 1>,
            wide::<1, 2>,
            wide::<1, 3>,
            wide::<1, 4>,
            wide::<1, 5>,
            wide::<1, 6>,
            wide::<1, 7>,
            wide::<1, 8>,
            wide::<1, 9>,
            wide::<1, 10>,
        ],
        &[wide::<2, 1>, wide::<2, 2>, wide::<2, 3>, wide::<2, 4>, wide::<2, 5>, wide::<2, 6>],
        &[wide::<3, 1>, wide::<3, 2>, wide::<3, 3>, wide::<3, 4>],
        &[wide::<4, 1>, wide::<4, 2>, wide::<4, 3>],
    ],
};

/// Weights of which no two that meet in one 16-bit sum add up to more than 128 or less than −128.
pub(super) static NARROW: DenseKernels = DenseKernels {
    lanes: 8,
    packing: Packing::Quads,
    signed: false,
    tiles: &[
        &[
            narrow::<1, 1>,
            narrow::<1, 2>,
            narrow::<1, 3>,
            narrow::<1, 4>,
            narrow::<1, 5>,
            narrow::<1, 6>,
            narrow::<1, 7>,
            narrow::<1, 8>,
            narrow::<1, 9>,
            narrow::<1, 10>,
        ],
        &[narrow::<2, 1>, narrow::<2, 2>, narrow::<2, 3>, narrow::<2, 4>, narrow::<2, 5>, narrow::<2, 6>],
        &[narrow::<3, 1>, narrow::<3, 2>, narrow::<3, 3>, narrow::<3, 4>],
        &[narrow::<4, 1>, narrow::<4, 2>, narrow::<4, 3>],
    ],
};

/// # Safety
/// As [`DenseKernels`] says.
#[target_feature(enable = "avx2")]
unsafe fn wide<const V: usize, const P: usize>(job: &Tile) {
    // SAFETY: as the job promises; 2 · V vectors of weights to a group.
    unsafe {
        let even_bytes = _mm256_set1_epi16(0xff);
        tile::<V, P>(job, 2 * V, |sums, input, weights| {
            for p in 0..P {
                let codes = _mm256_set1_epi32(input.add(p * job.input_step).cast::<i32>().read_unaligned());
                let (even, odd) = (_mm256_and_si256(codes, even_bytes), _mm256_srli_epi16::<8>(codes));
                for v in 0..V {
                    let first = multiply!("vpmaddwd", even, weights.add(v));
                    let second = multiply!("vpmaddwd", odd, weights.add(V + v));
                    sums[p][v] = _mm256_add_epi32(_mm256_add_epi32(sums[p][v], first), second);
                }
            }
        });
    }
}

/// # Safety
/// As [`DenseKernels`] says.
#[target_feature(enable = "avx2")]
unsafe fn narrow<const V: usize, const P: usize>(job: &Tile) {
    // SAFETY: as the job promises; V vectors of weights to a group.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        tile::<V, P>(job, V, |sums, input, weights| {
            for p in 0..P {
                let codes = _mm256_set1_epi32(input.add(p * job.input_step).cast::<i32>().read_unaligned());
                for v in 0..V {
                    let pairs = multiply!("vpmaddubsw", codes, weights.add(v));
                    sums[p][v] = _mm256_add_epi32(sums[p][v], _mm256_madd_epi16(pairs, ones));
                }
            }
        });
    }
}

/// The loops around one group of four bytes, which `group` does; `vectors` is what it takes of the weights.
///
/// # Safety
/// As [`DenseKernels`] says.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const V: usize, const P: usize>(
    job: &Tile,
    vectors: usize,
    group: impl Fn(&mut [[__m256i; V]; P], *const u8, *const __m256i),
) {
    // SAFETY: windows, weights, biases and output are good for what is read and written here, as the job promises.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); V]; P];
        for v in 0..V {
            let bias = _mm256_loadu_si256(job.requantise.bias.add(8 * v).cast());
            for p in 0..P {
                sums[p][v] = bias;
            }
        }
        let mut weights = job.weights.cast::<__m256i>();
        for row in 0..job.rows {
            let mut run = job.input.add(row * job.row_step);
            for _ in 0..job.segments {
                let mut input = run;
                for _ in 0..job.groups {
                    group(&mut sums, input, weights);
                    weights = weights.add(vectors);
                    input = input.add(4);
                }
                run = run.add(job.segment_step);
            }
        }
        if !job.sums.is_null() {
            for p in 0..P {
                for v in 0..V {
                    _mm256_storeu_si256(job.sums.add((p * V + v) * 8).cast(), sums[p][v]);
                }
            }
            return;
        }
        // Not a loop: its index would move all sums to the stack.
        four::<V, P, 0>(job, &sums);
        four::<V, P, 1>(job, &sums);
        four::<V, P, 2>(job, &sums);
    }
}

/// Codes of four of a tile's vectors, whichever pixels they belong to.
///
/// # Safety
/// As [`DenseKernels`] says.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn four<const V: usize, const P: usize, const NUMBER: usize>(job: &Tile, sums: &[[__m256i; V]; P]) {
    if 4 * NUMBER >= P * V {
        return;
    }
    let count = const { if P * V < 4 * NUMBER + 4 { P * V % 4 } else { 4 } };
    let (mut four, mut vectors) = ([_mm256_setzero_si256(); 4], [0; 4]);
    for i in 0..count {
        vectors[i] = (4 * NUMBER + i) % V;
        four[i] = sums[(4 * NUMBER + i) / V][vectors[i]];
    }
    // SAFETY: each vector has its multipliers, each pixel its output, as the job promises.
    unsafe {
        // After both packs, dword 4·l + v holds channels 4·l … of vector v.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let codes = _mm256_permutevar8x32_epi32(pack(four, vectors, count, &job.requantise), order);
        let full = job.bytes == 8 * V;
        if full && count == 4 && (V == 4 || job.output_step == 8 * V) {
            let output = job.output.add(4 * NUMBER / V * job.output_step + 8 * vectors[0]);
            _mm256_storeu_si256(output.cast(), codes);
            return;
        }
        let halves = [_mm256_castsi256_si128(codes), _mm256_extracti128_si256::<1>(codes)];
        for i in 0..count {
            let piece = if i % 2 == 0 { halves[i / 2] } else { _mm_unpackhi_epi64(halves[i / 2], halves[i / 2]) };
            let output = job.output.add((4 * NUMBER + i) / V * job.output_step + 8 * vectors[i]);
            if full || vectors[i] < V - 1 {
                _mm_storel_epi64(output.cast(), piece);
            } else if job.bytes == 8 * V - 4 {
                output.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(piece));
            }
        }
    }
}

/// Codes of the first `count` of four vectors: lane l of the result holds four from each, in turn. `vectors` says which of the block's they are.
///
/// # Safety
/// Multipliers are there for these vectors.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn pack(
    mut sums: [__m256i; 4],
    vectors: [usize; 4],
    count: usize,
    requantise: &Requantise,
) -> __m256i {
    for i in 0..count {
        // SAFETY: as the caller promises.
        let multiplier = unsafe { _mm256_loadu_ps(requantise.multiplier.add(8 * vectors[i])) };
        sums[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums[i]), multiplier));
    }
    let zero = _mm256_set1_epi16(requantise.zero as i16);
    let first = _mm256_adds_epi16(_mm256_packs_epi32(sums[0], sums[1]), zero);
    let second = _mm256_adds_epi16(_mm256_packs_epi32(sums[2], sums[3]), zero);
    let codes = _mm256_packus_epi16(first, second);
    let (low, high) = (_mm256_set1_epi8(requantise.low as i8), _mm256_set1_epi8(requantise.high as i8));
    _mm256_min_epu8(_mm256_max_epu8(codes, low), high)
}
