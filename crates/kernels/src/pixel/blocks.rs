//! The horizontal part of a resize with AVX-512: 16 outputs at once, whose samples, no more than 64, are permuted into the products' order.

use std::arch::x86_64::*;

use super::horizontal::{BLOCK, SEEN, SHIFT};

/// What each block of outputs takes from where.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    /// By block: its first sample.
    bases: Vec<usize>,
    /// Pairs of neighbours an output.
    pairs: usize,
    /// `[block][pair][output][2]`: places behind the block's base, and weights.
    places: Vec<[u16; 2 * BLOCK]>,
    weights: Vec<[i16; 2 * BLOCK]>,
}

impl Blocks {
    /// The number of `starts` is a multiple of [`BLOCK`]; `weights` are `[output][size]`, the first `taps` of them for samples that are `apart` from one
    /// another, with zeros behind, at least up to an even number. `None` where a block sees too much.
    pub fn new(starts: &[usize], weights: &[i16], size: usize, taps: usize, apart: usize) -> Option<Blocks> {
        let pairs = taps.div_ceil(2);
        let mut blocks = Blocks { bases: vec![], pairs, places: vec![], weights: vec![] };
        for (starts, weights) in starts.chunks_exact(BLOCK).zip(weights.chunks_exact(BLOCK * size)) {
            let base = starts.iter().min().copied().unwrap_or(0);
            if starts.iter().any(|start| start - base + apart * (2 * pairs - 1) >= SEEN) {
                return None;
            }
            blocks.bases.push(base);
            for pair in 0..blocks.pairs {
                let (mut places, mut of_pair) = ([0; 2 * BLOCK], [0; 2 * BLOCK]);
                for (i, (&start, weights)) in starts.iter().zip(weights.chunks_exact(size)).enumerate() {
                    for half in 0..2 {
                        places[2 * i + half] = (start - base + apart * (2 * pair + half)) as u16;
                        of_pair[2 * i + half] = weights[2 * pair + half];
                    }
                }
                blocks.places.push(places);
                blocks.weights.push(of_pair);
            }
        }
        Some(blocks)
    }

    /// Output samples of [`Blocks::run`].
    pub fn outputs(&self) -> usize {
        BLOCK * self.bases.len()
    }

    /// # Safety
    /// From each start on there are [`SEEN`] samples, `out` is [`Blocks::outputs`] long, and the CPU has AVX-512 F and BW.
    pub unsafe fn run(&self, samples: &[i16], out: &mut [i16]) {
        // SAFETY: the caller vouches for it, and a base is one of the starts.
        unsafe {
            match self.pairs {
                1 => run::<1>(self, samples, out),
                2 => run::<2>(self, samples, out),
                3 => run::<3>(self, samples, out),
                4 => run::<4>(self, samples, out),
                _ => run::<0>(self, samples, out),
            }
        }
    }
}

/// # Safety
/// As of [`Blocks::run`]; `PAIRS` is the blocks' own number of pairs or 0.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn run<const PAIRS: usize>(blocks: &Blocks, samples: &[i16], out: &mut [i16]) {
    let pairs = if PAIRS > 0 { PAIRS } else { blocks.pairs };
    let (mut places, mut weights) = (blocks.places.as_ptr(), blocks.weights.as_ptr());
    for (out, &base) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(&blocks.bases) {
        // SAFETY: the caller vouches for the samples; there are `pairs` places and weights for each base, arrays of the registers' size.
        unsafe {
            let from = samples.as_ptr().add(base);
            let (low, high) = (_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(SEEN / 2).cast()));
            let mut sum = _mm512_set1_epi32(1 << (SHIFT - 1));
            for _ in 0..pairs {
                let x = _mm512_permutex2var_epi16(low, _mm512_loadu_si512(places.cast()), high);
                let products = _mm512_madd_epi16(x, _mm512_loadu_si512(weights.cast()));
                sum = _mm512_add_epi32(sum, products);
                (places, weights) = (places.add(1), weights.add(1));
            }
            let codes = _mm512_cvtepi32_epi16(_mm512_srai_epi32::<{ SHIFT as u32 }>(sum));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), codes);
        }
    }
}
