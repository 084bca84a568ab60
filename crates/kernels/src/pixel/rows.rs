//! Rows of samples: those of one component picked out of a packed row, and three components' made RGB.
//!
//! Samples are whole numbers, 128 a code, all the way; every CPU computes the same ones.

use super::convert::Affine;
use super::vertical::SAMPLE;
use crate::int8::Kernel;
use crate::int8::versions::versions;

versions! {
    /// Every `step`-th sample from the first on.
    fn pick(row: &[i16], step: usize, samples: &mut [i16]) {
        match step {
            1 => {
                let count = row.len().min(samples.len());
                samples[..count].copy_from_slice(&row[..count]);
            }
            2 => pick_every::<2>(row, samples),
            3 => pick_every::<3>(row, samples),
            4 => pick_every::<4>(row, samples),
            _ => {
                for (to, from) in samples.iter_mut().zip(row.iter().step_by(step)) {
                    *to = *from;
                }
            }
        }
    }
}

/// The samples of one component alone: see [`pick`].
pub(super) fn component(kernel: Kernel, row: &[i16], step: usize, samples: &mut [i16]) {
    #[cfg(target_arch = "x86_64")]
    if step == 3 && kernel == Kernel::Avx512Vnni {
        // SAFETY: a kernel is only chosen on a CPU that has it.
        return unsafe { x86::pick_third(row, samples) };
    }
    pick(kernel, row, step, samples);
}

#[inline(always)]
fn pick_every<const STEP: usize>(row: &[i16], samples: &mut [i16]) {
    let (groups, rest) = row.as_chunks::<STEP>();
    let (whole, last) = samples.split_at_mut(groups.len().min(samples.len()));
    for (to, group) in whole.iter_mut().zip(groups) {
        *to = group[0];
    }
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

    /// Whether R, G and B are the samples, rounded.
    #[cfg(target_arch = "x86_64")]
    pub fn only_rounds(&self) -> bool {
        let [one, half] = [MATRIX_BITS, PRODUCT_BITS - 1].map(|bits| 1 << bits);
        *self == Whole { matrix: [[one, 0, 0], [0, one, 0], [0, 0, one]], offset: [half; 3] }
    }

    /// R, G or B of a pixel, rounded and clamped.
    #[inline(always)]
    fn code(&self, colour: usize, [x, y, z]: [i32; 3]) -> u32 {
        let [a, b, c] = self.matrix[colour];
        let sum = a.wrapping_mul(x).wrapping_add(b.wrapping_mul(y)).wrapping_add(c.wrapping_mul(z));
        (sum.wrapping_add(self.offset[colour]) >> PRODUCT_BITS).clamp(0, 255) as u32
    }
}

versions! {
    /// A row's pixels: RGBX with X zero, rounded and clamped.
    fn colour_row(components: [&[i16]; 3], whole: &Whole, out: &mut [u8]) {
        let [first, second, third] = components;
        for (((out, &x), &y), &z) in out.as_chunks_mut::<4>().0.iter_mut().zip(first).zip(second).zip(third) {
            let sample = [i32::from(x), i32::from(y), i32::from(z)];
            *out = (whole.code(0, sample) | whole.code(1, sample) << 8 | whole.code(2, sample) << 16).to_le_bytes();
        }
    }
}

/// See [`colour_row`].
pub(super) fn colour(kernel: Kernel, components: [&[i16]; 3], whole: &Whole, out: &mut [u8]) {
    colour_row(kernel, components, whole, out);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::pick_every;

    /// Samples that are picked at once, out of three times as many.
    const AT_ONCE: usize = 32;

    /// Sample i of a register of picked ones lies at 3·i of three registers: where to find it in the first two, and where in what was found there
    /// (which stays) and the third.
    static PLACES: [[u16; AT_ONCE]; 2] = places();

    const fn places() -> [[u16; AT_ONCE]; 2] {
        let (mut places, mut i) = ([[0; AT_ONCE]; 2], 0);
        while i < AT_ONCE {
            let at = 3 * i;
            places[0][i] = if at < 2 * AT_ONCE { at as u16 } else { 0 };
            places[1][i] = if at < 2 * AT_ONCE { i as u16 } else { (at - AT_ONCE) as u16 };
            i += 1;
        }
        places
    }

    /// Every third sample from the first on.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn pick_third(row: &[i16], samples: &mut [i16]) {
        let (groups, _) = row.as_chunks::<{ 3 * AT_ONCE }>();
        let (whole, _) = samples.as_chunks_mut::<AT_ONCE>();
        let count = groups.len().min(whole.len());
        // SAFETY: arrays of one and of three registers' size.
        unsafe {
            let [first_two, third] = &PLACES;
            let (first_two, third) =
                (_mm512_loadu_si512(first_two.as_ptr().cast()), _mm512_loadu_si512(third.as_ptr().cast()));
            for (to, from) in whole.iter_mut().zip(groups) {
                let from = from.as_ptr();
                let (a, b, c) = (
                    _mm512_loadu_si512(from.cast()),
                    _mm512_loadu_si512(from.add(AT_ONCE).cast()),
                    _mm512_loadu_si512(from.add(2 * AT_ONCE).cast()),
                );
                let picked = _mm512_permutex2var_epi16(a, first_two, b);
                _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_permutex2var_epi16(picked, third, c));
            }
        }
        pick_every::<3>(&row[3 * AT_ONCE * count..], &mut samples[AT_ONCE * count..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_th_sample_is_picked_by_every_kernel() {
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available()) {
            for step in [1, 2, 3, 4, 5] {
                for length in (0usize..12).chain([95, 96, 97, 191, 192, 193, 288, 1920]) {
                    let row: Vec<i16> = (0..length as i16).collect();
                    for room in [0, 1, length.div_ceil(step) / 2, length.div_ceil(step), length + 3] {
                        let mut samples = vec![-1; room];
                        component(kernel, &row, step, &mut samples);
                        let mut expected = vec![-1; room];
                        expected.iter_mut().zip(row.iter().step_by(step)).for_each(|(to, from)| *to = *from);
                        assert_eq!(samples, expected, "{kernel}: every {step} of {length}, room for {room}");
                    }
                }
            }
        }
    }
}
