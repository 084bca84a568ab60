//! Scales and zero-points, and the one way in which this crate rounds: half to even, then saturation, as ONNX's QuantizeLinear.

use super::Error;

/// A u8 tensor's meaning: real = (code − zero_point) · scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantisation {
    /// Real units of one step.
    pub scale: f32,
    /// The code of 0.
    pub zero_point: u8,
}

impl Quantisation {
    /// Checks that the scale is a positive, normal number.
    pub fn new(scale: f32, zero_point: u8) -> Result<Quantisation, Error> {
        let quantisation = Quantisation { scale, zero_point };
        quantisation.check("scale")?;
        Ok(quantisation)
    }

    pub(super) fn check(&self, what: &str) -> Result<(), Error> {
        positive(self.scale, what)
    }

    /// QuantizeLinear: round_half_even(x / scale) + zero_point, saturated. NaN gives code 0.
    pub fn quantise(&self, x: f32) -> u8 {
        code(x / self.scale, self.zero_point)
    }

    /// DequantizeLinear: (code − zero_point) · scale.
    pub fn dequantise(&self, code: u8) -> f32 {
        (i32::from(code) - i32::from(self.zero_point)) as f32 * self.scale
    }
}

/// Refuses what is not a positive, normal number: zero, NaN, infinities, denormals (which 32-bit NEON takes for zero).
pub(super) fn positive(scale: f32, what: &str) -> Result<(), Error> {
    if scale.is_normal() && scale > 0.0 {
        return Ok(());
    }
    Err(Error::Quantisation(format!("{what}: expected a positive number, found {scale}")))
}

/// 1.5·2²³: a small number added to it is rounded half to even, and left in its low bits.
const ROUND: f32 = 12_582_912.0;

/// saturate(round_half_even(x) + zero_point). NaN gives 0.
#[inline(always)]
pub(super) fn code(x: f32, zero_point: u8) -> u8 {
    // Beyond ±512 every zero-point saturates. NaN compares false: −512. Vectors have these comparisons as one instruction each.
    let x = if x > -512.0 { x } else { -512.0 };
    let x = if x < 512.0 { x } else { 512.0 };
    let rounded = (x + ROUND).to_bits() as i32 - ROUND.to_bits() as i32;
    (rounded + i32::from(zero_point)).clamp(0, 255) as u8
}

/// saturate(round_half_even(x)) of a number that holds the zero-point already. NaN gives 0.
///
/// Of numbers halfway between two codes this gives other codes than [`code`] where the zero-point is odd: onnxruntime has some operators
/// the one way and some the other.
#[inline(always)]
pub(super) fn whole_code(x: f32) -> u8 {
    let x = if x > 0.0 { x } else { 0.0 };
    let x = if x < 255.0 { x } else { 255.0 };
    ((x + ROUND).to_bits() as i32 - ROUND.to_bits() as i32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour_and_ends_saturate() {
        for (x, expected) in [
            (0.5, 100),
            (1.5, 102),
            (2.5, 102),
            (-0.5, 100),
            (-1.5, 98),
            (0.499_999_97, 100),
            (0.500_000_06, 101),
            (155.4, 255),
            (1e30, 255),
            (f32::INFINITY, 255),
            (-99.6, 0),
            (-1e30, 0),
            (f32::NEG_INFINITY, 0),
            (f32::NAN, 0),
        ] {
            assert_eq!(code(x, 100), expected, "{x}");
        }
        for i in -3000..3000 {
            let x = i as f32 / 8.0;
            let expected = (f64::from(x).round_ties_even() as i64 + 17).clamp(0, 255);
            assert_eq!(i64::from(code(x, 17)), expected, "{x}");
            let whole = (f64::from(x).round_ties_even() as i64).clamp(0, 255);
            assert_eq!(i64::from(whole_code(x)), whole, "{x}");
        }
        assert_eq!([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(whole_code), [0, 255, 0]);
    }

    #[test]
    fn codes_survive_the_way_to_real_numbers_and_back() {
        for (scale, zero_point) in [(1.0, 0), (0.017, 128), (3.7e-9, 255), (2.5e7, 3)] {
            let quantisation = Quantisation::new(scale, zero_point).unwrap();
            for code in 0..=255 {
                assert_eq!(quantisation.quantise(quantisation.dequantise(code)), code);
            }
        }
    }

    #[test]
    fn scales_that_are_none_are_refused() {
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
            let error = Quantisation::new(scale, 0).unwrap_err().to_string();
            assert!(error.contains("expected a positive number"), "{error}");
        }
    }
}
