//! One attention: what it holds, how keyframes come in, and a run over all tiles. Allocates in [`Attention::new`] only.

use super::packed::{Aligned, Packed};
use super::shape::{Shape, ShapeError};
use super::table::{Family, Kernels, MAX_ROWS, family};
use super::walk::{Job, Split, Tile};
use crate::cpu::Isa;

/// Local attention of one shape, with the keyframes it looks at and everything that a run needs.
pub struct Attention {
    pub(super) shape: Shape,
    family: &'static Family,
    blocks: Vec<Block>,
    /// scale·log₂e.
    pub(super) factor: f32,
    /// min(r, W − 1): offsets beyond it lie outside the map for every pixel.
    pub(super) reach: usize,
    pub(super) keys: Packed,
    pub(super) values: Packed,
    /// `[dx][lanes]` for each block: all bits set where x + dx lies inside the map.
    pub(super) masks: Aligned,
    /// `[head][dy][dx]`, in units of log 2; dx within reach only.
    pub(super) bias: Vec<f32>,
    /// The keyframes that are valid in this run.
    pub(super) active: Vec<usize>,
    /// For each slot of a tile, where its row of values starts.
    pub(super) value_rows: Vec<usize>,
    pub(super) scratch: Scratch,
}

/// Neighbouring pixels that fill the lanes of one kernel; the last one may stick out of the map.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// The first pixel.
    pub x: usize,
    pub kernels: &'static Kernels,
    /// Where its masks start, and whether it needs any.
    pub mask: usize,
    pub edge: bool,
    /// The window's offsets dx in parts that the kernel takes, for each number of query rows.
    pub splits: [Split; MAX_ROWS],
}

/// Buffers of one tile.
pub(super) struct Scratch {
    /// `[c][rows][lanes]`, of one head.
    pub(super) queries: Aligned,
    /// `[slot][dx][rows][lanes]`.
    pub(super) scores: Aligned,
    /// `[c][rows][lanes]`, of one head: results of a block that sticks out of the map.
    pub(super) out: Aligned,
    /// `[rows][lanes]` each: largest logit, sum of exponentials, its inverse with the null's share, the null's exponential.
    pub(super) max: Aligned,
    pub(super) sum: Aligned,
    pub(super) inverse: Aligned,
    pub(super) null: Aligned,
}

impl Attention {
    /// Checks the shape and allocates everything; keyframes are zeros until packed. `scale` defaults to 1/√(Cq/g).
    ///
    /// # Errors
    /// When the shape is not one, the scale isn't finite, or this CPU lacks `isa`.
    pub fn new(isa: Isa, shape: Shape, scale: Option<f32>) -> Result<Attention, ShapeError> {
        shape.check()?;
        let family = family(isa).ok_or(ShapeError::Unavailable(isa.name()))?;
        let scale = scale.unwrap_or_else(|| 1.0 / ((shape.query_channels / shape.heads) as f32).sqrt());
        if !scale.is_finite() {
            return Err(ShapeError::Scale(scale));
        }
        let Shape { heads, query_channels, value_channels, height, width, keyframes, radius } = shape;
        let reach = radius.min(width - 1);
        let offsets = 2 * reach + 1;
        let blocks = blocks(family, width, reach);
        let covered = blocks.iter().map(|block| block.kernels.lanes).sum();
        let slots = keyframes * (2 * radius + family.wide.rows).min(height);
        let vectors = family.wide.rows * family.wide.lanes;
        let mut masks = Aligned::new(covered * offsets);
        fill_masks(masks.as_mut_slice(), &blocks, width, reach);
        Ok(Attention {
            shape,
            family,
            blocks,
            factor: scale * std::f32::consts::LOG2_E,
            reach,
            keys: Packed::new(keyframes, query_channels, height, width, covered, reach),
            values: Packed::new(keyframes, value_channels, height, width, covered, reach),
            masks,
            bias: vec![0.0; heads * shape.window() * offsets],
            active: Vec::with_capacity(keyframes),
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
        self.family.name
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
        let Shape { heads, query_channels, value_channels, height, keyframes, radius, .. } = self.shape;
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
            for i in 0..self.blocks.len() {
                let Some(&block) = self.blocks.get(i) else { break };
                // Down a column of blocks: the key rows that two neighbouring tiles share are then still in the cache.
                for y in (0..height).step_by(block.kernels.rows) {
                    let rows = block.kernels.rows.min(height - y);
                    let keys = y.saturating_sub(radius)..(y + rows + radius).min(height);
                    self.tile(&mut job, &Tile { head, block, y, rows, keys });
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
}

/// Wide blocks from the left, and a narrow one at the end where that covers the rest.
fn blocks(family: &Family, width: usize, reach: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut x, mut mask) = (0, 0);
    while x < width {
        let kernels = family.narrow.filter(|narrow| width - x <= narrow.lanes).unwrap_or(family.wide);
        let edge = x < reach || (x + kernels.lanes).min(width) + reach > width;
        let mut splits = [Split::default(); MAX_ROWS];
        for (split, table) in splits.iter_mut().zip(kernels.logits) {
            *split = Split::new(2 * reach + 1, table.len());
        }
        blocks.push(Block { x, kernels, mask, edge, splits });
        x += kernels.lanes;
        mask += kernels.lanes * (2 * reach + 1);
    }
    blocks
}

/// All bits set for each lane and dx whose x + dx lies inside the map.
fn fill_masks(masks: &mut [f32], blocks: &[Block], width: usize, reach: usize) {
    for block in blocks {
        let lanes = block.kernels.lanes;
        for (i, mask) in masks[block.mask..][..lanes * (2 * reach + 1)].iter_mut().enumerate() {
            let x = block.x + i % lanes + i / lanes;
            *mask = f32::from_bits(if (reach..reach + width).contains(&x) { !0 } else { 0 });
        }
    }
}

/// The error for a tensor with the wrong number of elements.
fn check(tensor: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
    if expected == found { Ok(()) } else { Err(ShapeError::Length { tensor, expected, found }) }
}
