//! Light and air of a street, and the camera's exposure.

use crate::description::{Film, Fog, Light, Scene, Sky, Sun};
use crate::math::{TURN, Vec3, sin, sin_cos, v3};
use crate::random::Random;

const WEATHER: u32 = 0x33;

/// The weather of one clip.
pub struct Weather {
    /// How wet the road is, 0…1.
    pub wet: f32,
    light: Light,
    film: Film,
    drift: [f64; 3],
}

impl Weather {
    /// The weather of this seed.
    pub fn new(seed: u32, shifted: bool) -> Weather {
        let mut r = Random::of(&[seed, WEATHER, u32::from(shifted)]);
        let kind = r.unit();
        let azimuth = r.range64(0.0, TURN);
        let (clear, wet, fog) = match kind {
            k if k < 0.58 => (1.0, 0.0, r.range(0.0008, 0.003)),
            k if k < 0.74 => (0.55, 0.0, r.range(0.002, 0.006)),
            k if k < 0.86 => (0.0, 0.0, r.range(0.002, 0.006)),
            k if k < 0.95 => (0.0, r.range(0.5, 1.0), r.range(0.003, 0.009)),
            _ => (0.0, 0.2, r.range(0.010, 0.018)),
        };
        let height = if shifted { r.range64(0.10, 0.28) } else { r.range64(0.38, 1.15) };
        let towards = |height: f64| {
            let ((sa, ca), (sh, ch)) = (sin_cos(azimuth), sin_cos(height));
            v3(sa * ch, ca * ch, sh)
        };
        // The lower the sun the redder.
        let low = (1.0 - height as f32 / 0.7).clamp(0.0, 1.0);
        let tint = v3(1.0, 0.94 - 0.32 * low, 0.86 - 0.56 * low);
        let warm = if shifted { 0.55 } else { 0.25 * low };
        let grey = v3(0.62, 0.66, 0.72) * r.range(0.75, 1.05);
        let blue = v3(0.16, 0.33, 0.72).mix(v3(0.22, 0.45, 0.85), r.unit());
        let haze = v3(0.66, 0.76, 0.88).mix(v3(0.95, 0.66, 0.42), warm);
        let zenith = grey.mix(blue, clear).mix(v3(0.26, 0.28, 0.45), if shifted { 0.7 } else { 0.0 });
        let horizon = (grey * 1.12).mix(haze, clear);
        let sun_colour = if clear > 0.0 { tint * (1.9 * clear) } else { Vec3::splat(0.42) };
        let sun = Sun {
            towards: if clear > 0.0 { towards(height) } else { towards(1.25) },
            colour: sun_colour,
            spread: if clear > 0.0 { 0.006 } else { 0.55 },
        };
        let ambient_up = zenith.mix(horizon, 0.5) * (0.62 + 0.1 * (1.0 - clear));
        let ambient_down = (sun_colour * 0.16 + ambient_up * 0.28).times(v3(1.0, 0.97, 0.92));
        let cover = if clear == 0.0 { 0.0 } else { r.range(0.0, 0.62) };
        let light = Light {
            sun: Some(sun),
            sky: Sky {
                zenith,
                horizon,
                cloud: v3(1.0, 0.98, 0.97).times(Vec3::ONE.mix(tint, warm)) * 1.02,
                cover,
                seed,
            },
            ambient_up,
            ambient_down,
            lamps: Vec::new(),
            fog: Fog { density: fog, colour: horizon * 0.96 },
        };
        // As a camera meters: a level grey street comes out the same in all light, nearly.
        let level = (sun_colour.y * sun.towards.z + ambient_up.y) * 0.8 + 0.35 * horizon.y;
        let exposure = 1.25 / level * r.range(0.85, 1.15);
        let warmth = r.range(-0.07, 0.07);
        let film = Film {
            exposure,
            balance: v3(1.0 + warmth, 1.0 + r.range(-0.015, 0.015), 1.0 - warmth),
            noise: r.range(1.0, 3.5) * if shifted { 1.5 } else { 1.0 },
            vignette: r.range(0.05, 0.3),
            shutter: r.range(0.2, 0.5),
        };
        Weather { wet, light, film, drift: [r.range64(0.04, 0.10), r.range64(0.05, 0.15), r.range64(0.0, TURN)] }
    }

    /// Sets light and film of `scene` at this time.
    pub fn fill(&self, time: f64, scene: &mut Scene) {
        // The lamps' buffer stays.
        scene.light.lamps.clear();
        let lamps = std::mem::take(&mut scene.light.lamps);
        scene.light = Light { lamps, ..self.light.clone() };
        scene.film = self.film;
        let [size, hertz, phase] = self.drift;
        scene.film.exposure *= 1.0 + (size * sin(TURN * hertz * time + phase)) as f32;
    }
}
