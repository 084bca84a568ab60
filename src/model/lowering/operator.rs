//! Regions as nodes of the engine's plan.
//!
//! The plan hands them tensors and gets tensors back, which are used again as soon as nobody else holds them.

use std::sync::Arc;

use milad_kernels::int8::Layout;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::tract_smallvec::SmallVec;
use tract_onnx::tract_hir::internal::*;

use super::compile::{Compiled, Port};
use super::execute::{Arena, Incoming, Outgoing, execute};
use super::program::Form;
use super::{OPERATOR, float};
use crate::model::kept::{Kept, slice_mut};

/// Teaches the engine's ONNX reader the operators: a place for what [`settle`] puts there.
pub(crate) fn register(onnx: &mut tract_onnx::Onnx) {
    onnx.op_register.insert(OPERATOR, build);
    onnx.op_register.insert(float::OPERATOR, build);
}

fn build(_context: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Unsettled { name: node.name.clone(), outputs: node.output.len() }), vec![]))
}

/// Puts regions where their nodes are.
pub(crate) fn settle(
    model: &mut InferenceModel,
    integer: &[Arc<Compiled>],
    floats: &[Arc<float::Region>],
) -> TractResult<()> {
    for node in model.nodes_mut().iter_mut().filter(|node| node.op.name() == REGION) {
        // The reader is given plain functions, so what a node stands for comes by its name.
        let name = &node.name;
        let integer = integer.iter().find(|region| region.name == *name).cloned().map(Part::Integer);
        let part = integer.or_else(|| floats.iter().find(|region| region.name == *name).cloned().map(Part::Float));
        node.op = expand(Imported(part.with_context(|| format!("no region `{name}`"))?));
    }
    Ok(())
}

/// What the engine calls either kind of region before it has a plan.
const REGION: &str = "Region";

/// As it stands in the lowered graph.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unsettled {
    name: String,
    outputs: usize,
}

impl Expansion for Unsettled {
    fn name(&self) -> StaticName {
        REGION.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs)
    }

    fn runs_out_of_plan(&self) -> bool {
        false
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        _s: &mut Solver<'r>,
        _inputs: &'p [TensorProxy],
        _outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        bail!("region {} was never settled", self.name)
    }

    fn wire(&self, _prefix: &str, _model: &mut TypedModel, _inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        bail!("region {} was never settled", self.name)
    }
}

/// Either kind of region.
#[derive(Debug, Clone)]
enum Part {
    Integer(Arc<Compiled>),
    Float(Arc<float::Region>),
}

impl Part {
    /// What its inputs and its outputs look like to the engine.
    fn facts(&self) -> TractResult<[Vec<TypedFact>; 2]> {
        match self {
            Part::Integer(region) => {
                let facts = |ports: &[Port]| slots(ports).map(|port| fact(region, port)).collect::<TractResult<_>>();
                Ok([facts(&region.inputs)?, facts(&region.outputs)?])
            }
            Part::Float(region) => Ok([
                region.inputs.iter().map(|(_, shape)| f32::fact(shape)).collect(),
                region.outputs.iter().map(|output| f32::fact(&output.shape)).collect(),
            ]),
        }
    }
}

/// With its region.
#[derive(Debug, Clone)]
struct Imported(Part);

impl PartialEq for Imported {
    fn eq(&self, other: &Imported) -> bool {
        match (&self.0, &other.0) {
            (Part::Integer(a), Part::Integer(b)) => Arc::ptr_eq(a, b),
            (Part::Float(a), Part::Float(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Imported {}

impl Expansion for Imported {
    fn name(&self) -> StaticName {
        REGION.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.facts()?[1].len())
    }

    fn runs_out_of_plan(&self) -> bool {
        false
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for (facts, proxies) in self.0.facts()?.into_iter().zip([inputs, outputs]) {
            for (fact, proxy) in facts.iter().zip(proxies) {
                s.equals(&proxy.datum_type, fact.datum_type)?;
                s.equals(&proxy.shape, fact.shape.to_tvec())?;
            }
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        match &self.0 {
            Part::Integer(region) => model.wire_node(prefix, IntegerRegion(region.clone()), inputs),
            Part::Float(region) => model.wire_node(prefix, FloatRegion(region.clone()), inputs),
        }
    }
}

/// The first port of each tensor, in the order of the node's inputs or outputs.
fn slots(ports: &[Port]) -> impl Iterator<Item = &Port> {
    let mut next = 0;
    ports.iter().filter(move |port| {
        let is_first = port.slot == next;
        next += usize::from(is_first);
        is_first
    })
}

fn layout<'a>(region: &'a Compiled, port: &Port) -> TractResult<(&'a Layout, bool)> {
    let map = region.maps.get(port.map).with_context(|| format!("no map of `{}`", port.tensor))?;
    Ok((&map.layout, map.signed))
}

/// What a tensor at the edge looks like to the engine.
fn fact(region: &Compiled, port: &Port) -> TractResult<TypedFact> {
    if let Some(part) = port.part {
        return Ok(u8::fact([part.whole]));
    }
    let (layout, signed) = layout(region, port)?;
    let shape = [1, port.planes.unwrap_or(layout.channels()), layout.height(), layout.width()];
    Ok(match port.form {
        Form::Float => f32::fact(shape),
        Form::Picture => u8::fact([layout.height(), layout.width(), 4]),
        Form::Bytes if signed => i8::fact(shape),
        Form::Bytes => u8::fact(shape),
        Form::Plane => u8::fact([layout.bytes()]),
    })
}

/// The node in a plan.
#[derive(Debug, Clone)]
pub(crate) struct IntegerRegion(pub Arc<Compiled>);

impl PartialEq for IntegerRegion {
    fn eq(&self, other: &IntegerRegion) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for IntegerRegion {}

impl Op for IntegerRegion {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let steps = self.0.runs.iter().map(|run| format!("{} {}", run.word, run.name));
        Ok(steps.collect())
    }

    op_as_typed_op!();
}

impl EvalOp for IntegerRegion {
    not_out_of_plan!();

    fn state(&self, _context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(RegionState { arena: None, outputs: Kept::default(), times: None })))
    }
}

impl TypedOp for IntegerRegion {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        slots(&self.0.outputs).map(|port| fact(&self.0, port)).collect()
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        let macs: u64 = self.0.runs.iter().map(|run| run.macs).sum();
        Ok(tvec!((Cost::FMA(DatumType::I32), macs.to_dim())))
    }
}

/// What a running plan keeps of one region between frames.
#[derive(Debug)]
pub(crate) struct RegionState {
    /// `None` until the first use.
    arena: Option<Arena>,
    outputs: Kept,
    /// Seconds of each of the region's runs, last time; `None` while nobody asks.
    pub times: Option<Vec<f64>>,
}

impl Clone for RegionState {
    fn clone(&self) -> RegionState {
        RegionState { arena: None, outputs: Kept::default(), times: None }
    }
}

/// What comes in by a port.
fn incoming<'a>(region: &Compiled, port: &Port, inputs: &'a [TValue]) -> TractResult<Incoming<'a>> {
    let input = inputs.get(port.slot).context("expected more inputs")?;
    let plain = input.try_as_plain_ram()?;
    Ok(match (port.form, input.datum_type(), port.part) {
        (Form::Float, ..) => Incoming::Float(plain.as_slice::<f32>()?),
        (_, DatumType::I8, _) => Incoming::Signed(plain.as_slice::<i8>()?),
        (.., None) => Incoming::Bytes(plain.as_slice::<u8>()?),
        (.., Some(part)) => {
            let bytes = plain.as_slice::<u8>()?.get(part.start..).context("a part lies outside")?;
            Incoming::Bytes(bytes.get(..layout(region, port)?.0.bytes()).context("a part lies outside")?)
        }
    })
}

/// What goes out, port by port. Parts of one tensor follow on each other.
fn outgoing<'a>(region: &Compiled, outputs: &'a mut Kept) -> TractResult<SmallVec<[Outgoing<'a>; 8]>> {
    let mut tensors = outputs.tensors();
    let (mut rest, mut at): (&mut [u8], usize) = (&mut [], 0);
    let mut outgoing = SmallVec::new();
    for port in &region.outputs {
        let Some(part) = port.part else {
            let output = tensors.next().context("no output")??;
            outgoing.push(match (port.form, output.datum_type()) {
                (Form::Float, _) => Outgoing::Float(slice_mut(output)?),
                (Form::Plane | Form::Picture, _) => Outgoing::Plane(slice_mut(output)?),
                (Form::Bytes, DatumType::I8) => Outgoing::Signed(slice_mut(output)?),
                (Form::Bytes, _) => Outgoing::Bytes(slice_mut(output)?),
            });
            continue;
        };
        if part.start == 0 {
            (rest, at) = (slice_mut(tensors.next().context("no output")??)?, 0);
        }
        let skipped = part.start.checked_sub(at).context("parts out of order")?;
        let (_, mine) = std::mem::take(&mut rest).split_at_mut_checked(skipped).context("a part lies outside")?;
        let length = layout(region, port)?.0.bytes();
        let (mine, after) = mine.split_at_mut_checked(length).context("a part lies outside")?;
        (rest, at) = (after, part.start + length);
        outgoing.push(Outgoing::Plane(mine));
    }
    Ok(outgoing)
}

impl OpState for RegionState {
    fn eval(&mut self, _context: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let op =
            op.downcast_ref::<IntegerRegion>().with_context(|| format!("expected {OPERATOR}, found {}", op.name()))?;
        let region = &*op.0;
        let port = |index: usize| slots(&region.outputs).nth(index).context("no such output");
        self.outputs.refresh(slots(&region.outputs).count(), |index| fact(region, port(index)?))?;
        if self.arena.is_none() {
            self.arena = Some(Arena::new(region)?);
        }
        let arena = self.arena.as_mut().context("no memory")?;
        let incoming = region.inputs.iter().map(|port| incoming(region, port, &inputs));
        let incoming = incoming.collect::<TractResult<SmallVec<[Incoming; 8]>>>()?;
        let mut outgoing = outgoing(region, &mut self.outputs)?;
        match &mut self.times {
            None => execute(region, arena, &incoming, &mut outgoing, |_| {})?,
            Some(times) => {
                times.clear();
                let mut start = std::time::Instant::now();
                execute(region, arena, &incoming, &mut outgoing, |_| {
                    let now = std::time::Instant::now();
                    times.push((now - start).as_secs_f64());
                    start = now;
                })?;
            }
        }
        drop(outgoing);
        Ok(self.outputs.values())
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}

/// A region in float as a node in a plan.
#[derive(Debug, Clone)]
pub(crate) struct FloatRegion(pub Arc<float::Region>);

impl PartialEq for FloatRegion {
    fn eq(&self, other: &FloatRegion) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for FloatRegion {}

impl Op for FloatRegion {
    fn name(&self) -> StaticName {
        float::OPERATOR.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(self.0.nodes.clone())
    }

    op_as_typed_op!();
}

impl EvalOp for FloatRegion {
    not_out_of_plan!();

    fn state(&self, _context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(FloatState::default())))
    }
}

impl TypedOp for FloatRegion {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.0.outputs.iter().map(|output| f32::fact(&output.shape)).collect())
    }
}

/// What a running plan keeps of a region in float.
#[derive(Debug, Default)]
struct FloatState {
    /// Empty until the first use.
    block: Vec<f32>,
    outputs: Kept,
}

impl Clone for FloatState {
    fn clone(&self) -> FloatState {
        FloatState::default()
    }
}

impl OpState for FloatState {
    fn eval(&mut self, _context: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let op = op.downcast_ref::<FloatRegion>();
        let region = &*op.with_context(|| format!("expected {}", float::OPERATOR))?.0;
        if self.block.is_empty() {
            self.block = region.block();
        }
        let output = |index: usize| region.outputs.get(index).context("no such output");
        self.outputs.refresh(region.outputs.len(), |index| Ok(f32::fact(&output(index)?.shape)))?;
        let incoming = inputs.iter().map(|input| input.try_as_plain_ram()?.as_slice::<f32>());
        let incoming = incoming.collect::<TractResult<SmallVec<[&[f32]; 8]>>>()?;
        let outgoing = self.outputs.tensors().map(|tensor| slice_mut(tensor?));
        let outgoing = outgoing.collect::<TractResult<SmallVec<[&mut [f32]; 8]>>>()?;
        region.run(&incoming, &mut self.block, outgoing.into_iter()).context("a tensor is shorter than expected")?;
        Ok(self.outputs.values())
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
