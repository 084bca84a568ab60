//! Rows of packed RGB that need no matrix, with AVX-512: resized as they lie, R, G and B of a pixel side by side, and never picked apart.
//!
//! The same bytes as [`super::horizontal`] and [`super::rows`] make, component by component. Only where 16 outputs see few enough samples for a permute:
//! where a row shrinks to a third or less, components must be alone.

use std::arch::x86_64::*;

use super::blocks::Blocks;
use super::horizontal::{Horizontal, SEEN};
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
        let each = Horizontal::new(taps, kernel);
        let blocks = each.packed(PARTS, taps)?;
        let row = vec![0; blocks.outputs() + BYTES];
        Some(Packed { blocks, used: PARTS * each.used(), row })
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

/// Rounds samples to bytes, four to a pixel. Behind the last pixel's there is room for a register.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn spread(samples: &[i16], out: &mut [u8]) {
    let half = _mm512_set1_epi16(SAMPLE as i16 / 2);
    // SAFETY: arrays of a register's size, and no more bytes written than `out` has.
    unsafe {
        let places = _mm512_loadu_si512(PLACES.as_ptr().cast());
        for (i, out) in out.chunks_mut(BYTES).enumerate() {
            let Some(samples) = samples[i * PARTS * PIXELS..].first_chunk::<BYTES>() else { return };
            let lanes =
                _mm512_maskz_permutexvar_epi16(0x7777_7777, places, _mm512_loadu_si512(samples.as_ptr().cast()));
            // From 0 to 255 · 128, and half: no more than 16 bits hold.
            let codes =
                _mm512_cvtepi16_epi8(_mm512_srli_epi16::<{ SAMPLE.trailing_zeros() }>(_mm512_add_epi16(lanes, half)));
            // Fewer of the last ones.
            let there = u32::MAX >> (BYTES - out.len());
            _mm256_mask_storeu_epi8(out.as_mut_ptr().cast(), there, codes);
        }
    }
}
