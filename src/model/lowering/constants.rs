//! Constants of a graph as numbers. Lengths and finiteness were settled by `check` before.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorProto};

/// All initializers and the results of Constant nodes, by name.
#[derive(Debug, Default)]
pub(crate) struct Constants<'a>(HashMap<&'a str, &'a TensorProto>);

/// Tensors whose numbers are known before the first frame: constants, and what follows from nothing else. With `sizes` the sizes of tensors are
/// known, too. Nodes are in order.
pub(crate) fn known(graph: &GraphProto, sizes: bool) -> HashSet<&str> {
    let mut known: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for node in &graph.node {
        let mut inputs = node.input.iter().filter(|name| !name.is_empty());
        if sizes && node.op_type == "Shape" || inputs.all(|name| known.contains(name.as_str())) {
            known.extend(node.output.iter().map(String::as_str));
        }
    }
    known
}

/// Integer elements and what they are stored as.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Integers {
    pub kind: DataType,
    pub shape: Vec<usize>,
    pub values: Vec<i64>,
}

impl<'a> Constants<'a> {
    pub fn new(graph: &'a GraphProto) -> Constants<'a> {
        let mut constants: HashMap<&str, &TensorProto> =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
            let value = node.attribute.iter().find(|attribute| attribute.name == "value");
            if let (Some(tensor), Some(name)) = (value.and_then(|value| value.t.as_ref()), node.output.first()) {
                constants.insert(name, tensor);
            }
        }
        Constants(constants)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.0.get(name)?.dims.iter().map(|&side| side.max(0) as usize).collect())
    }

    /// float32 elements; `None` for other types.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.0.get(name)?;
        if tensor.data_type != DataType::Float as i32 {
            return None;
        }
        match tensor.raw_data.is_empty() {
            true => Some(tensor.float_data.clone()),
            false => Some(tensor.raw_data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        }
    }

    /// Integer elements; `None` for other types.
    pub fn integers(&self, name: &str) -> Option<Integers> {
        let tensor = self.0.get(name)?;
        let kind = DataType::try_from(tensor.data_type).ok()?;
        let raw = &tensor.raw_data;
        let typed = || tensor.int32_data.iter().map(|&value| i64::from(value)).collect();
        let values: Vec<i64> = match (kind, raw.is_empty()) {
            (DataType::Int8 | DataType::Uint8 | DataType::Int32, true) => typed(),
            (DataType::Int64, true) => tensor.int64_data.clone(),
            (DataType::Int8, _) => raw.iter().map(|&byte| i64::from(byte as i8)).collect(),
            (DataType::Uint8, _) => raw.iter().map(|&byte| i64::from(byte)).collect(),
            (DataType::Int32, _) => raw.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
            (DataType::Int64, _) => raw.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            _ => return None,
        };
        Some(Integers { kind, shape: self.shape(name)?, values })
    }
}
