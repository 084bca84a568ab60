//! `InterFrameLocalAttention` as an operator of the inference engine.
//!
//! The engine plans it like any other node; the arithmetic is [`milad_kernels::ila`]. Keys and values change once per keyframe
//! and are packed then, not on every frame: the operator keeps hold of the tensors that it packed, and a tensor that is still
//! the same allocation is not packed again. That works because the memory inputs reach it untouched (see [`super::hoist`]).

mod attributes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use milad_kernels::cpu::Isa;
use milad_kernels::ila::{Attention, Shape};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::error::Complaint;
use super::kept::{Kept, slice_mut};
pub(crate) use attributes::Attributes;

/// The operator's domain.
pub(crate) const DOMAIN: &str = "ai.milad";
/// The operator's type.
pub(crate) const OPERATOR: &str = "InterFrameLocalAttention";

/// The engine's ONNX reader with this operator in it.
pub(crate) fn onnx() -> tract_onnx::Onnx {
    let mut onnx = tract_onnx::onnx();
    onnx.op_register.insert(OPERATOR, build);
    onnx
}

fn build(_context: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Imported(Attributes::read(node)?)), vec![]))
}

/// The node as it stands in the file, before its shapes are known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Imported(Attributes);

impl Expansion for Imported {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.output_count())
    }

    fn runs_out_of_plan(&self) -> bool {
        false
    }

    // Only what the outputs look like: inputs that do not fit together are refused in `wire`, in words of our own.
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let [q, _, v, ..] = inputs else { bail!("expected the inputs q, k and v") };
        for (index, output) in outputs.iter().enumerate() {
            s.equals(&output.datum_type, DatumType::F32)?;
            s.equals(&output.rank, 4)?;
            s.equals(&output.shape[0], 1.to_dim())?;
            match index {
                0 => s.equals(&output.shape[1], &v.shape[1])?,
                _ => s.equals(&output.shape[1], self.0.heads.to_dim())?,
            }
            s.equals(&output.shape[2], &q.shape[2])?;
            s.equals(&output.shape[3], &q.shape[3])?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let facts = inputs.iter().map(|&input| model.outlet_fact(input)).collect::<TractResult<TVec<_>>>()?;
        let geometry = self.0.geometry(&facts)?;
        // Constants stay with the node: the engine allocates for one with more than four inputs.
        let mut fed: TVec<OutletId> = inputs.iter().take(3).copied().collect();
        let mut parameter = |index: Option<usize>| -> TractResult<Parameter> {
            let Some(index) = index else { return Ok(Parameter::Absent) };
            let (fact, input) = facts.get(index).zip(inputs.get(index)).context("an input is missing")?;
            Ok(match &fact.konst {
                Some(numbers) => Parameter::Constant(numbers.clone()),
                None => {
                    fed.push(*input);
                    Parameter::Input(fed.len() - 1)
                }
            })
        };
        let (bias, null) = (parameter(self.0.bias)?, parameter(self.0.null)?);
        let valid = parameter(self.0.valid)?;
        drop(facts);
        model.wire_node(prefix, Ila { geometry, attributes: self.0.clone(), bias, null, valid }, &fed)
    }
}

/// Sizes of one node, all known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    pub query_channels: usize,
    pub value_channels: usize,
    pub height: usize,
    pub width: usize,
    pub keyframes: usize,
}

/// An input that may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Parameter {
    Absent,
    /// Which input of the node in the plan.
    Input(usize),
    /// The same on every frame.
    Constant(Arc<Tensor>),
}

impl Parameter {
    fn numbers<'a>(&'a self, inputs: &'a [TValue]) -> TractResult<Option<&'a [f32]>> {
        let tensor: &Tensor = match self {
            Parameter::Absent => return Ok(None),
            Parameter::Input(index) => inputs.get(*index).context("an input is missing")?,
            Parameter::Constant(numbers) => numbers,
        };
        Ok(Some(tensor.try_as_plain_ram()?.as_slice::<f32>()?))
    }
}

/// The node in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ila {
    pub attributes: Attributes,
    pub geometry: Geometry,
    bias: Parameter,
    null: Parameter,
    valid: Parameter,
}

impl Ila {
    fn attention(&self) -> TractResult<Attention> {
        let Geometry { query_channels, value_channels, height, width, keyframes } = self.geometry;
        let Attributes { heads, radius, .. } = self.attributes;
        let shape = Shape { heads, query_channels, value_channels, height, width, keyframes, radius };
        Attention::new(Isa::selected(), shape, self.attributes.scale()).map_err(|reason| {
            let complaint = Complaint {
                node: self.attributes.node.clone(),
                tensor: "q, k, v".into(),
                expected: "shapes that the kernel can work on".into(),
                found: reason.to_string(),
            };
            TractError::new(complaint)
        })
    }

    /// The name of the kernel that it runs on.
    pub fn kernel_name(&self) -> TractResult<&'static str> {
        Ok(self.attention()?.kernel_name())
    }
}

impl Op for Ila {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?} {:?}", self.attributes, self.geometry)])
    }

    op_as_typed_op!();
}

impl EvalOp for Ila {
    not_out_of_plan!();

    fn state(&self, _context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(IlaState {
            attention: Some(self.attention()?),
            packed: None,
            packs: 0,
            outputs: Kept::default(),
        })))
    }
}

impl TypedOp for Ila {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok((0..self.attributes.output_count()).map(|index| self.output_fact(index)).collect())
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(tvec!((Cost::FMA(DatumType::F32), self.macs().to_dim())))
    }
}

impl Ila {
    fn output_fact(&self, index: usize) -> TypedFact {
        let Geometry { value_channels, height, width, .. } = self.geometry;
        f32::fact([1, if index == 0 { value_channels } else { self.attributes.heads }, height, width])
    }

    /// (2r+1)²·(Cq+Cv)·H·W·T.
    pub fn macs(&self) -> u64 {
        self.attributes.macs(&self.geometry)
    }
}

/// What a running plan keeps of one node between frames.
pub(crate) struct IlaState {
    /// `None` after a clone, until the first use.
    attention: Option<Attention>,
    /// The key and value tensors that are packed.
    packed: Option<[TValue; 2]>,
    /// How many keyframe slots were packed so far.
    pub packs: u64,
    outputs: Kept,
}

impl std::fmt::Debug for IlaState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IlaState").field("packs", &self.packs).finish_non_exhaustive()
    }
}

impl Clone for IlaState {
    fn clone(&self) -> IlaState {
        IlaState { attention: None, packed: None, packs: 0, outputs: Kept::default() }
    }
}

impl OpState for IlaState {
    fn eval(&mut self, _context: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let op = op.downcast_ref::<Ila>().with_context(|| format!("expected {OPERATOR}, found {}", op.name()))?;
        let Geometry { query_channels, value_channels, height, width, keyframes } = op.geometry;
        let attributes = &op.attributes;
        if self.attention.is_none() {
            self.attention = Some(op.attention()?);
        }
        let attention = self.attention.as_mut().context("no kernel")?;
        let [q, k, v, ..] = &*inputs else { bail!("expected q, k and v, found {} inputs", inputs.len()) };
        if !matches!(&self.packed, Some([key, value]) if same(key, k) && same(value, v)) {
            // Forgotten first: half a packing must not pass for a whole one after an error.
            self.packed = None;
            let (keys, values) = (k.try_as_plain_ram()?.as_slice::<f32>()?, v.try_as_plain_ram()?.as_slice::<f32>()?);
            let area = height * width;
            let slots = keys.chunks_exact(query_channels * area).zip(values.chunks_exact(value_channels * area));
            let mut count = 0;
            for (slot, (key, value)) in slots.enumerate().take(keyframes) {
                attention.pack(slot, key, value)?;
                count += 1;
            }
            ensure!(count == keyframes, "expected {keyframes} keyframes in k and v, found {count}");
            self.packs += count as u64;
            self.packed = Some([k.clone(), v.clone()]);
        }
        self.outputs.refresh(attributes.output_count(), |index| Ok(op.output_fact(index)))?;
        let mut outputs = self.outputs.tensors();
        let y = slice_mut(outputs.next().context("no output")??)?;
        let mut side = |wanted: Option<usize>| -> TractResult<Option<&mut [f32]>> {
            wanted.and_then(|_| outputs.next()).transpose()?.map(slice_mut).transpose()
        };
        // In the order of the file: confidence before border, where they are.
        let (confidence, border) = (side(attributes.confidence)?, side(attributes.border)?);
        attention.run(
            q.try_as_plain_ram()?.as_slice::<f32>()?,
            op.bias.numbers(&inputs)?,
            op.null.numbers(&inputs)?,
            op.valid.numbers(&inputs)?,
            y,
            confidence,
            border,
        )?;
        drop(outputs);
        Ok(self.outputs.values())
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        self.packed = None;
        Ok(())
    }
}

/// Whether two values are one allocation. The state holds what it packed, so an address cannot be handed out again meanwhile.
fn same(a: &TValue, b: &TValue) -> bool {
    std::ptr::eq::<Tensor>(&**a, &**b)
}
