//! Small 1×1 convolutions in float whose output nothing but a QuantizeLinear reads: a mixture of a few planes (attention's confidence and offsets,
//! say) on its way into integers. The region computes it while it quantises, instead of the engine's matrix product and a tensor between.

use std::collections::HashMap;

use milad_kernels::int8::Mix;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::attributes::Attributes;
use super::constants::Constants;
use super::sandwich::{Analysis, Origin};

/// Planes up to which the plain sum is quicker than a matrix product.
const MOST: usize = 8;

/// By the float tensor that is quantised: the tensor that is mixed, and how. `kept` are the nodes that run in float.
pub(super) fn find(graph: &GraphProto, found: &Analysis, kept: &[usize]) -> HashMap<String, (String, Mix)> {
    let constants = Constants::new(graph);
    let nodes: Vec<&NodeProto> = kept.iter().filter_map(|&index| graph.node.get(index)).collect();
    let mixture = |node: &&NodeProto| {
        let name = node.output.first()?;
        let is_read = nodes.iter().any(|other| other.input.contains(name));
        let is_output = graph.output.iter().any(|output| output.name == *name);
        let (from, mix) = read(node, &constants).filter(|_| !is_read && !is_output)?;
        let mut entering = found.values.iter().zip(&found.origins).filter(|(_, origin)| match origin {
            Origin::Float(tensor) => tensor == name,
            _ => false,
        });
        let channels = mix.channels();
        entering.all(|(value, _)| value.channels == channels).then(|| (name.clone(), (from, mix)))
    };
    nodes.iter().filter_map(mixture).collect()
}

/// The mixture that a node is, and of what.
fn read(node: &NodeProto, constants: &Constants) -> Option<(String, Mix)> {
    let input = |at: usize| node.input.get(at).map_or("", String::as_str);
    let attributes = Attributes(node);
    let all = |name: &str, value: i64| attributes.integers(name).is_none_or(|found| found.iter().all(|&v| v == value));
    let plain = node.op_type == "Conv"
        && attributes.integer("group", 1) == 1
        && all("strides", 1)
        && all("pads", 0)
        && matches!(attributes.text("auto_pad", "NOTSET"), "NOTSET" | "" | "VALID");
    let &[outputs, inputs, 1, 1] = constants.shape(input(1))?.as_slice() else { return None };
    let bias = match input(2) {
        "" => vec![0.0; outputs],
        name => constants.floats(name)?,
    };
    if !plain || inputs > MOST || bias.len() != outputs {
        return None;
    }
    Some((input(0).to_owned(), Mix::new(inputs, constants.floats(input(1))?, bias).ok()?))
}
