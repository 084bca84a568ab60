//! QuantizeLinear and DequantizeLinear nodes: their scales and zero-points, and what is refused about them.
//!
//! A scale of zero, NaN or less would turn a network into a wrong picture without a word, so it is an error wherever it stands,
//! lowered or not.

use milad_kernels::int8::Quantisation;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::attributes::Attributes;
use super::constants::Constants;
use super::weights::axis;
use super::{Refusal, bad};
use crate::model::onnx::node_name;

/// Scales and zero-points of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameters {
    /// One, or one a channel.
    pub scales: Vec<f32>,
    /// As many as scales. Zero where the file leaves them out.
    pub zero_points: Vec<i64>,
    /// Of the bytes.
    pub kind: DataType,
    /// Which axis the channels are on; of no meaning for one scale.
    pub axis: i64,
}

impl Parameters {
    /// Reads what stands in `node` at `inputs[at]` (scale) and `inputs[at + 1]` (zero-point, optional).
    ///
    /// `kind` is what the bytes are where there is no zero-point to tell.
    pub fn read(
        constants: &Constants,
        node: &NodeProto,
        at: usize,
        kind: DataType,
        axis: i64,
    ) -> Result<Parameters, Refusal> {
        let name = |index: usize| node.input.get(index).map_or("", String::as_str);
        let (scale, zero) = (name(at), name(at + 1));
        let said = |what: &str| format!("{what} of node `{}`", node_name(node));
        if scale.is_empty() {
            return Err(bad(node_name(node), format!("a scale as input {at}"), "none".into(), RECALIBRATE));
        }
        if !constants.contains(scale) {
            stands_in_the_file(constants, scale, &said("a scale"))?;
            return Err(Refusal::Float(format!("its scale `{scale}` is computed while running")));
        }
        let kind_of = |name: &str| constants.kind(name).unwrap_or("nothing").to_owned();
        let scales = constants
            .floats(scale)
            .ok_or_else(|| bad(scale, said("a scale of float32"), kind_of(scale), "store scales as float32"))?;
        if constants.shape(scale).is_some_and(|shape| shape.len() > 1) {
            return Err(Refusal::Float(format!("its scale `{scale}` has blocks")));
        }
        if let Some(wrong) = scales.iter().find(|scale| !(scale.is_normal() && **scale > 0.0)) {
            // Subnormal numbers would be rows of zeros.
            let found = if wrong.is_subnormal() { format!("{wrong:e}") } else { wrong.to_string() };
            let expected = format!("a scale greater than zero and finite, at least {:e},", f32::MIN_POSITIVE);
            return Err(bad(scale, said(&expected), found, RECALIBRATE));
        }
        if scales.is_empty() {
            return Err(bad(scale, said("a scale"), "none".into(), RECALIBRATE));
        }
        if zero.is_empty() {
            return Ok(Parameters { zero_points: vec![0; scales.len()], scales, kind, axis });
        }
        let Some(zeros) = constants.integers(zero) else {
            if constants.contains(zero) {
                return Err(bad(zero, said(KINDS), kind_of(zero), RECALIBRATE));
            }
            stands_in_the_file(constants, zero, &said("a zero-point"))?;
            return Err(Refusal::Float(format!("its zero-point `{zero}` is computed while running")));
        };
        if zeros.values.len() != scales.len() {
            let expected = said(&format!("{} zero-points, as many as scales,", scales.len()));
            return Err(bad(zero, expected, zeros.values.len().to_string(), RECALIBRATE));
        }
        let range: std::ops::RangeInclusive<i64> = match zeros.kind {
            DataType::Uint8 => 0..=255,
            DataType::Int8 => -128..=127,
            // Biases: ONNX has no other zero-point for them.
            DataType::Int32 => 0..=0,
            _ => return Err(bad(zero, said(KINDS), kind_of(zero), RECALIBRATE)),
        };
        if let Some(wrong) = zeros.values.iter().find(|&value| !range.contains(value)) {
            let expected = format!("zero-points from {} to {} in {}", range.start(), range.end(), kind_of(zero));
            return Err(bad(zero, said(&expected), wrong.to_string(), RECALIBRATE));
        }
        Ok(Parameters { scales, zero_points: zeros.values, kind: zeros.kind, axis })
    }

    /// Reads a QuantizeLinear or DequantizeLinear node.
    pub fn of(constants: &Constants, node: &NodeProto) -> Result<Parameters, Refusal> {
        let attributes = Attributes(node);
        if attributes.integer("block_size", 0) != 0 {
            return Err(Refusal::Float("it is quantised in blocks".into()));
        }
        let kind = node.input.first().and_then(|name| constants.integers(name)).map_or(DataType::Uint8, |of| of.kind);
        Parameters::read(constants, node, 1, kind, attributes.integer("axis", 1))
    }

    /// The one scale and zero-point of an activation; `tensor` is it.
    pub fn single(&self, tensor: &str) -> Result<(Quantisation, bool), Refusal> {
        let (&[scale], &[zero]) = (self.scales.as_slice(), self.zero_points.as_slice()) else {
            return Err(bad(
                tensor,
                "one scale for the whole tensor, because it is no weight".into(),
                format!("{} scales", self.scales.len()),
                "quantise activations per tensor",
            ));
        };
        match self.kind {
            DataType::Uint8 => Ok((Quantisation { scale, zero_point: zero as u8 }, false)),
            DataType::Int8 => Ok((Quantisation { scale, zero_point: (zero + 128) as u8 }, true)),
            other => Err(Refusal::Float(format!("`{tensor}` is {}, no bytes", other.as_str_name()))),
        }
    }
}

/// Refuses whatever is wrong with the scales and zero-points of `graph`, before the engine, which has other words for it.
pub(crate) fn check(graph: &GraphProto) -> Result<(), Refusal> {
    let constants = Constants::new(graph);
    let passed = |read: Result<Parameters, Refusal>| match read {
        Err(Refusal::Float(_)) => Ok(None),
        Err(refusal) => Err(refusal),
        Ok(parameters) => Ok(Some(parameters)),
    };
    for node in &graph.node {
        match node.op_type.as_str() {
            "QuantizeLinear" | "DequantizeLinear" => {
                let parameters = passed(Parameters::of(&constants, node))?.filter(|found| found.scales.len() > 1);
                let from = node.input.first().map_or("", String::as_str);
                if let (Some(parameters), Some(shape)) = (parameters, constants.shape(from)) {
                    axis(parameters.axis, &shape, from)?;
                }
            }
            "QLinearConv" => {
                for at in [1, 4, 6] {
                    passed(Parameters::read(&constants, node, at, DataType::Uint8, 0))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what is computed of constants: nobody has looked at its numbers.
fn stands_in_the_file(constants: &Constants, name: &str, expected: &str) -> Result<(), Refusal> {
    if !constants.is_computed(name) {
        return Ok(());
    }
    let expected = format!("{expected} that stands in the file, as an initializer or a Constant");
    Err(bad(name, expected, "one that other nodes compute".into(), "fold the network's constants when it is exported"))
}

const KINDS: &str = "zero-points of uint8, int8 or int32";
const RECALIBRATE: &str = "calibrate and quantise the network again";
