//! From linear light to bytes: exposure, balance, vignette, a soft shoulder, gamma, and the sensor's noise.

use crate::description::Film;
use crate::math::{Vec3, pow};
use crate::random::{hash, hash2};

const STEPS: usize = 2048;

/// The tone curve as a table over linear light in [0, 1].
pub struct Develop {
    curve: Vec<f32>,
}

impl Develop {
    /// Computes the table.
    pub fn new() -> Develop {
        let curve = (0..=STEPS).map(|i| 255.0 * pow(i as f32 / STEPS as f32, 1.0 / 2.2)).collect();
        Develop { curve }
    }

    /// Writes a picture of linear colours as bytes; `seed` picks the noise.
    pub fn write(&self, film: &Film, light: &[Vec3], width: usize, height: usize, seed: u32, rgb: &mut [u8]) {
        let gain = film.balance * film.exposure;
        let (cx, cy) = (width as f32 * 0.5, height as f32 * 0.5);
        let corner = 1.0 / (cx * cx + cy * cy);
        for (i, (pixel, colour)) in rgb.chunks_exact_mut(3).zip(light).enumerate() {
            let (x, y) = ((i % width) as f32 + 0.5 - cx, (i / width) as f32 + 0.5 - cy);
            let bright = 1.0 - film.vignette * (x * x + y * y) * corner;
            let c = colour.times(gain) * bright;
            // One draw of noise for all three, and one for each.
            let h = hash2(i as u32, seed);
            let common = bell(h);
            let (a, b) = (hash(h ^ 0x5bd1_e995), hash(h ^ 0x1b87_3593));
            let own = [bell(a), bell(b), bell(a ^ (b >> 3))];
            for ((byte, value), own) in pixel.iter_mut().zip([c.x, c.y, c.z]).zip(own) {
                let developed = self.tone(value);
                let noise = film.noise * (0.8 * common + 0.6 * own);
                *byte = (developed + noise + 0.5).clamp(0.0, 255.0) as u8;
            }
        }
    }

    /// Linear light to 0…255: straight up to 0.7, then a shoulder that reaches 1 at 2.2.
    #[inline]
    fn tone(&self, value: f32) -> f32 {
        let v = if value <= 0.7 {
            value.max(0.0)
        } else {
            let t = ((value - 0.7) / 1.5).min(1.0);
            // Slope 1.5·0.2 = 0.3·… at the join, flat at the end.
            0.7 + 0.3 * t * (2.0 - t)
        };
        let at = v * STEPS as f32;
        let i = (at as usize).min(STEPS - 1);
        let share = at - i as f32;
        self.curve[i] + (self.curve[i + 1] - self.curve[i]) * share
    }
}

/// Nearly normal with mean 0 and variance 1, from the four bytes of a hash.
#[inline]
fn bell(h: u32) -> f32 {
    let sum = (h & 255) + (h >> 8 & 255) + (h >> 16 & 255) + (h >> 24);
    // Four uniform bytes: mean 510, standard deviation 147.8.
    (sum as f32 - 510.0) * (1.0 / 147.8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tone_curve_rises_and_ends_at_white() {
        let develop = Develop::new();
        let mut last = -1.0;
        for i in 0..400 {
            let byte = develop.tone(i as f32 * 0.006);
            assert!(byte >= last && byte <= 255.0);
            last = byte;
        }
        assert!((develop.tone(2.3) - 255.0).abs() < 0.1);
        // Middle grey by the definition of gamma.
        assert!((f64::from(develop.tone(0.18)) - 255.0 * 0.18f64.powf(1.0 / 2.2)).abs() < 0.1);
    }

    #[test]
    fn noise_has_no_bias_and_the_deviation_asked_for() {
        let film = Film { exposure: 1.0, balance: Vec3::ONE, noise: 4.0, vignette: 0.0, shutter: 0.0 };
        let (develop, light) = (Develop::new(), vec![Vec3::splat(0.18); 100 * 100]);
        let mut rgb = vec![0; 100 * 100 * 3];
        develop.write(&film, &light, 100, 100, 1, &mut rgb);
        let level = f64::from(develop.tone(0.18));
        let n = rgb.len() as f64;
        let mean = rgb.iter().map(|&b| f64::from(b) - level).sum::<f64>() / n;
        let spread = (rgb.iter().map(|&b| (f64::from(b) - level - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!(mean.abs() < 0.15, "{mean}");
        assert!((spread - 4.0).abs() < 0.25, "{spread}");
    }
}
