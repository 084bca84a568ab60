//! The inner loops of preparation: bytes to a blended row, a blended row to output samples, samples to normalised RGB.
//!
//! Each is plain Rust that the compiler turns into vectors; `FMA` says whether the caller was compiled for a CPU that
//! multiplies and adds in one instruction (elsewhere `mul_add` would be a slow library call). Nothing that multiplies is a closure:
//! a closure that is not inlined is compiled for any CPU, and makes those calls (link-time optimisation did that: thirty times the time).

use super::convert::Affine;
use super::taps::Taps;

/// Bytes that [`blend`] takes at once: four AVX2 or eight NEON registers of f32.
const BLOCK: usize = 32;

#[inline(always)]
fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Samples `x` and on of [`blend`]'s row.
#[inline(always)]
fn block<const FMA: bool>(
    plane: &[u8],
    stride: usize,
    start: usize,
    weights: &[f32],
    x: usize,
    out: &mut [f32; BLOCK],
) {
    let mut sum = [0f32; BLOCK];
    for (k, &weight) in weights.iter().enumerate() {
        let bytes = &plane[(start + k) * stride + x..][..BLOCK];
        for (sum, &byte) in sum.iter_mut().zip(bytes) {
            *sum = multiply_add::<FMA>(weight, byte as f32, *sum);
        }
    }
    *out = sum;
}

/// `row[x] = Σ weights[k] · plane[(start + k)·stride + x]`: the vertical part of the resize, blind to how a row is packed.
///
/// `plane` begins at the first byte wanted of its first row; `row.len()` bytes are taken of each.
#[inline(always)]
pub(super) fn blend<const FMA: bool>(plane: &[u8], stride: usize, start: usize, weights: &[f32], row: &mut [f32]) {
    let len = row.len();
    let (blocks, tail) = row.as_chunks_mut::<BLOCK>();
    for (i, out) in blocks.iter_mut().enumerate() {
        block::<FMA>(plane, stride, start, weights, i * BLOCK, out);
    }
    let done = len - tail.len();
    if tail.is_empty() {
        return;
    }
    if len >= BLOCK {
        // The last block once more, shifted to end with the row.
        let mut last = [0f32; BLOCK];
        block::<FMA>(plane, stride, start, weights, len - BLOCK, &mut last);
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

/// A horizontal resize: taps whose weights fill up whole vectors of four.
#[derive(Debug, Clone)]
pub(super) struct Across {
    /// Samples from one of this component to its next in a blended row, and its first.
    step: usize,
    offset: usize,
    /// By output sample: its first source sample.
    starts: Vec<usize>,
    /// Vectors of weights an output sample.
    quads: usize,
    /// `[output sample][quads][4]`; zeros fill up.
    weights: Vec<f32>,
    /// This component's samples alone, with zeros behind them.
    samples: Vec<f32>,
}

impl Across {
    pub fn new(taps: &Taps, step: usize, offset: usize) -> Across {
        let quads = taps.size.div_ceil(4);
        let mut weights = vec![0.0; taps.starts.len() * 4 * quads];
        for (padded, exact) in weights.chunks_exact_mut(4 * quads).zip(taps.weights.chunks_exact(taps.size)) {
            padded[..taps.size].copy_from_slice(exact);
        }
        let last = taps.starts.iter().max().copied().unwrap_or(0);
        let samples = vec![0.0; last + 4 * quads];
        Across { step, offset, starts: taps.starts.clone(), quads, weights, samples }
    }

    /// `out[i] = Σ weights[i][k] · row[offset + (starts[i] + k)·step]`, each fourth product in a sum of its own.
    #[inline(always)]
    pub fn run<const FMA: bool>(&mut self, row: &[f32], out: &mut [f32]) {
        let row = row.get(self.offset..).unwrap_or(&[]);
        match self.step {
            1 => pick::<1>(row, &mut self.samples),
            2 => pick::<2>(row, &mut self.samples),
            3 => pick::<3>(row, &mut self.samples),
            4 => pick::<4>(row, &mut self.samples),
            step => self.samples.iter_mut().zip(row.iter().step_by(step)).for_each(|(to, from)| *to = *from),
        }
        match self.quads {
            1 => self.dots::<FMA, 1>(out),
            2 => self.dots::<FMA, 2>(out),
            3 => self.dots::<FMA, 3>(out),
            4 => self.dots::<FMA, 4>(out),
            quads => {
                let weights = self.weights.chunks_exact(4 * quads);
                for ((value, &start), weights) in out.iter_mut().zip(&self.starts).zip(weights) {
                    let samples = self.samples[start..].as_chunks::<4>().0.iter();
                    let mut sums = [0.0; 4];
                    for (samples, weights) in samples.zip(weights.as_chunks::<4>().0) {
                        sums = add::<FMA>(sums, samples, weights);
                    }
                    *value = total(sums);
                }
            }
        }
    }

    #[inline(always)]
    fn dots<const FMA: bool, const QUADS: usize>(&self, out: &mut [f32]) {
        let weights = self.weights.as_chunks::<4>().0.as_chunks::<QUADS>().0;
        for ((value, &start), weights) in out.iter_mut().zip(&self.starts).zip(weights) {
            let Some(samples) = self.samples.get(start..start + 4 * QUADS) else { continue };
            let mut sums = [0.0; 4];
            for (samples, weights) in samples.as_chunks::<4>().0.iter().zip(weights) {
                sums = add::<FMA>(sums, samples, weights);
            }
            *value = total(sums);
        }
    }
}

/// Every STEP-th sample.
#[inline(always)]
fn pick<const STEP: usize>(row: &[f32], samples: &mut [f32]) {
    let (groups, rest) = row.as_chunks::<STEP>();
    let (whole, last) = samples.split_at_mut(groups.len().min(samples.len()));
    whole.iter_mut().zip(groups).for_each(|(to, group)| *to = group[0]);
    if let (Some(to), Some(from)) = (last.first_mut(), rest.first()) {
        *to = *from;
    }
}

#[inline(always)]
fn add<const FMA: bool>(mut sums: [f32; 4], samples: &[f32; 4], weights: &[f32; 4]) -> [f32; 4] {
    for ((sum, &sample), &weight) in sums.iter_mut().zip(samples).zip(weights) {
        *sum = multiply_add::<FMA>(weight, sample, *sum);
    }
    sums
}

#[inline(always)]
fn total([a, b, c, d]: [f32; 4]) -> f32 {
    (a + b) + (c + d)
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
