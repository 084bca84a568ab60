//! A run of a convolution: over blocks of channels, rows and tiles of pixels. The same for every instruction set.

use super::job::{ACCUMULATORS, DepthwiseKernels, Requantise, Span, Tile};
use super::pack::Block;
use super::spec::DEPTHWISE_TAPS;
use super::{Conv, Inner, Output};
use crate::int8::layout::Layout;
use crate::int8::versions::versions;
use crate::int8::{Plane, PlaneMut};

/// Weights up to this many bytes stay in the first-level cache beside a strip of pixels: then pixels go outermost.
const SMALL_WEIGHTS: usize = 16 << 10;

/// Pixels of a strip, where pixels go outermost.
const STRIP: usize = 96;

/// Most groups of taps: [`DEPTHWISE_TAPS`] one by one, rounded up to whole groups.
const MOST_TAPS: usize = DEPTHWISE_TAPS + 4;

/// Rows of pixels to compute, and where they are read.
struct Rows {
    first: usize,
    end: usize,
    width: usize,
}

impl Conv {
    fn requantise(&self, block: &Block) -> Requantise {
        let (zero, low, high) = match self.output {
            Output::Codes { quantisation, low, high, .. } => (quantisation.zero_point, low, high),
            Output::Real { .. } => (0, 0, 255),
        };
        Requantise {
            bias: self.packed.bias[block.lanes..].as_ptr(),
            multiplier: self.packed.multiplier[block.lanes..].as_ptr(),
            zero: i32::from(zero),
            low,
            high,
        }
    }

    /// The first byte under the kernel of an output pixel.
    fn window(&self, input: &Plane, row: usize, column: usize) -> *const u8 {
        let geometry = &self.geometry;
        let offset = input.layout().at(
            (row * geometry.stride[0]).wrapping_sub(geometry.pads[0]),
            (column * geometry.stride[1]).wrapping_sub(geometry.pads[1]),
        );
        input.data().as_ptr().wrapping_add(offset)
    }

    fn weights(&self, block: &Block) -> *const u8 {
        self.packed.weights[block.weights..].as_ptr()
    }

    /// Whether output pixels meet input pixels one to one, without gaps: then all rows are a single one.
    fn is_flat(&self, input: &Layout, output: &Layout) -> bool {
        self.geometry.kernel == [1, 1]
            && self.geometry.stride == [1, 1]
            && self.geometry.pads == [0; 4]
            && input.border() == 0
            && output.border() == 0
    }

    /// A dense tile's job, all but where it is.
    fn tile(&self, input: &Layout, block: &Block) -> Tile {
        let (segments, groups) = match self.inner {
            Inner::Dense(_, segments) => (segments.count, segments.groups),
            Inner::Depthwise(_) => (0, 0),
        };
        Tile {
            input: std::ptr::null(),
            input_step: self.geometry.stride[1] * input.pixel_stride(),
            rows: self.geometry.kernel[0],
            row_step: self.geometry.dilation[0] * input.row_stride(),
            segments,
            segment_step: self.geometry.dilation[1] * input.pixel_stride(),
            groups,
            weights: self.weights(block),
            requantise: self.requantise(block),
            output: std::ptr::null_mut(),
            output_step: 0,
            bytes: block.channels.next_multiple_of(4),
            sums: std::ptr::null_mut(),
        }
    }

    /// Offsets of the taps under the kernel of a depthwise convolution, whole groups of them; what fills up a group points to the first.
    fn taps(&self, input: &Layout, kernels: &DepthwiseKernels, offsets: &mut [usize; MOST_TAPS]) -> usize {
        let groups = kernels.order.groups(self.geometry.kernel, kernels.taps);
        for (at, offset) in offsets.iter_mut().take(groups * kernels.taps).enumerate() {
            let tap = kernels.order.tap(self.geometry.kernel, kernels.taps, at / kernels.taps, at % kernels.taps);
            let [row, column] = tap.unwrap_or([0, 0]);
            *offset = row * self.geometry.dilation[0] * input.row_stride()
                + column * self.geometry.dilation[1] * input.pixel_stride();
        }
        groups
    }
}

/// Calls `each(first, pixels)` for nearly equal parts of `range`, none above `most`.
fn parts(range: std::ops::Range<usize>, most: usize, mut each: impl FnMut(usize, usize)) {
    let length = range.len();
    let count = length.div_ceil(most);
    let mut first = range.start;
    for part in 0..count {
        let pixels = length / count + usize::from(part < length % count);
        each(first, pixels);
        first += pixels;
    }
}

/// Codes for the rows of `output`. The caller has checked every size.
pub(super) fn codes(conv: &Conv, input: &Plane, output: &mut PlaneMut) {
    let layout = *output.layout();
    let mut rows = Rows { first: output.rows().start, end: output.rows().end, width: layout.width() };
    if rows.first == rows.end {
        return;
    }
    let origin = output.origin();
    let mut window_row = 0;
    if conv.is_flat(input.layout(), &layout) {
        // Pixel (0, n) of the one long row is pixel n of the tensor.
        window_row = rows.first;
        rows = Rows { first: 0, end: 1, width: rows.width * (rows.end - rows.first) };
    }
    let target = |row: usize, column: usize, channel: usize| {
        origin.wrapping_add(layout.at(window_row + row, column)).wrapping_add(channel)
    };
    match conv.inner {
        Inner::Dense(kernels, _) => {
            let run = |block: &Block, row: usize, columns: std::ops::Range<usize>| {
                let tiles = kernels.tiles[block.vectors - 1];
                let mut job = conv.tile(input.layout(), block);
                job.output_step = layout.pixel_stride();
                parts(columns, tiles.len(), |column, pixels| {
                    job.input = conv.window(input, window_row + row, column);
                    job.output = target(row, column, block.first);
                    // SAFETY: `Conv::run` has checked the sizes and the border, so every window lies in the input and every pixel in
                    // the rows of the output; the tables hold kernels of this CPU, and the block was packed for them.
                    unsafe { tiles[pixels - 1](&job) };
                });
            };
            let blocks = &conv.packed.blocks;
            if conv.packed.weights.len() <= SMALL_WEIGHTS && blocks.len() > 1 {
                for row in rows.first..rows.end {
                    parts(0..rows.width, STRIP, |column, pixels| {
                        blocks.iter().for_each(|block| run(block, row, column..column + pixels));
                    });
                }
            } else {
                for block in blocks {
                    (rows.first..rows.end).for_each(|row| run(block, row, 0..rows.width));
                }
            }
        }
        Inner::Depthwise(kernels) => {
            let mut taps = [0; MOST_TAPS];
            let groups = conv.taps(input.layout(), kernels, &mut taps);
            for row in rows.first..rows.end {
                for block in &conv.packed.blocks {
                    let job = Span {
                        input: conv.window(input, window_row + row, 0).wrapping_add(block.first),
                        input_step: conv.geometry.stride[1] * input.layout().pixel_stride(),
                        pixels: rows.width,
                        taps: taps.as_ptr(),
                        groups,
                        weights: conv.weights(block),
                        requantise: conv.requantise(block),
                        output: target(row, 0, block.first),
                        output_step: layout.pixel_stride(),
                        bytes: block.channels.next_multiple_of(4),
                        sums: std::ptr::null_mut(),
                    };
                    // SAFETY: as above; the taps are as many as the groups hold.
                    unsafe { (kernels.span)(&job) };
                }
            }
        }
    }
}

versions! {
    /// Sums times their multipliers, within bounds.
    fn scale(sums: &[i32], numbers: &mut [f32], multipliers: &[f32], bounds: [f32; 2]) {
        let [low, high] = bounds;
        for ((number, &sum), multiplier) in numbers.iter_mut().zip(sums).zip(multipliers) {
            *number = (sum as f32 * multiplier).max(low).min(high);
        }
    }
}

/// One lane of all pixels of `[pixels][lanes]`.
fn lane(numbers: &[f32], lanes: usize, lane: usize, row: &mut [f32]) {
    fn of<const LANES: usize>(numbers: &[f32], lane: usize, row: &mut [f32]) {
        let pixels = numbers.as_chunks::<LANES>().0;
        row.iter_mut().zip(pixels).for_each(|(y, pixel)| *y = pixel[lane % LANES]);
    }
    match lanes {
        4 => of::<4>(numbers, lane, row),
        8 => of::<8>(numbers, lane, row),
        16 => of::<16>(numbers, lane, row),
        _ => row.iter_mut().zip(numbers[lane..].iter().step_by(lanes)).for_each(|(y, &x)| *y = x),
    }
}

/// Real numbers for all rows. The caller has checked every size.
pub(super) fn real(conv: &Conv, input: &Plane, output: &mut [f32], [height, width]: [usize; 2], bounds: [f32; 2]) {
    let (mut sums, mut numbers, mut multipliers) = ([0i32; ACCUMULATORS], [0f32; ACCUMULATORS], [0f32; ACCUMULATORS]);
    for block in &conv.packed.blocks {
        let lanes = match conv.inner {
            Inner::Dense(kernels, _) => block.vectors * kernels.lanes,
            Inner::Depthwise(kernels) => kernels.block,
        };
        // Once for each pixel of a tile: one long loop is vectors, many short ones are not.
        for pixel in multipliers.chunks_exact_mut(lanes) {
            pixel.copy_from_slice(&conv.packed.multiplier[block.lanes..][..lanes]);
        }
        for row in 0..height {
            // Where a channel's row starts.
            let target = |channel: usize| ((block.first + channel) * height + row) * width;
            match conv.inner {
                Inner::Dense(kernels, _) => {
                    let tiles = kernels.tiles[block.vectors - 1];
                    let mut job = conv.tile(input.layout(), block);
                    parts(0..width, tiles.len(), |column, pixels| {
                        job.input = conv.window(input, row, column);
                        job.sums = sums.as_mut_ptr();
                        // SAFETY: as in `codes`; a tile has at most ACCUMULATORS sums.
                        unsafe { tiles[pixels - 1](&job) };
                        scale(conv.kernel, &sums[..pixels * lanes], &mut numbers, &multipliers, bounds);
                        for channel in 0..block.channels {
                            lane(&numbers, lanes, channel, &mut output[target(channel) + column..][..pixels]);
                        }
                    });
                }
                Inner::Depthwise(kernels) => {
                    let mut taps = [0; MOST_TAPS];
                    let groups = conv.taps(input.layout(), kernels, &mut taps);
                    parts(0..width, ACCUMULATORS / lanes, |column, pixels| {
                        let job = Span {
                            input: conv.window(input, row, column).wrapping_add(block.first),
                            input_step: conv.geometry.stride[1] * input.layout().pixel_stride(),
                            pixels,
                            taps: taps.as_ptr(),
                            groups,
                            weights: conv.weights(block),
                            requantise: conv.requantise(block),
                            output: std::ptr::null_mut(),
                            output_step: 0,
                            bytes: block.channels.next_multiple_of(4),
                            sums: sums.as_mut_ptr(),
                        };
                        // SAFETY: as above; `pixels` × block sums at most.
                        unsafe { (kernels.span)(&job) };
                        scale(conv.kernel, &sums[..pixels * lanes], &mut numbers, &multipliers, bounds);
                        for position in 0..lanes {
                            let channel = (kernels.channel)(position);
                            if channel < block.channels {
                                lane(&numbers, lanes, position, &mut output[target(channel) + column..][..pixels]);
                            }
                        }
                    });
                }
            }
        }
    }
}
