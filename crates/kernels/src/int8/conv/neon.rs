//! Convolution with NEON before dotprod (Cortex-A53, A72): smull and smlal make two products of 8 bits a 16-bit lane, sadalp adds pairs of
//! lanes to 32 bits. Activations are read as code − 128; the only sum of two products that 16 bits don't hold is (−128)·(−128)·2, so
//! these kernels serve weights of which no two that meet are both −128.
//!
//! An accumulator belongs to one pixel and one output channel: its four lanes are added at the end.

#![allow(
    clippy::needless_range_loop,
    reason = "pixel and channel index several arrays at once; iterators would hide it"
)]

use std::arch::aarch64::*;
use std::arch::asm;

use super::job::{DenseKernels, Packing, Requantise, Tile};

pub(super) static DENSE: DenseKernels = DenseKernels {
    lanes: 4,
    packing: Packing::Sixteens,
    signed: true,
    tiles: &[&[tile::<1>, tile::<2>, tile::<3>, tile::<4>]],
};

/// `smull2`, `smlal2`, which the intrinsics take apart: sum of the products of both halves in eight 16-bit lanes.
#[inline(always)]
unsafe fn products(a: int8x16_t, b: int8x16_t) -> int16x8_t {
    let result: int16x8_t;
    // SAFETY: multiplies registers; touches nothing else.
    unsafe {
        asm!(
            "smull {r:v}.8h, {a:v}.8b, {b:v}.8b",
            "smlal2 {r:v}.8h, {a:v}.16b, {b:v}.16b",
            r = out(vreg) result, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    result
}

/// P pixels × 4 channels.
///
/// # Safety
/// As [`DenseKernels`] says.
unsafe fn tile<const P: usize>(job: &Tile) {
    // SAFETY: windows (and the slack behind them), weights, biases and output are good for what is read and written here, as the job promises.
    unsafe {
        let flip = vdupq_n_u8(0x80);
        let mut sums = [[vdupq_n_s32(0); 4]; P];
        let mut weights = job.weights.cast::<i8>();
        for row in 0..job.rows {
            let mut run = job.input.add(row * job.row_step);
            for _ in 0..job.segments {
                let mut input = run;
                for _ in 0..job.groups.div_ceil(4) {
                    let mut codes = [vdupq_n_s8(0); P];
                    for p in 0..P {
                        codes[p] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(input.add(p * job.input_step)), flip));
                    }
                    for c in 0..4 {
                        let weight = vld1q_s8(weights.add(16 * c));
                        for p in 0..P {
                            sums[p][c] = vpadalq_s16(sums[p][c], products(codes[p], weight));
                        }
                    }
                    weights = weights.add(64);
                    input = input.add(16);
                }
                run = run.add(job.segment_step);
            }
        }
        let bias = vld1q_s32(job.requantise.bias);
        for p in 0..P {
            let [a, b, c, d] = sums[p];
            let sum = vaddq_s32(vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)), bias);
            if job.sums.is_null() {
                let codes = requantise([sum, sum, sum, sum], 1, &job.requantise);
                let four = vgetq_lane_u32::<0>(vreinterpretq_u32_u8(codes));
                job.output.add(p * job.output_step).cast::<u32>().write_unaligned(four);
            } else {
                vst1q_s32(job.sums.add(4 * p), sum);
            }
        }
    }
}

/// Codes of 16 channels, of which the first `vectors` × 4 have multipliers.
///
/// # Safety
/// `vectors` × 4 multipliers are there.
#[inline(always)]
pub(super) unsafe fn requantise(mut sums: [int32x4_t; 4], vectors: usize, requantise: &Requantise) -> uint8x16_t {
    // SAFETY: as the caller promises.
    unsafe {
        for v in 0..vectors {
            let multiplier = vld1q_f32(requantise.multiplier.add(4 * v));
            sums[v] = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums[v]), multiplier));
        }
        let zero = vdupq_n_s16(requantise.zero as i16);
        let first = vqaddq_s16(vcombine_s16(vqmovn_s32(sums[0]), vqmovn_s32(sums[1])), zero);
        let second = vqaddq_s16(vcombine_s16(vqmovn_s32(sums[2]), vqmovn_s32(sums[3])), zero);
        let codes = vcombine_u8(vqmovun_s16(first), vqmovun_s16(second));
        vminq_u8(vmaxq_u8(codes, vdupq_n_u8(requantise.low)), vdupq_n_u8(requantise.high))
    }
}

/// Writes the first `bytes` (a multiple of 4, at most 16) of 16 codes.
///
/// # Safety
/// `output` takes `bytes` bytes.
#[inline(always)]
pub(super) unsafe fn store(output: *mut u8, codes: uint8x16_t, bytes: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        if bytes == 16 {
            vst1q_u8(output, codes);
            return;
        }
        let words = vreinterpretq_u32_u8(codes);
        let output = output.cast::<u32>();
        output.write_unaligned(vgetq_lane_u32::<0>(words));
        if bytes > 4 {
            output.add(1).write_unaligned(vgetq_lane_u32::<1>(words));
        }
        if bytes > 8 {
            output.add(2).write_unaligned(vgetq_lane_u32::<2>(words));
        }
    }
}
