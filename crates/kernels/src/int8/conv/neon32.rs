//! Convolution for 32-bit ARM with NEON, in assembly: `std::arch` for it is not stable, and the target's baseline has no NEON, so no vector
//! may pass through the compiler. The table chooses these at run time, when the kernel's hardware capabilities name NEON.
//!
//! The same sums as `neon`: vmull and vmlal make two products of 8 bits a 16-bit lane, vpadal adds pairs of lanes to 32 bits. Activations are
//! read as code − 128, so these kernels serve weights of which none is −128. Sixteen registers hold two pixels × four channels.
//! Vectors convert to float with one rounding, and flush numbers to zero that round to 0 anyway: the codes are those of every other kernel.

use std::mem::offset_of;

use super::job::{DenseKernels, DepthwiseKernels, Packing, Span, TapOrder, Tile};

/// What added to a float below 2²² leaves the whole number next to it in the low bits: 1.5 · 2²³.
const ROUND: f32 = 12_582_912.0;

std::arch::global_asm!(
    include_str!("neon32.s"),
    round = const ROUND.to_bits(),
    tile_input = const offset_of!(Tile, input),
    tile_input_step = const offset_of!(Tile, input_step),
    tile_rows = const offset_of!(Tile, rows),
    tile_row_step = const offset_of!(Tile, row_step),
    tile_segments = const offset_of!(Tile, segments),
    tile_segment_step = const offset_of!(Tile, segment_step),
    tile_groups = const offset_of!(Tile, groups),
    tile_weights = const offset_of!(Tile, weights),
    tile_bias = const offset_of!(Tile, requantise.bias),
    tile_multiplier = const offset_of!(Tile, requantise.multiplier),
    tile_zero = const offset_of!(Tile, requantise.zero),
    tile_low = const offset_of!(Tile, requantise.low),
    tile_high = const offset_of!(Tile, requantise.high),
    tile_output = const offset_of!(Tile, output),
    tile_output_step = const offset_of!(Tile, output_step),
    tile_sums = const offset_of!(Tile, sums),
    span_input = const offset_of!(Span, input),
    span_input_step = const offset_of!(Span, input_step),
    span_pixels = const offset_of!(Span, pixels),
    span_taps = const offset_of!(Span, taps),
    span_groups = const offset_of!(Span, groups),
    span_weights = const offset_of!(Span, weights),
    span_bias = const offset_of!(Span, requantise.bias),
    span_multiplier = const offset_of!(Span, requantise.multiplier),
    span_zero = const offset_of!(Span, requantise.zero),
    span_low = const offset_of!(Span, requantise.low),
    span_high = const offset_of!(Span, requantise.high),
    span_output = const offset_of!(Span, output),
    span_output_step = const offset_of!(Span, output_step),
    span_bytes = const offset_of!(Span, bytes),
    span_sums = const offset_of!(Span, sums),
);

unsafe extern "C" {
    fn milad_int8_conv_neon32_tile_1(job: *const Tile);
    fn milad_int8_conv_neon32_tile_2(job: *const Tile);
    fn milad_int8_conv_neon32_span(job: *const Span);
}

pub(super) static DENSE: DenseKernels =
    DenseKernels { lanes: 4, packing: Packing::Sixteens, signed: true, tiles: &[&[tile_1, tile_2]] };

pub(super) static DEPTHWISE: DepthwiseKernels = DepthwiseKernels {
    block: 16,
    taps: 2,
    order: TapOrder::Rows,
    weight_bytes: 1,
    signed: true,
    channel: |position| position,
    span,
};

/// # Safety
/// As [`DenseKernels`] says.
unsafe fn tile_1(job: &Tile) {
    // SAFETY: as the caller promises; the function reads the job by the offsets above, touches what its fields say, and keeps the registers
    // that the procedure call standard says are the caller's. Weights are packed 64 bytes a step, from an aligned start.
    unsafe { milad_int8_conv_neon32_tile_1(job) }
}

/// # Safety
/// As [`DenseKernels`] says.
unsafe fn tile_2(job: &Tile) {
    // SAFETY: as above.
    unsafe { milad_int8_conv_neon32_tile_2(job) }
}

/// # Safety
/// As [`DepthwiseKernels`] says; there is a pixel at least. Sixteen channels are read for each tap, of which those beyond `bytes` may belong to
/// the next pixel, or to the slack behind the tensor.
unsafe fn span(job: &Span) {
    // SAFETY: as above.
    unsafe { milad_int8_conv_neon32_span(job) }
}
