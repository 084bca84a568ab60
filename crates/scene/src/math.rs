//! Vectors, rotations and the few transcendental functions of the renderer, made of `+ − × ÷ sqrt` alone so that every
//! machine computes the same bits. Must never call libm or fuse a multiply with an add.

use std::ops::{Add, Mul, Neg, Sub};

/// A full turn in radians.
pub const TURN: f64 = std::f64::consts::TAU;

/// Three f32: a point or a direction in metres, or a linear colour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vec3 {
    /// First axis; red.
    pub x: f32,
    /// Second axis; green.
    pub y: f32,
    /// Third axis; blue.
    pub z: f32,
}

/// Short for a [`Vec3`].
pub const fn v3(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3 { x, y, z }
}

impl Vec3 {
    /// Zero.
    pub const ZERO: Vec3 = v3(0.0, 0.0, 0.0);
    /// One on every axis.
    pub const ONE: Vec3 = v3(1.0, 1.0, 1.0);

    /// The same value on every axis.
    pub const fn splat(value: f32) -> Vec3 {
        v3(value, value, value)
    }
    /// Inner product.
    #[inline]
    pub fn dot(self, o: Vec3) -> f32 {
        self.x * o.x + self.y * o.y + self.z * o.z
    }
    /// Cross product.
    #[inline]
    pub fn cross(self, o: Vec3) -> Vec3 {
        v3(self.y * o.z - self.z * o.y, self.z * o.x - self.x * o.z, self.x * o.y - self.y * o.x)
    }
    /// Length.
    #[inline]
    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }
    /// The direction of this vector; itself when it has no length.
    #[inline]
    pub fn unit(self) -> Vec3 {
        let length = self.length();
        if length > 0.0 { self * (1.0 / length) } else { self }
    }
    /// Product axis by axis.
    #[inline]
    pub fn times(self, o: Vec3) -> Vec3 {
        v3(self.x * o.x, self.y * o.y, self.z * o.z)
    }
    /// Towards `o` by the share `t`.
    #[inline]
    pub fn mix(self, o: Vec3, t: f32) -> Vec3 {
        self + (o - self) * t
    }
}

impl Add for Vec3 {
    type Output = Vec3;
    #[inline]
    fn add(self, o: Vec3) -> Vec3 {
        v3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}
impl Sub for Vec3 {
    type Output = Vec3;
    #[inline]
    fn sub(self, o: Vec3) -> Vec3 {
        v3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}
impl Neg for Vec3 {
    type Output = Vec3;
    #[inline]
    fn neg(self) -> Vec3 {
        v3(-self.x, -self.y, -self.z)
    }
}
impl Mul<f32> for Vec3 {
    type Output = Vec3;
    #[inline]
    fn mul(self, s: f32) -> Vec3 {
        v3(self.x * s, self.y * s, self.z * s)
    }
}

/// A rotation; columns are where the local axes point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotation {
    /// Where local x points.
    pub x: Vec3,
    /// Where local y points.
    pub y: Vec3,
    /// Where local z points.
    pub z: Vec3,
}

impl Default for Rotation {
    fn default() -> Self {
        Rotation::IDENTITY
    }
}

impl Rotation {
    /// No rotation.
    pub const IDENTITY: Rotation = Rotation { x: v3(1.0, 0.0, 0.0), y: v3(0.0, 1.0, 0.0), z: v3(0.0, 0.0, 1.0) };

    /// About world z (up), counter-clockwise seen from above: turns x towards y.
    pub fn yaw(angle: f64) -> Rotation {
        let (s, c) = sin_cos(angle);
        Rotation { x: v3(c, s, 0.0), y: v3(-s, c, 0.0), z: v3(0.0, 0.0, 1.0) }
    }
    /// About local x: turns y (forward) towards z (up).
    pub fn pitch(angle: f64) -> Rotation {
        let (s, c) = sin_cos(angle);
        Rotation { x: v3(1.0, 0.0, 0.0), y: v3(0.0, c, s), z: v3(0.0, -s, c) }
    }
    /// About local y (forward): turns z (up) towards x (right).
    pub fn roll(angle: f64) -> Rotation {
        let (s, c) = sin_cos(angle);
        Rotation { x: v3(c, 0.0, -s), y: v3(0.0, 1.0, 0.0), z: v3(s, 0.0, c) }
    }
    /// From local to outer coordinates.
    #[inline]
    pub fn apply(&self, v: Vec3) -> Vec3 {
        self.x * v.x + self.y * v.y + self.z * v.z
    }
    /// From outer to local coordinates.
    #[inline]
    pub fn undo(&self, v: Vec3) -> Vec3 {
        v3(self.x.dot(v), self.y.dot(v), self.z.dot(v))
    }
    /// First `inner`, then this one.
    pub fn after(&self, inner: &Rotation) -> Rotation {
        Rotation { x: self.apply(inner.x), y: self.apply(inner.y), z: self.apply(inner.z) }
    }
    /// Towards `next` by the share `t`; for rotations a few degrees apart.
    pub fn towards(&self, next: &Rotation, t: f32) -> Rotation {
        let x = self.x.mix(next.x, t).unit();
        let y = self.y.mix(next.y, t);
        let y = (y - x * x.dot(y)).unit();
        Rotation { x, y, z: x.cross(y) }
    }
}

/// Sine and cosine of an angle in radians; exact to about 1e-9 before rounding to f32.
pub fn sin_cos(angle: f64) -> (f32, f32) {
    let (s, c) = sin_cos_f64(angle);
    (s as f32, c as f32)
}

/// Sine and cosine in f64, error below 1e-11 for angles up to 1e6.
pub fn sin_cos_f64(angle: f64) -> (f64, f64) {
    // Quadrant and remainder in [-π/4, π/4]; the series there to the 13th power.
    let quarters = angle * (4.0 / TURN);
    let k = (if quarters >= 0.0 { quarters + 0.5 } else { quarters - 0.5 }) as i64;
    let r = angle - k as f64 * (TURN / 4.0);
    let q = r * r;
    let s = r
        * (1.0
            - q / 6.0 * (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0 * (1.0 - q / 110.0 * (1.0 - q / 156.0))))));
    let c =
        1.0 - q / 2.0 * (1.0 - q / 12.0 * (1.0 - q / 30.0 * (1.0 - q / 56.0 * (1.0 - q / 90.0 * (1.0 - q / 132.0)))));
    match k & 3 {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

/// Sine of an angle in radians.
pub fn sin(angle: f64) -> f64 {
    sin_cos_f64(angle).0
}

/// Cosine of an angle in radians.
pub fn cos(angle: f64) -> f64 {
    sin_cos_f64(angle).1
}

/// Arc tangent for slopes in [-1, 1]; error below 1e-5.
pub fn atan_small(slope: f64) -> f64 {
    // Abramowitz and Stegun 4.4.47.
    let q = slope * slope;
    slope * (0.999_866_0 + q * (-0.330_299_5 + q * (0.180_141_0 + q * (-0.085_133_0 + q * 0.020_835_1))))
}

/// e to the power of x; relative error below 2e-7 where the result is normal, 0 below, capped above.
#[inline]
pub fn exp(x: f32) -> f32 {
    exp2(x * std::f32::consts::LOG2_E)
}

/// 2 to the power of x.
#[inline]
pub fn exp2(x: f32) -> f32 {
    let x = x.clamp(-126.0, 127.0);
    let whole = floor(x);
    let f = x - whole;
    // Minimax of 2^f on [0, 1).
    let p = 1.0
        + f * (std::f32::consts::LN_2
            + f * (0.240_226_5 + f * (0.055_504_1 + f * (0.009_618_1 + f * (0.001_333_4 + f * 0.000_154_3)))));
    p * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// Base-2 logarithm of a positive normal number; error below 1e-5.
#[inline]
pub fn log2(x: f32) -> f32 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 23) & 0xff) as i32 - 127;
    let mut m = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    if m > std::f32::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    // ln(m) = 2 atanh((m − 1)/(m + 1)).
    let t = (m - 1.0) / (m + 1.0);
    let q = t * t;
    let ln = 2.0 * t * (1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0))));
    exponent as f32 + ln * std::f32::consts::LOG2_E
}

/// `x` to the power `p`, 0 for x ≤ 0.
#[inline]
pub fn pow(x: f32, p: f32) -> f32 {
    if x <= 1e-30 { 0.0 } else { exp2(p * log2(x)) }
}

/// The greatest whole number not above x, for |x| < 2³¹.
#[inline]
pub fn floor(x: f32) -> f32 {
    let t = x as i32 as f32;
    if t > x { t - 1.0 } else { t }
}

/// The part after the point, in [0, 1].
#[inline]
pub fn fract(x: f32) -> f32 {
    x - floor(x)
}

/// 0 below `a`, 1 above `b`, smooth between; a < b.
#[inline]
pub fn smoothstep(a: f32, b: f32, x: f32) -> f32 {
    let t = ((x - a) / (b - a)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// From `a` to `b` by the share `t`.
#[inline]
pub fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_agree_with_the_libraries() {
        for i in -4000..4000 {
            let x = i as f64 * 0.0137;
            assert!((sin(x) - x.sin()).abs() < 1e-9, "sin {x}");
            assert!((cos(x) - x.cos()).abs() < 1e-9, "cos {x}");
            let e = exp(x as f32 * 0.3);
            assert!((e as f64 / (x as f32 as f64 * 0.3).exp() - 1.0).abs() < 1e-5, "exp {x} {e}");
            if i > 0 {
                assert!((pow(x as f32, 1.7) as f64 / (x as f32 as f64).powf(1.7) - 1.0).abs() < 1e-4, "pow {x}");
            }
            if x.abs() <= 1.0 {
                assert!((atan_small(x) - x.atan()).abs() < 1e-4);
            }
            assert_eq!(floor(x as f32), (x as f32).floor());
        }
    }

    #[test]
    fn rotations_turn_the_way_they_say() {
        let quarter = TURN / 4.0;
        let close = |a: Vec3, b: Vec3| assert!((a - b).length() < 1e-6, "{a:?} {b:?}");
        close(Rotation::yaw(quarter).apply(v3(1.0, 0.0, 0.0)), v3(0.0, 1.0, 0.0));
        close(Rotation::pitch(quarter).apply(v3(0.0, 1.0, 0.0)), v3(0.0, 0.0, 1.0));
        close(Rotation::roll(quarter).apply(v3(0.0, 0.0, 1.0)), v3(1.0, 0.0, 0.0));
        let r = Rotation::yaw(0.3).after(&Rotation::pitch(-0.2));
        close(r.undo(r.apply(v3(0.4, 0.5, 0.6))), v3(0.4, 0.5, 0.6));
    }
}
