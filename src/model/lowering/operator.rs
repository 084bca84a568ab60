//! A region as a node of the engine's plan.
//!
//! The plan hands it float tensors and gets float tensors back. What goes out is allocated once and used again as soon as nobody else holds it.

use std::sync::Arc;

use milad_kernels::int8::Layout;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::compile::{Compiled, Port};
use super::execute::{Arena, Incoming, Outgoing, execute};
use super::program::Form;
use super::{INDEX, OPERATOR};

/// Teaches the engine's ONNX reader the operator: a place for what [`settle`] puts there.
pub(crate) fn register(onnx: &mut tract_onnx::Onnx) {
    onnx.op_register.insert(OPERATOR, build);
}

fn build(_context: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let index = usize::try_from(Attributes(node).integer(INDEX, -1)).context("a region without a number")?;
    Ok((expand(Unsettled { index, outputs: node.output.len() }), vec![]))
}

/// Puts `regions` where their nodes are.
pub(crate) fn settle(model: &mut InferenceModel, regions: &[Arc<Compiled>]) -> TractResult<()> {
    for node in model.nodes_mut().iter_mut().filter(|node| node.op.name() == OPERATOR) {
        // The reader is given plain functions, so what a node stands for comes by its name.
        let region = regions.iter().find(|region| node.name == region.name);
        node.op = expand(Imported(region.with_context(|| format!("no region `{}`", node.name))?.clone()));
    }
    Ok(())
}

/// As it stands in the lowered graph.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unsettled {
    index: usize,
    outputs: usize,
}

impl Expansion for Unsettled {
    fn name(&self) -> StaticName {
        OPERATOR.into()
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
        bail!("region {} was never settled", self.index)
    }

    fn wire(&self, _prefix: &str, _model: &mut TypedModel, _inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        bail!("region {} was never settled", self.index)
    }
}

/// With its region.
#[derive(Debug, Clone)]
struct Imported(Arc<Compiled>);

impl PartialEq for Imported {
    fn eq(&self, other: &Imported) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Imported {}

impl Expansion for Imported {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.outputs.len())
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
        for (ports, proxies) in [(&self.0.inputs, inputs), (&self.0.outputs, outputs)] {
            for (port, proxy) in ports.iter().zip(proxies) {
                let fact = fact(&self.0, port)?;
                s.equals(&proxy.datum_type, fact.datum_type)?;
                s.equals(&proxy.shape, fact.shape.to_tvec())?;
            }
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, IntegerRegion(self.0.clone()), inputs)
    }
}

fn layout<'a>(region: &'a Compiled, port: &Port) -> TractResult<(&'a Layout, bool)> {
    let map = region.maps.get(port.map).with_context(|| format!("no map of `{}`", port.tensor))?;
    Ok((&map.layout, map.signed))
}

/// What a tensor at the edge looks like to the engine.
fn fact(region: &Compiled, port: &Port) -> TractResult<TypedFact> {
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
        Ok(Some(Box::new(RegionState { arena: None, outputs: vec![], times: None })))
    }
}

impl TypedOp for IntegerRegion {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.outputs.iter().map(|port| fact(&self.0, port)).collect()
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
    /// The last frame's outputs.
    outputs: Vec<Arc<Tensor>>,
    /// Seconds of each of the region's runs, last time; `None` while nobody asks.
    pub times: Option<Vec<f64>>,
}

impl Clone for RegionState {
    fn clone(&self) -> RegionState {
        RegionState { arena: None, outputs: vec![], times: None }
    }
}

impl RegionState {
    /// Makes sure that the outputs are there and ours alone.
    fn refresh(&mut self, region: &Compiled) -> TractResult<()> {
        self.outputs.truncate(region.outputs.len());
        for (index, port) in region.outputs.iter().enumerate() {
            let is_free = self.outputs.get_mut(index).is_some_and(|output| Arc::get_mut(output).is_some());
            if !is_free {
                let fact = fact(region, port)?;
                let shape = fact.shape.as_concrete().context("expected a fixed shape")?;
                let fresh = Arc::new(Tensor::zero_dt(fact.datum_type, shape)?);
                match self.outputs.get_mut(index) {
                    Some(output) => *output = fresh,
                    None => self.outputs.push(fresh),
                }
            }
        }
        Ok(())
    }
}

impl OpState for RegionState {
    fn eval(&mut self, _context: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let op =
            op.downcast_ref::<IntegerRegion>().with_context(|| format!("expected {OPERATOR}, found {}", op.name()))?;
        let region = &*op.0;
        self.refresh(region)?;
        if self.arena.is_none() {
            self.arena = Some(Arena::new(region)?);
        }
        let arena = self.arena.as_mut().context("no memory")?;
        let incoming = inputs.iter().zip(&region.inputs).map(|(input, port)| -> TractResult<Incoming> {
            let plain = input.try_as_plain_ram()?;
            Ok(match (port.form, input.datum_type()) {
                (Form::Float, _) => Incoming::Float(plain.as_slice::<f32>()?),
                (_, DatumType::I8) => Incoming::Signed(plain.as_slice::<i8>()?),
                _ => Incoming::Bytes(plain.as_slice::<u8>()?),
            })
        });
        let incoming = incoming.collect::<TractResult<TVec<Incoming>>>()?;
        let outgoing = self.outputs.iter_mut().zip(&region.outputs).map(|(output, port)| -> TractResult<Outgoing> {
            let output = Arc::get_mut(output).context("an output is in use")?;
            Ok(match (port.form, output.datum_type()) {
                (Form::Float, _) => Outgoing::Float(slice_mut(output)?),
                (Form::Plane | Form::Picture, _) => Outgoing::Plane(slice_mut(output)?),
                (Form::Bytes, DatumType::I8) => Outgoing::Signed(slice_mut(output)?),
                (Form::Bytes, _) => Outgoing::Bytes(slice_mut(output)?),
            })
        });
        let mut outgoing = outgoing.collect::<TractResult<TVec<Outgoing>>>()?;
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
        Ok(self.outputs.iter().map(|output| output.clone().into_tvalue()).collect())
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}

fn slice_mut<T: Datum>(tensor: &mut Tensor) -> TractResult<&mut [T]> {
    tensor.to_plain_array_view_mut::<T>()?.into_slice().context("expected a dense tensor")
}
