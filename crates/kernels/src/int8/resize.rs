//! Bilinear and nearest-neighbour resizing of codes, exact: positions and weights are fractions of integers, never rounded.

use super::quantisation::code;
use super::{Error, Layout, Plane, PlaneMut, Quantisation};

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
    /// `saturate(round_half_even(Σ w·(x − zx) / Σ w · (sx/sy)) + zy)`; both sums are exact, at most 2²⁴ and 2¹⁶. With sx = sy that is the rounded
    /// mean exactly; DequantizeLinear, Resize, QuantizeLinear in f32 differ from it at most where the mean lies halfway between two codes.
    Linear,
    /// The code of one neighbour. Input and output have the same scale and zero-point.
    Nearest(Rounding),
}

/// A fraction of an input position for each row or column of the output.
#[derive(Debug, Clone, Copy)]
struct Tap {
    /// The two neighbours, inside of the input.
    near: usize,
    far: usize,
    /// The far one's weight, of the axis' whole.
    weight: u32,
}

/// One axis.
#[derive(Debug, Clone)]
struct Axis {
    taps: Box<[Tap]>,
    whole: u32,
}

/// A resizing operator between two sizes.
#[derive(Debug, Clone)]
pub struct Resize {
    rows: Axis,
    columns: Axis,
    from: [usize; 2],
    mode: Mode,
    factor: f32,
    zero: [u8; 2],
}

impl Resize {
    /// From a height and width to others.
    pub fn new(
        from: [usize; 2],
        to: [usize; 2],
        mode: Mode,
        coordinates: Coordinates,
        input: Quantisation,
        output: Quantisation,
    ) -> Result<Resize, Error> {
        input.check("input scale")?;
        output.check("output scale")?;
        if matches!(mode, Mode::Nearest(_)) && input != output {
            return Err(Error::Unsupported("nearest-neighbour resizing between different scales".into()));
        }
        let factor = input.scale / output.scale;
        if !factor.is_finite() {
            return Err(Error::Quantisation(format!(
                "resizing: expected scales whose quotient is a number, found {factor}"
            )));
        }
        let rows = Axis::new(from[0], to[0], mode, coordinates)?;
        let columns = Axis::new(from[1], to[1], mode, coordinates)?;
        // Then sums are exact in f32, and a quotient that is not halfway between two codes is never rounded to there.
        if u64::from(rows.whole) * u64::from(columns.whole) > 1 << 16 {
            return Err(Error::Unsupported(format!("resizing {from:?} to {to:?}: fractions too fine")));
        }
        Ok(Resize { rows, columns, from, mode, factor, zero: [input.zero_point, output.zero_point] })
    }

    /// Computes the rows of `output`. Allocates nothing.
    pub fn run(&self, input: Plane, output: &mut PlaneMut) -> Result<(), Error> {
        let size = |layout: &Layout| [layout.height(), layout.width(), layout.channels()];
        let (found, [height, width, channels]) = (size(input.layout()), size(output.layout()));
        let expected = [self.from[0], self.from[1], channels];
        if found != expected || height != self.rows.taps.len() || width != self.columns.taps.len() {
            return Err(Error::Shape(format!(
                "resizing: expected {expected:?} to {}×{}, found {found:?} to {height}×{width}",
                self.rows.taps.len(),
                self.columns.taps.len()
            )));
        }
        for row in output.rows() {
            let vertical = self.rows.taps[row];
            for (column, &horizontal) in self.columns.taps.iter().enumerate() {
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
        let (down, right) = (vertical.weight as i32, horizontal.weight as i32);
        let (up, left) = (self.rows.whole as i32 - down, self.columns.whole as i32 - right);
        let whole = self.rows.whole as i32 * self.columns.whole as i32;
        let upper = input.pixel(vertical.near, horizontal.near).iter().zip(input.pixel(vertical.near, horizontal.far));
        let lower = input.pixel(vertical.far, horizontal.near).iter().zip(input.pixel(vertical.far, horizontal.far));
        for ((y, (&a, &b)), (&c, &d)) in target.iter_mut().zip(upper).zip(lower) {
            let (a, b, c, d) = (i32::from(a), i32::from(b), i32::from(c), i32::from(d));
            let sum = up * (left * a + right * b) + down * (left * c + right * d) - whole * i32::from(self.zero[0]);
            *y = code(sum as f32 / whole as f32 * self.factor, self.zero[1]);
        }
    }
}

impl Axis {
    fn new(from: usize, to: usize, mode: Mode, coordinates: Coordinates) -> Result<Axis, Error> {
        if from == 0 || to == 0 || from > 1 << 16 || to > 1 << 16 {
            return Err(Error::Shape(format!("resizing {from} to {to}: expected 1 to 65536 pixels")));
        }
        let (from, to) = (from as i64, to as i64);
        // The position of an output pixel is numerator(o) / denominator.
        let denominator = match coordinates {
            Coordinates::HalfPixel => 2 * to,
            Coordinates::Asymmetric => to,
            Coordinates::AlignCorners => (to - 1).max(1),
        };
        let numerator = |o: i64| match coordinates {
            Coordinates::HalfPixel => (2 * o + 1) * from - to,
            Coordinates::Asymmetric => o * from,
            Coordinates::AlignCorners => o * (from - 1),
        };
        let inside = |at: i64| at.clamp(0, from - 1) as usize;
        if let Mode::Nearest(rounding) = mode {
            let nearest = |o: i64| {
                let (low, rest) = (numerator(o).div_euclid(denominator), numerator(o).rem_euclid(denominator));
                let up = match rounding {
                    Rounding::PreferFloor => 2 * rest > denominator,
                    Rounding::PreferCeil => 2 * rest >= denominator,
                    Rounding::Floor => false,
                    Rounding::Ceil => rest > 0,
                };
                let near = inside(low + i64::from(up));
                Tap { near, far: near, weight: 0 }
            };
            return Ok(Axis { taps: (0..to).map(nearest).collect(), whole: 1 });
        }
        let shared = (0..to).fold(denominator, |shared, o| greatest_divisor(shared, numerator(o)));
        let tap = |o: i64| {
            // Outside of the outermost pixels there is nothing to blend with.
            let position = numerator(o).clamp(0, (from - 1) * denominator);
            let (near, rest) = (position / denominator, position % denominator);
            Tap { near: inside(near), far: inside(near + 1), weight: (rest / shared) as u32 }
        };
        Ok(Axis { taps: (0..to).map(tap).collect(), whole: (denominator / shared) as u32 })
    }
}

fn greatest_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs()
}
