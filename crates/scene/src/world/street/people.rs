//! People: walking along both sidewalks in lanes of their own, standing at house walls, and crossing the road where and
//! when no vehicle comes.

use super::cars::{ahead_most, oncoming_between, oncoming_place};
use super::{PERSON, Site};
use crate::description::{Body, Placement, Shape};
use crate::material::{Material, Pattern, srgb};
use crate::math::{Rotation, TURN, Vec3, cos, sin, v3};
use crate::random::Random;

const WALKER: u32 = 0x60;
const CROSSER: u32 = 0x61;

/// Distance between places in a lane of walkers, metres.
const PITCH: f64 = 4.2;
/// How far ahead people are, metres.
const PEOPLE_FAR: f64 = 48.0;
/// Length of a double step of an adult, metres.
const STRIDE: f64 = 1.45;

/// All people in sight.
pub fn fill(site: &mut Site) {
    walkers(site);
    crossers(site);
}

/// Lanes lie at these distances from the kerb: walking with the camera's direction and against it.
fn lanes(site: &Site) -> [(f64, f64); 2] {
    let walk = site.style.walk;
    // Trees and posts stand at 0.55 and reach to 0.75; a walker is 0.7 wide.
    let space = walk - 0.85;
    [(0.85 + space * 0.25, 1.0), (0.85 + space * 0.75, -1.0)]
}

fn walkers(site: &mut Site) {
    let style = site.style;
    for side in [-1.0, 1.0] {
        for (lane, (out, direction)) in lanes(site).into_iter().enumerate() {
            let word = lane as u32 * 2 + u32::from(side > 0.0);
            let speed = direction * Random::of(&[site.seed, WALKER, word]).range64(1.1, 1.6);
            let moved = speed * site.times[0];
            let first = super::whole((site.here - 4.0 - moved) / PITCH);
            let last = super::whole((site.here + PEOPLE_FAR - moved) / PITCH);
            for k in first..=last {
                let mut r = Random::of(&[site.seed, WALKER, word, k as u32]);
                if !r.chance(style.people) {
                    continue;
                }
                let start = k as f64 * PITCH + r.range64(-1.2, 1.2);
                let u = side * (style.half() + out + r.range64(-0.08, 0.08));
                let yaw = if direction > 0.0 { 0.0 } else { TURN * 0.5 };
                let motion = site.times.map(|time| {
                    let s = start + speed * time;
                    (site.route.turned(s, u, style.kerb, yaw), (speed * time).abs() / STRIDE)
                });
                person(site, &mut r, motion.map(|m| m.0), Some(motion.map(|m| m.1)), start + moved - site.here);
            }
        }
    }
}

/// One who crosses at crossing `k`: waits at a kerb, walks over before the camera comes near, stays at the other kerb.
fn crossers(site: &mut Site) {
    for k in site.crossing_slots() {
        let Some(s) = site.crossing(k) else { continue };
        for i in 0..2 {
            let mut r = Random::of(&[site.seed, CROSSER, k as u32, i]);
            if r.chance(0.75) && s - site.here < PEOPLE_FAR + 5.0 {
                crosser(site, &mut r, s + f64::from(i) * 1.7 - 0.85, i);
            }
        }
    }
}

fn crosser(site: &mut Site, r: &mut Random, s: f64, i: u32) {
    let style = site.style;
    let reach = style.half() + 0.45;
    let speed = r.range64(1.3, 1.9);
    let side = if i == 0 { 1.0 } else { -1.0 };
    // Gone before the first vehicle of the camera's lane comes.
    let end = site.route.arrival(s - ahead_most(site) - 6.0) - r.range64(0.3, 1.5);
    let start = end - 2.0 * reach / speed;
    // Nobody steps before an oncoming vehicle.
    let free = oncoming_between(site, s - 6.0, s + 6.0 + 12.0 * (end - start), start)
        .filter_map(|k| oncoming_place(site, k, start).zip(oncoming_place(site, k, end)))
        .all(|(a, b)| a < s - 6.0 || b > s + 6.0);
    let motion = site.times.map(|time| {
        let share = if free { ((time - start) / (end - start)).clamp(0.0, 1.0) } else { 0.0 };
        let u = side * reach * (1.0 - 2.0 * share);
        // Up the kerbs at both ends.
        let edge = (u.abs() - style.half() + 0.2).clamp(0.0, 0.4) / 0.4;
        let z = 0.03 + (style.kerb - 0.03) * edge;
        (site.route.turned(s, u, z, side * TURN * 0.25), share * 2.0 * reach / STRIDE)
    });
    let walking = free && site.times[0] > start && site.times[1] < end;
    let phase = walking.then(|| motion.map(|m| m.1));
    person(site, r, motion.map(|m| m.0), phase, s - site.here);
}

/// Adds a person that stands on the ground at `places` (now and next) facing local y; `steps` counts double steps.
fn person(site: &mut Site, r: &mut Random, places: [Placement; 2], steps: Option<[f64; 2]>, distance: f64) {
    let size = if r.chance(0.12) { r.range(0.68, 0.8) } else { r.range(0.93, 1.08) };
    let skin = r.pick(&[srgb(0xe0b090), srgb(0xc08a68), srgb(0x8a5a40), srgb(0x5a3a2a), srgb(0xf0c8a8)]);
    let top = if site.style.shifted {
        r.pick(&[srgb(0xb05a9a), srgb(0x40a0a0), srgb(0xd0d050), srgb(0x303030), srgb(0x805030)])
    } else {
        r.pick(&[
            srgb(0xc03030),
            srgb(0x2850a0),
            srgb(0xe8e4dc),
            srgb(0x303848),
            srgb(0xd0a030),
            srgb(0x307048),
            srgb(0x884070),
            srgb(0xd07838),
            srgb(0x5080b8),
            srgb(0x706058),
        ])
    };
    let legs = r.pick(&[srgb(0x28324a), srgb(0x202024), srgb(0x6a5a48), srgb(0x48586a), srgb(0x8a8478)]);
    let hair = r.pick(&[srgb(0x2a2018), srgb(0x584030), srgb(0x181818), srgb(0xa08048), srgb(0x808080)]);
    let second = if r.chance(0.35) { srgb(0xe8e8e4) } else { top };
    let shirt = Material::patterned(top, second, Pattern::Stripes { size: r.range(0.16, 0.3), upright: false }, 0);
    let phase = r.range64(0.0, 1.0);
    let skirt = r.chance(0.2);
    let bag = r.chance(0.3);

    let angles = match steps {
        Some(steps) => steps.map(|count| TURN * (count / f64::from(size) + phase)),
        None => [TURN * 0.05; 2],
    };
    let swing = angles.map(|angle| if steps.is_some() { sin(angle) } else { 0.08 });
    // The hips are highest when the legs pass each other.
    let bob = angles.map(|angle| if steps.is_some() { 0.02 * cos(2.0 * angle) } else { 0.0 });
    let mut add = |offset: Vec3, turns: [Rotation; 2], below: Vec3, shape: Shape, material: Material| {
        let mut at = [places[0], places[1]];
        for i in 0..2 {
            let joint = v3(offset.x, offset.y, offset.z + bob[i] as f32) * size;
            at[i] = at[i].carry(joint, &turns[i]).carry(below * size, &Rotation::IDENTITY);
        }
        site.bodies.push(Body::moving(shape, at[0], at[1], PERSON, material));
    };
    let level = [Rotation::IDENTITY; 2];
    let capsule = |radius: f32, half: f32| Shape::Capsule { radius: radius * size, half: half * size };
    let ellipsoid = |x: f32, y: f32, z: f32| Shape::Ellipsoid { radii: v3(x, y, z) * size };
    for side in [-1.0f32, 1.0] {
        let turn = swing.map(|s| Rotation::pitch(f64::from(side) * 0.45 * s));
        let counter = swing.map(|s| Rotation::pitch(-f64::from(side) * 0.4 * s));
        add(v3(side * 0.095, 0.0, 0.86), turn, v3(0.0, 0.0, -0.42), capsule(0.085, 0.35), Material::plain(legs));
        add(v3(side * 0.255, 0.0, 1.38), counter, v3(0.0, 0.0, -0.28), capsule(0.055, 0.26), shirt);
    }
    let torso = Shape::Taper { half: v3(0.165, 0.11, 0.29) * size, top: [0.225 * size, 0.13 * size] };
    add(v3(0.0, 0.0, 1.14), level, Vec3::ZERO, torso, shirt);
    add(v3(0.0, 0.0, 1.42), level, Vec3::ZERO, ellipsoid(0.24, 0.135, 0.09), shirt);
    if skirt {
        let shape = Shape::Taper { half: v3(0.22, 0.2, 0.24) * size, top: [0.16 * size, 0.11 * size] };
        add(v3(0.0, 0.0, 0.7), level, Vec3::ZERO, shape, Material::plain(legs.mix(top, 0.5)));
    }
    add(v3(0.0, 0.02, 1.62), level, Vec3::ZERO, ellipsoid(0.095, 0.11, 0.135), Material::plain(skin));
    if distance < 35.0 {
        add(v3(0.0, -0.015, 1.66), level, Vec3::ZERO, ellipsoid(0.108, 0.115, 0.115), Material::plain(hair));
        if bag {
            let pack = Shape::Cuboid { half: v3(0.14, 0.08, 0.2) * size };
            add(v3(0.0, -0.2, 1.2), level, Vec3::ZERO, pack, Material::plain(top * 0.3 + Vec3::splat(0.02)));
        }
    }
}
