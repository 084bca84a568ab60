//! The horizontal part of a resize, of one component's samples: `out[i] = (Σ weights[i][k] · samples[starts[i] + k] + 2¹³) >> 14`.
//!
//! Products of 16 bits, sums of 32: the same on every CPU. Where 16 neighbouring outputs see no more than 64 samples, AVX-512 permutes these into the
//! products' order; elsewhere each output's samples are eight neighbours, as NEON and AVX2 take them.

#![allow(
    clippy::needless_range_loop,
    reason = "several arrays side by side; closures are not always inlined where they must be"
)]

use super::taps::Taps;
use crate::int8::Kernel;

/// What an output sample's weights add up to.
const WHOLE: u16 = 1 << SHIFT;
const SHIFT: i32 = 14;
/// Output samples are computed in multiples of so many.
const BLOCK: usize = 16;
/// Samples that a block may see.
const SEEN: usize = 64;
/// Neighbours that are multiplied at once.
const EIGHT: usize = 8;

/// One axis' horizontal resize.
#[derive(Debug, Clone)]
pub(super) struct Horizontal {
    kernel: Kernel,
    /// By output sample, up to a multiple of [`BLOCK`]: its first source sample.
    starts: Vec<usize>,
    /// `[output sample][taps]`; zeros fill up to a multiple of [`EIGHT`].
    weights: Vec<i16>,
    taps: usize,
    blocks: Option<Blocks>,
    /// Source samples with a weight somewhere.
    used: usize,
}

/// For AVX-512: what each block of outputs takes from where.
#[derive(Debug, Clone)]
struct Blocks {
    bases: Vec<usize>,
    /// Pairs of neighbours an output.
    pairs: usize,
    /// `[block][pair][output][2]`: places behind the block's base, and weights.
    places: Vec<[u16; 2 * BLOCK]>,
    weights: Vec<[i16; 2 * BLOCK]>,
}

impl Horizontal {
    /// `taps` start at sample 0 of what [`Horizontal::run`] is given.
    pub fn new(taps: &Taps, kernel: Kernel) -> Horizontal {
        let count = Horizontal::room(taps.starts.len());
        let size = taps.size.next_multiple_of(EIGHT);
        let mut weights = vec![0; count * size];
        let mut starts = vec![0; count];
        for (i, (start, weights)) in starts.iter_mut().zip(weights.chunks_exact_mut(size)).enumerate() {
            // What is too much is the last one again.
            let i = i.min(taps.starts.len() - 1);
            *start = taps.starts[i];
            weights.iter_mut().zip(taps.fixed_point(i, WHOLE)).for_each(|(to, weight)| *to = weight as i16);
        }
        let blocks = (kernel == Kernel::Avx512Vnni).then(|| Blocks::new(&starts, &weights, size, taps.size)).flatten();
        Horizontal { kernel, starts, weights, taps: size, blocks, used: taps.used().1 }
    }

    /// Output samples that `count` are computed as.
    pub fn room(count: usize) -> usize {
        count.next_multiple_of(BLOCK)
    }

    /// How many samples [`Horizontal::run`] reads; those from [`Horizontal::used`] on have no weight.
    pub fn reads(&self) -> usize {
        self.used + self.taps.max(SEEN)
    }

    /// How many samples count.
    pub fn used(&self) -> usize {
        self.used
    }

    /// `samples` are [`Horizontal::reads`], `out` is as long as [`Horizontal::room`] says.
    #[allow(unused_unsafe, reason = "32-bit ARM has the plain way alone")]
    pub fn run(&self, samples: &[i16], out: &mut [i16]) {
        assert!(samples.len() >= self.reads() && out.len() == self.starts.len());
        // SAFETY: no start lies behind `used`, and a base at none of its block's starts: what is read from there ends within `reads`, which the
        // samples reach. A kernel is only chosen on a CPU that has it.
        unsafe {
            match (self.kernel, &self.blocks) {
                #[cfg(target_arch = "x86_64")]
                (Kernel::Avx512Vnni, Some(blocks)) => match blocks.pairs {
                    1 => x86::blocks::<1>(blocks, samples, out),
                    2 => x86::blocks::<2>(blocks, samples, out),
                    3 => x86::blocks::<3>(blocks, samples, out),
                    4 => x86::blocks::<4>(blocks, samples, out),
                    _ => x86::blocks::<0>(blocks, samples, out),
                },
                #[cfg(target_arch = "x86_64")]
                (Kernel::Avx512Vnni | Kernel::Avx2, _) => match self.taps {
                    EIGHT => x86::eights::<1>(self, samples, out),
                    _ => x86::eights::<0>(self, samples, out),
                },
                #[cfg(target_arch = "aarch64")]
                (Kernel::Neon | Kernel::NeonDot, _) => match self.taps {
                    EIGHT => neon::eights::<1>(self, samples, out),
                    _ => neon::eights::<0>(self, samples, out),
                },
                _ => self.plain(samples, out),
            }
        }
    }

    fn plain(&self, samples: &[i16], out: &mut [i16]) {
        for ((out, &start), weights) in out.iter_mut().zip(&self.starts).zip(self.weights.chunks_exact(self.taps)) {
            let products = samples[start..].iter().zip(weights).map(|(&x, &weight)| i32::from(x) * i32::from(weight));
            *out = ((products.sum::<i32>() + (1 << (SHIFT - 1))) >> SHIFT) as i16;
        }
    }
}

impl Blocks {
    /// `None` where a block sees too much.
    fn new(starts: &[usize], weights: &[i16], size: usize, taps: usize) -> Option<Blocks> {
        let pairs = taps.div_ceil(2);
        let mut blocks = Blocks { bases: vec![], pairs, places: vec![], weights: vec![] };
        for (starts, weights) in starts.chunks_exact(BLOCK).zip(weights.chunks_exact(BLOCK * size)) {
            let base = starts.iter().min().copied().unwrap_or(0);
            if starts.iter().any(|start| start - base + 2 * pairs > SEEN) {
                return None;
            }
            blocks.bases.push(base);
            for pair in 0..blocks.pairs {
                let (mut places, mut of_pair) = ([0; 2 * BLOCK], [0; 2 * BLOCK]);
                for (i, (&start, weights)) in starts.iter().zip(weights.chunks_exact(size)).enumerate() {
                    for half in 0..2 {
                        places[2 * i + half] = (start - base + 2 * pair + half) as u16;
                        of_pair[2 * i + half] = weights[2 * pair + half];
                    }
                }
                blocks.places.push(places);
                blocks.weights.push(of_pair);
            }
        }
        Some(blocks)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK, Blocks, EIGHT, Horizontal, SHIFT};

    /// # Safety
    /// From each base on there are 64 samples; `out` has a block for each base; `PAIRS` is the blocks' own number of pairs or 0.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) unsafe fn blocks<const PAIRS: usize>(blocks: &Blocks, samples: &[i16], out: &mut [i16]) {
        let pairs = if PAIRS > 0 { PAIRS } else { blocks.pairs };
        let (mut places, mut weights) = (blocks.places.as_ptr(), blocks.weights.as_ptr());
        for (out, &base) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(&blocks.bases) {
            // SAFETY: the caller vouches for the samples; there are `pairs` places and weights for each base, arrays of the registers' size.
            unsafe {
                let from = samples.as_ptr().add(base);
                let (low, high) = (_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(32).cast()));
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

    /// # Safety
    /// From each start on there are as many samples as weights, which are `EIGHTS` times eight where that is not 0.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn eights<const EIGHTS: usize>(horizontal: &Horizontal, samples: &[i16], out: &mut [i16]) {
        let weights = horizontal.weights.chunks_exact(4 * horizontal.taps);
        for ((out, starts), weights) in
            out.as_chunks_mut::<4>().0.iter_mut().zip(horizontal.starts.as_chunks::<4>().0).zip(weights)
        {
            // SAFETY: the caller vouches for the samples; weights are `taps` for each of four outputs, a multiple of eight.
            unsafe {
                let mut sums = [_mm_setzero_si128(); 4];
                for i in 0..4 {
                    let (from, weights) = (samples.as_ptr().add(starts[i]), weights.as_ptr().add(i * horizontal.taps));
                    for at in 0..if EIGHTS > 0 { EIGHTS } else { horizontal.taps / EIGHT } {
                        let at = at * EIGHT;
                        let (x, w) = (_mm_loadu_si128(from.add(at).cast()), _mm_loadu_si128(weights.add(at).cast()));
                        sums[i] = _mm_add_epi32(sums[i], _mm_madd_epi16(x, w));
                    }
                }
                let sum = _mm_hadd_epi32(_mm_hadd_epi32(sums[0], sums[1]), _mm_hadd_epi32(sums[2], sums[3]));
                let sum = _mm_srai_epi32::<SHIFT>(_mm_add_epi32(sum, _mm_set1_epi32(1 << (SHIFT - 1))));
                _mm_storel_epi64(out.as_mut_ptr().cast(), _mm_packs_epi32(sum, sum));
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::{EIGHT, Horizontal, SHIFT};

    /// # Safety
    /// From each start on there are as many samples as weights, which are `EIGHTS` times eight where that is not 0.
    pub(super) unsafe fn eights<const EIGHTS: usize>(horizontal: &Horizontal, samples: &[i16], out: &mut [i16]) {
        let weights = horizontal.weights.chunks_exact(4 * horizontal.taps);
        for ((out, starts), weights) in
            out.as_chunks_mut::<4>().0.iter_mut().zip(horizontal.starts.as_chunks::<4>().0).zip(weights)
        {
            // SAFETY: the caller vouches for the samples; weights are `taps` for each of four outputs, a multiple of eight.
            unsafe {
                let mut sums = [vdupq_n_s32(0); 4];
                for i in 0..4 {
                    let (from, weights) = (samples.as_ptr().add(starts[i]), weights.as_ptr().add(i * horizontal.taps));
                    for at in 0..if EIGHTS > 0 { EIGHTS } else { horizontal.taps / EIGHT } {
                        let at = at * EIGHT;
                        let (x, w) = (vld1q_s16(from.add(at)), vld1q_s16(weights.add(at)));
                        sums[i] = vmlal_s16(sums[i], vget_low_s16(x), vget_low_s16(w));
                        sums[i] = vmlal_high_s16(sums[i], x, w);
                    }
                }
                let sum = vpaddq_s32(vpaddq_s32(sums[0], sums[1]), vpaddq_s32(sums[2], sums[3]));
                vst1_s16(out.as_mut_ptr(), vrshrn_n_s32::<SHIFT>(sum));
            }
        }
    }
}
