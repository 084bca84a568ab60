//! Depthwise convolution with AVX-512 VNNI: the codes of four taps are interleaved, so that vpdpbusd takes four taps of 16 channels at once.
//!
//! Interleaving leaves lane l with channels 16·l + 4·v … in vector v, and packing the sums puts them back in order.

#![allow(clippy::needless_range_loop, reason = "vectors index several arrays at once; iterators would hide it")]

use std::arch::x86_64::*;

use super::avx512::{dwords, pack};
use super::job::{DepthwiseKernels, Span, TapOrder};

/// Any kernel: taps by fours.
pub(super) static ANY: DepthwiseKernels =
    DepthwiseKernels { block: 64, taps: 4, order: TapOrder::Rows, weight_bytes: 1, signed: false, channel, span: any };

/// 3×3, stride 1, columns not torn apart by dilation: each column of the input is interleaved once and serves three pixels.
pub(super) static ROLLING: DepthwiseKernels = DepthwiseKernels { order: TapOrder::Columns, span: rolling, ..ANY };

/// The channel at a position: vector v, lane l, number j of its four.
fn channel(position: usize) -> usize {
    let (v, l, j) = (position / 16, position % 16 / 4, position % 4);
    16 * l + 4 * v + j
}

/// Four rows of 64 bytes as four vectors of 16 × 4.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn interleave([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab, cd),
        _mm512_unpackhi_epi16(ab, cd),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn multiply(sums: [__m512i; 4], input: [__m512i; 4], weights: [__m512i; 4]) -> [__m512i; 4] {
    let mut result = sums;
    for v in 0..4 {
        result[v] = _mm512_dpbusd_epi32(sums[v], input[v], weights[v]);
    }
    result
}

/// # Safety
/// `source` is good for 256 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn four<T>(source: *const T) -> [__m512i; 4] {
    let source = source.cast::<__m512i>();
    // SAFETY: as the caller promises.
    unsafe {
        [
            _mm512_loadu_si512(source),
            _mm512_loadu_si512(source.add(1)),
            _mm512_loadu_si512(source.add(2)),
            _mm512_loadu_si512(source.add(3)),
        ]
    }
}

/// # Safety
/// The pixel lies in the job.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn finish(job: &Span, pixel: usize, sums: [__m512i; 4]) {
    // SAFETY: output, or sums, are good for each pixel, as the job promises.
    unsafe {
        if job.sums.is_null() {
            let codes = pack(sums, [0, 1, 2, 3], 4, &job.requantise);
            _mm512_mask_storeu_epi32(job.output.add(pixel * job.output_step).cast(), dwords(job.bytes), codes);
        } else {
            for v in 0..4 {
                _mm512_storeu_si512(job.sums.add(pixel * 64 + v * 16).cast(), sums[v]);
            }
        }
    }
}

/// # Safety
/// As [`DepthwiseKernels`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn any(job: &Span) {
    // SAFETY: taps, weights, biases and output are good for what is read and written here, as the job promises; masked lanes are not read.
    unsafe {
        let mask = dwords(job.bytes);
        for pixel in 0..job.pixels {
            let input = job.input.add(pixel * job.input_step);
            let mut sums = four(job.requantise.bias);
            for group in 0..job.groups {
                let taps = job.taps.add(4 * group);
                let mut rows = [_mm512_setzero_si512(); 4];
                for tap in 0..4 {
                    rows[tap] = _mm512_maskz_loadu_epi32(mask, input.add(*taps.add(tap)).cast());
                }
                sums = multiply(sums, interleave(rows), four(job.weights.add(256 * group)));
            }
            finish(job, pixel, sums);
        }
    }
}

/// # Safety
/// As [`DepthwiseKernels`] says; 3×3 taps in columns, neighbouring pixels' windows overlap by two columns.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn rolling(job: &Span) {
    // SAFETY: as in `any`; columns 0 … pixels + 1 lie under the windows.
    unsafe {
        let mask = dwords(job.bytes);
        let (second, third) = (*job.taps.add(1), *job.taps.add(2));
        let column = |number: usize| {
            let top = job.input.add(number * job.input_step);
            let row = |offset: usize| _mm512_maskz_loadu_epi32(mask, top.add(offset).cast());
            interleave([row(0), row(second), row(third), _mm512_setzero_si512()])
        };
        let weights = [four(job.weights), four(job.weights.add(256)), four(job.weights.add(512))];
        let bias = || four(job.requantise.bias);
        let (first, next) = (column(0), column(1));
        // Two pixels are under way: one lacks its last column, the other two of them.
        let mut nearly = multiply(multiply(bias(), first, weights[0]), next, weights[1]);
        let mut begun = multiply(bias(), next, weights[0]);
        for pixel in 0..job.pixels {
            let last = column(pixel + 2);
            let sums = multiply(nearly, last, weights[2]);
            nearly = multiply(begun, last, weights[1]);
            begun = multiply(bias(), last, weights[0]);
            finish(job, pixel, sums);
        }
    }
}
