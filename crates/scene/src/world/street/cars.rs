//! Vehicles: parked at the kerbs, ahead in the camera's own lane, and oncoming. Each keeps its lane and its distance.

use super::kerbside::PLACE;
use super::{SMALL_FAR, Site, VEHICLE};
use crate::description::{Body, Placement, Shape};
use crate::material::{Material, Pattern, srgb};
use crate::math::{Rotation, TURN, Vec3, sin, v3};
use crate::random::Random;

const PARKED: u32 = 0x40;
const AHEAD: u32 = 0x41;
const ONCOMING: u32 = 0x42;

/// Distance between places in the oncoming lane, metres.
const ONCOMING_PITCH: f64 = 21.0;

/// How a vehicle is built. Metres.
#[derive(Clone, Copy)]
struct Build {
    length: f32,
    width: f32,
    /// Top of the lower body, and of the roof.
    waist: f32,
    roof: f32,
    /// Cabin: from and to along the length, −½ … ½, at its foot; and how much shorter its top is at front and back.
    cabin: [f32; 2],
    rake: f32,
    wheel: f32,
}

const HATCH: Build =
    Build { length: 4.0, width: 1.76, waist: 0.92, roof: 1.5, cabin: [-0.47, 0.2], rake: 0.55, wheel: 0.32 };
const SALOON: Build =
    Build { length: 4.6, width: 1.8, waist: 0.9, roof: 1.44, cabin: [-0.36, 0.2], rake: 0.65, wheel: 0.33 };
const ESTATE: Build =
    Build { length: 4.6, width: 1.84, waist: 1.02, roof: 1.68, cabin: [-0.48, 0.2], rake: 0.5, wheel: 0.36 };
const VAN: Build =
    Build { length: 5.2, width: 1.96, waist: 1.25, roof: 2.2, cabin: [-0.49, 0.36], rake: 0.5, wheel: 0.36 };
const BUS: Build =
    Build { length: 9.0, width: 2.4, waist: 1.2, roof: 2.85, cabin: [-0.495, 0.495], rake: 0.15, wheel: 0.46 };

/// All vehicles in sight.
pub fn fill(site: &mut Site) {
    parked(site);
    ahead(site);
    oncoming(site);
}

fn parked(site: &mut Site) {
    let style = site.style;
    if style.parking == 0.0 {
        return;
    }
    for side in [-1.0, 1.0] {
        for k in site.slots(PLACE, 8.0, SMALL_FAR) {
            let mut r = Random::of(&[site.seed, PARKED, u32::from(side > 0.0), k as u32]);
            let s = (k as f64 + 0.5) * PLACE + r.range64(-0.35, 0.35);
            if !r.chance(style.parked) || site.on_crossing(s, 7.0) {
                continue;
            }
            let u = side * (style.half() - 1.12 + r.range64(-0.05, 0.1));
            let yaw = if side > 0.0 { 0.0 } else { TURN * 0.5 };
            let at = site.route.turned(s, u, 0.03, yaw + r.range64(-0.02, 0.02));
            let build = r.pick(&[HATCH, HATCH, SALOON, SALOON, ESTATE, VAN]);
            vehicle(site, &mut r, [at, at], build, false, s - site.here);
        }
    }
}

/// The gap to the vehicle `i` ahead in the own lane at this time, metres between the camera and its middle.
fn gap(r: &mut Random, i: u32, time: f64) -> f64 {
    let (size, hertz, phase) = (r.range64(1.0, 4.0), r.range64(0.02, 0.05), r.range64(0.0, TURN));
    15.0 + 19.0 * f64::from(i) + r.range64(-2.5, 2.5) + size * sin(TURN * hertz * time + phase)
}

/// How many vehicles may be ahead in the own lane.
const AHEAD_COUNT: u32 = 3;

/// How far ahead of the camera the last vehicle of its own lane is, at most; what a car needs where there is none.
pub fn ahead_most(site: &Site) -> f64 {
    let there = |i: &u32| Random::of(&[site.seed, AHEAD, *i]).chance(site.style.traffic * 0.8);
    (0..AHEAD_COUNT).rev().find(there).map_or(12.0, |i| 15.0 + 19.0 * f64::from(i) + 2.5 + 4.0 + 5.0)
}

fn ahead(site: &mut Site) {
    let style = site.style;
    for i in 0..AHEAD_COUNT {
        let mut r = Random::of(&[site.seed, AHEAD, i]);
        if !r.chance(style.traffic * 0.8) {
            continue;
        }
        let build = r.pick(&[HATCH, SALOON, SALOON, ESTATE, VAN, BUS]);
        let motion = r.clone();
        let places = site.times.map(|time| {
            let s = site.route.travelled(time) + gap(&mut motion.clone(), i, time);
            site.route.place(s, style.lane * 0.5, 0.03)
        });
        let distance = gap(&mut motion.clone(), i, site.times[0]);
        vehicle(site, &mut r, places, build, true, distance);
    }
}

/// Where oncoming vehicle `k` is at this time, if there is one.
pub fn oncoming_place(site: &Site, k: i64, time: f64) -> Option<f64> {
    let mut r = Random::of(&[site.seed, ONCOMING, k as u32]);
    if !r.chance(site.style.traffic) {
        return None;
    }
    Some(k as f64 * ONCOMING_PITCH + r.range64(-4.0, 4.0) - oncoming_speed(site) * time)
}

fn oncoming_speed(site: &Site) -> f64 {
    Random::of(&[site.seed, ONCOMING]).range64(6.0, 11.0)
}

/// The oncoming vehicles' numbers between two places at this time.
pub fn oncoming_between(site: &Site, from: f64, to: f64, time: f64) -> std::ops::RangeInclusive<i64> {
    let moved = oncoming_speed(site) * time;
    super::whole((from + moved - 5.0) / ONCOMING_PITCH)..=super::whole((to + moved + 5.0) / ONCOMING_PITCH) + 1
}

fn oncoming(site: &mut Site) {
    let style = site.style;
    for k in oncoming_between(site, site.here - 10.0, site.here + SMALL_FAR + 10.0, site.times[0]) {
        let [Some(now), Some(next)] = site.times.map(|time| oncoming_place(site, k, time)) else { continue };
        let places = [now, next].map(|s| site.route.turned(s, -style.lane * 0.5, 0.03, TURN * 0.5));
        let mut r = Random::of(&[site.seed, ONCOMING, k as u32, 1]);
        let build = r.pick(&[HATCH, HATCH, SALOON, SALOON, ESTATE, VAN, BUS]);
        vehicle(site, &mut r, places, build, true, now - site.here);
    }
}

/// Adds a vehicle that stands on the ground at `places` (now and next), facing local y.
fn vehicle(site: &mut Site, r: &mut Random, places: [Placement; 2], build: Build, lit: bool, distance: f64) {
    let b = build;
    let colour = if site.style.shifted {
        r.pick(&[srgb(0xd8d4c0), srgb(0x306858), srgb(0x8a5020), srgb(0x50506a), srgb(0xc8a020), srgb(0x6a2040)])
    } else {
        r.pick(&[
            srgb(0xb4b8bc),
            srgb(0x2c3036),
            srgb(0xe4e4e2),
            srgb(0xa02824),
            srgb(0x2a4a80),
            srgb(0x6c7278),
            srgb(0x3a5a48),
            srgb(0xc8b898),
            srgb(0x484c54),
            srgb(0xd08a28),
        ])
    };
    let paint = Material::plain(colour).glossy(0.28);
    let glass = Material::plain(srgb(0x1c242c)).glossy(0.6);
    let dark = Material::plain(srgb(0x1c1c1e));
    let mut add = |offset: Vec3, rotation: &Rotation, shape: Shape, material: Material, shadow: bool| {
        let [now, next] = places.map(|place| place.carry(offset, rotation));
        let body = Body::moving(shape, now, next, VEHICLE, material);
        site.bodies.push(if shadow { body } else { body.shadowless() });
    };
    let (w, l) = (b.width * 0.5, b.length * 0.5);
    let level = Rotation::IDENTITY;
    // Lower body above the wheels' middle, drawn in a little at the top.
    let foot = 0.24;
    let half = (b.waist - foot) * 0.5;
    let shape = Shape::Taper { half: v3(w, l, half), top: [w * 0.95, l * 0.97] };
    add(v3(0.0, 0.0, foot + half), &level, shape, paint, true);
    // Cabin of glass under a painted roof.
    let (from, to) = (b.cabin[0] * b.length, b.cabin[1] * b.length);
    let half = (b.roof - b.waist) * 0.5;
    let (cabin, middle) = ((to - from) * 0.5, (to + from) * 0.5);
    let top = [w * 0.78, (cabin - b.rake).max(cabin * 0.5)];
    let upright = if b.roof > 2.0 { w * 0.9 } else { top[0] };
    let shape = Shape::Taper { half: v3(w * 0.93, cabin, half), top: [upright, top[1]] };
    add(v3(0.0, middle, b.waist + half), &level, shape, glass, true);
    let shape = Shape::Cuboid { half: v3(upright * 1.01, top[1] * 1.02, 0.035) };
    add(v3(0.0, middle, b.roof + 0.02), &level, shape, paint, true);
    if distance < 45.0 {
        // Pillars.
        let pillars: &[f32] = if b.length > 6.0 { &[-0.6, -0.2, 0.2, 0.6] } else { &[-0.1] };
        for &at in pillars {
            let shape = Shape::Taper { half: v3(w * 0.94, 0.06, half), top: [upright * 1.01, 0.06] };
            add(v3(0.0, middle + at * cabin, b.waist + half), &level, shape, paint, false);
        }
    }
    if b.roof > 2.0 && b.length < 6.0 && r.chance(0.6) {
        // A delivery van: closed sides behind the driver.
        let closed = (to - from) * 0.33;
        let shape = Shape::Taper { half: v3(w * 0.945, closed, half), top: [upright * 1.015, closed] };
        add(v3(0.0, from + closed, b.waist + half), &level, shape, paint, false);
    }
    let across = Rotation::roll(TURN * 0.25);
    for y in [-0.31, 0.31] {
        let wheel = Shape::Cylinder { radius: b.wheel, half: 0.12 };
        let hub = Shape::Cylinder { radius: b.wheel * 0.55, half: 0.125 };
        for x in [-1.0, 1.0] {
            let offset = v3(x * (w - 0.1), y * b.length, b.wheel);
            add(offset, &across, wheel, dark, false);
            if distance < 30.0 {
                add(offset, &across, hub, Material::plain(srgb(0x8a8e92)), false);
            }
        }
    }
    if distance < 60.0 {
        let white = Material::plain(srgb(0xe8ecec)).glowing(if lit { 1.2 } else { 0.0 });
        let red = Material::plain(srgb(0xb01818)).glowing(if lit { 0.8 } else { 0.1 });
        let z = b.waist - 0.2;
        for x in [-1.0, 1.0] {
            let shape = Shape::Cuboid { half: v3(0.17, 0.05, 0.08) };
            add(v3(x * (w - 0.22), l * 0.985, z), &level, shape, white, false);
            add(v3(x * (w - 0.18), -l * 0.985, z), &level, shape, red, false);
        }
        let plate =
            Material::patterned(srgb(0xe8e8e0), srgb(0x303030), Pattern::Stripes { size: 0.4, upright: true }, 0);
        let shape = Shape::Cuboid { half: v3(0.26, 0.03, 0.06) };
        add(v3(0.0, -l, 0.55), &level, shape, plate, false);
        add(v3(0.0, l, 0.45), &level, shape, plate, false);
    }
}
