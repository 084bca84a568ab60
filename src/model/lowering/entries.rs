//! Short ways into a region: small float nodes whose output nothing but QuantizeLinear reads, done by the region while it quantises, so that the
//! engine does not make a tensor of them: 1×1 convolutions of a few planes, and slices of the first channels (what attention brought, without what it
//! says of where it looked).

use std::collections::HashMap;

use milad_kernels::int8::Mix;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::attributes::Attributes;
use super::constants::Constants;
use super::program::Way;
use super::sandwich::{Analysis, Origin};
use crate::model::facts::Facts;

/// By the float tensor that is quantised: the tensor to read instead, and how. `kept` are the nodes that run in float.
pub(super) fn find(
    graph: &GraphProto,
    facts: &Facts,
    found: &Analysis,
    kept: &[usize],
) -> HashMap<String, (String, Way)> {
    let constants = Constants::new(graph);
    let nodes: Vec<&NodeProto> = kept.iter().filter_map(|&index| graph.node.get(index)).collect();
    let entry = |node: &&NodeProto| {
        let name = node.output.first()?;
        let is_read = nodes.iter().any(|other| other.input.contains(name));
        let is_output = graph.output.iter().any(|output| output.name == *name);
        if is_read || is_output {
            return None;
        }
        let (from, way, channels) = mixture(node, &constants).or_else(|| leading(node, &constants, facts))?;
        let entering = found.values.iter().zip(&found.origins);
        let mut fits = entering.filter_map(|(value, origin)| match origin {
            Origin::Float(tensor) if tensor == name => Some(value.channels == channels),
            Origin::Bytes(tensor) if tensor == name => Some(false),
            _ => None,
        });
        (fits.next()? && fits.all(|fits| fits)).then(|| (name.clone(), (from, way)))
    };
    nodes.iter().filter_map(entry).collect()
}

/// The mixture that a node is, of what, and its channels.
fn mixture(node: &NodeProto, constants: &Constants) -> Option<(String, Way, usize)> {
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
    if !plain || inputs > Mix::MOST_INPUTS || bias.len() != outputs {
        return None;
    }
    let mix = Mix::new(inputs, constants.floats(input(1))?, bias).ok()?;
    let channels = mix.channels();
    Some((input(0).to_owned(), Way::Mixed(mix), channels))
}

/// The slice that a node is, if it takes a map's first channels.
fn leading(node: &NodeProto, constants: &Constants, facts: &Facts) -> Option<(String, Way, usize)> {
    let shape = |name: Option<&String>| match facts.get(name?)?.1.as_slice() {
        &[1, channels, height, width] => Some((channels, [height, width])),
        _ => None,
    };
    let only = |at: usize| match constants.integers(node.input.get(at)?)?.values.as_slice() {
        &[value] => Some(value),
        _ => None,
    };
    let step = if node.input.len() > 4 { only(4)? } else { 1 };
    let axis = only(3)?;
    let ((all, from), (channels, to)) = (shape(node.input.first())?, shape(node.output.first())?);
    let is_leading = node.op_type == "Slice" && only(1)? == 0 && step == 1 && (axis == 1 || axis == -3) && from == to;
    is_leading.then(|| (node.input.first().cloned().unwrap_or_default(), Way::Leading(all), channels))
}
