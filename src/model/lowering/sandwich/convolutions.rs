//! Convolutions: between DequantizeLinear and QuantizeLinear, of bytes (QLinearConv), and those whose sums leave as numbers.

use milad_kernels::int8::Quantisation;
use tract_onnx::pb::NodeProto;

use super::{Finder, Found, Origin, Refusal, input, is_clamp, output};
use crate::model::lowering::convolution;
use crate::model::lowering::linear::Parameters;
use crate::model::lowering::program::{Convolution, Operation, Step, Value, ValueId};
use crate::model::lowering::tables;
use crate::model::lowering::weights::Weights;
use crate::model::onnx::node_name;

impl<'a> Finder<'a> {
    /// `step`: the scale that its sums are quantised with, if they are.
    pub(super) fn conv(
        &self,
        node: &'a NodeProto,
        to: &str,
        step: Option<f32>,
    ) -> Result<(Box<Convolution>, Vec<ValueId>, u64), Refusal> {
        let inputs = self.views(node, 1)?;
        let name = input(node, 1);
        let weights = self.reader.quantised(name)?;
        let weights = weights.ok_or_else(|| Refusal::Float(format!("its weights `{name}` are not quantised")))?;
        let (convolution, macs) = self.convolution(node, inputs[0], (name, &weights), input(node, 2), (to, step))?;
        Ok((convolution, inputs, macs))
    }

    fn convolution(
        &self,
        node: &'a NodeProto,
        picture: ValueId,
        (weights_name, weights): (&str, &Weights),
        bias_name: &str,
        (to, step): (&str, Option<f32>),
    ) -> Result<(Box<Convolution>, u64), Refusal> {
        let [channels, height, width] = self.shape(to)?;
        let parts = convolution::Parts { node, weights_name, bias_name };
        let convolution = convolution::read(&self.reader, parts, weights, self.value(picture)?, [height, width], step)?;
        if convolution.bias.len() != channels {
            return Err(Refusal::Float(format!("its output has {channels} channels")));
        }
        let macs = (convolution.weights.len() * height * width) as u64;
        Ok((Box::new(convolution), macs))
    }

    pub(super) fn qlinear_conv(&mut self, index: usize, node: &'a NodeProto) -> Result<(), Refusal> {
        let (from, to) = (input(node, 0), output(node));
        let read = |at: usize| {
            Parameters::read(&self.reader.constants, node, at, tract_onnx::pb::tensor_proto::DataType::Uint8, 0)
        };
        let (picture, parameters) = (read(1)?.single(from)?, read(6)?.single(to)?);
        let weights_parameters = read(4)?;
        let weights = self.reader.constants.integers(input(node, 3));
        let known = match self.value_of_bytes(from) {
            Some(id) => id,
            None => self.add_value(from, Origin::Bytes(from.into()), picture)?,
        };
        let value = self.value(known)?;
        let operation = weights
            .ok_or_else(|| Refusal::Float(format!("its weights `{}` are computed while running", input(node, 3))))
            .and_then(|integers| {
                if (value.quantisation, value.signed) != picture {
                    return Err(Refusal::Float(format!(
                        "`{from}` is read with another scale than it was written with"
                    )));
                }
                let weights = Weights { integers, parameters: weights_parameters };
                self.convolution(
                    node,
                    known,
                    (input(node, 3), &weights),
                    input(node, 8),
                    (to, Some(parameters.0.scale)),
                )
            });
        match operation {
            Ok((convolution, macs)) => {
                let operation = Operation::Conv(convolution);
                self.push(index, vec![index], operation, vec![known], to, parameters, [0, 255], macs)
            }
            Err(Refusal::Float(reason)) => {
                self.reasons.insert(index, reason);
                self.add_value(to, Origin::Bytes(to.into()), parameters).map(drop)
            }
            Err(error) => Err(error),
        }
    }

    /// Convolutions of bytes that nothing above has taken: what reads them wants numbers, so their sums leave as numbers.
    pub(super) fn reals(&mut self) -> Result<(), Refusal> {
        let taken = self.taken();
        for (index, node) in self.graph.node.iter().enumerate() {
            if node.op_type != "Conv" || taken.contains(&index) {
                continue;
            }
            match self.real(index, node) {
                Err(Refusal::Float(reason)) => drop(self.reasons.entry(index).or_insert(reason)),
                other => other?,
            }
        }
        Ok(())
    }

    fn real(&mut self, index: usize, node: &'a NodeProto) -> Result<(), Refusal> {
        let (mut name, mut nodes) = (output(node), vec![index]);
        let [mut low, mut high] = [f32::NEG_INFINITY, f32::INFINITY];
        // Activations that alone read it are bounds.
        while let Some((at, clamp)) = self.only_reader(name).filter(|(_, node)| is_clamp(node)) {
            let Ok([least, most]) = tables::bounds(&self.reader, clamp) else { break };
            if least.is_nan() || most.is_nan() || least > most {
                break;
            }
            [low, high] = [low, high].map(|bound| bound.clamp(least, most));
            name = output(clamp);
            nodes.push(at);
        }
        let (convolution, inputs, macs) = self.conv(node, output(node), None)?;
        let [channels, height, width] = self.shape(name)?;
        let quantisation = Quantisation { scale: 1.0, zero_point: 0 };
        let id = self.found.values.len();
        self.found.values.push(Value { name: name.into(), channels, height, width, quantisation, signed: false });
        self.found.origins.push(Origin::Step(self.found.steps.len()));
        self.found.reals.insert(name.into(), id);
        let operation = Operation::Real(convolution, [low, high]);
        let step = Step { name: node_name(node).into(), operation, inputs, output: id, clamp: [0, 255], macs };
        self.found.steps.push(Found { step, nodes });
        Ok(())
    }

    fn only_reader(&self, name: &str) -> Option<(usize, &'a NodeProto)> {
        match self.readers.get(name).map(Vec::as_slice) {
            Some(&[reader]) if !self.outputs.contains(name) => Some((reader, self.at(reader)?)),
            _ => None,
        }
    }
}
