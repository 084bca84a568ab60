//! QuantizeLinear and DequantizeLinear nodes: their scales and zero-points, and what is refused about them.
//!
//! A scale of zero, NaN or less would turn a network into a wrong picture without a word, so it is an error wherever it stands,
//! lowered or not.

use milad_kernels::int8::Quantisation;
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::attributes::Attributes;
use super::constants::Constants;
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
        if !constants.contains(scale) {
            return Err(Refusal::Float(format!("its scale `{scale}` is computed while running")));
        }
        let scales =
            constants.floats(scale).ok_or_else(|| Refusal::Float(format!("its scale `{scale}` is not float32")))?;
        if constants.shape(scale).is_some_and(|shape| shape.len() > 1) {
            return Err(Refusal::Float(format!("its scale `{scale}` has blocks")));
        }
        if let Some(wrong) = scales.iter().find(|scale| !(scale.is_normal() && **scale > 0.0)) {
            return Err(bad(scale, said("a scale greater than zero and finite"), wrong.to_string(), RECALIBRATE));
        }
        if scales.is_empty() {
            return Err(bad(scale, said("a scale"), "none".into(), RECALIBRATE));
        }
        if zero.is_empty() {
            return Ok(Parameters { zero_points: vec![0; scales.len()], scales, kind, axis });
        }
        let Some(zeros) = constants.integers(zero) else {
            let found = if constants.contains(zero) { "another type" } else { "a tensor computed while running" };
            return Err(Refusal::Float(format!("its zero-point `{zero}`: expected constant integers, found {found}")));
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
            other => {
                let expected = said("zero-points of uint8, int8 or int32");
                return Err(bad(zero, expected, other.as_str_name().into(), RECALIBRATE));
            }
        };
        if let Some(wrong) = zeros.values.iter().find(|&value| !range.contains(value)) {
            let expected = said(&format!("zero-points from {} to {}", range.start(), range.end()));
            return Err(bad(zero, expected, wrong.to_string(), RECALIBRATE));
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

const RECALIBRATE: &str = "calibrate and quantise the network again";
