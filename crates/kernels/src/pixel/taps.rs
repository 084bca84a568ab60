//! One axis of a resize: which source samples an output sample is made of, and with what weight.
//!
//! Triangle filter, widened by the scale where the picture shrinks (anti-aliasing), half-pixel centres. Samples outside
//! the source are left out and the remaining weights scaled to a sum of 1: what Pillow's `BILINEAR` and PyTorch's
//! `interpolate(antialias=True)` do.

/// Where the output lies on the source, in source samples: output sample `i` of `count` covers
/// `origin + i·span/count … origin + (i + 1)·span/count`, and only samples `first..end` exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    pub origin: f64,
    pub span: f64,
    pub first: usize,
    pub end: usize,
}

/// For every output sample `size` neighbouring source samples and their weights.
#[derive(Debug, Clone)]
pub(super) struct Taps {
    /// Weights an output sample; those beyond the filter's support are zero.
    pub size: usize,
    /// By output sample: its first source sample.
    pub starts: Vec<usize>,
    /// `[output sample][size]`.
    pub weights: Vec<f64>,
}

impl Taps {
    /// The taps of `count` output samples; the last output sample first where `reversed`.
    pub fn new(window: Window, count: usize, reversed: bool) -> Taps {
        let Window { origin, span, first, end } = window;
        let scale = span / count as f64;
        let support = scale.max(1.0);
        let exact: Vec<(usize, Vec<f64>)> = (0..count)
            .map(|i| {
                let i = if reversed { count - 1 - i } else { i };
                let centre = origin + (i as f64 + 0.5) * scale;
                let low = ((centre - support - 0.5).ceil().max(first as f64) as usize).min(end - 1);
                let high = ((centre + support - 0.5).floor().min((end - 1) as f64).max(low as f64)) as usize;
                let weight = |x: usize| (1.0 - ((x as f64 + 0.5 - centre) / support).abs()).max(0.0);
                let mut weights: Vec<f64> = (low..=high).map(weight).collect();
                let sum: f64 = weights.iter().sum();
                // The centre lies at most half a sample outside, so that the sum is positive; if rounding says otherwise, the nearest.
                if sum > 1e-9 {
                    weights.iter_mut().for_each(|w| *w /= sum)
                } else {
                    weights = vec![1.0]
                }
                let leading = weights.iter().take_while(|w| **w == 0.0).count();
                weights.drain(..leading);
                while weights.last() == Some(&0.0) {
                    weights.pop();
                }
                (low + leading, weights)
            })
            .collect();
        let size = exact.iter().map(|(_, weights)| weights.len()).max().unwrap_or(1);
        let mut taps = Taps { size, starts: Vec::with_capacity(count), weights: vec![0.0; count * size] };
        for ((low, exact), weights) in exact.into_iter().zip(taps.weights.chunks_exact_mut(size)) {
            // Moved back where padding with zero weights would read past the last sample.
            let start = low.min((end - first).max(size) + first - size);
            for (weight, exact) in weights[low - start..].iter_mut().zip(exact) {
                *weight = exact;
            }
            taps.starts.push(start);
        }
        taps
    }

    /// The source samples in use, `first..end`.
    pub fn used(&self) -> (usize, usize) {
        let first = self.starts.iter().copied().min().unwrap_or(0);
        let last = self.starts.iter().copied().max().unwrap_or(0);
        (first, last + self.size)
    }

    /// The weights of output sample `i` in fixed point, 1 is `whole`, which they add up to exactly: each rounded down, and what is missing given to those that
    /// lost most, the first of equals.
    pub fn fixed_point(&self, i: usize, whole: u16) -> Vec<u16> {
        let exact: Vec<f64> =
            self.weights[i * self.size..][..self.size].iter().map(|weight| weight * f64::from(whole)).collect();
        let mut weights: Vec<u16> = exact.iter().map(|exact| exact.floor() as u16).collect();
        let mut order: Vec<usize> = (0..self.size).collect();
        order.sort_by(|&a, &b| (exact[b] - exact[b].floor()).total_cmp(&(exact[a] - exact[a].floor())));
        let missing = usize::from(whole).saturating_sub(weights.iter().map(|&weight| usize::from(weight)).sum());
        order.iter().take(missing).for_each(|&at| weights[at] += 1);
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(window: Window, count: usize) -> Vec<Vec<f64>> {
        let taps = Taps::new(window, count, false);
        (0..count)
            .map(|i| {
                let mut row = vec![0.0; window.end];
                row[taps.starts[i]..][..taps.size].copy_from_slice(&taps.weights[i * taps.size..][..taps.size]);
                row
            })
            .collect()
    }

    #[test]
    fn the_same_size_is_the_identity() {
        let rows = dense(Window { origin: 0.0, span: 3.0, first: 0, end: 3 }, 3);
        assert_eq!(rows, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    }

    #[test]
    fn half_the_size_weighs_1_3_3_1() {
        let rows = dense(Window { origin: 0.0, span: 6.0, first: 0, end: 6 }, 3);
        assert_eq!(rows[1], [0.0, 0.125, 0.375, 0.375, 0.125, 0.0]);
        // At the edge what is missing is left out: 3, 3, 1 sevenths.
        assert_eq!(rows[0][..3], [3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0]);
    }

    #[test]
    fn weights_in_fixed_point_add_up_and_are_next_to_what_they_stand_for() {
        let taps = Taps::new(Window { origin: 0.0, span: 480.0, first: 0, end: 480 }, 128, false);
        for (i, whole) in (0..128).flat_map(|i| [(i, 4096), (i, 16_384)]) {
            let rounded = taps.fixed_point(i, whole);
            assert_eq!(rounded.iter().map(|&weight| u32::from(weight)).sum::<u32>(), u32::from(whole));
            for (rounded, weight) in rounded.iter().zip(&taps.weights[i * taps.size..]) {
                assert!((f64::from(*rounded) - weight * f64::from(whole)).abs() < 1.0);
            }
        }
    }

    #[test]
    fn weights_sum_to_one_for_all_kinds_of_windows() {
        for (span, first, end, count) in
            [(7.0, 0, 7, 3), (3.0, 0, 3, 11), (0.5, 2, 4, 4), (1000.0, 0, 1000, 1), (0.6, 0, 1, 5)]
        {
            for row in dense(Window { origin: first as f64, span, first, end }, count) {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }
    }
}
