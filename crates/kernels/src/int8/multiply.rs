//! Multiplication of two tensors of codes, or of a tensor by one number a channel (the gate of squeeze-and-excitation).

use std::ops::RangeInclusive;

use super::quantisation::whole_code;
use super::versions::versions;
use super::{Error, Kernel, Layout, Plane, PlaneMut, Quantisation};

/// `clamp(saturate(round_half_even(((a − za)·(b − zb))_f32 · (sa·sb/sy) + zy)))`: the product is exact, the factor in f32 from left to right, as
/// onnxruntime's QLinearMul has it.
#[derive(Debug, Clone, Copy)]
pub struct Multiply {
    kernel: Kernel,
    zero: [i32; 2],
    factor: f32,
    output_zero: f32,
    low: u8,
    high: u8,
}

impl Multiply {
    /// `bounds` is where a Relu or Clip that follows cuts the codes.
    pub fn new(
        kernel: Kernel,
        inputs: [Quantisation; 2],
        output: Quantisation,
        bounds: RangeInclusive<u8>,
    ) -> Result<Multiply, Error> {
        if !kernel.available() {
            return Err(Error::Unavailable(kernel.name()));
        }
        output.check("scale of a product")?;
        for input in inputs {
            input.check("scale of a factor")?;
        }
        let factor = inputs[0].scale * inputs[1].scale / output.scale;
        if !factor.is_finite() || bounds.is_empty() {
            return Err(Error::Quantisation(format!(
                "multiplication: expected scales whose quotient is a number and ordered bounds, found {factor} and {bounds:?}"
            )));
        }
        let zero = inputs.map(|input| i32::from(input.zero_point));
        Ok(Multiply {
            kernel,
            zero,
            factor,
            output_zero: f32::from(output.zero_point),
            low: *bounds.start(),
            high: *bounds.end(),
        })
    }

    /// Computes the rows of `output`; `b` has the size of `a`, or is one pixel. Allocates nothing.
    pub fn run(&self, a: Plane, b: Plane, output: &mut PlaneMut) -> Result<(), Error> {
        let size = |layout: &Layout| [layout.height(), layout.width(), layout.channels()];
        let ([height, width, channels], other) = (size(a.layout()), size(b.layout()));
        let is_gate = other == [1, 1, channels];
        if size(output.layout()) != [height, width, channels] || !(is_gate || other == [height, width, channels]) {
            return Err(Error::Shape(format!(
                "multiplication: expected tensors of one size, or a second one of one pixel; found {:?}, {other:?} and {:?}",
                [height, width, channels],
                size(output.layout())
            )));
        }
        let strides = [a.layout().pixel_stride(), b.layout().pixel_stride(), output.layout().pixel_stride()];
        for row in output.rows() {
            let (left, right) = (a.row(row), b.row(if is_gate { 0 } else { row }));
            let right_stride = if is_gate { 0 } else { strides[1] };
            let target = output.row_mut(row);
            multiply(self.kernel, self, target, left, right, [strides[0], right_stride, strides[2]], width, channels);
        }
        Ok(())
    }

    #[inline(always)]
    fn one(&self, a: u8, b: u8) -> u8 {
        let product = (i32::from(a) - self.zero[0]) * (i32::from(b) - self.zero[1]);
        whole_code(product as f32 * self.factor + self.output_zero).max(self.low).min(self.high)
    }
}

versions! {
    fn multiply(
        of: &Multiply,
        y: &mut [u8],
        a: &[u8],
        b: &[u8],
        strides: [usize; 3],
        width: usize,
        channels: usize,
    ) {
        for column in 0..width {
            let (a, b) = (&a[column * strides[0]..][..channels], &b[column * strides[1]..][..channels]);
            for ((y, &a), &b) in y[column * strides[2]..][..channels].iter_mut().zip(a).zip(b) {
                *y = of.one(a, b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_and_a_tensor_multiply_as_written_out() {
        let (qa, qb) = (Quantisation::new(0.02, 100).unwrap(), Quantisation::new(1.0 / 255.0, 3).unwrap());
        let qy = Quantisation::new(0.013, 90).unwrap();
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.available()) {
            for [height, width] in [[1, 1], [3, 5]] {
                let (big, small) = (Layout::new(3, 5, 6, 1).unwrap(), Layout::new(height, width, 6, 2).unwrap());
                let fill = |layout: &Layout, step: usize| -> Vec<u8> {
                    (0..layout.bytes()).map(|i| (i * step) as u8).collect()
                };
                let (a, b, mut y) = (fill(&big, 7), fill(&small, 11), vec![0; big.bytes()]);
                let (a, b) = (Plane::new(big, &a).unwrap(), Plane::new(small, &b).unwrap());
                let multiply = Multiply::new(kernel, [qa, qb], qy, 20..=220).unwrap();
                multiply.run(a, b, &mut PlaneMut::new(big, &mut y).unwrap()).unwrap();
                let y = Plane::new(big, &y).unwrap();
                for (row, column, channel) in (0..90).map(|i| (i / 30, i / 6 % 5, i % 6)) {
                    let other = if height == 1 { b.pixel(0, 0) } else { b.pixel(row, column) };
                    let product = (i32::from(a.pixel(row, column)[channel]) - 100) * (i32::from(other[channel]) - 3);
                    let real = product as f32 * (0.02f32 * (1.0f32 / 255.0) / 0.013);
                    let expected = (real + 90.0).round_ties_even().clamp(20.0, 220.0) as u8;
                    assert_eq!(y.pixel(row, column)[channel], expected, "{kernel} {height} {row} {column} {channel}");
                }
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let q = Quantisation::new(0.1, 0).unwrap();
        let multiply = Multiply::new(Kernel::Portable, [q, q], q, 0..=255).unwrap();
        let layout = |channels| Layout::new(2, 2, channels, 0).unwrap();
        let (a, b, mut y) = (vec![0; layout(4).bytes()], vec![0; layout(8).bytes()], vec![0; layout(4).bytes()]);
        let (a, b) = (Plane::new(layout(4), &a).unwrap(), Plane::new(layout(8), &b).unwrap());
        assert!(multiply.run(a, b, &mut PlaneMut::new(layout(4), &mut y).unwrap()).is_err());
    }
}
