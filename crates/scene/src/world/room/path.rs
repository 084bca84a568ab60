//! The way that the camera walks: a closed smooth curve on the floor, asked for by arc length, so that any moment of an
//! endless walk can be had alone. Must never depend on what stands in the room: furniture keeps away from it.

/// A closed curve in metres, followed by arc length.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// Points at even arc lengths; the one after the last is the first.
    points: Vec<[f64; 2]>,
    length: f64,
}

/// Points kept of a path: centimetres apart in a room.
const POINTS: usize = 1024;

impl Path {
    /// The closed uniform cubic B-spline of these corners.
    pub(super) fn through(corners: &[[f64; 2]]) -> Path {
        const FINE: usize = 64;
        let n = corners.len();
        let mut raw = Vec::with_capacity(n * FINE + 1);
        for i in 0..n {
            let [a, b, c, d] = [0, 1, 2, 3].map(|k| corners[(i + k) % n]);
            for j in 0..FINE {
                let t = j as f64 / FINE as f64;
                let s = 1.0 - t;
                let weights =
                    [s * s * s, 3.0 * t * t * t - 6.0 * t * t + 4.0, 3.0 * s * s * s - 6.0 * s * s + 4.0, t * t * t];
                raw.push(
                    [0, 1]
                        .map(|k| (a[k] * weights[0] + b[k] * weights[1] + c[k] * weights[2] + d[k] * weights[3]) / 6.0),
                );
            }
        }
        if let Some(&first) = raw.first() {
            raw.push(first);
        }
        Path::even(&raw)
    }

    /// Even steps along a closed chain of points.
    fn even(raw: &[[f64; 2]]) -> Path {
        let mut along = vec![0.0];
        for pair in raw.windows(2) {
            let step = distance(pair[0], pair[1]);
            along.push(along[along.len() - 1] + step);
        }
        let length = along[along.len() - 1];
        let mut points = Vec::with_capacity(POINTS);
        let mut i = 0;
        for k in 0..POINTS {
            let want = length * k as f64 / POINTS as f64;
            while i + 2 < along.len() && along[i + 1] <= want {
                i += 1;
            }
            let t = (want - along[i]) / (along[i + 1] - along[i]).max(1e-9);
            points.push([0, 1].map(|a| raw[i][a] + (raw[i + 1][a] - raw[i][a]) * t));
        }
        Path { points, length }
    }

    /// Metres once around.
    pub(super) fn length(&self) -> f64 {
        self.length
    }

    /// The points that furniture must keep away from.
    pub(super) fn points(&self) -> &[[f64; 2]] {
        &self.points
    }

    /// The point at this arc length (any number of rounds).
    pub(super) fn at(&self, along: f64) -> [f64; 2] {
        let n = self.points.len();
        let rounds = along / self.length;
        // Negative arc lengths (somebody behind the camera at the start) count from the end.
        let turn = rounds - rounds as i64 as f64;
        let place = (if turn < 0.0 { turn + 1.0 } else { turn }) * n as f64;
        let i = place as usize;
        let t = place - i as f64;
        let [a, b] = [self.points[i % n], self.points[(i + 1) % n]];
        [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t]
    }

    /// 1 where the inside lies to the left of the way, else −1.
    pub(super) fn inward(&self) -> f64 {
        let area: f64 =
            self.points.iter().zip(self.points.iter().cycle().skip(1)).map(|(a, b)| a[0] * b[1] - a[1] * b[0]).sum();
        if area > 0.0 { 1.0 } else { -1.0 }
    }

    /// The direction of walking there, over the length of a step: smooth, of length 1.
    pub(super) fn heading(&self, along: f64) -> [f64; 2] {
        let (a, b) = (self.at(along - 0.3), self.at(along + 0.3));
        let d = distance(a, b).max(1e-9);
        [(b[0] - a[0]) / d, (b[1] - a[1]) / d]
    }
}

/// Metres between two points.
pub(super) fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    ((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1])).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_even_closed_and_endless() {
        let path = Path::through(&[[2.0, 1.0], [0.0, 1.6], [-2.0, 1.0], [-2.0, -1.0], [0.0, -1.5], [2.0, -1.0]]);
        for k in 0..500 {
            let s = k as f64 * 0.1 - 20.0;
            let step = distance(path.at(s), path.at(s + 0.02));
            assert!((step - 0.02).abs() < 1e-3, "{step} at {s}");
            assert!(distance(path.at(s), path.at(s + 7.0 * path.length())) < 1e-9);
        }
    }
}
