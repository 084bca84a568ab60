//! Rows of packed RGB that need no matrix, with AVX-512: resized as they lie, R, G and B of a pixel side by side, and never picked apart.
//!
//! The same bytes as [`super::horizontal`] and [`super::rows`] make, component by component. Only where 16 outputs see few enough samples for a permute:
//! where a row shrinks to less than about a third, components must be alone.

use std::arch::x86_64::*;

use super::blocks::Blocks;
use super::horizontal::{Horizontal, SEEN, Table};
use super::taps::Taps;
use super::vertical::SAMPLE;
use crate::int8::Kernel;

/// Components of a pixel.
const PARTS: usize = 3;
/// Pixels that become bytes at once, and the bytes.
const PIXELS: usize = 8;
const BYTES: usize = 4 * PIXELS;

/// The horizontal resize of all three components.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    blocks: Blocks,
    /// Samples with a weight somewhere.
    used: usize,
    /// The resized row, and room for what is read behind it.
    row: Vec<i16>,
}

impl Packed {
    /// `taps`, of each component, start at pixel 0 of what [`Packed::run`] is given. `None` where components must be alone.
    pub fn new(taps: &Taps, kernel: Kernel) -> Option<Packed> {
        if kernel != Kernel::Avx512Vnni {
            return None;
        }
        let Table { starts, weights, size } = Table::new(taps);
        let count = PARTS * taps.starts.len();
        // What is too much is the last pixel's again.
        let outputs = (0..Horizontal::room(count)).map(|i| (i.min(count - 1) / PARTS, i % PARTS));
        let starts: Vec<usize> = outputs.clone().map(|(pixel, part)| PARTS * starts[pixel] + part).collect();
        let weights: Vec<i16> = outputs.flat_map(|(pixel, _)| &weights[pixel * size..][..size]).copied().collect();
        let blocks = Blocks::new(&starts, &weights, size, taps.size, PARTS)?;
        let row = vec![0; blocks.outputs() + BYTES];
        Some(Packed { blocks, used: PARTS * taps.used().1, row })
    }

    /// How many samples [`Packed::run`] reads; not all have a weight.
    pub fn reads(&self) -> usize {
        self.used + SEEN
    }

    /// A row of samples to RGBX with X zero.
    pub fn run(&mut self, samples: &[i16], out: &mut [u8]) {
        let outputs = self.blocks.outputs();
        assert!(samples.len() >= self.reads() && out.len() / 4 * PARTS <= outputs);
        // SAFETY: samples reach as far as is read; this is only made for CPUs with these instructions.
        unsafe {
            self.blocks.run(samples, &mut self.row[..outputs]);
            spread(&self.row, out);
        }
    }
}

/// Where the sample of each byte lies; that of X doesn't count.
static PLACES: [u16; BYTES] = {
    let (mut places, mut i) = ([0; BYTES], 0);
    while i < BYTES {
        places[i] = (i / 4 * PARTS + i % 4) as u16;
        i += 1;
    }
    places
};

/// Rounds samples to bytes, four to a pixel. From those of the last pixel on, a whole register can be read.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn spread(samples: &[i16], out: &mut [u8]) {
    let half = _mm512_set1_epi16(SAMPLE as i16 / 2);
    // SAFETY: arrays of a register's size, and no more bytes written than `out` has.
    unsafe {
        let places = _mm512_loadu_si512(PLACES.as_ptr().cast());
        for (i, out) in out.chunks_mut(BYTES).enumerate() {
            let samples = &samples[i * PARTS * PIXELS..][..BYTES];
            let lanes =
                _mm512_maskz_permutexvar_epi16(0x7777_7777, places, _mm512_loadu_si512(samples.as_ptr().cast()));
            // At most 255 · 128 + 64, which fits 16 bits.
            let codes =
                _mm512_cvtepi16_epi8(_mm512_srli_epi16::<{ SAMPLE.trailing_zeros() }>(_mm512_add_epi16(lanes, half)));
            // The last chunk may be shorter.
            let there = u32::MAX >> (BYTES - out.len());
            _mm256_mask_storeu_epi8(out.as_mut_ptr().cast(), there, codes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::super::taps::Window;
    use super::*;

    /// Against components alone, by plain code; of rows that see as much as can be, of every number of pairs, of widths with and without a rest.
    #[test]
    fn rows_are_the_bytes_of_their_components_and_nothing_behind_them_is_written() {
        if !Kernel::Avx512Vnni.available() {
            return;
        }
        let shrunk = [
            (640, 256, true),
            (1280, 256, false),
            (21, 6, true),
            (22, 6, true),
            (23, 6, false),
            (20, 1, true),
            (1920, 640, true),
            (1920, 639, false),
        ];
        let small = (1..18).flat_map(|count| [(1, count, true), (5, count, true), (count + 1, count, true)]);
        for (source, count, fits) in shrunk.into_iter().chain(small) {
            for reversed in [false, true] {
                let window = Window { origin: 0.0, span: source as f64, first: 0, end: source };
                let taps = Taps::new(window, count, reversed);
                let packed = Packed::new(&taps, Kernel::Avx512Vnni);
                // The last pixel first, its block may see a little more.
                assert!(packed.is_some() == fits || reversed, "{source} to {count}");
                let Some(mut packed) = packed else { continue };
                let sample =
                    |i: usize| if i.is_multiple_of(7) { 255 * SAMPLE as i16 } else { (i * 7919 % 32_641) as i16 };
                let mut samples: Vec<i16> = (0..PARTS * source).map(sample).collect();
                // What has no weight.
                samples.resize(packed.reads().max(samples.len()), i16::MIN);
                let mut out = vec![7; 4 * count + BYTES];
                packed.run(&samples, &mut out[..4 * count]);
                assert!(out[4 * count..].iter().all(|&byte| byte == 7), "{source} to {count}");
                let plain = Horizontal::new(&taps, Kernel::Portable);
                for part in 0..PARTS {
                    let mut alone = vec![0; plain.reads()];
                    rows::component(Kernel::Portable, &samples[part..PARTS * source], PARTS, &mut alone[..source]);
                    let mut row = vec![0; Horizontal::room(count)];
                    plain.run(&alone, &mut row);
                    for (x, pixel) in out[..4 * count].as_chunks::<4>().0.iter().enumerate() {
                        let expected = (i32::from(row[x]) + SAMPLE / 2) / SAMPLE;
                        assert_eq!(i32::from(pixel[part]), expected, "{source} to {count}: {part} of {x}");
                        assert_eq!(pixel[PARTS], 0);
                    }
                }
            }
        }
    }
}
