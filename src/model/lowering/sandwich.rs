//! Finds what can run in integers: DequantizeLinear → operators → QuantizeLinear, and operators on bytes, each as one step.
//!
//! A step computes what the file says to the rounding of its last QuantizeLinear; what would not be exact is not taken. Nothing here
//! decides how steps are grouped (see `regions`).

use std::collections::{HashMap, HashSet};

use milad_kernels::int8::{CHANNEL_STEP, Coordinates, Kernel, Mean, Mode, Quantisation, Rounding};
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::prelude::DatumType;

use super::Refusal;
use super::attributes::Attributes;
use super::linear::Parameters;
use super::program::{Operation, Step, Value, ValueId};
use super::tables;
use super::weights::{Reader, Weights, axis};
use super::{compile, convolution};
use crate::model::facts::Facts;
use crate::model::onnx::node_name;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Index of a step.
    Step(usize),
    /// QuantizeLinear of a float tensor.
    Float(String),
    /// Bytes that something else in the graph makes.
    Bytes(String),
}

/// A step of the graph and the nodes that it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub step: Step,
    /// Its nodes, the last is the QuantizeLinear where there is one.
    pub nodes: Vec<usize>,
}

/// Everything that was found in a graph.
#[derive(Debug, Default)]
pub(crate) struct Analysis {
    pub values: Vec<Value>,
    pub origins: Vec<Origin>,
    pub steps: Vec<Found>,
    /// Tensors of bytes and what they are; several names may be one value.
    pub bytes: HashMap<String, ValueId>,
    /// Float tensors that are nothing but dequantised values.
    pub views: HashMap<String, ValueId>,
    /// Nodes between quantised tensors that are no step, and why.
    pub float: Vec<(usize, String)>,
}

/// Looks through `graph`, whose nodes are in order.
pub(crate) fn analyse(graph: &GraphProto, facts: &Facts, kernel: Kernel) -> Result<Analysis, Refusal> {
    let mut finder = Finder::new(graph, facts, kernel);
    for index in 0..graph.node.len() {
        finder.node(index)?;
    }
    finder.leftovers();
    Ok(finder.found)
}

struct Finder<'a> {
    graph: &'a GraphProto,
    facts: &'a Facts,
    kernel: Kernel,
    reader: Reader<'a>,
    producers: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
    found: Analysis,
    /// Why a node was not taken.
    reasons: HashMap<usize, String>,
}

impl<'a> Finder<'a> {
    fn new(graph: &'a GraphProto, facts: &'a Facts, kernel: Kernel) -> Finder<'a> {
        let mut producers = HashMap::new();
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            producers.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), index)));
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                readers.entry(name).or_default().push(index);
            }
        }
        Finder {
            graph,
            facts,
            kernel,
            reader: Reader::new(graph),
            producers,
            readers,
            outputs: graph.output.iter().map(|output| output.name.as_str()).collect(),
            found: Analysis::default(),
            reasons: HashMap::new(),
        }
    }

    fn at(&self, index: usize) -> Option<&'a NodeProto> {
        self.graph.node.get(index)
    }

    fn producer(&self, name: &str) -> Option<(usize, &'a NodeProto)> {
        let index = *self.producers.get(name)?;
        Some((index, self.at(index)?))
    }

    fn node(&mut self, index: usize) -> Result<(), Refusal> {
        let Some(node) = self.at(index) else { return Ok(()) };
        let outcome = match node.op_type.as_str() {
            "QuantizeLinear" => self.quantise(index, node),
            "DequantizeLinear" => self.dequantise(node),
            "QLinearConv" => self.qlinear_conv(index, node),
            "MaxPool" if self.value_of_bytes(input(node, 0)).is_some() => self.pool_of_bytes(index, node),
            _ => Ok(()),
        };
        match outcome {
            Err(Refusal::Float(reason)) => {
                self.reasons.entry(index).or_insert(reason);
                Ok(())
            }
            other => other,
        }
    }

    /// A float tensor of bytes' shape `[1, C, H, W]`.
    fn shape(&self, name: &str) -> Result<[usize; 3], Refusal> {
        match self.facts.get(name).map(|(_, shape)| shape.as_slice()) {
            Some(&[1, channels, height, width]) => Ok([channels, height, width]),
            Some(other) => Err(Refusal::Float(format!("`{name}` is {other:?}, expected [1, C, H, W]"))),
            None => Err(Refusal::Float(format!("the shape of `{name}` is known only while running"))),
        }
    }

    fn add_value(
        &mut self,
        name: &str,
        origin: Origin,
        (quantisation, signed): (Quantisation, bool),
    ) -> Result<ValueId, Refusal> {
        let [channels, height, width] = self.shape(name)?;
        self.found.values.push(Value { name: name.into(), channels, height, width, quantisation, signed });
        self.found.origins.push(origin);
        let id = self.found.values.len() - 1;
        self.found.bytes.insert(name.into(), id);
        Ok(id)
    }

    fn value(&self, id: ValueId) -> Result<&Value, Refusal> {
        self.found.values.get(id).ok_or_else(|| Refusal::Float("an input is unknown".into()))
    }

    fn value_of_bytes(&self, name: &str) -> Option<ValueId> {
        self.found.bytes.get(name).copied()
    }

    /// DequantizeLinear of bytes that are known, or that come from outside.
    fn dequantise(&mut self, node: &'a NodeProto) -> Result<(), Refusal> {
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
        if (value.quantisation, value.signed) == parameters {
            self.found.views.insert(to.into(), known);
            return Ok(());
        }
        Err(Refusal::Float(format!("`{from}` is read with another scale than it was written with")))
    }

    /// QuantizeLinear: the end of a sandwich, of a requantisation, or the way in.
    fn quantise(&mut self, index: usize, node: &'a NodeProto) -> Result<(), Refusal> {
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

    /// Whether any input is a dequantised value.
    fn takes_values(&self, node: &NodeProto) -> bool {
        node.input.iter().any(|name| self.found.views.contains_key(name.as_str()))
    }

    fn views(&self, node: &NodeProto, count: usize) -> Result<Vec<ValueId>, Refusal> {
        let view = |name: &String| {
            let view = self.found.views.get(name.as_str()).copied();
            view.ok_or_else(|| Refusal::Float(format!("its input `{name}` is not quantised")))
        };
        node.input.iter().take(count).map(view).collect()
    }

    fn step(
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
            "Conv" => self.conv(node, to)?,
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

    #[allow(clippy::too_many_arguments, reason = "the parts of one step")]
    fn push(
        &mut self,
        main: usize,
        nodes: Vec<usize>,
        operation: Operation,
        inputs: Vec<ValueId>,
        to: &str,
        parameters: (Quantisation, bool),
        clamp: [u8; 2],
        macs: u64,
    ) -> Result<(), Refusal> {
        let output = self.add_value(to, Origin::Step(self.found.steps.len()), parameters)?;
        let name = self.at(main).map_or("", node_name).to_string();
        let step = Step { name, operation, inputs, output, clamp, macs };
        // Weights are packed once, later; everything else is quick to make, and says whether it can be made.
        if !matches!(step.operation, Operation::Conv(_))
            && let Err(error) = compile::make(self.kernel, &self.found.values, &step, None)
        {
            self.found.values.pop();
            self.found.origins.pop();
            self.found.bytes.remove(to);
            return Err(Refusal::Float(error.to_string()));
        }
        self.found.steps.push(Found { step, nodes });
        Ok(())
    }

    fn table(
        &mut self,
        main: usize,
        nodes: Vec<usize>,
        view: ValueId,
        to: &str,
        parameters: (Quantisation, bool),
        function: &dyn Fn(f64) -> f64,
    ) -> Result<(), Refusal> {
        self.clamped_table(main, nodes, view, to, parameters, function, [0, 255])
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one step")]
    fn clamped_table(
        &mut self,
        main: usize,
        nodes: Vec<usize>,
        view: ValueId,
        to: &str,
        parameters: (Quantisation, bool),
        function: &dyn Fn(f64) -> f64,
        [low, high]: [u8; 2],
    ) -> Result<(), Refusal> {
        let from = self.value(view)?;
        let mut table = tables::table(function, from.quantisation, parameters.0);
        table.iter_mut().for_each(|entry| *entry = (*entry).clamp(low, high));
        let is_same = table.iter().enumerate().all(|(byte, &entry)| byte == usize::from(entry));
        if is_same && (from.quantisation, from.signed) == parameters {
            self.found.bytes.insert(to.into(), view);
            return Ok(());
        }
        if self.shape(to)? != [from.channels, from.height, from.width] {
            return Err(Refusal::Float("it changes the shape".into()));
        }
        self.push(main, nodes, Operation::Table(table), vec![view], to, parameters, [0, 255], 0)
    }

    fn conv(&self, node: &'a NodeProto, to: &str) -> Result<(Operation, Vec<ValueId>, u64), Refusal> {
        let inputs = self.views(node, 1)?;
        let name = input(node, 1);
        let weights = self.reader.quantised(name)?;
        let weights = weights.ok_or_else(|| Refusal::Float(format!("its weights `{name}` are not quantised")))?;
        let (operation, macs) = self.convolution(node, inputs[0], (name, &weights), input(node, 2), to)?;
        Ok((operation, inputs, macs))
    }

    fn convolution(
        &self,
        node: &'a NodeProto,
        picture: ValueId,
        (weights_name, weights): (&str, &Weights),
        bias_name: &str,
        to: &str,
    ) -> Result<(Operation, u64), Refusal> {
        let [channels, height, width] = self.shape(to)?;
        let parts = convolution::Parts { node, weights_name, bias_name };
        let convolution = convolution::read(&self.reader, parts, weights, self.value(picture)?, [height, width])?;
        if convolution.bias.len() != channels {
            return Err(Refusal::Float(format!("its output has {channels} channels")));
        }
        let macs = (convolution.weights.len() * height * width) as u64;
        Ok((Operation::Conv(Box::new(convolution)), macs))
    }

    fn qlinear_conv(&mut self, index: usize, node: &'a NodeProto) -> Result<(), Refusal> {
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
                self.convolution(node, known, (input(node, 3), &weights), input(node, 8), to)
            });
        match operation {
            Ok((operation, macs)) => {
                self.push(index, vec![index], operation, vec![known], to, parameters, [0, 255], macs)
            }
            Err(Refusal::Float(reason)) => {
                self.reasons.insert(index, reason);
                self.add_value(to, Origin::Bytes(to.into()), parameters).map(drop)
            }
            Err(error) => Err(error),
        }
    }

    fn binary(&self, node: &NodeProto) -> Result<(Operation, Vec<ValueId>, u64), Refusal> {
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

    fn concat(&self, node: &NodeProto) -> Result<Operation, Refusal> {
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

    fn resize(&self, node: &NodeProto, to: &str) -> Result<Operation, Refusal> {
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

    fn pool(&self, node: &NodeProto, picture: ValueId, to: &str) -> Result<Operation, Refusal> {
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
    fn pool_of_bytes(&mut self, index: usize, node: &'a NodeProto) -> Result<(), Refusal> {
        let Some(picture) = self.value_of_bytes(input(node, 0)) else { return Ok(()) };
        let operation = self.pool(node, picture, output(node))?;
        let value = self.value(picture)?;
        let parameters = (value.quantisation, value.signed);
        self.push(index, vec![index], operation, vec![picture], output(node), parameters, [0, 255], 0)
    }

    fn mean(&self, node: &NodeProto) -> Result<Operation, Refusal> {
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

    /// What reads or gives quantised tensors and became no step.
    fn leftovers(&mut self) {
        let taken: HashSet<usize> = self.found.steps.iter().flat_map(|found| found.nodes.iter().copied()).collect();
        for (index, node) in self.graph.node.iter().enumerate() {
            let is_plumbing = matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear" | "Constant");
            let reads_values = self.takes_values(node)
                || node.input.iter().any(|name| self.facts.contains_key(name) && self.value_of_bytes(name).is_some());
            let is_ours = node.domain == crate::model::ila::DOMAIN;
            let is_weighted = matches!(node.op_type.as_str(), "Conv" | "ConvTranspose" | "MatMul" | "Gemm")
                && node.input.get(1).is_some_and(|name| self.reader.quantised(name).is_ok_and(|found| found.is_some()));
            if taken.contains(&index) || is_plumbing || is_ours || !(reads_values || is_weighted) {
                continue;
            }
            let reason = self.reasons.remove(&index).unwrap_or_else(|| self.why(node));
            self.found.float.push((index, reason));
        }
    }

    fn why(&self, node: &NodeProto) -> String {
        match node.input.iter().take(1).find(|name| !self.found.views.contains_key(name.as_str())) {
            Some(name) if self.facts.get(name).is_some_and(|(datum, _)| *datum == DatumType::F32) => {
                format!("its input `{name}` is not quantised")
            }
            _ => format!("its output `{}` is not quantised", output(node)),
        }
    }
}

fn is_clamp(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "Relu" | "Clip")
}

fn input(node: &NodeProto, index: usize) -> &str {
    node.input.get(index).map_or("", String::as_str)
}

fn output(node: &NodeProto) -> &str {
    node.output.first().map_or("", String::as_str)
}
