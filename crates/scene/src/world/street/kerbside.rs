//! What stands on the sidewalk's outer strip (trees, lamps, signs, bollards), in gardens and on green lots, and where
//! crossings are.

use super::{POLE, SMALL_FAR, Site, VEGETATION, whole};
use crate::description::{Body, Placement, Shape};
use crate::material::{Material, Pattern, srgb};
use crate::math::{Rotation, TURN, Vec3, v3};
use crate::random::Random;

const KERBSIDE: u32 = 0x20;
const CROSSING: u32 = 0x21;

/// Distance between places at the kerb, metres: one per parking place.
pub const PLACE: f64 = 6.5;
/// Distance between crossings, metres.
const CROSSING_PITCH: f64 = 75.0;
/// How far ahead posts are built, metres.
const POST_FAR: f64 = 52.0;
/// How far from the kerb trees and poles stand, metres.
pub const STRIP: f64 = 0.55;

impl Site<'_> {
    /// Where crossing `k` lies, if there is one.
    pub fn crossing(&self, k: i64) -> Option<f64> {
        let mut r = Random::of(&[self.seed, CROSSING, k as u32]);
        let s = (k as f64 + 0.5) * CROSSING_PITCH + r.range64(-20.0, 20.0);
        r.chance(0.75).then_some(s)
    }

    /// The crossing nearest to `s`, if one is within its slot or the next ones.
    pub fn crossing_near(&self, s: f64) -> Option<f64> {
        let k = whole(s / CROSSING_PITCH);
        let far = |c: &f64| (c - s).abs();
        (k - 1..=k + 1).filter_map(|k| self.crossing(k)).min_by(|a, b| far(a).total_cmp(&far(b)))
    }

    /// Numbers of the crossings that may be in the camera's sight.
    pub fn crossing_slots(&self) -> std::ops::RangeInclusive<i64> {
        self.slots(CROSSING_PITCH, 40.0, SMALL_FAR + 40.0)
    }

    /// Whether a crossing or its approach lies here.
    pub fn on_crossing(&self, s: f64, room: f64) -> bool {
        self.crossing_near(s).is_some_and(|c| (c - s).abs() < room)
    }
}

/// Leaves of one plant.
pub fn leaves(r: &mut Random, shifted: bool) -> Material {
    let green = if shifted {
        r.pick(&[srgb(0x9a7a30), srgb(0xa06030), srgb(0x7a7a38), srgb(0x506048)])
    } else {
        r.pick(&[srgb(0x4f7a30), srgb(0x5f8a3a), srgb(0x3f6a30), srgb(0x6f8a38), srgb(0x4a7048)])
    };
    let size = r.range(0.28, 0.45);
    Material::patterned(green * 0.45, green * r.range(0.9, 1.15), Pattern::Foliage { size }, r.bits())
}

/// Trees, lamps, signs and bollards along both kerbs.
pub fn fill(site: &mut Site) {
    let style = site.style;
    for side in [-1.0, 1.0] {
        let word = u32::from(side > 0.0);
        for k in site.slots(PLACE, 8.0, SMALL_FAR) {
            let mut r = Random::of(&[site.seed, KERBSIDE, word, k as u32]);
            let s = k as f64 * PLACE;
            let u = side * (style.half() + STRIP);
            let at = site.route.turned(s, u, style.kerb, if side > 0.0 { 0.0 } else { TURN * 0.5 });
            if site.on_crossing(s, 5.0) {
                continue;
            }
            // Further away posts would be less than a pixel or two wide.
            let near = s - site.here < POST_FAR;
            // Lamps in a rhythm, the rest by chance.
            if k.rem_euclid(4) == if side > 0.0 { 0 } else { 2 } {
                if near {
                    lamp(site, &mut r, &at);
                }
            } else if r.chance(style.trees) {
                tree(site, &mut r, &at, (style.walk - 0.8) as f32);
            } else if r.chance(style.poles) && near {
                match r.below(4) {
                    0 => bollards(site, &mut r, &at),
                    1 => utility(site, &mut r, &at),
                    _ => sign(site, &mut r, &at),
                }
            }
        }
    }
    // Traffic lights beside crossings.
    for k in site.crossing_slots() {
        let Some(s) = site.crossing(k) else { continue };
        let mut r = Random::of(&[site.seed, CROSSING, k as u32, 1]);
        if r.chance(0.7) && s - site.here < POST_FAR {
            for side in [-1.0, 1.0] {
                let at = site.route.turned(
                    s - side * 4.2,
                    side * (style.half() + STRIP),
                    style.kerb,
                    if side > 0.0 { 0.0 } else { TURN * 0.5 },
                );
                traffic_light(site, &at, k);
            }
        }
    }
}

fn metal(r: &mut Random, shifted: bool) -> Material {
    let colour = if shifted {
        r.pick(&[srgb(0x2c3a30), srgb(0x202428), srgb(0xb8b0a0)])
    } else {
        r.pick(&[srgb(0x8a9096), srgb(0x6e747a), srgb(0x4a5056), srgb(0x9aa0a4)])
    };
    Material::plain(colour).glossy(0.12)
}

fn post(site: &mut Site, at: &Placement, radius: f32, height: f32, material: Material) {
    let shape = Shape::Cylinder { radius, half: height * 0.5 };
    site.still(at, v3(0.0, 0.0, height * 0.5), shape, POLE, material);
}

/// A street lamp with an arm over the road (local −x).
fn lamp(site: &mut Site, r: &mut Random, at: &Placement) {
    let material = metal(&mut Random::of(&[site.seed, KERBSIDE, 9]), site.style.shifted);
    let height = 6.6 + r.range(-0.2, 0.4);
    post(site, at, 0.15, height, material);
    post(site, at, 0.2, 0.9, material);
    site.still(at, v3(-0.75, 0.0, height), Shape::Cuboid { half: v3(0.85, 0.1, 0.1) }, POLE, material);
    let head = Material::plain(srgb(0xd8d8d0));
    site.still(at, v3(-1.6, 0.0, height - 0.02), Shape::Cuboid { half: v3(0.42, 0.17, 0.11) }, POLE, head);
}

/// A wooden or concrete mast.
fn utility(site: &mut Site, r: &mut Random, at: &Placement) {
    let wood = r.chance(0.5);
    let colour = if wood { srgb(0x6e5844) } else { srgb(0xa09c94) };
    let material = Material::patterned(colour, colour * 0.7, Pattern::Noise { size: 0.3 }, r.bits());
    let height = r.range(6.5, 8.0);
    post(site, at, r.range(0.15, 0.18), height, material);
    site.still(at, v3(0.0, 0.0, height - 0.6), Shape::Cuboid { half: v3(0.9, 0.1, 0.1) }, POLE, material);
}

/// A sign on a post, facing those who drive towards it (local −y).
fn sign(site: &mut Site, r: &mut Random, at: &Placement) {
    let height = r.range(2.5, 3.1);
    post(site, at, 0.125, height, metal(r, site.style.shifted));
    let colour = r.pick(&[srgb(0xc02a28), srgb(0x2850b0), srgb(0xe0c030), srgb(0xe6e6e2), srgb(0x2a7a4a)]);
    let plate = Material::patterned(
        colour,
        srgb(0xf0f0ee),
        Pattern::Stripes { size: r.range(0.5, 1.3), upright: r.chance(0.3) },
        0,
    );
    let turned = at.carry(v3(0.0, -0.15, height - 0.35), &Rotation::pitch(TURN * 0.25));
    let shape = if r.chance(0.5) {
        Shape::Cylinder { radius: 0.38, half: 0.03 }
    } else {
        Shape::Cuboid { half: v3(r.range(0.3, 0.5), r.range(0.3, 0.45), 0.03) }
    };
    site.bodies.push(Body::still(shape, turned, POLE, plate));
}

fn bollards(site: &mut Site, r: &mut Random, at: &Placement) {
    let stripes = Pattern::Stripes { size: 0.9, upright: false };
    let material = if r.chance(0.5) {
        Material::patterned(srgb(0x50565c), srgb(0xd8d8d4), stripes, 0)
    } else {
        metal(r, site.style.shifted)
    };
    for i in -1..=1 {
        let at = at.carry(v3(0.0, i as f32 * 1.5, 0.0), &Rotation::IDENTITY);
        post(site, &at, 0.14, 1.0, material);
    }
}

fn traffic_light(site: &mut Site, at: &Placement, k: i64) {
    let dark = Material::plain(srgb(0x2c3034));
    post(site, at, 0.15, 3.6, Material::plain(srgb(0x5c6468)).glossy(0.1));
    site.still(at, v3(0.0, -0.16, 3.2), Shape::Cuboid { half: v3(0.22, 0.14, 0.52) }, POLE, dark);
    let time = site.times[0] / 6.0 + k as f64 * 0.37;
    let on = (whole(time * 2.0).rem_euclid(3)) as usize;
    let colours = [srgb(0xff3020), srgb(0xffb020), srgb(0x30ff70)];
    for (i, &colour) in colours.iter().enumerate() {
        let glow = if i == on { 2.0 } else { 0.0 };
        let material = Material::plain(colour * if i == on { 1.0 } else { 0.12 }).glowing(glow);
        let lens = at.carry(v3(0.0, -0.29, 3.52 - 0.32 * i as f32), &Rotation::IDENTITY);
        site.bodies.push(Body::still(Shape::Ellipsoid { radii: Vec3::splat(0.11) }, lens, POLE, material).shadowless());
    }
}

/// A tree: trunk and crown, both vegetation.
pub fn tree(site: &mut Site, r: &mut Random, at: &Placement, most: f32) {
    let bark = r.pick(&[srgb(0x5c4a38), srgb(0x6a5a4a), srgb(0x4c4238)]);
    let trunk = Material::patterned(bark, bark * 0.55, Pattern::Noise { size: 0.25 }, r.bits());
    let green = leaves(r, site.style.shifted);
    let radius = r.range(1.5, 2.3).min(most);
    let low = r.range(2.5, 3.1);
    let shape = Shape::Cylinder { radius: r.range(0.13, 0.22), half: (low + 0.6) * 0.5 };
    site.still(at, v3(0.0, 0.0, (low + 0.6) * 0.5), shape, VEGETATION, trunk);
    if r.chance(0.2) && !site.style.shifted {
        // A conifer-like tall crown.
        let radii = v3(radius * 0.75, radius * 0.75, radius * 1.7);
        site.still(at, v3(0.0, 0.0, low + radius * 1.5), Shape::Ellipsoid { radii }, VEGETATION, green);
        return;
    }
    let middle = low + radius * 0.95;
    let radii = v3(radius * 0.86, radius * 0.86, radius * 0.9);
    site.still(at, v3(0.0, 0.0, middle), Shape::Ellipsoid { radii }, VEGETATION, green);
    let turn = r.range64(0.0, TURN);
    for i in 0..4 {
        let (s, c) = crate::math::sin_cos(turn + TURN * 0.25 * i as f64);
        let size = radius * r.range(0.5, 0.62);
        let out = radius - size;
        let offset = v3(c * out, s * out, middle + radius * r.range(-0.25, 0.45));
        site.still(at, offset, Shape::Ellipsoid { radii: v3(size, size, size * 0.9) }, VEGETATION, green);
    }
}

fn hedge(site: &mut Site, at: &Placement, half: [f32; 2], height: f32, green: Material) {
    let shape = Shape::Taper { half: v3(half[0], half[1], height * 0.5), top: [half[0] * 0.85, half[1] * 0.98] };
    site.still(at, v3(0.0, 0.0, height * 0.5), shape, VEGETATION, green);
}

fn bush(site: &mut Site, r: &mut Random, at: &Placement, green: Material) {
    let size = r.range(0.5, 0.9);
    let radii = v3(size, size * r.range(0.9, 1.3), size * r.range(0.8, 1.1));
    site.still(at, v3(0.0, 0.0, radii.z * 0.6), Shape::Ellipsoid { radii }, VEGETATION, green);
}

/// The front garden of a small house: hedge or bushes behind the sidewalk.
pub fn garden(site: &mut Site, r: &mut Random, side: f64, middle: f64, length: f64, depth: f64) {
    let edge = site.style.half() + site.style.walk;
    let green = leaves(r, site.style.shifted);
    if r.chance(0.6) {
        // In three pieces, so that it follows the bend.
        let height = r.range(0.8, 1.5);
        for i in -1..=1 {
            let at = site.route.place(middle + f64::from(i) * length / 3.0, side * (edge + 0.5), 0.0);
            hedge(site, &at, [0.4, (length / 6.0 - 0.05) as f32], height, green);
        }
    } else {
        for i in -2..=2 {
            let s = middle + f64::from(i) * 2.8 + r.range64(-0.4, 0.4);
            let at = site.route.place(s, side * (edge + 1.0 + r.range64(0.0, depth - 2.2)), 0.0);
            if r.chance(0.7) {
                bush(site, r, &at, green);
            }
        }
    }
    if r.chance(0.5) {
        let at = site.route.place(middle - length * 0.5, side * (edge + depth + 2.0), 0.0);
        tree(site, r, &at, 2.3);
    }
}

/// A lot without a house: trees, bushes, hedge.
pub fn green(site: &mut Site, r: &mut Random, side: f64, middle: f64, length: f64) {
    let edge = site.style.half() + site.style.walk;
    let hedged = r.chance(0.5);
    let leaf = leaves(r, site.style.shifted);
    if hedged {
        let height = r.range(0.9, 1.9);
        for i in -1..=1 {
            let at = site.route.place(middle + f64::from(i) * length / 3.0, side * (edge + 0.6), 0.0);
            hedge(site, &at, [0.5, (length / 6.0 - 0.02) as f32], height, leaf);
        }
    }
    for i in 0..4 {
        let s = middle + (f64::from(i) - 1.5) * length * 0.25;
        let u = edge + r.range64(3.2, 5.0) + if i % 2 == 0 { 0.0 } else { 5.5 };
        let at = site.route.place(s, side * u, 0.0);
        if r.chance(0.8) {
            tree(site, r, &at, 2.4);
        } else {
            bush(site, r, &at, leaf);
        }
    }
}
