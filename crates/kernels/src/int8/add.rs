//! Addition of two tensors of codes, as onnxruntime's QLinearAdd.

use std::ops::RangeInclusive;

use super::layout::each_run;
use super::quantisation::code;
use super::versions::versions;
use super::{Error, Kernel, Layout, Plane, PlaneMut, Quantisation};

/// `clamp(saturate(round_half_even((a − za)·(sa/sy) + (b − zb)·(sb/sy)) + zy))`, both products and their sum in f32, each rounded.
#[derive(Debug, Clone, Copy)]
pub struct Add {
    kernel: Kernel,
    zero: [i32; 2],
    factor: [f32; 2],
    output_zero: u8,
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
        let zero = inputs.map(|input| i32::from(input.zero_point));
        Ok(Add { kernel, zero, factor, output_zero: output.zero_point, low: *bounds.start(), high: *bounds.end() })
    }

    /// Whether two tensors can be added.
    pub(super) fn check(a: &Layout, b: &Layout) -> Result<(), Error> {
        let size = |layout: &Layout| (layout.height(), layout.width(), layout.channels());
        if size(a) == size(b) {
            return Ok(());
        }
        Err(Error::Shape(format!("expected tensors of one size, found {:?} and {:?}", size(a), size(b))))
    }

    /// Computes the rows of `output`. Allocates nothing.
    pub fn run(&self, a: Plane, b: Plane, output: &mut PlaneMut) -> Result<(), Error> {
        Add::check(a.layout(), output.layout())?;
        Add::check(b.layout(), output.layout())?;
        for row in output.rows() {
            each_run([a, b], output, row, |[a, b], y| add(self.kernel, self, y, a, b));
        }
        Ok(())
    }

    /// The rows of `output` plus those of `other`, in place. The caller has checked the sizes.
    pub(super) fn onto(&self, output: &mut PlaneMut, other: Plane) {
        for row in output.rows() {
            each_run([other], output, row, |[b], y| add_onto(self.kernel, self, y, b));
        }
    }

    #[inline(always)]
    fn one(&self, a: u8, b: u8) -> u8 {
        let a = (i32::from(a) - self.zero[0]) as f32 * self.factor[0];
        let b = (i32::from(b) - self.zero[1]) as f32 * self.factor[1];
        code(a + b, self.output_zero).max(self.low).min(self.high)
    }
}

versions! {
    fn add(add: &Add, y: &mut [u8], a: &[u8], b: &[u8]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = add.one(a, b);
        }
    }
}

versions! {
    fn add_onto(add: &Add, y: &mut [u8], b: &[u8]) {
        for (y, &b) in y.iter_mut().zip(b) {
            *y = add.one(*y, b);
        }
    }
}
