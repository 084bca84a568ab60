//! Quantised graphs in a few words.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::DatumType;

use crate::model::facts::Facts;
use crate::model::tests::toy::{info, integer, node};

/// A graph under construction, with the shapes that the engine would infer.
#[derive(Default, Clone)]
pub struct Sketch {
    pub graph: GraphProto,
    pub facts: Facts,
}

impl Sketch {
    /// With the input `image` `[1, channels, 6, 8]`.
    pub fn new(channels: i64) -> Sketch {
        let mut sketch = Sketch::default();
        sketch.graph.input.push(info("image", &[1, channels, 6, 8]));
        sketch.fact("image", &[1, channels as usize, 6, 8]);
        sketch
    }

    pub fn fact(&mut self, name: &str, shape: &[usize]) {
        self.facts.insert(name.into(), (DatumType::F32, shape.to_vec()));
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.facts[name].1.clone()
    }

    pub fn floats(&mut self, name: &str, shape: &[i64], values: &[f32]) {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: DataType::Float as i32,
            float_data: values.to_vec(),
            ..Default::default()
        });
    }

    pub fn integers(&mut self, name: &str, kind: DataType, shape: &[i64], values: &[i32]) {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: kind as i32,
            int32_data: if kind == DataType::Int64 { vec![] } else { values.to_vec() },
            int64_data: if kind == DataType::Int64 { values.iter().map(|&v| v.into()).collect() } else { vec![] },
            ..Default::default()
        });
    }

    pub fn push(&mut self, node: NodeProto, shape: &[usize]) {
        for output in &node.output.clone() {
            self.fact(output, shape);
        }
        self.graph.node.push(node);
    }

    /// QuantizeLinear and DequantizeLinear of `name`: gives `<name>.q` and `<name>.dq`.
    pub fn qdq(&mut self, name: &str, scale: f32, zero: u8) -> String {
        let (q, dq) = (format!("{name}.q"), format!("{name}.dq"));
        let (s, z) = (format!("{name}.scale"), format!("{name}.zero"));
        self.floats(&s, &[], &[scale]);
        self.integers(&z, DataType::Uint8, &[], &[zero.into()]);
        let shape = self.shape(name);
        self.push(node("QuantizeLinear", &[name, &s, &z], &[&q]), &shape);
        self.push(node("DequantizeLinear", &[&q, &s, &z], &[&dq]), &shape);
        dq
    }

    /// A 3×3 convolution with padding 1 of a dequantised tensor; its output is `name`.
    pub fn conv(&mut self, from: &str, name: &str, channels: i64) {
        let input = self.shape(from);
        let (w, s, z) = (format!("{name}.w"), format!("{name}.ws"), format!("{name}.wz"));
        let count = channels * input[1] as i64 * 9;
        let weights: Vec<i32> = (0..count as i32).map(|i| i * 37 % 255 - 127).collect();
        self.integers(&w, DataType::Int8, &[channels, input[1] as i64, 3, 3], &weights);
        self.floats(&s, &[channels], &(0..channels).map(|i| 0.001 + 0.0001 * i as f32).collect::<Vec<_>>());
        self.integers(&z, DataType::Int8, &[channels], &vec![0; channels as usize]);
        let dequantised = format!("{name}.wdq");
        let axis = integer("axis", 0);
        let dequantise =
            NodeProto { attribute: vec![axis], ..node("DequantizeLinear", &[&w, &s, &z], &[&dequantised]) };
        self.push(dequantise, &[channels as usize, input[1], 3, 3]);
        let pads = tract_onnx::pb::AttributeProto {
            r#type: tract_onnx::pb::attribute_proto::AttributeType::Ints as i32,
            ints: vec![1; 4],
            ..integer("pads", 0)
        };
        let conv = NodeProto { attribute: vec![pads], ..node("Conv", &[from, &dequantised], &[name]) };
        self.push(conv, &[1, channels as usize, input[2], input[3]]);
    }

    pub fn output(&mut self, name: &str) {
        let shape: Vec<i64> = self.shape(name).iter().map(|&side| side as i64).collect();
        self.graph.output.push(info(name, &shape));
    }

    /// The node that gives `name`.
    pub fn giving(&mut self, name: &str) -> &mut NodeProto {
        self.graph.node.iter_mut().find(|node| node.output.iter().any(|output| output == name)).unwrap()
    }

    pub fn initializer(&mut self, name: &str) -> &mut TensorProto {
        self.graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }
}
