//! Regions in float against the engine's own operators, and what may be in one.

use std::path::Path;
use std::sync::Arc;

use milad_kernels::int8::{Add, Kernel, Quantisation};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::*;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::Approximation;

use super::Region;
use crate::model::onnx::Network;
use crate::model::tests::toy::{info, integer, list, node, weights, with};
use crate::model::{facts, ila, lowering};

fn indices(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: DataType::Int64 as i32,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

fn scalar(name: &str, kind: DataType, number: f32) -> TensorProto {
    let mut tensor = TensorProto { name: name.into(), data_type: kind as i32, ..Default::default() };
    match kind {
        DataType::Float => tensor.float_data.push(number),
        _ => tensor.int32_data.push(number as i32),
    }
    tensor
}

/// What stands between attention and fusion: offsets in cells, their moments, and the age, on maps of 3 × 5.
fn motion() -> GraphProto {
    let mut nodes = vec![
        node("Slice", &["y", "zero", "four", "one"], &["feature"]),
        node("Slice", &["y", "four", "six", "one"], &["where"]),
        node("Mul", &["confidence", "places"], &["here"]),
        node("Sub", &["where", "here"], &["offset"]),
        with(node("Concat", &["offset", "confidence"], &["planes"]), integer("axis", 1)),
        node("Mul", &["offset", "columns"], &["across"]),
        with(node("ReduceMean", &["offset", "both"], &["mean"]), integer("keepdims", 0)),
        with(node("ReduceMean", &["across", "both"], &["moment"]), integer("keepdims", 0)),
        with(node("Concat", &["mean", "moment"], &["moments"]), integer("axis", 1)),
        with(node("Gemm", &["moments", "matrix", "bias"], &["whole"]), integer("transB", 1)),
        node("Unsqueeze", &["age", "one"], &["column"]),
        node("Div", &["column", "ten"], &["tens"]),
        node("MatMul", &["tens", "aged"], &["old"]),
        node("QuantizeLinear", &["old", "scale", "point"], &["old.q"]),
        node("DequantizeLinear", &["old.q", "scale", "point"], &["old.dq"]),
        node("Add", &["whole", "old.dq"], &["sum"]),
        node("Sigmoid", &["sum"], &["gate"]),
        node("Unsqueeze", &["gate", "both"], &["wide"]),
        node("Mul", &["feature", "wide"], &["gated"]),
    ];
    nodes[0].name = "feature of y".into();
    GraphProto {
        node: nodes,
        name: "motion".into(),
        initializer: vec![
            indices("zero", &[0]),
            indices("one", &[1]),
            indices("four", &[4]),
            indices("six", &[i64::MAX]),
            indices("both", &[2, -1]),
            weights("places", &[1, 2, 3, 5], 1),
            weights("columns", &[1, 1, 3, 5], 2),
            weights("matrix", &[4, 4], 3),
            weights("bias", &[4], 4),
            weights("aged", &[1, 4], 5),
            scalar("ten", DataType::Float, 10.0),
            scalar("scale", DataType::Float, 0.01),
            scalar("point", DataType::Int8, 3.0),
        ],
        input: vec![info("y", &[1, 6, 3, 5]), info("confidence", &[1, 1, 3, 5]), info("age", &[1])],
        output: vec![info("planes", &[1, 3, 3, 5]), info("gated", &[1, 4, 3, 5])],
        ..Default::default()
    }
}

fn network(graph: GraphProto) -> Network {
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    let opset_import = vec![opset("", 18), opset(ila::DOMAIN, 1)];
    let model = ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() };
    Network::decode(Path::new("motion.onnx"), &model.encode_to_vec()).unwrap()
}

fn run(network: &Network, graph: GraphProto, regions: &[Arc<Region>], inputs: &TVec<TValue>) -> TVec<TValue> {
    let mut onnx = ila::onnx();
    lowering::operator::register(&mut onnx);
    let mut model = onnx.model_for_proto_model(&network.with_graph(graph)).unwrap();
    lowering::operator::settle(&mut model, &[], regions).unwrap();
    model.into_optimized().unwrap().into_runnable().unwrap().run(inputs.clone()).unwrap()
}

fn grouped(network: &Network) -> (GraphProto, Vec<Arc<Region>>) {
    super::group(network.graph.clone(), &facts::infer(network, &ila::onnx()).unwrap())
}

fn kinds(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(|node| node.op_type.as_str()).collect()
}

/// Runs `graph` in regions and as the engine would, and gives its node types in regions.
fn compare(graph: GraphProto) -> Vec<String> {
    let network = network(graph);
    let inputs: TVec<TValue> =
        network.graph.input.iter().enumerate().map(|(seed, input)| number_map(input, seed)).collect();
    let (graph, regions) = grouped(&network);
    let kinds = kinds(&graph).into_iter().map(str::to_owned).collect();
    let (expected, found) =
        (run(&network, network.graph.clone(), &[], &inputs), run(&network, graph, &regions, &inputs));
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected.shape(), found.shape());
        found.close_enough(expected, Approximation::Close).unwrap();
    }
    kinds
}

fn number_map(input: &ValueInfoProto, seed: usize) -> TValue {
    let (_, shape) = crate::model::onnx::stated(input).unwrap();
    let sides: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
    Tensor::from_shape(&shape, &weights("", &sides, seed + 20).float_data).unwrap().into_tvalue()
}

#[test]
fn offsets_and_moments_are_what_the_engine_makes_of_them() {
    assert_eq!(compare(motion()), ["FloatRegion"]);
}

#[test]
fn each_operator_alone_is_what_the_engine_makes_of_it() {
    let motion = motion();
    let all = facts::infer(&network(motion.clone()), &ila::onnx()).unwrap();
    let is_float = |name: &str| all.get(name).is_some_and(|(datum, _)| *datum == DatumType::F32);
    let info = |name: &String| info(name, &all[name].1.iter().map(|&side| side as i64).collect::<Vec<_>>());
    for node in motion.node.iter().filter(|node| is_float(&node.output[0]) && node.op_type != "DequantizeLinear") {
        let is_constant = |name: &String| motion.initializer.iter().any(|tensor| tensor.name == *name);
        let inputs = node.input.iter().filter(|name| !is_constant(name)).map(info).collect();
        let output = node.output.iter().map(info).collect();
        let kinds = compare(GraphProto { node: vec![node.clone()], input: inputs, output, ..motion.clone() });
        assert_eq!(kinds, ["FloatRegion"], "{}", node.op_type);
    }
}

#[test]
fn a_way_out_and_back_in_makes_two_regions() {
    // The engine's MaxPool between: what comes before it and what comes after it cannot run at once.
    let pool = with(node("MaxPool", &["a"], &["b"]), list("kernel_shape", &[1, 1]));
    let graph = GraphProto {
        node: vec![
            node("Add", &["x", "x"], &["a"]),
            pool,
            node("Mul", &["b", "x"], &["c"]),
            node("Mul", &["x", "x"], &["d"]),
            node("Sub", &["c", "d"], &["e"]),
        ],
        input: vec![info("x", &[1, 2, 3, 4])],
        output: vec![info("e", &[1, 2, 3, 4])],
        ..Default::default()
    };
    assert_eq!(compare(graph.clone()), ["FloatRegion", "MaxPool", "FloatRegion"]);
    let (_, regions) = grouped(&network(graph));
    let names = |region: &Region| region.outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
    assert_eq!(regions.iter().map(|region| names(region)).collect::<Vec<_>>(), [vec!["a", "d"], vec!["e"]]);
}

#[test]
fn what_is_large_or_has_bytes_outside_stays_with_the_engine() {
    let constants = || vec![scalar("scale", DataType::Float, 0.01), scalar("point", DataType::Uint8, 3.0)];
    let single = |op: NodeProto, shape: &[i64]| single(op, shape, shape, constants());
    assert_eq!(compare(single(node("Add", &["x", "x"], &["y"]), &[1, 8, 128, 256])), ["Add"]);
    assert_eq!(compare(single(node("Add", &["x", "x"], &["y"]), &[1, 1, 1, 1, 2])), ["Add"]);
    assert_eq!(compare(single(node("Sigmoid", &["x"], &["y"]), &[1, 8, 32, 32])), ["Sigmoid"]);
    let pool = node("GlobalAveragePool", &["x"], &["y"]);
    assert_eq!(compare(super::tests::single(pool, &[1, 8, 128, 128], &[1, 8, 1, 1], vec![])), ["GlobalAveragePool"]);
    // Bytes that leave.
    let mut bytes = single(node("Relu", &["x"], &["r"]), &[1, 2, 3, 4]);
    bytes.node.push(node("QuantizeLinear", &["r", "scale", "point"], &["q"]));
    bytes.node.push(node("DequantizeLinear", &["q", "scale", "point"], &["dq"]));
    bytes.output =
        vec![crate::model::tests::toy::typed("q", DataType::Uint8, &[1, 2, 3, 4]), info("dq", &[1, 2, 3, 4])];
    assert_eq!(kinds(&grouped(&network(bytes.clone())).0), ["FloatRegion", "QuantizeLinear", "DequantizeLinear"]);
    bytes.output.remove(0);
    assert_eq!(compare(bytes), ["FloatRegion"]);
}

/// One node on `x`, or on `x` and constants.
fn single(op: NodeProto, from: &[i64], to: &[i64], initializer: Vec<TensorProto>) -> GraphProto {
    GraphProto {
        input: vec![info("x", from)],
        output: vec![info(&op.output[0], to)],
        node: vec![op],
        initializer,
        ..Default::default()
    }
}

#[test]
fn other_operators_are_what_the_engine_makes_of_them() {
    let [map, row] = [[1i64, 4, 3, 5].as_slice(), &[2, 6]];
    let cases = [
        (single(node("Relu", &["x"], &["y"]), map, map, vec![]), "FloatRegion"),
        (
            single(
                node("Clip", &["x", "low", "high"], &["y"]),
                map,
                map,
                vec![scalar("low", DataType::Float, -0.2), scalar("high", DataType::Float, 0.1)],
            ),
            "FloatRegion",
        ),
        (single(node("Tanh", &["x"], &["y"]), row, row, vec![]), "FloatRegion"),
        (single(node("GlobalAveragePool", &["x"], &["y"]), map, &[1, 4, 1, 1], vec![]), "FloatRegion"),
        (single(node("Identity", &["x"], &["y"]), map, map, vec![]), "FloatRegion"),
        (
            single(node("Squeeze", &["x", "first"], &["y"]), map, &[4, 3, 5], vec![indices("first", &[0])]),
            "FloatRegion",
        ),
        (single(with(node("Flatten", &["x"], &["y"]), integer("axis", 2)), map, &[4, 15], vec![]), "FloatRegion"),
        (single(node("Reshape", &["x", "to"], &["y"]), map, &[2, 30], vec![indices("to", &[2, -1])]), "FloatRegion"),
        // From the last but two, and as far as there is any.
        (
            single(
                node("Slice", &["x", "from", "to"], &["y"]),
                row,
                &[2, 3],
                vec![indices("from", &[-9, -3]), indices("to", &[9, 7])],
            ),
            "FloatRegion",
        ),
        (
            single(
                node("Slice", &["x", "from", "to", "axis", "step"], &["y"]),
                row,
                &[2, 3],
                vec![indices("from", &[1]), indices("to", &[6]), indices("axis", &[-1]), indices("step", &[2])],
            ),
            "FloatRegion",
        ),
        (
            single(
                node("Slice", &["x", "from", "to", "axis", "step"], &["y"]),
                row,
                &[2, 6],
                vec![indices("from", &[5]), indices("to", &[-9]), indices("axis", &[1]), indices("step", &[-1])],
            ),
            "Slice",
        ),
        (
            single(
                with(node("Gemm", &["x", "w"], &["y"]), integer("transA", 1)),
                row,
                &[6, 3],
                vec![weights("w", &[2, 3], 9)],
            ),
            "FloatRegion",
        ),
        (
            single(
                NodeProto { attribute: vec![integer("keepdims", 1)], ..node("ReduceMean", &["x", "axes"], &["y"]) },
                map,
                &[1, 4, 1, 5],
                vec![indices("axes", &[2])],
            ),
            "FloatRegion",
        ),
    ];
    for (graph, kind) in cases {
        let operator = graph.node[0].op_type.clone();
        assert_eq!(compare(graph), [kind], "{operator}");
    }
}

#[test]
fn views_of_views_are_read_where_they_lie() {
    let graph = GraphProto {
        node: vec![
            node("Slice", &["x", "one", "three", "axis"], &["middle"]),
            with(node("ReduceMean", &["middle", "rows"], &["mean"]), integer("keepdims", 0)),
            node("Reshape", &["middle", "flat"], &["long"]),
            node("Slice", &["long", "one", "nine", "axis"], &["part"]),
            node("Mul", &["part", "part"], &["square"]),
        ],
        initializer: vec![
            indices("one", &[1]),
            indices("three", &[3]),
            indices("nine", &[9]),
            indices("axis", &[1]),
            indices("rows", &[2]),
            indices("flat", &[1, 30]),
        ],
        input: vec![info("x", &[1, 4, 3, 5])],
        output: vec![info("mean", &[1, 2, 5]), info("square", &[1, 8])],
        ..Default::default()
    };
    assert_eq!(compare(graph), ["FloatRegion"]);
}

#[test]
fn bytes_without_a_zero_point_are_what_their_type_says() {
    let mut graph = single(
        node("QuantizeLinear", &["x", "scale", "point"], &["q"]),
        &[1, 2, 3, 4],
        &[1, 2, 3, 4],
        vec![scalar("scale", DataType::Float, 0.01), scalar("point", DataType::Int8, 0.0)],
    );
    graph.node.push(node("DequantizeLinear", &["q", "scale"], &["y"]));
    graph.output = vec![info("y", &[1, 2, 3, 4])];
    assert_eq!(compare(graph), ["QuantizeLinear", "DequantizeLinear"]);
}

/// Scales of which one is twice the other: half of all sums lie halfway between two codes.
#[test]
fn codes_are_added_as_the_integer_kernels_add_them() {
    let scales = [("sa", 0.1f32), ("sb", 0.3), ("sy", 0.2)];
    let mut constants: Vec<TensorProto> = scales.iter().map(|&(name, s)| scalar(name, DataType::Float, s)).collect();
    constants.push(scalar("z", DataType::Uint8, 77.0));
    let graph = GraphProto {
        node: vec![
            node("QuantizeLinear", &["a", "sa", "z"], &["aq"]),
            node("DequantizeLinear", &["aq", "sa", "z"], &["ad"]),
            node("QuantizeLinear", &["b", "sb", "z"], &["bq"]),
            node("DequantizeLinear", &["bq", "sb", "z"], &["bd"]),
            node("Add", &["ad", "bd"], &["sum"]),
            node("QuantizeLinear", &["sum", "sy", "z"], &["yq"]),
            node("DequantizeLinear", &["yq", "sy", "z"], &["y"]),
        ],
        initializer: constants,
        input: vec![info("a", &[1, 256]), info("b", &[1, 256])],
        output: vec![info("y", &[1, 256])],
        ..Default::default()
    };
    let network = network(graph);
    let (graph, regions) = grouped(&network);
    assert_eq!(kinds(&graph), ["FloatRegion"]);
    let [a, b, y] = scales.map(|(_, scale)| Quantisation { scale, zero_point: 77 });
    let add = Add::new(Kernel::selected(), [a, b], y, 0..=255).unwrap();
    let mut others = 0;
    for shift in [0u8, 1, 40, 99] {
        let codes: Vec<(u8, u8)> = (0..=255u8).map(|code| (code, code.wrapping_mul(3).wrapping_add(shift))).collect();
        let numbers = |of: &dyn Fn(&(u8, u8)) -> f32| {
            let numbers: Vec<f32> = codes.iter().map(of).collect();
            Tensor::from_shape(&[1, 256], &numbers).unwrap().into_tvalue()
        };
        let inputs = tvec![numbers(&|pair| a.dequantise(pair.0)), numbers(&|pair| b.dequantise(pair.1))];
        let found = run(&network, graph.clone(), &regions, &inputs).remove(0);
        let expected = numbers(&|pair| y.dequantise(add.code(pair.0, pair.1)));
        assert_eq!(*found, *expected);
        let plain = numbers(&|pair| y.dequantise(y.quantise(a.dequantise(pair.0) + b.dequantise(pair.1))));
        others += usize::from(*plain != *expected);
    }
    assert!(others > 0, "nothing here tells the two apart");
}

#[test]
fn a_sum_whose_bytes_leave_is_a_sum_of_numbers() {
    let mut graph = single(
        node("QuantizeLinear", &["x", "scale", "point"], &["q"]),
        &[1, 2, 3, 4],
        &[1, 2, 3, 4],
        vec![scalar("scale", DataType::Float, 0.01), scalar("point", DataType::Uint8, 3.0)],
    );
    graph.node.push(node("DequantizeLinear", &["q", "scale", "point"], &["d"]));
    graph.node.push(node("Add", &["d", "d"], &["sum"]));
    graph.node.push(node("QuantizeLinear", &["sum", "scale", "point"], &["bytes"]));
    graph.output = vec![crate::model::tests::toy::typed("bytes", DataType::Uint8, &[1, 2, 3, 4])];
    assert_eq!(kinds(&grouped(&network(graph)).0), ["FloatRegion", "QuantizeLinear"]);
}

#[test]
fn what_is_known_before_the_first_frame_stays_known() {
    // Two steps from a constant.
    let mut graph = single(node("Add", &["one", "one"], &["two"]), &[1, 2], &[1, 2], vec![weights("one", &[1, 2], 3)]);
    graph.node.push(node("Mul", &["two", "one"], &["three"]));
    graph.node.push(node("Add", &["x", "three"], &["y"]));
    graph.output = vec![info("y", &[1, 2])];
    assert_eq!(compare(graph), ["Add", "Mul", "FloatRegion"]);
}

#[test]
fn nothing_is_no_step() {
    let empty = TensorProto { dims: vec![1, 0, 3], float_data: vec![], ..weights("none", &[1], 0) };
    let join = with(node("Concat", &["x", "none"], &["y"]), integer("axis", 1));
    assert_eq!(kinds(&grouped(&network(single(join, &[1, 2, 3], &[1, 2, 3], vec![empty]))).0), ["Concat"]);
}

#[test]
fn left_out_names_put_nothing_out_of_order() {
    // Attention leaves an output out, as well as inputs: what comes after it is still known to come after it.
    let graph = GraphProto {
        node: vec![
            with(
                node("InterFrameLocalAttention", &["q", "k", "v", "", "", "valid"], &["y", "", "border"]),
                integer("radius", 1),
            ),
            node("Sub", &["y", "q"], &["a"]),
            with(node("MaxPool", &["a"], &["b"]), list("kernel_shape", &[1, 1])),
            node("Mul", &["b", "a"], &["c"]),
        ],
        input: vec![info("q", &[1, 2, 3, 4]), info("k", &[1, 2, 3, 4]), info("v", &[1, 2, 3, 4]), info("valid", &[1])],
        output: vec![info("c", &[1, 2, 3, 4]), info("border", &[1, 1, 3, 4])],
        ..Default::default()
    };
    let mut graph = graph;
    graph.node[0].domain = ila::DOMAIN.into();
    let (graph, regions) = grouped(&network(graph));
    assert_eq!(kinds(&graph), ["InterFrameLocalAttention", "FloatRegion", "MaxPool", "FloatRegion"]);
    assert_eq!(regions.len(), 2);
}

#[test]
fn a_networks_blocks_are_bounded_and_many_nodes_load_at_once() {
    // 4 MiB are 64 of these sums; one region of them all would take more, so the engine keeps them.
    let chain = |count: usize, sides: &[i64]| {
        let name = |at: usize| if at == 0 { "x".to_owned() } else { format!("s{at}") };
        let sum = |at: usize| node("Add", &[&name(at), &name(at)], &[&name(at + 1)]);
        GraphProto {
            node: (0..count).map(sum).collect(),
            input: vec![info("x", sides)],
            output: vec![info(&name(count), sides)],
            ..Default::default()
        }
    };
    assert_eq!(compare(chain(60, &[1, 16, 32, 32])), ["FloatRegion"]);
    assert_eq!(kinds(&grouped(&network(chain(80, &[1, 16, 32, 32]))).0), vec!["Add"; 80]);
    assert_eq!(kinds(&grouped(&network(chain(20_000, &[1, 2]))).0), ["FloatRegion"]);
}

#[test]
fn shapes_that_do_not_meet_are_left_to_the_engine() {
    // Its own check of shapes is the one that speaks: here nothing is grouped, and nothing panics.
    let network = network(motion());
    let mut facts = facts::infer(&network, &ila::onnx()).unwrap();
    for (name, (_, shape)) in &mut facts {
        if name != "y" {
            shape.iter_mut().for_each(|side| *side += 1);
        }
    }
    let (graph, _) = super::group(network.graph.clone(), &facts);
    assert!(kinds(&graph).contains(&"Slice"));
}
