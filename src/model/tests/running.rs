//! What the networks of a bundle do from frame to frame.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorProto};
use tract_onnx::prelude::*;

use super::super::bundle::Networks;
use super::super::engine::{Fast, Image, Keys, Memory, Slow};
use super::super::ila::IlaState;
use super::toy::*;

fn image(seed: usize) -> Image {
    let bytes: Vec<u8> = (0..128).map(|i| ((i * 29 + seed * 53) % 251) as u8).collect();
    Image::from(Tensor::from_shape(&[4, 8, 4], &bytes).unwrap())
}

fn networks(toy: &Toy) -> Networks {
    toy.load().unwrap().into_networks(1).unwrap()
}

fn numbers(value: &TValue) -> Vec<f32> {
    value.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
}

/// Slot packings of all attention nodes so far.
fn packs(networks: &Networks) -> u64 {
    let states = networks.fast.plan.state.op_states.iter().flatten();
    states.filter_map(|state| state.downcast_ref::<IlaState>()).map(|state| state.packs).sum()
}

fn output(networks: &Networks, outputs: &[TValue], name: &str) -> Vec<f32> {
    let index = networks.fast.output_names().iter().position(|output| output == name).unwrap();
    numbers(&outputs[index])
}

/// One keyframe: the fast network's keys, then the slow network.
fn keyframe(networks: &mut Networks, image: &Image, memory: &Memory, captured_ns: u64) -> Memory {
    let keys = networks.fast.run(image, memory, captured_ns).unwrap().keys;
    networks.slow.run(image, keys, captured_ns).unwrap().memory
}

const FRAME_NS: u64 = 40_000_000;

#[test]
fn predictions_come_in_the_order_of_the_specification() {
    let mut networks = networks(&Toy::new());
    let memory = networks.initial.clone();
    let run = networks.fast.run(&image(1), &memory, 0).unwrap();
    let channels: Vec<_> = run.prediction.tasks.iter().map(|task| task.shape()[1]).collect();
    assert_eq!(channels, [1, 2], "depth, then seg; fast.onnx has them the other way round");
}

#[test]
fn before_the_first_keyframe_memory_is_nothing() {
    let mut networks = networks(&Toy::new());
    let memory = networks.initial.clone();
    assert_eq!(memory.newest_ns(), None);
    let run = networks.fast.run(&image(1), &memory, 0).unwrap();
    // With nothing valid the null key takes everything.
    assert_eq!(run.confidence, Some(0.0));
}

#[test]
fn keyframes_stack_with_the_newest_first_and_ages_follow_capture_times() {
    // A network that gives its memory as it is: what is in it can be read.
    let [t, ..] = SHAPE;
    let toy = Toy::with(|toy| {
        toy.fast.initializer.push(weights("mix", &[1, t, 1, 1], 0));
        toy.fast.initializer[5].float_data = vec![1.0, 100.0];
        toy.fast.node.truncate(1);
        toy.fast.node.extend([
            node("Mul", &["value.a", "zero"], &["nothing"]),
            node("Add", &["key.a", "nothing"], &["both"]),
            with(node("Transpose", &["both"], &["turned"]), list("perm", &[1, 0, 2, 3])),
            node("Conv", &["turned", "mix"], &["mixed"]),
            node("ReduceMax", &["mixed", "axes"], &["largest"]),
            node("Mul", &["age", "valid"], &["known"]),
            with(node("ReduceSum", &["known"], &["ages"]), integer("keepdims", 0)),
            node("Add", &["largest", "ages"], &["task.depth"]),
            with(node("Concat", &["task.depth", "task.depth"], &["task.seg"]), integer("axis", 1)),
        ]);
        toy.fast.initializer.push(weights("zero", &[1], 0));
        toy.fast.initializer[6].float_data = vec![0.0];
        let axes = TensorProto { data_type: DataType::Int64 as i32, int64_data: vec![0], ..weights("axes", &[1], 0) };
        toy.fast.initializer.push(TensorProto { float_data: vec![], ..axes });
        toy.fast.output.truncate(3);
    });
    let mut networks = networks(&toy);
    let (first, second) = (image(1), image(2));
    let initial = networks.initial.clone();
    let one = keyframe(&mut networks, &first, &initial, 0);
    let two = keyframe(&mut networks, &second, &one, 3 * FRAME_NS);
    assert_eq!(two.captured_ns.as_slice(), [3 * FRAME_NS, 0]);
    let key = |networks: &mut Networks, image: &Image| {
        let outputs = networks.fast.run_all(image, &initial, 0).unwrap();
        output(networks, &outputs, "next.key.a")
    };
    let (old, new) = (key(&mut networks, &first), key(&mut networks, &second));
    // After one keyframe: slot 0 is it, slot 1 zeros, ages 2 and −1 (not valid, so not counted).
    let outputs = networks.fast.run_all(&second, &one, 2 * FRAME_NS).unwrap();
    let expected: Vec<f32> = (0..32).map(|p| old[p].max(old[p + 32]) + 2.0).collect();
    close(&output(&networks, &outputs, "task.depth"), &expected);
    // After two: slot 0 the newer, slot 1 the older; ages 1 and 4.
    let outputs = networks.fast.run_all(&second, &two, 4 * FRAME_NS).unwrap();
    let mixed = |p: usize| new[p] + 100.0 * old[p];
    let expected: Vec<f32> = (0..32).map(|p| mixed(p).max(mixed(p + 32)) + 5.0).collect();
    close(&output(&networks, &outputs, "task.depth"), &expected);
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "expected {expected}, found {found}");
    }
}

#[test]
fn keys_and_values_are_packed_once_a_keyframe() {
    let mut networks = networks(&Toy::new());
    let initial = networks.initial.clone();
    let memory = keyframe(&mut networks, &image(1), &initial, 0);
    let before = packs(&networks);
    for frame in 1..5 {
        networks.fast.run(&image(frame), &memory, frame as u64 * FRAME_NS).unwrap();
    }
    assert_eq!(packs(&networks) - before, 2, "T = 2 slots, once");
    let next = keyframe(&mut networks, &image(7), &memory, 5 * FRAME_NS);
    networks.fast.run(&image(8), &next, 6 * FRAME_NS).unwrap();
    assert_eq!(packs(&networks) - before, 4);
}

#[test]
fn what_follows_from_memory_alone_leaves_the_frames_plan() {
    let bundle = Toy::new().load().unwrap();
    let nodes = bundle.main_nodes();
    assert!(!nodes.iter().any(|name| name.contains("projected_node")), "{nodes:?}");
    assert!(nodes.iter().any(|name| name.contains("found")), "{nodes:?}");
    // 2→2 channels, 1×1, on two keyframes of 4×8.
    assert_eq!(bundle.report().macs_prelude, 2 * 2 * 2 * 32);
    assert_eq!(bundle.report().macs_ila, 9 * (2 + 2) * 32 * 2);
    let (query, heads) = (2 * 3 * 32, 2 * 32 + 2 * 2 * 32);
    assert_eq!(bundle.report().macs_fast, bundle.report().macs_ila + query + heads);
    assert_eq!(bundle.report().macs_slow, (2 * 3 + 2 + 2 * 2) * 32);
}

#[test]
fn hoisting_changes_no_result() {
    let mut hoisted = networks(&Toy::new());
    // The same with a projection that cannot be hoisted: it also reads the picture, times zero.
    let spoil = |graph: &mut GraphProto| {
        graph.initializer.push(weights("zero", &[1, 2, 1, 1], 0));
        graph.initializer[5].float_data = vec![0.0, 0.0];
        graph.node.insert(1, node("Mul", &["next.key.a", "zero"], &["nothing"]));
        graph.node.insert(2, node("Add", &["key.a", "nothing"], &["touched"]));
        graph.node[3].input[0] = "touched".into();
    };
    let mut plain = networks(&Toy::with(|toy| spoil(&mut toy.fast)));
    assert_eq!(plain.report.macs_prelude, 0);
    assert!(hoisted.report.macs_prelude > 0);
    let (mut left, mut right) = (hoisted.initial.clone(), plain.initial.clone());
    for frame in 0..7u64 {
        let picture = image(frame as usize);
        if frame % 3 == 0 {
            left = keyframe(&mut hoisted, &picture, &left, frame * FRAME_NS);
            right = keyframe(&mut plain, &picture, &right, frame * FRAME_NS);
        }
        let a = hoisted.fast.run_all(&picture, &left, frame * FRAME_NS).unwrap();
        let b = plain.fast.run_all(&picture, &right, frame * FRAME_NS).unwrap();
        for (a, b) in a.iter().zip(&b) {
            close(&numbers(a), &numbers(b));
        }
    }
}

#[test]
fn a_failed_keyframe_leaves_the_earlier_ones_in_place() {
    let mut networks = networks(&Toy::new());
    let initial = networks.initial.clone();
    let first = keyframe(&mut networks, &image(1), &initial, 10);
    // Without the fast network's keys the keyframe is incomplete.
    let error = networks.slow.run(&image(2), Keys::default(), 20).unwrap_err();
    assert!(error.to_string().contains("incomplete"), "{error}");
    let next = keyframe(&mut networks, &image(3), &first, 30);
    assert_eq!(next.captured_ns.as_slice(), [30, 10]);
    networks.slow.reset();
    let fresh = keyframe(&mut networks, &image(3), &next, 40);
    assert_eq!(fresh.captured_ns.as_slice(), [40]);
}

#[test]
fn a_picture_of_another_size_fails_and_the_next_one_runs() {
    let mut networks = networks(&Toy::new());
    let memory = networks.initial.clone();
    let before = networks.fast.run_all(&image(1), &memory, 0).unwrap();
    let wrong = Image::from(Tensor::zero::<u8>(&[4, 9, 4]).unwrap());
    assert!(networks.fast.run(&wrong, &memory, 0).is_err());
    let after = networks.fast.run_all(&image(1), &memory, 0).unwrap();
    assert_eq!(before, after);
}
