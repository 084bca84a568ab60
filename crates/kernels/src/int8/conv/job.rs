//! What the inner loops are given, and how an instruction set presents them. Pointers only: the walk has checked every size.

/// The most accumulators (i32) of a tile, all vectors and lanes together.
pub(in crate::int8) const ACCUMULATORS: usize = 24 * 16;

/// From sums to codes: `clamp(saturate(round(sum · multiplier) + zero), low, high)`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(in crate::int8) struct Requantise {
    /// For each channel of the block; begins the sums.
    pub bias: *const i32,
    /// For each channel of the block.
    pub multiplier: *const f32,
    pub zero: i32,
    pub low: u8,
    pub high: u8,
}

/// P neighbouring pixels of an output row × V vectors of output channels of a dense convolution.
///
/// The kernel window is `rows` × `segments` runs of `groups` × 4 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub(in crate::int8) struct Tile {
    /// The first byte under the first pixel's kernel.
    pub input: *const u8,
    /// Bytes from one output pixel's window to the next one's.
    pub input_step: usize,
    pub rows: usize,
    /// Bytes from one row of the kernel to the next.
    pub row_step: usize,
    pub segments: usize,
    /// Bytes from one segment to the next.
    pub segment_step: usize,
    pub groups: usize,
    /// Packed for the block, in the order in which they are used.
    pub weights: *const u8,
    pub requantise: Requantise,
    pub output: *mut u8,
    /// Bytes from one output pixel to the next.
    pub output_step: usize,
    /// Bytes to write for each pixel, a multiple of 4.
    pub bytes: usize,
    /// Null, or where the sums go instead, `[P][V · lanes]`: then nothing is written to `output`.
    pub sums: *mut i32,
}

/// How one instruction set does dense convolutions.
///
/// # Safety of its functions
/// Only called when the CPU has the instruction set, with jobs whose pointers are good for what the fields say: input for every byte of the
/// P windows and up to `SLACK` more, weights and requantisation for a block packed as `packing` says, output for `bytes` at P pixels.
pub(in crate::int8) struct DenseKernels {
    /// Output channels of a vector.
    pub lanes: usize,
    pub packing: Packing,
    /// Whether activations are read as code − 128.
    pub signed: bool,
    /// `[V − 1][P − 1]`.
    pub tiles: &'static [&'static [unsafe fn(&Tile)]],
}

/// In which order a block's weights lie.
#[allow(dead_code, reason = "each architecture has its own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::int8) enum Packing {
    /// i8 `[row][segment][group][V][lanes][4]`.
    Quads,
    /// i16 `[row][segment][group][2][V][lanes][2]`: first bytes 0 and 2 of each group, then 1 and 3.
    WidePairs,
    /// i8 `[row][segment][⌈groups / 4⌉][V · lanes][16]`: what is missing of a 16 is 0.
    Sixteens,
}

/// Neighbouring pixels of an output row, a block of channels, of a depthwise convolution.
#[derive(Clone, Copy)]
#[repr(C)]
pub(in crate::int8) struct Span {
    /// The block's first channel under the first pixel's kernel.
    pub input: *const u8,
    pub input_step: usize,
    pub pixels: usize,
    /// Bytes from `input` to each tap; padded to whole groups with taps whose weights are 0.
    pub taps: *const usize,
    /// Groups of taps.
    pub groups: usize,
    pub weights: *const u8,
    pub requantise: Requantise,
    pub output: *mut u8,
    pub output_step: usize,
    /// Channels in use, rounded up to a multiple of 4: bytes to read for each tap and to write for each pixel.
    pub bytes: usize,
    /// Null, or where the sums go instead, `[pixels][block]`, in the block's order.
    pub sums: *mut i32,
}

/// Which taps of a depthwise kernel make a group.
#[allow(dead_code, reason = "each architecture has its own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::int8) enum TapOrder {
    /// As they come, row after row.
    Rows,
    /// Each group is a column: for kernels no higher than a group.
    Columns,
}

impl TapOrder {
    /// Groups of a kernel, of `taps` taps each.
    pub fn groups(self, [height, width]: [usize; 2], taps: usize) -> usize {
        match self {
            TapOrder::Rows => (height * width).div_ceil(taps),
            TapOrder::Columns => width,
        }
    }

    /// Row and column of a tap; None where it fills up a group.
    pub fn tap(self, [height, width]: [usize; 2], taps: usize, group: usize, number: usize) -> Option<[usize; 2]> {
        match self {
            TapOrder::Rows => {
                let tap = group * taps + number;
                (tap < height * width).then(|| [tap / width, tap % width])
            }
            TapOrder::Columns => (number < height).then_some([number, group]),
        }
    }
}

/// How one instruction set does depthwise convolutions.
///
/// # Safety of its function
/// As for [`DenseKernels`].
pub(in crate::int8) struct DepthwiseKernels {
    /// Channels of a block.
    pub block: usize,
    /// Taps that are multiplied at once: weights lie `[group][position][taps of it]`.
    pub taps: usize,
    pub order: TapOrder,
    /// Bytes of a weight: 1 for i8, 2 for i16.
    pub weight_bytes: usize,
    pub signed: bool,
    /// The channel (within a block) at a position.
    pub channel: fn(usize) -> usize,
    pub span: unsafe fn(&Span),
}
