//! Small operators in float become regions, too: what stands between integer regions and attention, such as offsets and their moments.
//!
//! Each would be a node of the engine's plan that allocates its output; together they take longer to be called than to compute. A region
//! of them is one node, whose steps run one after the other in one block of numbers ([`steps`]). What an operator computes is unchanged;
//! sums are formed in another order than the engine's. Operators that are large, or unknown here ([`reading`]), stay with the engine.

mod reading;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::regions::sorted;
use super::weights::Reader;
use crate::model::facts::Facts;
use reading::Builder;
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

/// Makes regions of what can be in one; the graph then has a node for each, of that name.
pub(super) fn group(graph: GraphProto, facts: &Facts) -> (GraphProto, Vec<Arc<Region>>) {
    let reader = Reader::new(&graph);
    let taken = candidates(&graph, facts, &reader);
    let mut of_level: Vec<Vec<usize>> = vec![];
    for (index, level) in levels(&graph, &taken).into_iter().enumerate().filter(|(index, _)| taken.contains(index)) {
        of_level.resize_with(of_level.len().max(level + 1), Vec::new);
        of_level[level].push(index);
    }
    let (mut regions, mut gone) = (vec![], HashSet::new());
    for members in of_level.into_iter().filter(|members| !members.is_empty()) {
        let name = format!("float-{}", regions.len());
        if let Some(region) = region(&graph, facts, &reader, name, &members) {
            gone.extend(members);
            regions.push(Arc::new(region));
        }
    }
    drop(reader);
    let kept = graph.node.into_iter().enumerate().filter(|(index, _)| !gone.contains(index)).map(|(_, node)| node);
    let nodes = sorted(kept.chain(regions.iter().map(|region| node(region))).collect());
    let read: HashSet<&str> = nodes.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let is_output = |name: &str| graph.output.iter().any(|output| output.name == name);
    let mut initializer = graph.initializer;
    initializer.retain(|tensor| read.contains(tensor.name.as_str()) || is_output(&tensor.name));
    (GraphProto { node: nodes, initializer, output: graph.output, ..graph }, regions)
}

/// Nodes that can be steps.
fn candidates(graph: &GraphProto, facts: &Facts, reader: &Reader) -> HashSet<usize> {
    let by_name = |node: &NodeProto, at: usize| node.input.get(at).map_or(String::new(), String::clone);
    let mut taken: HashSet<usize> = HashSet::new();
    let mut codes: HashMap<&str, usize> = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        let mut builder = Builder::new(reader, facts);
        if node.op_type == "DequantizeLinear" {
            let Some((&name, _)) = codes.get_key_value(by_name(node, 0).as_str()) else { continue };
            builder.suppose(name);
        }
        let follows_constants = node.input.iter().all(|name| name.is_empty() || reader.constants.contains(name));
        if !follows_constants && builder.node(node).is_some() {
            taken.insert(index);
            if let ("QuantizeLinear", Some(output)) = (node.op_type.as_str(), node.output.first()) {
                codes.insert(output, index);
            }
        }
    }
    // Bytes stay inside: whoever reads them must be a step too, and whoever reads them as a step must have them.
    for (name, quantise) in codes {
        let readers = graph.node.iter().enumerate().filter(|(_, node)| node.input.iter().any(|input| input == name));
        let readers: Vec<usize> = readers.map(|(index, _)| index).collect();
        let is_output = graph.output.iter().any(|output| output.name == name);
        if is_output || readers.is_empty() || readers.iter().any(|reader| !taken.contains(reader)) {
            taken.remove(&quantise);
            readers.iter().for_each(|reader| {
                taken.remove(reader);
            });
        }
    }
    taken
}

/// For each node the greatest number of ways out of such regions on any path to it. What has the same can run together: no way leads out of
/// them and back in.
fn levels(graph: &GraphProto, taken: &HashSet<usize>) -> Vec<usize> {
    let mut level: HashMap<&str, (usize, bool)> = HashMap::new();
    let mut levels = vec![];
    for (index, node) in graph.node.iter().enumerate() {
        let is_step = taken.contains(&index);
        let read = node.input.iter().filter_map(|name| level.get(name.as_str()));
        let own = read.map(|&(level, from_step)| level + usize::from(from_step && !is_step)).max().unwrap_or(0);
        level.extend(node.output.iter().map(|name| (name.as_str(), (own, is_step))));
        levels.push(own);
    }
    levels
}

fn region(graph: &GraphProto, facts: &Facts, reader: &Reader, name: String, members: &[usize]) -> Option<Region> {
    let mut builder = Builder::new(reader, facts);
    let mut visible = vec![];
    for node in members.iter().filter_map(|&index| graph.node.get(index)) {
        builder.node(node)?;
        let read_elsewhere = |name: &String| {
            let others = graph.node.iter().enumerate().filter(|(index, _)| !members.contains(index));
            others.flat_map(|(_, node)| &node.input).any(|input| input == name)
                || graph.output.iter().any(|output| output.name == *name)
        };
        visible.extend(node.output.iter().filter(|name| read_elsewhere(name)).map(String::as_str));
    }
    builder.finish(name, &visible)
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
