//! Where each output pixel of one axis lies between its two source pixels.

use super::LANES;

/// Output pixels that lie between the same two source pixels, at most [`LANES`] of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The source pixels to the left and to the right; the same one at the edges.
    pub left: usize,
    pub right: usize,
    /// The output pixels `first..end`.
    pub first: usize,
    pub end: usize,
}

/// One axis of a bilinear resize with half-pixel centres and clamped edges.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// Pixels of the source.
    pub source: usize,
    /// Pixels of the output.
    pub out: usize,
    /// By output pixel: how far from the left source pixel to the right one, 0…1; padded by [`LANES`].
    pub fractions: Vec<f32>,
    /// The output, run by run.
    pub runs: Vec<Run>,
    left: Vec<usize>,
}

impl Axis {
    pub fn new(source: usize, out: usize) -> Axis {
        let scale = source as f64 / out as f64;
        let mut axis = Axis { source, out, fractions: Vec::new(), runs: Vec::new(), left: Vec::new() };
        for i in 0..out {
            // The centre of output pixel i, in source pixels whose centres are the integers.
            let position = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, (source - 1) as f64);
            let left = position.floor() as usize;
            axis.left.push(left);
            axis.fractions.push((position - left as f64) as f32);
            match axis.runs.last_mut() {
                Some(run) if run.left == left && i - run.first < LANES => run.end = i + 1,
                _ => axis.runs.push(Run { left, right: (left + 1).min(source - 1), first: i, end: i + 1 }),
            }
        }
        axis.fractions.resize(out + LANES, 0.0);
        axis
    }

    /// The two source pixels around output pixel `i`, and the way from the first to the second.
    pub fn at(&self, i: usize) -> (usize, usize, f32) {
        (self.left[i], (self.left[i] + 1).min(self.source - 1), self.fractions[i])
    }

    /// The source pixel nearest to output pixel `i`; the first of two that are equally near.
    pub fn nearest(&self, i: usize) -> usize {
        let (left, right, fraction) = self.at(i);
        if fraction > 0.5 { right } else { left }
    }

    /// Interpolates `row` (`source` pixels) into `out`, which has room for [`LANES`] more than its pixels: what is there means nothing.
    #[inline(always)]
    pub fn spread(&self, row: &[f32], out: &mut [f32]) {
        for run in &self.runs {
            let left = row[run.left];
            let slope = row[run.right] - left;
            // Whole vectors; the next run overwrites what is too much.
            let fractions = self.fractions[run.first..].first_chunk::<LANES>();
            if let (Some(fractions), Some(out)) = (fractions, out[run.first..].first_chunk_mut::<LANES>()) {
                for (value, fraction) in out.iter_mut().zip(fractions) {
                    *value = left + slope * fraction;
                }
            }
        }
    }
}
