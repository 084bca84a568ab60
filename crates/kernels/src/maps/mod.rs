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
mod counts;
mod depth;
mod labels;
mod quantiles;

use axis::{Axis, Cells};
pub use counts::{count_at_most, count_classes};
pub use depth::DepthEncoding;
use labels::{Row, label};
pub use quantiles::Quantiles;

use crate::int8::Kernel;
use crate::int8::versions::versions;

/// The most pixels a side that an [`Upsampler`] accepts, on either end.
pub const MAX_SIDE: usize = 8192;

/// The most classes a segmentation can have: a published label is a `u8`.
pub const MAX_CLASSES: usize = 256;

/// How many output pixels the inner loops take at once.
const LANES: usize = 8;

/// Cells (see `axis`) are computed in multiples of so many, whatever is in the last ones.
const BLOCK: usize = 16;

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
    lanes: Lanes,
    kernel: Kernel,
}

/// Scratch for a row of bytes.
#[derive(Debug, Clone)]
struct Lanes {
    /// One output row of classes, with room behind it.
    labels: Vec<u8>,
    /// By cell, in whole vectors: output pixels, a byte each, of up to three channels.
    words: [Vec<u32>; 3],
    /// The second four of cells of eight.
    more: [Vec<u32>; 3],
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
            blended: vec![0.0; width * MAX_CLASSES + BLOCK + 1],
            wide: vec![0.0; (out_width + LANES) * 3],
            lanes: Lanes {
                labels: vec![0; out_width + LANES],
                words: [0; 3].map(|_| vec![0; Row::count(width)]),
                more: [0; 3].map(|_| vec![0; Row::count(width)]),
            },
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
        let Upsampler { rows, columns, blended, lanes, kernel, .. } = self;
        segmentation(*kernel, *kernel, rows, columns, logits, classes, blended, lanes, out);
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
        let Upsampler { rows, columns, blended, wide, lanes, kernel } = self;
        normals(*kernel, rows, columns, map, blended, wide, lanes, out);
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
        kernel_of_cells: Kernel,
        rows: &Axis,
        columns: &Axis,
        logits: &[f32],
        classes: usize,
        blended: &mut [f32],
        lanes: &mut Lanes,
        out: &mut [u8],
    ) {
        let kernel = kernel_of_cells;
        for (y, out_row) in out.chunks_exact_mut(columns.out).enumerate() {
            blend_rows(rows, y, logits, classes, columns.source, blended);
            match columns.cells {
                Some(cells) if cells.size == 2 => label_cells::<2>(kernel, columns, cells, blended, classes, lanes, out_row),
                Some(cells) if cells.size == 4 => label_cells::<4>(kernel, columns, cells, blended, classes, lanes, out_row),
                Some(cells) if cells.size == 8 => label_cells::<8>(kernel, columns, cells, blended, classes, lanes, out_row),
                _ => label_runs(columns, &blended[..classes * columns.source], &mut lanes.labels, out_row),
            }
        }
    }
}

/// A row's classes, run by run.
#[inline(always)]
fn label_runs(columns: &Axis, blended: &[f32], labels: &mut [u8], out: &mut [u8]) {
    for run in &columns.runs {
        let Some(fractions) = columns.fractions[run.first..].first_chunk::<LANES>() else { continue };
        let mut best = [f32::NEG_INFINITY; LANES];
        let mut label = [0u32; LANES];
        for (class, row) in blended.chunks_exact(columns.source).enumerate() {
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
    out.copy_from_slice(&labels[..columns.out]);
}

/// A row's classes where cells are alike: vectors are of neighbouring cells, for each of a cell's pixels in turn.
#[inline(always)]
fn label_cells<const SIZE: usize>(
    kernel: Kernel,
    columns: &Axis,
    cells: Cells,
    blended: &[f32],
    classes: usize,
    lanes: &mut Lanes,
    out: &mut [u8],
) {
    for edge in columns.edges(cells) {
        let mut most = (f32::NEG_INFINITY, 0);
        for (class, row) in blended.chunks_exact(columns.source).take(classes).enumerate() {
            let value = columns.pixel(row, edge.start);
            most = if value > most.0 { (value, class as u8) } else { most };
        }
        out[edge].fill(most.1);
    }
    let width = columns.source;
    let (words, more) = (&mut lanes.words[0], &mut lanes.more[0]);
    let [first, second] = cells.halves();
    let row = Row { values: blended, classes, width, fractions: first };
    match SIZE {
        2 => label::<2>(kernel, row, words),
        _ => label::<4>(kernel, row, words),
    }
    if SIZE > 4 {
        label::<4>(kernel, Row { fractions: second, ..row }, more);
    }
    scatter::<SIZE, _>(words, more, &mut out[cells.first..]);
}

/// What a byte is in a map.
trait Byte {
    fn of(byte: u8) -> Self;
}

impl Byte for u8 {
    #[inline(always)]
    fn of(byte: u8) -> u8 {
        byte
    }
}

impl Byte for i8 {
    #[inline(always)]
    fn of(byte: u8) -> i8 {
        byte as i8
    }
}

/// `SIZE` bytes of each word, one word after the other, as far as `out` has room for whole cells; the last four of eight are in `more`.
#[inline(always)]
fn scatter<const SIZE: usize, T: Byte>(words: &[u32], more: &[u32], out: &mut [T]) {
    let inside = out.len() - SIZE.div_ceil(2);
    for ((out, word), more) in out[..inside].as_chunks_mut::<SIZE>().0.iter_mut().zip(words).zip(more) {
        let word = if SIZE > 4 { u64::from(*word) | u64::from(*more) << 32 } else { u64::from(*word) };
        for (out, byte) in out.iter_mut().zip(word.to_le_bytes()) {
            *out = T::of(byte);
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
            // The greatest absolute value's bits: infinities and NaN are greater than all numbers.
            let mut most = 0;
            for value in &*row {
                most = value.abs().to_bits().max(most);
            }
            if most >= f32::INFINITY.to_bits() {
                let nearest = rows.nearest(y) * width;
                for (x, value) in row.iter_mut().enumerate().filter(|(_, value)| !value.is_finite()) {
                    *value = map[nearest + columns.nearest(x)];
                }
            }
            depth::to_metres(encoding, row, most, out_row);
        }
    }
}

versions! {
    /// See [`Upsampler::normals`].
    fn normals(
        rows: &Axis,
        columns: &Axis,
        map: &[f32],
        blended: &mut [f32],
        wide: &mut [f32],
        lanes: &mut Lanes,
        out: &mut [i8],
    ) {
        let (source, width) = (columns.source, columns.out);
        let (out_x, rest) = out.split_at_mut(width * rows.out);
        let (out_y, out_z) = rest.split_at_mut(width * rows.out);
        let targets = out_x.chunks_exact_mut(width).zip(out_y.chunks_exact_mut(width)).zip(out_z.chunks_exact_mut(width));
        for (y, ((out_x, out_y), out_z)) in targets.enumerate() {
            blend_rows(rows, y, map, 3, source, blended);
            let out = [out_x, out_y, out_z];
            match columns.cells {
                Some(cells) if cells.size == 2 => direct_cells::<2>(columns, cells, blended, lanes, out),
                Some(cells) if cells.size == 4 => direct_cells::<4>(columns, cells, blended, lanes, out),
                Some(cells) if cells.size == 8 => direct_cells::<8>(columns, cells, blended, lanes, out),
                _ => direct_row(columns, &blended[..3 * source], wide, out),
            }
        }
    }
}

/// A row's directions.
#[inline(always)]
fn direct_row(columns: &Axis, blended: &[f32], wide: &mut [f32], out: [&mut [i8]; 3]) {
    let (source, width) = (columns.source, columns.out);
    for (row, wide) in blended.chunks_exact(source).zip(wide.chunks_exact_mut(width + LANES)) {
        columns.spread(row, wide);
    }
    let (x, rest) = wide.split_at(width + LANES);
    let (y, z) = rest.split_at(width + LANES);
    let (x, y, z) = (&x[..width], &y[..width], &z[..width]);
    let [out_x, out_y, out_z] = out;
    let (out_x, out_y, out_z) = (&mut out_x[..width], &mut out_y[..width], &mut out_z[..width]);
    for i in 0..width {
        let [x, y, z] = unit(x[i], y[i], z[i]);
        (out_x[i], out_y[i], out_z[i]) = (x as i8, y as i8, z as i8);
    }
}

/// A row's directions where cells are alike, as [`label_cells`].
#[inline(always)]
fn direct_cells<const SIZE: usize>(
    columns: &Axis,
    cells: Cells,
    blended: &[f32],
    lanes: &mut Lanes,
    out: [&mut [i8]; 3],
) {
    let source = columns.source;
    let [out_x, out_y, out_z] = out;
    for edge in columns.edges(cells) {
        let [x, y, z] = [0, 1, 2].map(|part| columns.pixel(&blended[part * source..], edge.start));
        let unit = unit(x, y, z);
        for (out, part) in [&mut *out_x, &mut *out_y, &mut *out_z].into_iter().zip(unit) {
            out[edge.clone()].fill(part as i8);
        }
    }
    let mut rows = cells.rows(source, blended);
    let (Some(x), Some(y), Some(z)) = (rows.next(), rows.next(), rows.next()) else { return };
    let halves = cells.halves();
    for (words, fractions) in [&mut lanes.words, &mut lanes.more].into_iter().zip(halves).take(SIZE.div_ceil(4)) {
        let [words_x, words_y, words_z] = words;
        let words = words_x.iter_mut().zip(words_y.iter_mut()).zip(words_z.iter_mut());
        let left = x.0.iter().zip(y.0).zip(z.0);
        let right = x.1.iter().zip(y.1).zip(z.1);
        for ((((word_x, word_y), word_z), ((x0, y0), z0)), ((x1, y1), z1)) in words.zip(left).zip(right) {
            let (x, y, z) = (x1 - x0, y1 - y0, z1 - z0);
            let mut cell = [0u32; 3];
            for (place, fraction) in fractions[..SIZE.min(4)].iter().enumerate() {
                let unit = unit(x0 + x * fraction, y0 + y * fraction, z0 + z * fraction);
                for (word, part) in cell.iter_mut().zip(unit) {
                    *word |= u32::from(part as u8) << (8 * place);
                }
            }
            [*word_x, *word_y, *word_z] = cell;
        }
    }
    for ((words, more), out) in lanes.words.iter().zip(&lanes.more).zip([out_x, out_y, out_z]) {
        scatter::<SIZE, _>(words, more, &mut out[cells.first..]);
    }
}

/// Unit length times 127, rounded; zeros of what has no direction.
#[inline(always)]
fn unit(x: f32, y: f32, z: f32) -> [i32; 3] {
    let length = (x * x + y * y + z * z).sqrt();
    // Also false for NaN; an overflow to infinity is not a direction either.
    let directed = length > 1e-12 && length < f32::INFINITY;
    let scale = if directed { 127.0 / length } else { 0.0 };
    [whole(x, scale), whole(y, scale), whole(z, scale)]
}

/// `part · scale`, rounded; 0 where the scale is 0, whatever the part is.
#[inline(always)]
fn whole(part: f32, scale: f32) -> i32 {
    let part = if scale > 0.0 { part * scale } else { 0.0 };
    ((part + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
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
