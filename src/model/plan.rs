//! A network ready to run: the engine's plan with the state that it reuses from frame to frame.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::engine::{RunError, Values};
use super::error::BundleError;
use super::lowering::Lowered;
use super::lowering::operator::{self, IntegerRegion, RegionState};
use super::lowering::picture::{self, Picture};
use super::onnx::Network;

/// Optimises a lowered graph of `network`; everything that the engine can refuse, it refuses here.
pub(crate) fn optimise(
    network: &Network,
    lowered: Lowered,
    onnx: &tract_onnx::Onnx,
    picture: &Picture,
) -> Result<TypedModel, BundleError> {
    let proto = network.with_graph(lowered.graph);
    let model = onnx.model_for_proto_model(&proto).and_then(|mut model| {
        operator::settle(&mut model, &lowered.regions, &lowered.floats)?;
        picture::settle(&mut model, picture);
        model.into_optimized()
    });
    model.map_err(|error| BundleError::engine(&network.file, error))
}

/// Who is told of every node: the model, the node, the seconds that it took, and those of each step of an integer region.
pub(crate) type Observe<'a> = &'a mut dyn FnMut(&TypedModel, &TypedNode, f64, &[f64]);

/// One network's plan and state.
#[derive(Debug)]
pub(crate) struct Plan {
    name: &'static str,
    pub(crate) state: TypedSimpleState,
}

impl Plan {
    /// `name` is `fast`, `slow` or `prelude`, for messages.
    pub fn new(name: &'static str, model: TypedModel, threads: usize) -> TractResult<Plan> {
        if threads > 1 {
            // One pool for all regions: they run one after the other.
            let name = move |index| format!("milad-{name}-{index}");
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build()?;
            let pool = Arc::new(pool);
            for region in model.nodes().iter().filter_map(|node| node.op().downcast_ref::<IntegerRegion>()) {
                // Set before: the same bundle was made ready once already, and keeps its pool.
                let _ = region.0.pool.set(pool.clone());
            }
        }
        let options = RunOptions { executor: executor(threads), ..RunOptions::default() };
        let plan: Arc<TypedRunnableModel> = model.into_runnable_with_options(&options)?;
        Ok(Plan { name, state: plan.spawn()? })
    }

    /// Runs it. After a failure the next run starts afresh.
    pub fn run(&mut self, inputs: Values) -> Result<Values, RunError> {
        let outcome = self.feed(inputs).and_then(|()| self.state.exec()).and_then(|()| self.outputs());
        self.settle(outcome)
    }

    /// Runs it and tells `observe` of each node: the plan's model, the node, the seconds that it took.
    pub fn run_timed(&mut self, inputs: Values, observe: Observe) -> Result<Values, RunError> {
        let plan = self.state.plan().clone();
        let fed = self.feed(inputs);
        let outcome = fed.and_then(|()| {
            self.state.exec_plan_with_eval(|context, mut state, node, inputs| {
                if let Some(region) = state.as_mut().and_then(|state| state.downcast_mut::<RegionState>()) {
                    region.times.get_or_insert_default();
                }
                let start = std::time::Instant::now();
                let outputs = tract_onnx::tract_core::plan::eval(context, state.as_deref_mut(), node, inputs);
                let seconds = start.elapsed().as_secs_f64();
                let region = state.and_then(|state| state.downcast_mut::<RegionState>());
                let steps = region.and_then(|region| region.times.take()).unwrap_or_default();
                observe(plan.model(), node, seconds, &steps);
                outputs
            })
        });
        let outcome = outcome.and_then(|()| self.outputs());
        self.settle(outcome)
    }

    /// One by one: the engine's own lists of inputs and outputs allocate from five on.
    fn feed(&mut self, inputs: Values) -> TractResult<()> {
        let expected = self.state.model().inputs.len();
        ensure!(inputs.len() == expected, "expected {expected} inputs, found {}", inputs.len());
        inputs.into_iter().enumerate().try_for_each(|(index, value)| self.state.set_input(index, value))
    }

    fn outputs(&mut self) -> TractResult<Values> {
        let count = self.state.model().outputs.len();
        let outputs = (0..count).map(|index| self.state.output(index).cloned()).collect::<TractResult<Values>>()?;
        self.state.reset_turn()?;
        Ok(outputs)
    }

    fn settle(&mut self, outcome: TractResult<Values>) -> Result<Values, RunError> {
        outcome.map_err(|error| {
            // What was computed so far must not keep pictures and memory alive.
            let _ = self.state.reset_turn();
            let words: Vec<_> = error.chain().map(|cause| cause.to_string()).collect();
            RunError { network: self.name, reason: words.join(": ") }
        })
    }
}

/// A pool of the engine's own: it splits matrix products by output panels, so every number is summed in one order
/// whatever the number of threads. `None`: everything on the calling thread.
fn executor(threads: usize) -> Option<multithread::Executor> {
    (threads > 1).then(|| multithread::Executor::multithread_with_name(threads, "milad-engine"))
}
