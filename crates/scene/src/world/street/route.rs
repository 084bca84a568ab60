//! The street's line through the world, and how the camera drives along it. The line is a sum of two waves across the
//! northward axis; everything along the street is placed by its distance `s` north and `u` to the right of the line.

use super::style::Style;
use crate::description::Placement;
use crate::math::{Rotation, TURN, atan_small, cos, sin};
use crate::random::Random;

const ROUTE: u32 = 0x40;

/// A wave: amplitude, angular rate, phase.
#[derive(Clone, Copy, Debug)]
struct Wave {
    size: f64,
    rate: f64,
    phase: f64,
}

impl Wave {
    fn at(&self, x: f64) -> f64 {
        self.size * sin(self.rate * x + self.phase)
    }
    fn slope(&self, x: f64) -> f64 {
        self.size * self.rate * cos(self.rate * x + self.phase)
    }
}

/// The street's line and the drive along it.
pub struct Route {
    bends: [Wave; 2],
    speed: f64,
    pace: [Wave; 2],
    eye: f64,
    lane: f64,
    sway: [Wave; 2],
    yaw: [Wave; 2],
    pitch: [Wave; 3],
    roll: [Wave; 2],
    heave: [Wave; 2],
    tilt: f64,
}

impl Route {
    /// The route of this seed.
    pub fn new(seed: u32, style: &Style) -> Route {
        let mut r = Random::of(&[seed, ROUTE]);
        let mut wave = |size: f64, hertz: [f64; 2]| Wave {
            size: size * r.range64(0.6, 1.0),
            rate: TURN * r.range64(hertz[0], hertz[1]),
            phase: r.range64(0.0, TURN),
        };
        let shake = style.shake;
        Route {
            // Wavelengths of 330 to 200 m and 170 to 125 m: radii down to about 80 m.
            bends: [wave(9.0, [0.003, 0.005]), wave(2.2, [0.006, 0.008])],
            speed: style.speed,
            pace: [wave(4.0, [0.03, 0.06]), wave(1.0, [0.09, 0.14])],
            eye: style.eye,
            lane: style.lane * 0.5,
            sway: [wave(0.25, [0.05, 0.12]), wave(0.08, [0.2, 0.4])],
            yaw: [wave(0.030, [0.10, 0.25]), wave(0.004 * shake, [0.8, 1.6])],
            pitch: [
                wave(0.006 * shake, [0.5, 0.9]),
                wave(0.0035 * shake, [1.3, 2.2]),
                wave(0.0015 * shake, [3.0, 5.0]),
            ],
            roll: [wave(0.006 * shake, [0.3, 0.7]), wave(0.003 * shake, [1.0, 1.8])],
            heave: [wave(0.02 * shake, [0.8, 1.4]), wave(0.006 * shake, [2.0, 3.5])],
            tilt: r.range64(-0.035, 0.01),
        }
    }

    /// How far along the street the camera is at this time.
    pub fn travelled(&self, time: f64) -> f64 {
        self.speed * time + sum(&self.pace, time)
    }

    /// The camera's least speed, metres a second.
    #[cfg(test)]
    fn slowest(&self) -> f64 {
        self.speed - self.pace.iter().map(|w| w.size * w.rate).sum::<f64>()
    }

    /// When the camera comes to this place, to about a centimetre.
    pub fn arrival(&self, s: f64) -> f64 {
        let mut time = s / self.speed;
        for _ in 0..8 {
            let rate = self.speed + self.pace.iter().map(|w| w.slope(time)).sum::<f64>();
            time -= (self.travelled(time) - s) / rate;
        }
        time
    }

    /// The street's heading (yaw, counter-clockwise from north) at `s`.
    pub fn heading(&self, s: f64) -> f64 {
        -atan_small(self.bends.iter().map(|w| w.slope(s)).sum())
    }

    /// How far the street bends to the right, per metre, at `s`.
    pub fn bend(&self, s: f64) -> f64 {
        let slope: f64 = self.bends.iter().map(|w| w.slope(s)).sum();
        let second: f64 = self.bends.iter().map(|w| -w.rate * w.rate * w.at(s)).sum();
        let q = 1.0 + slope * slope;
        second / (q * q.sqrt())
    }

    /// The place `u` to the right of the line at `s` and `z` up, facing along the street.
    pub fn place(&self, s: f64, u: f64, z: f64) -> Placement {
        let slope: f64 = self.bends.iter().map(|w| w.slope(s)).sum();
        let x: f64 = self.bends.iter().map(|w| w.at(s)).sum();
        let c = 1.0 / (1.0 + slope * slope).sqrt();
        Placement::upright([x + u * c, s - u * slope * c, z], self.heading(s))
    }

    /// The same, turned by `yaw` against the street.
    pub fn turned(&self, s: f64, u: f64, z: f64, yaw: f64) -> Placement {
        let at = self.place(s, u, z);
        Placement::upright(at.position, self.heading(s) + yaw)
    }

    /// The camera at this time.
    pub fn camera(&self, time: f64) -> Placement {
        let s = self.travelled(time);
        let at = self.place(s, self.lane + sum(&self.sway, time), self.eye + sum(&self.heave, time));
        // A driver looks a little ahead of the bend.
        let yaw = self.heading(s + 6.0) + sum(&self.yaw, time);
        let rotation = Rotation::yaw(yaw)
            .after(&Rotation::pitch(self.tilt + sum(&self.pitch, time)))
            .after(&Rotation::roll(sum(&self.roll, time)));
        Placement { position: at.position, rotation: Rotation { z: rotation.x.cross(rotation.y), ..rotation } }
    }
}

fn sum(waves: &[Wave], x: f64) -> f64 {
    waves.iter().map(|w| w.at(x)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::v3;

    #[test]
    fn arrival_undoes_travelling_and_places_follow_the_heading() {
        for seed in 0..20 {
            let style = Style::new(seed, false);
            let route = Route::new(seed, &style);
            assert!(route.slowest() > 3.0, "{}", route.slowest());
            for i in 0..50 {
                let s = f64::from(i) * 37.0;
                assert!((route.travelled(route.arrival(s)) - s).abs() < 0.01);
                let (a, b) = (route.place(s, 3.0, 0.0), route.place(s, 4.0, 0.0));
                let right = v3(
                    (b.position[0] - a.position[0]) as f32,
                    (b.position[1] - a.position[1]) as f32,
                    (b.position[2] - a.position[2]) as f32,
                );
                assert!((right - a.rotation.x).length() < 1e-3);
                let bend = (route.heading(s - 0.5) - route.heading(s + 0.5)) * a.rotation.y.y as f64;
                assert!((bend - route.bend(s)).abs() < 2e-4, "{bend} {}", route.bend(s));
            }
        }
    }
}
