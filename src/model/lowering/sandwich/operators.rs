//! The operators between DequantizeLinear and QuantizeLinear that have an integer form, but for convolution, resizing and pooling.

use milad_kernels::int8::{CHANNEL_STEP, Mode, Quantisation};
use tract_onnx::pb::NodeProto;

use super::{Finder, Refusal, output};
use crate::model::lowering::attributes::Attributes;
use crate::model::lowering::program::{Operation, ValueId};
use crate::model::lowering::tables;
use crate::model::lowering::weights::axis;

impl<'a> Finder<'a> {
    pub(super) fn step(
        &mut self,
        main: usize,
        node: &'a NodeProto,
        nodes: Vec<usize>,
        to: &'a str,
        parameters: (Quantisation, bool),
        clamp: [f32; 2],
    ) -> Result<(), Refusal> {
        let clamp = clamp.map(|bound| parameters.0.quantise(bound));
        for picture in [0, 1] {
            let Some(&view) = node.input.get(picture).and_then(|name| self.found.views.get(name)) else { continue };
            if let Some(function) = tables::function(&self.reader, node, picture)? {
                return self.clamped_table(main, nodes, view, to, parameters, &function, clamp);
            }
        }
        let (operation, inputs, macs) = match node.op_type.as_str() {
            "Conv" => {
                let (convolution, inputs, macs) = self.conv(node, to, Some(parameters.0.scale))?;
                (Operation::Conv(convolution), inputs, macs)
            }
            "Add" | "Mul" => self.binary(node)?,
            "Concat" => (self.concat(node)?, self.views(node, usize::MAX)?, 0),
            "Resize" | "Upsample" => (self.resize(node, to)?, self.views(node, 1)?, 0),
            "MaxPool" | "AveragePool" => {
                let inputs = self.views(node, 1)?;
                (self.pool(node, inputs[0], to)?, inputs, 0)
            }
            "GlobalAveragePool" | "ReduceMean" => (self.mean(node)?, self.views(node, 1)?, 0),
            other => return Err(Refusal::Float(format!("{other} has no integer form"))),
        };
        // What only picks bytes can give no other scale.
        if matches!(operation, Operation::MaxPool(_) | Operation::Resize(Mode::Nearest(_), _)) {
            let same = inputs.iter().all(|&id| self.value(id).is_ok_and(|value| value.quantisation == parameters.0));
            if !same {
                return Err(Refusal::Float("it changes the scale".into()));
            }
        }
        self.push(main, nodes, operation, inputs, to, parameters, clamp, macs)
    }

    pub(super) fn binary(&self, node: &NodeProto) -> Result<(Operation, Vec<ValueId>, u64), Refusal> {
        let mut inputs = self.views(node, 2)?;
        let shape = |id: ValueId| self.value(id).map(|value| [value.channels, value.height, value.width]);
        let (&[left, right], is_add) = (inputs.as_slice(), node.op_type == "Add") else {
            return Err(Refusal::Float("it has not two inputs".into()));
        };
        let (a, b) = (shape(left)?, shape(right)?);
        if a[0] != b[0] || (a != b && a[1..] != [1, 1] && b[1..] != [1, 1]) {
            return Err(Refusal::Float(format!("its inputs are {a:?} and {b:?}")));
        }
        if a != b && a[1..] == [1, 1] {
            inputs.reverse();
        }
        Ok((if is_add { Operation::Add } else { Operation::Multiply }, inputs, 0))
    }

    pub(super) fn concat(&self, node: &NodeProto) -> Result<Operation, Refusal> {
        let inputs = self.views(node, usize::MAX)?;
        let (_, before) = inputs.split_last().ok_or_else(|| Refusal::Float("it joins nothing".into()))?;
        for &id in before {
            let channels = self.value(id)?.channels;
            if !channels.is_multiple_of(CHANNEL_STEP) {
                return Err(Refusal::Float(format!("it joins {channels} channels, no multiple of {CHANNEL_STEP}")));
            }
        }
        match axis(Attributes(node).integer("axis", 1), &[0; 4], output(node))? {
            1 => Ok(Operation::Concat),
            other => Err(Refusal::Float(format!("it joins axis {other}"))),
        }
    }
}
