//! Times of a plan's nodes over many runs.

use std::collections::HashMap;

use serde::Serialize;
use tract_onnx::tract_hir::internal::*;

use super::engine::RunError;

/// One node of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// Its name in the plan; what the engine made of a node carries that node's name in front.
    pub name: String,
    /// What it computes.
    pub operator: String,
    /// Median of its times, in microseconds.
    pub median_us: f64,
    /// Its part of all nodes' medians, 0…1.
    pub share: f64,
    /// Multiply-accumulates, as far as the operator tells.
    pub macs: u64,
    /// Its part of the core's peak, 0…1.
    pub peak_share: f64,
}

#[derive(Debug)]
struct Samples {
    place: usize,
    name: String,
    operator: String,
    macs: u64,
    seconds: Vec<f64>,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Profile {
    samples: HashMap<usize, Samples>,
}

impl Profile {
    /// Runs a network once, through `run`, which tells of each node.
    pub(crate) fn run<T>(
        &mut self,
        run: impl FnOnce(&mut dyn FnMut(&TypedModel, &TypedNode, f64)) -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        run(&mut |model, node, seconds| {
            let place = self.samples.len();
            let samples = self.samples.entry(node.id).or_insert_with(|| Samples {
                place,
                name: node.name.clone(),
                operator: node.op().name().into_owned(),
                macs: macs(model, node),
                seconds: vec![],
            });
            samples.seconds.push(seconds);
        })
    }

    /// The nodes in the order in which they run.
    pub fn nodes(self, peak_flops: f64) -> Vec<Node> {
        let mut samples: Vec<Samples> = self.samples.into_values().collect();
        samples.sort_by_key(|samples| samples.place);
        let medians: Vec<f64> = samples.iter_mut().map(|samples| median(&mut samples.seconds)).collect();
        let all: f64 = medians.iter().sum();
        let node = |(samples, median): (Samples, f64)| Node {
            name: samples.name,
            operator: samples.operator,
            median_us: median * 1e6,
            share: if all > 0.0 { median / all } else { 0.0 },
            macs: samples.macs,
            peak_share: if median > 0.0 { 2.0 * samples.macs as f64 / median / peak_flops } else { 0.0 },
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
