//! Carriageway, sidewalks, ground, and what stands along them: town houses, small houses with gardens, green lots.

use super::{BUILDING, FAR, ROAD, SIDEWALK, Site, VEGETATION};
use super::{kerbside, whole};
use crate::description::{Body, Placement, Shape};
use crate::material::{Material, Pattern, srgb};
use crate::math::{Rotation, Vec3, v3};
use crate::random::Random;

const GROUND: u32 = 0x10;
const LOT: u32 = 0x11;
const BACK: u32 = 0x12;

/// Length of a straight piece of street, metres.
const PIECE: f64 = 8.0;
/// Length of a lot along the street, metres.
const LOT_LENGTH: f64 = 15.0;
/// Patterns along the street repeat after this: a multiple of all their periods (6, 6.5 and 11 m).
const REPEAT: f64 = 6864.0;

/// Carriageway, sidewalks, and the green plane below everything.
pub fn ground(site: &mut Site, wet: f32) {
    let style = site.style;
    let mut r = Random::of(&[site.seed, GROUND]);
    let grey = r.range(0.30, 0.42);
    let tint = v3(1.0, 1.0, 1.0 + r.range(-0.02, 0.06));
    let asphalt = tint * (grey * grey * (1.0 - 0.35 * wet));
    let slab = if style.shifted {
        r.pick(&[srgb(0xa08a78), srgb(0x8c8f86), srgb(0x9a7f74)])
    } else {
        r.pick(&[srgb(0xb4aea4), srgb(0xa8a6a2), srgb(0xbcae9c), srgb(0xa89a92), srgb(0xb0b0b4)])
    };
    let slab_size = r.range(0.5, 1.1);
    let lawn = lawn(site.seed, style.shifted);

    // The ground's pattern starts anew every few kilometres, so that f32 is enough for it.
    let lattice = 4096.0;
    let at = Placement::upright([0.0, whole(site.here / lattice) as f64 * lattice, 0.0], 0.0);
    site.bodies.push(Body::still(Shape::Plane, at, VEGETATION, lawn).shadowless());

    let (half, kerb, walk) = (style.half(), style.kerb, style.walk);
    for k in site.slots(PIECE, 16.0, FAR) {
        let s = (k as f64 + 0.5) * PIECE;
        let bend = site.route.bend(s) as f32;
        let along = (s - whole(s / REPEAT) as f64 * REPEAT) as f32;
        let crossing = site.crossing_near(s).map_or(-1e6, |c| (c - s) as f32 + along);
        let pattern = Pattern::Road { half: half as f32, parking: style.parking as f32, along, bend, crossing };
        let road = Material::patterned(asphalt, asphalt * 0.72, pattern, site.seed).glossy(0.04 + 0.5 * wet);
        let reach = (PIECE * 0.5 + 0.35) as f32;
        let at = site.route.place(s, 0.0, 0.03);
        site.bodies.push(Body::still(Shape::Rectangle { half: [half as f32, reach] }, at, ROAD, road).shadowless());
        for side in [-1.0, 1.0] {
            let at = site.route.place(s, side * (half + walk * 0.5), kerb * 0.5);
            let shape = Shape::Cuboid { half: v3(walk as f32 * 0.5, reach, kerb as f32 * 0.5) };
            let pattern = Pattern::Paving { size: slab_size, along, bend };
            let paving = Material::patterned(slab, slab * 0.55, pattern, site.seed).glossy(0.25 * wet);
            site.bodies.push(Body::still(shape, at, SIDEWALK, paving).shadowless());
        }
    }
}

/// The grass of this street.
fn lawn(seed: u32, shifted: bool) -> Material {
    let mut r = Random::of(&[seed, GROUND, 1]);
    let green = if shifted { srgb(0x8a8040) } else { r.pick(&[srgb(0x5f8a3a), srgb(0x6b9440), srgb(0x7a9448)]) };
    Material::patterned(green * 0.62, green, Pattern::Foliage { size: 0.35 }, seed)
}

/// Lots on both sides, and a second row behind.
pub fn rows(site: &mut Site) {
    for side in [-1.0, 1.0] {
        for k in site.slots(LOT_LENGTH, 20.0, FAR) {
            lot(site, side, k);
        }
        for k in site.slots(26.0, 0.0, FAR + 20.0) {
            back(site, side, k);
        }
    }
}

fn side_word(side: f64) -> u32 {
    u32::from(side > 0.0)
}

/// Colours of walls.
fn wall(r: &mut Random, shifted: bool) -> (Vec3, Vec3, bool) {
    let brick = r.chance(0.35);
    let base = match (shifted, brick) {
        (false, true) => r.pick(&[srgb(0xa0583f), srgb(0x8f4a38), srgb(0xb0785a), srgb(0x7f5a48), srgb(0xc09a70)]),
        (false, false) => r.pick(&[
            srgb(0xd8c8a8),
            srgb(0xe0d8cc),
            srgb(0xc8b090),
            srgb(0xd0a888),
            srgb(0xb8bcc0),
            srgb(0xdcd098),
            srgb(0xc0a8a0),
            srgb(0xa8b4b8),
            srgb(0xc88a6c),
        ]),
        (true, true) => r.pick(&[srgb(0x5f5550), srgb(0x8a7a60), srgb(0x6f3f38)]),
        (true, false) => r.pick(&[srgb(0x9ab0a0), srgb(0x88a0b8), srgb(0xb88898), srgb(0x787c80), srgb(0xe8e4e0)]),
    };
    let trim = if r.chance(0.6) { srgb(0xe6e2da) } else { base * 0.5 };
    (base * r.range(0.8, 1.05), trim, brick)
}

fn lot(site: &mut Site, side: f64, k: i64) {
    let style = site.style;
    let mut r = Random::of(&[site.seed, LOT, side_word(side), k as u32]);
    let edge = style.half() + style.walk;
    let middle = (k as f64 + 0.5) * LOT_LENGTH;
    if r.chance(style.town) {
        let floors = 2 + r.below(style.floors - 1);
        let storey = r.range(2.9, 3.5);
        let height = floors as f32 * storey + 0.5;
        let length = (LOT_LENGTH - if r.chance(0.25) { r.range64(2.0, 4.5) } else { 0.0 }) * 0.5;
        let depth = r.range64(4.5, 6.5);
        let back = if r.chance(0.7) { 0.0 } else { r.range64(0.5, 2.0) };
        let (base, trim, brick) = wall(&mut r, style.shifted);
        let pattern = Pattern::Facade {
            half: height * 0.5,
            floor: storey,
            bay: r.range(1.9, 3.0),
            open: r.range(0.42, 0.7),
            glass: v3(0.035, 0.05, 0.07) * r.range(0.7, 1.8),
            brick,
            shop: r.chance(0.45),
        };
        let front = Material::patterned(base, trim, pattern, r.bits());
        let at = site.route.place(middle, side * (edge + back + depth), 0.0);
        let up = v3(0.0, 0.0, height * 0.5);
        site.still(&at, up, Shape::Cuboid { half: v3(depth as f32, length as f32, height * 0.5) }, BUILDING, front);
        roof(site, &mut r, &at, [depth as f32, length as f32], height, base);
    } else if r.chance(style.houses) {
        let back = r.range64(2.5, 4.5);
        let (depth, length) = (r.range64(4.0, 5.0), r.range64(4.5, 6.0));
        let storey = r.range(2.7, 3.0);
        let height = (1 + r.below(2)) as f32 * storey + 0.4;
        let (base, trim, brick) = wall(&mut r, style.shifted);
        let pattern = Pattern::Facade {
            half: height * 0.5,
            floor: storey,
            bay: r.range(2.2, 3.0),
            open: r.range(0.4, 0.55),
            glass: v3(0.035, 0.05, 0.07) * r.range(0.7, 1.8),
            brick,
            shop: false,
        };
        let at = site.route.place(middle, side * (edge + back + depth), 0.0);
        let half = v3(depth as f32, length as f32, height * 0.5);
        let front = Material::patterned(base, trim, pattern, r.bits());
        site.still(&at, v3(0.0, 0.0, height * 0.5), Shape::Cuboid { half }, BUILDING, front);
        gable(site, &mut r, &at, [depth as f32, length as f32], height);
        kerbside::garden(site, &mut r, side, middle, LOT_LENGTH, back);
    } else {
        kerbside::green(site, &mut r, side, middle, LOT_LENGTH);
    }
}

/// A flat roof with a cornice, or a steep one.
fn roof(site: &mut Site, r: &mut Random, at: &Placement, half: [f32; 2], height: f32, wall: Vec3) {
    if r.chance(0.35) {
        gable(site, r, at, half, height);
        return;
    }
    let rim = Material::plain(wall * 0.7);
    let shape = Shape::Cuboid { half: v3(half[0] + 0.2, half[1] + 0.02, 0.2) };
    site.still(at, v3(0.0, 0.0, height + 0.2), shape, BUILDING, rim);
}

fn gable(site: &mut Site, r: &mut Random, at: &Placement, half: [f32; 2], height: f32) {
    let rise = r.range(1.0, 1.9);
    let tiles = if site.style.shifted {
        r.pick(&[srgb(0x38424a), srgb(0x4a3a50)])
    } else {
        r.pick(&[srgb(0x8c4a38), srgb(0x6a4438), srgb(0x50504e), srgb(0x74503c)])
    };
    let material = Material::patterned(tiles, tiles * 0.6, Pattern::Stripes { size: 0.5, upright: false }, r.bits());
    let shape = Shape::Taper { half: v3(half[0] + 0.3, half[1] + 0.05, rise), top: [0.15, half[1] * 0.96] };
    site.still(at, v3(0.0, 0.0, height + rise), shape, BUILDING, material);
}

/// Larger houses behind the first row, seen through the gaps; and what closes the view.
fn back(site: &mut Site, side: f64, k: i64) {
    let style = site.style;
    let mut r = Random::of(&[site.seed, BACK, side_word(side), k as u32]);
    let u = side * (style.half() + style.walk + r.range64(24.0, 34.0));
    let at = site.route.turned((k as f64 + 0.5) * 26.0, u, 0.0, r.range64(-0.2, 0.2));
    if r.chance(0.55) {
        let height = r.range(7.0, 9.0 + style.floors as f32 * 2.0);
        let (base, trim, brick) = wall(&mut r, style.shifted);
        let pattern = Pattern::Facade {
            half: height * 0.5,
            floor: 3.2,
            bay: r.range(2.4, 3.4),
            open: r.range(0.45, 0.7),
            glass: v3(0.04, 0.055, 0.075),
            brick,
            shop: false,
        };
        let front = Material::patterned(base, trim, pattern, r.bits());
        let half = v3(r.range(5.0, 8.0), r.range(8.0, 11.0), height * 0.5);
        site.still(&at, v3(0.0, 0.0, height * 0.5), Shape::Cuboid { half }, BUILDING, front);
    } else {
        let green = kerbside::leaves(&mut r, style.shifted);
        for i in 0..3 {
            let radius = r.range(3.0, 5.0);
            let offset = v3(r.range(-3.0, 3.0), (i as f32 - 1.0) * 7.5, radius * 0.9);
            let radii = v3(radius, radius, radius * 1.15);
            let place = at.carry(offset, &Rotation::IDENTITY);
            site.bodies.push(Body::still(Shape::Ellipsoid { radii }, place, VEGETATION, green));
        }
    }
}
