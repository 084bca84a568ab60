//! Constants of a graph as numbers. Lengths and finiteness were settled by `check` before.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// All initializers and the results of Constant nodes, by name, also where an Identity gives them another one.
#[derive(Debug, Default)]
pub(crate) struct Constants<'a> {
    values: HashMap<&'a str, Cow<'a, TensorProto>>,
    /// What other nodes compute of nothing but these.
    computed: HashSet<&'a str>,
}

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
        let mut values: HashMap<&str, Cow<TensorProto>> =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), Cow::Borrowed(tensor))).collect();
        for node in &graph.node {
            let value = match node.op_type.as_str() {
                "Constant" => constant(node),
                "Identity" => node.input.first().and_then(|name| values.get(name.as_str()).cloned()),
                _ => None,
            };
            if let (Some(value), Some(name)) = (value, node.output.first()) {
                values.insert(name, value);
            }
        }
        let mut computed = known(graph, false);
        computed.retain(|name| !values.contains_key(name));
        Constants { values, computed }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether other nodes compute it of nothing but constants.
    pub fn is_computed(&self, name: &str) -> bool {
        self.computed.contains(name)
    }

    /// The name of its elements' type.
    pub fn kind(&self, name: &str) -> Option<&'static str> {
        let kind = DataType::try_from(self.values.get(name)?.data_type);
        Some(kind.map_or("an unknown type", |kind| kind.as_str_name()))
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.values.get(name)?.dims.iter().map(|&side| side.max(0) as usize).collect())
    }

    /// float32 elements; `None` for other types.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.values.get(name)?;
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
        let tensor = self.values.get(name)?;
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

/// What a Constant node gives: a tensor, or numbers that stand in an attribute of their own.
fn constant(node: &NodeProto) -> Option<Cow<'_, TensorProto>> {
    let made =
        |data_type: DataType, dims: Vec<i64>| TensorProto { data_type: data_type as i32, dims, ..Default::default() };
    node.attribute.iter().find_map(|attribute| {
        let (floats, ints) = (&attribute.floats, &attribute.ints);
        let tensor = match attribute.name.as_str() {
            "value" => return attribute.t.as_ref().map(Cow::Borrowed),
            "value_float" => TensorProto { float_data: vec![attribute.f], ..made(DataType::Float, vec![]) },
            "value_floats" => {
                TensorProto { float_data: floats.clone(), ..made(DataType::Float, vec![floats.len() as i64]) }
            }
            "value_int" => TensorProto { int64_data: vec![attribute.i], ..made(DataType::Int64, vec![]) },
            "value_ints" => TensorProto { int64_data: ints.clone(), ..made(DataType::Int64, vec![ints.len() as i64]) },
            _ => return None,
        };
        Some(Cow::Owned(tensor))
    })
}
