//! The inner loops of preparation: bytes to a blended row, a blended row to output samples, samples to normalised RGB.
//!
//! Each is plain Rust that the compiler turns into vectors; `FMA` says whether the caller was compiled for a CPU that
//! multiplies and adds in one instruction (elsewhere `mul_add` would be a slow library call).

use super::convert::Affine;
use super::taps::Taps;

/// Bytes that [`blend`] takes at once: four AVX2 or eight NEON registers of f32.
const BLOCK: usize = 32;

#[inline(always)]
fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `row[x] = Σ weights[k] · plane[(start + k)·stride + x]`: the vertical part of the resize, blind to how a row is packed.
///
/// `plane` begins at the first byte wanted of its first row; `row.len()` bytes are taken of each.
#[inline(always)]
pub(super) fn blend<const FMA: bool>(plane: &[u8], stride: usize, start: usize, weights: &[f32], row: &mut [f32]) {
    let len = row.len();
    let block = |x: usize, out: &mut [f32; BLOCK]| {
        let mut sum = [0f32; BLOCK];
        for (k, &weight) in weights.iter().enumerate() {
            let bytes = &plane[(start + k) * stride + x..][..BLOCK];
            for (sum, &byte) in sum.iter_mut().zip(bytes) {
                *sum = multiply_add::<FMA>(weight, byte as f32, *sum);
            }
        }
        *out = sum;
    };
    let (blocks, tail) = row.as_chunks_mut::<BLOCK>();
    for (i, out) in blocks.iter_mut().enumerate() {
        block(i * BLOCK, out);
    }
    let done = len - tail.len();
    if tail.is_empty() {
        return;
    }
    if len >= BLOCK {
        // The last block once more, shifted to end with the row.
        let mut last = [0f32; BLOCK];
        block(len - BLOCK, &mut last);
        tail.copy_from_slice(&last[BLOCK - tail.len()..]);
        return;
    }
    tail.fill(0.0);
    for (k, &weight) in weights.iter().enumerate() {
        let bytes = &plane[(start + k) * stride + done..][..tail.len()];
        for (sum, &byte) in tail.iter_mut().zip(bytes) {
            *sum = multiply_add::<FMA>(weight, byte as f32, *sum);
        }
    }
}

/// The horizontal part: `out[i] = Σ taps.weights[i][k] · row[offset + (taps.starts[i] + k)·step]`.
#[inline(always)]
pub(super) fn gather<const FMA: bool>(row: &[f32], step: usize, offset: usize, taps: &Taps, out: &mut [f32]) {
    let row = row.get(offset..).unwrap_or(&[]);
    macro_rules! sizes {
        ($step:literal: $($size:literal)*) => {
            match taps.size {
                $($size => gather_fixed::<FMA, $step, $size>(row, taps, out),)*
                _ => gather_any::<FMA>(row, $step, taps, out),
            }
        };
    }
    match step {
        1 => sizes!(1: 1 2 3 4 5 6 7 8),
        2 => sizes!(2: 1 2 3 4 5 6 7 8),
        3 => sizes!(3: 1 2 3 4 5 6 7 8),
        4 => sizes!(4: 1 2 3 4 5 6 7 8),
        _ => gather_any::<FMA>(row, step, taps, out),
    }
}

#[inline(always)]
fn gather_fixed<const FMA: bool, const STEP: usize, const SIZE: usize>(row: &[f32], taps: &Taps, out: &mut [f32]) {
    let (weights, _) = taps.weights.as_chunks::<SIZE>();
    for ((value, &start), weights) in out.iter_mut().zip(&taps.starts).zip(weights) {
        let samples = &row[start * STEP..][..(SIZE - 1) * STEP + 1];
        let mut sum = weights[0] * samples[0];
        for k in 1..SIZE {
            sum = multiply_add::<FMA>(weights[k], samples[k * STEP], sum);
        }
        *value = sum;
    }
}

#[inline(always)]
fn gather_any<const FMA: bool>(row: &[f32], step: usize, taps: &Taps, out: &mut [f32]) {
    for ((value, &start), weights) in out.iter_mut().zip(&taps.starts).zip(taps.weights.chunks_exact(taps.size)) {
        let samples = row[start * step..].iter().step_by(step);
        *value = weights.iter().zip(samples).fold(0.0, |sum, (&w, &s)| multiply_add::<FMA>(w, s, sum));
    }
}

/// One colour of a row: the matrix' row, clamped to 0…1, then normalised: `(x − mean)/std` as `x·gain + bias`.
#[inline(always)]
pub(super) fn colour<const FMA: bool>(
    components: [&[f32]; 3],
    affine: &Affine,
    channel: usize,
    gain: f32,
    bias: f32,
    out: &mut [f32],
) {
    let [m0, m1, m2] = affine.matrix[channel];
    let offset = affine.offset[channel];
    let [first, second, third] = components;
    for (((out, &a), &b), &c) in out.iter_mut().zip(first).zip(second).zip(third) {
        let sum = multiply_add::<FMA>(m0, a, offset);
        let sum = multiply_add::<FMA>(m1, b, sum);
        let value = multiply_add::<FMA>(m2, c, sum).clamp(0.0, 1.0);
        *out = multiply_add::<FMA>(value, gain, bias);
    }
}
