//! Times of a plan's nodes over many runs.

use std::collections::HashMap;

use serde::Serialize;
use tract_onnx::tract_hir::internal::*;

use super::engine::RunError;
use super::lowering::operator::{FloatRegion, IntegerRegion};
use super::plan::Observe;

/// One node of a plan, or one step of an integer region.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// Its name in the plan; what the engine made of a node carries that node's name in front.
    pub name: String,
    /// What it computes.
    pub operator: String,
    /// Whether it computes in integers: a step of an integer region.
    pub integer: bool,
    /// The integer kernel; `None` where there is no choice.
    pub kernel: Option<&'static str>,
    /// Median of its times, in microseconds.
    pub median_us: f64,
    /// Its part of all nodes' medians, 0…1.
    pub share: f64,
    /// Multiply-accumulates, as far as the operator tells.
    pub macs: u64,
    /// Its part of the core's peak for such arithmetic, 0…1.
    pub peak_share: f64,
    /// Nodes of the file that it stands for, where it is a region in float.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

/// What one core does at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peak {
    /// FLOP/s in float32, a multiply-add counting as two.
    pub flops: f64,
    /// Multiply-accumulates/s of bytes.
    pub integer_macs: f64,
}

#[derive(Debug)]
struct Samples {
    place: usize,
    name: String,
    operator: String,
    kernel: Option<&'static str>,
    integer: bool,
    macs: u64,
    members: Vec<String>,
    seconds: Vec<f64>,
}

/// What was seen so far, by node and step.
#[derive(Debug, Default)]
pub struct Profile {
    samples: HashMap<(usize, usize), Samples>,
}

impl Profile {
    /// Runs a network once, through `run`, which tells of each node.
    pub(crate) fn run<T>(&mut self, run: impl FnOnce(Observe) -> Result<T, RunError>) -> Result<T, RunError> {
        run(&mut |model, node, seconds, steps| {
            let region = node.op().downcast_ref::<IntegerRegion>().map(|region| region.0.as_ref());
            let Some(region) = region.filter(|region| region.runs.len() == steps.len()) else {
                self.sample((node.id, 0), seconds, || Samples {
                    place: 0,
                    name: node.name.clone(),
                    operator: node.op().name().into_owned(),
                    kernel: None,
                    integer: false,
                    macs: macs(model, node),
                    members: node.op().downcast_ref::<FloatRegion>().map_or(vec![], |region| region.0.nodes.clone()),
                    seconds: vec![],
                });
                return;
            };
            for (index, (run, &seconds)) in region.runs.iter().zip(steps).enumerate() {
                self.sample((node.id, index), seconds, || Samples {
                    place: 0,
                    name: run.name.clone(),
                    operator: run.word.into(),
                    kernel: run.kernel.map(|kernel| kernel.name()),
                    integer: true,
                    macs: run.macs,
                    members: vec![],
                    seconds: vec![],
                });
            }
        })
    }

    fn sample(&mut self, key: (usize, usize), seconds: f64, new: impl FnOnce() -> Samples) {
        let place = self.samples.len();
        self.samples.entry(key).or_insert_with(|| Samples { place, ..new() }).seconds.push(seconds);
    }

    /// The nodes in the order in which they run.
    pub fn nodes(self, peak: Peak) -> Vec<Node> {
        let mut samples: Vec<Samples> = self.samples.into_values().collect();
        samples.sort_by_key(|samples| samples.place);
        let medians: Vec<f64> = samples.iter_mut().map(|samples| median(&mut samples.seconds)).collect();
        let all: f64 = medians.iter().sum();
        let node = |(samples, median): (Samples, f64)| {
            let most = if samples.integer { peak.integer_macs } else { peak.flops / 2.0 };
            Node {
                name: samples.name,
                operator: samples.operator,
                integer: samples.integer,
                kernel: samples.kernel,
                median_us: median * 1e6,
                share: if all > 0.0 { median / all } else { 0.0 },
                macs: samples.macs,
                peak_share: if median > 0.0 { samples.macs as f64 / median / most } else { 0.0 },
                members: samples.members,
            }
        };
        samples.into_iter().zip(medians).map(node).collect()
    }
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// What the operator says that it costs; 0 where it does not say.
fn macs(model: &TypedModel, node: &TypedNode) -> u64 {
    let cost = model.node_input_facts(node.id).and_then(|facts| node.op.cost(&facts));
    let costs = cost.unwrap_or_default().into_iter();
    costs
        .filter(|(kind, _)| matches!(kind, Cost::FMA(_)))
        .filter_map(|(_, count)| count.to_i64().ok())
        .sum::<i64>()
        .max(0) as u64
}
