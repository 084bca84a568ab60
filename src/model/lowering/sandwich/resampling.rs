//! Resize, pooling and means over the map.

use milad_kernels::int8::{Coordinates, Mean, Mode, Rounding};
use tract_onnx::pb::NodeProto;

use super::{Finder, Refusal, input, output};
use crate::model::lowering::attributes::Attributes;
use crate::model::lowering::convolution;
use crate::model::lowering::program::{Operation, ValueId};

impl<'a> Finder<'a> {
    pub(super) fn resize(&self, node: &NodeProto, to: &str) -> Result<Operation, Refusal> {
        let attributes = Attributes(node);
        let (from, to) = (self.value(self.views(node, 1)?[0])?, self.shape(to)?);
        if to[0] != from.channels {
            return Err(Refusal::Float("it changes the channels".into()));
        }
        if attributes.integer("antialias", 0) != 0 {
            return Err(Refusal::Float("it has antialias".into()));
        }
        let is_upsample = node.op_type == "Upsample";
        if !self.is_plain_scale(node, [from.height, from.width], [to[1], to[2]]) {
            return Err(Refusal::Float("its scales are not the ratio of its sizes".into()));
        }
        let grid =
            attributes.text("coordinate_transformation_mode", if is_upsample { "asymmetric" } else { "half_pixel" });
        let coordinates = match grid {
            "half_pixel" => Coordinates::HalfPixel,
            // The same but for an output of one pixel.
            "pytorch_half_pixel" if to[1] > 1 && to[2] > 1 => Coordinates::HalfPixel,
            "asymmetric" => Coordinates::Asymmetric,
            "align_corners" => Coordinates::AlignCorners,
            other => return Err(Refusal::Float(format!("its positions are {other}"))),
        };
        let mode = attributes.text("mode", "nearest");
        let rounding = attributes.text("nearest_mode", if is_upsample { "floor" } else { "round_prefer_floor" });
        let mode = match (mode, rounding) {
            ("linear", _) => Mode::Linear,
            ("nearest", "round_prefer_floor") => Mode::Nearest(Rounding::PreferFloor),
            ("nearest", "round_prefer_ceil") => Mode::Nearest(Rounding::PreferCeil),
            ("nearest", "floor") => Mode::Nearest(Rounding::Floor),
            ("nearest", "ceil") => Mode::Nearest(Rounding::Ceil),
            (mode, rounding) => return Err(Refusal::Float(format!("its mode is {mode}, {rounding}"))),
        };
        Ok(Operation::Resize(mode, coordinates))
    }

    /// Scales that round to the sizes but differ from their ratio would shift the picture.
    fn is_plain_scale(&self, node: &NodeProto, from: [usize; 2], to: [usize; 2]) -> bool {
        if Attributes(node).integers("axes").is_some_and(|axes| axes != [0, 1, 2, 3]) {
            return false;
        }
        let scales = input(node, if node.op_type == "Upsample" { 1 } else { 2 });
        match self.reader.constants.floats(scales) {
            Some(scales) if scales.len() == 4 => {
                (0..2).all(|axis| (scales[axis + 2] * from[axis] as f32 - to[axis] as f32).abs() < 1e-3)
            }
            // Sizes alone: the scale is their ratio by definition.
            _ => scales.is_empty() || self.reader.constants.shape(scales) == Some(vec![0]),
        }
    }

    pub(super) fn pool(&self, node: &NodeProto, picture: ValueId, to: &str) -> Result<Operation, Refusal> {
        let attributes = Attributes(node);
        let from = self.value(picture)?;
        let [_, height, width] = self.shape(to)?;
        let kernel = match attributes.integers("kernel_shape") {
            Some(&[a, b]) if a > 0 && b > 0 => [a as usize, b as usize],
            other => return Err(Refusal::Float(format!("its kernel is {other:?}"))),
        };
        if attributes.integer("ceil_mode", 0) != 0 || attributes.integer("storage_order", 0) != 0 {
            return Err(Refusal::Float("it has ceil_mode or storage_order".into()));
        }
        if node.output.iter().skip(1).any(|name| !name.is_empty()) {
            return Err(Refusal::Float("it gives indices".into()));
        }
        let window = convolution::window(node, kernel, [from.height, from.width], [height, width])?;
        match node.op_type.as_str() {
            "MaxPool" => Ok(Operation::MaxPool(window)),
            _ => Ok(Operation::AveragePool(window, attributes.integer("count_include_pad", 0) != 0)),
        }
    }

    /// MaxPool of bytes, as QOperator files have it.
    pub(super) fn pool_of_bytes(&mut self, index: usize, node: &'a NodeProto) -> Result<(), Refusal> {
        let Some(picture) = self.value_of_bytes(input(node, 0)) else { return Ok(()) };
        let operation = self.pool(node, picture, output(node))?;
        let value = self.value(picture)?;
        let parameters = (value.quantisation, value.signed);
        self.push(index, vec![index], operation, vec![picture], output(node), parameters, [0, 255], 0)
    }

    pub(super) fn mean(&self, node: &NodeProto) -> Result<Operation, Refusal> {
        if node.op_type == "ReduceMean" {
            let attributes = Attributes(node);
            let axes = attributes.integers("axes").map(<[i64]>::to_vec);
            let axes = axes.or_else(|| self.reader.constants.integers(input(node, 1)).map(|axes| axes.values));
            let mut axes: Vec<i64> = axes.unwrap_or_default().iter().map(|axis| axis.rem_euclid(4)).collect();
            axes.sort_unstable();
            if axes != [2, 3] || attributes.integer("keepdims", 1) != 1 {
                return Err(Refusal::Float(format!("it is a mean over axes {axes:?}")));
            }
        }
        Ok(Operation::GlobalAverage(if node.op_type == "ReduceMean" { Mean::Reduced } else { Mean::Exact }))
    }
}
