//! The prepared picture as networks are fed: bytes `[H, W, 4]`, RGBX.
//!
//! A file's input `image` is float32 `[1, 3, H, W]`, `(byte/255 − mean)/std`. Where a region quantises it again, it looks bytes up in a table that
//! does both, and no number of the picture ever lies in memory. Whatever else reads it gets the numbers from a node of ours in front of the graph.

use std::sync::Arc;

use milad_kernels::pixel::Normalise;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{GraphProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
use tract_onnx::tract_hir::internal::*;

use super::program::{Form, Region, Way, tensors};
use crate::model::onnx::{stated, words};
use crate::model::wiring::IMAGE;

/// The type of the node.
const OPERATOR: &str = "PictureNumbers";
/// What it gives; no name of a file has this form.
const NUMBERS: &str = "image\u{1f}numbers";

/// What bytes of the picture stand for, and its size.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub normalise: Arc<Normalise>,
    pub height: usize,
    pub width: usize,
}

/// Makes `graph` take bytes, where it takes a picture: not every part of a network does. `regions` are what its nodes of that type stand for, in
/// their order. Fails, with what was found, when the picture is none.
pub(super) fn feed(graph: &mut GraphProto, regions: &mut [Region]) -> Result<(), String> {
    let Some(input) = graph.input.iter_mut().find(|input| input.name == IMAGE) else { return Ok(()) };
    let (datum, shape) = stated(input)?;
    let (DatumType::F32, &[1, 3, height, width]) = (datum, shape.as_slice()) else {
        return Err(words(datum, &shape));
    };
    *input = bytes([height, width, 4]);
    let mut in_numbers = false;
    let mut rename = |name: &mut String| {
        if name == IMAGE {
            *name = NUMBERS.into();
            in_numbers = true;
        }
    };
    for node in &mut graph.node {
        let Some(region) =
            regions.iter_mut().find(|region| node.op_type == super::OPERATOR && node.name == region.name)
        else {
            node.input.iter_mut().for_each(&mut rename);
            continue;
        };
        for edge in &mut region.inputs {
            if edge.tensor == IMAGE && edge.way == Way::Plain {
                edge.form = Form::Picture;
            } else {
                rename(&mut edge.tensor);
            }
        }
        node.input = tensors(&region.inputs).into_iter().map(str::to_owned).collect();
    }
    if in_numbers {
        let node = NodeProto {
            op_type: OPERATOR.into(),
            domain: crate::model::ila::DOMAIN.into(),
            name: NUMBERS.into(),
            input: vec![IMAGE.into()],
            output: vec![NUMBERS.into()],
            ..NodeProto::default()
        };
        graph.node.insert(0, node);
    }
    Ok(())
}

/// The input as ONNX describes it.
fn bytes(sides: [usize; 3]) -> ValueInfoProto {
    let side = |side| Dimension { denotation: String::new(), value: Some(dimension::Value::DimValue(side as i64)) };
    let shape = Some(TensorShapeProto { dim: sides.map(side).to_vec() });
    let tensor = type_proto::Tensor { elem_type: DataType::Uint8 as i32, shape };
    let r#type = TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) };
    ValueInfoProto { name: IMAGE.into(), r#type: Some(r#type), doc_string: String::new() }
}

/// Teaches the engine's ONNX reader the node: a place for what [`settle`] puts there.
pub(crate) fn register(onnx: &mut tract_onnx::Onnx) {
    let build = |_: &ParsingContext, _: &NodeProto| -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
        Ok((expand(Node(None)), vec![]))
    };
    onnx.op_register.insert(OPERATOR, build);
}

/// Says what the node computes.
pub(crate) fn settle(model: &mut InferenceModel, picture: &Picture) {
    for node in model.nodes_mut().iter_mut().filter(|node| node.op.name() == OPERATOR) {
        node.op = expand(Node(Some(picture.clone())));
    }
}

/// As it stands in the graph.
#[derive(Debug, Clone)]
struct Node(Option<Picture>);

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.0.is_none() && other.0.is_none()
    }
}

impl Eq for Node {}

impl Node {
    fn picture(&self) -> TractResult<&Picture> {
        self.0.as_ref().context("a picture of no known size")
    }
}

impl Expansion for Node {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let Picture { height, width, .. } = *self.picture()?;
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        for (proxy, fact) in
            [(&inputs[0], u8::fact([height, width, 4])), (&outputs[0], f32::fact([1, 3, height, width]))]
        {
            s.equals(&proxy.datum_type, fact.datum_type)?;
            s.equals(&proxy.shape, fact.shape.to_tvec())?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, PictureNumbers(self.picture()?.clone()), inputs)
    }
}

/// The node in a plan.
#[derive(Debug, Clone)]
struct PictureNumbers(Picture);

impl PartialEq for PictureNumbers {
    fn eq(&self, other: &PictureNumbers) -> bool {
        Arc::ptr_eq(&self.0.normalise, &other.0.normalise)
    }
}

impl Eq for PictureNumbers {}

impl Op for PictureNumbers {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    op_as_typed_op!();
}

impl EvalOp for PictureNumbers {
    not_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let bytes = inputs.first().context("expected a picture")?.try_as_plain_ram()?;
        let bytes = bytes.as_slice::<u8>()?;
        let Picture { height, width, .. } = self.0;
        ensure!(
            bytes.len() == 4 * height * width,
            "expected a picture of {width}×{height}, found {} bytes",
            bytes.len()
        );
        let mut numbers = Tensor::zero::<f32>(&[1, 3, height, width])?;
        let mut view = numbers.try_as_plain_ram_mut()?;
        self.0.normalise.run(bytes, view.as_slice_mut::<f32>()?);
        Ok(tvec![numbers.into_tvalue()])
    }
}

impl TypedOp for PictureNumbers {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![f32::fact([1, 3, self.0.height, self.0.width])])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Networks are checked before they come here; should that ever let one through, it is not run on numbers that it takes for others.
    #[test]
    fn a_picture_that_is_none_is_refused() {
        for (found, message) in [(bytes([1, 3, 8]), "u8 [1, 3, 8]"), (bytes([4, 4, 4]), "u8 [4, 4, 4]")] {
            let mut graph = GraphProto { input: vec![found], ..GraphProto::default() };
            assert_eq!(feed(&mut graph, &mut []), Err(message.to_owned()));
        }
        let mut without = GraphProto::default();
        assert_eq!(feed(&mut without, &mut []), Ok(()));
    }
}
