//! What kind of street a seed gives: widths, densities, tastes.

use crate::random::Random;

const STYLE: u32 = 0x57;

/// The character of a street. Lengths in metres, shares in 0…1.
#[derive(Clone, Debug)]
pub struct Style {
    /// Whether it belongs to the world that is never trained on.
    pub shifted: bool,
    /// Width of each of the two lanes.
    pub lane: f64,
    /// Width of the parking lane on both sides, 0 for none.
    pub parking: f64,
    /// Width of the sidewalks.
    pub walk: f64,
    /// Height of the kerbs.
    pub kerb: f64,
    /// Mean speed, metres a second.
    pub speed: f64,
    /// The camera's height.
    pub eye: f64,
    /// Tangent of half the horizontal field of view.
    pub half_width: f32,
    /// Share of parking places taken.
    pub parked: f32,
    /// Share of places in traffic taken.
    pub traffic: f32,
    /// Share of places on the sidewalks taken.
    pub people: f32,
    /// Share of kerbside places with trees, and with poles.
    pub trees: f32,
    /// See `trees`.
    pub poles: f32,
    /// Share of lots with town houses; and of the rest, with small houses rather than green.
    pub town: f32,
    /// See `town`.
    pub houses: f32,
    /// Floors of town houses, at most.
    pub floors: u32,
    /// Strength of camera shake, 1 is usual.
    pub shake: f64,
}

impl Style {
    /// The style of this seed.
    pub fn new(seed: u32, shifted: bool) -> Style {
        let mut r = Random::of(&[seed, STYLE]);
        let urban = r.unit();
        let parking = if r.chance(0.65) { 2.3 } else { 0.0 };
        let mut style = Style {
            shifted,
            lane: r.range64(2.9, 3.4),
            parking,
            walk: r.range64(2.8, 3.8),
            kerb: r.range64(0.12, 0.17),
            speed: r.range64(6.0, 9.5),
            eye: r.range64(1.22, 1.42),
            half_width: 0.84,
            parked: r.range(0.35, 0.75),
            traffic: r.range(0.35, 0.7),
            people: r.range(0.35, 0.7) * (0.7 + 0.5 * urban),
            trees: r.range(0.15, 0.5) * (1.2 - 0.5 * urban),
            poles: r.range(0.4, 0.7),
            town: 0.3 + 0.65 * urban,
            houses: r.range(0.4, 0.8),
            floors: 3 + (urban * 4.0) as u32,
            shake: r.range64(0.5, 1.5),
        };
        if shifted {
            style.eye = r.range64(1.7, 2.2);
            style.half_width = if r.chance(0.5) { 0.7 } else { 1.0 };
            style.people *= 1.3;
            style.trees = r.range(0.4, 0.7);
            style.traffic *= 0.7;
            style.walk += 0.6;
            style.floors += 2;
        }
        style
    }

    /// From the street's middle to its kerbs.
    pub fn half(&self) -> f64 {
        self.lane + self.parking
    }
}
