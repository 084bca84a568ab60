//! A place on a surface, how it looks, and masonry, which more than one pattern lays. Must be cheap: it runs for every sample.

use super::noise::lattice;
use crate::math::{Vec3, floor, fract, smoothstep, v3};
use crate::random::unit;

/// How a place looks.
#[derive(Clone, Copy, Debug)]
pub struct Texel {
    /// Linear colour.
    pub albedo: Vec3,
    /// Mirror's strength.
    pub gloss: f32,
}

/// A place on a surface, in the body's own axes.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Where, metres.
    pub p: Vec3,
    /// Unit normal.
    pub n: Vec3,
    /// What a pixel covers, metres.
    pub footprint: f32,
}

impl Place {
    /// Across and up the face: (x or y, z) on upright faces, (x, y) on level ones.
    #[inline]
    pub fn unroll(&self) -> (f32, f32) {
        let n = v3(self.n.x.abs(), self.n.y.abs(), self.n.z.abs());
        if n.z > 0.7 {
            (self.p.x, self.p.y)
        } else if n.x > n.y {
            (self.p.y, self.p.z)
        } else {
            (self.p.x, self.p.z)
        }
    }

    /// How much of detail of this size is to be seen: 1 near, 0 where a pixel covers it.
    #[inline]
    pub fn detail(&self, size: f32) -> f32 {
        1.0 - smoothstep(0.3, 1.0, self.footprint / size)
    }

    /// The share of a pixel at `x` that lies within the line of half width `half` around `centre`.
    #[inline]
    pub fn line(&self, x: f32, centre: f32, half: f32) -> f32 {
        let f = self.footprint.max(1e-4);
        ((half - (x - centre).abs()) / f + 0.5).clamp(0.0, (2.0 * half / f).min(1.0))
    }

    /// The share of a pixel that lies within the joints of width `joint` of a grid of pitch `size`.
    #[inline]
    pub fn joints(&self, x: f32, size: f32, joint: f32) -> f32 {
        let from = fract(x / size) * size;
        let near = from.min(size - from);
        let f = self.footprint.max(1e-4);
        let sharp = ((joint * 0.5 - near) / f + 0.5).clamp(0.0, 1.0).min(joint / f);
        let mean = joint / size;
        mean + (sharp - mean) * self.detail(size)
    }
}

/// Bricks with every second row shifted.
pub fn brick(base: Vec3, joint: Vec3, u: f32, v: f32, size: f32, seed: u32, at: &Place) -> Vec3 {
    let height = size * 0.5;
    let row = floor(v / height);
    let u = u + if row as i32 & 1 == 0 { 0.0 } else { size * 0.5 };
    let tone = unit(lattice(floor(u / size) as i32, row as i32, 3, seed)) - 0.5;
    let share = at.joints(u, size, size * 0.08).max(at.joints(v, height, size * 0.08));
    (base * (1.0 + tone * 0.5 * at.detail(height))).mix(joint, share)
}
