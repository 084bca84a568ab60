//! People: they walk the camera's own round at a distance, pace a small round of their own, or stand and move their arms.
//! Must never reach out of the space that [`Person::solid`] says.

use super::look::Look;
use super::path::Path;
use super::piece::{Spot, class};
#[cfg(test)]
use super::solid::Solid;
use crate::description::{Body, Placement, Shape};
use crate::material::Material;
use crate::math::{Rotation, TURN, Vec3, cos, sin, v3};
use crate::random::Random;
use crate::world::FRAMES_PER_SECOND;

/// Half the width that a walking or pacing person takes up, metres.
pub(super) const SIDE: f64 = 0.36;
/// Half the depth that a person takes up, in the direction of walking, metres.
pub(super) const REACH: f64 = 0.52;

/// Metres of way for a left and a right step.
const STRIDE: f64 = 0.95;

/// What somebody does.
#[derive(Clone, Debug)]
pub(super) enum Doing {
    /// Walks the camera's round, this far ahead of it.
    Walk { ahead: f64 },
    /// Walks a small round of their own at this speed in m/s.
    Pace { round: Path, speed: f64, start: f64 },
    /// Stands at a spot and turns a little.
    Stand { spot: Spot },
}

/// Somebody.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) doing: Doing,
    scale: f32,
    build: f32,
    shirt: Material,
    trousers: Material,
    skin: Material,
    hair: Material,
    shoes: Material,
    long_hair: bool,
    sleeves: bool,
    skirt: bool,
    /// Phases and speeds of slow movements.
    sway: [f64; 6],
}

/// Where somebody is at a moment: place, direction, and metres walked.
struct Stance {
    at: [f64; 2],
    forward: [f64; 2],
    walked: Option<f64>,
}

/// One moving shape.
#[derive(Clone, Copy)]
struct Limb {
    shape: Shape,
    offset: Vec3,
    rotation: Rotation,
    material: Material,
}

/// The shapes of one body: never more than there is room for.
#[derive(Default)]
struct Limbs {
    there: [Option<Limb>; 20],
    count: usize,
}

impl Limbs {
    fn push(&mut self, limb: Limb) {
        debug_assert!(self.count < self.there.len(), "a body of more shapes than there is room for");
        if let Some(place) = self.there.get_mut(self.count) {
            *place = Some(limb);
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Limb> {
        self.there.iter().flatten()
    }
}

impl Person {
    /// Somebody who does this.
    pub(super) fn new(look: Look, r: &mut Random, doing: Doing) -> Person {
        Person {
            doing,
            scale: r.range(1.52, 1.9) / 1.75,
            build: r.range(0.9, 1.15),
            shirt: look.shirt(r),
            trousers: look.trousers(r),
            skin: look.skin(r),
            hair: look.hair(r),
            shoes: look.device(r),
            long_hair: r.chance(0.45),
            sleeves: r.chance(0.6),
            skirt: r.chance(0.2),
            sway: [0; 6].map(|_| r.range64(0.0, TURN)),
        }
    }

    /// Where somebody is when the camera has walked `camera` metres of `path` at frame `n`.
    fn stance(&self, path: &Path, camera: f64, n: f64) -> Stance {
        let time = n / FRAMES_PER_SECOND;
        match &self.doing {
            Doing::Walk { ahead } => {
                let s = camera + ahead;
                Stance { at: path.at(s), forward: path.heading(s), walked: Some(s) }
            }
            Doing::Pace { round, speed, start } => {
                let s = start + speed * time;
                Stance { at: round.at(s), forward: round.heading(s), walked: Some(s) }
            }
            Doing::Stand { spot } => {
                let turn = 0.5 * sin(time * 0.35 + self.sway[0]) + 0.2 * sin(time * 0.9 + self.sway[1]);
                let (c, s) = (cos(turn), sin(turn));
                let [x, y] = [-spot.axis[1], spot.axis[0]];
                Stance { at: spot.at, forward: [x * c - y * s, x * s + y * c], walked: None }
            }
        }
    }

    /// The space taken up.
    #[cfg(test)]
    pub(super) fn solid(&self, path: &Path, camera: f64, n: f64) -> Solid {
        let stance = self.stance(path, camera, n);
        let [fx, fy] = stance.forward;
        // Who stands turns about, so that their space is a square whichever way they look.
        let half = if stance.walked.is_some() { [SIDE, REACH] } else { [REACH, REACH] };
        let (forward, half) = match &self.doing {
            Doing::Stand { spot } => ([-spot.axis[1], spot.axis[0]], half),
            _ => ([fx, fy], half),
        };
        Solid { centre: stance.at, axis: [forward[1], -forward[0]], half, bottom: 0.0, top: 2.02 }
    }

    /// Adds the body's shapes at frame `n` and where they are a frame later.
    pub(super) fn put(&self, path: &Path, camera: [f64; 2], n: f64, bodies: &mut Vec<Body>) {
        let mut limbs = [Limbs::default(), Limbs::default()];
        let mut spots = [Placement::default(); 2];
        for k in 0..2 {
            let n = n + k as f64;
            let stance = self.stance(path, camera[k], n);
            self.limbs(&stance, n / FRAMES_PER_SECOND, &mut limbs[k]);
            let (fx, fy) = (stance.forward[0] as f32, stance.forward[1] as f32);
            spots[k] = Placement {
                position: [stance.at[0], stance.at[1], 0.0],
                rotation: Rotation { x: v3(fy, -fx, 0.0), y: v3(fx, fy, 0.0), z: v3(0.0, 0.0, 1.0) },
            };
        }
        let [now, next] = limbs;
        bodies.extend(now.iter().zip(next.iter()).map(|(a, b)| {
            let at = spots[0].carry(a.offset, &a.rotation);
            let to = spots[1].carry(b.offset, &b.rotation);
            Body::moving(a.shape, at, to, class::PERSON, a.material)
        }));
    }

    /// The shapes around a spot on the floor, forward +y.
    fn limbs(&self, stance: &Stance, time: f64, limbs: &mut Limbs) {
        let k = self.scale;
        let wide = self.build * k;
        let (thigh, shin, foot) = (0.43 * k, 0.41 * k, 0.07 * k);
        // Leg angles: thigh forward of the vertical, and the knee's bend.
        let legs: [[f32; 2]; 2] = [0.0, 0.5].map(|half| match stance.walked {
            Some(walked) => {
                let phase = TURN * (walked / STRIDE + half);
                let bend = 0.12 + 0.55 * cos(phase).max(0.0) * (1.0 - 0.3 * sin(phase));
                [(0.32 * sin(phase)) as f32, bend as f32]
            }
            None => [0.03 + 0.02 * sin(time * 0.7 + self.sway[2]) as f32, 0.06],
        });
        let reach = |leg: [f32; 2]| {
            thigh * cos(f64::from(leg[0])) as f32 + shin * cos(f64::from(leg[0] - leg[1])) as f32 + foot
        };
        // The longer leg carries: hips ride as high as it reaches.
        let hip = reach(legs[0]).max(reach(legs[1]));
        for (leg, side) in legs.into_iter().zip([-1.0f32, 1.0]) {
            let at = v3(side * 0.1 * wide, 0.0, hip);
            let knee = Self::limb(limbs, at, [leg[0], 0.0], [thigh, 0.078 * wide], self.trousers);
            let low = if self.skirt { self.skin } else { self.trousers };
            let ankle = Self::limb(limbs, knee, [leg[0] - leg[1], 0.0], [shin, 0.055 * wide], low);
            let shoe = Shape::Ellipsoid { radii: v3(0.05 * k, 0.13 * k, 0.055 * k) };
            push(limbs, shoe, ankle + v3(0.0, 0.055 * k, -0.015 * k), self.shoes);
        }
        if self.skirt {
            push(
                limbs,
                Shape::Cylinder { radius: 0.2 * wide, half: 0.22 * k },
                v3(0.0, 0.0, hip - 0.2 * k),
                self.trousers,
            );
        }
        push(
            limbs,
            Shape::Ellipsoid { radii: v3(0.175 * wide, 0.125 * wide, 0.14 * k) },
            v3(0.0, 0.0, hip + 0.04 * k),
            self.trousers,
        );
        push(
            limbs,
            Shape::Ellipsoid { radii: v3(0.2 * wide, 0.135 * wide, 0.33 * k) },
            v3(0.0, 0.0, hip + 0.31 * k),
            self.shirt,
        );
        let shoulders = hip + 0.53 * k;
        let across = Rotation::roll(TURN / 4.0);
        let shape = Shape::Capsule { radius: 0.075 * wide, half: 0.13 * wide };
        limbs.push(Limb { shape, offset: v3(0.0, 0.0, shoulders), rotation: across, material: self.shirt });
        push(
            limbs,
            Shape::Cylinder { radius: 0.055 * k, half: 0.07 * k },
            v3(0.0, 0.0, shoulders + 0.1 * k),
            self.skin,
        );
        let head = v3(0.0, 0.015 * k, shoulders + 0.25 * k);
        push(limbs, Shape::Ellipsoid { radii: v3(0.078 * k, 0.098 * k, 0.118 * k) }, head, self.skin);
        push(
            limbs,
            Shape::Ellipsoid { radii: v3(0.088 * k, 0.1 * k, 0.1 * k) },
            head + v3(0.0, -0.022 * k, 0.038 * k),
            self.hair,
        );
        if self.long_hair {
            push(
                limbs,
                Shape::Ellipsoid { radii: v3(0.09 * k, 0.06 * k, 0.16 * k) },
                head + v3(0.0, -0.07 * k, -0.07 * k),
                self.hair,
            );
        }
        for (i, side) in [-1.0f32, 1.0].into_iter().enumerate() {
            let [lift, bend] = self.arm(stance, time, i);
            let at = v3(side * 0.21 * wide, 0.0, shoulders - 0.01 * k);
            let elbow = Self::limb(limbs, at, [lift, side * 0.1], [0.27 * k, 0.052 * wide], self.shirt);
            let lower = if self.sleeves { self.shirt } else { self.skin };
            let wrist = Self::limb(limbs, elbow, [lift + bend, side * 0.04], [0.24 * k, 0.043 * wide], lower);
            push(limbs, Shape::Ellipsoid { radii: v3(0.042 * k, 0.05 * k, 0.055 * k) }, wrist, self.skin);
        }
    }

    /// How far an arm is lifted forward at the shoulder and bent at the elbow.
    fn arm(&self, stance: &Stance, time: f64, i: usize) -> [f32; 2] {
        if let Some(walked) = stance.walked {
            let swing = sin(TURN * (walked / STRIDE + 0.5 * (i as f64 + 1.0)));
            return [(0.38 * swing) as f32, (0.35 + 0.2 * swing) as f32];
        }
        let slow = 0.5 + 0.5 * sin(time * 0.8 + self.sway[3 + i]);
        let quick = sin(time * 2.3 + self.sway[5] + i as f64);
        [(0.05 + 0.3 * slow) as f32, (0.2 + 1.3 * slow + 0.2 * quick) as f32]
    }

    /// A straight limb from a joint: hangs down, lifted forward by `lift` and outward by `out` (radians). Gives its end.
    fn limb(
        limbs: &mut Limbs,
        from: Vec3,
        [lift, out]: [f32; 2],
        [length, radius]: [f32; 2],
        material: Material,
    ) -> Vec3 {
        let rotation = Rotation::roll(-f64::from(out)).after(&Rotation::pitch(f64::from(lift)));
        let down = -rotation.z;
        let shape = Shape::Capsule { radius, half: length * 0.5 };
        limbs.push(Limb { shape, offset: from + down * (length * 0.5), rotation, material });
        from + down * length
    }
}

fn push(limbs: &mut Limbs, shape: Shape, offset: Vec3, material: Material) {
    limbs.push(Limb { shape, offset, rotation: Rotation::IDENTITY, material });
}
