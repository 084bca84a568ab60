//! Stops the engine from computing large constants while it infers shapes: it evaluates every node whose inputs are constants,
//! weights included, and looks at the result's size only afterwards. Never part of a network that runs.

use tract_onnx::tract_hir::internal::*;

use super::error::Complaint;
use super::facts::{MAX_TENSOR_BYTES, bytes};
use super::onnx::words;

/// Elements of the largest tensor whose values may decide another's shape: shapes, axes and bounds of slices are far smaller. Weights
/// are larger, and dequantising each of them was a third of the time that loading took.
const MAX_COMPUTED: usize = 1024;

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

fn volume(shape: &[usize]) -> usize {
    shape.iter().fold(1, |volume, &side| volume.saturating_mul(side))
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
        let inferred = self.op.infer_facts(inputs.clone(), outputs.clone(), observed.clone())?;
        let mut large = !inferred.1.is_empty();
        for fact in &inferred.1 {
            large &= fact.shape.as_concrete_finite()?.is_some_and(|shape| volume(&shape) > MAX_COMPUTED);
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
        if large { Ok(inferred) } else { self.op.infer(inputs, outputs, observed) }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives zeros of its input's shape, and says when it computes them.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Loud;

    impl Op for Loud {
        fn name(&self) -> StaticName {
            "Loud".into()
        }

        not_a_typed_op!();
    }

    impl EvalOp for Loud {
        fn eval_out_of_plan(&self, _inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
            bail!("computed")
        }
    }

    impl InferenceRulesOp for Loud {
        fn rules<'r, 'p: 'r, 's: 'r>(
            &'s self,
            solver: &mut Solver<'r>,
            inputs: &'p [TensorProxy],
            outputs: &'p [TensorProxy],
        ) -> InferenceResult {
            solver.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
            solver.equals(&outputs[0].shape, &inputs[0].shape)
        }

        as_op!();
    }

    fn inferred(side: usize) -> TractResult<TVec<InferenceFact>> {
        let constant = InferenceFact::from(Tensor::zero::<f32>(&[side])?);
        let mut guarded = Guarded { node: "loud".into(), op: Box::new(Loud) };
        let unknown = InferenceFact::default();
        Ok(guarded.infer(tvec![&constant], tvec![&unknown], tvec![])?.1)
    }

    #[test]
    fn what_may_be_a_shape_is_computed_and_weights_are_not() {
        let small = inferred(MAX_COMPUTED).unwrap_err();
        assert_eq!(small.root_cause().to_string(), "computed");
        let large = inferred(MAX_COMPUTED + 1).unwrap();
        assert_eq!(large[0].shape.as_concrete_finite().unwrap().unwrap().as_slice(), [MAX_COMPUTED + 1]);
        assert!(large[0].value.concretize().is_none());
    }
}
