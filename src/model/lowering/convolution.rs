//! Conv (between DequantizeLinear and QuantizeLinear) and QLinearConv as one integer convolution.

use milad_kernels::int8::{DEPTHWISE_TAPS, Window};
use tract_onnx::pb::NodeProto;

use super::attributes::Attributes;
use super::program::{Convolution, Value};
use super::weights::{Reader, Weights, axis};
use super::{Refusal, bad};

/// Names of what a node reads besides its picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub node: &'a NodeProto,
    pub weights_name: &'a str,
    pub bias_name: &'a str,
}

/// Reads a convolution of `input`; `output` is its height and width, `step` the scale that its sums are quantised with, if they are.
pub(crate) fn read(
    reader: &Reader,
    parts: Parts,
    weights: &Weights,
    input: &Value,
    output: [usize; 2],
    step: Option<f32>,
) -> Result<Convolution, Refusal> {
    let &[out_channels, group_channels, rows, columns] = weights.integers.shape.as_slice() else {
        return Err(Refusal::Float(format!("its weights are {:?}, expected four sides", weights.integers.shape)));
    };
    let name = parts.weights_name;
    let groups = usize::try_from(Attributes(parts.node).integer("group", 1)).unwrap_or(0);
    if groups == 0 || group_channels * groups != input.channels || !out_channels.is_multiple_of(groups) {
        let expected = format!("weights for {} channels in {groups} groups", input.channels);
        return Err(bad(name, expected, format!("{:?}", weights.integers.shape), "export the network again"));
    }
    let is_depthwise = groups == input.channels && out_channels == groups && rows * columns <= DEPTHWISE_TAPS;
    if groups > 1 && !is_depthwise {
        return Err(Refusal::Float(format!("it has {groups} groups of {group_channels} channels")));
    }
    let window = window(parts.node, [rows, columns], [input.height, input.width], output)?;
    let scales = &weights.parameters.scales;
    if scales.len() > 1 {
        // One scale an output channel leaves the sum of a channel one scale; any other axis does not.
        let axis = axis(weights.parameters.axis, &weights.integers.shape, name)?;
        if axis != 0 || scales.len() != out_channels {
            return Err(bad(
                name,
                format!("one scale, or {out_channels} on axis 0 (the output channels)"),
                format!("{} on axis {axis}", scales.len()),
                "quantise the weights per tensor or per output channel",
            ));
        }
    }
    let scale = |channel: usize| scales.get(if scales.len() == 1 { 0 } else { channel }).copied().unwrap_or(1.0);
    let zeros = &weights.parameters.zero_points;
    let zero = |channel: usize| zeros.get(if zeros.len() == 1 { 0 } else { channel }).copied().unwrap_or(0);
    let filter = (group_channels * rows * columns).max(1);
    let weight = |(index, &value): (usize, &i64)| i8::try_from(value - zero(index / filter)).ok();
    let packed: Option<Vec<i8>> = weights.integers.values.iter().enumerate().map(weight).collect();
    let packed = packed.ok_or_else(|| Refusal::Float(format!("`{name}` less its zero-point leaves [-128, 127]")))?;
    let unit = |channel: usize| f64::from(input.quantisation.scale) * f64::from(scale(channel));
    let bias = bias(reader, parts.bias_name, out_channels, unit, step)?;
    let convolution =
        Convolution { window, groups, weights: packed, scales: (0..out_channels).map(scale).collect(), bias };
    check_overflow(&convolution, input, name)?;
    Ok(convolution)
}

/// Kernel, stride, dilation and padding of a Conv or of a pooling node.
pub(crate) fn window(
    node: &NodeProto,
    kernel: [usize; 2],
    input: [usize; 2],
    output: [usize; 2],
) -> Result<Window, Refusal> {
    let attributes = Attributes(node);
    let sides = |name: &str, default: usize| -> Result<[usize; 2], Refusal> {
        match attributes.integers(name) {
            None | Some([]) => Ok([default; 2]),
            Some(&[a, b]) if (1..=1 << 16).contains(&a) && (1..=1 << 16).contains(&b) => Ok([a as usize, b as usize]),
            Some(other) => Err(Refusal::Float(format!("its attribute {name} is {other:?}"))),
        }
    };
    let (stride, dilation) = (sides("strides", 1)?, sides("dilations", 1)?);
    let span = [0, 1].map(|axis| (kernel[axis].max(1) - 1) * dilation[axis] + 1);
    let pads = match (attributes.text("auto_pad", "NOTSET"), attributes.integers("pads")) {
        ("NOTSET" | "", None | Some([])) | ("VALID", _) => [0; 4],
        ("NOTSET" | "", Some(&[top, left, bottom, right])) => {
            let pads = [top, left, bottom, right].map(|pad| usize::try_from(pad).ok().filter(|&pad| pad <= 1 << 12));
            match pads {
                [Some(top), Some(left), Some(bottom), Some(right)] => [top, left, bottom, right],
                _ => return Err(Refusal::Float("a padding is negative or huge".into())),
            }
        }
        (same @ ("SAME_UPPER" | "SAME_LOWER"), _) => {
            let all =
                [0, 1].map(|axis| ((output[axis].max(1) - 1) * stride[axis] + span[axis]).saturating_sub(input[axis]));
            let (less, more) = (all.map(|pad| pad / 2), all.map(|pad| pad.div_ceil(2)));
            match same {
                "SAME_UPPER" => [less[0], less[1], more[0], more[1]],
                _ => [more[0], more[1], less[0], less[1]],
            }
        }
        (other, _) => return Err(Refusal::Float(format!("its attribute auto_pad is {other}"))),
    };
    for axis in [0, 1] {
        // What the engine inferred must be what this window makes, or rows would be read that are not there.
        let padded = input[axis] + pads[axis] + pads[axis + 2];
        let made = padded.checked_sub(span[axis]).map(|rest| rest / stride[axis] + 1);
        if made != Some(output[axis]) {
            return Err(Refusal::Float(format!("its output has {} rows or columns, not {made:?}", output[axis])));
        }
    }
    Ok(Window { size: kernel, stride, dilation, pads, ceil: false })
}

/// The bias in units of the sum: integers of the file where they are in these units, else rounded to the nearest, if it hardly moves by that.
fn bias(
    reader: &Reader,
    name: &str,
    channels: usize,
    unit: impl Fn(usize) -> f64,
    step: Option<f32>,
) -> Result<Vec<i32>, Refusal> {
    if name.is_empty() {
        return Ok(vec![0; channels]);
    }
    let wrong = |found: usize| bad(name, format!("{channels} biases"), found.to_string(), "export the network again");
    let numbers: Vec<f64> = if let Some(floats) = reader.constants.floats(name) {
        floats.iter().enumerate().map(|(channel, &number)| f64::from(number) / unit(channel)).collect()
    } else if let Some(plain) = reader.constants.integers(name) {
        // QLinearConv: its bias is in these units by definition.
        plain.values.iter().map(|&value| value as f64).collect()
    } else if let Some(quantised) = reader.quantised(name)? {
        let scales = &quantised.parameters.scales;
        if scales.len() != 1 && scales.len() != quantised.integers.values.len() {
            return Err(wrong(scales.len()));
        }
        let number = |(channel, &value): (usize, &i64)| {
            let scale = scales.get(if scales.len() == 1 { 0 } else { channel }).copied().unwrap_or(1.0);
            let zero = quantised.parameters.zero_points.get(if scales.len() == 1 { 0 } else { channel }).copied();
            let ratio = f64::from(scale) / unit(channel);
            // The product of two scales was rounded to float32 when it was written.
            let ratio = if (ratio - 1.0).abs() < 1e-6 { 1.0 } else { ratio };
            (value - zero.unwrap_or(0)) as f64 * ratio
        };
        quantised.integers.values.iter().enumerate().map(number).collect()
    } else {
        return Err(Refusal::Float(format!("its bias `{name}` is computed while running")));
    };
    if numbers.len() != channels {
        return Err(wrong(numbers.len()));
    }
    // Of a step of the output; where it has none, of the largest bias.
    let largest =
        numbers.iter().enumerate().map(|(channel, number)| (number * unit(channel)).abs()).fold(0.0, f64::max);
    let allowed = step.map_or(largest / 256.0, |step| f64::from(step) / 8.0);
    let moved = |(channel, number): (usize, &f64)| (number - number.round_ties_even()).abs() * unit(channel);
    if let Some(most) = numbers.iter().enumerate().map(moved).reduce(f64::max).filter(|&most| most > allowed) {
        return Err(Refusal::Float(format!(
            "its bias `{name}` would move by {most:.1e}, more than {allowed:.1e}, in whole units of input scale × weight scale"
        )));
    }
    let rounded = numbers.iter().map(|number| number.round_ties_even());
    let fits = |number: f64| (number.abs() <= f64::from(i32::MAX)).then_some(number as i32);
    rounded.map(fits).collect::<Option<_>>().ok_or_else(|| {
        let found = numbers.iter().copied().fold(0.0f64, |most, number| most.max(number.abs()));
        let expected = "biases that fit 32 bits in units of input scale × weight scale".into();
        bad(name, expected, format!("{found:.3e}"), "quantise the network again, with larger scales")
    })
}

/// A sum that may leave 32 bits is refused, whatever picture it would take to get there.
fn check_overflow(convolution: &Convolution, input: &Value, name: &str) -> Result<(), Refusal> {
    let zero = i64::from(input.quantisation.zero_point);
    let farthest = zero.max(255 - zero);
    let filter = (convolution.weights.len() / convolution.bias.len().max(1)).max(1);
    for (channel, (weights, &bias)) in convolution.weights.chunks(filter).zip(&convolution.bias).enumerate() {
        let sum: i64 = weights.iter().map(|&weight| i64::from(weight).abs()).sum();
        let most = sum * farthest + i64::from(bias).abs();
        if most > i64::from(i32::MAX) {
            return Err(bad(
                name,
                format!("sums of channel {channel} within 32 bits ({})", i32::MAX),
                format!("up to {most}"),
                "use a smaller kernel, fewer channels or a smaller bias",
            ));
        }
    }
    Ok(())
}
