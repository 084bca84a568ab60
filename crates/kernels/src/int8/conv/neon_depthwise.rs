//! Depthwise convolution with NEON: 16 channels at once; two taps share a 16-bit product sum, which is then widened.
//!
//! Activations are read as code − 128; see `neon` for the weights that this is exact for.

use std::arch::aarch64::*;

use super::job::{DepthwiseKernels, Span, TapOrder};
use super::neon::{requantise, store};

pub(super) static ANY: DepthwiseKernels = DepthwiseKernels {
    block: 16,
    taps: 2,
    order: TapOrder::Rows,
    weight_bytes: 1,
    signed: true,
    channel: |position| position,
    span,
};

/// # Safety
/// As [`DepthwiseKernels`] says. Sixteen channels are read for each tap, of which those beyond `bytes` may belong to the next pixel, or to the
/// slack behind the tensor.
unsafe fn span(job: &Span) {
    // SAFETY: taps, weights, biases and output are good for what is read and written here, as the job promises.
    unsafe {
        let flip = vdupq_n_u8(0x80);
        let bias = [0, 1, 2, 3].map(|v| vld1q_s32(job.requantise.bias.add(4 * v)));
        for pixel in 0..job.pixels {
            let input = job.input.add(pixel * job.input_step);
            let mut sums = bias;
            let mut weights = job.weights.cast::<i8>();
            for group in 0..job.groups {
                let tap = |number: usize| {
                    let codes = vld1q_u8(input.add(*job.taps.add(2 * group + number)));
                    vreinterpretq_s8_u8(veorq_u8(codes, flip))
                };
                let (first, second, pair) = (tap(0), tap(1), vld2q_s8(weights));
                let low = vmlal_s8(
                    vmull_s8(vget_low_s8(first), vget_low_s8(pair.0)),
                    vget_low_s8(second),
                    vget_low_s8(pair.1),
                );
                let high = vmlal_high_s8(vmull_high_s8(first, pair.0), second, pair.1);
                sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
                sums[1] = vaddw_high_s16(sums[1], low);
                sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
                sums[3] = vaddw_high_s16(sums[3], high);
                weights = weights.add(32);
            }
            if job.sums.is_null() {
                store(job.output.add(pixel * job.output_step), requantise(sums, 4, &job.requantise), job.bytes);
            } else {
                for (v, sum) in sums.iter().enumerate() {
                    vst1q_s32(job.sums.add(16 * pixel + 4 * v), *sum);
                }
            }
        }
    }
}
