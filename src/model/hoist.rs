//! Work that is the same on every frame of a keyframe is done once per keyframe.
//!
//! Whatever in `fast.onnx` follows from memory inputs (and constants) alone, such as projections of keys and values or their
//! quantisation, becomes a network of its own, the *prelude*: memory in, *frontier* out. The slow side runs it when it has finished a
//! keyframe; the frame's network starts at the frontier. The frontier tensors are the memory inputs that the rest reads directly
//! and the prelude's outputs that it reads. What follows from `age` or `valid` stays with the frame: ages change from frame to frame.
//!
//! ```text
//!          value.seg ──> Conv 1×1 ──┐ frontier
//!   memory                          ├──────────> attention ──> head ──> task.seg
//!          key.seg ─────────────────┘                ▲
//!                └── prelude, once a keyframe        └── main, every frame ── image
//! ```

use std::collections::HashSet;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{GraphProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::*;

use super::facts::Facts;
use super::ila;
use super::onnx::Network;
use super::wiring::{AGE, IMAGE, VALID, Wiring};

/// Where a frontier tensor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A memory input as it is, by its index in [`Wiring::memory`].
    Memory(usize),
    /// An output of the prelude, by index.
    Prelude(usize),
}

/// `fast.onnx` in two parts.
#[derive(Debug, Clone)]
pub(crate) struct Split {
    /// Memory to frontier; inputs are those of [`Split::prelude_inputs`]. `None` when there is nothing to hoist.
    pub prelude: Option<GraphProto>,
    /// Which memory inputs the prelude reads, by their index in [`Wiring::memory`].
    pub prelude_inputs: Vec<usize>,
    /// The rest; inputs are `image`, `age` and `valid` where they are, then the frontier.
    pub main: GraphProto,
    /// The frontier in the order of the main network's inputs.
    pub frontier: Vec<Source>,
}

/// Splits `network`, the fast one.
pub(crate) fn split(network: &Network, facts: &Facts, wiring: &Wiring) -> Split {
    let graph = &network.graph;
    let memory_index = |name: &str| wiring.memory.iter().position(|memory| memory.name == name);
    let mut constant: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut remembered: HashSet<&str> = wiring.memory.iter().map(|memory| memory.name.as_str()).collect();
    let (mut hoisted, mut kept): (Vec<&NodeProto>, Vec<&NodeProto>) = (vec![], vec![]);
    let mut shared: Vec<&NodeProto> = vec![];
    for node in &graph.node {
        let inputs = || node.input.iter().filter(|name| !name.is_empty()).map(String::as_str);
        let outputs = || node.output.iter().filter(|name| !name.is_empty()).map(String::as_str);
        if inputs().all(|name| constant.contains(name)) {
            constant.extend(outputs());
            shared.push(node);
            kept.push(node);
        } else if inputs().all(|name| constant.contains(name) || remembered.contains(name))
            && outputs().all(|name| value_info(name, facts).is_some())
        {
            remembered.extend(outputs());
            hoisted.push(node);
        } else {
            kept.push(node);
        }
    }
    let kept = with_dequantisers(graph, kept, &hoisted);
    let read: HashSet<&str> = kept.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let needed = |name: &str| read.contains(name) || graph.output.iter().any(|output| output.name == name);

    let (mut frontier, mut frontier_info, mut made) = (vec![], vec![], vec![]);
    for (index, memory) in wiring.memory.iter().enumerate().filter(|(_, memory)| needed(&memory.name)) {
        frontier.push(Source::Memory(index));
        frontier_info.extend(value_info(&memory.name, facts));
    }
    for name in hoisted
        .iter()
        .flat_map(|node| &node.output)
        .filter(|name| !name.is_empty() && needed(name) && !kept.iter().any(|node| node.output.contains(name)))
    {
        if let Some(info) = value_info(name, facts) {
            frontier.push(Source::Prelude(made.len()));
            frontier_info.push(info.clone());
            made.push(info);
        }
    }

    let mut prelude_inputs = vec![];
    let prelude = (!made.is_empty()).then(|| {
        let reads = |name: &String| hoisted.iter().any(|node| node.input.contains(name));
        let inputs = wiring.memory.iter().filter(|memory| reads(&memory.name));
        prelude_inputs = inputs.clone().filter_map(|memory| memory_index(&memory.name)).collect();
        let inputs = inputs.filter_map(|memory| value_info(&memory.name, facts)).collect();
        let nodes: Vec<&NodeProto> = shared.iter().chain(&hoisted).copied().collect();
        part(graph, &nodes, inputs, made)
    });
    let fed = |name: &str| graph.input.iter().find(|input| input.name == name).cloned();
    let mut inputs: Vec<ValueInfoProto> = fed(IMAGE).into_iter().collect();
    inputs.extend(wiring.age.then(|| fed(AGE)).flatten());
    inputs.extend(wiring.valid.then(|| fed(VALID)).flatten());
    inputs.extend(frontier_info);
    Split { prelude, prelude_inputs, main: part(graph, &kept, inputs, graph.output.clone()), frontier }
}

/// The frame's nodes, and the DequantizeLinear nodes that stand between memory and them: what crosses is then bytes, and the frame's network
/// stays quantised to its edge. Attention reads floats that it packs once a keyframe, so what it reads is dequantised before.
fn with_dequantisers<'a>(
    graph: &'a GraphProto,
    kept: Vec<&'a NodeProto>,
    hoisted: &[&'a NodeProto],
) -> Vec<&'a NodeProto> {
    let reads = |node: &NodeProto, name: &String| node.input.contains(name);
    let crosses = |node: &&&NodeProto| {
        let Some(output) = node.output.first().filter(|_| node.op_type == "DequantizeLinear") else { return false };
        let mut readers = kept.iter().filter(|reader| reads(reader, output)).peekable();
        readers.peek().is_some() && readers.all(|reader| reader.op_type != ila::OPERATOR)
    };
    let added: Vec<&NodeProto> = hoisted.iter().filter(crosses).copied().collect();
    let is_in = |node: &&NodeProto| kept.iter().chain(&added).any(|&other| std::ptr::eq(other, *node));
    graph.node.iter().filter(is_in).collect()
}

/// A graph of some of the nodes, with the constants that they read.
fn part(
    graph: &GraphProto,
    nodes: &[&NodeProto],
    input: Vec<ValueInfoProto>,
    output: Vec<ValueInfoProto>,
) -> GraphProto {
    let read: HashSet<&str> = nodes.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let needed = |name: &str| read.contains(name) || output.iter().any(|output| output.name == name);
    GraphProto {
        node: nodes.iter().map(|&node| node.clone()).collect(),
        name: graph.name.clone(),
        initializer: graph.initializer.iter().filter(|tensor| needed(&tensor.name)).cloned().collect(),
        input,
        output,
        ..GraphProto::default()
    }
}

/// A tensor as ONNX describes an input or output; `None` where its type or shape has no fixed form.
fn value_info(name: &str, facts: &Facts) -> Option<ValueInfoProto> {
    let (datum, shape) = facts.get(name)?;
    let elem_type = match datum {
        DatumType::F32 => DataType::Float,
        DatumType::F16 => DataType::Float16,
        DatumType::F64 => DataType::Double,
        DatumType::I8 => DataType::Int8,
        DatumType::U8 => DataType::Uint8,
        DatumType::I32 => DataType::Int32,
        DatumType::I64 => DataType::Int64,
        DatumType::Bool => DataType::Bool,
        _ => return None,
    } as i32;
    let side =
        |&side: &usize| Dimension { denotation: String::new(), value: Some(dimension::Value::DimValue(side as i64)) };
    let tensor =
        type_proto::Tensor { elem_type, shape: Some(TensorShapeProto { dim: shape.iter().map(side).collect() }) };
    let r#type = TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) };
    Some(ValueInfoProto { name: name.into(), r#type: Some(r#type), doc_string: String::new() })
}
