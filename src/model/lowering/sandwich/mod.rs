//! Finds what can run in integers: DequantizeLinear → operators → QuantizeLinear, and operators on bytes, each as one step.
//!
//! A step computes what the file says to the rounding of its last QuantizeLinear; what would not be exact is not taken. Nothing here
//! decides how steps are grouped (see `regions`).
//!
//! | module | what it knows |
//! |---|---|
//! | `ends` | QuantizeLinear and DequantizeLinear, and the way between them |
//! | `operators` | additions, products, concatenations, functions of one number |
//! | `convolutions` | convolutions, of bytes too, and those whose sums leave as numbers |
//! | `resampling` | Resize, pooling, means |
//! | `leftovers` | what was not taken, and why |

mod convolutions;
mod ends;
mod leftovers;
mod operators;
mod resampling;

use std::collections::{HashMap, HashSet};

use milad_kernels::int8::{Kernel, Quantisation};
use tract_onnx::pb::{GraphProto, NodeProto};

use super::program::{Operation, Step, Value, ValueId};
use super::weights::Reader;
use super::{Refusal, compile, tables};
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
    /// Float tensors that a step makes without quantising them. Of their value only the size means anything.
    pub reals: HashMap<String, ValueId>,
    /// Nodes between quantised tensors that are no step, and why.
    pub float: Vec<(usize, String)>,
}

/// Looks through `graph`, whose nodes are in order.
pub(crate) fn analyse(graph: &GraphProto, facts: &Facts, kernel: Kernel) -> Result<Analysis, Refusal> {
    let mut finder = Finder::new(graph, facts, kernel);
    for index in 0..graph.node.len() {
        finder.node(index)?;
    }
    finder.reals()?;
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

    /// Nodes that a step stands for.
    fn taken(&self) -> HashSet<usize> {
        self.found.steps.iter().flat_map(|found| found.nodes.iter().copied()).collect()
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
