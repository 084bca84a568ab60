//! The horizontal part of a resize, of one component's samples: `out[i] = (Σ weights[i][k] · samples[starts[i] + k] + 2¹³) >> 14`.
//!
//! Products of 16 bits, sums of 32: the same on every CPU. Where 16 neighbouring outputs see no more than 64 samples, AVX-512 permutes these into the
//! products' order; elsewhere each output's samples are eight neighbours, as NEON and AVX2 take them.

#![allow(
    clippy::needless_range_loop,
    reason = "several arrays side by side; closures are not always inlined where they must be"
)]

#[cfg(target_arch = "x86_64")]
use super::blocks::Blocks;
use super::taps::Taps;
use crate::int8::Kernel;

/// What an output sample's weights add up to.
const WHOLE: u16 = 1 << SHIFT;
pub(super) const SHIFT: i32 = 14;
/// Output samples are computed in multiples of so many.
pub(super) const BLOCK: usize = 16;
/// Samples that a block of them may see.
pub(super) const SEEN: usize = 64;
/// Neighbours that are multiplied at once.
const EIGHT: usize = 8;

/// One axis' horizontal resize.
#[derive(Debug, Clone)]
pub(super) struct Horizontal {
    kernel: Kernel,
    /// See [`Table`].
    starts: Vec<usize>,
    weights: Vec<i16>,
    taps: usize,
    #[cfg(target_arch = "x86_64")]
    blocks: Option<Blocks>,
    /// Source samples with a weight somewhere.
    used: usize,
}

/// Taps in fixed point.
pub(super) struct Table {
    /// By output sample, up to a multiple of [`BLOCK`], what is too much is the last one again: its first source sample.
    pub starts: Vec<usize>,
    /// `[output sample][size]`, zeros behind the taps.
    pub weights: Vec<i16>,
    /// A multiple of [`EIGHT`].
    pub size: usize,
}

impl Table {
    pub fn new(taps: &Taps) -> Table {
        let count = Horizontal::room(taps.starts.len());
        let size = taps.size.next_multiple_of(EIGHT);
        let mut table = Table { starts: vec![0; count], weights: vec![0; count * size], size };
        for (i, (start, weights)) in table.starts.iter_mut().zip(table.weights.chunks_exact_mut(size)).enumerate() {
            let i = i.min(taps.starts.len() - 1);
            *start = taps.starts[i];
            weights.iter_mut().zip(taps.fixed_point(i, WHOLE)).for_each(|(to, weight)| *to = weight as i16);
        }
        table
    }
}

impl Horizontal {
    /// `taps` start at sample 0 of what [`Horizontal::run`] is given.
    pub fn new(taps: &Taps, kernel: Kernel) -> Horizontal {
        let Table { starts, weights, size } = Table::new(taps);
        Horizontal {
            kernel,
            #[cfg(target_arch = "x86_64")]
            blocks: if kernel == Kernel::Avx512Vnni {
                Blocks::new(&starts, &weights, size, taps.size, 1)
            } else {
                None
            },
            starts,
            weights,
            taps: size,
            used: taps.used().1,
        }
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
        // SAFETY: no start, and so no block's base, lies behind `used`: what is read from there ends within `reads`, which the samples reach. A kernel
        // is only chosen on a CPU that has it, and blocks are only made for AVX-512.
        unsafe {
            match self.kernel {
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx512Vnni | Kernel::Avx2 => match (&self.blocks, self.taps) {
                    (Some(blocks), _) => blocks.run(samples, out),
                    (None, EIGHT) => x86::eights::<1>(self, samples, out),
                    (None, _) => x86::eights::<0>(self, samples, out),
                },
                #[cfg(target_arch = "aarch64")]
                Kernel::Neon | Kernel::NeonDot => match self.taps {
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{EIGHT, Horizontal, SHIFT};

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
