//! Value noise on integer lattices: smooth, cheap, the same everywhere.

use crate::math::{Vec3, floor, lerp};
use crate::random::{hash, unit};

/// The hash of a lattice point.
#[inline]
pub fn lattice(x: i32, y: i32, z: i32, seed: u32) -> u32 {
    hash(
        (x as u32).wrapping_mul(0x8da6_b343)
            ^ (y as u32).wrapping_mul(0xd816_3841)
            ^ (z as u32).wrapping_mul(0xcb1a_b31f)
            ^ seed,
    )
}

#[inline]
fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// Smooth noise of the plane in [0, 1), with detail of size 1.
#[inline]
pub fn noise2(x: f32, y: f32, seed: u32) -> f32 {
    let (fx, fy) = (floor(x), floor(y));
    let (i, j) = (fx as i32, fy as i32);
    let (u, v) = (ease(x - fx), ease(y - fy));
    let at = |a, b| unit(lattice(i + a, j + b, 0, seed));
    lerp(lerp(at(0, 0), at(1, 0), u), lerp(at(0, 1), at(1, 1), u), v)
}

/// Smooth noise of space in [0, 1), with detail of size 1.
#[inline]
pub fn noise3(p: Vec3, seed: u32) -> f32 {
    let (fx, fy, fz) = (floor(p.x), floor(p.y), floor(p.z));
    let (i, j, k) = (fx as i32, fy as i32, fz as i32);
    let (u, v, w) = (ease(p.x - fx), ease(p.y - fy), ease(p.z - fz));
    let at = |a, b, c| unit(lattice(i + a, j + b, k + c, seed));
    let layer = |c| lerp(lerp(at(0, 0, c), at(1, 0, c), u), lerp(at(0, 1, c), at(1, 1, c), u), v);
    lerp(layer(0), layer(1), w)
}
