//! Weights and biases of quantised nodes: constants behind DequantizeLinear, or bare float constants.

use std::collections::HashMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::constants::{Constants, Integers};
use super::linear::Parameters;
use super::{Refusal, bad};

/// A quantised constant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weights {
    pub integers: Integers,
    pub parameters: Parameters,
}

/// Where constants come from.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub constants: Constants<'a>,
    producers: HashMap<&'a str, &'a NodeProto>,
}

impl<'a> Reader<'a> {
    pub fn new(graph: &'a GraphProto) -> Reader<'a> {
        let producers = graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)));
        Reader { constants: Constants::new(graph), producers: producers.collect() }
    }

    /// The quantised constant whose numbers `name` is, if it is one: a DequantizeLinear of integers, or of a float constant that is
    /// quantised in the file (what some exporters write).
    pub fn quantised(&self, name: &str) -> Result<Option<Weights>, Refusal> {
        let Some(node) = self.producers.get(name).filter(|node| node.op_type == "DequantizeLinear") else {
            return Ok(None);
        };
        let input = node.input.first().map_or("", String::as_str);
        if let Some(integers) = self.constants.integers(input) {
            return Ok(Some(Weights { integers, parameters: Parameters::of(&self.constants, node)? }));
        }
        let Some(quantise) = self.producers.get(input).filter(|node| node.op_type == "QuantizeLinear") else {
            return Ok(None);
        };
        let source = quantise.input.first().map_or("", String::as_str);
        let (Some(floats), Some(shape)) = (self.constants.floats(source), self.constants.shape(source)) else {
            return Ok(None);
        };
        let (first, second) = (Parameters::of(&self.constants, quantise)?, Parameters::of(&self.constants, node)?);
        let channels = Channels::new(&first, &shape, source)?;
        let (low, high) = if first.kind == DataType::Int8 { (-128.0, 127.0) } else { (0.0, 255.0) };
        let byte = |(index, number): (usize, &f32)| {
            let channel = channels.of(index);
            let scale = first.scales.get(channel).copied().unwrap_or(1.0);
            let zero = first.zero_points.get(channel).copied().unwrap_or(0) as f32;
            ((number / scale).round_ties_even() + zero).clamp(low, high) as i64
        };
        let values = floats.iter().enumerate().map(byte).collect();
        Ok(Some(Weights { integers: Integers { kind: first.kind, shape, values }, parameters: second }))
    }

    /// One number, as a bare constant or behind DequantizeLinear.
    pub fn scalar(&self, name: &str) -> Result<Option<f32>, Refusal> {
        if let Some(&[number]) = self.constants.floats(name).as_deref() {
            return Ok(Some(number));
        }
        let Some(weights) = self.quantised(name)? else { return Ok(None) };
        let (&[byte], &[scale], &[zero]) = (
            weights.integers.values.as_slice(),
            weights.parameters.scales.as_slice(),
            weights.parameters.zero_points.as_slice(),
        ) else {
            return Ok(None);
        };
        Ok(Some((byte - zero) as f32 * scale))
    }
}

/// Which scale an element of a constant has.
struct Channels {
    count: usize,
    inner: usize,
}

impl Channels {
    fn new(parameters: &Parameters, shape: &[usize], name: &str) -> Result<Channels, Refusal> {
        if parameters.scales.len() == 1 {
            return Ok(Channels { count: 1, inner: 1 });
        }
        let axis = axis(parameters.axis, shape, name)?;
        let sides = shape.get(axis).copied().unwrap_or(1);
        if sides != parameters.scales.len() {
            let expected = format!("{sides} scales, one a channel of axis {axis} of {shape:?}");
            return Err(bad(name, expected, parameters.scales.len().to_string(), "quantise the weights again"));
        }
        Ok(Channels { count: sides, inner: shape.iter().skip(axis + 1).product::<usize>().max(1) })
    }

    fn of(&self, index: usize) -> usize {
        index / self.inner % self.count
    }
}

/// An axis attribute as an index: negative ones count from the end.
pub(crate) fn axis(axis: i64, shape: &[usize], name: &str) -> Result<usize, Refusal> {
    let rank = shape.len() as i64;
    match axis {
        axis if (-rank..rank).contains(&axis) => Ok(axis.rem_euclid(rank) as usize),
        _ => Err(bad(
            name,
            format!("an axis from {} to {}", -rank, rank - 1),
            axis.to_string(),
            "correct the attribute `axis`",
        )),
    }
}
