//! One tile, from queries to outputs: the same for every instruction set. It computes nothing itself but borders.
//!
//! A tile is a block of pixels in R query rows, R the kernel's. Queries are loaded and scaled; for each key row that the tile looks at (a
//! slot), logits go into the score buffer `[slot][dx][R][lanes]`, which stays close in the cache; one pass of exponentials; one pass over
//! the values. Key rows outside the map are never visited; offsets dx outside it are masked, in the blocks where there are any.

use std::ops::Range;

use super::attention::{Attention, Block};
use super::table::MAX_ROWS;
use super::tiles::{Exponentials, LoadQueries, Logits, Segment, Values};

/// Where one tile lies.
pub(super) struct Tile {
    pub head: usize,
    pub block: Block,
    pub y: usize,
    /// Query rows, R or fewer at the bottom.
    pub rows: usize,
    /// Key rows inside the map that any of the query rows looks at.
    pub keys: Range<usize>,
}

/// A whole in near-equal parts, none larger than a limit: neither a tiny last part nor needlessly many.
#[derive(Clone, Copy, Default)]
pub(super) struct Split {
    count: usize,
    size: usize,
    /// How many parts, the first ones, are one larger.
    larger: usize,
}

impl Split {
    pub fn new(whole: usize, limit: usize) -> Split {
        let count = whole.div_ceil(limit);
        Split { count, size: whole / count, larger: whole % count }
    }

    /// Start and size of each part.
    fn parts(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.count).map(move |i| (i * self.size + i.min(self.larger), self.size + usize::from(i < self.larger)))
    }
}

/// What goes in and out of a run; lengths are checked.
pub(super) struct Job<'a> {
    pub q: &'a [f32],
    pub null: Option<&'a [f32]>,
    pub y: &'a mut [f32],
    pub confidence: Option<&'a mut [f32]>,
    pub border: Option<&'a mut [f32]>,
}

impl Attention {
    /// One tile, from queries to outputs.
    pub(super) fn tile(&mut self, job: &mut Job, tile: &Tile) {
        self.load_queries(job.q, tile);
        let null = job.null.and_then(|null| null.get(tile.head)).map(|null| null * std::f32::consts::LOG2_E);
        // Never −∞: logits that are all −∞ (a bias can do that) must give exponentials of 0, not NaN.
        self.scratch.max.as_mut_slice().fill(null.unwrap_or(f32::MIN).max(f32::MIN));
        let (segments, count) = self.logits(tile);
        self.softmax(tile, null);
        self.values(job, tile, &segments[..count]);
        self.shares(job, tile, null.is_some());
    }

    /// The tile's pixels: the first x, and how many of the lanes lie inside the map.
    fn columns(&self, tile: &Tile) -> (usize, usize) {
        (tile.block.x, tile.block.kernels.lanes.min(self.shape.width - tile.block.x))
    }

    /// Copies the tile's queries, scaled.
    fn load_queries(&mut self, q: &[f32], tile: &Tile) {
        let (lanes, vectors) = (tile.block.kernels.lanes, tile.block.kernels.vectors());
        let channels = self.shape.query_channels / self.shape.heads;
        let positions = self.shape.positions();
        let (x, inside) = self.columns(tile);
        let target = self.scratch.queries.as_mut_slice();
        let width = self.shape.width;
        let source = &q[tile.head * channels * positions + tile.y * width + x..];
        if inside == lanes {
            let job = LoadQueries {
                source: source.as_ptr(),
                source_stride: positions,
                source_row: width,
                channels,
                rows: tile.rows,
                factor: self.factor,
                target: target.as_mut_ptr(),
                target_stride: vectors,
            };
            // SAFETY: q has heads·channels·positions elements (checked in `run`), so every channel and row holds `lanes` pixels from x on;
            // the scratch has channels·R·lanes. `family` checked the CPU.
            unsafe { (tile.block.kernels.load_queries)(&job) };
            return;
        }
        for (c, rows) in target.chunks_exact_mut(vectors).take(channels).enumerate() {
            for (row, line) in rows.chunks_exact_mut(lanes).take(tile.rows).enumerate() {
                line.fill(0.0);
                for (target, source) in line.iter_mut().zip(&source[c * positions + row * width..][..inside]) {
                    *target = source * self.factor;
                }
            }
        }
    }

    /// Fills the scores with logits and `max` with the largest; tells which slots serve which query rows.
    fn logits(&mut self, tile: &Tile) -> ([Segment; 2 * MAX_ROWS - 1], usize) {
        let (kernels, radius, offsets) = (tile.block.kernels, self.shape.radius, 2 * self.reach + 1);
        let (lanes, vectors) = (kernels.lanes, kernels.vectors());
        let channels = self.shape.query_channels / self.shape.heads;
        let x = tile.block.x;
        let stride = self.keys.stride();
        let mut segments = [Segment::default(); 2 * MAX_ROWS - 1];
        let mut count = 0;
        self.value_rows.clear();
        let queries = self.scratch.queries.as_slice();
        let (scores, max) = (self.scratch.scores.as_mut_slice(), self.scratch.max.as_mut_slice());
        let keys = &self.keys.as_slice()[tile.head * channels * stride + x..];
        for key in tile.keys.clone() {
            // Query row i looks at this key row when abs(key − y − i) ≤ r.
            let first = key.saturating_sub(tile.y + radius);
            let last = (key + radius - tile.y).min(tile.rows - 1);
            let rows = last + 1 - first;
            if count == 0 || segments[count - 1].first != first || segments[count - 1].rows != rows {
                segments[count] = Segment { first, rows, slots: 0 };
                count += 1;
            }
            segments[count - 1].slots += self.active.len();
            let dy = key + radius - (tile.y + first);
            let bias = (tile.head * self.shape.window() + dy) * offsets;
            let (table, split) = (kernels.logits[rows - 1], tile.block.splits[rows - 1]);
            for &t in &self.active {
                let slot = self.value_rows.len();
                self.value_rows.push(self.values.row(t, key));
                let k = &keys[self.keys.row(t, key)..];
                for (dx, n) in split.parts() {
                    let job = Logits {
                        q: queries[first * lanes..].as_ptr(),
                        q_stride: vectors,
                        k: k[dx..].as_ptr(),
                        k_stride: stride,
                        channels,
                        // From the whole table: the kernel reads before this place too, which a part's own pointer may not do.
                        bias: self.bias.as_ptr().wrapping_add(bias + dx),
                        bias_step: offsets,
                        mask: if tile.block.edge {
                            self.masks.as_slice()[tile.block.mask + dx * lanes..].as_ptr()
                        } else {
                            std::ptr::null()
                        },
                        scores: scores[(slot * offsets + dx) * vectors + first * lanes..].as_mut_ptr(),
                        scores_stride: vectors,
                        max: max[first * lanes..].as_mut_ptr(),
                    };
                    // SAFETY: rows first .. first + rows are within the tile; a padded row of keys has margin + covered + margin elements, so
                    // x + dx + lanes stays inside for dx < offsets; the bias of query row i is in row dy − i of the head's, from 0 (that query
                    // row looks at this key row) to dy, and its pointer may reach all of the table; scores hold as many slots as the window has rows. `family` checked the CPU.
                    unsafe { table[n - 1](&job) };
                }
            }
        }
        (segments, count)
    }

    /// Turns logits into exponentials, and their sums into inverses.
    fn softmax(&mut self, tile: &Tile, null: Option<f32>) {
        let (lanes, vectors) = (tile.block.kernels.lanes, tile.block.kernels.vectors());
        let offsets = 2 * self.reach + 1;
        let scratch = &mut self.scratch;
        if let Some(null) = null {
            scratch.null.as_mut_slice().fill(null);
        }
        for row in 0..tile.rows {
            let slots = slots_of_row(tile, row, self.shape.radius, self.active.len());
            let mut job = Exponentials {
                scores: scratch.scores.as_mut_slice()[slots.start * offsets * vectors + row * lanes..].as_mut_ptr(),
                stride: vectors,
                count: slots.len() * offsets,
                max: scratch.max.as_slice()[row * lanes..].as_ptr(),
                sum: scratch.sum.as_mut_slice()[row * lanes..].as_mut_ptr(),
            };
            // SAFETY: the row's slots are neighbours, each with `offsets` vectors; max and sum are rows·lanes. `family` checked the CPU.
            unsafe { (tile.block.kernels.exponentials)(&job) };
            if null.is_some() {
                job.scores = scratch.null.as_mut_slice()[row * lanes..].as_mut_ptr();
                job.count = 1;
                job.sum = scratch.inverse.as_mut_slice()[row * lanes..].as_mut_ptr();
                // SAFETY: as above, with one vector of the null's logit; the sum it writes is overwritten below.
                unsafe { (tile.block.kernels.exponentials)(&job) };
            }
        }
        let (sums, nulls) = (scratch.sum.as_slice(), scratch.null.as_slice());
        for (i, inverse) in scratch.inverse.as_mut_slice()[..tile.rows * lanes].iter_mut().enumerate() {
            let total = sums[i] + if null.is_some() { nulls[i] } else { 0.0 };
            *inverse = if total == 0.0 { 0.0 } else { 1.0 / total };
        }
    }

    /// Weighs the values and writes y.
    fn values(&mut self, job: &mut Job, tile: &Tile, segments: &[Segment]) {
        let (kernels, offsets, positions) = (tile.block.kernels, 2 * self.reach + 1, self.shape.positions());
        let (lanes, vectors, width) = (kernels.lanes, kernels.vectors(), self.shape.width);
        let channels = self.shape.value_channels / self.shape.heads;
        let stride = self.values.stride();
        let (x, inside) = self.columns(tile);
        let whole = inside == lanes;
        let start = tile.head * channels * positions + tile.y * width + x;
        for (c, n) in Split::new(channels, kernels.values.len()).parts() {
            let (out, out_row, out_stride) = if whole {
                (job.y[start + c * positions..].as_mut_ptr(), width, positions)
            } else {
                (self.scratch.out.as_mut_slice()[c * vectors..].as_mut_ptr(), lanes, vectors)
            };
            let values = Values {
                v: self.values.as_slice()[(tile.head * channels + c) * stride + x..].as_ptr(),
                v_stride: stride,
                slots: self.value_rows.as_ptr(),
                segments: segments.as_ptr(),
                segment_count: segments.len(),
                window: offsets,
                weights: self.scratch.scores.as_slice().as_ptr(),
                inverse: self.scratch.inverse.as_slice().as_ptr(),
                rows: tile.rows,
                out,
                out_row,
                out_stride,
            };
            // SAFETY: segments name as many slots as `value_rows` and the scores hold; a padded row of values has margin + covered + margin
            // elements; y has heads·channels·positions elements (checked in `run`) and this block's lanes all lie inside the map, or else
            // the scratch takes channels·rows·lanes. `family` checked the CPU.
            unsafe { kernels.values[n - 1](&values) };
        }
        if !whole {
            for (c, block) in self.scratch.out.as_slice().chunks_exact(vectors).take(channels).enumerate() {
                for (row, line) in block.chunks_exact(lanes).take(tile.rows).enumerate() {
                    job.y[start + c * positions + row * width..][..inside].copy_from_slice(&line[..inside]);
                }
            }
        }
    }

    /// Writes confidence and border, where they are wanted.
    fn shares(&self, job: &mut Job, tile: &Tile, null: bool) {
        let (lanes, vectors) = (tile.block.kernels.lanes, tile.block.kernels.vectors());
        let (offsets, radius) = (2 * self.reach + 1, self.shape.radius);
        let (x, inside) = self.columns(tile);
        let scratch = &self.scratch;
        for row in 0..tile.rows {
            let start = tile.head * self.shape.positions() + (tile.y + row) * self.shape.width + x;
            let inverse = &scratch.inverse.as_slice()[row * lanes..][..inside];
            if let Some(confidence) = job.confidence.as_deref_mut() {
                let sums = &scratch.sum.as_slice()[row * lanes..];
                for ((target, sum), inverse) in confidence[start..].iter_mut().zip(sums).zip(inverse) {
                    *target = if null { sum * inverse } else { 1.0 };
                }
            }
            let Some(border) = job.border.as_deref_mut() else { continue };
            let target = &mut border[start..][..inside];
            target.fill(0.0);
            for slot in slots_of_row(tile, row, radius, self.active.len()) {
                let key = tile.keys.start + slot / self.active.len();
                let rim = key.abs_diff(tile.y + row) == radius;
                for dx in 0..offsets {
                    if rim || dx.abs_diff(self.reach) == radius {
                        let weights = &scratch.scores.as_slice()[(slot * offsets + dx) * vectors + row * lanes..];
                        target.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
                    }
                }
            }
            target.iter_mut().zip(inverse).for_each(|(sum, inverse)| *sum *= inverse);
        }
    }
}

/// The slots that one query row looks at: `keyframes` for each key row within the radius.
fn slots_of_row(tile: &Tile, row: usize, radius: usize, keyframes: usize) -> Range<usize> {
    let (y, keys) = (tile.y + row, &tile.keys);
    let first = y.saturating_sub(radius).max(keys.start) - keys.start;
    let end = (y + radius + 1).min(keys.end) - keys.start;
    first * keyframes..end * keyframes
}
