//! From nodes of a file to steps of a region in float.

use std::collections::{HashMap, HashSet};

use milad_kernels::int8::{Add, Kernel, Quantisation};
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::prelude::DatumType;

use super::steps::{Binary, Operation, RANK, Source, Step, View};
use super::{Output, Region};
use crate::model::facts::Facts;
use crate::model::lowering::attributes::Attributes;
use crate::model::lowering::linear::Parameters;
use crate::model::lowering::tables;
use crate::model::lowering::weights::Reader;
use crate::model::onnx::node_name;

/// Numbers of a tensor, up to which plain loops are as good as the engine's.
const MOST_NUMBERS: usize = 1 << 16;
/// The same for functions that are called number by number, in float64.
const MOST_CALLS: usize = 1 << 12;
/// Multiply-accumulates of a product of matrices, up to which it is quicker than packing them for the engine's.
const MOST_MACS: usize = 1 << 16;

/// A tensor and where its numbers lie.
#[derive(Debug, Clone)]
struct Placed {
    source: Source,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Placed {
    fn dense(source: Source, offset: usize, shape: Vec<usize>) -> Placed {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        Placed { source, offset, shape, strides }
    }

    fn is_dense(&self) -> bool {
        let dense = Placed::dense(self.source, self.offset, self.shape.clone());
        let mut axes = self.shape.iter().zip(self.strides.iter().zip(&dense.strides));
        axes.all(|(&side, (stride, dense))| side == 1 || stride == dense)
    }

    /// As a loop over `shape` reads it; `None` where it does not fit.
    fn view(&self, shape: &[usize]) -> Option<View> {
        let missing = shape.len().checked_sub(self.shape.len())?;
        let mut strides = vec![0; missing];
        for ((&side, &stride), &wanted) in self.shape.iter().zip(&self.strides).zip(&shape[missing..]) {
            strides.push(match side {
                1 => 0,
                side if side == wanted => stride,
                _ => return None,
            });
        }
        Some(View { source: self.source, offset: self.offset, strides: filled(&strides, 0)? })
    }
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// With axes in front.
fn filled(sides: &[usize], with: usize) -> Option<[usize; RANK]> {
    let mut filled = [with; RANK];
    filled[RANK.checked_sub(sides.len())?..].copy_from_slice(sides);
    Some(filled)
}

/// The graph that nodes stand in.
pub(super) struct Surroundings<'a> {
    pub reader: Reader<'a>,
    pub facts: &'a Facts,
    /// Indices of the nodes that read a tensor.
    pub readers: HashMap<&'a str, Vec<usize>>,
    /// Of the network.
    pub outputs: HashSet<&'a str>,
    /// Nodes that become steps, once that is known.
    pub taken: HashSet<usize>,
    nodes: &'a [NodeProto],
}

impl<'a> Surroundings<'a> {
    pub fn new(graph: &'a GraphProto, facts: &'a Facts) -> Surroundings<'a> {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            let names = node.input.iter().filter(|name| !name.is_empty());
            names.for_each(|name| readers.entry(name).or_default().push(index));
        }
        let outputs = graph.output.iter().map(|output| output.name.as_str()).collect();
        Surroundings { reader: Reader::new(graph), facts, readers, outputs, taken: HashSet::new(), nodes: &graph.node }
    }

    pub fn readers(&self, name: &str) -> &[usize] {
        self.readers.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether one QuantizeLinear that becomes a step, and nothing else, reads it.
    fn is_quantised_alone(&self, name: &str) -> bool {
        let &[reader] = self.readers(name) else { return false };
        let is_private = self.taken.contains(&reader) && !self.outputs.contains(name);
        is_private && self.nodes.get(reader).is_some_and(|node| node.op_type == "QuantizeLinear")
    }
}

/// A tensor of codes and what they mean.
type Codes = (Placed, Quantisation);

/// Reads nodes one after the other. What it says no to leaves it useless.
pub(super) struct Builder<'a> {
    around: &'a Surroundings<'a>,
    placed: HashMap<&'a str, Placed>,
    /// What DequantizeLinear nodes read, by what they give.
    dequantised: HashMap<&'a str, Codes>,
    /// Sums of two such tensors that are quantised at once: their summands.
    sums: HashMap<&'a str, [Codes; 2]>,
    inputs: Vec<(String, Vec<usize>)>,
    steps: Vec<Step>,
    block: Vec<f32>,
    nodes: Vec<String>,
}

impl<'a> Builder<'a> {
    pub fn new(around: &'a Surroundings<'a>) -> Builder<'a> {
        Builder {
            around,
            placed: HashMap::new(),
            dequantised: HashMap::new(),
            sums: HashMap::new(),
            inputs: vec![],
            steps: vec![],
            block: vec![],
            nodes: vec![],
        }
    }

    /// In its block so far.
    pub fn numbers(&self) -> usize {
        self.block.len()
    }

    /// Takes for granted that a node of the region gives the bytes `name`.
    pub fn suppose(&mut self, name: &'a str) -> Option<()> {
        let (_, shape) = self.around.facts.get(name)?;
        let placed = self.fresh(shape.clone())?;
        self.placed.insert(name, placed);
        Some(())
    }

    /// The region of all that was read, of which `visible` tensors leave.
    pub fn finish(mut self, name: String, visible: &[&'a str]) -> Option<Region> {
        let mut outputs = vec![];
        for &name in visible {
            let tensor = self.placed.get(name)?.clone();
            let tensor = self.compact(tensor)?;
            outputs.push(Output {
                name: name.into(),
                shape: tensor.shape,
                source: tensor.source,
                offset: tensor.offset,
            });
        }
        Some(Region { name, inputs: self.inputs, outputs, steps: self.steps, block: self.block, nodes: self.nodes })
    }

    /// Adds one node; `None` where it has no place in such a region.
    pub fn node(&mut self, node: &'a NodeProto) -> Option<()> {
        let to = match node.output.as_slice() {
            [to] if !to.is_empty() => to.as_str(),
            _ => return None,
        };
        let (datum, shape) = self.around.facts.get(to)?;
        let is_bytes = node.op_type == "QuantizeLinear";
        if !is_bytes && *datum != DatumType::F32 || shape.len() > RANK || !node.domain.is_empty() {
            return None;
        }
        if !(1..=MOST_NUMBERS).contains(&count(shape)) {
            return None;
        }
        let shape = shape.clone();
        self.nodes.push(format!("{} ({})", node_name(node), node.op_type));
        if node.op_type == "Add"
            && let [Some(a), Some(b)] = [0, 1].map(|at| self.dequantised.get(node.input.get(at)?.as_str()).cloned())
            && self.around.is_quantised_alone(to)
        {
            self.sums.insert(to, [a, b]);
            return Some(());
        }
        let placed = match node.op_type.as_str() {
            "Add" | "Sub" | "Mul" | "Div" => self.binary(node, shape)?,
            "Identity" | "Unsqueeze" | "Squeeze" | "Reshape" | "Flatten" => {
                let from = self.input(node, 0)?;
                let from = self.compact(from)?;
                (count(&from.shape) == count(&shape)).then(|| Placed::dense(from.source, from.offset, shape))?
            }
            "Slice" => self.slice(node, shape)?,
            "Concat" => self.concat(node, shape)?,
            "ReduceMean" | "GlobalAveragePool" => self.mean(node, shape)?,
            "Gemm" | "MatMul" => self.product(node, shape)?,
            "QuantizeLinear" | "DequantizeLinear" => self.codes(node, shape, is_bytes)?,
            _ => self.function(node, shape)?,
        };
        self.placed.insert(to, placed);
        Some(())
    }

    fn input(&mut self, node: &'a NodeProto, index: usize) -> Option<Placed> {
        let name = node.input.get(index).filter(|name| !name.is_empty())?.as_str();
        if let Some(placed) = self.placed.get(name) {
            return Some(placed.clone());
        }
        let placed = match self.around.reader.constants.shape(name) {
            Some(shape) => {
                (1..=MOST_NUMBERS).contains(&count(&shape)).then_some(())?;
                let numbers = self.around.reader.constants.floats(name)?;
                (numbers.len() == count(&shape)).then_some(())?;
                let placed = Placed::dense(Source::Block, self.block.len(), shape);
                self.block.extend(numbers);
                placed
            }
            None => {
                let (datum, shape) = self.around.facts.get(name)?;
                let fits = *datum == DatumType::F32 && shape.len() <= RANK;
                (fits && (1..=MOST_NUMBERS).contains(&count(shape))).then_some(())?;
                self.inputs.push((name.into(), shape.clone()));
                Placed::dense(Source::Input(self.inputs.len() - 1), 0, shape.clone())
            }
        };
        self.placed.insert(name, placed.clone());
        Some(placed)
    }

    /// Room for a tensor that a step writes.
    fn fresh(&mut self, shape: Vec<usize>) -> Option<Placed> {
        let start = self.block.len();
        self.block.resize(start + count(&shape), 0.0);
        Some(Placed::dense(Source::Block, start, shape))
    }

    fn step(&mut self, operation: Operation, to: Placed) -> Option<Placed> {
        self.steps.push(Step::new(operation, filled(&to.shape, 1)?, to.offset, 0, filled(&to.strides, 0)?));
        Some(to)
    }

    /// The same numbers without gaps.
    fn compact(&mut self, from: Placed) -> Option<Placed> {
        if from.is_dense() {
            return Some(from);
        }
        let to = self.fresh(from.shape.clone())?;
        self.step(Operation::Copy(from.view(&from.shape)?), to)
    }

    fn binary(&mut self, node: &'a NodeProto, shape: Vec<usize>) -> Option<Placed> {
        let (a, b) = (self.input(node, 0)?.view(&shape)?, self.input(node, 1)?.view(&shape)?);
        let kind = match node.op_type.as_str() {
            "Add" => Binary::Add,
            "Sub" => Binary::Subtract,
            "Mul" => Binary::Multiply,
            _ => Binary::Divide,
        };
        let to = self.fresh(shape)?;
        self.step(Operation::Binary(kind, a, b), to)
    }

    /// Integers at an input, or in an attribute of that name as older files have them.
    fn integers(&self, node: &NodeProto, index: usize, attribute: &str) -> Option<Vec<i64>> {
        match node.input.get(index).filter(|name| !name.is_empty()) {
            Some(name) => Some(self.around.reader.constants.integers(name)?.values),
            None => Attributes(node).integers(attribute).map(<[i64]>::to_vec),
        }
    }

    fn slice(&mut self, node: &'a NodeProto, shape: Vec<usize>) -> Option<Placed> {
        let mut from = self.input(node, 0)?;
        let starts = self.integers(node, 1, "starts")?;
        let is_given = |index: usize| node.input.get(index).is_some_and(|name| !name.is_empty());
        let axes = match self.integers(node, 3, "axes") {
            None if is_given(3) => return None,
            axes => axes.unwrap_or_else(|| (0..starts.len() as i64).collect()),
        };
        let steps = match is_given(4) {
            true => self.integers(node, 4, "steps")?,
            false => vec![1; starts.len()],
        };
        if from.shape.len() != shape.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return None;
        }
        for ((start, axis), step) in starts.into_iter().zip(axes).zip(steps) {
            let axis = index(axis, shape.len())?;
            let side = from.shape[axis] as i64;
            let start = if start < 0 { start + side } else { start }.clamp(0, side) as usize;
            let step = usize::try_from(step).ok().filter(|&step| step > 0)?;
            let last = start.checked_add(step.checked_mul(shape[axis].checked_sub(1)?)?)?;
            (last < from.shape[axis]).then_some(())?;
            from.offset += start * from.strides[axis];
            from.strides[axis] *= step;
            from.shape[axis] = shape[axis];
        }
        (from.shape == shape).then_some(from)
    }

    fn concat(&mut self, node: &'a NodeProto, shape: Vec<usize>) -> Option<Placed> {
        let axis = index(Attributes(node).integer("axis", i64::MAX), shape.len())?;
        let parts: Vec<Placed> = (0..node.input.len()).map(|at| self.input(node, at)).collect::<Option<_>>()?;
        let to = self.fresh(shape)?;
        let mut offset = 0;
        for part in parts {
            let fits = part.shape.len() == to.shape.len()
                && part.shape.iter().zip(&to.shape).enumerate().all(|(at, (part, whole))| at == axis || part == whole);
            fits.then_some(())?;
            let copy = Operation::Copy(part.view(&part.shape)?);
            let (sides, strides) = (filled(&part.shape, 1)?, filled(&to.strides, 0)?);
            self.steps.push(Step::new(copy, sides, to.offset, offset * to.strides[axis], strides));
            offset += part.shape[axis];
        }
        (offset == to.shape[axis]).then_some(to)
    }

    fn mean(&mut self, node: &'a NodeProto, shape: Vec<usize>) -> Option<Placed> {
        let from = self.input(node, 0)?;
        let rank = from.shape.len();
        let axes: Vec<usize> = match node.op_type.as_str() {
            "GlobalAveragePool" => (2..rank).collect(),
            _ => self.integers(node, 1, "axes")?.into_iter().map(|axis| index(axis, rank)).collect::<Option<_>>()?,
        };
        if axes.is_empty() {
            return None;
        }
        let (mut kept, mut over) = (from.shape.clone(), vec![1; rank]);
        for axis in axes {
            over[axis] = from.shape[axis];
            kept[axis] = 1;
        }
        (count(&kept) == count(&shape)).then_some(())?;
        let view = from.view(&from.shape)?;
        let to = self.fresh(kept)?;
        let to = self.step(Operation::Mean(view, filled(&over, 1)?), to)?;
        Some(Placed::dense(to.source, to.offset, shape))
    }

    fn product(&mut self, node: &'a NodeProto, shape: Vec<usize>) -> Option<Placed> {
        let (mut a, mut b) = (self.input(node, 0)?, self.input(node, 1)?);
        if a.shape.len() != 2 || b.shape.len() != 2 || shape.len() != 2 {
            return None;
        }
        let attributes = Attributes(node);
        for (name, matrix) in [("transA", &mut a), ("transB", &mut b)] {
            if attributes.integer(name, 0) != 0 {
                matrix.shape.reverse();
                matrix.strides.reverse();
            }
        }
        let (&[height, depth], &[same, width]) = (a.shape.as_slice(), b.shape.as_slice()) else { return None };
        let is_plain = attributes.float("alpha", 1.0) == 1.0 && attributes.float("beta", 1.0) == 1.0;
        let is_small = height.saturating_mul(width).saturating_mul(depth) <= MOST_MACS;
        if depth != same || [height, width] != shape[..] || !is_plain || !is_small {
            return None;
        }
        let operation = Operation::Product(a.view(&a.shape)?, b.view(&b.shape)?, depth);
        let to = self.fresh(shape.clone())?;
        let to = self.step(operation, to)?;
        if node.input.get(2).is_none_or(String::is_empty) {
            return Some(to);
        }
        let bias = self.input(node, 2)?.view(&shape)?;
        let (product, sum) = (to.view(&shape)?, self.fresh(shape)?);
        self.step(Operation::Binary(Binary::Add, product, bias), sum)
    }

    /// QuantizeLinear and DequantizeLinear; codes are numbers here, too.
    fn codes(&mut self, node: &'a NodeProto, shape: Vec<usize>, to_codes: bool) -> Option<Placed> {
        let parameters = Parameters::of(&self.around.reader.constants, node).ok()?;
        let bytes = if to_codes { node.output.first()? } else { node.input.first()? };
        let (quantisation, is_signed) = parameters.single(bytes).ok()?;
        // Without a zero-point only the bytes themselves say what they are.
        let datum = self.around.facts.get(bytes.as_str())?.0.unquantized();
        (datum == if is_signed { DatumType::I8 } else { DatumType::U8 }).then_some(())?;
        if !to_codes {
            let from = self.placed.get(bytes.as_str())?.clone();
            self.dequantised.insert(node.output.first()?, (from.clone(), quantisation));
            let view = from.view(&shape)?;
            let to = self.fresh(shape)?;
            return self.step(Operation::Dequantise(quantisation, view), to);
        }
        let operation = match self.sums.remove(node.input.first()?.as_str()) {
            // As the integer kernels add: in another order the last bit of a half may differ, and with it the code.
            Some([(a, of_a), (b, of_b)]) => {
                let add = Add::new(Kernel::selected(), [of_a, of_b], quantisation, 0..=255).ok()?;
                Operation::AddCodes(add, a.view(&shape)?, b.view(&shape)?)
            }
            None => Operation::Quantise(quantisation, self.input(node, 0)?.view(&shape)?),
        };
        let to = self.fresh(shape)?;
        self.step(operation, to)
    }

    /// A function of one number.
    fn function(&mut self, node: &'a NodeProto, shape: Vec<usize>) -> Option<Placed> {
        let picture = node.input.iter().position(|name| !self.around.reader.constants.contains(name))?;
        let function = tables::function(&self.around.reader, node, picture).ok()??;
        let from = self.input(node, picture)?;
        if from.shape != shape || count(&shape) > MOST_CALLS {
            return None;
        }
        let view = from.view(&shape)?;
        let to = self.fresh(shape)?;
        self.step(Operation::Unary(Box::new(move |x| function(f64::from(x)) as f32), view), to)
    }
}

/// An axis as an index; negative ones count from the end.
fn index(axis: i64, rank: usize) -> Option<usize> {
    let rank = rank as i64;
    (-rank..rank).contains(&axis).then(|| axis.rem_euclid(rank) as usize)
}
