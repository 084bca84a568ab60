//! The walk over heads, blocks of pixels and key rows: the same for every instruction set. It computes nothing itself but borders.
//!
//! A tile is `lanes` pixels in [`ROWS`] query rows. For each tile: queries are loaded and scaled; for each key row that the tile looks at
//! (a slot), logits go into the score buffer `[slot][dx][ROWS][lanes]`, which stays in the first-level cache; one pass of exponentials; one
//! pass over the values. Key rows outside the map are never visited; offsets dx outside it are masked, in the blocks where there are any.

use std::ops::Range;

use super::packed::{Aligned, Packed};
use super::shape::{Shape, ShapeError};
use super::table::{Kernels, ROWS, kernels_for};
use super::tiles::{Exponentials, LoadQueries, Logits, Segment, Values};
use crate::cpu::Isa;

/// Local attention of one shape, with the keyframes it looks at and everything that a run needs.
pub struct Attention {
    shape: Shape,
    kernels: &'static Kernels,
    /// scale·log₂e.
    factor: f32,
    /// min(r, W − 1): offsets beyond it lie outside the map for every pixel.
    reach: usize,
    keys: Packed,
    values: Packed,
    /// `[block][dx][lanes]`: all bits set where x + dx lies inside the map.
    masks: Aligned,
    /// `[head][dy][dx]`, in units of log 2; dx within reach only.
    bias: Vec<f32>,
    /// The keyframes that are valid in this run.
    active: Vec<usize>,
    /// For each slot of a tile, where its row of keys and its row of values start.
    key_rows: Vec<usize>,
    value_rows: Vec<usize>,
    scratch: Scratch,
}

/// Buffers of one tile.
struct Scratch {
    /// `[c][ROWS][lanes]`, of one head.
    queries: Aligned,
    /// `[slot][dx][ROWS][lanes]`.
    scores: Aligned,
    /// `[c][ROWS][lanes]`, of one head: results of a block that sticks out of the map.
    out: Aligned,
    /// `[ROWS][lanes]` each: largest logit, sum of exponentials, its inverse with the null's share, the null's exponential.
    max: Aligned,
    sum: Aligned,
    inverse: Aligned,
    null: Aligned,
}

/// Where one tile lies.
struct Tile {
    head: usize,
    block: usize,
    y: usize,
    /// Query rows, ROWS or fewer at the bottom.
    rows: usize,
    /// Key rows inside the map that any of the query rows looks at.
    keys: Range<usize>,
}

/// What goes in and out of a run; lengths are checked.
struct Job<'a> {
    q: &'a [f32],
    null: Option<&'a [f32]>,
    y: &'a mut [f32],
    confidence: Option<&'a mut [f32]>,
    border: Option<&'a mut [f32]>,
}

impl Attention {
    /// Checks the shape and allocates everything; keyframes are zeros until packed. `scale` defaults to 1/√(Cq/g).
    ///
    /// # Errors
    /// When the shape is not one, the scale isn't finite, or this CPU lacks `isa`.
    pub fn new(isa: Isa, shape: Shape, scale: Option<f32>) -> Result<Attention, ShapeError> {
        shape.check()?;
        let kernels = kernels_for(isa).ok_or(ShapeError::Unavailable(isa.name()))?;
        let scale = scale.unwrap_or_else(|| 1.0 / ((shape.query_channels / shape.heads) as f32).sqrt());
        if !scale.is_finite() {
            return Err(ShapeError::Scale(scale));
        }
        let Shape { heads, query_channels, value_channels, height, width, keyframes, radius } = shape;
        let lanes = kernels.lanes;
        let reach = radius.min(width - 1);
        let offsets = 2 * reach + 1;
        let covered = width.next_multiple_of(lanes);
        let slots = keyframes * (2 * radius + ROWS).min(height);
        let vectors = ROWS * lanes;
        let mut masks = Aligned::new(covered * offsets);
        fill_masks(masks.as_mut_slice(), lanes, width, reach);
        Ok(Attention {
            shape,
            kernels,
            factor: scale * std::f32::consts::LOG2_E,
            reach,
            keys: Packed::new(keyframes, query_channels, height, width, covered, reach),
            values: Packed::new(keyframes, value_channels, height, width, covered, reach),
            masks,
            bias: vec![0.0; heads * shape.window() * offsets],
            active: Vec::with_capacity(keyframes),
            key_rows: Vec::with_capacity(slots),
            value_rows: Vec::with_capacity(slots),
            scratch: Scratch {
                queries: Aligned::new(query_channels / heads * vectors),
                scores: Aligned::new(slots * offsets * vectors),
                out: Aligned::new(value_channels / heads * vectors),
                max: Aligned::new(vectors),
                sum: Aligned::new(vectors),
                inverse: Aligned::new(vectors),
                null: Aligned::new(vectors),
            },
        })
    }

    /// The kernels in use, for logs and benchmarks.
    pub fn kernel_name(&self) -> &'static str {
        self.kernels.name
    }

    /// The shape that it was made for.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Multiply-accumulates of one run by the formula T·H·W·(2r+1)²·(Cq+Cv), the masked ones included.
    pub fn macs(&self) -> u64 {
        self.shape.macs()
    }

    /// Takes over one keyframe: keys `[Cq, H, W]` and values `[Cv, H, W]`. Once per keyframe; allocates nothing.
    ///
    /// # Errors
    /// When `keyframe` is not below T or a length is not the shape's; nothing has changed then.
    pub fn pack(&mut self, keyframe: usize, k: &[f32], v: &[f32]) -> Result<(), ShapeError> {
        let Shape { keyframes, query_channels, value_channels, .. } = self.shape;
        if keyframe >= keyframes {
            return Err(ShapeError::Keyframe { keyframes, found: keyframe });
        }
        let positions = self.shape.positions();
        check("k", query_channels * positions, k.len())?;
        check("v", value_channels * positions, v.len())?;
        self.keys.pack(keyframe, k);
        self.values.pack(keyframe, v);
        Ok(())
    }

    /// Looks up `q` in the packed keyframes; see the module for shapes. Allocates nothing.
    ///
    /// # Errors
    /// When a length is not the shape's; nothing has been written then.
    #[allow(clippy::too_many_arguments, reason = "one for each input and output of the operator")]
    pub fn run(
        &mut self,
        q: &[f32],
        bias: Option<&[f32]>,
        null: Option<&[f32]>,
        valid: Option<&[f32]>,
        y: &mut [f32],
        confidence: Option<&mut [f32]>,
        border: Option<&mut [f32]>,
    ) -> Result<(), ShapeError> {
        let Shape { heads, query_channels, value_channels, height, width, keyframes, .. } = self.shape;
        let (positions, window) = (self.shape.positions(), self.shape.window());
        check("q", query_channels * positions, q.len())?;
        check("y", value_channels * positions, y.len())?;
        let optional = [
            ("bias", heads * window * window, bias.map(<[f32]>::len)),
            ("null", heads, null.map(<[f32]>::len)),
            ("valid", keyframes, valid.map(<[f32]>::len)),
            ("confidence", heads * positions, confidence.as_deref().map(<[f32]>::len)),
            ("border", heads * positions, border.as_deref().map(<[f32]>::len)),
        ];
        for (tensor, expected, found) in optional {
            check(tensor, expected, found.unwrap_or(expected))?;
        }

        self.active.clear();
        self.active.extend((0..keyframes).filter(|&t| valid.and_then(|valid| valid.get(t)).is_none_or(|&v| v != 0.0)));
        if self.active.is_empty() {
            y.fill(0.0);
            confidence.into_iter().for_each(|map| map.fill(if null.is_some() { 0.0 } else { 1.0 }));
            border.into_iter().for_each(|map| map.fill(0.0));
            return Ok(());
        }
        self.take_bias(bias);

        let mut job = Job { q, null, y, confidence, border };
        for head in 0..heads {
            // Down a column of blocks: the key rows that two neighbouring tiles share are then still in the cache.
            for block in 0..width.div_ceil(self.kernels.lanes) {
                for y in (0..height).step_by(ROWS) {
                    self.tile(&mut job, head, block, y);
                }
            }
        }
        Ok(())
    }

    /// Copies the biases within reach, in units of log 2.
    fn take_bias(&mut self, bias: Option<&[f32]>) {
        let (window, offsets) = (self.shape.window(), 2 * self.reach + 1);
        match bias {
            None => self.bias.fill(0.0),
            Some(bias) => {
                let skipped = self.shape.radius - self.reach;
                for (target, source) in self.bias.chunks_exact_mut(offsets).zip(bias.chunks_exact(window)) {
                    for (target, source) in target.iter_mut().zip(&source[skipped..]) {
                        *target = source * std::f32::consts::LOG2_E;
                    }
                }
            }
        }
    }

    /// One tile, from queries to outputs.
    fn tile(&mut self, job: &mut Job, head: usize, block: usize, y: usize) {
        let Shape { height, radius, .. } = self.shape;
        let rows = ROWS.min(height - y);
        let keys = y.saturating_sub(radius)..(y + rows + radius).min(height);
        let tile = Tile { head, block, y, rows, keys };
        self.load_queries(job.q, &tile);
        let null = job.null.and_then(|null| null.get(head)).map(|null| null * std::f32::consts::LOG2_E);
        // Never −∞: logits that are all −∞ (a bias can do that) must give exponentials of 0, not NaN.
        self.scratch.max.as_mut_slice().fill(null.unwrap_or(f32::MIN).max(f32::MIN));
        let (segments, count) = self.logits(&tile);
        self.softmax(&tile, null);
        self.values(job, &tile, &segments[..count]);
        self.shares(job, &tile, null.is_some());
    }

    /// The tile's pixels: the first x, and how many of the lanes lie inside the map.
    fn columns(&self, tile: &Tile) -> (usize, usize) {
        let x = tile.block * self.kernels.lanes;
        (x, self.kernels.lanes.min(self.shape.width - x))
    }

    /// Copies the tile's queries, scaled.
    fn load_queries(&mut self, q: &[f32], tile: &Tile) {
        let lanes = self.kernels.lanes;
        let channels = self.shape.query_channels / self.shape.heads;
        let positions = self.shape.positions();
        let (x, inside) = self.columns(tile);
        let target = self.scratch.queries.as_mut_slice();
        for row in 0..tile.rows {
            let start = tile.head * channels * positions + (tile.y + row) * self.shape.width + x;
            let source = &q[start..];
            if inside == lanes {
                let job = LoadQueries {
                    source: source.as_ptr(),
                    source_stride: positions,
                    channels,
                    factor: self.factor,
                    target: target[row * lanes..].as_mut_ptr(),
                    target_stride: ROWS * lanes,
                };
                // SAFETY: q has heads·channels·positions elements (checked in `run`), so channel c < channels holds `lanes` pixels from
                // x in this row; the scratch has channels·ROWS·lanes. `kernels_for` checked the CPU.
                unsafe { (self.kernels.load_queries)(&job) };
            } else {
                for c in 0..channels {
                    let line = &mut target[(c * ROWS + row) * lanes..][..lanes];
                    line.fill(0.0);
                    for (target, source) in line.iter_mut().zip(&source[c * positions..][..inside]) {
                        *target = source * self.factor;
                    }
                }
            }
        }
    }

    /// Fills the scores with logits and `max` with the largest; tells which slots serve which query rows.
    fn logits(&mut self, tile: &Tile) -> ([Segment; 2 * ROWS - 1], usize) {
        let (kernels, radius, offsets) = (self.kernels, self.shape.radius, 2 * self.reach + 1);
        let (lanes, vectors) = (kernels.lanes, ROWS * kernels.lanes);
        let channels = self.shape.query_channels / self.shape.heads;
        let (x, inside) = self.columns(tile);
        let edge = x < self.reach || x + inside + self.reach > self.shape.width;
        let stride = self.keys.stride();
        let mut segments = [Segment::default(); 2 * ROWS - 1];
        let mut count = 0;
        self.key_rows.clear();
        self.value_rows.clear();
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
            let table = kernels.logits[rows - 1];
            for &t in &self.active {
                let slot = self.key_rows.len();
                self.key_rows.push(self.keys.row(t, key));
                self.value_rows.push(self.values.row(t, key));
                let k = self.key_rows[slot] + tile.head * channels * stride + x;
                let mut dx = 0;
                while dx < offsets {
                    // Near-equal parts, none longer than the table.
                    let parts = (offsets - dx).div_ceil(table.len());
                    let n = (offsets - dx).div_ceil(parts);
                    let job = Logits {
                        q: self.scratch.queries.as_slice()[first * lanes..].as_ptr(),
                        q_stride: vectors,
                        k: self.keys.as_slice()[k + dx..].as_ptr(),
                        k_stride: stride,
                        channels,
                        bias: self.bias[bias + dx..].as_ptr(),
                        bias_step: offsets,
                        mask: if edge {
                            self.masks.as_slice()[(tile.block * offsets + dx) * lanes..].as_ptr()
                        } else {
                            std::ptr::null()
                        },
                        scores: self.scratch.scores.as_mut_slice()[((slot * offsets + dx) * ROWS + first) * lanes..]
                            .as_mut_ptr(),
                        scores_stride: vectors,
                        max: self.scratch.max.as_mut_slice()[first * lanes..].as_mut_ptr(),
                    };
                    // SAFETY: rows first .. first + rows are within ROWS; a padded row of keys has margin + covered + margin elements, so
                    // x + dx + lanes stays inside for dx < offsets; the bias of query row i is dy − i ≥ 0 because that row looks at this
                    // key row; scores hold as many slots as the window has rows. `kernels_for` checked the CPU.
                    unsafe { table[n - 1](&job) };
                    dx += n;
                }
            }
        }
        (segments, count)
    }

    /// Turns logits into exponentials, and their sums into inverses.
    fn softmax(&mut self, tile: &Tile, null: Option<f32>) {
        let (lanes, offsets) = (self.kernels.lanes, 2 * self.reach + 1);
        let scratch = &mut self.scratch;
        if let Some(null) = null {
            scratch.null.as_mut_slice().fill(null);
        }
        for row in 0..tile.rows {
            let slots = slots_of_row(tile, row, self.shape.radius, self.active.len());
            let mut job = Exponentials {
                scores: scratch.scores.as_mut_slice()[(slots.start * offsets * ROWS + row) * lanes..].as_mut_ptr(),
                stride: ROWS * lanes,
                count: slots.len() * offsets,
                max: scratch.max.as_slice()[row * lanes..].as_ptr(),
                sum: scratch.sum.as_mut_slice()[row * lanes..].as_mut_ptr(),
            };
            // SAFETY: the row's slots are neighbours, each with `offsets` vectors; max and sum are ROWS·lanes. `kernels_for` checked the CPU.
            unsafe { (self.kernels.exponentials)(&job) };
            if null.is_some() {
                job.scores = scratch.null.as_mut_slice()[row * lanes..].as_mut_ptr();
                job.count = 1;
                job.sum = scratch.inverse.as_mut_slice()[row * lanes..].as_mut_ptr();
                // SAFETY: as above, with one vector of the null's logit; the sum it writes is overwritten below.
                unsafe { (self.kernels.exponentials)(&job) };
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
        let (kernels, offsets, positions) = (self.kernels, 2 * self.reach + 1, self.shape.positions());
        let (lanes, width) = (kernels.lanes, self.shape.width);
        let channels = self.shape.value_channels / self.shape.heads;
        let stride = self.values.stride();
        let (x, inside) = self.columns(tile);
        let whole = inside == lanes;
        let start = tile.head * channels * positions + tile.y * width + x;
        let mut c = 0;
        while c < channels {
            let parts = (channels - c).div_ceil(kernels.values.len());
            let n = (channels - c).div_ceil(parts);
            let (out, out_row, out_stride) = if whole {
                (job.y[start + c * positions..].as_mut_ptr(), width, positions)
            } else {
                (self.scratch.out.as_mut_slice()[c * ROWS * lanes..].as_mut_ptr(), lanes, ROWS * lanes)
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
            // the scratch takes channels·ROWS·lanes. `kernels_for` checked the CPU.
            unsafe { kernels.values[n - 1](&values) };
            c += n;
        }
        if !whole {
            for (c, block) in self.scratch.out.as_slice().chunks_exact(ROWS * lanes).take(channels).enumerate() {
                for (row, line) in block.chunks_exact(lanes).take(tile.rows).enumerate() {
                    job.y[start + c * positions + row * width..][..inside].copy_from_slice(&line[..inside]);
                }
            }
        }
    }

    /// Writes confidence and border, where they are wanted.
    fn shares(&self, job: &mut Job, tile: &Tile, null: bool) {
        let (lanes, offsets, radius) = (self.kernels.lanes, 2 * self.reach + 1, self.shape.radius);
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
                        let weights = &scratch.scores.as_slice()[((slot * offsets + dx) * ROWS + row) * lanes..];
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

/// All bits set for each lane and dx whose x + dx lies inside the map.
fn fill_masks(masks: &mut [f32], lanes: usize, width: usize, reach: usize) {
    let offsets = 2 * reach + 1;
    for (i, mask) in masks.iter_mut().enumerate() {
        let (lane, dx, block) = (i % lanes, i / lanes % offsets, i / lanes / offsets);
        let x = block * lanes + lane + dx;
        *mask = f32::from_bits(if (reach..reach + width).contains(&x) { !0 } else { 0 });
    }
}

/// The error for a tensor with the wrong number of elements.
fn check(tensor: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
    if expected == found { Ok(()) } else { Err(ShapeError::Length { tensor, expected, found }) }
}
