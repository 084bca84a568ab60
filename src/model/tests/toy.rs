//! A bundle of a few nodes, built in memory, so that a test can spoil one thing in it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::*;

use super::super::bundle::{Bundle, Limits};
use super::super::error::BundleError;

/// Keyframes, rows and columns of the maps.
pub const SHAPE: [i64; 3] = [2, 4, 8];

pub const TOML: &str = r##"
schema = 1
name = "toy"
trained_on = "nothing"
frame_interval_s = 0.04
keyframe_interval = 3
[input]
width = 8
height = 4
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
resize = "stretch"
[[task]]
name = "depth"
kind = "depth"
width = 8
height = 4
encoding = "log"
[[task]]
name = "seg"
kind = "segmentation"
width = 8
height = 4
classes = [{ name = "a", color = "#102030" }, { name = "b", color = "#ffffff" }]
"##;

pub fn info(name: &str, shape: &[i64]) -> ValueInfoProto {
    typed(name, DataType::Float, shape)
}

pub fn typed(name: &str, kind: DataType, shape: &[i64]) -> ValueInfoProto {
    let side = |&n: &i64| Dimension { value: Some(dimension::Value::DimValue(n)), ..Default::default() };
    let tensor = type_proto::Tensor {
        elem_type: kind as i32,
        shape: Some(TensorShapeProto { dim: shape.iter().map(side).collect() }),
    };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}

pub fn weights(name: &str, shape: &[i64], seed: usize) -> TensorProto {
    let count = shape.iter().product::<i64>() as usize;
    let number = |i: usize| ((i * 37 + seed * 101 + 13) % 97) as f32 / 97.0 - 0.5;
    TensorProto {
        name: name.into(),
        dims: shape.to_vec(),
        data_type: DataType::Float as i32,
        float_data: (0..count).map(number).collect(),
        ..Default::default()
    }
}

pub fn node(kind: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: kind.into(),
        name: format!("{}_node", outputs[0]),
        input: inputs.iter().map(|name| name.to_string()).collect(),
        output: outputs.iter().map(|name| name.to_string()).collect(),
        ..Default::default()
    }
}

/// An attribute of several integers.
pub fn list(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..Default::default()
    }
}

pub fn with(node: NodeProto, attribute: AttributeProto) -> NodeProto {
    NodeProto { attribute: vec![attribute], ..node }
}

pub fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

pub fn attention(inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        domain: "ai.milad".into(),
        attribute: vec![integer("radius", 1)],
        ..node("InterFrameLocalAttention", inputs, outputs)
    }
}

/// The bundle. `value.a` comes from the slow network, `key.a` from the fast one; T = 2.
pub struct Toy {
    pub toml: String,
    pub slow: GraphProto,
    pub fast: GraphProto,
}

impl Toy {
    pub fn new() -> Toy {
        let [t, h, w] = SHAPE;
        let slow = GraphProto {
            name: "slow".into(),
            input: vec![info("image", &[1, 3, h, w])],
            output: vec![
                info("task.depth", &[1, 1, h, w]),
                info("task.seg", &[1, 2, h, w]),
                info("value.a", &[1, 2, h, w]),
            ],
            initializer: vec![
                weights("wv", &[2, 3, 1, 1], 1),
                weights("wd", &[1, 2, 1, 1], 2),
                weights("ws", &[2, 2, 1, 1], 3),
            ],
            node: vec![
                node("Conv", &["image", "wv"], &["value.a"]),
                node("Conv", &["value.a", "wd"], &["task.depth"]),
                node("Conv", &["value.a", "ws"], &["task.seg"]),
            ],
            ..Default::default()
        };
        let fast = GraphProto {
            name: "fast".into(),
            input: vec![
                info("image", &[1, 3, h, w]),
                info("key.a", &[t, 2, h, w]),
                info("value.a", &[t, 2, h, w]),
                info("age", &[t]),
                info("valid", &[t]),
            ],
            output: vec![
                info("task.seg", &[1, 2, h, w]),
                info("task.depth", &[1, 1, h, w]),
                info("next.key.a", &[1, 2, h, w]),
                info("confidence.a", &[1, 1, h, w]),
            ],
            initializer: vec![
                weights("wq", &[2, 3, 1, 1], 4),
                weights("wp", &[2, 2, 1, 1], 5),
                weights("wd", &[1, 2, 1, 1], 6),
                weights("ws", &[2, 2, 1, 1], 7),
                weights("null", &[1], 8),
            ],
            node: vec![
                node("Conv", &["image", "wq"], &["next.key.a"]),
                node("Conv", &["key.a", "wp"], &["projected"]),
                attention(&["next.key.a", "projected", "value.a", "", "null", "valid"], &["found", "confidence.a"]),
                NodeProto { attribute: vec![integer("keepdims", 0)], ..node("ReduceSum", &["age"], &["ages"]) },
                node("Add", &["found", "ages"], &["aged"]),
                node("Conv", &["aged", "wd"], &["task.depth"]),
                node("Conv", &["aged", "ws"], &["task.seg"]),
            ],
            ..Default::default()
        };
        Toy { toml: TOML.into(), slow, fast }
    }

    pub fn with(change: impl FnOnce(&mut Toy)) -> Toy {
        let mut toy = Toy::new();
        change(&mut toy);
        toy
    }

    pub fn write(&self) -> Folder {
        let folder = Folder::new();
        std::fs::write(folder.0.join("bundle.toml"), &self.toml).unwrap();
        std::fs::write(folder.0.join("slow.onnx"), encode(&self.slow)).unwrap();
        std::fs::write(folder.0.join("fast.onnx"), encode(&self.fast)).unwrap();
        folder
    }

    pub fn load(&self) -> Result<Bundle, BundleError> {
        Bundle::load_with(&self.write().0, &Limits::default())
    }
}

pub fn encode(graph: &GraphProto) -> Vec<u8> {
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    ModelProto {
        ir_version: 8,
        opset_import: vec![opset("", 18), opset("ai.milad", 1)],
        graph: Some(graph.clone()),
        ..Default::default()
    }
    .encode_to_vec()
}

/// A folder that goes away with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("milad-toy-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
