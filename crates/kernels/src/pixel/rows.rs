//! The inner loops of preparation: bytes to a blended row, resized components to RGB. Plain Rust that the compiler turns into vectors.
//!
//! Samples are whole numbers, 128 a code, all the way; every CPU computes the same ones.

use super::convert::Affine;
use super::taps::Taps;
use crate::int8::Kernel;
use crate::int8::versions::versions;

/// What a blended or resized sample holds of a code.
pub(super) const SAMPLE: i32 = 128;

/// Rows that are added up in one pass.
const ROWS: usize = 4;

/// A vertical resize: by output row its source rows, and how much it takes of each in two parts of 16 bits: 256ths, and what these lack, in
/// parts of 256·2^[`Down::fine`]. Vectors multiply and add 16 bits as fast as it gets, and neither sum can leave them.
#[derive(Debug, Clone)]
pub(super) struct Down {
    rows: Vec<DownRow>,
    fine: u32,
    /// Sums of the passes before the last one.
    coarse_sums: Vec<u16>,
    fine_sums: Vec<u16>,
}

#[derive(Debug, Clone)]
struct DownRow {
    start: usize,
    coarse: Vec<u16>,
    fine: Vec<u16>,
}

impl Down {
    /// For rows of up to `width` bytes.
    pub fn new(taps: &Taps, width: usize) -> Down {
        // Of the fine sum 255 · taps · (2ᶠ − 1) must fit: 4 bits to a scale of 8, fewer for more.
        let fine = (0..=4).rev().find(|fine| taps.size * ((1 << fine) - 1) <= 257).unwrap_or(0);
        let row = |i: usize| {
            let parts = taps.parts(i, 256 << fine);
            let used = |part: &u16| *part > 0;
            let first = parts.iter().position(used).unwrap_or(0);
            let end = parts.iter().rposition(used).map_or(1, |last| last + 1);
            let parts = &parts[first..end];
            DownRow {
                start: taps.starts[i] + first,
                coarse: parts.iter().map(|part| part >> fine).collect(),
                fine: parts.iter().map(|part| part & ((1 << fine) - 1)).collect(),
            }
        };
        let rows = (0..taps.starts.len()).map(row).collect();
        Down { rows, fine, coarse_sums: vec![0; width], fine_sums: vec![0; width] }
    }

    /// Output row `y` of a plane, blind to how a row is packed. `plane` begins at the first byte wanted of its first row; `out.len()` bytes are
    /// taken of each.
    pub fn run(&mut self, kernel: Kernel, y: usize, plane: &[u8], stride: usize, out: &mut [i16]) {
        let Down { rows, fine, coarse_sums, fine_sums } = self;
        let Some(row) = rows.get(y) else { return };
        down(kernel, row, *fine, plane, stride, coarse_sums, fine_sums, out);
    }
}

versions! {
    /// See [`Down::run`].
    fn down(
        row: &DownRow,
        fine: u32,
        plane: &[u8],
        stride: usize,
        coarse_sums: &mut [u16],
        fine_sums: &mut [u16],
        out: &mut [i16],
    ) {
        let count = row.coarse.len();
        for first in (0..count).step_by(ROWS) {
            let pass = Pass {
                rows: std::array::from_fn(|k| {
                    let at = row.start + (first + k).min(count - 1);
                    &plane[at * stride..][..out.len()]
                }),
                coarse: std::array::from_fn(|k| row.coarse.get(first + k).copied().unwrap_or(0)),
                fine: std::array::from_fn(|k| row.fine.get(first + k).copied().unwrap_or(0)),
            };
            let (coarse_sums, fine_sums) = (&mut coarse_sums[..out.len()], &mut fine_sums[..out.len()]);
            match (first == 0, first + ROWS >= count) {
                (true, true) if count == 1 => pass.run::<1, true, true>(fine, coarse_sums, fine_sums, out),
                (true, true) if count == 2 => pass.run::<2, true, true>(fine, coarse_sums, fine_sums, out),
                (true, true) => pass.run::<ROWS, true, true>(fine, coarse_sums, fine_sums, out),
                (true, false) => pass.run::<ROWS, true, false>(fine, coarse_sums, fine_sums, out),
                (false, true) => pass.run::<ROWS, false, true>(fine, coarse_sums, fine_sums, out),
                (false, false) => pass.run::<ROWS, false, false>(fine, coarse_sums, fine_sums, out),
            }
        }
    }
}

/// Up to [`ROWS`] rows and their weights; those that are too many have no weight.
struct Pass<'a> {
    rows: [&'a [u8]; ROWS],
    coarse: [u16; ROWS],
    fine: [u16; ROWS],
}

impl Pass<'_> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "three arrays side by side, the first COUNT of each")]
    fn run<const COUNT: usize, const FIRST: bool, const LAST: bool>(
        &self,
        fine: u32,
        coarse_sums: &mut [u16],
        fine_sums: &mut [u16],
        out: &mut [i16],
    ) {
        let [a, b, c, d] = self.rows;
        let bytes = a.iter().zip(b).zip(c).zip(d);
        let half = (1u16 << fine) >> 1;
        for ((((((a, b), c), d), coarse_sum), fine_sum), out) in bytes.zip(coarse_sums).zip(fine_sums).zip(out) {
            let bytes = [a, b, c, d].map(|byte| u16::from(*byte));
            let (mut coarse, mut lesser) = if FIRST { (0, 0) } else { (*coarse_sum, *fine_sum) };
            for k in 0..COUNT {
                coarse = bytes[k].wrapping_mul(self.coarse[k]).wrapping_add(coarse);
                lesser = bytes[k].wrapping_mul(self.fine[k]).wrapping_add(lesser);
            }
            if LAST {
                // 256 a code, at most 255 codes; and halved, rounded.
                let sum = coarse.wrapping_add(lesser.wrapping_add(half) >> fine);
                *out = ((sum >> 1) + (sum & 1)) as i16;
            } else {
                (*coarse_sum, *fine_sum) = (coarse, lesser);
            }
        }
    }
}

versions! {
    /// Every `step`-th sample from the first on.
    fn pick(row: &[i16], step: usize, samples: &mut [i16]) {
        match step {
            1 => samples.iter_mut().zip(row).for_each(|(to, from)| *to = *from),
            2 => pick_every::<2>(row, samples),
            3 => pick_every::<3>(row, samples),
            4 => pick_every::<4>(row, samples),
            _ => samples.iter_mut().zip(row.iter().step_by(step)).for_each(|(to, from)| *to = *from),
        }
    }
}

/// The samples of one component alone: see [`pick`].
pub(super) fn component(kernel: Kernel, row: &[i16], step: usize, samples: &mut [i16]) {
    pick(kernel, row, step, samples);
}

#[inline(always)]
fn pick_every<const STEP: usize>(row: &[i16], samples: &mut [i16]) {
    let (groups, rest) = row.as_chunks::<STEP>();
    let (whole, last) = samples.split_at_mut(groups.len().min(samples.len()));
    whole.iter_mut().zip(groups).for_each(|(to, group)| *to = group[0]);
    if let (Some(to), Some(from)) = (last.first_mut(), rest.first()) {
        *to = *from;
    }
}

/// `2¹³` times the matrix from samples to RGB in 0…255, and half of what is shifted away with the offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Whole {
    matrix: [[i32; 3]; 3],
    offset: [i32; 3],
}

/// Bits behind the point of a matrix' numbers, and of their products with samples.
const MATRIX_BITS: u32 = 13;
const PRODUCT_BITS: u32 = MATRIX_BITS + SAMPLE.trailing_zeros();

impl Whole {
    /// Coefficients are below 2.2 and samples below 2¹⁵: no sum of three products and an offset leaves 32 bits.
    pub fn new(affine: &Affine) -> Whole {
        let round = |number: f64, bits: u32| (number * f64::from(1u32 << bits)).round() as i32;
        let matrix = affine.matrix.map(|row| row.map(|number| round(number * 255.0, MATRIX_BITS)));
        let offset = affine.offset.map(|number| round(number * 255.0, PRODUCT_BITS) + (1 << (PRODUCT_BITS - 1)));
        Whole { matrix, offset }
    }
}

versions! {
    /// A row's pixels: `R G B 0`, rounded and clamped.
    fn colour_row(components: [&[i16]; 3], whole: &Whole, out: &mut [u8]) {
        let [r, g, b] = whole.matrix;
        let offset = whole.offset;
        let [first, second, third] = components;
        for (((out, &x), &y), &z) in out.as_chunks_mut::<4>().0.iter_mut().zip(first).zip(second).zip(third) {
            let (x, y, z) = (i32::from(x), i32::from(y), i32::from(z));
            let code = |[a, b, c]: [i32; 3], offset: i32| {
                let sum = a.wrapping_mul(x).wrapping_add(b.wrapping_mul(y)).wrapping_add(c.wrapping_mul(z)).wrapping_add(offset);
                (sum >> PRODUCT_BITS).clamp(0, 255) as u32
            };
            *out = (code(r, offset[0]) | code(g, offset[1]) << 8 | code(b, offset[2]) << 16).to_le_bytes();
        }
    }
}

/// See [`colour_row`].
pub(super) fn colour(kernel: Kernel, components: [&[i16]; 3], whole: &Whole, out: &mut [u8]) {
    colour_row(kernel, components, whole, out);
}
