//! Where sandwiches begin and end: DequantizeLinear and QuantizeLinear nodes, and the way from one to the other.

use milad_kernels::int8::Quantisation;
use tract_onnx::pb::NodeProto;

use super::{Finder, Origin, Refusal, input, is_clamp, output};
use crate::model::lowering::linear::Parameters;
use crate::model::lowering::program::ValueId;
use crate::model::lowering::tables;

impl<'a> Finder<'a> {
    /// DequantizeLinear of bytes that are known, or that come from outside.
    pub(super) fn dequantise(&mut self, node: &'a NodeProto) -> Result<(), Refusal> {
        let (from, to) = (input(node, 0), output(node));
        if self.reader.constants.contains(from) {
            // Weights: looked at where they are read; here only what must never pass.
            return Parameters::of(&self.reader.constants, node).map(drop);
        }
        if self.producer(from).is_some_and(|(_, quantise)| {
            quantise.op_type == "QuantizeLinear" && self.reader.constants.contains(input(quantise, 0))
        }) {
            return Parameters::of(&self.reader.constants, node).map(drop);
        }
        let parameters = Parameters::of(&self.reader.constants, node)?.single(from)?;
        let known = match self.value_of_bytes(from) {
            Some(id) => id,
            None => self.add_value(from, Origin::Bytes(from.into()), parameters)?,
        };
        let value = self.value(known)?;
        // Without a zero-point it is 0 of the bytes' own type.
        let is_bare = input(node, 2).is_empty() && value.signed;
        let parameters = match parameters {
            (quantisation, false) if is_bare => (Quantisation { zero_point: 128, ..quantisation }, true),
            parameters => parameters,
        };
        if (value.quantisation, value.signed) == parameters {
            self.found.views.insert(to.into(), known);
            return Ok(());
        }
        Err(Refusal::Float(format!("`{from}` is read with another scale than it was written with")))
    }

    /// QuantizeLinear: the end of a sandwich, of a requantisation, or the way in.
    pub(super) fn quantise(&mut self, index: usize, node: &'a NodeProto) -> Result<(), Refusal> {
        let (from, to) = (input(node, 0), output(node));
        let parameters = Parameters::of(&self.reader.constants, node)?;
        if self.reader.constants.contains(from) {
            return Ok(());
        }
        let parameters = parameters.single(to)?;
        if let Some(known) = self.twin(index, from, parameters) {
            self.found.bytes.insert(to.into(), known);
            return Ok(());
        }
        match self.sandwich(index, from, to, parameters) {
            Ok(true) => Ok(()),
            Ok(false) => self.add_value(to, Origin::Float(from.into()), parameters).map(drop),
            Err(Refusal::Float(reason)) => {
                if let Some((producer, _)) = self.producer(from) {
                    self.reasons.insert(producer, reason);
                }
                self.add_value(to, Origin::Float(from.into()), parameters).map(drop)
            }
            Err(error) => Err(error),
        }
    }

    /// The value of an earlier QuantizeLinear of the same tensor that says the same.
    fn twin(&self, index: usize, from: &str, parameters: (Quantisation, bool)) -> Option<ValueId> {
        let earlier = self.readers.get(from)?.iter().filter(|&&reader| reader < index);
        earlier.filter_map(|&reader| self.at(reader)).filter(|node| node.op_type == "QuantizeLinear").find_map(|node| {
            let id = self.value_of_bytes(output(node))?;
            let value = self.found.values.get(id)?;
            ((value.quantisation, value.signed) == parameters).then_some(id)
        })
    }

    /// Whether nothing but QuantizeLinear nodes like the one at `index` reads `name`, or nothing but the node at `index`.
    fn is_private(&self, name: &str, index: usize) -> bool {
        let quantises = |reader: usize| {
            let (Some(a), Some(b)) = (self.at(reader), self.at(index)) else { return false };
            a.op_type == "QuantizeLinear" && b.op_type == "QuantizeLinear" && a.input.get(1..) == b.input.get(1..)
        };
        let readers = self.readers.get(name).map(Vec::as_slice).unwrap_or_default();
        !self.outputs.contains(name) && readers.iter().all(|&reader| reader == index || quantises(reader))
    }

    /// The sandwich whose upper half is the QuantizeLinear at `index`. `false`: what it quantises comes from outside.
    fn sandwich(
        &mut self,
        index: usize,
        from: &'a str,
        to: &'a str,
        parameters: (Quantisation, bool),
    ) -> Result<bool, Refusal> {
        if let Some(&view) = self.found.views.get(from) {
            self.table(index, vec![index], view, to, parameters, &|x| x)?;
            return Ok(true);
        }
        let (mut name, mut last, mut nodes) = (from, index, vec![index]);
        let mut clamp = [f32::NEG_INFINITY, f32::INFINITY];
        let (main, node) = loop {
            let Some((at, node)) = self.producer(name) else { return Ok(false) };
            if !self.takes_values(node) && !is_clamp(node) {
                return Ok(false);
            }
            if !self.is_private(name, last) {
                return Err(Refusal::Float(format!("`{name}` is also read without being quantised")));
            }
            nodes.push(at);
            if !is_clamp(node) || self.found.views.contains_key(input(node, 0)) {
                break (at, node);
            }
            // A monotone activation between the operator and its QuantizeLinear: bounds on the byte. What comes later in the file rules.
            let [low, high] = tables::bounds(&self.reader, node)?;
            if low > high || low.is_nan() || high.is_nan() {
                return Err(Refusal::Float(format!("its bounds are {low} and {high}")));
            }
            clamp = [clamp[0].max(low.min(clamp[1])), clamp[1].min(high.max(clamp[0]))];
            (name, last) = (input(node, 0), at);
        };
        nodes.reverse();
        self.step(main, node, nodes, to, parameters, clamp)?;
        Ok(true)
    }
}
