//! Depth in metres against the truth: relative error, RMSE, share within a factor (Eigen et al., NIPS 2014).

/// The farthest truth that is scored, in metres. Farther pixels and the sky (infinite) are not.
pub const CAP_M: f32 = 80.0;
/// The nearest that a prediction is taken for, in metres: a ratio needs a number above 0.
pub const NEAREST_M: f32 = 1e-3;

/// Sums over all scored pixels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DepthSums {
    /// Pixels scored.
    pub pixels: u64,
    relative: f64,
    squared: f64,
    within: u64,
}

/// What the sums come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthScores {
    /// Mean |prediction − truth| / truth.
    pub abs_rel: f64,
    /// Root of the mean squared error, metres.
    pub rmse_m: f64,
    /// Share of pixels where the larger of prediction/truth and truth/prediction is below 1.25.
    pub within_1_25: f64,
}

impl DepthSums {
    /// Scores a map. What is predicted beyond [`CAP_M`], or is no number, counts as [`CAP_M`].
    pub fn add(&mut self, prediction: &[f32], truth: &[f32]) {
        for (&prediction, &truth) in prediction.iter().zip(truth) {
            if !(truth > 0.0 && truth <= CAP_M) {
                continue;
            }
            // A comparison that is false for NaN.
            let prediction = if prediction < CAP_M { prediction.max(NEAREST_M) } else { CAP_M };
            let (prediction, truth) = (f64::from(prediction), f64::from(truth));
            let error = prediction - truth;
            self.pixels += 1;
            self.relative += error.abs() / truth;
            self.squared += error * error;
            self.within += u64::from((prediction / truth).max(truth / prediction) < 1.25);
        }
    }

    /// Adds another one's sums.
    pub fn merge(&mut self, other: &DepthSums) {
        self.pixels += other.pixels;
        self.relative += other.relative;
        self.squared += other.squared;
        self.within += other.within;
    }

    /// `None` where no pixel was scored.
    pub fn scores(&self) -> Option<DepthScores> {
        let pixels = (self.pixels > 0).then_some(self.pixels as f64)?;
        Some(DepthScores {
            abs_rel: self.relative / pixels,
            rmse_m: (self.squared / pixels).sqrt(),
            within_1_25: self.within as f64 / pixels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_what_their_definitions_say() {
        let mut sums = DepthSums::default();
        sums.add(&[11.0, 30.0], &[10.0, 40.0]);
        let mut second = DepthSums::default();
        second.add(&[2.0], &[2.0]);
        sums.merge(&second);
        let scores = sums.scores().unwrap();
        assert!((scores.abs_rel - (0.1 + 0.25 + 0.0) / 3.0).abs() < 1e-12);
        assert!((scores.rmse_m - (101.0f64 / 3.0).sqrt()).abs() < 1e-12);
        // 40/30 is more than 1.25.
        assert!((scores.within_1_25 - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn sky_and_what_is_too_far_are_not_scored() {
        let mut sums = DepthSums::default();
        sums.add(&[1.0; 5], &[f32::INFINITY, 80.1, 0.0, f32::NAN, -1.0]);
        assert_eq!((sums.pixels, sums.scores()), (0, None));
        sums.add(&[80.0], &[80.0]);
        assert_eq!(sums.scores().unwrap().abs_rel, 0.0);
    }

    #[test]
    fn no_answer_counts_as_the_farthest_one() {
        for prediction in [f32::NAN, f32::INFINITY, 500.0] {
            let mut sums = DepthSums::default();
            sums.add(&[prediction], &[40.0]);
            assert_eq!(sums.scores().unwrap().abs_rel, 1.0, "{prediction}");
        }
        let mut sums = DepthSums::default();
        sums.add(&[0.0], &[1.0]);
        assert!(sums.scores().unwrap().abs_rel.is_finite());
    }
}
