//! Types and shapes of every tensor of a network, as the engine infers them, and the multiply-accumulates that follow.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::error::BundleError;
use super::onnx::{Network, node_name, words};
use super::{guard, ila};

/// Types and shapes by the tensor's name in the file.
pub(crate) type Facts = HashMap<String, (DatumType, Vec<usize>)>;

/// The largest single tensor, in bytes: a frame's working memory stays bounded whatever a file asks for.
pub(crate) const MAX_TENSOR_BYTES: u64 = 512 << 20;

/// The largest sum of tensors that must be there at the same moment, in bytes, by the order of nodes in the file.
pub(crate) const MAX_NETWORK_BYTES: u64 = 1 << 30;

/// Infers the facts of `network`, whose inputs state fixed shapes.
pub(crate) fn infer(network: &Network, onnx: &tract_onnx::Onnx) -> Result<Facts, BundleError> {
    let engine = |error| BundleError::engine(&network.file, error);
    let proto = network.with_graph(network.graph.clone());
    let mut parsed = onnx.parse(&proto, None).map_err(engine)?;
    guard::guard(&mut parsed.model);
    parsed.model.analyse(false).map_err(engine)?;
    let mut facts = Facts::new();
    for (name, outlet) in &parsed.outlets_by_name {
        let fact = parsed.model.outlet_fact(*outlet).map_err(engine)?;
        let shape = fact.shape.as_concrete_finite().map_err(engine)?;
        let (Some(datum), Some(shape)) = (fact.datum_type(), shape) else { continue };
        small_enough(network, name, datum, &shape)?;
        not_empty(network, name, datum, &shape)?;
        facts.insert(name.clone(), (datum, shape.to_vec()));
    }
    check_sum(network, &facts)?;
    Ok(facts)
}

fn small_enough(network: &Network, name: &str, datum: DatumType, shape: &[usize]) -> Result<(), BundleError> {
    let found = bytes(datum, shape);
    if found <= MAX_TENSOR_BYTES {
        return Ok(());
    }
    Err(BundleError::TooLarge {
        file: network.file.clone(),
        what: format!("tensor `{name}` {shape:?}"),
        limit: format!("{MAX_TENSOR_BYTES} bytes"),
        found: format!("{found} bytes"),
        advice: "use a smaller input or fewer channels",
    })
}

/// A picture of nothing has no mean: engines differ on what becomes of it. Constants may be empty, some say by that that they are not there.
fn not_empty(network: &Network, name: &str, datum: DatumType, shape: &[usize]) -> Result<(), BundleError> {
    if !(shape.contains(&0) && datum.is_float()) {
        return Ok(());
    }
    let mut makers = network.graph.node.iter().filter(|node| node.output.iter().any(|made| made == name));
    if makers.all(|node| node.op_type == "Constant") {
        return Ok(());
    }
    Err(BundleError::Tensor {
        file: network.file.clone(),
        tensor: name.into(),
        expected: "at least one number".into(),
        found: words(datum, shape),
        advice: "correct the slice or the repeats that leave nothing".into(),
    })
}

/// What a tensor takes.
pub(crate) fn bytes(datum: DatumType, shape: &[usize]) -> u64 {
    shape.iter().fold(datum.size_of() as u64, |bytes, &side| bytes.saturating_mul(side as u64))
}

/// Constants, inputs and outputs are there all the time, everything else until its last reader has run.
fn check_sum(network: &Network, facts: &Facts) -> Result<(), BundleError> {
    let size = |name: &str| facts.get(name).map_or(0, |(datum, shape)| bytes(*datum, shape));
    let graph = &network.graph;
    let outputs: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        last.extend(node.input.iter().chain(&node.output).map(|name| (name.as_str(), index)));
    }
    let fixed = graph.initializer.iter().map(|weights| weights.name.as_str());
    let fixed = fixed.chain(network.inputs().map(|input| input.name.as_str()));
    let mut alive = fixed.fold(0u64, |sum, name| sum.saturating_add(size(name)));
    let mut ending: HashMap<usize, u64> = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            alive = alive.saturating_add(size(name));
            if !outputs.contains(name.as_str()) {
                let end = last.get(name.as_str()).copied().unwrap_or(index);
                let ending = ending.entry(end).or_default();
                *ending = ending.saturating_add(size(name));
            }
        }
        if alive > MAX_NETWORK_BYTES {
            return Err(BundleError::TooLarge {
                file: network.file.clone(),
                what: format!("tensors alive at node `{}`, weights included", node_name(node)),
                limit: format!("{MAX_NETWORK_BYTES} bytes"),
                found: format!("{alive} bytes"),
                advice: "use a smaller input or fewer channels",
            });
        }
        alive = alive.saturating_sub(ending.get(&index).copied().unwrap_or(0));
    }
    Ok(())
}

/// What a network computes, in multiply-accumulates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Macs {
    /// Conv, MatMul, Gemm and attention.
    pub all: u64,
    /// Attention alone.
    pub attention: u64,
}

/// Counts `nodes` of `network`.
pub(crate) fn count<'a>(
    network: &Network,
    facts: &Facts,
    nodes: impl IntoIterator<Item = &'a NodeProto>,
) -> Result<Macs, BundleError> {
    let mut macs = Macs::default();
    for node in nodes {
        let count = node_macs(network, facts, node)?;
        macs.all = macs.all.saturating_add(count);
        if node.op_type == ila::OPERATOR {
            macs.attention = macs.attention.saturating_add(count);
        }
    }
    Ok(macs)
}

/// Multiply-accumulates of one node; 0 for what is not counted (element-wise work, pooling, resizing).
pub(crate) fn node_macs(network: &Network, facts: &Facts, node: &NodeProto) -> Result<u64, BundleError> {
    let fact = |names: &[String], index: usize| -> Result<&[usize], BundleError> {
        let name = names.get(index).map_or("", String::as_str);
        facts.get(name).map(|(_, shape)| shape.as_slice()).ok_or_else(|| BundleError::Tensor {
            file: network.file.clone(),
            tensor: name.into(),
            expected: format!("a fixed shape, to count the work of node `{}`", node_name(node)),
            found: "a shape that is known only while running".into(),
            advice: "export with fixed sizes (no dynamic_axes)".into(),
        })
    };
    let volume = |shape: &[usize]| shape.iter().fold(1u64, |n, &side| n.saturating_mul(side as u64));
    // Each output (of a transposed convolution: each input) meets one filter: all of the weights' sides but the first.
    let convolution =
        |shape: &[usize], weights: &[usize]| volume(shape).saturating_mul(volume(weights.get(1..).unwrap_or_default()));
    Ok(match node.op_type.as_str() {
        "Conv" | "ConvInteger" => convolution(fact(&node.output, 0)?, fact(&node.input, 1)?),
        "QLinearConv" => convolution(fact(&node.output, 0)?, fact(&node.input, 3)?),
        "ConvTranspose" => convolution(fact(&node.input, 0)?, fact(&node.input, 1)?),
        "MatMul" | "MatMulInteger" | "QLinearMatMul" => {
            let depth = fact(&node.input, 0)?.last().copied().unwrap_or(1);
            volume(fact(&node.output, 0)?).saturating_mul(depth as u64)
        }
        "Gemm" => {
            let transposed = node.attribute.iter().any(|a| a.name == "transA" && a.i != 0);
            let a = fact(&node.input, 0)?;
            let depth = a.get(usize::from(!transposed)).copied().unwrap_or(1);
            volume(fact(&node.output, 0)?).saturating_mul(depth as u64)
        }
        ila::OPERATOR => {
            let attributes = ila::Attributes::read(node).map_err(|e| BundleError::engine(&network.file, e.into()))?;
            let (q, v) = (fact(&node.input, 0)?, fact(&node.input, 2)?);
            let (&[_, query_channels, height, width], &[keyframes, value_channels, ..]) = (q, v) else { return Ok(0) };
            attributes.macs(&ila::Geometry { query_channels, value_channels, height, width, keyframes })
        }
        _ => 0,
    })
}
