//! Files that are wrong are refused, with the tensor and the reason.

use milad_kernels::int8::Kernel;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::Refusal;
use super::super::sandwich::analyse;
use super::sketch::Sketch;
use crate::model::tests::toy::integer;

fn sound() -> Sketch {
    let mut sketch = Sketch::new(3);
    let image = sketch.qdq("image", 0.02, 100);
    sketch.conv(&image, "a", 4);
    let a = sketch.qdq("a", 0.05, 7);
    sketch.output(&a);
    sketch
}

/// Which tensor is refused after a change, and the message's middle.
fn refused(change: impl FnOnce(&mut Sketch)) -> (String, String) {
    let mut sketch = sound();
    change(&mut sketch);
    match analyse(&sketch.graph, &sketch.facts, Kernel::Portable) {
        Err(Refusal::Bad { tensor, expected, found, .. }) => (tensor, format!("expected {expected}, found {found}")),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[test]
fn a_sound_file_passes() {
    assert_eq!(analyse(&sound().graph, &sound().facts, Kernel::Portable).unwrap().steps.len(), 1);
}

#[test]
fn scales_that_are_none_are_refused() {
    for wrong in [0.0, -0.1, f32::NAN, f32::INFINITY, 1e-40] {
        for name in ["image.scale", "a.scale", "a.ws"] {
            let (tensor, said) = refused(|sketch| sketch.initializer(name).float_data[0] = wrong);
            assert_eq!(tensor, name);
            assert!(said.contains("scale greater than zero") && said.contains(&format!("found {wrong}")), "{said}");
        }
    }
}

#[test]
fn zero_points_out_of_range_are_refused() {
    for (name, wrong) in [("a.zero", 256), ("a.zero", -1), ("a.wz", 128), ("a.wz", -129)] {
        let (tensor, said) = refused(|sketch| sketch.initializer(name).int32_data[0] = wrong);
        assert_eq!(tensor, name);
        assert!(said.contains("zero-points from") && said.ends_with(&format!("found {wrong}")), "{said}");
    }
    let (tensor, said) = refused(|sketch| {
        let zero = sketch.initializer("a.zero");
        (zero.data_type, zero.int64_data) = (DataType::Int64 as i32, vec![7]);
    });
    assert!(tensor == "a.zero" && said.contains("uint8, int8 or int32"), "{tensor} {said}");
}

#[test]
fn as_many_zero_points_as_scales() {
    let (tensor, said) = refused(|sketch| {
        sketch.initializer("a.wz").int32_data.pop();
        sketch.initializer("a.wz").dims = vec![3];
    });
    assert!(tensor == "a.wz" && said.contains("4 zero-points"), "{tensor} {said}");
}

#[test]
fn activations_have_one_scale() {
    let (tensor, said) = refused(|sketch| {
        *sketch.initializer("a.scale") = sketch.initializer("a.ws").clone();
        sketch.initializer("a.ws").name = "a.scale".into();
        sketch.floats("a.ws", &[4], &[0.1; 4]);
        let zeros = sketch.initializer("a.zero");
        (zeros.dims, zeros.int32_data) = (vec![4], vec![0; 4]);
    });
    assert!(tensor == "a.q" && said.contains("one scale for the whole tensor"), "{tensor} {said}");
}

#[test]
fn weights_have_their_scales_on_the_output_channels() {
    let (tensor, said) = refused(|sketch| sketch.giving("a.wdq").attribute = vec![integer("axis", 4)]);
    assert!(tensor == "a.wdq" && said.contains("an axis from -4 to 3"), "{tensor} {said}");
    let (tensor, said) = refused(|sketch| sketch.giving("a.wdq").attribute = vec![integer("axis", 1)]);
    assert!(tensor == "a.wdq" && said.contains("axis 0"), "{tensor} {said}");
    // Counted from the end it is the same axis.
    let mut sketch = sound();
    sketch.giving("a.wdq").attribute = vec![integer("axis", -4)];
    assert_eq!(analyse(&sketch.graph, &sketch.facts, Kernel::Portable).unwrap().steps.len(), 1);
}

#[test]
fn sums_that_may_leave_32_bits_are_refused() {
    let (tensor, said) = refused(|sketch| {
        sketch.integers("bias", DataType::Int32, &[4], &[i32::MAX - 10, 0, 0, 0]);
        sketch.floats("bias.scale", &[4], &[0.02 * 0.001, 0.02 * 0.0011, 0.02 * 0.0012, 0.02 * 0.0013]);
        let at = sketch.graph.node.iter().position(|node| node.op_type == "Conv").unwrap();
        let bias = crate::model::tests::toy::node("DequantizeLinear", &["bias", "bias.scale"], &["bias.dq"]);
        sketch.graph.node[at].input.push("bias.dq".into());
        sketch.graph.node.insert(at, bias);
    });
    assert!(tensor == "a.wdq" && said.contains("within 32 bits"), "{tensor} {said}");
}
