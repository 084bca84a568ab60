//! Addition of two tensors of codes, in the arithmetic of onnxruntime's QLinearAdd on x86-64.
//!
//! Scales of real networks are often commensurable, so that sums halfway between two codes are common: which of the two comes out hangs on
//! the last bit of every intermediate result. So the order of operations is part of what this computes, on every machine.

use std::ops::RangeInclusive;

use super::layout::each_run;
use super::quantisation::whole_code;
use super::versions::versions;
use super::{Error, Kernel, Layout, Plane, PlaneMut, Quantisation};

/// `clamp(saturate(round_half_even(fma(a, ra, fma(b, rb, c)))))` with `ra = sa/sy`, `rb = sb/sy` and `c = zy − fma(ra, za, rb·zb)`, all in f32; fma
/// rounds once. Not symmetric in a and b to the last bit.
#[derive(Debug, Clone, Copy)]
pub struct Add {
    kernel: Kernel,
    /// Whether `kernel` has fma as an instruction, or a sum that needs it is too wide for f64.
    fused: bool,
    factor: [f32; 2],
    offset: f32,
    low: u8,
    high: u8,
}

impl Add {
    /// The quotients of the scales must be finite; `bounds` is where a Relu or Clip that follows cuts the codes.
    pub fn new(
        kernel: Kernel,
        inputs: [Quantisation; 2],
        output: Quantisation,
        bounds: RangeInclusive<u8>,
    ) -> Result<Add, Error> {
        if !kernel.available() {
            return Err(Error::Unavailable(kernel.name()));
        }
        output.check("scale of a sum")?;
        for input in inputs {
            input.check("scale of a summand")?;
        }
        let factor = inputs.map(|input| input.scale / output.scale);
        // Beyond this every difference saturates, and vectors could no longer convert.
        if factor.iter().any(|&factor| factor > 65536.0) || bounds.is_empty() {
            return Err(Error::Quantisation(format!(
                "addition: expected summands at most 65536 times coarser than the sum and ordered bounds, found {factor:?} and {bounds:?}"
            )));
        }
        let zero = inputs.map(|input| f32::from(input.zero_point));
        let offset = f32::from(output.zero_point) - factor[0].mul_add(zero[0], factor[1] * zero[1]);
        // 32-bit ARM's kernels are for NEON without fma; this loop is compiled for no vectors there.
        let has_fma = kernel != Kernel::Portable && !cfg!(target_arch = "arm") || cfg!(target_arch = "aarch64");
        let fused = has_fma || !fits_f64(factor, offset);
        Ok(Add { kernel, fused, factor, offset, low: *bounds.start(), high: *bounds.end() })
    }

    /// Whether two tensors can be added.
    pub(super) fn check(a: &Layout, b: &Layout) -> Result<(), Error> {
        let size = |layout: &Layout| (layout.height(), layout.width(), layout.channels());
        if size(a) == size(b) {
            return Ok(());
        }
        Err(Error::Shape(format!("expected tensors of one size, found {:?} and {:?}", size(a), size(b))))
    }

    /// Computes the rows of `output`; `b` has the size of `a`, or is one pixel that is added to all. Allocates nothing.
    pub fn run(&self, a: Plane, b: Plane, output: &mut PlaneMut) -> Result<(), Error> {
        Add::check(a.layout(), output.layout())?;
        if [b.layout().height(), b.layout().width()] == [1, 1] && b.layout().channels() == a.layout().channels() {
            let pixel = b.pixel(0, 0);
            for (row, column) in output.rows().flat_map(|row| (0..a.layout().width()).map(move |column| (row, column)))
            {
                self.pairs(output.pixel_mut(row, column), a.pixel(row, column), pixel);
            }
            return Ok(());
        }
        Add::check(b.layout(), output.layout())?;
        for row in output.rows() {
            each_run([a, b], output, row, |[a, b], y| self.pairs(y, a, b));
        }
        Ok(())
    }

    /// The rows of `output` plus those of `other`, in place; `leads`: `other` is the first summand. The caller has checked the sizes.
    pub(super) fn onto(&self, output: &mut PlaneMut, other: Plane, leads: bool) {
        for row in output.rows() {
            each_run([other], output, row, |[other], y| match (self.fused, leads) {
                (true, false) => onto_first(self.kernel, self, y, other),
                (true, true) => onto_second(self.kernel, self, y, other),
                (false, _) => y.iter_mut().zip(other).for_each(|(y, &other)| {
                    *y = if leads { self.wide(other, *y) } else { self.wide(*y, other) };
                }),
            });
        }
    }

    /// One sum.
    pub fn code(&self, a: u8, b: u8) -> u8 {
        if self.fused { self.one(a, b) } else { self.wide(a, b) }
    }

    fn pairs(&self, y: &mut [u8], a: &[u8], b: &[u8]) {
        if self.fused {
            add(self.kernel, self, y, a, b);
        } else {
            y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = self.wide(a, b));
        }
    }

    #[inline(always)]
    fn one(&self, a: u8, b: u8) -> u8 {
        let second = f32::from(b).mul_add(self.factor[1], self.offset);
        whole_code(f32::from(a).mul_add(self.factor[0], second)).max(self.low).min(self.high)
    }

    /// The same for a CPU without fma: products and sums are exact in f64, then rounded once.
    #[inline(always)]
    fn wide(&self, a: u8, b: u8) -> u8 {
        let fma = |x: u8, factor: f32, sum: f32| (f64::from(x) * f64::from(factor) + f64::from(sum)) as f32;
        whole_code(fma(a, self.factor[0], fma(b, self.factor[1], self.offset))).max(self.low).min(self.high)
    }
}

/// Whether all bits of a code times a factor plus what follows fit the 53 of f64, so that nothing is rounded there.
fn fits_f64(factor: [f32; 2], offset: f32) -> bool {
    let numbers = [(factor[0], 8), (factor[1], 8), (offset, 0)];
    let bits = numbers.iter().filter(|(number, _)| *number != 0.0).map(|&(number, more)| {
        let exponent = (number.to_bits() >> 23 & 0xff) as i32;
        let low = exponent - 23 + (number.to_bits() & 0x007f_ffff | 0x0080_0000).trailing_zeros() as i32;
        (low, exponent + more)
    });
    let (low, high) = bits.fold((i32::MAX, i32::MIN), |(low, high), (l, h)| (low.min(l), high.max(h)));
    // Two sums may carry.
    high + 2 - low < 53
}

versions! {
    fn add(add: &Add, y: &mut [u8], a: &[u8], b: &[u8]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = add.one(a, b);
        }
    }
}

versions! {
    fn onto_first(add: &Add, y: &mut [u8], b: &[u8]) {
        for (y, &b) in y.iter_mut().zip(b) {
            *y = add.one(*y, b);
        }
    }
}

versions! {
    fn onto_second(add: &Add, y: &mut [u8], a: &[u8]) {
        for (y, &a) in y.iter_mut().zip(a) {
            *y = add.one(a, *y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_in_f64_equal_fused_ones_wherever_they_are_used() {
        let mut state = 11u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut used = 0;
        for _ in 0..300 {
            let mut quantisation = || {
                // Multiples of one number: many sums lie halfway between two codes.
                let scale = (1 + next(400)) as f32 / 2040.0 * [1.0, 1.0, 1e-3, 3e-6][next(4) as usize];
                Quantisation::new(scale, next(256) as u8).unwrap()
            };
            let [a, b, y] = [(); 3].map(|()| quantisation());
            let Ok(add) = Add::new(Kernel::Portable, [a, b], y, 0..=255) else { continue };
            if !fits_f64(add.factor, add.offset) {
                continue;
            }
            used += 1;
            for (a, b) in (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))).step_by(7) {
                assert_eq!(add.one(a, b), add.wide(a, b), "{add:?} {a} {b}");
            }
        }
        assert!(used > 100, "{used}");
        assert!(!fits_f64([1e4, 1e-9], 7.0) && fits_f64([1.0, 0.7], 130.5));
    }
}
