//! Stops the engine from computing large constants while it infers shapes: it evaluates every node whose inputs are constants,
//! and looks at the result's size only afterwards. Never part of a network that runs.

use tract_onnx::tract_hir::internal::*;

use super::error::Complaint;
use super::facts::{MAX_TENSOR_BYTES, bytes};
use super::onnx::words;

/// Puts a guard around each node of `model`, which then serves for inference alone.
pub(crate) fn guard(model: &mut InferenceModel) {
    for node in model.nodes_mut() {
        // What has no inputs is a source or a constant from the file.
        if !node.inputs.is_empty() {
            let guarded = Guarded { node: node.name.clone(), op: node.op.clone() };
            node.op = Box::new(guarded);
        }
    }
}

/// An operator that is asked for its outputs' shapes before it may evaluate anything.
#[derive(Debug, Clone)]
struct Guarded {
    node: String,
    op: Box<dyn InferenceOp>,
}

impl PartialEq for Guarded {
    // The engine compares operators to merge them, which inference does not do.
    fn eq(&self, _other: &Guarded) -> bool {
        false
    }
}

impl Eq for Guarded {}

impl Op for Guarded {
    fn name(&self) -> StaticName {
        self.op.name()
    }

    not_a_typed_op!();
}

impl EvalOp for Guarded {
    not_out_of_plan!();
}

impl InferenceOp for Guarded {
    fn infer(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        let (_, given, _) = self.op.infer_facts(inputs.clone(), outputs.clone(), observed.clone())?;
        for fact in &given {
            let (Some(datum), Some(shape)) = (fact.datum_type(), fact.shape.as_concrete_finite()?) else { continue };
            let found = bytes(datum, &shape);
            if found > MAX_TENSOR_BYTES {
                return Err(TractError::new(Complaint {
                    node: self.node.clone(),
                    tensor: "output".into(),
                    expected: format!("at most {MAX_TENSOR_BYTES} bytes"),
                    found: format!("{found} bytes, {}", words(datum, &shape)),
                }));
            }
        }
        self.op.infer(inputs, outputs, observed)
    }

    fn observe_outlets(&self, model: &InferenceModel, node: &InferenceNode) -> TractResult<Vec<OutletId>> {
        self.op.observe_outlets(model, node)
    }

    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        self.op.infer_facts(inputs, outputs, observed)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.op.nboutputs()
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }
}
