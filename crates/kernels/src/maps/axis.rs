//! Where each output pixel of one axis lies between its two source pixels.

use std::ops::Range;

use super::{BLOCK, LANES};

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

/// The output between two neighbouring source pixels, where it is a whole number of times as large as the source: the same fractions everywhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cells {
    /// Output pixels a cell: 2, 4 or 8.
    pub size: usize,
    /// The first cell's first output pixel; those before it, and as many at the end, lie at the clamped edges.
    pub first: usize,
    /// Of a cell's output pixels.
    pub fractions: [f32; LANES],
}

impl Cells {
    /// The fractions of the first four pixels and of the others.
    pub fn halves(self) -> [[f32; 4]; 2] {
        let [a, b, c, d, e, f, g, h] = self.fractions;
        [[a, b, c, d], [e, f, g, h]]
    }

    /// Of each row of `source` pixels, one after the other in `rows`: the pixels at the left of the cells and those at the right. Whole
    /// vectors of [`BLOCK`]: behind the last cell there are pixels of the next row.
    #[inline(always)]
    pub fn rows(self, source: usize, rows: &[f32]) -> impl Iterator<Item = (&[f32], &[f32])> {
        let count = source.next_multiple_of(BLOCK);
        (0..)
            .step_by(source)
            .map_while(move |start| Some((rows.get(start..start + count)?, rows.get(start + 1..)?.get(..count)?)))
    }
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
    /// Where the output is 2, 4 or 8 times the source.
    pub cells: Option<Cells>,
    left: Vec<usize>,
}

impl Axis {
    pub fn new(source: usize, out: usize) -> Axis {
        let scale = source as f64 / out as f64;
        let mut axis = Axis { source, out, fractions: Vec::new(), runs: Vec::new(), cells: None, left: Vec::new() };
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
        axis.cells = axis.cells();
        axis.fractions.resize(out + LANES, 0.0);
        axis
    }

    /// Looks whether all cells are alike, to the last bit of each fraction.
    fn cells(&self) -> Option<Cells> {
        let size = self.out / self.source;
        let first = size / 2;
        if !matches!(size, 2 | 4 | 8) || !self.out.is_multiple_of(self.source) || self.source < 2 {
            return None;
        }
        let mut fractions = [0.0; LANES];
        fractions[..size].copy_from_slice(self.fractions.get(first..first + size)?);
        let alike = (0..self.source - 1).all(|cell| {
            let pixels = first + cell * size..first + (cell + 1) * size;
            self.left[pixels.clone()].iter().all(|&left| left == cell) && self.fractions[pixels] == fractions[..size]
        });
        alike.then_some(Cells { size, first, fractions })
    }

    /// The output pixels before the first and behind the last cell. Those of a side are all the same: clamped to one source pixel.
    #[inline(always)]
    pub fn edges(&self, cells: Cells) -> [Range<usize>; 2] {
        [0..cells.first, cells.first + (self.source - 1) * cells.size..self.out]
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

    /// One output pixel of `row`.
    #[inline(always)]
    pub fn pixel(&self, row: &[f32], x: usize) -> f32 {
        let (left, right, fraction) = self.at(x);
        row[left] + (row[right] - row[left]) * fraction
    }

    /// As [`Axis::spread`], for cells of `SIZE`.
    #[inline(always)]
    fn spread_cells<const SIZE: usize>(&self, cells: Cells, row: &[f32], out: &mut [f32]) {
        for edge in self.edges(cells) {
            let value = self.pixel(row, edge.start);
            out[edge].fill(value);
        }
        let (left, right) = (&row[..self.source - 1], &row[1..self.source]);
        for ((out, left), right) in out[cells.first..].as_chunks_mut::<SIZE>().0.iter_mut().zip(left).zip(right) {
            for (value, fraction) in out.iter_mut().zip(&cells.fractions) {
                *value = left + (right - left) * fraction;
            }
        }
    }

    /// Interpolates `row` (`source` pixels) into `out`, which has room for [`LANES`] more than its pixels: what is there means nothing.
    #[inline(always)]
    pub fn spread(&self, row: &[f32], out: &mut [f32]) {
        match self.cells {
            Some(cells) if cells.size == 2 => return self.spread_cells::<2>(cells, row, out),
            Some(cells) if cells.size == 4 => return self.spread_cells::<4>(cells, row, out),
            Some(cells) if cells.size == 8 => return self.spread_cells::<8>(cells, row, out),
            _ => {}
        }
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
