//! Weights in the order in which the inner loops read them, with everything that is constant folded into the bias. Once, at load.

use super::super::AlignedBytes;
use super::job::{DenseKernels, DepthwiseKernels, Packing};
use super::spec::ConvSpec;
use crate::int8::layout::CHANNEL_STEP;

/// Weights, biases and multipliers of a whole convolution, packed.
#[derive(Debug)]
pub(super) struct Packed {
    pub weights: AlignedBytes,
    /// Padded to whole vectors; what padding computes is never read.
    pub bias: Vec<i32>,
    pub multiplier: Vec<f32>,
    pub blocks: Vec<Block>,
}

/// Neighbouring output channels that are computed together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub first: usize,
    /// Channels in use.
    pub channels: usize,
    pub vectors: usize,
    /// Where its weights start, in bytes.
    pub weights: usize,
    /// Where its biases and multipliers start.
    pub lanes: usize,
}

/// The runs of bytes that one kernel row reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segments {
    pub count: usize,
    /// Groups of four bytes of each.
    pub groups: usize,
}

/// One run for each row, or one for each tap where dilation tears them apart.
pub(super) fn segments(spec: &ConvSpec) -> Segments {
    let channels = spec.input_channels.next_multiple_of(CHANNEL_STEP) / 4;
    let width = spec.kernel[1];
    if spec.dilation[1] == 1 {
        Segments { count: 1, groups: width * channels }
    } else {
        Segments { count: width, groups: channels }
    }
}

/// bias − offset · Σ weights, where the kernels see activations less `shift`.
fn folded_bias(spec: &ConvSpec, channel: usize, signed: bool) -> i32 {
    let sum: i32 = spec.channel(channel).iter().map(|&weight| i32::from(weight)).fold(0, i32::wrapping_add);
    let offset = i32::from(spec.input.zero_point) - if signed { 128 } else { 0 };
    // Wrapping: the total fits (it was checked), whatever happens on the way.
    spec.bias(channel).wrapping_sub(offset.wrapping_mul(sum))
}

pub(super) fn dense(spec: &ConvSpec, kernels: &DenseKernels) -> Packed {
    let Segments { count, groups } = segments(spec);
    let rows = spec.kernel[0];
    let all_vectors = spec.output_channels.div_ceil(kernels.lanes);
    let block_count = all_vectors.div_ceil(kernels.tiles.len());
    let bytes_per_vector = rows * count * kernels.packing.bytes(groups, kernels.lanes);
    let mut packed = Packed {
        weights: AlignedBytes::new(all_vectors * bytes_per_vector),
        bias: vec![0; all_vectors * kernels.lanes],
        multiplier: vec![0.0; all_vectors * kernels.lanes],
        blocks: Vec::with_capacity(block_count),
    };
    for channel in 0..spec.output_channels {
        packed.bias[channel] = folded_bias(spec, channel, kernels.signed);
        packed.multiplier[channel] = spec.multiplier(channel);
    }
    let mut vector = 0;
    for number in 0..block_count {
        // As equal as whole vectors allow: a lone last one would be slow.
        let vectors = (all_vectors - vector).div_ceil(block_count - number);
        let first = vector * kernels.lanes;
        let channels = (vectors * kernels.lanes).min(spec.output_channels - first);
        let block = Block { first, channels, vectors, weights: vector * bytes_per_vector, lanes: first };
        let target = &mut packed.weights[block.weights..][..vectors * bytes_per_vector];
        let mut writer = Writer { target, at: 0 };
        for row in 0..rows {
            for segment in 0..count {
                let weight = |lane: usize, byte: usize| weight(spec, first + lane, row, segment, byte);
                kernels.packing.write(&mut writer, groups, vectors, kernels.lanes, &weight);
            }
        }
        packed.blocks.push(block);
        vector += vectors;
    }
    packed
}

/// The weight that meets a byte of a segment; 0 for the bytes and channels that pad.
fn weight(spec: &ConvSpec, channel: usize, row: usize, segment: usize, byte: usize) -> i8 {
    let pixel = spec.input_channels.next_multiple_of(CHANNEL_STEP);
    let (column, input) = (segment + byte / pixel, byte % pixel);
    if channel >= spec.output_channels || column >= spec.kernel[1] || input >= spec.input_channels {
        return 0;
    }
    spec.channel(channel)[(input * spec.kernel[0] + row) * spec.kernel[1] + column]
}

/// Whether no two weights that a [`Packing::Quads`] puts side by side can bring 255 times their sum out of 16 bits: what vpmaddubsw needs.
#[cfg(target_arch = "x86_64")]
pub(super) fn pairs_are_small(spec: &ConvSpec) -> bool {
    let Segments { count, groups } = segments(spec);
    let places = (0..spec.output_channels).flat_map(|channel| (0..spec.kernel[0]).map(move |row| (channel, row)));
    places.flat_map(|(channel, row)| (0..count).map(move |segment| (channel, row, segment))).all(
        |(channel, row, segment)| {
            (0..2 * groups).all(|pair| {
                let weight = |byte| i32::from(weight(spec, channel, row, segment, byte));
                let (a, b) = (weight(2 * pair), weight(2 * pair + 1));
                a.max(0) + b.max(0) <= 128 && a.min(0) + b.min(0) >= -128
            })
        },
    )
}

struct Writer<'a> {
    target: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn narrow(&mut self, weight: i8) {
        self.target[self.at] = weight as u8;
        self.at += 1;
    }

    fn wide(&mut self, weight: i8) {
        self.target[self.at..][..2].copy_from_slice(&i16::from(weight).to_ne_bytes());
        self.at += 2;
    }
}

impl Packing {
    /// What one vector takes of a segment.
    fn bytes(self, groups: usize, lanes: usize) -> usize {
        match self {
            Packing::Quads => groups * lanes * 4,
            Packing::WidePairs => groups * lanes * 8,
            Packing::Sixteens => groups.div_ceil(4) * lanes * 16,
        }
    }

    fn write(
        self,
        writer: &mut Writer,
        groups: usize,
        vectors: usize,
        lanes: usize,
        weight: &dyn Fn(usize, usize) -> i8,
    ) {
        match self {
            Packing::Quads => {
                for group in 0..groups {
                    for lane in 0..vectors * lanes {
                        (0..4).for_each(|byte| writer.narrow(weight(lane, 4 * group + byte)));
                    }
                }
            }
            Packing::WidePairs => {
                for group in 0..groups {
                    for odd in 0..2 {
                        for lane in 0..vectors * lanes {
                            [odd, odd + 2].into_iter().for_each(|byte| writer.wide(weight(lane, 4 * group + byte)));
                        }
                    }
                }
            }
            Packing::Sixteens => {
                for sixteen in 0..groups.div_ceil(4) {
                    for lane in 0..vectors * lanes {
                        for byte in 16 * sixteen..16 * sixteen + 16 {
                            writer.narrow(if byte < 4 * groups { weight(lane, byte) } else { 0 });
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn depthwise(spec: &ConvSpec, kernels: &DepthwiseKernels) -> Packed {
    let groups = kernels.order.groups(spec.kernel, kernels.taps);
    let block_count = spec.output_channels.div_ceil(kernels.block);
    let bytes = groups * kernels.block * kernels.taps * kernels.weight_bytes;
    let mut packed = Packed {
        weights: AlignedBytes::new(block_count * bytes),
        bias: vec![0; block_count * kernels.block],
        multiplier: vec![0.0; block_count * kernels.block],
        blocks: Vec::with_capacity(block_count),
    };
    for number in 0..block_count {
        let first = number * kernels.block;
        let channels = kernels.block.min(spec.output_channels - first);
        packed.blocks.push(Block { first, channels, vectors: 1, weights: number * bytes, lanes: first });
        let mut writer = Writer { target: &mut packed.weights[number * bytes..][..bytes], at: 0 };
        for group in 0..groups {
            for position in 0..kernels.block {
                let channel = first + (kernels.channel)(position);
                for number in 0..kernels.taps {
                    let tap = kernels.order.tap(spec.kernel, kernels.taps, group, number);
                    let weight = match tap.filter(|_| channel < spec.output_channels) {
                        Some([row, column]) => spec.channel(channel)[row * spec.kernel[1] + column],
                        None => 0,
                    };
                    if kernels.weight_bytes == 1 { writer.narrow(weight) } else { writer.wide(weight) }
                }
            }
        }
        for position in 0..kernels.block {
            let channel = first + (kernels.channel)(position);
            if channel < spec.output_channels {
                packed.bias[first + position] = folded_bias(spec, channel, kernels.signed);
                packed.multiplier[first + position] = spec.multiplier(channel);
            }
        }
    }
    packed
}
