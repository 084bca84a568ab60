//! World `street`: a camera in a car that drives along an endless street. Everything is a function of the seed and of the
//! place along the street or of time, so that any frame can be had alone. Things keep their lanes and their distances:
//! none passes through another.

mod cars;
mod houses;
mod kerbside;
mod people;
mod route;
mod style;
#[cfg(test)]
mod tests;
mod weather;

use super::{Class, FRAMES_PER_SECOND, Generator};
use crate::description::{Body, Camera, Placement, Scene, Shape};
use crate::material::Material;
use crate::math::Vec3;
use crate::random::Random;
use route::Route;
use style::Style;
use weather::Weather;

/// Classes of the worlds `street` and `street-shifted`; colours in the manner of Cityscapes.
pub const CLASSES: [Class; 8] = [
    Class { name: "road", color: [128, 64, 128] },
    Class { name: "sidewalk", color: [244, 35, 232] },
    Class { name: "building", color: [70, 70, 70] },
    Class { name: "vegetation", color: [107, 142, 35] },
    Class { name: "pole", color: [153, 153, 153] },
    Class { name: "person", color: [220, 20, 60] },
    Class { name: "vehicle", color: [0, 0, 142] },
    Class { name: "sky", color: [70, 130, 180] },
];

const ROAD: u8 = 0;
const SIDEWALK: u8 = 1;
const BUILDING: u8 = 2;
const VEGETATION: u8 = 3;
const POLE: u8 = 4;
const PERSON: u8 = 5;
const VEHICLE: u8 = 6;
const SKY: u8 = 7;

/// How far ahead houses are built, metres.
const FAR: f64 = 165.0;
/// How far ahead small things stand: beyond they would be specks.
const SMALL_FAR: f64 = 70.0;

/// One street.
pub struct Street {
    seed: u32,
    style: Style,
    route: Route,
    weather: Weather,
}

impl Street {
    /// The street of this seed; after scene cuts another one.
    pub fn new(seed: u64, segment: u32, shifted: bool) -> Street {
        let seed = Random::of(&[seed as u32, (seed >> 32) as u32, segment, u32::from(shifted)]).bits();
        let style = Style::new(seed, shifted);
        let route = Route::new(seed, &style);
        Street { seed, weather: Weather::new(seed, shifted), style, route }
    }
}

/// What the parts of the street write to: the scene, with what they all need to know.
struct Site<'a> {
    seed: u32,
    style: &'a Style,
    route: &'a Route,
    bodies: &'a mut Vec<Body>,
    /// The frame's own time and the next frame's, seconds.
    times: [f64; 2],
    /// The camera's place along the street now.
    here: f64,
}

impl Site<'_> {
    /// Adds a body that stands at `offset` and turned by `rotation` in the axes of something placed at `at`.
    fn still(&mut self, at: &Placement, offset: Vec3, shape: Shape, class: u8, material: Material) {
        let place = at.carry(offset, &crate::math::Rotation::IDENTITY);
        self.bodies.push(Body::still(shape, place, class, material));
    }

    /// The whole numbers k with k · `pitch` from `behind` metres behind the camera to `ahead` metres before it.
    fn slots(&self, pitch: f64, behind: f64, ahead: f64) -> std::ops::RangeInclusive<i64> {
        whole((self.here - behind) / pitch)..=whole((self.here + ahead) / pitch)
    }
}

/// The greatest whole number not above x.
fn whole(x: f64) -> i64 {
    let t = x as i64;
    if t as f64 > x { t - 1 } else { t }
}

impl Generator for Street {
    fn fill(&self, n: u32, scene: &mut Scene) {
        let times = [f64::from(n) / FRAMES_PER_SECOND, (f64::from(n) + 1.0) / FRAMES_PER_SECOND];
        scene.bodies.clear();
        scene.background = SKY;
        let [now, next] = times.map(|time| self.route.camera(time));
        scene.camera = Camera { now, next, half_width: self.style.half_width };
        self.weather.fill(times[0], scene);
        let here = self.route.travelled(times[0]);
        let mut site =
            Site { seed: self.seed, style: &self.style, route: &self.route, bodies: &mut scene.bodies, times, here };
        houses::ground(&mut site, self.weather.wet);
        houses::rows(&mut site);
        kerbside::fill(&mut site);
        cars::fill(&mut site);
        people::fill(&mut site);
    }
}
