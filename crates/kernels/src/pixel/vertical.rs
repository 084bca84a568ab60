//! The vertical part of a resize, blind to how a row is packed: `out[x] = Σ weights[k] · rows[k][x]`, whole numbers, the same on every CPU.
//!
//! Weights are whole parts of 256·2ᶠ and split in two, so that bytes are multiplied and added in 16 bits, which is as fast as it gets, and no sum
//! leaves them. How they are split is each loop's own matter: both parts together are the exact sum, which is rounded once to [`SAMPLE`] a code.

use super::taps::Taps;
use crate::int8::Kernel;
use crate::int8::versions::versions;

/// What a blended or resized sample holds of a code.
pub(super) const SAMPLE: i32 = 128;

/// Rows that are added up in one pass.
const ROWS: usize = 4;

/// A vertical resize.
#[derive(Debug, Clone)]
pub(super) struct Vertical {
    rows: Vec<Row>,
    /// f: weights are parts of 256·2ᶠ.
    fine: u32,
    /// Sums of the passes before the last one.
    coarse_sums: Vec<u16>,
    fine_sums: Vec<u16>,
}

/// What an output row is made of.
#[derive(Debug, Clone)]
struct Row {
    start: usize,
    /// How much it takes of each source row from the first on: 256ths, and what these lack.
    coarse: Vec<u16>,
    fine: Vec<u16>,
    /// The same for two neighbouring rows at once, where there are two and a CPU multiplies so.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for x86's pairs of bytes"))]
    pairs: Vec<Pair>,
}

/// The weights of two neighbouring rows in 128ths and in what these lack, at most 127 and 31: bytes, the upper row's lowest, twice.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for x86's pairs of bytes"))]
struct Pair {
    coarse: i32,
    fine: i32,
}

impl Pair {
    fn new(upper: u16, lower: u16, fine: u32) -> Pair {
        let twice = |upper: u16, lower: u16| (i32::from(upper) | i32::from(lower) << 8) * 0x1_0001;
        let (shift, mask) = (fine + 1, (2 << fine) - 1);
        Pair { coarse: twice(upper >> shift, lower >> shift), fine: twice(upper & mask, lower & mask) }
    }
}

impl Vertical {
    /// For rows of up to `width` bytes.
    pub fn new(taps: &Taps, width: usize) -> Vertical {
        // Of the fine sum 255 · taps · (2ᶠ − 1) must fit: 4 bits to a scale of 8, fewer for more.
        let fine = (0..=4).rev().find(|fine| taps.size * ((1 << fine) - 1) <= 257).unwrap_or(0);
        let row = |i: usize| {
            let weights = taps.fixed_point(i, 256 << fine);
            let used = |weight: &u16| *weight > 0;
            let first = weights.iter().position(used).unwrap_or(0);
            let end = weights.iter().rposition(used).map_or(1, |last| last + 1);
            let weights = &weights[first..end];
            // Of one row alone the weight is 1, which is no byte.
            let pairs = if weights.len() > 1 { weights.chunks(2) } else { [].chunks(2) };
            Row {
                start: taps.starts[i] + first,
                coarse: weights.iter().map(|weight| weight >> fine).collect(),
                fine: weights.iter().map(|weight| weight & ((1 << fine) - 1)).collect(),
                pairs: pairs.map(|pair| Pair::new(pair[0], pair.get(1).copied().unwrap_or(0), fine)).collect(),
            }
        };
        let rows = (0..taps.starts.len()).map(row).collect();
        Vertical { rows, fine, coarse_sums: vec![0; width], fine_sums: vec![0; width] }
    }

    /// Output row `y` of a plane. `plane` begins at the first byte wanted of its first row; `out.len()` bytes are taken of each.
    pub fn run(&mut self, kernel: Kernel, y: usize, plane: &[u8], stride: usize, out: &mut [i16]) {
        let Vertical { rows, fine, coarse_sums, fine_sums } = self;
        let Some(row) = rows.get(y) else { return };
        #[cfg(target_arch = "x86_64")]
        if x86::run(kernel, row, *fine, plane, stride, out) {
            return;
        }
        add_up(kernel, row, *fine, plane, stride, coarse_sums, fine_sums, out);
    }
}

versions! {
    /// See [`Vertical::run`].
    fn add_up(
        row: &Row,
        fine: u32,
        plane: &[u8],
        stride: usize,
        coarse_sums: &mut [u16],
        fine_sums: &mut [u16],
        out: &mut [i16],
    ) {
        let count = row.coarse.len();
        for first in (0..count).step_by(ROWS) {
            let mut pass = Pass { rows: [&[]; ROWS], coarse: [0; ROWS], fine: [0; ROWS] };
            for k in 0..ROWS {
                let at = first + k;
                pass.rows[k] = &plane[(row.start + at.min(count - 1)) * stride..][..out.len()];
                if at < count {
                    (pass.coarse[k], pass.fine[k]) = (row.coarse[at], row.fine[at]);
                }
            }
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
            let bytes = [u16::from(*a), u16::from(*b), u16::from(*c), u16::from(*d)];
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

/// Two rows at once: bytes of the upper and the lower side by side, each pair multiplied and added by one instruction.
///
/// A pair of coarse weights is at most 128 and one of fine weights 62: no sum of two products saturates. Coarse sums are at most 128 · 255; fine sums
/// of eight rows, 8 · 31 · 255 and less than a coarse unit, fit as well, and are carried over before more are added.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Kernel, Row};

    /// Pairs after which the fine sums are carried over.
    const CARRY: usize = 4;

    /// Rows behind the last one that are asked for before the next output row wants them. Another core has just written the picture, row behind row,
    /// and columns of registers are no order that a CPU foresees.
    const AHEAD: usize = 4;

    /// Whether it is done: rows must be as long as a register.
    pub(super) fn run(kernel: Kernel, row: &Row, fine: u32, plane: &[u8], stride: usize, out: &mut [i16]) -> bool {
        let (count, length) = (row.coarse.len(), out.len());
        let first = row.start.checked_mul(stride).and_then(|start| plane.get(start..));
        let Some(plane) =
            first.filter(|plane| (count - 1).checked_mul(stride).is_some_and(|last| plane.len() >= last + length))
        else {
            return false;
        };
        if row.pairs.is_empty() {
            return false;
        }
        // SAFETY: `plane` holds `length` bytes of each of `count` rows; rows are as long as the registers; a kernel is only chosen on a CPU that has it.
        unsafe {
            match kernel {
                Kernel::Avx512Vnni if length >= 64 => match row.pairs.len() {
                    1 => zmm::<1>(row, fine, plane, stride, out),
                    2 => zmm::<2>(row, fine, plane, stride, out),
                    3 => zmm::<3>(row, fine, plane, stride, out),
                    4 => zmm::<4>(row, fine, plane, stride, out),
                    _ => zmm::<0>(row, fine, plane, stride, out),
                },
                Kernel::Avx512Vnni | Kernel::Avx2 if length >= 32 => match row.pairs.len() {
                    1 => ymm::<1>(row, fine, plane, stride, out),
                    2 => ymm::<2>(row, fine, plane, stride, out),
                    3 => ymm::<3>(row, fine, plane, stride, out),
                    4 => ymm::<4>(row, fine, plane, stride, out),
                    _ => ymm::<0>(row, fine, plane, stride, out),
                },
                _ => return false,
            }
        }
        true
    }

    /// The loop for registers of one width: the intrinsics' names differ, and how two registers' halves are put in order.
    macro_rules! pairs {
        ($name:ident, $features:literal, $bytes:literal, $load:ident, $store:ident, $zero:ident, $set32:ident, $set16:ident, $low:ident, $high:ident,
         $products:ident, $add:ident, $and:ident, $right:ident, $average:ident, |$a:ident, $b:ident| $order:expr) => {
            /// # Safety
            /// `plane` begins with the first row, and the last ends within it; `out` is as long as a register or longer; `PAIRS` is the row's own
            /// number of pairs or 0; the CPU has the features.
            #[target_feature(enable = $features)]
            unsafe fn $name<const PAIRS: usize>(row: &Row, fine: u32, plane: &[u8], stride: usize, out: &mut [i16]) {
                let bits = _mm_cvtsi32_si128(fine as i32);
                let unit = _mm_cvtsi32_si128(fine as i32 + 1);
                let below = $set16((2 << fine) - 1);
                let half = $set16((1 << fine) >> 1);
                // Those of a pair that lacks one are the same row, once without a weight.
                let last_step = if row.coarse.len() % 2 == 1 { 0 } else { stride };
                let count = if PAIRS > 0 { PAIRS } else { row.pairs.len() };
                let mut weights = [($zero(), $zero()); PAIRS];
                for (weights, pair) in weights.iter_mut().zip(&row.pairs) {
                    *weights = ($set32(pair.coarse), $set32(pair.fine));
                }
                for at in (0..out.len()).step_by($bytes) {
                    // The last one overlaps: what it computes again is the same.
                    let at = at.min(out.len() - $bytes);
                    let (mut coarse_low, mut coarse_high) = ($zero(), $zero());
                    let (mut fine_low, mut fine_high) = ($zero(), $zero());
                    // SAFETY: the caller vouches for the rows.
                    unsafe {
                        let mut upper = plane.as_ptr().add(at);
                        for n in 0..count {
                            let lower = upper.add(if n + 1 == count { last_step } else { stride });
                            let (a, b) = ($load(upper.cast()), $load(lower.cast()));
                            let (low, high) = ($low(a, b), $high(a, b));
                            let (coarse, fine) = if PAIRS > 0 {
                                weights[n]
                            } else {
                                ($set32(row.pairs[n].coarse), $set32(row.pairs[n].fine))
                            };
                            coarse_low = $add(coarse_low, $products(low, coarse));
                            coarse_high = $add(coarse_high, $products(high, coarse));
                            fine_low = $add(fine_low, $products(low, fine));
                            fine_high = $add(fine_high, $products(high, fine));
                            if n % CARRY == CARRY - 1 && n + 1 < count {
                                coarse_low = $add(coarse_low, $right(fine_low, unit));
                                coarse_high = $add(coarse_high, $right(fine_high, unit));
                                fine_low = $and(fine_low, below);
                                fine_high = $and(fine_high, below);
                            }
                            // One past the last pair at most, and then not read.
                            upper = upper.wrapping_add(2 * stride);
                        }
                        for _ in 0..AHEAD {
                            // Whatever is there: nothing is read.
                            _mm_prefetch::<_MM_HINT_T0>(upper.cast());
                            upper = upper.wrapping_add(stride);
                        }
                        let $a =
                            $average($add($add(coarse_low, coarse_low), $right($add(fine_low, half), bits)), $zero());
                        let $b = $average(
                            $add($add(coarse_high, coarse_high), $right($add(fine_high, half), bits)),
                            $zero(),
                        );
                        let (first, second) = $order;
                        let to = out.as_mut_ptr().add(at);
                        $store(to.cast(), first);
                        $store(to.add($bytes / 2).cast(), second);
                    }
                }
            }
        };
    }

    pairs!(
        zmm,
        "avx512f,avx512bw",
        64,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_setzero_si512,
        _mm512_set1_epi32,
        _mm512_set1_epi16,
        _mm512_unpacklo_epi8,
        _mm512_unpackhi_epi8,
        _mm512_maddubs_epi16,
        _mm512_add_epi16,
        _mm512_and_si512,
        _mm512_srl_epi16,
        _mm512_avg_epu16,
        |low, high| {
            let (first, second) =
                (_mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15));
            (_mm512_permutex2var_epi64(low, first, high), _mm512_permutex2var_epi64(low, second, high))
        }
    );
    pairs!(
        ymm,
        "avx2",
        32,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_setzero_si256,
        _mm256_set1_epi32,
        _mm256_set1_epi16,
        _mm256_unpacklo_epi8,
        _mm256_unpackhi_epi8,
        _mm256_maddubs_epi16,
        _mm256_add_epi16,
        _mm256_and_si256,
        _mm256_srl_epi16,
        _mm256_avg_epu16,
        |low, high| (_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high))
    );
}

#[cfg(test)]
mod tests {
    use super::super::taps::Window;
    use super::*;

    /// Against the definition, in whole numbers that no loop splits: of as many rows as any of them takes at once, more and fewer, of rows shorter
    /// and longer than registers, and of the brightest, whose sums are the greatest.
    #[test]
    fn every_kernel_adds_up_the_same_whole_numbers() {
        for (source, count) in [(3, 3), (5, 4), (7, 4), (9, 3), (30, 8), (31, 4), (77, 9), (100, 3), (300, 2), (600, 1)]
        {
            let taps = Taps::new(Window { origin: 0.0, span: source as f64, first: 0, end: source }, count, false);
            for width in [1, 31, 32, 33, 63, 64, 65, 100, 127, 200] {
                let stride = width + 3;
                for bright in [false, true] {
                    let byte = |i: usize| if bright { 255 } else { (i * 167 + i / 5) as u8 };
                    let plane: Vec<u8> = (0..source * stride - 3).map(byte).collect();
                    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available()) {
                        let mut vertical = Vertical::new(&taps, width);
                        let whole = 256u16 << vertical.fine;
                        for y in 0..count {
                            let mut out = vec![-1; width];
                            vertical.run(kernel, y, &plane, stride, &mut out);
                            let weights = taps.fixed_point(y, whole);
                            for (x, out) in out.into_iter().enumerate() {
                                let pixel = |k: usize| i64::from(plane[(taps.starts[y] + k) * stride + x]);
                                let sum: i64 = weights.iter().enumerate().map(|(k, &w)| i64::from(w) * pixel(k)).sum();
                                let of_256 = (sum + i64::from(whole / 512)) / (i64::from(whole) / 256);
                                assert_eq!(
                                    i64::from(out),
                                    (of_256 + 1) / 2,
                                    "{kernel}: {source} to {count}, {width}: {x}, {y}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
