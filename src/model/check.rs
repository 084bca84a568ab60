//! What must hold in a network file whatever it is for: names in order, known operators, finite weights.
//!
//! The engine looks operators up by type alone and trusts names and lengths, so all of this is settled before it sees the file.

use std::collections::HashSet;

use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::prelude::*;

use super::error::BundleError;
use super::ila;
use super::onnx::{Network, node_name};

/// Operators whose answer differs from run to run.
const RANDOM: &[&str] =
    &["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];
/// Operators that carry graphs of their own.
const CONTROL: &[&str] = &["If", "Loop", "Scan", "SequenceMap"];

/// Checks `network`; `onnx` knows the operators.
pub(crate) fn check(network: &Network, onnx: &tract_onnx::Onnx) -> Result<(), BundleError> {
    check_opsets(network)?;
    check_names(network)?;
    for node in &network.graph.node {
        check_operator(network, onnx, node)?;
        for attribute in &node.attribute {
            for tensor in attribute.t.iter().chain(&attribute.tensors) {
                check_tensor(network, &format!("{}.{}", node_name(node), attribute.name), tensor)?;
            }
            let floats = std::iter::once(attribute.f).chain(attribute.floats.iter().copied());
            if let Some(bad) = floats.into_iter().find(|value| value.is_nan()) {
                return Err(not_finite(network, &format!("{}.{}", node_name(node), attribute.name), bad.into()));
            }
        }
    }
    if let Some(sparse) = network.graph.sparse_initializer.first() {
        let name = sparse.values.as_ref().map_or("", |values| &values.name);
        return Err(tensor(network, name, "a dense tensor", "a sparse one", "store the weights densely"));
    }
    network.graph.initializer.iter().try_for_each(|weights| check_tensor(network, &weights.name, weights))
}

fn check_opsets(network: &Network) -> Result<(), BundleError> {
    let standard = network.header.opset_import.iter().find(|opset| is_standard(&opset.domain));
    match standard {
        Some(opset) if opset.version >= 9 => Ok(()),
        other => Err(BundleError::NotOnnx {
            file: network.file.clone(),
            found: match other {
                Some(opset) => {
                    format!("operator set {} (18 is what is tested, 9 the oldest that is read)", opset.version)
                }
                None => "no standard operator set".into(),
            },
        }),
    }
}

fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Every tensor has one producer, and it comes before its readers.
fn check_names(network: &Network) -> Result<(), BundleError> {
    let graph = &network.graph;
    let mut known: HashSet<&str> = HashSet::new();
    let twice = |name: &str| tensor(network, name, "one producer", "two", "export the network again");
    for weights in &graph.initializer {
        if !known.insert(&weights.name) {
            return Err(twice(&weights.name));
        }
    }
    for input in network.inputs() {
        if !known.insert(&input.name) {
            return Err(twice(&input.name));
        }
    }
    for node in &graph.node {
        for input in node.input.iter().filter(|name| !name.is_empty()) {
            if !known.contains(input.as_str()) {
                let expected = format!("a producer before node `{}`", node_name(node));
                return Err(tensor(network, input, &expected, "none", "export the network again"));
            }
        }
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if !known.insert(output) {
                return Err(twice(output));
            }
        }
    }
    let mut outputs: HashSet<&str> = HashSet::new();
    for output in &graph.output {
        if !known.contains(output.name.as_str()) {
            return Err(tensor(
                network,
                &output.name,
                "a node that gives this output",
                "none",
                "export the network again",
            ));
        }
        if !outputs.insert(&output.name) {
            return Err(twice(&output.name));
        }
    }
    Ok(())
}

fn check_operator(network: &Network, onnx: &tract_onnx::Onnx, node: &NodeProto) -> Result<(), BundleError> {
    let refuse = |reason: String| BundleError::Operator {
        file: network.file.clone(),
        node: node_name(node).into(),
        operator: node.op_type.clone(),
        domain: node.domain.clone(),
        reason,
    };
    if node.domain == ila::DOMAIN {
        if node.op_type != ila::OPERATOR {
            return Err(refuse(format!("unknown; `{}` has {} only", ila::DOMAIN, ila::OPERATOR)));
        }
        let present = |index: usize| node.input.get(index).is_some_and(|name| !name.is_empty());
        if !(present(0) && present(1) && present(2)) || node.input.len() > 6 {
            return Err(refuse("expected the inputs q, k, v and at most bias, null, valid".into()));
        }
        if node.output.first().is_none_or(|name| name.is_empty()) || node.output.len() > 3 {
            return Err(refuse("expected the output y and at most confidence and border".into()));
        }
        return Ok(());
    }
    if !is_standard(&node.domain) {
        return Err(refuse(format!(
            "unknown; expected standard ONNX (domain `` or `ai.onnx`) or {} of `{}`: export in standard operators",
            ila::OPERATOR,
            ila::DOMAIN
        )));
    }
    if RANDOM.contains(&node.op_type.as_str()) {
        return Err(refuse(
            "random; the same picture must give the same answer: export the network for inference".into(),
        ));
    }
    if CONTROL.contains(&node.op_type.as_str()) {
        return Err(refuse("control flow; the cost of a frame must be known beforehand: unroll it at export".into()));
    }
    if node.op_type == ila::OPERATOR || !onnx.op_register.0.contains_key(&node.op_type) {
        let names = onnx.op_register.0.keys().filter(|name| name.as_str() != ila::OPERATOR);
        let nearest = names
            .map(|name| (strsim::jaro_winkler(name, &node.op_type), name))
            .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
            .map(|(_, name)| name.as_str())
            .unwrap_or_default();
        return Err(refuse(format!(
            "unknown to the inference engine (nearest known: {nearest}): export it in operators that it knows"
        )));
    }
    Ok(())
}

/// A constant's length fits its shape, and all its numbers are finite.
fn check_tensor(network: &Network, name: &str, proto: &TensorProto) -> Result<(), BundleError> {
    if proto.data_location == Some(DataLocation::External as i32) || !proto.external_data.is_empty() {
        let advice = "export with the weights inside (save_as_external_data=False)";
        return Err(tensor(network, name, "weights inside the file", "weights in another file", advice));
    }
    let bad_shape = || tensor(network, name, "a shape of sides from 0", &format!("{:?}", proto.dims), "export again");
    let mut sides = proto.dims.iter().map(|&side| usize::try_from(side).ok());
    let elements = sides.try_fold(1usize, |n, side| n.checked_mul(side?)).ok_or_else(bad_shape)?;
    let kind = DataType::try_from(proto.data_type).unwrap_or(DataType::Undefined);
    let raw = &proto.raw_data;
    let (typed, bytes_each) = match kind {
        DataType::Float => (proto.float_data.len(), 4),
        DataType::Double => (proto.double_data.len(), 8),
        DataType::Float16 | DataType::Int16 | DataType::Uint16 | DataType::Bfloat16 => (proto.int32_data.len(), 2),
        DataType::Bool | DataType::Int8 | DataType::Uint8 => (proto.int32_data.len(), 1),
        DataType::Int32 => (proto.int32_data.len(), 4),
        DataType::Int64 => (proto.int64_data.len(), 8),
        DataType::Uint32 => (proto.uint64_data.len(), 4),
        DataType::Uint64 => (proto.uint64_data.len(), 8),
        other => {
            let advice = "export the network in float32 or in 8-bit integers";
            return Err(tensor(network, name, "float or integer elements", other.as_str_name(), advice));
        }
    };
    let found = if raw.is_empty() { typed } else { raw.len() / bytes_each };
    if found != elements || !raw.len().is_multiple_of(bytes_each) {
        let expected = format!("{elements} elements (its shape is {:?})", proto.dims);
        return Err(tensor(network, name, &expected, &format!("{found}"), "the file is damaged: export it again"));
    }
    let bad = match kind {
        DataType::Float => {
            proto.float_data.iter().copied().chain(words(raw, f32::from_le_bytes)).map(f64::from).find(is_bad)
        }
        DataType::Double => proto.double_data.iter().copied().chain(words(raw, f64::from_le_bytes)).find(is_bad),
        DataType::Float16 => {
            let typed = proto.int32_data.iter().map(|&bits| f16::from_bits(bits as u16));
            let raw = words(raw, u16::from_le_bytes).map(f16::from_bits);
            typed.chain(raw).map(|half| f64::from(half.to_f32())).find(is_bad)
        }
        // The upper half of a float32.
        DataType::Bfloat16 => {
            let typed = proto.int32_data.iter().map(|&bits| bits as u16);
            let words = typed.chain(words(raw, u16::from_le_bytes));
            words.map(|bits| f64::from(f32::from_bits(u32::from(bits) << 16))).find(is_bad)
        }
        _ => None,
    };
    bad.map_or(Ok(()), |value| Err(not_finite(network, name, value)))
}

fn is_bad(value: &f64) -> bool {
    !value.is_finite()
}

fn words<const N: usize, T>(raw: &[u8], from: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    raw.as_chunks::<N>().0.iter().map(move |bytes| from(*bytes))
}

fn not_finite(network: &Network, name: &str, value: f64) -> BundleError {
    tensor(network, name, "finite numbers", &format!("{value}"), "the training went wrong: use an earlier checkpoint")
}

fn tensor(network: &Network, name: &str, expected: &str, found: &str, advice: &str) -> BundleError {
    BundleError::Tensor {
        file: network.file.clone(),
        tensor: name.into(),
        expected: expected.into(),
        found: found.into(),
        advice: advice.into(),
    }
}
