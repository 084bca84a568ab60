//! Convolution with NEON's dotprod (Cortex-A76): sdot multiplies four s8 with four s8 and adds them to an i32, exactly, in each of 4 lanes.
//!
//! Activations are read as code − 128. One load of 16 codes serves four groups of weights, picked by lane. The instruction is assembly: its
//! intrinsics are not stable.

#![allow(
    clippy::needless_range_loop,
    reason = "pixel and vector index several arrays at once; iterators would hide it"
)]

use std::arch::aarch64::*;
use std::arch::asm;

use super::job::{DenseKernels, Packing, Tile};
use super::neon::{requantise, store};

pub(super) static DENSE: DenseKernels = DenseKernels {
    lanes: 16,
    packing: Packing::Quads,
    signed: true,
    tiles: &[&[tile::<1>, tile::<2>, tile::<3>, tile::<4>, tile::<5>]],
};

/// sum + the dot products of a lane's four weights and the four codes of lane `$lane`.
macro_rules! dot {
    ($sum:expr, $weights:expr, $codes:expr, $lane:literal) => {
        asm!(
            ".arch_extension dotprod",
            concat!("sdot {sum:v}.4s, {weights:v}.16b, {codes:v}.4b[", $lane, "]"),
            sum = inout(vreg) $sum,
            weights = in(vreg) $weights,
            codes = in(vreg) $codes,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
}

/// One group of four bytes, the `$lane`th of the codes: 4 vectors of weights from `$weights`.
macro_rules! group {
    ($sums:ident, $weights:expr, $codes:ident, $lane:literal) => {
        for v in 0..4 {
            let weight = vld1q_s8($weights.add(64 * $lane + 16 * v));
            for p in 0..P {
                dot!($sums[p][v], weight, $codes[p], $lane);
            }
        }
    };
}

/// The 16 codes at `$from`, which moves behind them: one instruction. Left to the compiler, addresses are computed anew from one counter, which
/// costs as many additions as pixels.
macro_rules! next {
    ($from:expr) => {{
        let codes: uint8x16_t;
        asm!(
            "ldr {codes:q}, [{from}], #16",
            codes = out(vreg) codes,
            from = inout(reg) $from,
            options(pure, readonly, nostack, preserves_flags)
        );
        codes
    }};
}

/// P pixels × 16 channels.
///
/// # Safety
/// As [`DenseKernels`] says; the CPU has dotprod.
unsafe fn tile<const P: usize>(job: &Tile) {
    // SAFETY: windows (and the slack behind them), weights, biases and output are good for what is read and written here, as the job promises.
    unsafe {
        let flip = vdupq_n_u8(0x80);
        let mut sums = [[vdupq_n_s32(0); 4]; P];
        for v in 0..4 {
            let bias = vld1q_s32(job.requantise.bias.add(4 * v));
            for p in 0..P {
                sums[p][v] = bias;
            }
        }
        let mut weights = job.weights.cast::<i8>();
        for row in 0..job.rows {
            let mut run = job.input.add(row * job.row_step);
            for _ in 0..job.segments {
                let mut inputs = [run; P];
                for p in 1..P {
                    inputs[p] = inputs[p - 1].add(job.input_step);
                }
                for _ in 0..job.groups / 4 {
                    let mut codes = [vdupq_n_s8(0); P];
                    for p in 0..P {
                        codes[p] = vreinterpretq_s8_u8(veorq_u8(next!(inputs[p]), flip));
                    }
                    group!(sums, weights, codes, 0);
                    group!(sums, weights, codes, 1);
                    group!(sums, weights, codes, 2);
                    group!(sums, weights, codes, 3);
                    weights = weights.add(256);
                    // Not to be derived from another counter, at the price of two more instructions.
                    asm!("/* {0} */", inout(reg) weights, options(pure, nomem, nostack, preserves_flags));
                }
                for _ in 0..job.groups % 4 {
                    let mut codes = [vdupq_n_s8(0); P];
                    for p in 0..P {
                        let four = inputs[p].cast::<u32>().read_unaligned();
                        inputs[p] = inputs[p].add(4);
                        codes[p] = vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_u32(vdupq_n_u32(four)), flip));
                    }
                    group!(sums, weights, codes, 0);
                    weights = weights.add(64);
                }
                run = run.add(job.segment_step);
            }
        }
        for p in 0..P {
            if job.sums.is_null() {
                let codes = requantise(sums[p], 4, &job.requantise);
                store(job.output.add(p * job.output_step), codes, job.bytes);
            } else {
                for v in 0..4 {
                    vst1q_s32(job.sums.add(16 * p + 4 * v), sums[p][v]);
                }
            }
        }
    }
}
