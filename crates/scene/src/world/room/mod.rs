//! World `room`: a camera held by hand that goes its rounds through one or two furnished rooms with people in them.
//! Must never let the camera or a person come into anything.

mod furnish;
mod furniture;
mod hand;
mod look;
mod objects;
mod path;
mod person;
mod piece;
mod shell;
mod solid;
#[cfg(test)]
mod tests;

use super::{Class, Generator};
use crate::description::{Body, Film, Fog, Lamp, Light, Scene, Sky, Sun};
use crate::math::{TURN, Vec3, cos, sin, v3};
use crate::random::Random;
use furnish::Furnisher;
use hand::Hand;
use look::Look;
use path::Path;
use person::Person;
use shell::Shell;

/// Classes of the worlds `room` and `room-shifted`.
pub const CLASSES: [Class; 8] = [
    Class { name: "floor", color: [140, 100, 70] },
    Class { name: "wall", color: [190, 190, 200] },
    Class { name: "ceiling", color: [240, 235, 220] },
    Class { name: "seat", color: [60, 120, 200] },
    Class { name: "table", color: [200, 130, 40] },
    Class { name: "storage", color: [120, 70, 150] },
    Class { name: "object", color: [70, 170, 90] },
    Class { name: "person", color: [220, 20, 60] },
];

/// Names of what random numbers are for.
const ROOM: u32 = 0x700d;

/// One room, or two.
pub struct Room {
    path: Path,
    hand: Hand,
    bodies: Vec<Body>,
    people: Vec<Person>,
    /// What stands still.
    #[cfg(test)]
    solids: Vec<solid::Solid>,
    lamps: Vec<Lamp>,
    sun: Option<Sun>,
    ambient: [Vec3; 2],
    film: Film,
    drift: [f64; 2],
}

impl Room {
    /// The room of this seed; `segment` picks another after a scene cut.
    pub fn new(seed: u64, segment: u32, shifted: bool) -> Room {
        let mut r = Random::of(&[seed as u32, (seed >> 32) as u32, segment, ROOM, u32::from(shifted)]);
        let look = Look { shifted };
        let shell = Shell::new(look, &mut r);
        let furnished = Furnisher::fill(look, &mut r, &shell);
        let people = furnished.people;
        #[cfg(test)]
        let solids = furnished.solids;
        let mut bodies = furnished.bodies;
        bodies.extend(shell.bodies);
        let sunny = if shifted { 0.3 } else { 0.6 };
        let sun = shell.window.filter(|_| r.chance(sunny)).map(|out| sun(out, &mut r));
        let ambient = shell::ambient(look, &mut r);
        let film = Film {
            exposure: r.range(0.95, 1.45),
            balance: v3(r.range(0.94, 1.06), 1.0, r.range(0.92, 1.08)),
            noise: if shifted { r.range(2.5, 5.0) } else { r.range(1.0, 3.0) },
            vignette: r.range(0.05, 0.3),
            shutter: r.range(0.25, 0.55),
        };
        let drift = [r.range64(0.0, TURN), r.range64(0.25, 0.6)];
        let hand = Hand::new(look, &mut r, &shell.path);
        Room {
            path: shell.path,
            hand,
            bodies,
            people,
            #[cfg(test)]
            solids,
            lamps: shell.lamps,
            sun,
            ambient,
            film,
            drift,
        }
    }
}

/// Sunlight through a window in a wall that looks this way.
fn sun(out: [f64; 2], r: &mut Random) -> Sun {
    let (turn, high) = (r.range64(-0.7, 0.7), r.range64(0.35, 0.85));
    let (s, c) = (sin(turn), cos(turn));
    let towards = v3(
        ((out[0] * c - out[1] * s) * cos(high)) as f32,
        ((out[0] * s + out[1] * c) * cos(high)) as f32,
        sin(high) as f32,
    );
    Sun { towards: towards.unit(), colour: v3(1.6, 1.45, 1.2) * r.range(0.7, 1.3), spread: 0.01 }
}

impl Generator for Room {
    fn fill(&self, n: u32, scene: &mut Scene) {
        let n = f64::from(n);
        scene.bodies.clear();
        scene.bodies.extend_from_slice(&self.bodies);
        let camera = [self.hand.walked(n), self.hand.walked(n + 1.0)];
        for person in &self.people {
            person.put(&self.path, camera, n, &mut scene.bodies);
        }
        // The lamps' buffer stays.
        let mut lamps = std::mem::take(&mut scene.light.lamps);
        lamps.clear();
        lamps.extend_from_slice(&self.lamps);
        scene.light = Light {
            sun: self.sun,
            sky: Sky { zenith: v3(0.4, 0.42, 0.45), horizon: v3(0.5, 0.5, 0.5), cloud: Vec3::ONE, cover: 0.0, seed: 0 },
            ambient_up: self.ambient[0],
            ambient_down: self.ambient[1],
            lamps,
            fog: Fog { density: 0.0, colour: Vec3::ONE },
        };
        scene.camera = self.hand.camera(&self.path, n);
        // Exposure follows the light slowly, as cameras' own control does.
        let swing = 0.1 * sin(n / super::FRAMES_PER_SECOND * self.drift[1] + self.drift[0]);
        scene.film = Film { exposure: self.film.exposure * (1.0 + swing) as f32, ..self.film };
        scene.background = piece::class::WALL;
    }
}
