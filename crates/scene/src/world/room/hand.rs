//! The camera in somebody's hand: walks along the path, looks about in slow pans, trembles. Closed form in the frame
//! number. Must never leave the path by more than [`SWAY`].

use super::look::Look;
use super::path::Path;
use crate::description::{Camera, Placement};
use crate::math::{Rotation, TURN, sin, v3};
use crate::random::Random;
use crate::world::FRAMES_PER_SECOND;

/// Metres that the camera may be off its path.
#[cfg(test)]
pub(super) const SWAY: f64 = 0.06;

/// A hand and its habits.
#[derive(Clone, Debug)]
pub(super) struct Hand {
    half_width: f32,
    height: f64,
    speed: f64,
    start: f64,
    hurry: [f64; 2],
    ahead: f64,
    pans: [[f64; 3]; 3],
    pitch: f64,
    nods: [[f64; 3]; 2],
    /// Trembling: radians, radians a second, phase; about the vertical, across, along, and the place's own.
    shakes: [[f64; 3]; 8],
}

/// Amplitude, speed, phase.
fn wave(r: &mut Random, amplitude: [f64; 2], period: [f64; 2]) -> [f64; 3] {
    [r.range64(amplitude[0], amplitude[1]), TURN / r.range64(period[0], period[1]), r.range64(0.0, TURN)]
}

fn swing(wave: &[f64; 3], time: f64) -> f64 {
    wave[0] * sin(wave[1] * time + wave[2])
}

impl Hand {
    /// Somebody's hand.
    pub(super) fn new(look: Look, r: &mut Random, path: &Path) -> Hand {
        let (tremble, fast) = ([0.0008, 0.0035], [0.15, 0.7]);
        Hand {
            // One camera in training, as bundles state one: depth in metres is guesswork under changing lenses.
            half_width: if look.shifted { r.range(1.15, 1.3) } else { 0.92 },
            height: if look.shifted { r.range64(0.8, 1.1) } else { r.range64(1.25, 1.68) },
            speed: r.range64(0.35, 0.75),
            start: r.range64(0.0, 20.0),
            hurry: [r.range64(0.2, 0.5), r.range64(0.0, TURN)],
            ahead: path.inward() * r.range64(0.15, 0.6),
            pans: [
                wave(r, [0.5, 0.95], [9.0, 16.0]),
                wave(r, [0.2, 0.5], [4.0, 7.0]),
                wave(r, [0.02, 0.06], [1.5, 2.5]),
            ],
            pitch: if look.shifted { r.range64(-0.14, -0.04) } else { r.range64(-0.26, -0.12) },
            nods: [wave(r, [0.05, 0.12], [5.0, 9.0]), wave(r, [0.01, 0.03], [1.5, 3.0])],
            shakes: [0; 8].map(|_| wave(r, tremble, fast)),
        }
    }

    /// Metres walked along the path at frame `n`: now slower, now faster, never back.
    pub(super) fn walked(&self, n: f64) -> f64 {
        let time = n / FRAMES_PER_SECOND;
        self.start + self.speed * (time + self.hurry[0] / 0.5 * sin(0.5 * time + self.hurry[1]))
    }

    /// Where the camera is at frame `n` and looks.
    fn placement(&self, path: &Path, n: f64) -> Placement {
        let time = n / FRAMES_PER_SECOND;
        let s = self.walked(n);
        let at = path.at(s);
        let [fx, fy] = path.heading(s);
        let shake = |i: usize| swing(&self.shakes[i], time);
        // Steps rock the hand up and down and, half as often, from side to side.
        let step = TURN * s / 0.6;
        let (up, aside) = (0.012 * sin(step), 0.015 * sin(step * 0.5));
        let place = [
            at[0] + fy * aside + 2.0 * shake(6),
            at[1] - fx * aside + 2.0 * shake(7),
            self.height + up + 2.0 * shake(5),
        ];
        let turn: f64 = self.ahead + self.pans.iter().map(|w| swing(w, time)).sum::<f64>() + shake(0) + shake(1);
        let nod = self.pitch
            + self.nods.iter().map(|w| swing(w, time)).sum::<f64>()
            + shake(2)
            + shake(3)
            + 0.004 * sin(step);
        let (hx, hy) = (fx as f32, fy as f32);
        let heading = Rotation { x: v3(hy, -hx, 0.0), y: v3(hx, hy, 0.0), z: v3(0.0, 0.0, 1.0) };
        let rotation = heading
            .after(&Rotation::yaw(turn))
            .after(&Rotation::pitch(nod))
            .after(&Rotation::roll(3.0 * shake(4) + 0.006 * sin(step * 0.5)));
        Placement { position: place, rotation }
    }

    /// The camera at frame `n` and a frame later.
    pub(super) fn camera(&self, path: &Path, n: f64) -> Camera {
        Camera { now: self.placement(path, n), next: self.placement(path, n + 1.0), half_width: self.half_width }
    }
}
