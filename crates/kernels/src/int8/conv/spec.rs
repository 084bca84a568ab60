//! What one convolution is: its numbers as the network states them, checked before anything is packed.

use super::super::quantisation::positive;
use super::super::{Error, Quantisation};

/// The most taps (kernel height × width) of a depthwise kernel.
pub const DEPTHWISE_TAPS: usize = 128;

/// A convolution as ONNX states it (Conv between DequantizeLinear and QuantizeLinear, or QLinearConv).
#[derive(Debug, Clone, Copy)]
pub struct ConvSpec<'a> {
    /// Channels of the input.
    pub input_channels: usize,
    /// Channels of the output.
    pub output_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical, horizontal.
    pub stride: [usize; 2],
    /// Vertical, horizontal.
    pub dilation: [usize; 2],
    /// Top, left, bottom, right: ONNX's order.
    pub pads: [usize; 4],
    /// 1, or as many as there are channels (depthwise).
    pub groups: usize,
    /// Of the input's codes. The border of the input holds this zero-point.
    pub input: Quantisation,
    /// `[output_channels, input_channels / groups, height, width]`, zero-point 0; see [`signed_weights`].
    pub weights: &'a [i8],
    /// One, or one for each output channel.
    pub weight_scales: &'a [f32],
    /// One for each output channel, in units of input scale × weight scale.
    pub bias: Option<&'a [i32]>,
    /// What becomes of the sums.
    pub output: Output,
}

/// What becomes of a convolution's sums.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Output {
    /// Codes: `saturate(round_half_even(sum_f32 · (sx·sw/sy)) + zy)`, the factor in f32 from left to right as onnxruntime's QLinearConv
    /// has it, then clamped to `low ..= high`.
    Codes {
        /// Of the output.
        quantisation: Quantisation,
        /// The least code; a Relu's is the zero-point.
        low: u8,
        /// The largest code.
        high: u8,
        /// An addition that follows.
        residual: Option<Residual>,
    },
    /// f32 `[channels, height, width]`: `sum_f32 · (sx·sw)`, clamped to `low ..= high`.
    Real {
        /// The least value, −∞ without a bound; 0 for a Relu.
        low: f32,
        /// The largest value, ∞ without a bound.
        high: f32,
    },
}

/// An addition of another tensor to a convolution's codes, as [`Add`](crate::int8::Add) does it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Residual {
    /// Of the other tensor.
    pub input: Quantisation,
    /// Whether the other tensor is the first summand.
    pub leads: bool,
    /// Of the sum.
    pub output: Quantisation,
    /// The least code of the sum; a Relu's is the zero-point.
    pub low: u8,
    /// The largest code of the sum.
    pub high: u8,
}

/// Weights with a zero-point of their own as weights without: `codes − zero_point`, one zero-point for all or one for each output channel.
/// None where a difference leaves the range of i8, or a length is wrong.
pub fn signed_weights(codes: &[u8], zero_points: &[u8]) -> Option<Vec<i8>> {
    if zero_points.is_empty() || !codes.len().is_multiple_of(zero_points.len()) || codes.is_empty() {
        return None;
    }
    let each = codes.len() / zero_points.len();
    let difference = |(channel, zero): (&[u8], &u8)| -> Option<Vec<i8>> {
        channel.iter().map(|&code| i8::try_from(i16::from(code) - i16::from(*zero)).ok()).collect()
    };
    let channels: Option<Vec<Vec<i8>>> = codes.chunks_exact(each).zip(zero_points).map(difference).collect();
    channels.map(|channels| channels.concat())
}

impl ConvSpec<'_> {
    /// Whether each channel has a kernel of its own.
    pub fn depthwise(&self) -> bool {
        self.groups == self.input_channels && self.groups > 1
    }

    pub(super) fn weight_scale(&self, channel: usize) -> f32 {
        if self.weight_scales.len() == 1 { self.weight_scales[0] } else { self.weight_scales[channel] }
    }

    pub(super) fn bias(&self, channel: usize) -> i32 {
        self.bias.map_or(0, |bias| bias[channel])
    }

    /// The weights of an output channel, `[input_channels / groups, height, width]`.
    pub(super) fn channel(&self, channel: usize) -> &[i8] {
        let each = self.weights.len() / self.output_channels;
        &self.weights[channel * each..][..each]
    }

    /// The factor from sums to codes, or to real numbers.
    pub(super) fn multiplier(&self, channel: usize) -> f32 {
        let product = self.input.scale * self.weight_scale(channel);
        match self.output {
            Output::Codes { quantisation, .. } => product / quantisation.scale,
            Output::Real { .. } => product,
        }
    }

    /// The largest magnitude that a channel's sum can have, whatever the input.
    pub(super) fn bound(&self, channel: usize) -> i128 {
        let zero = i64::from(self.input.zero_point);
        let bias = i64::from(self.bias(channel));
        let (mut least, mut most) = (i128::from(bias), i128::from(bias));
        for &weight in self.channel(channel) {
            let (dark, bright) = (-zero * i64::from(weight), (255 - zero) * i64::from(weight));
            least += i128::from(dark.min(bright));
            most += i128::from(dark.max(bright));
        }
        // The negative side has one more number; nobody needs it.
        most.max(-least)
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let sizes = [
            ("input channels", self.input_channels),
            ("output channels", self.output_channels),
            ("kernel height", self.kernel[0]),
            ("kernel width", self.kernel[1]),
            ("vertical stride", self.stride[0]),
            ("horizontal stride", self.stride[1]),
            ("vertical dilation", self.dilation[0]),
            ("horizontal dilation", self.dilation[1]),
            ("groups", self.groups),
        ];
        for (what, size) in sizes.into_iter().chain(self.pads.map(|pad| ("pad", pad + 1))) {
            if size == 0 || size > 1 << 16 {
                return Err(Error::Shape(format!("{what}: expected 1 to 65536, found {size}")));
            }
        }
        let depthwise = self.depthwise() && self.output_channels == self.input_channels;
        if self.groups != 1 && !depthwise {
            return Err(Error::Unsupported(format!(
                "{} groups from {} to {} channels (1 group, or one for each channel)",
                self.groups, self.input_channels, self.output_channels
            )));
        }
        let taps = self.kernel[0] as u64 * self.kernel[1] as u64;
        if depthwise && taps > DEPTHWISE_TAPS as u64 {
            return Err(Error::Unsupported(format!("depthwise kernel with {taps} taps (at most {DEPTHWISE_TAPS})")));
        }
        let inputs = if depthwise { 1 } else { self.input_channels as u64 };
        let expected = self.output_channels as u128 * u128::from(inputs) * u128::from(taps);
        if expected != self.weights.len() as u128 {
            return Err(Error::Shape(format!("weights: expected {expected} elements, found {}", self.weights.len())));
        }
        if self.weight_scales.len() != 1 && self.weight_scales.len() != self.output_channels {
            return Err(Error::Shape(format!(
                "weight scales: expected 1 or {}, found {}",
                self.output_channels,
                self.weight_scales.len()
            )));
        }
        if let Some(bias) = self.bias.filter(|bias| bias.len() != self.output_channels) {
            return Err(Error::Shape(format!(
                "bias: expected {} elements, found {}",
                self.output_channels,
                bias.len()
            )));
        }
        self.check_quantisation()
    }

    fn check_quantisation(&self) -> Result<(), Error> {
        self.input.check("input scale")?;
        for &scale in self.weight_scales {
            positive(scale, "weight scale")?;
        }
        match self.output {
            Output::Codes { quantisation, low, high, residual } => {
                quantisation.check("output scale")?;
                ordered(f32::from(low), f32::from(high))?;
                if let Some(residual) = residual {
                    ordered(f32::from(residual.low), f32::from(residual.high))?;
                }
            }
            Output::Real { low, high } => ordered(low, high)?,
        }
        for channel in 0..self.output_channels {
            let (bound, multiplier) = (self.bound(channel), self.multiplier(channel));
            if bound > i128::from(i32::MAX) {
                return Err(Error::Overflow { channel, bound });
            }
            if !multiplier.is_finite() {
                return Err(Error::Quantisation(format!(
                    "output channel {channel}: expected scales whose quotient is a number, found {multiplier}"
                )));
            }
        }
        Ok(())
    }
}

fn ordered(low: f32, high: f32) -> Result<(), Error> {
    if low <= high {
        return Ok(());
    }
    Err(Error::Quantisation(format!("activation bounds: expected the lower one first, found {low} and {high}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_with_zero_points_become_weights_without() {
        assert_eq!(signed_weights(&[128, 0, 255, 130], &[128]), Some(vec![0, -128, 127, 2]));
        assert_eq!(signed_weights(&[10, 12, 200, 255], &[11, 255]), Some(vec![-1, 1, -55, 0]));
        assert_eq!(signed_weights(&[0, 200], &[0]), None);
        assert_eq!(signed_weights(&[0, 1, 2], &[0, 0]), None);
        assert_eq!(signed_weights(&[1], &[]), None);
    }
}
