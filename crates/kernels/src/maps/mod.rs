//! Network output to published maps: bilinear upsampling fused with what a task needs afterwards.
//!
//! Every map is **upsampled first** and interpreted afterwards: logits before the argmax, encoded depth before it becomes
//! metres, normals before they get unit length. Upsampling is bilinear with half-pixel centres and clamped edges (ONNX
//! `Resize` with `linear`, `half_pixel`; no anti-aliasing where the output is smaller). The arithmetic of a value is
//! rows first, `t = a + (b − a)·fy`, then columns, `v = t0 + (t1 − t0)·fx`, in f32 without fused multiply-add: a naive
//! loop that does the same gets the same bits, on every CPU. The loops are compiled for the CPU's vectors.
//!
//! Nothing here allocates after [`Upsampler::new`].

mod axis;
mod depth;

use axis::Axis;
pub use depth::DepthEncoding;

use crate::int8::Kernel;
use crate::int8::versions::versions;

/// The most pixels a side that an [`Upsampler`] accepts, on either end.
pub const MAX_SIDE: usize = 8192;

/// The most classes a segmentation can have: a published label is a `u8`.
pub const MAX_CLASSES: usize = 256;

/// How many output pixels the inner loops take at once.
const LANES: usize = 8;

/// What added to a float below 2²² leaves the whole number next to it, halves to even, in the low bits: 1.5 · 2²³.
const ROUND: f32 = 12_582_912.0;

/// A buffer of the wrong length, or a shape that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapError(String);

impl std::fmt::Display for MapError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MapError {}

/// Makes `out_height × out_width` maps of `height × width` ones; holds its tables and two rows of scratch.
#[derive(Debug, Clone)]
pub struct Upsampler {
    rows: Axis,
    columns: Axis,
    /// Source rows already interpolated vertically, one a channel: `[channels][source width]`.
    blended: Vec<f32>,
    /// Output rows with room behind them for whole vectors, one a channel: `[3][out width + LANES]`.
    wide: Vec<f32>,
    /// One output row of classes, with room behind it.
    labels: Vec<u8>,
    kernel: Kernel,
}

impl Upsampler {
    /// For maps of `height × width` to be published as `out_height × out_width`.
    pub fn new(height: usize, width: usize, out_height: usize, out_width: usize) -> Result<Upsampler, MapError> {
        for (what, side) in
            [("height", height), ("width", width), ("output height", out_height), ("output width", out_width)]
        {
            if side == 0 || side > MAX_SIDE {
                return Err(MapError(format!("map {what} is {side}: expected 1 to {MAX_SIDE}")));
            }
        }
        Ok(Upsampler {
            rows: Axis::new(height, out_height),
            columns: Axis::new(width, out_width),
            blended: vec![0.0; width * MAX_CLASSES],
            wide: vec![0.0; (out_width + LANES) * 3],
            labels: vec![0; out_width + LANES],
            kernel: Kernel::selected(),
        })
    }

    /// `logits [classes, h, w]` → the class of every output pixel, `out [out_h, out_w]`.
    ///
    /// Ties go to the lowest class. NaN (also where infinite logits meet) never wins; a pixel with nothing else is class 0.
    pub fn segmentation(&mut self, logits: &[f32], classes: usize, out: &mut [u8]) -> Result<(), MapError> {
        if classes == 0 || classes > MAX_CLASSES {
            return Err(MapError(format!("segmentation with {classes} classes: expected 1 to {MAX_CLASSES}")));
        }
        self.check("logits", logits.len(), classes, out.len(), 1)?;
        let Upsampler { rows, columns, blended, labels, kernel, .. } = self;
        segmentation(*kernel, rows, columns, logits, classes, blended, labels, out);
        Ok(())
    }

    /// `map [1, h, w]` of encoded depth → metres, `out [out_h, out_w]`.
    ///
    /// Where the interpolation is not finite because a neighbour is infinite or NaN, the nearest sample is taken, so that
    /// an infinite sky does not eat the roofs. Metres are never negative: what is below 0 becomes 0, an inverse depth of 0
    /// or less is infinitely far. NaN stays NaN: no answer.
    pub fn depth(&mut self, map: &[f32], encoding: DepthEncoding, out: &mut [f32]) -> Result<(), MapError> {
        self.check("depth", map.len(), 1, out.len(), 1)?;
        let Upsampler { rows, columns, blended, wide, kernel, .. } = self;
        depth(*kernel, rows, columns, map, encoding, blended, wide, out);
        Ok(())
    }

    /// `map [3, h, w]` of directions → unit length, times 127, rounded to the nearest: `out [3, out_h, out_w]`.
    ///
    /// A direction that has no length, or is not finite, becomes (0, 0, 0).
    pub fn normals(&mut self, map: &[f32], out: &mut [i8]) -> Result<(), MapError> {
        self.check("normals", map.len(), 3, out.len(), 3)?;
        let Upsampler { rows, columns, blended, wide, kernel, .. } = self;
        normals(*kernel, rows, columns, map, blended, wide, out);
        Ok(())
    }

    /// `map [channels, h, w]` → `out [channels, out_h, out_w]`, nothing but upsampled.
    pub fn raw(&mut self, map: &[f32], channels: usize, out: &mut [f32]) -> Result<(), MapError> {
        self.check("raw map", map.len(), channels, out.len(), channels)?;
        let Upsampler { rows, columns, blended, wide, kernel, .. } = self;
        let planes = map.chunks_exact(columns.source * rows.source);
        for (plane, out) in planes.zip(out.chunks_exact_mut(columns.out * rows.out)) {
            raw(*kernel, rows, columns, plane, blended, wide, out);
        }
        Ok(())
    }

    fn check(
        &self,
        what: &str,
        len: usize,
        channels: usize,
        out_len: usize,
        out_channels: usize,
    ) -> Result<(), MapError> {
        let (height, width) = (self.rows.source, self.columns.source);
        let (out_height, out_width) = (self.rows.out, self.columns.out);
        if Some(len) != (height * width).checked_mul(channels) {
            return Err(MapError(format!("{what}: expected {channels}×{height}×{width} values, found {len}")));
        }
        if Some(out_len) != (out_height * out_width).checked_mul(out_channels) {
            return Err(MapError(format!(
                "{what}: expected room for {out_channels}×{out_height}×{out_width} values, found {out_len}"
            )));
        }
        Ok(())
    }
}

versions! {
    /// See [`Upsampler::segmentation`].
    fn segmentation(
        rows: &Axis,
        columns: &Axis,
        logits: &[f32],
        classes: usize,
        blended: &mut [f32],
        labels: &mut [u8],
        out: &mut [u8],
    ) {
        let width = columns.source;
        for (y, out_row) in out.chunks_exact_mut(columns.out).enumerate() {
            blend_rows(rows, y, logits, classes, width, blended);
            for run in &columns.runs {
                let Some(fractions) = columns.fractions[run.first..].first_chunk::<LANES>() else { continue };
                let mut best = [f32::NEG_INFINITY; LANES];
                let mut label = [0u32; LANES];
                for (class, row) in blended[..classes * width].chunks_exact(width).enumerate() {
                    let left = row[run.left];
                    let slope = row[run.right] - left;
                    for lane in 0..LANES {
                        let value = left + slope * fractions[lane];
                        let wins = value > best[lane];
                        best[lane] = if wins { value } else { best[lane] };
                        label[lane] = if wins { class as u32 } else { label[lane] };
                    }
                }
                if let Some(labels) = labels[run.first..].first_chunk_mut::<LANES>() {
                    *labels = label.map(|label| label as u8);
                }
            }
            out_row.copy_from_slice(&labels[..columns.out]);
        }
    }
}

versions! {
    /// See [`Upsampler::depth`].
    fn depth(
        rows: &Axis,
        columns: &Axis,
        map: &[f32],
        encoding: DepthEncoding,
        blended: &mut [f32],
        wide: &mut [f32],
        out: &mut [f32],
    ) {
        let width = columns.source;
        for (y, out_row) in out.chunks_exact_mut(columns.out).enumerate() {
            blend_rows(rows, y, map, 1, width, blended);
            columns.spread(&blended[..width], wide);
            let row = &mut wide[..columns.out];
            // Of all exponents the greatest: those of infinities and NaN have all bits.
            if row.iter().fold(0, |bits, value| value.abs().to_bits().max(bits)) >= f32::INFINITY.to_bits() {
                let nearest = rows.nearest(y) * width;
                for (x, value) in row.iter_mut().enumerate().filter(|(_, value)| !value.is_finite()) {
                    *value = map[nearest + columns.nearest(x)];
                }
            }
            depth::to_metres(encoding, row, out_row);
        }
    }
}

versions! {
    /// See [`Upsampler::normals`].
    fn normals(rows: &Axis, columns: &Axis, map: &[f32], blended: &mut [f32], wide: &mut [f32], out: &mut [i8]) {
        let (source, width) = (columns.source, columns.out);
        let (out_x, rest) = out.split_at_mut(width * rows.out);
        let (out_y, out_z) = rest.split_at_mut(width * rows.out);
        let targets = out_x.chunks_exact_mut(width).zip(out_y.chunks_exact_mut(width)).zip(out_z.chunks_exact_mut(width));
        for (y, ((out_x, out_y), out_z)) in targets.enumerate() {
            blend_rows(rows, y, map, 3, source, blended);
            for (row, wide) in blended.chunks_exact(source).zip(wide.chunks_exact_mut(width + LANES)) {
                columns.spread(row, wide);
            }
            let (x, rest) = wide.split_at(width + LANES);
            let (y, z) = rest.split_at(width + LANES);
            let (x, y, z) = (&x[..width], &y[..width], &z[..width]);
            for i in 0..width {
                let length = (x[i] * x[i] + y[i] * y[i] + z[i] * z[i]).sqrt();
                // Also false for NaN; an overflow to infinity is not a direction either.
                let directed = length > 1e-12 && length < f32::INFINITY;
                let scale = 127.0 / length;
                let byte = |part: f32| {
                    let part = if directed { part * scale } else { 0.0 };
                    ((part + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) as i8
                };
                out_x[i] = byte(x[i]);
                out_y[i] = byte(y[i]);
                out_z[i] = byte(z[i]);
            }
        }
    }
}

versions! {
    /// One channel of [`Upsampler::raw`].
    fn raw(rows: &Axis, columns: &Axis, plane: &[f32], blended: &mut [f32], wide: &mut [f32], out: &mut [f32]) {
        let width = columns.source;
        for (y, out_row) in out.chunks_exact_mut(columns.out).enumerate() {
            blend_rows(rows, y, plane, 1, width, blended);
            columns.spread(&blended[..width], wide);
            out_row.copy_from_slice(&wide[..columns.out]);
        }
    }
}

/// Row `y` of the output before its columns are interpolated: `blended[c][x]` of `map[c][..][x]`.
#[inline(always)]
fn blend_rows(rows: &Axis, y: usize, map: &[f32], channels: usize, width: usize, blended: &mut [f32]) {
    let (above, below, fraction) = rows.at(y);
    for (channel, blended) in (0..channels).zip(blended.chunks_exact_mut(width)) {
        let plane = &map[channel * width * rows.source..][..width * rows.source];
        let above = &plane[above * width..][..width];
        let below = &plane[below * width..][..width];
        for ((value, &a), &b) in blended.iter_mut().zip(above).zip(below) {
            *value = a + (b - a) * fraction;
        }
    }
}

#[cfg(test)]
mod tests;
