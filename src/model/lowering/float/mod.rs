//! Small operators in float become regions, too: what stands between integer regions and attention, such as offsets and their moments.
//!
//! Each would be a node of the engine's plan that allocates its output; together they take longer to be called than to compute. A region
//! of them is one node, whose steps run one after the other in one block of numbers ([`steps`]). Each computes what its definition says, sums in
//! their own order, whatever the CPU. Operators that are large, or unknown here ([`reading`]), stay with the engine. See docs/adr/0020.

mod reading;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::constants::known;
use super::regions::sorted;
use crate::model::facts::Facts;
use reading::{Builder, Surroundings};
use steps::{Source, Step};

/// The type of the operator that a region becomes.
pub(crate) const OPERATOR: &str = "FloatRegion";

/// A tensor that leaves a region, dense.
#[derive(Debug)]
pub(crate) struct Output {
    pub name: String,
    pub shape: Vec<usize>,
    source: Source,
    offset: usize,
}

/// Operators in float that run as one.
#[derive(Debug)]
pub(crate) struct Region {
    pub name: String,
    /// Tensors that it reads, and their shapes.
    pub inputs: Vec<(String, Vec<usize>)>,
    pub outputs: Vec<Output>,
    /// Names and types of the file's nodes that it stands for.
    pub nodes: Vec<String>,
    steps: Vec<Step>,
    /// Constants, and room for what steps write.
    block: Vec<f32>,
}

impl Region {
    /// A block to run in.
    pub fn block(&self) -> Vec<f32> {
        self.block.clone()
    }

    /// Runs all steps and writes the outputs; `None` when an input or output is too short.
    pub fn run<'o>(
        &self,
        inputs: &[&[f32]],
        block: &mut [f32],
        outputs: impl Iterator<Item = &'o mut [f32]>,
    ) -> Option<()> {
        for step in &self.steps {
            step.run(inputs, block)?;
        }
        for (output, to) in self.outputs.iter().zip(outputs) {
            let from = match output.source {
                Source::Input(index) => inputs.get(index).copied()?,
                Source::Block => &*block,
            };
            to.copy_from_slice(from.get(output.offset..)?.get(..to.len())?);
        }
        Some(())
    }
}

/// Numbers in the blocks of one network's regions, at most: 4 MiB.
const MOST_NUMBERS: usize = 1 << 20;

/// Makes regions of what can be in one; the graph then has a node for each, of that name.
pub(super) fn group(graph: GraphProto, facts: &Facts) -> (GraphProto, Vec<Arc<Region>>) {
    let mut around = Surroundings::new(&graph, facts);
    around.taken = candidates(&graph, &around);
    let taken = &around.taken;
    let levels = levels(&graph, taken);
    let mut of_level: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in (0..graph.node.len()).filter(|index| taken.contains(index)) {
        of_level.entry(levels[index]).or_default().push(index);
    }
    let (mut regions, mut gone, mut numbers) = (vec![], HashSet::new(), 0);
    for (level, members) in of_level {
        let mut builder = Builder::new(&around);
        let nodes = members.iter().filter_map(|&index| graph.node.get(index));
        // What leaves: outputs of the network, and what any other node reads.
        let leaves = |name: &&String| {
            let inside = |reader: &usize| taken.contains(reader) && levels[*reader] == level;
            around.outputs.contains(name.as_str()) || !around.readers(name).iter().all(inside)
        };
        let visible: Vec<&str> =
            nodes.clone().flat_map(|node| &node.output).filter(leaves).map(String::as_str).collect();
        let built = nodes
            .into_iter()
            .try_for_each(|node| builder.node(node).filter(|()| numbers + builder.numbers() <= MOST_NUMBERS));
        let name = format!("float-{}", regions.len());
        let Some(region) = built.and_then(|()| builder.finish(name, &visible)) else { continue };
        numbers += region.block.len();
        gone.extend(members);
        regions.push(Arc::new(region));
    }
    drop(around);
    let kept = graph.node.into_iter().enumerate().filter(|(index, _)| !gone.contains(index)).map(|(_, node)| node);
    let nodes = sorted(kept.chain(regions.iter().map(|region| node(region))).collect());
    let read: HashSet<&str> = nodes.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let is_output = |name: &str| graph.output.iter().any(|output| output.name == name);
    let mut initializer = graph.initializer;
    initializer.retain(|tensor| read.contains(tensor.name.as_str()) || is_output(&tensor.name));
    (GraphProto { node: nodes, initializer, output: graph.output, ..graph }, regions)
}

/// Nodes that can be steps.
fn candidates(graph: &GraphProto, around: &Surroundings) -> HashSet<usize> {
    let known = known(graph, true);
    let mut taken: HashSet<usize> = HashSet::new();
    let mut codes: HashMap<&str, usize> = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        let mut builder = Builder::new(around);
        if node.op_type == "DequantizeLinear" {
            let from = node.input.first().map_or("", String::as_str);
            let Some((&name, _)) = codes.get_key_value(from) else { continue };
            builder.suppose(name);
        }
        // What is known before the first frame is the engine's to fold, and some operators insist on it.
        let is_known = node.output.iter().all(|name| known.contains(name.as_str()));
        if !is_known && builder.node(node).is_some() {
            taken.insert(index);
            if let ("QuantizeLinear", Some(output)) = (node.op_type.as_str(), node.output.first()) {
                codes.insert(output, index);
            }
        }
    }
    // Bytes stay inside: whoever reads them must be a step too, and whoever reads them as a step must have them.
    for (name, quantise) in codes {
        let readers = around.readers(name);
        if around.outputs.contains(name) || readers.is_empty() || readers.iter().any(|reader| !taken.contains(reader)) {
            taken.remove(&quantise);
            readers.iter().for_each(|reader| {
                taken.remove(reader);
            });
        }
    }
    taken
}

/// For each node the greatest number of ways out of such regions on any path to it. What has the same can run together: no way leads out of
/// them and back in. Nodes are in order.
fn levels(graph: &GraphProto, taken: &HashSet<usize>) -> Vec<usize> {
    let mut level: HashMap<&str, (usize, bool)> = HashMap::new();
    let mut levels = vec![];
    for (index, node) in graph.node.iter().enumerate() {
        let is_step = taken.contains(&index);
        let read = node.input.iter().filter(|name| !name.is_empty()).filter_map(|name| level.get(name.as_str()));
        let own = read.map(|&(level, from_step)| level + usize::from(from_step && !is_step)).max().unwrap_or(0);
        level.extend(node.output.iter().map(|name| (name.as_str(), (own, is_step))));
        levels.push(own);
    }
    levels
}

fn node(region: &Region) -> NodeProto {
    NodeProto {
        op_type: OPERATOR.into(),
        domain: crate::model::ila::DOMAIN.into(),
        name: region.name.clone(),
        input: region.inputs.iter().map(|(name, _)| name.clone()).collect(),
        output: region.outputs.iter().map(|output| output.name.clone()).collect(),
        ..NodeProto::default()
    }
}
