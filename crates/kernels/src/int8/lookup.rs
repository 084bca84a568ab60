//! One code to another through a table of 256: requantisation, Clip, Sigmoid, whatever works on one element.

use super::layout::each_run;
use super::{Error, Kernel, Plane, PlaneMut, Quantisation};

/// A function of one code.
#[derive(Clone)]
pub struct Lookup {
    table: Box<[u8; 256]>,
    identity: bool,
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lookup(identity: {})", self.identity)
    }
}

impl Lookup {
    /// The table itself.
    pub fn new(kernel: Kernel, table: [u8; 256]) -> Result<Lookup, Error> {
        if !kernel.available() {
            return Err(Error::Unavailable(kernel.name()));
        }
        let identity = table.iter().enumerate().all(|(code, &to)| code == usize::from(to));
        Ok(Lookup { table: Box::new(table), identity })
    }

    /// DequantizeLinear, a function, QuantizeLinear: what a network has around an operator on single elements.
    pub fn of(
        kernel: Kernel,
        input: Quantisation,
        output: Quantisation,
        function: impl Fn(f32) -> f32,
    ) -> Result<Lookup, Error> {
        input.check("input scale")?;
        output.check("output scale")?;
        let mut table = [0; 256];
        for (code, to) in table.iter_mut().enumerate() {
            *to = output.quantise(function(input.dequantise(code as u8)));
        }
        Lookup::new(kernel, table)
    }

    /// From one scale and zero-point to another: what an input of a concatenation may need.
    pub fn requantise(kernel: Kernel, input: Quantisation, output: Quantisation) -> Result<Lookup, Error> {
        if input == output {
            input.check("scale")?;
            let mut table = [0; 256];
            table.iter_mut().enumerate().for_each(|(code, to)| *to = code as u8);
            return Lookup::new(kernel, table);
        }
        Lookup::of(kernel, input, output, |x| x)
    }

    /// What becomes of a code.
    pub fn table(&self) -> &[u8; 256] {
        &self.table
    }

    /// Computes the rows of `output`, which may be some channels of a tensor (concatenation). Allocates nothing.
    pub fn run(&self, input: Plane, output: &mut PlaneMut) -> Result<(), Error> {
        let size = |layout: &super::Layout| (layout.height(), layout.width(), layout.channels());
        let (from, to) = (size(input.layout()), size(output.layout()));
        if from != to {
            return Err(Error::Shape(format!("expected tensors of one size, found {from:?} and {to:?}")));
        }
        for row in output.rows() {
            each_run([input], output, row, |[x], y| {
                if self.identity {
                    y.copy_from_slice(x);
                } else {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y = self.table[usize::from(x)]);
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Layout;
    use super::*;

    #[test]
    fn inputs_of_a_concatenation_are_requantised_into_their_channels() {
        let whole = Layout::new(3, 5, 10, 1).unwrap();
        let mut output = vec![99; whole.bytes()];
        let target = Quantisation::new(0.05, 100).unwrap();
        for (first, count, input) in [(0, 4, target), (4, 6, Quantisation::new(0.1, 3).unwrap())] {
            let layout = Layout::new(3, 5, count, 2).unwrap();
            let mut data = vec![0; layout.bytes()];
            data.iter_mut().enumerate().for_each(|(i, x)| *x = (i * 7) as u8);
            let lookup = Lookup::requantise(Kernel::Portable, input, target).unwrap();
            let view = whole.channels_from(first, count).unwrap();
            let plane = Plane::new(layout, &data).unwrap();
            lookup.run(plane, &mut PlaneMut::new(view, &mut output).unwrap()).unwrap();
            let result = Plane::new(view, &output).unwrap();
            for (row, column) in (0..3).flat_map(|row| (0..5).map(move |column| (row, column))) {
                for (&x, &y) in plane.pixel(row, column).iter().zip(result.pixel(row, column)) {
                    let expected =
                        ((f32::from(x) - f32::from(input.zero_point)) * input.scale / 0.05).round_ties_even();
                    assert_eq!(f32::from(y), (expected + 100.0).clamp(0.0, 255.0));
                }
            }
        }
        assert_eq!(output[0], 99);
    }

    #[test]
    fn a_function_is_applied_to_real_numbers() {
        let input = Quantisation::new(0.1, 128).unwrap();
        let output = Quantisation::new(1.0 / 256.0, 0).unwrap();
        let sigmoid = Lookup::of(Kernel::Portable, input, output, |x| 1.0 / (1.0 + (-x).exp())).unwrap();
        assert_eq!((sigmoid.table()[128], sigmoid.table()[0], sigmoid.table()[255]), (128, 0, 255));
    }
}
