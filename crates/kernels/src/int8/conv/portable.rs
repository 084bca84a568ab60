//! Convolution in plain Rust, one pixel and sixteen channels at a time. What every other kernel must equal.

use super::job::{DenseKernels, DepthwiseKernels, Packing, Requantise, Span, TapOrder, Tile};
use crate::int8::quantisation::code;

/// Output channels at a time.
const LANES: usize = 16;

pub(super) static DENSE: DenseKernels =
    DenseKernels { lanes: LANES, packing: Packing::Quads, signed: false, tiles: &[&[tile]] };

pub(super) static DEPTHWISE: DepthwiseKernels = DepthwiseKernels {
    block: LANES,
    taps: 1,
    order: TapOrder::Rows,
    weight_bytes: 1,
    signed: false,
    channel: |position| position,
    span,
};

/// # Safety
/// As [`DenseKernels`] says.
unsafe fn tile(job: &Tile) {
    // SAFETY: windows, weights, biases and output are good for what is read and written here, as the job promises.
    unsafe {
        let mut sums = *job.requantise.bias.cast::<[i32; LANES]>();
        let mut weights = job.weights.cast::<[[i8; 4]; LANES]>();
        for row in 0..job.rows {
            for segment in 0..job.segments {
                let run = job.input.add(row * job.row_step + segment * job.segment_step);
                for group in 0..job.groups {
                    let input = *run.add(4 * group).cast::<[u8; 4]>();
                    for (sum, weight) in sums.iter_mut().zip(&*weights) {
                        for (&x, &w) in input.iter().zip(weight) {
                            *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
                        }
                    }
                    weights = weights.add(1);
                }
            }
        }
        if job.sums.is_null() {
            store(&sums, &job.requantise, job.output, job.bytes);
        } else {
            *job.sums.cast::<[i32; LANES]>() = sums;
        }
    }
}

/// # Safety
/// As [`DepthwiseKernels`] says.
unsafe fn span(job: &Span) {
    // SAFETY: taps, weights, biases and output are good for what is read and written here, as the job promises.
    unsafe {
        for pixel in 0..job.pixels {
            let mut sums = *job.requantise.bias.cast::<[i32; LANES]>();
            for tap in 0..job.groups {
                let input = job.input.add(pixel * job.input_step + *job.taps.add(tap));
                let weights = &*job.weights.add(tap * LANES).cast::<[i8; LANES]>();
                for (lane, (sum, &weight)) in sums.iter_mut().zip(weights).enumerate().take(job.bytes) {
                    *sum = sum.wrapping_add(i32::from(*input.add(lane)) * i32::from(weight));
                }
            }
            if job.sums.is_null() {
                store(&sums, &job.requantise, job.output.add(pixel * job.output_step), job.bytes);
            } else {
                *job.sums.cast::<[i32; LANES]>().add(pixel) = sums;
            }
        }
    }
}

/// # Safety
/// `output` takes `bytes` bytes, at most [`LANES`]; the multipliers are a whole vector.
#[inline]
unsafe fn store(sums: &[i32; LANES], requantise: &Requantise, output: *mut u8, bytes: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        let multipliers = &*requantise.multiplier.cast::<[f32; LANES]>();
        for (lane, (&sum, &multiplier)) in sums.iter().zip(multipliers).enumerate().take(bytes) {
            let code = code(sum as f32 * multiplier, requantise.zero as u8);
            *output.add(lane) = code.max(requantise.low).min(requantise.high);
        }
    }
}
