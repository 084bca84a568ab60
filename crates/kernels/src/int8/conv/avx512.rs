//! Convolution with AVX-512 VNNI: vpdpbusd multiplies four u8 with four s8 and adds them to an i32, exactly, in each of 16 lanes.
//!
//! At most 24 accumulators: with more the compiler spills (measured; a test counts stack accesses in the loops).

#![allow(
    clippy::needless_range_loop,
    reason = "pixel and vector index several arrays and pointers at once; iterators would hide it"
)]

use std::arch::x86_64::*;

use super::job::{DenseKernels, Packing, Requantise, Tile};

pub(super) static DENSE: DenseKernels = DenseKernels {
    lanes: 16,
    packing: Packing::Quads,
    signed: false,
    tiles: &[
        &[
            tile::<1, 1>,
            tile::<1, 2>,
            tile::<1, 3>,
            tile::<1, 4>,
            tile::<1, 5>,
            tile::<1, 6>,
            tile::<1, 7>,
            tile::<1, 8>,
            tile::<1, 9>,
            tile::<1, 10>,
            tile::<1, 11>,
            tile::<1, 12>,
        ],
        &[
            tile::<2, 1>,
            tile::<2, 2>,
            tile::<2, 3>,
            tile::<2, 4>,
            tile::<2, 5>,
            tile::<2, 6>,
            tile::<2, 7>,
            tile::<2, 8>,
            tile::<2, 9>,
            tile::<2, 10>,
            tile::<2, 11>,
            tile::<2, 12>,
        ],
        &[
            tile::<3, 1>,
            tile::<3, 2>,
            tile::<3, 3>,
            tile::<3, 4>,
            tile::<3, 5>,
            tile::<3, 6>,
            tile::<3, 7>,
            tile::<3, 8>,
        ],
        &[tile::<4, 1>, tile::<4, 2>, tile::<4, 3>, tile::<4, 4>, tile::<4, 5>, tile::<4, 6>],
    ],
};

/// # Safety
/// As [`DenseKernels`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const V: usize, const P: usize>(job: &Tile) {
    // SAFETY: windows, weights, biases and output are good for what is read and written here, as the job promises.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); V]; P];
        for v in 0..V {
            let bias = _mm512_loadu_si512(job.requantise.bias.add(16 * v).cast());
            for p in 0..P {
                sums[p][v] = bias;
            }
        }
        let mut weights = job.weights.cast::<__m512i>();
        for row in 0..job.rows {
            let mut run = job.input.add(row * job.row_step);
            for _ in 0..job.segments {
                let mut input = run;
                for _ in 0..job.groups {
                    let mut weight = [_mm512_setzero_si512(); V];
                    for v in 0..V {
                        weight[v] = _mm512_load_si512(weights.add(v));
                    }
                    for p in 0..P {
                        let pixel = input.add(p * job.input_step);
                        let four = _mm512_set1_epi32(pixel.cast::<i32>().read_unaligned());
                        for v in 0..V {
                            sums[p][v] = _mm512_dpbusd_epi32(sums[p][v], four, weight[v]);
                        }
                    }
                    weights = weights.add(V);
                    input = input.add(4);
                }
                run = run.add(job.segment_step);
            }
        }
        if !job.sums.is_null() {
            for p in 0..P {
                for v in 0..V {
                    _mm512_storeu_si512(job.sums.add((p * V + v) * 16).cast(), sums[p][v]);
                }
            }
            return;
        }
        // Not a loop: its index would move all sums to the stack.
        four::<V, P, 0>(job, &sums);
        four::<V, P, 1>(job, &sums);
        four::<V, P, 2>(job, &sums);
        four::<V, P, 3>(job, &sums);
        four::<V, P, 4>(job, &sums);
        four::<V, P, 5>(job, &sums);
    }
}

/// Codes of four of a tile's vectors, whichever pixels they belong to: narrow blocks then cost no more than wide ones.
///
/// # Safety
/// As [`DenseKernels`] says.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn four<const V: usize, const P: usize, const NUMBER: usize>(job: &Tile, sums: &[[__m512i; V]; P]) {
    if 4 * NUMBER >= P * V {
        return;
    }
    let count = const { if P * V < 4 * NUMBER + 4 { P * V % 4 } else { 4 } };
    let (mut four, mut vectors) = ([_mm512_setzero_si512(); 4], [0; 4]);
    for i in 0..count {
        vectors[i] = (4 * NUMBER + i) % V;
        four[i] = sums[(4 * NUMBER + i) / V][vectors[i]];
    }
    // SAFETY: each vector has its multipliers, each pixel its output, as the job promises.
    unsafe {
        let codes = _mm512_permutexvar_epi32(order(), pack(four, vectors, count, &job.requantise));
        let full = job.bytes == 16 * V;
        if full && count == 4 && (V == 4 || job.output_step == 16 * V) {
            let output = job.output.add(4 * NUMBER / V * job.output_step + 16 * vectors[0]);
            _mm512_storeu_si512(output.cast(), codes);
            return;
        }
        for i in 0..count {
            let piece = match i {
                0 => _mm512_castsi512_si128(codes),
                1 => _mm512_extracti32x4_epi32::<1>(codes),
                2 => _mm512_extracti32x4_epi32::<2>(codes),
                _ => _mm512_extracti32x4_epi32::<3>(codes),
            };
            let output = job.output.add((4 * NUMBER + i) / V * job.output_step + 16 * vectors[i]);
            if full || vectors[i] < V - 1 {
                _mm_storeu_si128(output.cast(), piece);
            } else {
                _mm_mask_storeu_epi32(output.cast(), dwords(job.bytes - 16 * (V - 1)) as u8, piece);
            }
        }
    }
}

/// After both packs, dword 4·l + v holds channels 4·l … of vector v: this brings the vectors one after the other.
#[inline]
#[target_feature(enable = "avx512f")]
fn order() -> __m512i {
    _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
}

/// Codes of the first `count` of four vectors: lane l of the result holds four from each, in turn. `vectors` says which of the block's they are.
///
/// # Safety
/// Multipliers are there for these vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn pack(
    mut sums: [__m512i; 4],
    vectors: [usize; 4],
    count: usize,
    requantise: &Requantise,
) -> __m512i {
    for i in 0..count {
        // SAFETY: as the caller promises.
        let multiplier = unsafe { _mm512_loadu_ps(requantise.multiplier.add(16 * vectors[i])) };
        sums[i] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[i]), multiplier));
    }
    let zero = _mm512_set1_epi16(requantise.zero as i16);
    let first = _mm512_adds_epi16(_mm512_packs_epi32(sums[0], sums[1]), zero);
    let second = _mm512_adds_epi16(_mm512_packs_epi32(sums[2], sums[3]), zero);
    let codes = _mm512_packus_epi16(first, second);
    let (low, high) = (_mm512_set1_epi8(requantise.low as i8), _mm512_set1_epi8(requantise.high as i8));
    _mm512_min_epu8(_mm512_max_epu8(codes, low), high)
}

/// A mask of `bytes` / 4 lanes.
#[inline]
pub(super) fn dwords(bytes: usize) -> u16 {
    ((1u32 << (bytes / 4)) - 1) as u16
}
