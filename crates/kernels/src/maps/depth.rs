//! From what a depth network gives to metres.

use super::ROUND;

/// What a depth network gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepthEncoding {
    /// Metres.
    Metres,
    /// The natural logarithm of metres.
    Log,
    /// One over metres.
    Inverse,
}

/// Encoded values → metres. Never negative; NaN stays NaN. `most`: no fewer than the bits of any absolute value in `row`.
#[inline(always)]
pub(super) fn to_metres(encoding: DepthEncoding, row: &[f32], most: u32, metres: &mut [f32]) {
    let values = metres.iter_mut().zip(row);
    match encoding {
        DepthEncoding::Metres => {
            for (m, &v) in values {
                // `max` and `min` would swallow a NaN; a comparison that is false for it does not.
                *m = if v < 0.0 { 0.0 } else { v };
            }
        }
        DepthEncoding::Log if most <= SMALL.to_bits() => {
            for (m, &v) in values {
                *m = exp_of_small(v);
            }
        }
        DepthEncoding::Log => {
            for (m, &v) in values {
                *m = exp(v);
            }
        }
        DepthEncoding::Inverse => {
            for (m, &v) in values {
                *m = if v <= 0.0 { f32::INFINITY } else { 1.0 / v };
            }
        }
    }
}

/// Up to here, and down to its negative, eˣ is far from the ends of what a float can be.
const SMALL: f32 = 80.0;

/// eˣ to within 2 units in the last place, without a branch, so that a row is computed in vectors and every CPU gets
/// the same bits. Above 88.72 it is infinite, below −87.3 zero.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let (sum, whole) = reduced(x.clamp(-87.3, 89.0));
    // In two halves, so that 2¹²⁸ · e⁻ʳ does not overflow before it must. Wrapping: of NaN these are any numbers.
    let half = whole >> 1;
    let value = sum * power(half) * power(whole.wrapping_sub(half));
    let value = if x < -87.3 { 0.0 } else { value };
    let value = if x > 88.72 { f32::INFINITY } else { value };
    if x.is_nan() { x } else { value }
}

/// The same bits of an x that is at most [`SMALL`] from 0, in two thirds of the operations.
#[inline(always)]
fn exp_of_small(x: f32) -> f32 {
    let (sum, whole) = reduced(x);
    sum * power(whole)
}

/// eˣ = sum · 2ⁿ as (sum, n).
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, eʳ by its Taylor series to r⁷ (next term below 2⁻²⁹), 2ⁿ by the exponent's bits.
/// ln 2 is split in two so that n·ln 2 loses nothing (Cody and Waite, "Software Manual for the Elementary Functions", 1980).
#[inline(always)]
fn reduced(x: f32) -> (f32, i32) {
    const LN2_HIGH: f32 = 0.693_359_4; // 9 significant bits: n·LN2_HIGH is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Rounded to the nearest, halves to even; the whole number stands in the low bits. A cast would not be vectors.
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let (n, whole) = (rounded - ROUND, (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32));
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + coefficient;
    }
    (sum, whole)
}

/// 2ⁿ of an n that an exponent can be.
#[inline(always)]
fn power(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place_of_double_precision() {
        for i in -870_000..=887_000 {
            let x = i as f32 * 1e-4;
            let expected = (x as f64).exp();
            let unit = (expected as f32).next_up() as f64 - (expected as f32) as f64;
            assert!((exp(x) as f64 - expected).abs() <= 2.0 * unit, "exp({x}) = {}, expected {expected}", exp(x));
        }
        for i in -900_000..=900_000 {
            let x = i as f32 * 1e-4;
            assert!(x.abs() > SMALL || exp_of_small(x).to_bits() == exp(x).to_bits(), "exp({x})");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn metres_are_never_negative_and_nan_stays() {
        let mut row = [0.0; 4];
        to_metres(DepthEncoding::Metres, &[-1.0, 2.0, f32::INFINITY, f32::NAN], u32::MAX, &mut row);
        assert_eq!(row[..3], [0.0, 2.0, f32::INFINITY]);
        assert!(row[3].is_nan());
        let mut row = [0.0; 5];
        to_metres(DepthEncoding::Inverse, &[-1.0, 0.0, 0.5, f32::INFINITY, f32::NAN], u32::MAX, &mut row);
        assert_eq!(row[..4], [f32::INFINITY, f32::INFINITY, 2.0, 0.0]);
        assert!(row[4].is_nan());
    }
}
