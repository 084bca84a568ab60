//! What becomes a step, and which steps become a region.

use milad_kernels::int8::Kernel;
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::program::{Form, Operation, Part, Way};
use super::super::regions::{Grouped, group};
use super::super::sandwich::analyse;
use super::sketch::Sketch;
use crate::model::tests::toy::{attention, info, integer, node};

fn grouped(sketch: &Sketch) -> (Grouped, Vec<String>) {
    let found = analyse(&sketch.graph, &sketch.facts, Kernel::Portable).unwrap();
    let float = found.float.iter().map(|(index, why)| format!("{}: {why}", sketch.graph.node[*index].name)).collect();
    (group(&sketch.graph, &sketch.facts, &found), float)
}

fn kinds(grouped: &Grouped) -> Vec<&str> {
    grouped.graph.node.iter().map(|node| node.op_type.as_str()).collect()
}

/// image → conv → Relu → conv → Add with the first → output.
fn residual() -> Sketch {
    let mut sketch = Sketch::new(3);
    let image = sketch.qdq("image", 0.02, 100);
    sketch.conv(&image, "a", 4);
    sketch.push(node("Relu", &["a"], &["b"]), &[1, 4, 6, 8]);
    let b = sketch.qdq("b", 0.05, 7);
    sketch.conv(&b, "c", 4);
    let c = sketch.qdq("c", 0.1, 128);
    sketch.push(node("Add", &[&b, &c], &["d"]), &[1, 4, 6, 8]);
    let d = sketch.qdq("d", 0.1, 120);
    sketch.output(&d);
    sketch
}

#[test]
fn a_quantised_block_becomes_one_region() {
    let (grouped, float) = grouped(&residual());
    assert_eq!(kinds(&grouped), ["IntegerRegion"]);
    assert_eq!(float, [""; 0]);
    let region = &grouped.regions[0];
    let words: Vec<_> = region.steps.iter().map(|step| step.operation.word()).collect();
    assert_eq!(words, ["conv", "conv", "add"]);
    assert_eq!(region.steps[0].clamp, [7, 255], "Relu between convolution and QuantizeLinear");
    assert_eq!(region.steps[0].macs, 4 * 3 * 9 * 48);
    assert_eq!(region.inputs.len(), 1);
    assert_eq!((region.inputs[0].tensor.as_str(), region.inputs[0].form), ("image", Form::Float));
    assert_eq!((region.outputs[0].tensor.as_str(), region.outputs[0].form), ("d.dq", Form::Float));
    assert!(grouped.graph.initializer.is_empty(), "weights are in the region");
}

#[test]
fn a_graph_in_float_is_left_alone() {
    let mut sketch = Sketch::new(3);
    sketch.push(node("Relu", &["image"], &["a"]), &[1, 3, 6, 8]);
    sketch.push(node("Neg", &["a"], &["b"]), &[1, 3, 6, 8]);
    sketch.output("b");
    let (grouped, float) = grouped(&sketch);
    assert_eq!(kinds(&grouped), ["Relu", "Neg"]);
    assert!(grouped.regions.is_empty() && float.is_empty());
}

#[test]
fn attention_splits_regions_and_bytes_cross_as_they_are() {
    let mut sketch = residual();
    sketch.graph.output.clear();
    sketch.push(attention(&["d.dq", "key", "value"], &["y"]), &[1, 4, 6, 8]);
    let y = sketch.qdq("y", 0.1, 128);
    sketch.push(node("Add", &["b.dq", &y], &["e"]), &[1, 4, 6, 8]);
    let e = sketch.qdq("e", 0.1, 128);
    sketch.output(&e);
    let (grouped, float) = grouped(&sketch);
    assert_eq!(kinds(&grouped), ["IntegerRegion", "InterFrameLocalAttention", "IntegerRegion"]);
    assert_eq!(float, [""; 0]);
    let forms = |edges: &[super::super::program::Edge]| edges.iter().map(|edge| edge.form).collect::<Vec<_>>();
    let [encoder, fusion] = grouped.regions.as_slice() else { panic!("{:?}", grouped.regions) };
    assert_eq!(forms(&encoder.outputs), [Form::Float, Form::Plane]);
    assert_eq!(forms(&fusion.inputs), [Form::Plane, Form::Float]);
    assert_eq!(encoder.outputs[1].tensor, fusion.inputs[0].tensor);
}

#[test]
fn a_convolution_that_is_also_read_in_float_gives_numbers() {
    let mut sketch = residual();
    sketch.push(node("Neg", &["c"], &["raw"]), &[1, 4, 6, 8]);
    sketch.output("raw");
    let (grouped, float) = grouped(&sketch);
    assert_eq!(float, [""; 0]);
    // Its numbers leave, and come back through their QuantizeLinear: not the same region.
    let [first, second] = grouped.regions.as_slice() else { panic!("{:?}", grouped.regions) };
    let operations = |region: &super::super::program::Region| {
        region.steps.iter().map(|step| matches!(step.operation, Operation::Real(..))).collect::<Vec<_>>()
    };
    assert_eq!((operations(first), operations(second)), (vec![false, true], vec![false]));
    assert_eq!(first.outputs.iter().filter(|edge| edge.tensor == "c" && edge.form == Form::Float).count(), 1);
    assert_eq!(second.inputs.iter().filter(|edge| edge.tensor == "c" && edge.form == Form::Float).count(), 1);
}

#[test]
fn sums_that_nobody_quantises_are_numbers_within_their_bounds() {
    let mut sketch = Sketch::new(3);
    let image = sketch.qdq("image", 0.02, 100);
    sketch.conv(&image, "a", 4);
    sketch.push(node("Relu", &["a"], &["b"]), &[1, 4, 6, 8]);
    sketch.output("b");
    let (grouped, float) = grouped(&sketch);
    assert_eq!((kinds(&grouped), float), (vec!["IntegerRegion"], vec![]));
    let region = &grouped.regions[0];
    assert!(matches!(&region.steps[0].operation, Operation::Real(_, [0.0, high]) if high.is_infinite()));
    assert_eq!(
        region.outputs.iter().map(|edge| (edge.tensor.as_str(), edge.form)).collect::<Vec<_>>(),
        [("b", Form::Float)]
    );
    assert_eq!(region.borders[region.steps[0].inputs[0]], 1);
}

#[test]
fn what_is_also_read_in_float_stays_float_and_is_named() {
    let mut sketch = residual();
    sketch.push(node("Neg", &["d"], &["raw"]), &[1, 4, 6, 8]);
    sketch.output("raw");
    let (grouped, float) = grouped(&sketch);
    assert_eq!(float, ["d_node: `d` is also read without being quantised"]);
    assert!(kinds(&grouped).contains(&"Add"));
    let words: Vec<_> =
        grouped.regions.iter().flat_map(|region| &region.steps).map(|step| step.operation.word()).collect();
    assert_eq!(words, ["conv", "conv"]);
}

#[test]
fn a_convolution_whose_calibration_is_missing_stays_float_and_is_named() {
    let mut sketch = Sketch::new(3);
    sketch.conv("image", "a", 4);
    let a = sketch.qdq("a", 0.05, 7);
    sketch.conv(&a, "b", 4);
    let b = sketch.qdq("b", 0.05, 7);
    sketch.output(&b);
    let (grouped, float) = grouped(&sketch);
    assert_eq!(float, ["a_node: its input `image` is not quantised"]);
    assert_eq!(kinds(&grouped).iter().filter(|kind| **kind == "Conv").count(), 1);
    let words: Vec<_> =
        grouped.regions.iter().flat_map(|region| &region.steps).map(|step| step.operation.word()).collect();
    assert_eq!(words, ["conv"], "what comes behind is in integers");
}

#[test]
fn functions_of_one_number_are_tables_and_nothing_is_nothing() {
    let mut sketch = Sketch::new(3);
    let image = sketch.qdq("image", 0.02, 100);
    sketch.conv(&image, "a", 4);
    let a = sketch.qdq("a", 0.05, 7);
    sketch.push(node("HardSwish", &[&a], &["b"]), &[1, 4, 6, 8]);
    let b = sketch.qdq("b", 0.05, 7);
    // The same scale again: no step at all.
    let again = {
        sketch.push(node("Identity", &[&b], &["same"]), &[1, 4, 6, 8]);
        sketch.qdq("same", 0.05, 7)
    };
    sketch.output(&again);
    let (grouped, _) = grouped(&sketch);
    let words: Vec<_> = grouped.regions[0].steps.iter().map(|step| step.operation.word()).collect();
    assert_eq!(words, ["conv", "table"]);
    assert_eq!(grouped.regions[0].outputs[0].tensor, "same.dq");
}

#[test]
fn a_quantised_tensor_that_no_step_reads_stays_as_it_is() {
    let mut sketch = Sketch::new(3);
    let image = sketch.qdq("image", 0.02, 100);
    sketch.push(node("Softmax", &[&image], &["a"]), &[1, 3, 6, 8]);
    sketch.output("a");
    let (grouped, float) = grouped(&sketch);
    assert_eq!(kinds(&grouped), ["QuantizeLinear", "DequantizeLinear", "Softmax"]);
    assert_eq!(float, ["a_node: its output `a` is not quantised"]);
}

#[test]
fn squeeze_and_excitation_is_lowered_whole() {
    let mut sketch = Sketch::new(4);
    let x = sketch.qdq("image", 0.02, 100);
    sketch.push(node("GlobalAveragePool", &[&x], &["mean"]), &[1, 4, 1, 1]);
    let mean = sketch.qdq("mean", 0.02, 100);
    sketch.push(node("Sigmoid", &[&mean], &["gate"]), &[1, 4, 1, 1]);
    let gate = sketch.qdq("gate", 1.0 / 255.0, 0);
    sketch.push(node("Mul", &[&gate, &x], &["y"]), &[1, 4, 6, 8]);
    let y = sketch.qdq("y", 0.02, 100);
    sketch.output(&y);
    let (grouped, _) = grouped(&sketch);
    let steps = &grouped.regions[0].steps;
    assert_eq!(steps.iter().map(|step| step.operation.word()).collect::<Vec<_>>(), ["average", "table", "multiply"]);
    let multiply = &steps[2];
    assert_eq!(multiply.operation, Operation::Multiply);
    let second = &grouped.regions[0].values[multiply.inputs[1]];
    assert_eq!((second.height, second.width), (1, 1), "the gate comes second, whatever the order in the file");
}

/// image → 1×1 convolution in float → q/dq → convolution → output.
fn mixture(planes: i64) -> Sketch {
    let mut sketch = Sketch::new(planes);
    sketch.floats("m.w", &[4, planes, 1, 1], &(0..4 * planes).map(|i| i as f32 * 0.1 - 0.5).collect::<Vec<_>>());
    sketch.push(node("Conv", &["image", "m.w"], &["m"]), &[1, 4, 6, 8]);
    let m = sketch.qdq("m", 0.02, 100);
    sketch.conv(&m, "a", 4);
    let a = sketch.qdq("a", 0.05, 7);
    sketch.output(&a);
    sketch
}

#[test]
fn a_small_mixture_in_float_is_computed_on_the_way_in() {
    let (small, float) = grouped(&mixture(3));
    assert_eq!((kinds(&small), float), (vec!["IntegerRegion"], vec![]));
    let input = &small.regions[0].inputs[0];
    assert_eq!((input.tensor.as_str(), input.form), ("image", Form::Float));
    let Way::Mixed(mix) = &input.way else { panic!("{input:?}") };
    assert_eq!([mix.inputs(), mix.channels()], [3, 4]);
    assert!(small.graph.initializer.is_empty(), "its weights are in the region");
}

#[test]
fn a_mixture_that_is_large_or_read_elsewhere_stays_with_the_engine() {
    assert_eq!(kinds(&grouped(&mixture(9)).0), ["Conv", "IntegerRegion"]);
    let mut read = mixture(3);
    read.output("m");
    let (read, _) = grouped(&read);
    assert_eq!(kinds(&read), ["Conv", "IntegerRegion"]);
    assert_eq!((read.regions[0].inputs[0].tensor.as_str(), &read.regions[0].inputs[0].way), ("m", &Way::Plain));
}

/// image → slice of some channels → q/dq → convolution → output.
fn slice(from: i64, to: i64) -> Sketch {
    let mut sketch = Sketch::new(6);
    for (name, value) in [("from", from), ("to", to), ("axis", 1)] {
        sketch.integers(name, DataType::Int64, &[1], &[value as i32]);
    }
    sketch.push(node("Slice", &["image", "from", "to", "axis"], &["s"]), &[1, (to - from) as usize, 6, 8]);
    let s = sketch.qdq("s", 0.02, 100);
    sketch.conv(&s, "a", 4);
    let a = sketch.qdq("a", 0.05, 7);
    sketch.output(&a);
    sketch
}

#[test]
fn a_slice_of_the_first_channels_is_taken_on_the_way_in() {
    let (first, float) = grouped(&slice(0, 4));
    assert_eq!((kinds(&first), float), (vec!["IntegerRegion"], vec![]));
    let input = &first.regions[0].inputs[0];
    assert_eq!((input.tensor.as_str(), &input.way), ("image", &Way::Leading(6)));
    assert_eq!(kinds(&grouped(&slice(2, 6)).0), ["Slice", "IntegerRegion"]);
}

/// The residual block, attention, and two sums of what the block left and attention brought; the last one's dequantised name.
fn around_attention() -> (Sketch, String) {
    let mut sketch = residual();
    sketch.graph.output.clear();
    sketch.push(attention(&["d.dq", "key", "value"], &["y"]), &[1, 4, 6, 8]);
    let y = sketch.qdq("y", 0.1, 128);
    sketch.push(node("Add", &["b.dq", &y], &["e"]), &[1, 4, 6, 8]);
    let e = sketch.qdq("e", 0.1, 128);
    sketch.push(node("Add", &["d.dq", &e], &["f"]), &[1, 4, 6, 8]);
    let f = sketch.qdq("f", 0.1, 128);
    (sketch, f)
}

#[test]
fn planes_that_leave_one_region_go_in_one_tensor() {
    let (mut sketch, f) = around_attention();
    sketch.output(&f);
    let (grouped, _) = grouped(&sketch);
    let [encoder, fusion] = grouped.regions.as_slice() else { panic!("{:?}", grouped.regions) };
    let parts = |edges: &[super::super::program::Edge]| -> Vec<Part> {
        edges.iter().filter(|edge| edge.form == Form::Plane).map(|edge| edge.part.unwrap()).collect()
    };
    let (left, mut entered) = (parts(&encoder.outputs), parts(&fusion.inputs));
    entered.sort_by_key(|part| part.start);
    assert_eq!(left, entered);
    let [first, second] = left[..] else { panic!("{left:?}") };
    assert!(first.start == 0 && second.start.is_multiple_of(64) && second.start > 0 && second.whole > second.start);
    let inputs: Vec<usize> = grouped.graph.node.iter().map(|node| node.input.len()).collect();
    assert_eq!(inputs, [1, 3, 2], "attention's output and one tensor of planes");
}

#[test]
fn a_slice_of_bytes_or_of_two_readings_is_no_way_in() {
    let mut bytes = Sketch::new(6);
    for (name, value) in [("from", 0), ("to", 4), ("axis", 1)] {
        bytes.integers(name, DataType::Int64, &[1], &[value]);
    }
    let image = bytes.qdq("image", 0.02, 100);
    bytes.conv(&image, "a", 8);
    bytes.qdq("a", 0.05, 7);
    bytes.push(node("Slice", &["a.q", "from", "to", "axis"], &["s"]), &[1, 4, 6, 8]);
    bytes.push(node("DequantizeLinear", &["s", "a.scale", "a.zero"], &["s.dq"]), &[1, 4, 6, 8]);
    bytes.conv("s.dq", "b", 4);
    let b = bytes.qdq("b", 0.05, 7);
    bytes.output(&b);
    let (grouped, _) = grouped(&bytes);
    assert_eq!(kinds(&grouped), ["IntegerRegion", "Slice", "IntegerRegion"]);
}

/// Planes that come in joined, the picture in two scales, and mixed: each edge gets what it reads.
#[test]
fn a_picture_beside_planes_reaches_its_own_edges() {
    let (mut sketch, f) = around_attention();
    // The picture again, in another scale, and once more through a mixture.
    let (scale, zero) = ("again.scale", "again.zero");
    sketch.floats(scale, &[], &[0.04]);
    sketch.integers(zero, DataType::Uint8, &[], &[90]);
    sketch.push(node("QuantizeLinear", &["image", scale, zero], &["again.q"]), &[1, 3, 6, 8]);
    sketch.push(node("DequantizeLinear", &["again.q", scale, zero], &["again.dq"]), &[1, 3, 6, 8]);
    sketch.conv("again.dq", "g", 4);
    let g = sketch.qdq("g", 0.1, 128);
    sketch.push(node("Add", &[&f, &g], &["h"]), &[1, 4, 6, 8]);
    let h = sketch.qdq("h", 0.1, 128);
    sketch.floats("m.w", &[4, 3, 1, 1], &[0.1; 12]);
    sketch.push(node("Conv", &["image", "m.w"], &["m"]), &[1, 4, 6, 8]);
    let m = sketch.qdq("m", 0.02, 100);
    sketch.push(node("Add", &[&h, &m], &["i"]), &[1, 4, 6, 8]);
    let i = sketch.qdq("i", 0.1, 128);
    let join = NodeProto { attribute: vec![integer("axis", 1)], ..node("Concat", &[&i, "image.dq"], &["j"]) };
    sketch.push(join, &[1, 7, 6, 8]);
    let j = sketch.qdq("j", 0.1, 128);
    sketch.output(&j);
    let (mut grouped, float) = grouped(&sketch);
    assert_eq!(float, [""; 0]);
    grouped.graph.input[0] = info("image", &[1, 3, 6, 8]);
    super::super::picture::feed(&mut grouped.graph, &mut grouped.regions).unwrap();
    for region in &grouped.regions {
        let node = grouped.graph.node.iter().find(|node| node.name == region.name).unwrap();
        for edge in &region.inputs {
            assert!(node.input.contains(&edge.tensor), "{edge:?} {:?}", node.input);
            assert_eq!(edge.form == Form::Picture, edge.tensor == "image", "{edge:?}");
            assert_eq!(matches!(edge.way, Way::Mixed(_)), edge.tensor.starts_with("image\u{1f}"), "{edge:?}");
        }
        let mut names = node.input.clone();
        names.dedup();
        assert_eq!(names, node.input, "each once");
    }
    let forms =
        |form: Form| grouped.regions.iter().flat_map(|region| &region.inputs).filter(|e| e.form == form).count();
    assert_eq!([forms(Form::Picture), forms(Form::Plane)], [3, 3]);
}

#[test]
fn signed_bytes_without_a_zero_point_are_signed_all_the_same() {
    let mut sketch = Sketch::new(3);
    sketch.floats("s", &[], &[0.02]);
    sketch.integers("z", DataType::Int8, &[], &[0]);
    sketch.push(node("QuantizeLinear", &["image", "s", "z"], &["q"]), &[1, 3, 6, 8]);
    sketch.push(node("DequantizeLinear", &["q", "s"], &["dq"]), &[1, 3, 6, 8]);
    sketch.conv("dq", "a", 4);
    let a = sketch.qdq("a", 0.05, 7);
    sketch.output(&a);
    let (grouped, float) = grouped(&sketch);
    assert_eq!((kinds(&grouped), float), (vec!["IntegerRegion"], vec![]));
    assert!(grouped.regions[0].values[0].signed);
}
