//! Bilinear and nearest-neighbour resizing of codes.
//!
//! Bilinear: means of four codes with weights like ¼ and ¾ lie halfway between two codes every sixteenth time, so what comes out hangs on
//! the order of operations. It is that of DequantizeLinear, Resize and QuantizeLinear in f32, which is how onnxruntime runs it.

use super::quantisation::code;
use super::versions::versions;
use super::{Error, Kernel, Layout, Plane, PlaneMut, Quantisation};

/// Where a pixel of the output lies in the input: ONNX's coordinate_transformation_mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// (o + ½) · input / output − ½
    HalfPixel,
    /// o · input / output
    Asymmetric,
    /// o · (input − 1) / (output − 1); 0 for an output of one pixel
    AlignCorners,
}

/// Which neighbour is nearest: ONNX's nearest_mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// The nearest, of two the lower.
    PreferFloor,
    /// The nearest, of two the higher.
    PreferCeil,
    /// The lower one.
    Floor,
    /// The higher one.
    Ceil,
}

/// ONNX's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With `x' = (x − zx)·sx`, weights of the near and the far neighbour down (n, f) and along (l, r), and x' of the upper left, upper right, lower left
    /// and lower right neighbour: `saturate(round_half_even(((l·n)·a + (r·n)·b + (l·f)·c + (r·f)·d) / sy) + zy)`, from left to right in f32.
    Linear,
    /// The code of one neighbour. Input and output have the same scale and zero-point.
    Nearest(Rounding),
}

/// The neighbours of a row or column of the output, inside of the input, and their weights.
#[derive(Debug, Clone, Copy)]
struct Tap {
    near: usize,
    far: usize,
    weights: [f32; 2],
}

/// A resizing operator between two sizes.
#[derive(Debug, Clone)]
pub struct Resize {
    kernel: Kernel,
    rows: Box<[Tap]>,
    columns: Box<[Tap]>,
    from: [usize; 2],
    mode: Mode,
    input: Quantisation,
    output: Quantisation,
}

impl Resize {
    /// From a height and width to others.
    pub fn new(
        kernel: Kernel,
        from: [usize; 2],
        to: [usize; 2],
        mode: Mode,
        coordinates: Coordinates,
        [input, output]: [Quantisation; 2],
    ) -> Result<Resize, Error> {
        if !kernel.available() {
            return Err(Error::Unavailable(kernel.name()));
        }
        input.check("input scale")?;
        output.check("output scale")?;
        if matches!(mode, Mode::Nearest(_)) && input != output {
            return Err(Error::Unsupported("nearest-neighbour resizing between different scales".into()));
        }
        let [rows, columns] = [0, 1].map(|axis| taps(from[axis], to[axis], mode, coordinates));
        Ok(Resize { kernel, rows: rows?, columns: columns?, from, mode, input, output })
    }

    /// Computes the rows of `output`. Allocates nothing.
    pub fn run(&self, input: Plane, output: &mut PlaneMut) -> Result<(), Error> {
        let size = |layout: &Layout| [layout.height(), layout.width(), layout.channels()];
        let (found, [height, width, channels]) = (size(input.layout()), size(output.layout()));
        let expected = [self.from[0], self.from[1], channels];
        if found != expected || height != self.rows.len() || width != self.columns.len() {
            return Err(Error::Shape(format!(
                "resizing: expected {expected:?} to {}×{}, found {found:?} to {height}×{width}",
                self.rows.len(),
                self.columns.len()
            )));
        }
        for row in output.rows() {
            let vertical = self.rows[row];
            for (column, &horizontal) in self.columns.iter().enumerate() {
                let target = output.pixel_mut(row, column);
                if let Mode::Nearest(_) = self.mode {
                    target.copy_from_slice(input.pixel(vertical.near, horizontal.near));
                } else {
                    self.blend(input, vertical, horizontal, target);
                }
            }
        }
        Ok(())
    }

    fn blend(&self, input: Plane, vertical: Tap, horizontal: Tap, target: &mut [u8]) {
        let neighbours = [
            input.pixel(vertical.near, horizontal.near),
            input.pixel(vertical.near, horizontal.far),
            input.pixel(vertical.far, horizontal.near),
            input.pixel(vertical.far, horizontal.far),
        ];
        let ([near, far], [left, right]) = (vertical.weights, horizontal.weights);
        let weights = [left * near, right * near, left * far, right * far];
        blend(self.kernel, target, neighbours, weights, self.input, self.output);
    }
}

versions! {
    fn blend(
        y: &mut [u8],
        neighbours: [&[u8]; 4],
        weights: [f32; 4],
        input: Quantisation,
        output: Quantisation,
    ) {
        let [a, b, c, d] = neighbours;
        for ((((y, &a), &b), &c), &d) in y.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let [a, b, c, d] = [a, b, c, d].map(|code| input.dequantise(code));
            let mean = weights[0] * a + weights[1] * b + weights[2] * c + weights[3] * d;
            *y = code(mean / output.scale, output.zero_point);
        }
    }
}

/// Where each row or column of the output reads.
fn taps(from: usize, to: usize, mode: Mode, coordinates: Coordinates) -> Result<Box<[Tap]>, Error> {
    if from == 0 || to == 0 || from > 1 << 16 || to > 1 << 16 {
        return Err(Error::Shape(format!("resizing {from} to {to}: expected 1 to 65536 pixels")));
    }
    match mode {
        Mode::Nearest(rounding) => {
            Ok((0..to as i64).map(|o| nearest(o, from as i64, to as i64, rounding, coordinates)).collect())
        }
        Mode::Linear => Ok((0..to).map(|o| linear(o, from, to, coordinates)).collect()),
    }
}

/// Positions as fractions of integers, never rounded.
fn nearest(o: i64, from: i64, to: i64, rounding: Rounding, coordinates: Coordinates) -> Tap {
    let (numerator, denominator) = match coordinates {
        Coordinates::HalfPixel => ((2 * o + 1) * from - to, 2 * to),
        Coordinates::Asymmetric => (o * from, to),
        Coordinates::AlignCorners => (o * (from - 1), (to - 1).max(1)),
    };
    let (low, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    let up = match rounding {
        Rounding::PreferFloor => 2 * rest > denominator,
        Rounding::PreferCeil => 2 * rest >= denominator,
        Rounding::Floor => false,
        Rounding::Ceil => rest > 0,
    };
    let near = (low + i64::from(up)).clamp(0, from - 1) as usize;
    Tap { near, far: near, weights: [1.0, 0.0] }
}

/// Positions and weights in f32, each operation rounded.
fn linear(o: usize, from: usize, to: usize, coordinates: Coordinates) -> Tap {
    let scale = to as f32 / from as f32;
    let position = match coordinates {
        Coordinates::HalfPixel => (o as f32 + 0.5) / scale - 0.5,
        Coordinates::Asymmetric => o as f32 / scale,
        Coordinates::AlignCorners if to == 1 => 0.0,
        Coordinates::AlignCorners => o as f32 * (from - 1) as f32 / (to - 1) as f32,
    };
    // Outside of the outermost pixels there is nothing to blend with.
    let position = position.max(0.0).min((from - 1) as f32);
    let near = position as usize;
    let far = (near + 1).min(from - 1);
    let weights = if near == far { [0.5; 2] } else { [(position - far as f32).abs(), (position - near as f32).abs()] };
    Tap { near, far, weights }
}
