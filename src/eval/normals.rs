//! Surface normals against the truth: the angle between the two, its mean, its median, and how many are small.

/// Bins of the histogram a degree: the median is known to 0.01°.
const BINS_A_DEGREE: usize = 100;
const BINS: usize = 180 * BINS_A_DEGREE + 1;
/// The angles that shares are stated for, in degrees (Fouhey et al., ICCV 2013).
pub const WITHIN_DEG: [f64; 3] = [11.25, 22.5, 30.0];
/// What a prediction without a direction counts as, in degrees.
const NO_DIRECTION_DEG: f64 = 90.0;

/// Sums over all scored pixels, and a histogram of their angles.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalSums {
    /// Pixels scored.
    pub pixels: u64,
    degrees: f64,
    within: [u64; 3],
    histogram: Vec<u64>,
}

/// What the sums come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalScores {
    /// Mean angle in degrees.
    pub mean_deg: f64,
    /// Median angle in degrees, to 0.01.
    pub median_deg: f64,
    /// Share of pixels within each of [`WITHIN_DEG`].
    pub within: [f64; 3],
}

impl Default for NormalSums {
    fn default() -> NormalSums {
        NormalSums { pixels: 0, degrees: 0.0, within: [0; 3], histogram: vec![0; BINS] }
    }
}

impl NormalSums {
    /// Scores a map, `[3, pixels]` both: a published prediction (unit vectors × 127, of any length) and the truth. Pixels
    /// whose truth is (0, 0, 0) are not scored.
    pub fn add(&mut self, prediction: &[i8], truth: &[f32]) {
        let pixels = truth.len() / 3;
        if prediction.len() != truth.len() || pixels == 0 {
            return;
        }
        for i in 0..pixels {
            let truth = [truth[i], truth[pixels + i], truth[2 * pixels + i]].map(f64::from);
            if truth == [0.0; 3] {
                continue;
            }
            let prediction = [prediction[i], prediction[pixels + i], prediction[2 * pixels + i]].map(f64::from);
            self.count(angle_deg(prediction, truth));
        }
    }

    fn count(&mut self, degrees: f64) {
        self.pixels += 1;
        self.degrees += degrees;
        for (count, limit) in self.within.iter_mut().zip(WITHIN_DEG) {
            *count += u64::from(degrees < limit);
        }
        let bin = (degrees * BINS_A_DEGREE as f64) as usize;
        self.histogram[bin.min(BINS - 1)] += 1;
    }

    /// Adds another one's sums.
    pub fn merge(&mut self, other: &NormalSums) {
        self.pixels += other.pixels;
        self.degrees += other.degrees;
        self.within.iter_mut().zip(other.within).for_each(|(count, other)| *count += other);
        self.histogram.iter_mut().zip(&other.histogram).for_each(|(count, other)| *count += other);
    }

    /// `None` where no pixel was scored.
    pub fn scores(&self) -> Option<NormalScores> {
        let pixels = (self.pixels > 0).then_some(self.pixels as f64)?;
        Some(NormalScores {
            mean_deg: self.degrees / pixels,
            median_deg: self.median(),
            within: self.within.map(|count| count as f64 / pixels),
        })
    }

    /// The middle angle, or the mean of the two in the middle.
    fn median(&self) -> f64 {
        let last = self.pixels - 1;
        (self.of_rank(last / 2) + self.of_rank(last.div_ceil(2))) / 2.0
    }

    /// The angle with so many before it; within their bin angles are taken to lie evenly.
    fn of_rank(&self, rank: u64) -> f64 {
        let mut below = 0;
        for (bin, &count) in self.histogram.iter().enumerate() {
            if below + count > rank {
                let part = ((rank - below) as f64 + 0.5) / count as f64;
                return (bin as f64 + part) / BINS_A_DEGREE as f64;
            }
            below += count;
        }
        180.0
    }
}

/// The angle between two vectors of any length, in degrees. By atan2, which is exact for small angles too.
fn angle_deg(a: [f64; 3], b: [f64; 3]) -> f64 {
    if a == [0.0; 3] {
        return NO_DIRECTION_DEG;
    }
    let cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let sine = cross.iter().map(|v| v * v).sum::<f64>().sqrt();
    let cosine: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    sine.atan2(cosine).to_degrees()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_are_those_of_the_arc_cosine() {
        for (a, b, degrees) in [
            ([0.0, 0.0, 127.0], [0.0, 0.0, 1.0], 0.0),
            ([127.0, 0.0, 0.0], [0.0, 0.0, 1.0], 90.0),
            ([0.0, 0.0, 127.0], [0.0, 0.0, -1.0], 180.0),
            ([90.0, 90.0, 0.0], [0.0, 1.0, 0.0], 45.0),
            ([0.0; 3], [0.0, 1.0, 0.0], 90.0),
        ] {
            assert!((angle_deg(a, b) - degrees).abs() < 1e-9, "{a:?} {b:?}");
        }
    }

    #[test]
    fn mean_median_and_shares_are_those_of_the_sorted_angles() {
        let angles: Vec<f64> = (0..5001).map(|i| f64::from((i * 2711) % 5001) * 0.0137).collect();
        let (mut sums, mut second) = (NormalSums::default(), NormalSums::default());
        for (i, angle) in angles.iter().enumerate() {
            if i % 3 == 0 { &mut second } else { &mut sums }.count(*angle);
        }
        sums.merge(&second);
        let scores = sums.scores().unwrap();
        let mut sorted = angles.clone();
        sorted.sort_by(f64::total_cmp);
        assert!((scores.mean_deg - angles.iter().sum::<f64>() / 5001.0).abs() < 1e-9);
        assert!((scores.median_deg - sorted[2500]).abs() <= 0.01, "{} {}", scores.median_deg, sorted[2500]);
        for (share, limit) in scores.within.into_iter().zip(WITHIN_DEG) {
            assert_eq!(share, angles.iter().filter(|angle| **angle < limit).count() as f64 / 5001.0);
        }
    }

    #[test]
    fn pixels_without_a_true_normal_are_not_scored() {
        let mut sums = NormalSums::default();
        // Two pixels, planar: the second one's truth is nothing.
        sums.add(&[0, 127, 0, 0, 127, 0], &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(sums.pixels, 1);
        assert_eq!(sums.scores().unwrap().mean_deg, angle_deg([0.0, 0.0, 127.0], [0.0, 1.0, 0.0]));
    }
}
