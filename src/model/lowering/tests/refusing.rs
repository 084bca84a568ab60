//! Files that are wrong are refused, with the tensor and the reason.

use milad_kernels::int8::Kernel;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto};

use super::super::Refusal;
use super::super::linear::check;
use super::super::sandwich::analyse;
use super::sketch::Sketch;
use crate::model::tests::toy::{integer, node};

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
            let found = if wrong == 1e-40 { "1e-40".to_owned() } else { wrong.to_string() };
            assert!(said.contains("scale greater than zero") && said.ends_with(&format!("found {found}")), "{said}");
        }
    }
}

/// Puts a node that gives `name` in the place of its initializer.
fn computed(sketch: &mut Sketch, name: &str, given: NodeProto) {
    sketch.initializer(name).name = "given".into();
    sketch.graph.node.insert(0, NodeProto { output: vec![name.into()], ..given });
}

/// A Constant node whose number stands in an attribute of its own.
fn number(value: f32) -> NodeProto {
    let kind = AttributeType::Float as i32;
    let value = AttributeProto { name: "value_float".into(), f: value, r#type: kind, ..Default::default() };
    NodeProto { attribute: vec![value], ..node("Constant", &[], &["unused"]) }
}

#[test]
fn scales_are_looked_at_wherever_they_stand() {
    let identity = || node("Identity", &["given"], &["unused"]);
    for name in ["image.scale", "a.scale", "a.ws"] {
        for wrong in [0.0, -0.1, f32::NAN] {
            if name != "a.ws" {
                let (tensor, said) = refused(|sketch| computed(sketch, name, number(wrong)));
                assert!(tensor == name && said.ends_with(&format!("found {wrong}")), "{tensor} {said}");
            }
            let (tensor, said) = refused(|sketch| {
                sketch.initializer(name).float_data[0] = wrong;
                computed(sketch, name, identity());
            });
            assert!(tensor == name && said.ends_with(&format!("found {wrong}")), "{tensor} {said}");
        }
        let (tensor, said) = refused(|sketch| computed(sketch, name, node("Mul", &["given", "given"], &["unused"])));
        assert!(tensor == name && said.contains("stands in the file") && said.contains("nodes compute"), "{said}");
    }
    let steps = |name: &str, given: NodeProto| {
        let mut sketch = sound();
        computed(&mut sketch, name, given);
        analyse(&sketch.graph, &sketch.facts, Kernel::Portable).unwrap().steps.len()
    };
    assert_eq!([steps("a.scale", number(0.05)), steps("a.scale", identity()), steps("a.zero", identity())], [1; 3]);
}

#[test]
fn what_the_engine_would_refuse_in_its_own_words_is_refused_before() {
    let refused = |change: fn(&mut Sketch)| {
        let mut sketch = sound();
        change(&mut sketch);
        match check(&sketch.graph) {
            Err(Refusal::Bad { tensor, expected, found, .. }) => {
                format!("{tensor}: expected {expected}, found {found}")
            }
            other => panic!("expected a refusal, found {other:?}"),
        }
    };
    assert!(check(&sound().graph).is_ok());
    let said = refused(|sketch| sketch.giving("a.q").input.truncate(1));
    assert!(said.contains("expected a scale as input 1, found none"), "{said}");
    let said = refused(|sketch| sketch.initializer("a.zero").data_type = DataType::Int16 as i32);
    assert!(said.starts_with("a.zero") && said.ends_with("found INT16"), "{said}");
    let said = refused(|sketch| sketch.initializer("a.scale").data_type = DataType::Double as i32);
    assert!(said.contains("a scale of float32") && said.ends_with("found DOUBLE"), "{said}");
    let said = refused(|sketch| sketch.initializer("a.zero").data_type = DataType::Int32 as i32);
    assert!(said.contains("zero-points from 0 to 0 in INT32") && said.ends_with("found 7"), "{said}");
    let said = refused(|sketch| {
        sketch.integers("bias", DataType::Int32, &[4], &[1, 2, 3, 4]);
        sketch.floats("bias.scale", &[4], &[1e-4; 4]);
        // Without an axis it is 1.
        sketch.graph.node.insert(0, node("DequantizeLinear", &["bias", "bias.scale"], &["bias.dq"]));
    });
    assert!(said.starts_with("bias: ") && said.contains("an axis from -1 to 0"), "{said}");
}

#[test]
fn a_bias_that_would_be_lost_in_whole_units_stays_in_float() {
    let steps = |bias: [f32; 4], scale: f32| {
        let mut sketch = sound();
        sketch.initializer("image.scale").float_data[0] = scale;
        sketch.floats("bias", &[4], &bias);
        sketch.giving("a").input.push("bias".into());
        let found = analyse(&sketch.graph, &sketch.facts, Kernel::Portable).unwrap();
        (found.steps.len(), found.float.iter().any(|(_, reason)| reason.contains("its bias `bias` would move by")))
    };
    // Units of .02 · .001 to .02 · .0013, steps of .05.
    assert_eq!(steps([0.3, -0.21, 0.0, 0.001], 0.02), (1, false));
    // Units of 20 · .001 and more: .02 is a whole one, .03 is one and a half.
    assert_eq!(steps([0.02, 0.0, 0.0, 0.0], 20.0), (1, false));
    assert_eq!(steps([0.03, 0.0, 0.0, 0.0], 20.0), (0, true));
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
