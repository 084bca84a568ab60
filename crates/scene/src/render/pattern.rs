//! The colour of a place on a surface. Every pattern fades to its mean where a pixel covers more than its detail, so that
//! pictures neither flicker nor depend on how many samples are taken. Must be cheap: it runs for every sample.

use super::facade;
use super::noise::{lattice, noise2, noise3};
use super::place::{Place, Texel, brick};
use crate::material::{Material, Pattern};
use crate::math::{Vec3, floor, fract, smoothstep};
use crate::random::unit;

/// The colour at a place.
pub fn texel(material: &Material, at: &Place) -> Texel {
    let m = material;
    let mut gloss = m.gloss;
    let albedo = match m.pattern {
        Pattern::Plain => m.base,
        Pattern::Noise { size } => {
            let s = 1.0 / size;
            m.base.mix(m.second, 0.5 + (noise3(at.p * s, m.seed) - 0.5) * at.detail(size))
        }
        Pattern::Brick { size } => {
            let (u, v) = at.unroll();
            brick(m.base, m.second, u, v, size, m.seed, at)
        }
        Pattern::Tiles { size } => {
            let (u, v) = at.unroll();
            tiles(m.base, m.second, u, v, size, size * 0.06, m.seed, at)
        }
        Pattern::Stripes { size, upright } => {
            let x = if upright { at.p.x + at.p.y } else { at.p.z };
            let wave = fract(x / size);
            let f = (at.footprint / size).max(1e-3);
            let share = ((0.25 - (wave - 0.5).abs()) / f + 0.5).clamp(0.0, 1.0);
            m.base.mix(m.second, 0.5 + (share - 0.5) * at.detail(size))
        }
        Pattern::Wood { size } => {
            let (u, v) = at.unroll();
            let board = floor(v / size) as i32;
            let tone = unit(lattice(board, 7, 0, m.seed)) - 0.5;
            let grain = noise2(u * 1.5 + tone * 50.0, v / size * 9.0, m.seed) - 0.5;
            let shade = 0.4 + (tone * 0.5) * at.detail(size) + grain * 0.7 * at.detail(size * 0.12);
            m.base.mix(m.second, shade) * (1.0 - 0.45 * at.joints(v, size, size * 0.04))
        }
        Pattern::Foliage { size } => {
            let s = 1.0 / size;
            let coarse = noise3(at.p * (s * 0.35), m.seed) - 0.5;
            let fine_share = at.detail(size);
            let fine = if fine_share > 0.0 { (noise3(at.p * s, m.seed ^ 77) - 0.5) * fine_share } else { 0.0 };
            let coarse = coarse * at.detail(size * 2.9);
            m.base.mix(m.second, (0.5 + coarse * 0.9 + fine * 0.9).clamp(0.0, 1.0)) * (1.0 + 1.1 * fine)
        }
        Pattern::Road { half, parking, along, bend, crossing } => {
            let across = at.p.x - 0.5 * bend * at.p.y * at.p.y;
            let (colour, wet) = road(m, at, across, at.p.y + along, half, parking, crossing);
            gloss *= wet;
            colour
        }
        Pattern::Paving { size, along, bend } => {
            let across = at.p.x - 0.5 * bend * at.p.y * at.p.y;
            if at.n.z > 0.5 {
                tiles(m.base, m.second, across, at.p.y + along, size, 0.03, m.seed, at)
            } else {
                // The kerb's stone.
                m.base.mix(Vec3::splat(0.35), 0.5) * (1.0 - 0.5 * at.joints(at.p.y + along, 1.0, 0.03))
            }
        }
        Pattern::Facade { .. } => return facade::texel(material, at),
    };
    Texel { albedo, gloss }
}

#[allow(clippy::too_many_arguments)]
fn tiles(base: Vec3, joint: Vec3, u: f32, v: f32, size: f32, gap: f32, seed: u32, at: &Place) -> Vec3 {
    let tone = unit(lattice(floor(u / size) as i32, floor(v / size) as i32, 5, seed)) - 0.5;
    let share = at.joints(u, size, gap).max(at.joints(v, size, gap));
    (base * (1.0 + tone * 0.28 * at.detail(size))).mix(joint, share)
}

/// Asphalt with its lines; the second value scales the gloss (wet patches).
fn road(m: &Material, at: &Place, x: f32, y: f32, half: f32, parking: f32, crossing: f32) -> (Vec3, f32) {
    let patches = noise2(x * 0.7, y * 0.16, m.seed) - 0.5;
    let grain_share = at.detail(0.12);
    let grain = if grain_share > 0.0 { (noise2(x * 9.0, y * 9.0, m.seed ^ 5) - 0.5) * grain_share } else { 0.0 };
    // Wheels darken the lanes' middles.
    let lane = half - parking;
    let worn = 1.0 - smoothstep(0.25, 0.6, ((x.abs() / lane - 0.5).abs() - 0.22).abs() * lane);
    let mut colour = m.base.mix(m.second, 0.5 + patches * 0.9 * at.detail(1.5)) * (1.0 + grain * 0.35 - worn * 0.08);
    // Seams across, every few metres.
    let seam = at.line(fract(y / 11.0) * 11.0, 5.5, 0.03) * 0.3;
    colour = colour * (1.0 - seam);
    let dash = {
        let t = fract(y / 6.0) * 6.0;
        let f = at.footprint.max(1e-4);
        (((1.5 - (t - 3.0).abs()) / f + 0.5).clamp(0.0, 1.0) - 0.5) * at.detail(5.0) + 0.5
    };
    let away = (y - crossing).abs();
    let mut white = at.line(x, 0.0, 0.07) * dash;
    if parking > 0.0 {
        white = white.max(at.line(x.abs(), lane, 0.06));
        if x.abs() > lane {
            // Bars between parking places.
            white = white.max(at.line(fract(y / 6.5) * 6.5, 3.25, 0.05));
        }
    } else {
        white = white.max(at.line(x.abs(), half - 0.25, 0.06));
    }
    if away < 6.0 {
        white *= smoothstep(2.4, 2.6, away);
        let bars = {
            let t = fract(x / 1.0 + 0.25) - 0.5;
            let f = at.footprint.max(1e-4);
            (((0.25 - t.abs()) / f + 0.5).clamp(0.0, 1.0) - 0.5) * at.detail(1.0) + 0.5
        };
        let along = ((1.6 - away) / at.footprint.max(1e-4) + 0.5).clamp(0.0, 1.0);
        white = white.max(bars * along * f32::from(x.abs() < lane - 0.2));
        white = white.max(at.line(away, 2.9, 0.15) * f32::from(x.abs() < lane && (x > 0.0) == (y < crossing)));
    }
    let paint = 0.62 + 0.16 * patches + 0.2 * grain;
    let wet = smoothstep(-0.12, 0.15, patches);
    (colour.mix(Vec3::splat(paint), white * 0.9), 0.35 + 0.65 * wet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::material::srgb;
    use crate::math::v3;
    use crate::random::Random;

    /// What a pixel sees from afar must be what many pixels see from near, on average: else surfaces would change their
    /// colour with distance.
    #[test]
    fn patterns_fade_to_their_own_mean() {
        let glass = v3(0.04, 0.05, 0.07);
        let facade = |brick, shop| Pattern::Facade { half: 6.0, floor: 3.0, bay: 2.5, open: 0.5, glass, brick, shop };
        let road = Pattern::Road { half: 5.5, parking: 2.3, along: 40.0, bend: 0.004, crossing: 300.0 };
        let patterns = [
            Pattern::Plain,
            Pattern::Noise { size: 0.4 },
            Pattern::Brick { size: 0.5 },
            Pattern::Tiles { size: 0.6 },
            Pattern::Stripes { size: 0.5, upright: false },
            Pattern::Wood { size: 0.3 },
            Pattern::Foliage { size: 0.35 },
            road,
            Pattern::Paving { size: 0.7, along: 3.0, bend: 0.0 },
            facade(false, false),
            facade(true, false),
        ];
        for pattern in patterns {
            let material = Material::patterned(srgb(0xb09070), srgb(0x605040), pattern, 77);
            let level = matches!(pattern, Pattern::Road { .. } | Pattern::Paving { .. });
            let n = if level { v3(0.0, 0.0, 1.0) } else { v3(0.0, -1.0, 0.0) };
            let mut random = Random::of(&[3]);
            let (mut near, mut far) = (Vec3::ZERO, Vec3::ZERO);
            let count = 20_000;
            for _ in 0..count {
                let (a, b) = (random.range(-5.4, 5.4), random.range(-5.4, 5.4));
                let p = if level { v3(a, b, 0.0) } else { v3(a, 0.0, b) };
                near = near + texel(&material, &Place { p, n, footprint: 0.005 }).albedo;
                far = far + texel(&material, &Place { p, n, footprint: 3.0 }).albedo;
            }
            let ratio = (far.x + far.y + far.z) / (near.x + near.y + near.z);
            assert!((0.85..1.18).contains(&ratio), "{pattern:?}: {ratio}");
        }
    }
}
