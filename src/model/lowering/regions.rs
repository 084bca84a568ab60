//! Groups steps into regions, as large as they can be, and writes the graph in which each region is one node.
//!
//! A region must be one node of an acyclic graph: no way may lead out of it, through a float node, and back into it. So every step
//! has a *level*, the greatest number of ways out of integers and back on any path that leads to it; connected steps of one level are a
//! region. What a later region reads of an earlier one crosses as a plane of bytes.
//!
//! ```text
//!   image ─> [encoder ── level 0 ── q] ─> attention (float) ─> [fusion, heads ── level 1] ─> task.*
//!                   └────────── skip, a plane ──────────────────────┘
//! ```

use std::collections::{HashMap, HashSet};

use milad_kernels::int8::Layout;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::OPERATOR;
use super::constants::known;
use super::entries;
use super::program::{Edge, Form, Operation, Part, Region, ValueId, Way, tensors};
use super::sandwich::{Analysis, Origin};
use crate::model::facts::Facts;

/// In bytes; where planes start that share a tensor.
const CACHE_LINE: usize = 64;

/// A graph whose integer parts are nodes of their own.
#[derive(Debug)]
pub(crate) struct Grouped {
    pub graph: GraphProto,
    pub regions: Vec<Region>,
    /// Nodes of the original graph that are needed and no part of a region.
    pub kept: Vec<usize>,
}

/// What a tensor of the original graph is made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Maker {
    Node(usize),
    Step(usize),
}

struct Grouper<'a> {
    graph: &'a GraphProto,
    facts: &'a Facts,
    found: &'a Analysis,
    producers: HashMap<&'a str, usize>,
    known: HashSet<&'a str>,
    /// Steps and nodes that something needs.
    needed: HashSet<Maker>,
    level: HashMap<Maker, usize>,
}

/// Groups what `found` found in `graph`.
pub(crate) fn group(graph: &GraphProto, facts: &Facts, found: &Analysis) -> Grouped {
    let nodes = graph.node.iter().enumerate();
    let producers = nodes.flat_map(|(i, node)| node.output.iter().map(move |name| (name.as_str(), i))).collect();
    let mut grouper = Grouper {
        graph,
        facts,
        found,
        producers,
        known: known(graph, false),
        needed: HashSet::new(),
        level: HashMap::new(),
    };
    grouper.need();
    grouper.levels();
    grouper.write()
}

impl<'a> Grouper<'a> {
    /// The value that a tensor outside of regions is, if a step makes it, and its form.
    fn stepped(&self, name: &str) -> Option<(ValueId, Form)> {
        let (id, form) = match (self.found.views.get(name), self.found.bytes.get(name)) {
            (Some(&id), _) => (id, Form::Float),
            (None, Some(&id)) => (id, Form::Bytes),
            (None, None) => (*self.found.reals.get(name)?, Form::Float),
        };
        matches!(self.found.origins.get(id), Some(Origin::Step(_))).then_some((id, form))
    }

    fn maker(&self, name: &str) -> Option<Maker> {
        if let Some((id, _)) = self.stepped(name) {
            return self.step_of(id).map(Maker::Step);
        }
        self.producers.get(name).map(|&index| Maker::Node(index))
    }

    fn step_of(&self, id: ValueId) -> Option<usize> {
        match self.found.origins.get(id)? {
            Origin::Step(step) => Some(*step),
            _ => None,
        }
    }

    /// What each maker reads: tensors of the graph outside of regions, and steps; and whether this is a way back into integers.
    fn reads(&self, maker: Maker) -> Vec<(Maker, bool)> {
        match maker {
            Maker::Node(index) => {
                let node = self.graph.node.get(index);
                let names = node.map(|node| node.input.as_slice()).unwrap_or_default();
                names.iter().filter_map(|name| Some((self.maker(name)?, false))).collect()
            }
            Maker::Step(step) => self
                .inputs(step)
                .filter_map(|id| match self.found.origins.get(id)? {
                    Origin::Step(other) => Some((Maker::Step(*other), false)),
                    Origin::Float(name) | Origin::Bytes(name) => {
                        let maker = self.maker(name)?;
                        // Constants and what follows from them alone make no way back in.
                        Some((maker, !self.known.contains(name.as_str())))
                    }
                })
                .collect(),
        }
    }

    fn inputs(&self, step: usize) -> impl Iterator<Item = ValueId> + '_ {
        self.found.steps.get(step).into_iter().flat_map(|found| found.step.inputs.iter().copied())
    }

    /// Marks what the outputs follow from.
    fn need(&mut self) {
        let mut open: Vec<Maker> = self.graph.output.iter().filter_map(|output| self.maker(&output.name)).collect();
        while let Some(maker) = open.pop() {
            if self.needed.insert(maker) {
                open.extend(self.reads(maker).into_iter().map(|(read, _)| read));
            }
        }
    }

    /// All needed makers, each after what it reads: a step stands where its last node stood.
    fn order(&self) -> Vec<Maker> {
        let last = |step: usize| self.found.steps.get(step).and_then(|found| found.nodes.last().copied()).unwrap_or(0);
        let mut order: Vec<Maker> = self.needed.iter().copied().collect();
        order.sort_by_key(|&maker| match maker {
            Maker::Node(index) => (index, 0),
            Maker::Step(step) => (last(step), 1),
        });
        order
    }

    fn levels(&mut self) {
        for maker in self.order() {
            let reads = self.reads(maker);
            let level =
                reads.iter().map(|(read, enters)| self.level.get(read).copied().unwrap_or(0) + usize::from(*enters));
            let level = level.max().unwrap_or(0);
            self.level.insert(maker, level);
        }
    }

    /// The region of each needed step: connected steps of one level.
    fn regions(&self) -> Vec<Vec<usize>> {
        let steps: Vec<usize> = self
            .order()
            .into_iter()
            .filter_map(|maker| match maker {
                Maker::Step(step) => Some(step),
                Maker::Node(_) => None,
            })
            .collect();
        let mut parent: HashMap<usize, usize> = steps.iter().map(|&step| (step, step)).collect();
        fn root(parent: &HashMap<usize, usize>, mut step: usize) -> usize {
            while let Some(&up) = parent.get(&step).filter(|&&up| up != step) {
                step = up;
            }
            step
        }
        let mut entering: HashMap<ValueId, usize> = HashMap::new();
        for &step in &steps {
            for input in self.inputs(step) {
                // Steps that read the same value from outside belong together too: it is quantised once.
                let other = match self.step_of(input) {
                    Some(other) => other,
                    None => *entering.entry(input).or_insert(step),
                };
                if self.level.get(&Maker::Step(other)) == self.level.get(&Maker::Step(step)) {
                    let (a, b) = (root(&parent, other), root(&parent, step));
                    parent.insert(a.max(b), a.min(b));
                }
            }
        }
        let mut members: Vec<(usize, Vec<usize>)> = vec![];
        for step in steps {
            let root = root(&parent, step);
            match members.iter_mut().find(|(of, _)| *of == root) {
                Some((_, members)) => members.push(step),
                None => members.push((root, vec![step])),
            }
        }
        members.into_iter().map(|(_, members)| members).collect()
    }

    /// The border that each value needs, over all regions.
    fn borders(&self) -> HashMap<ValueId, usize> {
        let mut borders = HashMap::new();
        for found in &self.found.steps {
            let (Operation::Conv(conv) | Operation::Real(conv, _), Some(&input)) =
                (&found.step.operation, found.step.inputs.first())
            else {
                continue;
            };
            if let Some(value) = self.found.values.get(input) {
                let border = borders.entry(input).or_insert(0);
                *border = conv.border(value.height, value.width).max(*border);
            }
        }
        borders
    }

    fn write(&self) -> Grouped {
        let groups = self.regions();
        let region_of: HashMap<usize, usize> = groups
            .iter()
            .enumerate()
            .flat_map(|(region, steps)| steps.iter().map(move |&step| (step, region)))
            .collect();
        let kept: Vec<usize> = self
            .order()
            .into_iter()
            .filter_map(|maker| match maker {
                Maker::Node(index) => Some(index),
                Maker::Step(_) => None,
            })
            .collect();
        let mut visible: Vec<&str> = self.graph.output.iter().map(|output| output.name.as_str()).collect();
        visible.extend(
            kept.iter()
                .filter_map(|&index| self.graph.node.get(index))
                .flat_map(|node| &node.input)
                .map(String::as_str),
        );
        // What steps read as floats or bytes though another step makes it: a reading with another scale.
        for &step in region_of.keys() {
            for input in self.inputs(step) {
                if let Some(Origin::Float(name) | Origin::Bytes(name)) = self.found.origins.get(input) {
                    visible.push(name);
                }
            }
        }
        visible.sort_unstable();
        visible.dedup();
        let short_ways = entries::find(self.graph, self.facts, self.found, &kept);
        let kept: Vec<usize> = kept
            .into_iter()
            .filter(|&index| {
                let node = self.graph.node.get(index);
                !node.and_then(|node| node.output.first()).is_some_and(|name| short_ways.contains_key(name))
            })
            .collect();
        let regions = groups.iter().enumerate();
        let mut regions: Vec<Region> =
            regions.map(|(index, steps)| self.region(index, steps, &region_of, &visible, &short_ways)).collect();
        for index in 0..regions.len() {
            join_planes(&mut regions, index);
        }
        let mut nodes: Vec<NodeProto> = kept.iter().filter_map(|&index| self.graph.node.get(index)).cloned().collect();
        nodes.extend(regions.iter().map(node));
        let nodes = sorted(nodes);
        let read: HashSet<&str> = nodes.iter().flat_map(|node| &node.input).map(String::as_str).collect();
        let needed = |name: &str| read.contains(name) || self.graph.output.iter().any(|output| output.name == name);
        let initializer = self.graph.initializer.iter().filter(|weights| needed(&weights.name)).cloned().collect();
        let graph = GraphProto {
            node: nodes,
            name: self.graph.name.clone(),
            initializer,
            input: self.graph.input.clone(),
            output: self.graph.output.clone(),
            ..GraphProto::default()
        };
        Grouped { graph, regions, kept }
    }

    fn region(
        &self,
        index: usize,
        steps: &[usize],
        region_of: &HashMap<usize, usize>,
        visible: &[&str],
        short_ways: &HashMap<String, (String, Way)>,
    ) -> Region {
        let mut region = Region {
            name: format!("region-{index}"),
            values: vec![],
            borders: vec![],
            inputs: vec![],
            steps: vec![],
            outputs: vec![],
        };
        let borders = self.borders();
        let mut local: HashMap<ValueId, ValueId> = HashMap::new();
        let mut place = |region: &mut Region, id: ValueId| -> (ValueId, bool) {
            let Some(value) = self.found.values.get(id) else { return (0, false) };
            let next = region.values.len();
            let is_new = !local.contains_key(&id);
            let at = *local.entry(id).or_insert(next);
            if is_new {
                region.values.push(value.clone());
                region.borders.push(borders.get(&id).copied().unwrap_or(0));
            }
            (at, is_new)
        };
        for found in steps.iter().filter_map(|&step| self.found.steps.get(step)) {
            let mut step = found.step.clone();
            for input in &mut step.inputs {
                let id = *input;
                let (at, is_new) = place(&mut region, id);
                *input = at;
                let origin = self.found.origins.get(id);
                let edge = match origin {
                    _ if !is_new => None,
                    Some(Origin::Step(maker)) if region_of.get(maker) == Some(&index) => None,
                    Some(Origin::Step(_)) => {
                        Some((plane(self.found.values.get(id).map_or("", |value| &value.name)), Form::Plane))
                    }
                    Some(Origin::Float(name)) => Some((name.clone(), Form::Float)),
                    Some(Origin::Bytes(name)) => Some((name.clone(), Form::Bytes)),
                    None => None,
                };
                region.inputs.extend(edge.map(|(tensor, form)| match (form, short_ways.get(&tensor)) {
                    (Form::Float, Some((from, way))) => Edge { way: way.clone(), ..Edge::new(from.clone(), form, at) },
                    _ => Edge::new(tensor, form, at),
                }));
            }
            step.output = place(&mut region, step.output).0;
            region.steps.push(step);
        }
        for &name in visible {
            let Some((id, form)) = self.stepped(name) else { continue };
            if self.step_of(id).and_then(|step| region_of.get(&step)) == Some(&index) {
                let value = place(&mut region, id).0;
                region.outputs.push(Edge::new(name.into(), form, value));
            }
        }
        let crosses = |id: &ValueId| {
            region_of.iter().any(|(&step, &other)| other != index && self.inputs(step).any(|input| input == *id))
        };
        for found in steps.iter().filter_map(|&step| self.found.steps.get(step)) {
            let id = found.step.output;
            if crosses(&id) {
                let tensor = plane(self.found.values.get(id).map_or("", |value| &value.name));
                let value = place(&mut region, id).0;
                region.outputs.push(Edge::new(tensor, Form::Plane, value));
            }
        }
        region
    }
}

/// The name of a value that crosses from region to region; no name of a file has this form.
fn plane(name: &str) -> String {
    format!("{name}\u{1f}plane")
}

/// Planes that leave a region go in one tensor: the engine allocates for nodes with more than four inputs or outputs.
fn join_planes(regions: &mut [Region], index: usize) {
    let Some(region) = regions.get_mut(index) else { return };
    let name = format!("{}\u{1f}planes", region.name);
    let layout = |region: &Region, edge: &Edge| {
        let value = region.values.get(edge.value)?;
        Layout::new(value.height, value.width, value.channels, *region.borders.get(edge.value)?).ok()
    };
    let (mut whole, mut starts) = (0, HashMap::new());
    for edge in region.outputs.iter().filter(|edge| edge.form == Form::Plane) {
        // What has no layout is refused when the region is compiled.
        let Some(layout) = layout(region, edge) else { return };
        starts.insert(edge.tensor.clone(), whole);
        whole += layout.bytes().next_multiple_of(CACHE_LINE);
    }
    let edges = regions.iter_mut().flat_map(|region| region.inputs.iter_mut().chain(&mut region.outputs));
    for edge in edges.filter(|edge| edge.form == Form::Plane) {
        if let Some(&start) = starts.get(&edge.tensor) {
            edge.tensor.clone_from(&name);
            edge.part = Some(Part { start, whole });
        }
    }
}

fn node(region: &Region) -> NodeProto {
    let names = |edges: &[Edge]| tensors(edges).into_iter().map(str::to_owned).collect();
    NodeProto {
        op_type: OPERATOR.into(),
        domain: crate::model::ila::DOMAIN.into(),
        name: region.name.clone(),
        input: names(&region.inputs),
        output: names(&region.outputs),
        ..NodeProto::default()
    }
}

/// Each node after the nodes that it reads from, otherwise in the given order.
pub(super) fn sorted(nodes: Vec<NodeProto>) -> Vec<NodeProto> {
    // A left out input or output has an empty name.
    fn named(names: &[String]) -> impl Iterator<Item = &String> {
        names.iter().filter(|name| !name.is_empty())
    }
    let made: HashSet<String> = nodes.iter().flat_map(|node| named(&node.output)).cloned().collect();
    let mut ready: HashSet<String> = HashSet::new();
    let (mut open, mut done) = (nodes, vec![]);
    while !open.is_empty() {
        let before = open.len();
        let (now, later): (Vec<_>, Vec<_>) = open.into_iter().partition(|node| {
            let is_ready = named(&node.input).all(|name| !made.contains(name) || ready.contains(name));
            if is_ready {
                ready.extend(named(&node.output).cloned());
            }
            is_ready
        });
        done.extend(now);
        open = later;
        if open.len() == before {
            // A ring, which levels rule out; the engine would refuse it.
            done.append(&mut open);
        }
    }
    done
}
