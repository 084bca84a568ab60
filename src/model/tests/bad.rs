//! Everything that can be wrong with a bundle is told before the first frame: which file, which tensor, expected, found.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, type_proto};

use super::super::bundle::{Bundle, Limits};
use super::super::error::BundleError;
use super::toy::*;

/// Spoils the toy bundle and checks that the error is told with all these words.
fn refused(change: impl FnOnce(&mut Toy), words: &[&str]) -> BundleError {
    let error = Toy::with(change).load().map(|bundle| bundle.report().clone()).expect_err("expected an error");
    told(&error, words);
    error
}

fn told(error: &BundleError, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "expected “{word}” in: {message}");
    }
}

#[test]
fn the_toy_itself_is_fine() {
    Toy::new().load().unwrap().into_model(1).unwrap();
}

#[test]
fn an_optional_input_that_is_left_out_needs_no_name() {
    Toy::with(|toy| toy.slow.node.iter_mut().for_each(|node| node.input.push(String::new()))).load().unwrap();
}

#[test]
fn scales_are_checked_before_the_engine_sees_them() {
    let quantise = |inputs: &[&str]| {
        let quantise = node("QuantizeLinear", inputs, &["codes"]);
        move |toy: &mut Toy| toy.slow.node.push(quantise)
    };
    refused(quantise(&["image"]), &["slow.onnx", "codes", "expected a scale as input 1", "found none"]);
    let scale = TensorProto {
        name: "s".into(),
        data_type: DataType::Float as i32,
        float_data: vec![0.0],
        ..Default::default()
    };
    refused(
        |toy| {
            toy.slow.initializer.push(scale);
            quantise(&["image", "s"])(toy);
        },
        &["slow.onnx", "`s`", "scale greater than zero", "found 0"],
    );
}

#[test]
fn a_bundle_that_is_nowhere() {
    let error = Bundle::load("no-such-bundle").unwrap_err();
    told(&error, &["no-such-bundle", "models/no-such-bundle", "/usr/share/milad/models/no-such-bundle", "bundle.toml"]);
}

#[test]
fn a_missing_file_is_named() {
    for name in ["bundle.toml", "slow.onnx", "fast.onnx"] {
        let folder = Toy::new().write();
        std::fs::remove_file(folder.0.join(name)).unwrap();
        let error = Bundle::load(folder.0.to_str().unwrap()).unwrap_err();
        assert!(matches!(error, BundleError::Missing { .. }), "{error}");
        told(&error, &[name, "missing", "copy the whole folder"]);
    }
}

#[test]
fn a_folder_in_a_files_place() {
    let folder = Toy::new().write();
    std::fs::remove_file(folder.0.join("slow.onnx")).unwrap();
    std::fs::create_dir(folder.0.join("slow.onnx")).unwrap();
    told(&Bundle::load(folder.0.to_str().unwrap()).unwrap_err(), &["slow.onnx", "regular file"]);
}

#[test]
fn what_is_no_protobuf() {
    for (bytes, found) in
        [(&b""[..], "an empty file"), (b"<html>404 Not Found</html>", "no protobuf"), (&[0x08, 8], "without a graph")]
    {
        let folder = Toy::new().write();
        std::fs::write(folder.0.join("fast.onnx"), bytes).unwrap();
        let error = Bundle::load(folder.0.to_str().unwrap()).unwrap_err();
        assert!(matches!(error, BundleError::NotOnnx { .. }), "{error}");
        told(&error, &["fast.onnx", "expected an ONNX model", found]);
    }
}

#[test]
fn a_file_cut_off_anywhere_is_an_error_never_a_panic() {
    let whole = encode(&Toy::new().fast);
    for length in (0..whole.len()).step_by(7) {
        let folder = Toy::new().write();
        std::fs::write(folder.0.join("fast.onnx"), &whole[..length]).unwrap();
        assert!(Bundle::load(folder.0.to_str().unwrap()).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn another_digest_than_stated() {
    let digest = "0".repeat(64);
    let error = refused(
        |toy| toy.toml += &format!("[files.fast]\nsha256 = \"{digest}\"\n"),
        &["fast.onnx", &digest, "SHA-256"],
    );
    assert!(matches!(error, BundleError::Hash { .. }));
}

#[test]
fn the_bundles_digest_follows_every_file() {
    let digest = |toy: &Toy| toy.load().unwrap().spec().sha256.clone();
    let first = digest(&Toy::new());
    assert_eq!(first, digest(&Toy::new()));
    assert_eq!(first.len(), 64);
    assert_ne!(first, digest(&Toy::with(|toy| toy.toml += "# note\n")));
    assert_ne!(first, digest(&Toy::with(|toy| toy.slow.name = "other".into())));
}

#[test]
fn a_file_over_the_byte_budget() {
    let folder = Toy::new().write();
    let limits = Limits { file_bytes: 100, ..Limits::default() };
    told(&Bundle::load_with(&folder.0, &limits).unwrap_err(), &["slow.onnx", "at most 100 bytes", "found"]);
}

#[test]
fn networks_over_the_budget_of_work() {
    let folder = Toy::new().write();
    let slow = Limits { slow_macs: 10, ..Limits::default() };
    told(
        &Bundle::load_with(&folder.0, &slow).unwrap_err(),
        &["slow.onnx", "multiply-accumulates", "at most 10", "found 384"],
    );
    let fast = Limits { fast_macs: 10, ..Limits::default() };
    told(&Bundle::load_with(&folder.0, &fast).unwrap_err(), &["fast.onnx", "multiply-accumulates", "at most 10"]);
}

#[test]
fn the_picture_is_missing_or_of_another_size_or_type() {
    refused(|toy| toy.slow.input[0].name = "picture".into(), &["slow.onnx"]);
    let rename = |toy: &mut Toy| {
        toy.slow.input[0].name = "picture".into();
        toy.slow.node[0].input[0] = "picture".into();
    };
    refused(rename, &["slow.onnx", "`picture`", "the one input `image`"]);
    refused(
        |toy| toy.fast.input[0] = info("image", &[1, 3, 4, 9]),
        &["fast.onnx", "`image`", "[1, 3, 4, 8]", "[1, 3, 4, 9]"],
    );
    let half = |toy: &mut Toy| toy.fast.input[0] = typed("image", DataType::Uint8, &[1, 3, 4, 8]);
    refused(half, &["fast.onnx", "`image`", "float32 [1, 3, 4, 8]", "u8 [1, 3, 4, 8]"]);
}

#[test]
fn a_free_side_is_refused_by_its_name() {
    let free = |toy: &mut Toy| {
        let Some(type_proto::Value::TensorType(tensor)) = toy.fast.input[1].r#type.as_mut().unwrap().value.as_mut()
        else {
            panic!()
        };
        tensor.shape.as_mut().unwrap().dim[0].value = Some(Dimension::DimParam("batch".into()));
    };
    refused(free, &["fast.onnx", "`key.a`", "`batch`", "fixed sizes"]);
}

#[test]
fn memory_that_nobody_gives() {
    let rename = |toy: &mut Toy| {
        toy.slow.output[2].name = "value.b".into();
        toy.slow.node[0].output[0] = "value.b".into();
        toy.slow.node[1].input[0] = "value.b".into();
        toy.slow.node[2].input[0] = "value.b".into();
    };
    refused(
        rename,
        &["fast.onnx", "`value.a`", "an output `value.a` of slow.onnx", "`next.value.a` of fast.onnx", "`value.b`"],
    );
}

#[test]
fn memory_that_both_give() {
    let both = |toy: &mut Toy| {
        toy.slow.node.push(node("Conv", &["image", "wv"], &["key.a"]));
        toy.slow.output.push(info("key.a", &[1, 2, 4, 8]));
    };
    refused(both, &["fast.onnx", "`key.a`", "`key.a` of slow.onnx and `next.key.a` of fast.onnx"]);
}

#[test]
fn memory_of_another_shape() {
    let wide = |toy: &mut Toy| {
        toy.slow.node[0].output[0] = "features".into();
        toy.slow.node[1].input[0] = "features".into();
        toy.slow.node[2].input[0] = "features".into();
        toy.slow.initializer.push(weights("w3", &[3, 3, 1, 1], 9));
        toy.slow.node.push(node("Conv", &["image", "w3"], &["value.a"]));
    };
    refused(wide, &["slow.onnx", "`value.a`", "float32 [1, 2, 4, 8]", "float32 [2, 2, 4, 8]", "float32 [1, 3, 4, 8]"]);
}

#[test]
fn memory_of_another_type() {
    let double = |toy: &mut Toy| toy.fast.input[2] = typed("value.a", DataType::Double, &[2, 2, 4, 8]);
    refused(double, &["fast.onnx", "`value.a`", "float32", "f64 [2, 2, 4, 8]"]);
}

#[test]
fn memory_inputs_that_disagree_on_the_number_of_keyframes() {
    refused(|toy| toy.fast.input[4] = info("valid", &[3]), &["fast.onnx", "`valid`", "T = 2", "`age`", "[3]"]);
}

#[test]
fn ages_of_two_axes() {
    refused(|toy| toy.fast.input[3] = info("age", &[1, 2]), &["fast.onnx", "`age`", "[T]", "[1, 2]"]);
}

#[test]
fn a_key_that_depends_on_memory() {
    let spoil = |toy: &mut Toy| {
        toy.fast.node[0].output[0] = "query".into();
        toy.fast.node[2].input[0] = "query".into();
        toy.fast.node.push(node("Relu", &["found"], &["next.key.a"]));
    };
    let error = refused(spoil, &["fast.onnx", "`next.key.a`", "`found_node` → `next.key.a_node`"]);
    assert!(matches!(error, BundleError::MemoryDependsOnMemory { .. }), "{error}");
}

#[test]
fn a_key_that_depends_on_the_age() {
    let spoil = |toy: &mut Toy| {
        toy.fast.node[0].output[0] = "query".into();
        toy.fast.node[2].input[0] = "query".into();
        toy.fast.node.push(node("Add", &["query", "ages"], &["next.key.a"]));
    };
    refused(spoil, &["`next.key.a`", "`age`"]);
}

#[test]
fn weights_that_are_not_finite() {
    let nan = |toy: &mut Toy| toy.slow.initializer[1].float_data[1] = f32::NAN;
    refused(nan, &["slow.onnx", "`wd`", "finite", "NaN"]);
    let infinite = |toy: &mut Toy| {
        let weights = &mut toy.fast.initializer[0];
        weights.raw_data = weights.float_data.drain(..).flat_map(f32::to_le_bytes).collect();
        weights.raw_data[8..12].copy_from_slice(&f32::INFINITY.to_le_bytes());
    };
    refused(infinite, &["fast.onnx", "`wq`", "finite", "inf"]);
    let half = |toy: &mut Toy| {
        let weights = &mut toy.fast.initializer[0];
        weights.data_type = DataType::Float16 as i32;
        weights.float_data.clear();
        weights.int32_data = vec![0x7e00; 6];
    };
    refused(half, &["fast.onnx", "`wq`", "NaN"]);
    for raw in [false, true] {
        let brain = |toy: &mut Toy| {
            let weights = &mut toy.fast.initializer[0];
            weights.data_type = DataType::Bfloat16 as i32;
            weights.float_data.clear();
            let bits = [0x3f80, 0x3f80, 0x7fc0, 0x3f80, 0x3f80, 0x3f80u16];
            match raw {
                true => weights.raw_data = bits.into_iter().flat_map(u16::to_le_bytes).collect(),
                false => weights.int32_data = bits.into_iter().map(i32::from).collect(),
            }
        };
        refused(brain, &["fast.onnx", "`wq`", "finite", "NaN"]);
    }
}

#[test]
fn weights_of_another_length_than_their_shape() {
    refused(|toy| toy.slow.initializer[0].float_data.truncate(5), &["slow.onnx", "`wv`", "6 elements", "found 5"]);
    refused(|toy| toy.slow.initializer[0].dims[0] = -2, &["slow.onnx", "`wv`", "[-2, 3, 1, 1]"]);
}

#[test]
fn weights_in_another_file() {
    let external = |toy: &mut Toy| toy.slow.initializer[0].data_location = Some(1);
    refused(external, &["slow.onnx", "`wv`", "another file"]);
}

#[test]
fn an_unknown_operator_is_named_with_its_nearest() {
    let error = refused(
        |toy| toy.slow.node[0].op_type = "Convolve".into(),
        &["slow.onnx", "`value.a_node`", "Convolve", "Conv"],
    );
    assert!(matches!(error, BundleError::Operator { .. }), "{error}");
}

#[test]
fn a_known_operator_of_another_domain() {
    refused(
        |toy| toy.slow.node[0].domain = "com.microsoft".into(),
        &["slow.onnx", "`com.microsoft`", "ai.onnx", "ai.milad"],
    );
    refused(|toy| toy.fast.node[2].domain = String::new(), &["fast.onnx", "InterFrameLocalAttention"]);
    refused(|toy| toy.fast.node[0].domain = "ai.milad".into(), &["fast.onnx", "Conv", "InterFrameLocalAttention only"]);
}

#[test]
fn chance_and_loops_are_refused() {
    refused(|toy| toy.slow.node[0].op_type = "RandomNormalLike".into(), &["RandomNormalLike", "random"]);
    refused(|toy| toy.slow.node[0].op_type = "Loop".into(), &["Loop", "control flow"]);
}

#[test]
fn a_slice_that_leaves_nothing() {
    let index = |name: &str, value: i64| integers(name, &[1], &[value]);
    let nothing = |toy: &mut Toy| {
        toy.slow.initializer.extend([index("none", 0), index("rows", 2)]);
        toy.slow.node.push(node("Slice", &["value.a", "none", "none", "rows"], &["nothing"]));
    };
    refused(nothing, &["slow.onnx", "`nothing`", "at least one number", "[1, 2, 0, 8]"]);
}

/// The engine's reader divides by a step of 0 and by a stride of 0, and takes axes as indices.
#[test]
fn what_the_engine_gives_up_on_is_refused() {
    let index = |name: &str, value: i64| integers(name, &[1], &[value]);
    let cases: [(&str, &[&str], Option<AttributeProto>); 3] = [
        ("Slice", &["value.a", "zero", "two", "two", "zero"], None),
        ("Unsqueeze", &["value.a", "nine"], None),
        ("MaxPool", &["value.a"], Some(list("strides", &[0, 0]))),
    ];
    for (operator, inputs, attribute) in cases {
        let change = |toy: &mut Toy| {
            toy.slow.initializer.extend([index("zero", 0), index("two", 2), index("nine", 9)]);
            let mut node = node(operator, inputs, &["odd"]);
            node.attribute.extend(attribute);
            if operator == "MaxPool" {
                node.attribute.push(list("kernel_shape", &[1, 1]));
            }
            toy.slow.node.push(node);
        };
        let error = refused(change, &["refuses this network"]);
        assert!(!error.to_string().contains("/src/"), "no path of the machine that built it: {error}");
    }
}

#[test]
fn names_out_of_order() {
    refused(|toy| toy.fast.node.swap(0, 2), &["fast.onnx", "`next.key.a`", "a producer before node `found_node`"]);
    refused(|toy| toy.slow.output[0].name = "task.dept".into(), &["slow.onnx", "`task.dept`", "a node that gives"]);
    refused(|toy| toy.slow.node[1].output[0] = "value.a".into(), &["slow.onnx", "`value.a`", "one producer"]);
}

#[test]
fn a_task_that_is_missing_or_too_many() {
    let missing = |toy: &mut Toy| toy.slow.output.retain(|output| output.name != "task.seg");
    refused(missing, &["slow.onnx", "`task.seg`", "[1, 2, h, w]", "`task.depth`"]);
    let extra = |toy: &mut Toy| {
        toy.slow.node.push(node("Relu", &["value.a"], &["task.more"]));
        toy.slow.output.push(info("task.more", &[1, 2, 4, 8]));
    };
    refused(extra, &["slow.onnx", "`task.more`", "bundle.toml", "`depth`, `seg`"]);
}

#[test]
fn a_task_of_another_number_of_channels() {
    let classes = |toy: &mut Toy| toy.toml = toy.toml.replace(", { name = \"b\", color = \"#ffffff\" }", "");
    refused(classes, &["slow.onnx", "`task.seg`", "[1, 1, h, w]", "[1, 2, 4, 8]", "channels"]);
}

#[test]
fn an_output_that_nothing_takes() {
    let extra = |toy: &mut Toy| toy.fast.output.push(info("aged", &[1, 2, 4, 8]));
    refused(extra, &["fast.onnx", "`aged`", "nothing takes"]);
    let path = |toy: &mut Toy| {
        toy.fast.node[2].output[1] = "confidence/../../x".into();
        toy.fast.output[3].name = "confidence/../../x".into();
    };
    refused(path, &["fast.onnx", "confidence/../../x", "letters"]);
}

#[test]
fn attention_with_inputs_that_do_not_fit() {
    let bias = |toy: &mut Toy| {
        toy.fast.initializer.push(weights("bias", &[1, 8], 9));
        toy.fast.node[2].input[3] = "bias".into();
    };
    refused(bias, &["fast.onnx", "input bias", "found_node", "[1, 9]", "[1, 8]"]);
    let keys = |toy: &mut Toy| {
        toy.fast.initializer[1] = weights("wp", &[3, 2, 1, 1], 5);
    };
    refused(keys, &["fast.onnx", "input k", "[2, 2, 4, 8]", "[2, 3, 4, 8]"]);
    let heads = |toy: &mut Toy| {
        toy.fast.node[2].attribute.push(integer("heads", 3));
        toy.fast.node[2].input[4].clear();
    };
    refused(heads, &["fast.onnx", "input q", "found_node", "3 equal heads", "2 channels"]);
}

#[test]
fn attention_with_wrong_attributes() {
    refused(|toy| toy.fast.node[2].attribute.clear(), &["fast.onnx", "radius", "found_node", "nothing"]);
    refused(|toy| toy.fast.node[2].attribute[0].i = -1, &["fast.onnx", "radius", "-1"]);
    refused(|toy| toy.fast.node[2].attribute.push(integer("raduis", 1)), &["fast.onnx", "`raduis`"]);
}

#[test]
fn attention_without_values() {
    refused(|toy| toy.fast.node[2].input.truncate(2), &["fast.onnx", "found_node", "q, k, v"]);
}

#[test]
fn a_tensor_that_would_fill_the_memory() {
    let grow = |toy: &mut Toy| {
        let mut repeats = weights("repeats", &[4], 0);
        repeats.data_type = DataType::Int64 as i32;
        repeats.float_data.clear();
        repeats.int64_data = vec![1, 1, 100_000, 100_000];
        toy.slow.initializer.push(repeats);
        toy.slow.node.push(node("Tile", &["value.a", "repeats"], &["huge"]));
        toy.slow.node.push(node("Relu", &["huge"], &["task.more"]));
        toy.slow.output.push(info("task.more", &[1, 2, 400_000, 800_000]));
    };
    refused(grow, &["slow.onnx", "400000, 800000", "at most"]);
}

fn integers(name: &str, shape: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        data_type: DataType::Int64 as i32,
        float_data: vec![],
        int64_data: values.to_vec(),
        ..weights(name, shape, 0)
    }
}

/// The engine evaluates what follows from constants alone while it infers shapes: that must not allocate what is refused.
#[test]
fn constants_that_would_fill_the_memory_before_the_first_frame() {
    const SIDE: i64 = 1_000_000;
    let pair = |name: &str| integers(name, &[2], &[SIDE, SIDE]);
    let one = |name: &str| TensorProto { float_data: vec![1.0], ..weights(name, &[1, 1], 0) };
    let scalar = |name: &str, value: i64| integers(name, &[], &[value]);
    let cases: Vec<(&str, Vec<TensorProto>, Vec<NodeProto>)> = vec![
        ("ConstantOfShape", vec![pair("a")], vec![node("ConstantOfShape", &["a"], &["huge"])]),
        ("Expand", vec![one("a"), pair("b")], vec![node("Expand", &["a", "b"], &["huge"])]),
        ("Tile", vec![one("a"), pair("b")], vec![node("Tile", &["a", "b"], &["huge"])]),
        (
            "Range",
            vec![scalar("a", 0), scalar("b", SIDE * SIDE), scalar("c", 1)],
            vec![node("Range", &["a", "b", "c"], &["huge"])],
        ),
        ("Pad", vec![one("a"), integers("b", &[4], &[0, 0, SIDE, SIDE])], vec![node("Pad", &["a", "b"], &["huge"])]),
        (
            "Mul, broadcast",
            vec![
                integers("a", &[SIDE / 10, 1], &[1; SIDE as usize / 10]),
                integers("b", &[1, SIDE / 10], &[1; SIDE as usize / 10]),
            ],
            vec![node("Mul", &["a", "b"], &["huge"])],
        ),
        (
            "a shape that is computed",
            vec![pair("a"), pair("b")],
            vec![node("Max", &["a", "b"], &["shape"]), node("ConstantOfShape", &["shape"], &["huge"])],
        ),
    ];
    for (name, constants, nodes) in cases {
        let error = Toy::with(|toy| {
            toy.slow.initializer.extend(constants);
            toy.slow.node.extend(nodes);
        })
        .load()
        .map(|_| ())
        .expect_err(name);
        told(&error, &["slow.onnx", "huge", "at most 536870912 bytes"]);
    }
}

#[test]
fn tensors_that_together_would_fill_the_memory() {
    // 320 MiB each, and all of them wanted at the end.
    let grow = |toy: &mut Toy| {
        toy.slow.initializer.push(integers("repeats", &[4], &[1, 5, 512, 1024]));
        let names = ["one", "two", "three", "four"];
        for name in names {
            toy.slow.node.push(node("Tile", &["task.depth", "repeats"], &[name]));
        }
        toy.slow.node.push(node("Sum", &names, &["all"]));
    };
    refused(grow, &["slow.onnx", "tensors alive at", "at most 1073741824 bytes"]);
    // One after the other is fine.
    let chain = |toy: &mut Toy| {
        toy.slow.initializer.push(integers("repeats", &[4], &[1, 5, 512, 1024]));
        toy.slow.node.push(node("Tile", &["task.depth", "repeats"], &["link0"]));
        for i in 0..6 {
            toy.slow.node.push(node("Relu", &[&format!("link{i}")], &[&format!("link{}", i + 1)]));
        }
    };
    Toy::with(chain).load().unwrap();
}

#[test]
fn bundle_toml_is_read_strictly() {
    let replace = |from: &'static str, to: &'static str| move |toy: &mut Toy| toy.toml = toy.toml.replacen(from, to, 1);
    refused(replace("trained_on", "trainedon"), &["bundle.toml", "`trainedon`", "`trained_on`"]);
    refused(replace("encoding", "encodng"), &["bundle.toml", "`task.encodng`", "`task.encoding`"]);
    refused(replace("color", "colour"), &["bundle.toml", "`task.classes.colour`", "`task.classes.color`"]);
    refused(replace("schema = 1", "schema = 2"), &["bundle.toml", "schema", "1", "found 2"]);
    refused(replace("width = 8", "width = \"8\""), &["bundle.toml", "width", "line"]);
    refused(replace("width = 8", "width = 0"), &["bundle.toml", "input.width", "found 0"]);
    refused(replace("mean = [0.5, 0.5, 0.5]\n", ""), &["bundle.toml", "mean"]);
    refused(replace("0.25, 0.25]", "0.25, 0.0]"), &["bundle.toml", "input.std"]);
    refused(replace("\"stretch\"", "\"squash\""), &["bundle.toml", "input.resize", "`squash`", "`letterbox`"]);
    refused(replace("\"log\"", "\"ln\""), &["bundle.toml", "encoding", "`ln`", "`log`"]);
    refused(replace("\"depth\"\nwidth", "\"deep\"\nwidth"), &["bundle.toml", "kind", "`deep`"]);
    refused(replace("#102030", "102030"), &["bundle.toml", "color", "#rrggbb"]);
    refused(replace("name = \"b\"", "name = \"a\""), &["bundle.toml", "classes", "twice"]);
    refused(replace("name = \"seg\"", "name = \"depth\""), &["bundle.toml", "`depth` twice"]);
    refused(replace("keyframe_interval = 3", "keyframe_interval = 0"), &["bundle.toml", "keyframe_interval"]);
    refused(replace("0.04", "0.0"), &["bundle.toml", "frame_interval_s"]);
    refused(replace("encoding = \"log\"", "encoding = \"log\"\nchannels = 2"), &["bundle.toml", "channels", "`raw`"]);
    refused(replace("schema", "= schema"), &["bundle.toml", "line"]);
}

#[test]
fn a_damaged_byte_is_an_error_or_harmless_never_a_panic() {
    for (name, whole) in [("fast.onnx", encode(&Toy::new().fast)), ("slow.onnx", encode(&Toy::new().slow))] {
        let folder = Toy::new().write();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << (place % 8);
            std::fs::write(folder.0.join(name), &damaged).unwrap();
            let outcome = std::panic::catch_unwind(|| {
                let loaded = Bundle::load(folder.0.to_str().unwrap()).and_then(|bundle| bundle.into_model(1).map(drop));
                loaded.map_err(|error| error.to_string())
            });
            assert!(outcome.is_ok(), "{name}: a panic with byte {place} damaged");
        }
    }
}
